"""Counts that somebody measured, from a table, checked: every refusal names the row, what is wrong with it, and the likely cause.

    data = Observations.read("counts.csv")            # or Observations.from_table(data_frame)
    data.moments("wild type").means                   # [times, species], with standard errors

A tidy table has a row for each count, with the columns

    time, replicate, species, count, condition        (condition may be left out)

and a wide table a row for each time of a replicate, with a column for each species instead of the columns species and count. Replicates that share
a name within a condition are one path (the same cell, seen at several times, or several species of it); cells that were measured once, and killed
by it, have names of their own. Rows come in any order; times may differ between replicates, and those that are equal but for rounding (10⁻⁹ of
them) are one; a species that nobody counted does not appear.
"""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ssagrad.count_rows import ObservationsError, Row, cells_of, check_count, check_time, csv_rows

__all__ = ["Condition", "Moments", "Observations", "ObservationsError", "nearest"]

_MOST_PLACES = 20_000_000  # of the full table of a condition
_SAME_TIME = 1e-9  # relative difference of times that were meant to be equal, such as 0.3 and 0.1 + 0.2


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

    @classmethod
    def of(cls, times: np.ndarray, counts: np.ndarray) -> Moments:
        """Of counts [N, T, S], NaN where nothing was measured."""
        numbers = np.isfinite(counts).sum(0)
        means = np.where(numbers > 0, np.nansum(counts, axis=0) / np.maximum(numbers, 1), np.nan)
        variances = np.where(numbers > 1, np.nansum((counts - means) ** 2, axis=0) / np.maximum(numbers - 1, 1), np.nan)
        return cls(times, numbers, means, np.sqrt(variances / np.maximum(numbers, 1)), variances)


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
            ssagrad.count_rows.ObservationsError: counts.csv, line 4: expected a count ≥ 0 of 'X', received -4; is a background subtracted?

        Args:
            noisy: counts carry measurement errors, and may be fractional or negative (for fits of single paths with `noise=`).

        Raises:
            ObservationsError: what cannot be read or used. OSError: no such file.
        """
        name = os.path.basename(os.fspath(path))
        try:
            with open(path, encoding="utf-8-sig", newline="") as file:
                return cls._from_rows(list(csv_rows(file, name)), name, noisy)
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
    def _from_rows(cls, rows: Sequence[Row], source: str, noisy: bool) -> Observations:
        seen: dict[tuple, tuple[float, str]] = {}
        found = [
            (label, condition, replicate, species, check_count(count, species, f"{source}, {label}", noisy), check_time(time, f"{source}, {label}"))
            for label, condition, replicate, time, species, count in cells_of(rows, source)
        ]
        times = _merged({cells[-1] for cells in found})
        for label, condition, replicate, species, value, time in found:
            where, place = f"{source}, {label}", (condition, replicate, times[time], species)
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
            raise ObservationsError(f"{self.source}: unknown condition '{name}'{nearest(name, names)}")
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
        return Moments.of(one.times, one.counts)

    def of(self, species: Sequence[str]) -> Observations:
        """The counts of some of the species, as if nobody had counted the others."""
        self.check_species(species, of="request", known=self.species)
        columns = [self.species.index(name) for name in species]
        return Observations(tuple(species), tuple(one._replace(counts=one.counts[:, :, columns]) for one in self.conditions), self.source)

    def check_species(self, species: Iterable[str] | None = None, *, known: Sequence[str], of: str | None = None) -> None:
        """Raises ObservationsError if a species is none of the known ones, with the nearest of these."""
        for name in self.species if species is None else species:
            if name not in known:
                raise ObservationsError(f"{of or self.source}: unknown species '{name}'{nearest(name, known)}")

    def __repr__(self) -> str:
        parts = []
        for one in self.conditions:
            replicates, times = len(one.replicates), len(one.times)
            span = f"from {one.times[0]:g} to {one.times[-1]:g}" if times > 1 else f"{one.times[0]:g}"
            text = f"{replicates} replicate{'s' * (replicates > 1)}, {times} time{'s' * (times > 1)} {span}"
            parts.append(f"{one.name}: {text}" if one.name else text)
        return f"Observations of {', '.join(self.species)}: {'; '.join(parts)}"


def _merged(times: Iterable[float]) -> dict[float, float]:
    """Each time, and the first of those that differ from it by rounding alone."""
    first, found = -1.0, {}
    for time in sorted(times):
        first = first if time - first <= _SAME_TIME * time else time
        found[time] = first
    return found


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


def nearest(name: str, known: Sequence[str]) -> str:
    """The end of a sentence about an unknown name: the one that was meant, or all there are."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    same = [other for other in known if other.lower() == name.lower()]
    return f"; did you mean '{(same or near)[0]}'?" if same or near else f"; there are {list(known)}"
