"""The discrete stochastic models test suite of SBML (DSMTS): every case read, simulated and scored as its user guide says.

    python benchmarks/dsmts.py --folder cases/stochastic [--paths 10000] [--seeds 0,1] [--sharp 100000] [--write]

The cases are public (github.com/sbmlteam/sbml-test-suite, folder cases/stochastic) and not part of this repository. For each variable at each of 51
times, with mean μ and standard deviation σ as given by the suite and n paths: Z = √n (mean − μ)/σ has to stay within ±3, and
Y = √(n/2) (S²/σ² − 1), where S² is the mean square deviation from μ, within ±5. Y is a normal number for a normal X only: its standard
deviation is √((κ − 1)/2) with the kurtosis κ of X, so Y is also given divided by that, with κ as measured. Where σ = 0 both have to be exact.

Source: Evans, Gillespie and Wilkinson 2008, doi:10.1093/bioinformatics/btm566.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import sys
import time
from importlib import metadata
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import jax
import numpy as np
import report
from ssagrad import sbml

NUM_CASES, LARGEST_Z, LARGEST_Y = 39, 3.0, 5.0
EXERCISED = {
    "BoundaryCondition": "boundary species",
    "NonUnityCompartment": "volume not 1",
    "AssignmentRule": "assignment rule",
    "LocalParameters": "local parameters",
}
TARGET = Path(__file__).resolve().parent.parent / "reports" / "benchmark_dsmts.md"


class Score(NamedTuple):
    """One case with one seed: the largest |Z| and |Y|, how many of all scores are out of bounds, the largest |Y| in its own deviations, kurtosis."""

    z: float
    y: float
    z_out: int
    y_out: int
    scaled_y: float
    kurtosis: float
    number: int
    seconds: float


class Case(NamedTuple):
    """A case: what it exercises, a model or why it is refused, and the means and standard deviations [T] of its variables."""

    name: str
    exercises: str
    model: sbml.Model | str
    times: np.ndarray
    exact: dict[str, tuple[np.ndarray, np.ndarray]]
    concentrations: frozenset[str]


def main() -> int:
    """Score, print, and write the table; 1 if a case is refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="cases/stochastic of the suite")
    parser.add_argument("--paths", type=int, default=10_000, help="paths per case (10,000)")
    parser.add_argument("--seeds", default="0,1", help="one table column each (0,1)")
    parser.add_argument("--sharp", type=int, default=100_000, help="paths of the last column, with one seed more (100,000; 0: no such column)")
    parser.add_argument("--cases", type=int, default=NUM_CASES, help="how many, from 00001 on (39; the rest needs the package distrib)")
    parser.add_argument("--version", default="l3v2", help="which form of the documents is read (l3v2; where missing, the newest there is)")
    parser.add_argument("--write", action="store_true", help="write reports/benchmark_dsmts.md")
    arguments = parser.parse_args()
    runs = [(int(seed), arguments.paths) for seed in arguments.seeds.split(",")]
    runs += [(max(seed for seed, _ in runs) + 1, arguments.sharp)] if arguments.sharp else []
    rows, found, load = [], {run: [] for run in runs}, os.getloadavg()[0]
    for number in range(1, arguments.cases + 1):
        case = read_case(arguments.folder / f"{number:05d}", arguments.version)
        for run in runs:
            found[run].append(score(case, *run) if isinstance(case.model, sbml.Model) else None)
        rows.append(row(case, [scores[-1] for scores in found.values()]))
        print(*rows[-1], sep=" | ", file=sys.stderr, flush=True)
    text = page(rows, found, load)
    print(text)
    if arguments.write:
        TARGET.write_text(text, encoding="utf-8")
    return int(any(one is None for scores in found.values() for one in scores))


def read_case(folder: Path, version: str) -> Case:
    """The model in the form asked for, and what the suite says about it."""
    name = folder.name
    settings = dict(line.split(":", 1) for line in (folder / f"{name}-settings.txt").read_text("utf-8").splitlines() if ":" in line)
    settings = {key.strip(): value.strip() for key, value in settings.items()}
    start, duration, steps = (float(settings[key]) for key in ("start", "duration", "steps"))
    with open(folder / f"{name}-results.csv", encoding="utf-8") as file:
        columns = {key.strip(): [] for key in next(csv.reader(file))}
        for line in csv.reader(file):
            for key, value in zip(columns, line, strict=False):
                columns[key].append(float(value))
    variables = [part.strip() for part in settings["variables"].split(",")]
    exact = {v: (np.array(columns[f"{v}-mean"]), np.array(columns[f"{v}-sd"])) for v in variables}
    documents = sorted(folder.glob(f"{name}-sbml-*.xml"))
    chosen = next((d for d in documents if version in d.name), documents[-1])
    try:
        model = sbml.read(chosen)
    except sbml.SbmlError as error:
        model = str(error)
    tags = set(re.findall(r"\w+", " ".join(re.findall(r"(?:componentTags|testTags):(.*)", (folder / f"{name}-model.m").read_text("utf-8")))))
    concentrations = frozenset(part.strip() for part in settings.get("concentration", "").split(",") if part.strip())
    times = start + duration * np.arange(int(steps) + 1) / steps
    return Case(name, exercised(model, tags), model, times, exact, concentrations)


def exercised(model: sbml.Model | str, tags: set[str]) -> str:
    """The model and what is special about it."""
    what = [text for tag, text in EXERCISED.items() if tag in tags]
    what += ["concentrations"] if "HasOnlySubstanceUnits" not in tags else []
    what += ["event at a time" if "CSymbolTime" in tags else "event of counts"] if "EventNoDelay" in tags else []
    name = model.name.replace(" model", "") if isinstance(model, sbml.Model) else ""
    return ": ".join(part for part in (re.sub(r"\s*\(\d+\), variant \d+", "", name), ", ".join(what)) if part)


def score(case: Case, seed: int, num_paths: int) -> Score:
    """Z and Y of all variables at all times of one ensemble."""
    begin = time.perf_counter()
    paths = case.model.simulate(jax.random.fold_in(jax.random.key(seed), int(case.name)), case.times, num_paths=num_paths)
    found = {name: np.asarray(paths.samples(_observable(case, name)), float) for name in case.exact}
    seconds = time.perf_counter() - begin
    z, y, scaled, kurtosis = [], [], [], []
    for name, (mean, deviation) in case.exact.items():
        error = found[name] - mean
        known = deviation > 0
        exactly = np.abs(error[:, ~known]).max(initial=0) < 1e-5 * max(1.0, np.abs(mean).max())
        sigma = np.where(known, deviation, 1.0)
        z.append(np.where(known, np.sqrt(num_paths) * error.mean(0) / sigma, 0.0 if exactly else np.inf))
        y.append(np.where(known, np.sqrt(num_paths / 2) * ((error**2).mean(0) / sigma**2 - 1), 0.0 if exactly else np.inf))
        fourth = np.where(known, (error**4).mean(0) / np.maximum((error**2).mean(0), 1e-100) ** 2, 3.0)
        scaled.append(y[-1] / np.sqrt(np.maximum((fourth - 1) / 2, 1e-9)))
        kurtosis.append(fourth)
    z, y, scaled, kurtosis = (np.concatenate(values) for values in (z, y, scaled, kurtosis))
    largest = int(np.argmax(np.abs(y)))
    return Score(
        *(float(np.abs(values).max()) for values in (z, y)),
        int((np.abs(z) >= LARGEST_Z).sum()),
        int((np.abs(y) >= LARGEST_Y).sum()),
        float(np.abs(scaled).max()),
        float(kurtosis[largest]),
        len(z),
        seconds,
    )


def _observable(case: Case, name: str):
    if name in case.concentrations:
        return case.model.observable(f"[{name}]")
    return case.model.observable(name) if name in case.model.observables else name


def row(case: Case, scores: list[Score | None]) -> list[str]:
    """One line of the table."""
    if not isinstance(case.model, sbml.Model):
        return [case.name, case.exercises, f"refused: {case.model}", *[""] * (len(scores) - 1)]
    return [case.name, case.exercises, *(_cell(one) for one in scores)]


def _cell(one: Score) -> str:
    bad = "" if one.z_out + one.y_out == 0 else f", **{one.z_out} Z and {one.y_out} Y of {one.number} out**"
    heavy = f" (κ = {one.kurtosis:.0f}: {one.scaled_y:.1f})" if one.kurtosis > 6 else ""
    return f"{one.z:.2f}, {one.y:.2f}{heavy}, {one.seconds:.1f} s{bad}"


def page(rows: list[list[str]], found: dict[tuple[int, int], list[Score | None]], load: float) -> str:
    """The report: machine, table, how many cases pass, and what chance alone would do."""
    versions = {name: metadata.version(name) for name in ("ssagrad", "jax", "python-libsbml")} | {"device": jax.default_backend()}
    machine = report.machine({"all": versions}, load, "One call of Model.simulate per case and seed, compilation included.")
    head = ["case", "what it exercises", *(f"seed {seed}, {paths:,} paths" for seed, paths in found)]
    rule = (
        "Each cell: largest |Z|, largest |Y| (where the kurtosis κ exceeds 6 also κ and the largest |Y| over its own standard deviation √((κ − 1)/2)), time. "
        f"A case passes if every Z stays within ±{LARGEST_Z:g} and every Y within ±{LARGEST_Y:g}, the means and variances of the suite being exact.\n"
    )
    return "\n".join(["# SBML discrete stochastic models test suite\n", machine, rule, report.table([head, *rows]), *map(_summary, found.items())])


def _summary(run: tuple[tuple[int, int], list[Score | None]]) -> str:
    (seed, paths), scores = run
    done = [one for one in scores if one is not None]
    passed = sum(one.z_out + one.y_out == 0 for one in done)
    number, out = sum(one.number for one in done), sum(one.z_out for one in done)
    limit = -NormalDist().inv_cdf(0.025 / number)
    wild = [f"{one.y:.1f} (κ = {one.kurtosis:.0f})" for one in done if one.y_out]
    return (
        f"Seed {seed}, {paths:,} paths: {passed} of {len(scores)} cases with no score out of bounds. {out} of {number:,} Z are out of ±{LARGEST_Z:g} "
        f"(independent scores of a right simulator: {number * 2 * NormalDist().cdf(-LARGEST_Z):.1f}); the largest |Z| is {max(one.z for one in done):.2f}, "
        f"and {limit:.2f} bounds all of so many independent ones with probability 0.95. Cases with Y out of ±{LARGEST_Y:g}: {', '.join(wild) or 'none'}; the "
        f"largest |Y| over its own standard deviation is {max(one.scaled_y for one in done):.2f}.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
