"""Rounds over warm workers: every simulator once a round, so that noise of the machine hits all alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from reference import PATHS as REFERENCE_PATHS
from reference import reference

MAX_Z = 5.0


class Worker:
    """A `worker.py` process and its line protocol; `missing` says why there is none, `versions` what it runs on."""

    def __init__(self, peer: str, log):
        # Several JAX processes share a GPU only if none takes all its memory beforehand.
        environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONWARNINGS": "ignore"}
        script = Path(__file__).parent / "worker.py"
        self.process = subprocess.Popen(
            [sys.executable, script, peer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )
        answer = self._read()
        self.missing = answer.get("missing") or answer.get("error")
        self.versions = answer.get("versions", {})

    def ask(self, *words) -> dict:
        """Sends one command and waits for its answer; a process that died answers with an error."""
        try:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
        except OSError:
            pass
        return self._read()

    def _read(self) -> dict:
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": f"the process ended with status {self.process.wait()}"}

    def close(self) -> None:
        """Ends the process: it stops when its input does."""
        self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()


@dataclass
class Cell:
    """What one simulator did on one row: seconds of each round, and its worst |z| over all of them."""

    num_paths: int
    compile_seconds: float = 0.0
    seconds: list[float] = field(default_factory=list)
    answers: list[dict] = field(default_factory=list)
    error: str | None = None
    z: float = 0.0

    @property
    def valid(self) -> bool:
        """Whether its time counts: it ran, and its means are right."""
        return self.error is None and bool(self.seconds) and self.z < MAX_Z

    def rate(self, events_per_path: float) -> float:
        """Events per second of the median round."""
        return events_per_path * self.num_paths / statistics.median(self.seconds)

    @property
    def spread(self) -> float:
        """(Slowest − fastest round) / median."""
        return (max(self.seconds) - min(self.seconds)) / statistics.median(self.seconds)


def measure(workers: dict[str, Worker], system: str, num_paths: int, rounds: int) -> dict[str, Cell]:
    """One row: everybody compiles, then `rounds` rounds with the order rotated, then the check of the means."""
    cells = {name: Cell(num_paths) for name in workers}
    for name, worker in workers.items():
        answer = worker.ask("prepare", system, num_paths)
        cells[name].error = answer.get("error")
        cells[name].compile_seconds = answer.get("seconds", 0.0)
    names = list(workers)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            if cells[name].error is None:
                _record(cells[name], workers[name].ask("run", system, num_paths, turn + 1))
    for cell in cells.values():
        if cell.answers:
            cell.z = worst_z(system, cell)
    return cells


def _record(cell: Cell, answer: dict) -> None:
    if "error" in answer:
        cell.error = answer["error"]
        return
    cell.seconds.append(answer["seconds"])
    cell.answers.append(answer)


def worst_z(system: str, cell: Cell) -> float:
    """Largest |mean − reference| / standard error over readout times and species, and the events where the peer counts them.

    All runs of the cell together; both sides' sampling error counts, with the reference's variances.
    """
    known = reference(system)
    runs = np.array([answer["runs"] for answer in cell.answers], float)
    share = 1 / (runs.sum() * cell.num_paths) + 1 / REFERENCE_PATHS
    means = np.tensordot(runs, [answer["means"] for answer in cell.answers], 1) / runs.sum()
    differences = list((means - np.array(known["means"])).ravel())
    variances = list(np.array(known["variances"]).ravel())
    if cell.answers[0]["events"] is not None:
        events = np.dot(runs, [answer["events"] for answer in cell.answers]) / runs.sum()
        differences.append(events - known["events_mean"])
        variances.append(known["events_sd"] ** 2)
    errors = np.sqrt(np.maximum(np.array(variances) * share, 1e-12))
    worst = np.max(np.abs(differences) / errors)
    return float(worst) if np.isfinite(worst) else float("inf")
