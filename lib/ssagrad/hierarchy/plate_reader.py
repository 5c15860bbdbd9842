"""Plate-reader experiments as arrays: reads the files of the double receiver devices, or any of the same form.

The data are not part of this project: `python -m ssagrad data vi-hds` brings them (see `hierarchy.sources`).
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

FILES = ("proc140916.csv", "proc140930.csv", "proc141006.csv", "proc141021.csv", "proc141023.csv", "proc141028.csv")
DEVICES = ("Pcat_Y81C76", "RS100S32_Y81C76", "RS100S34_Y81C76", "R33S32_Y81C76", "R33S34_Y81C76", "R33S175_Y81C76")
DEVICE_NAMES = ("Pcat-Pcat", "R100-S32", "R100-S34", "R33-S32", "R33-S34", "R33-S175")
COMPONENT_NAMES = ("R: Pcat", "R: 100", "R: 33", "S: Pcat", "S: 32", "S: 34", "S: 175")
_COLUMNS = ("OD", "mRFP1", "EYFP", "ECFP")
_R_LEVEL, _S_LEVEL = (0, 1, 1, 2, 2, 2), (0, 1, 2, 1, 2, 3)
_TREATMENTS = ("C6", "C12")


class Experiment(NamedTuple):
    """Wells observed over time.

    times: [T] in hours. signals: optical density and three fluorescences, scaled, each less its own minimum in the well [N, 4, T].
    treatments: log(1 + concentration) of C6 and C12 [N, 2]. devices: index [N]. components: what each well's device is made of, 0 or 1 [N, C].
    scales: what the signals were divided by [4]. device_names: by index. component_names: by column of `components`.
    """

    times: np.ndarray
    signals: np.ndarray
    treatments: np.ndarray
    devices: np.ndarray
    components: np.ndarray
    scales: np.ndarray
    device_names: tuple[str, ...] = DEVICE_NAMES
    component_names: tuple[str, ...] = COMPONENT_NAMES

    @property
    def num_wells(self) -> int:
        """The number of wells N."""
        return len(self.devices)

    def wells(self, indices: np.ndarray) -> Experiment:
        """Some of the wells, on the same scale."""
        chosen = np.asarray(indices, int)
        parts = (self.signals[chosen], self.treatments[chosen], self.devices[chosen], self.components[chosen])
        return Experiment(self.times, *parts, self.scales, self.device_names, self.component_names)


def component_vectors(devices: np.ndarray) -> np.ndarray:
    """One-hot ribosome binding site of LuxR (3) joined with that of LasR (4), by device index [N]: [N, 7] with two ones in a row."""
    devices = np.asarray(devices, int)
    return np.concatenate([np.eye(3)[np.take(_R_LEVEL, devices)], np.eye(4)[np.take(_S_LEVEL, devices)]], axis=1).astype(np.float32)


def read_experiment(folder: str | os.PathLike, *, files: Sequence[str] = FILES) -> Experiment:
    """Reads the wells of the six double receiver devices that had no other treatment than C6 or C12: 312 of them in the six files.

    The files are put on the time grid of the one with the fewest readings, with the reading nearest in time; each signal is divided by its largest
    value over all wells, and each well's own minimum is taken off.

    Raises:
        FileNotFoundError: a file that is not in the folder. ValueError: a file of another form, or without any of the devices.
    """
    plates = [_read_plate(os.path.join(os.fspath(folder), name)) for name in files]
    times = min((plate[0] for plate in plates), key=len)
    signals, treatments, devices = [], [], []
    for plate_times, readings, plate_treatments, plate_devices in plates:
        nearest = np.abs(plate_times[None] - times[:, None]).argmin(1)
        signals.append(readings[:, :, nearest])
        treatments.append(plate_treatments)
        devices.append(plate_devices)
    raw, device = np.concatenate(signals), np.concatenate(devices)
    scales = raw.max((0, 2))
    scaled = raw / scales[None, :, None]
    scaled = (scaled - scaled.min(2, keepdims=True)).astype(np.float32)
    treated = np.log1p(np.concatenate(treatments)).astype(np.float32)
    return Experiment(times.astype(np.float32), scaled, treated, device, component_vectors(device), scales.astype(np.float32))


def require_finite(experiment: Experiment) -> None:
    """Nothing where all signals are finite.

    Raises:
        ValueError: some are not.
    """
    if not np.isfinite(experiment.signals).all():
        raise ValueError("expected finite signals, received some that are not; leave those wells out")


def fold(num_wells: int, *, seed: int, number: int, of: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation wells of one fold (1, 2, …) of a cross-validation: a permutation by the seed, cut into `of` parts.

    The permutation is NumPy's legacy one, so that the folds are those of the published code.

    Raises:
        ValueError: a fold that does not exist.
    """
    if not 1 <= number <= of:
        raise ValueError(f"expected a fold from 1 to {of}, received {number}")
    parts = np.array_split(np.random.RandomState(seed).permutation(num_wells), of)
    validation = np.sort(parts[number - 1])
    return np.setdiff1d(np.arange(num_wells), validation), validation


def held_out(experiment: Experiment, device: str) -> tuple[np.ndarray, np.ndarray]:
    """Wells of all other devices, and those of one device.

    Raises:
        ValueError: no such device, or one with a component that no other device has, about which nothing can be learned from the others.
    """
    if device not in experiment.device_names:
        raise ValueError(f"expected a device among {experiment.device_names}, received {device!r}")
    held = experiment.devices == experiment.device_names.index(device)
    own, others = experiment.components[held].any(0), experiment.components[~held].any(0)
    if missing := [name for name, mine, theirs in zip(experiment.component_names, own, others, strict=True) if mine and not theirs]:
        raise ValueError(f"expected a device whose components occur in others, received {device} with {missing}: nothing can be said about them")
    return np.flatnonzero(~held), np.flatnonzero(held)


def _read_plate(path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Times [T], readings [n, 4, T], concentrations [n, 2], device indices [n] of the wells that are used."""
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"expected the plate-reader file {os.path.basename(path)} in {os.path.dirname(path) or 'the working folder'}, received none; "
            "`python -m ssagrad data vi-hds` brings the files (with --from FOLDER: from a copy that you have)"
        )
    name = os.path.basename(path)
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(_filled_rows(file))
    if len(rows) < 3 or len({len(row) for _, row in rows[:2]}) > 1:
        raise ValueError(f"{name}: expected a header, a row of times and rows of wells of one length, received {len(rows)} rows; is the file cut short?")
    (_, head), (times_line, times) = rows[:2]
    signal = np.array([_signal_of(header) for header in head])
    columns = [np.flatnonzero(signal == column) for column in _COLUMNS]
    if len({len(found) for found in columns}) > 1 or not len(columns[0]):
        raise ValueError(f"{name}: expected as many readings of each of {_COLUMNS}, received {[len(found) for found in columns]}")
    used, treatments, devices = [], [], []
    for line, row in rows[2:]:
        where = f"{name}, line {line}"
        if len(row) != len(head):
            raise ValueError(f"{where}: expected {len(head)} cells, as in the header, received {len(row)}; is the file cut short?")
        where = f"{where}, well {row[3]}{row[2]}"
        treatment = _treatments(row[4], where) if row[0] in DEVICES else None
        if treatment is not None:
            used.append([[_reading(row[i], f"{where}, {column}") for i in found] for column, found in zip(_COLUMNS, columns, strict=True)])
            treatments.append(treatment)
            devices.append(DEVICES.index(row[0]))
    if not used:
        raise ValueError(f"{name}: expected wells of the devices {DEVICES} with C6 or C12 alone, received none")
    hours = [_reading(times[i], f"{name}, line {times_line}, times of {_COLUMNS[0]}") for i in columns[0]]
    return np.array(hours), np.array(used), np.array(treatments), np.array(devices)


def _filled_rows(file) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and cells of the rows that are not blank."""
    reader = csv.reader(file)
    for row in reader:
        if any(cell.strip() for cell in row):
            yield reader.line_num, row


def _signal_of(header: str) -> str:
    """The text in the first parentheses, else what stands before the first dot."""
    match = re.search(r"\(([^)]*)\)", header)
    return match.group(1) if match else header.split(".")[0].strip()


def _number(text: str) -> float:
    """The number that a text stands for; NaN where it stands for none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _reading(text: str, where: str) -> float:
    """A finite number from a cell; `where` says which cell that is."""
    if not math.isfinite(value := _number(text)):
        cause = "did the reader write OVER beyond its range, or nothing where it did not read? Leave that well out"
        raise ValueError(f"{where}: expected a finite number, received {text!r}; {cause}")
    return value


def _treatments(text: str, where: str) -> list[float] | None:
    """Concentrations of C6 and C12 from a text such as `C6=25000;C12=0`; None where anything else was added."""
    found, others = dict.fromkeys(_TREATMENTS, 0.0), False
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, _, amount = (piece.strip() for piece in part.partition("="))
        value = _number(amount)
        if not name or not math.isfinite(value) or value < 0:
            cause = "is it a misprint, or a logarithm of a concentration?"
            raise ValueError(f"{where}: expected treatments such as C6=25000, with finite concentrations >= 0, received {part!r}; {cause}")
        if name in found:
            found[name] = value
        else:
            others = others or value != 0
    return None if others else list(found.values())
