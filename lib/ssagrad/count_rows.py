"""The rows of a table of counts, tidy or wide, cell by cell: every refusal names the row, what is wrong with it, and the likely cause."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

_TIDY = ("time", "replicate", "species", "count")
_LARGEST = 2**24  # what the simulator counts up to
_NOT_MEASURED = ("", "nan", "na", "n/a", "n.a.", "<na>", "none", "null", "-", "–", ".")  # where a number belongs
_THOUSANDS = re.compile(r"[+-]?\d{1,3}([,' ’\u00a0\u202f]\d{3})+\Z")
Row = tuple[str, dict[str, Any]]  # what a message calls it, and its cells by column


class ObservationsError(ValueError):
    """A table that cannot be used as observations; the message says which row, what is wrong with it and why."""


def csv_rows(file: Any, source: str) -> Iterator[Row]:
    """Rows of an open CSV file below the names of its columns; `,`, `;` or tabs between cells, `#` before comments."""
    head = ""
    while not head.strip() or head.lstrip().startswith("#"):
        if not (head := file.readline()):
            raise ObservationsError(f"{source}: expected a line with the names of columns, received an empty file")
    separator = max(",;\t", key=head.count)
    file.seek(0)
    reader, names = csv.reader(file, delimiter=separator), []
    for cells in reader:
        cells, label = [cell.strip() for cell in cells], f"line {reader.line_num}"
        if not any(cells) or cells[0].startswith("#"):
            continue
        if not names:
            names = cells
            if twice := [name for name in names if names.count(name) > 1]:
                raise ObservationsError(f"{source}, {label}: expected each column once, received '{twice[0]}' {names.count(twice[0])} times")
            continue
        if len(cells) != len(names):
            raise ObservationsError(
                f"{source}, {label}: expected {len(names)} cells ({', '.join(names)}), received {len(cells)}; a decimal comma, or a cell left out?"
            )
        yield label, dict(zip(names, cells, strict=True))


def cells_of(rows: Sequence[Row], source: str) -> Iterator[tuple]:
    """(label, condition, replicate, time, species, count) of every count in a tidy or wide table."""
    if not rows:
        raise ObservationsError(f"{source}: expected at least one row below the names of the columns, received none")
    given = {name.strip().lower(): name for name in rows[0][1]}
    tidy = "species" in given or "count" in given
    needed = _TIDY if tidy else _TIDY[:2]
    if missing := [name for name in needed if name not in given]:
        kind = "time, replicate, species and count" if tidy else "time and replicate (and species and count, or one column for each species)"
        raise ObservationsError(f"{source}: expected the columns {kind}, received {list(rows[0][1])}: no '{missing[0]}'")
    columns = {name: given[name] for name in (*needed, "condition") if name in given}
    others = [name for name in rows[0][1] if name not in columns.values()]
    if tidy and others or not tidy and not others:
        expected = "no other columns than time, replicate, species, count and condition" if tidy else "a column for each species"
        raise ObservationsError(f"{source}: expected {expected}, received {list(rows[0][1])}; put conditions into the column 'condition'")
    for label, cells in rows:
        texts = {name: cells[column] for name, column in columns.items()}
        for name in ("replicate", "species", "condition"):
            if name in texts and _is_blank(texts[name]):
                raise ObservationsError(f"{source}, {label}: expected a {name}, received an empty cell")
        where = (label, str(texts.get("condition", "")), str(texts["replicate"]), texts["time"])
        if tidy:
            yield *where, str(texts["species"]), texts["count"]
        else:
            yield from ((*where, name, cells[name]) for name in others if not _is_missing(cells[name]))


def _is_blank(value: Any) -> bool:
    """Whether a name is missing: an empty cell, or what pandas makes of one. Sodium is Na, and a treatment may be called none."""
    return not value.strip() if isinstance(value, str) else value is None or str(value).lower() in ("nan", "<na>", "nat")


def _is_missing(value: Any) -> bool:
    return value is None or str(value).strip().lower() in _NOT_MEASURED


def _number(value: Any, what: str, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        text, hint = str(value).strip(), ""
        if _is_missing(value):
            hint = "; leave out the rows of what was not measured"
        elif _THOUSANDS.match(text):
            hint = f"; write {re.sub(r'[^0-9+-]', '', text)} without a sign between thousands" + (", or a decimal point" if "," in text else "")
        elif "," in text:
            hint = "; write a decimal point"
        raise ObservationsError(f"{where}: expected a number as {what}, received {str(value)[:40]!r}{hint}") from None
    if not math.isfinite(number):
        hint = "leave out the rows of what was not measured" if math.isnan(number) else "was something divided by zero?"
        raise ObservationsError(f"{where}: expected a finite {what}, received {value}; {hint}")
    return number


def check_count(value: Any, species: str, where: str, noisy: bool) -> float:
    """A whole number ≥ 0 that simulations can reach, or, if `noisy`, any finite number not beyond."""
    count = _number(value, f"count of '{species}'", where)
    if not noisy and count != round(count):
        raise ObservationsError(
            f"{where}: expected a whole number of '{species}', received {value}; is this a concentration (multiply by the volume and Avogadro's "
            "number), a mean (give the single counts), or a noisy measurement (say noisy=True)?"
        )
    if not noisy and count < 0:
        raise ObservationsError(f"{where}: expected a count ≥ 0 of '{species}', received {value}; is a background subtracted?")
    if abs(count) > _LARGEST:
        raise ObservationsError(f"{where}: expected at most {_LARGEST} of '{species}', received {value}; is it in another unit?")
    return count


def check_time(value: Any, where: str) -> float:
    """A finite number ≥ 0."""
    time = _number(value, "time", where)
    if time < 0:
        raise ObservationsError(f"{where}: expected a time ≥ 0, received {value}; the model starts at time 0 with its initial counts")
    return time
