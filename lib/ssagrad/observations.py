"""Counts that somebody measured, from a table, checked: every refusal names the row, what is wrong with it, and the likely cause.

    data = Observations.read("counts.csv")            # or Observations.from_table(data_frame)
    data.moments("wild type").means                   # [times, species], with standard errors

A tidy table has a row for each count, with the columns

    time, replicate, species, count, condition        (condition may be left out)

and a wide table a row for each time of a replicate, with a column for each species instead of the columns species and count. Replicates that share
a name within a condition are one path (the same cell, seen at several times, or several species of it); cells that were measured once, and killed
by it, have names of their own. Rows come in any order; times may differ between replicates; a species that nobody counted does not appear.
"""

from __future__ import annotations

import csv
import difflib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

_TIDY = ("time", "replicate", "species", "count")
_LARGEST = 2**24  # what the simulator counts up to
_Row = tuple[str, dict[str, Any]]  # what a message calls it, and its cells by column
_MOST_PLACES = 20_000_000  # of the full table of a condition


class ObservationsError(ValueError):
    """A table that cannot be used as observations; the message says which row, what is wrong with it and why."""


class Condition(NamedTuple):
    """What was seen under one condition: all its times [T], names of replicates [N], counts [N, T, S], NaN where nothing was measured."""

    name: str
    times: np.ndarray
    replicates: tuple[str, ...]
    counts: np.ndarray


class Moments(NamedTuple):
    """Statistics over the replicates of a condition, [T, S] each, NaN where there are too few; variances with the factor n/(n − 1)."""

    times: np.ndarray
    numbers: np.ndarray
    means: np.ndarray
    standard_errors: np.ndarray
    variances: np.ndarray


@dataclass(frozen=True, eq=False)
class Observations:
    """Checked counts, condition by condition.

    Attributes:
        species: those that were counted, in order of appearance.
        conditions: in order of appearance; one called "" where the table has no such column.
        source: what the table is called in messages.
    """

    species: tuple[str, ...]
    conditions: tuple[Condition, ...]
    source: str = "table"

    @classmethod
    def read(cls, path: str | os.PathLike, *, noisy: bool = False) -> Observations:
        """Reads a CSV file, tidy or wide; `,`, `;` or tabs between columns, `#` before comments, an empty cell of a wide table for what is missing.

            >>> import tempfile, os
            >>> path = os.path.join(tempfile.mkdtemp(), "counts.csv")
            >>> with open(path, "w") as file:
            ...     _ = file.write("time,replicate,species,count\\n1,a,X,3\\n1,b,X,5\\n2,a,X,-4\\n")
            >>> Observations.read(path)
            Traceback (most recent call last):
                ...
            ssagrad.observations.ObservationsError: counts.csv, line 4: expected a count ≥ 0 of 'X', received -4; is a background subtracted?

        Args:
            noisy: counts carry measurement errors, and may be fractional or negative (for fits of single paths with `noise=`).

        Raises:
            ObservationsError: what cannot be read or used. OSError: no such file.
        """
        name = os.path.basename(os.fspath(path))
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                return cls._from_rows(list(_csv_rows(file, name)), name, noisy)
        except (csv.Error, UnicodeError) as error:
            raise ObservationsError(f"{name}: expected comma-separated text in UTF-8, received what cannot be read as that: {error}") from None

    @classmethod
    def from_table(cls, table: Any, *, noisy: bool = False) -> Observations:
        """Takes a pandas DataFrame, or a mapping from column names to sequences of equal length.

            >>> Observations.from_table({"time": [1, 2, 1, 2], "replicate": [0, 0, 1, 1], "X": [3, 5, 4, 8]})
            Observations of X: 2 replicates, 2 times from 1 to 2

        Args: as `read`. Raises: ObservationsError.
        """
        columns = {str(name): list(table[name]) for name in (table.columns if hasattr(table, "columns") else table)}
        lengths = {name: len(values) for name, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ObservationsError(f"table: expected columns of equal length, received {lengths}")
        index = list(getattr(table, "index", range(next(iter(lengths.values()), 0))))
        rows = [(f"row {label}", {name: values[i] for name, values in columns.items()}) for i, label in enumerate(index)]
        if not rows:
            raise ObservationsError(f"table: expected at least one row, received none under the columns {list(columns)}")
        return cls._from_rows(rows, "table", noisy)

    @classmethod
    def _from_rows(cls, rows: Sequence[_Row], source: str, noisy: bool) -> Observations:
        seen: dict[tuple, tuple[float, str]] = {}
        for label, condition, replicate, time, species, count in _cells(rows, source):
            where = f"{source}, {label}"
            value = _check_count(count, species, where, noisy)
            place = (condition, replicate, _check_time(time, where), species)
            if place in seen:
                raise ObservationsError(
                    f"{where}: expected one count of '{species}' at time {place[2]:g} of replicate '{replicate}', received a second one (the first: "
                    f"{seen[place][1]}); give replicates names of their own"
                )
            seen[place] = value, label
        if not seen:
            raise ObservationsError(f"{source}: expected at least one count, received none")
        conditions = dict.fromkeys(place[0] for place in seen)
        species = tuple(dict.fromkeys(place[3] for place in seen))
        found = cls(species, tuple(_condition(name, seen, species) for name in conditions), source)
        if not any(one.times[-1] > 0 for one in found.conditions):
            raise ObservationsError(f"{source}: expected counts after the start, received all of them at time 0; nothing has happened yet")
        if all(one.counts.shape[:2] == (1, 1) for one in found.conditions):
            raise ObservationsError(f"{source}: expected several times or replicates, received one of each, which says nothing of the scatter")
        return found

    def condition(self, name: str | None = None) -> Condition:
        """One condition by name; without a name, the only one."""
        names = [one.name for one in self.conditions]
        if name is None and len(names) > 1:
            raise ObservationsError(f"{self.source}: expected the name of one of the conditions {names}, received none")
        if name is not None and name not in names:
            raise ObservationsError(f"{self.source}: unknown condition '{name}'{_nearest(name, names)}")
        return self.conditions[0 if name is None else names.index(name)]

    def times(self, condition: str | None = None) -> np.ndarray:
        """All times of a condition, increasing [T]."""
        return self.condition(condition).times

    def counts(self, species: str, condition: str | None = None) -> np.ndarray:
        """Counts of one species [N, T], NaN where nothing was measured."""
        self.check_species([species], of="request", known=self.species)
        return self.condition(condition).counts[:, :, self.species.index(species)]

    def moments(self, condition: str | None = None) -> Moments:
        """Means and variances over the replicates of a condition, with standard errors.

            >>> Observations.from_table({"time": [1, 1], "replicate": ["a", "b"], "X": [3, 5]}).moments().means
            array([[4.]])
        """
        one = self.condition(condition)
        numbers = np.isfinite(one.counts).sum(0)
        means = np.where(numbers > 0, np.nansum(one.counts, axis=0) / np.maximum(numbers, 1), np.nan)
        squares = np.nansum((one.counts - means) ** 2, axis=0)
        variances = np.where(numbers > 1, squares / np.maximum(numbers - 1, 1), np.nan)
        return Moments(one.times, numbers, means, np.sqrt(variances / np.maximum(numbers, 1)), variances)

    def of(self, species: Sequence[str]) -> Observations:
        """The counts of some of the species, as if nobody had counted the others."""
        self.check_species(species, of="request", known=self.species)
        columns = [self.species.index(name) for name in species]
        return Observations(tuple(species), tuple(one._replace(counts=one.counts[:, :, columns]) for one in self.conditions), self.source)

    def check_species(self, species: Iterable[str] | None = None, *, known: Sequence[str], of: str | None = None) -> None:
        """Raises ObservationsError if a species is none of the known ones, with the nearest of these."""
        for name in self.species if species is None else species:
            if name not in known:
                raise ObservationsError(f"{of or self.source}: unknown species '{name}'{_nearest(name, known)}")

    def __repr__(self) -> str:
        parts = []
        for one in self.conditions:
            replicates, times = len(one.replicates), len(one.times)
            span = f"from {one.times[0]:g} to {one.times[-1]:g}" if times > 1 else f"{one.times[0]:g}"
            text = f"{replicates} replicate{'s' * (replicates > 1)}, {times} time{'s' * (times > 1)} {span}"
            parts.append(f"{one.name}: {text}" if one.name else text)
        return f"Observations of {', '.join(self.species)}: {'; '.join(parts)}"


def _csv_rows(file: Any, source: str) -> Iterator[_Row]:
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


def _cells(rows: Sequence[_Row], source: str) -> Iterator[tuple]:
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
            if name in texts and _is_missing(texts[name]):
                raise ObservationsError(f"{source}, {label}: expected a {name}, received an empty cell")
        where = (label, str(texts.get("condition", "")), str(texts["replicate"]), texts["time"])
        if tidy:
            yield *where, str(texts["species"]), texts["count"]
        else:
            yield from ((*where, name, cells[name]) for name in others if not _is_missing(cells[name]))


def _is_missing(value: Any) -> bool:
    return value is None or str(value).strip().lower() in ("", "nan", "na", "<na>", "none")


def _number(value: Any, what: str, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        hint = "; leave out the rows of what was not measured" if _is_missing(value) else "; write a decimal point" if "," in str(value) else ""
        raise ObservationsError(f"{where}: expected a number as {what}, received {str(value)[:40]!r}{hint}") from None
    if not math.isfinite(number):
        hint = "leave out the rows of what was not measured" if math.isnan(number) else "was something divided by zero?"
        raise ObservationsError(f"{where}: expected a finite {what}, received {value}; {hint}")
    return number


def _check_count(value: Any, species: str, where: str, noisy: bool) -> float:
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


def _check_time(value: Any, where: str) -> float:
    time = _number(value, "time", where)
    if time < 0:
        raise ObservationsError(f"{where}: expected a time ≥ 0, received {value}; the model starts at time 0 with its initial counts")
    return time


def _condition(name: str, seen: Mapping[tuple, tuple[float, str]], species: tuple[str, ...]) -> Condition:
    places = [place for place in seen if place[0] == name]
    replicates = tuple(dict.fromkeys(place[1] for place in places))
    times = np.unique([place[2] for place in places])
    if len(replicates) * len(times) * len(species) > _MOST_PLACES:
        raise ObservationsError(
            f"condition '{name}': expected at most {_MOST_PLACES} places in the table of replicates, times and species, received {len(replicates)} "
            f"replicates at {len(times)} times of {len(species)} species; round the times"
        )
    counts = np.full((len(replicates), len(times), len(species)), np.nan)
    rows, columns = ({key: i for i, key in enumerate(keys)} for keys in (replicates, species))
    for place in places:
        counts[rows[place[1]], np.searchsorted(times, place[2]), columns[place[3]]] = seen[place][0]
    return Condition(name, times, replicates, counts)


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    same = [other for other in known if other.lower() == name.lower()]
    return f"; did you mean '{(same or near)[0]}'?" if same or near else f"; there are {list(known)}"
