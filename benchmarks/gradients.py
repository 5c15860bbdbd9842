"""What a gradient costs: each estimator beside the plain simulation of the same paths, and beside the gradients of stochastix.

    make bench BENCH=gradients, or python benchmarks/gradients.py [--paths 1000 10000] [--rounds 3] [--no-peer] [--output FILE.md]

The gradient is that of the mean of one species at the last of 11 times, in all parameters, by `jax.grad` as a user writes it; each round times the
plain simulation with the same mean right before each estimator, all warm, and the ratio counts. "In jax.jit" both are inside one `jax.jit`, on one
core. Targets: score function 2 times the simulation, Gumbel-Softmax with 3 parameters 6 times, one fork 4 times. Against stochastix, 1,000 paths of
about 2,000 events each: 50 times faster in a tenth of the memory than with its own rate laws; with laws that we wrote for it, without a target.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import report
from rounds import Worker
from ssagrad import models, simulate
from ssagrad.estimators import (
    alternative_path,
    coupled_difference,
    dynkin_controls,
    forked_path,
    gumbel_softmax,
    score_function,
)

SCRIPT = Path(__file__).parent / "gradient_worker.py"
MEMORY_LIMIT_GB = 16.0
SECONDS_LIMIT = 300.0
PEER_PATHS = 1_000
SPEED_TARGET, MEMORY_TARGET = 50.0, 10.0
BY_HAND = ", laws by hand"  # as `peer_workers.stochastix_gradients` calls them
PEER_METHODS = tuple(method + laws for method in ("score", "straight-through", "straight-through, checkpointed") for laws in ("", BY_HAND))


class Case(NamedTuple):
    """A model, the species whose mean is differentiated, a horizon, a cutoff for straight-through, and the largest total propensity."""

    model: models.Model
    observable: str
    horizon: float
    cutoff: float
    rate_bound: float


CASES = {
    "association": Case(models.association(), "C", 4.0, 0.2, 120.0),
    "SIR": Case(models.sir(), "I", 1.0, 0.02, 26_000.0),
    "Hill repressilator": Case(models.hill_repressilator(), "P1", 16.0, 0.5, 500.0),
}
TARGETS = {"score function": 2.0, "score function, in jax.jit": 2.0, "Gumbel-Softmax": 6.0, "one fork": 4.0}
TARGET_NUM_PARAMETERS = {"Gumbel-Softmax": 3}
MOST_ALTERNATIVE_STEPS = 10_000_000  # num_paths × rate_bound × horizon


ESTIMATORS = ("score function", "Gumbel-Softmax", "one fork", "Dynkin controls", "coupled difference", "alternative path")


def estimators(case: Case, num_paths: int) -> dict:
    """Estimators by name; the alternative path only where it takes no minutes."""
    chosen = {
        "score function": score_function,
        "Gumbel-Softmax": partial(gumbel_softmax, temperature=1.0, cutoff=case.cutoff),
        "one fork": forked_path,
        "Dynkin controls": dynkin_controls,
        "coupled difference": coupled_difference,
    }
    if num_paths * case.rate_bound * case.horizon <= MOST_ALTERNATIVE_STEPS:
        chosen["alternative path"] = partial(alternative_path, rate_bound=case.rate_bound)
    return chosen


def main() -> int:
    """Measure, print, and write the table."""
    arguments = _arguments()
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"the machine is busy (load average {load:.1f}): ratios are noisy", file=sys.stderr)
    ratios = {
        (name, paths): cost_of_gradients(case, name, paths, arguments.rounds, arguments.estimators)
        for name, case in CASES.items()
        if name in arguments.cases
        for paths in arguments.paths
    }
    parts = [_relative(ratios)] if ratios else []
    print(*parts, file=sys.stderr, flush=True)
    versions = {name: metadata.version(name) for name in ("ssagrad", "jax")} | {"device": jax.default_backend()}
    if not arguments.no_peer:
        parts.append(_beside_stochastix(arguments.rounds, versions))
    timing = f"Warm calls, arrays on the host; median of {arguments.rounds} interleaved rounds."
    report.publish("Cost of gradients", [report.machine({"all": versions}, load, timing), *parts], arguments.output)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="*", choices=CASES, default=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--estimators", nargs="+", choices=ESTIMATORS, default=ESTIMATORS, metavar="NAME", help=", ".join(ESTIMATORS))
    parser.add_argument("--paths", nargs="+", type=int, default=[1_000, 10_000], metavar="N", help="1000 10000 unless told otherwise")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds over all estimators (3)")
    parser.add_argument("--no-peer", action="store_true", help="leave stochastix out")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the table there as well")
    return parser.parse_args()


def cost_of_gradients(case: Case, name: str, num_paths: int, rounds: int, wanted: tuple[str, ...]) -> dict[str, list[float]]:
    """Seconds of the gradient over seconds of the plain simulation, by estimator, one ratio a round; "simulation": its seconds."""
    network, parameters, initial_counts = case.model[:3]
    times = np.linspace(0, case.horizon, 11)

    def plain(key):
        return simulate(key, network, parameters, initial_counts, times, num_paths=num_paths).mean(case.observable)[-1]

    def gradient(estimator, key):
        def mean(theta):
            return estimator(key, network, theta, initial_counts, times, num_paths=num_paths).mean(case.observable)[-1]

        return jax.grad(mean)(parameters)

    pairs = {label: (plain, partial(gradient, estimator)) for label, estimator in estimators(case, num_paths).items() if label in wanted}
    if "score function" in pairs:
        pairs["score function, in jax.jit"] = tuple(map(jax.jit, pairs["score function"]))
    ratios: dict[str, list[float]] = {label: [] for label in ("simulation", *pairs)}
    for label, pair in pairs.items():
        print(f"{name}, {num_paths:,} paths, {label} …", file=sys.stderr, flush=True)
        jax.block_until_ready([run(jax.random.key(0)) for run in pair])
    for seed in range(1, rounds + 1):
        for label, pair in pairs.items():
            alone, whole = (_seconds(partial(run, jax.random.key(seed))) for run in pair)
            ratios[label].append(whole / alone)
            ratios["simulation"] += [alone] if pair[0] is plain else []
    print({label: np.round(found, 4).tolist() for label, found in ratios.items()}, file=sys.stderr, flush=True)
    return ratios


def _seconds(run, at_least: float = 0.1) -> float:
    """Median seconds of as many runs as fit into the time."""
    found = []
    while sum(found) < at_least:
        begin = time.perf_counter()
        jax.block_until_ready(run())
        found.append(time.perf_counter() - begin)
    return statistics.median(found)


def _relative(rows: dict) -> str:
    """A row an estimator, a column a case: median ratio and its range over rounds."""
    labels = list(dict.fromkeys(label for row in rows.values() for label in row if label != "simulation"))
    columns = [f"{name} ({len(CASES[name].model.parameters)}), {paths:,}" for name, paths in rows]
    lines = [["time of a gradient / simulation", *columns, "target", ""]]
    lines.append(["simulation alone, ms", *(f"{1e3 * statistics.median(row['simulation']):.3g}" for row in rows.values()), "", ""])
    for label in labels:
        cells = [row.get(label) for row in rows.values()]
        shown = ["–" if found is None else f"{statistics.median(found):.1f} ({min(found):.1f}–{max(found):.1f})" for found in cells]
        target = TARGETS.get(label)
        counted = [
            statistics.median(row[label])
            for (name, _), row in rows.items()
            if len(CASES[name].model.parameters) >= TARGET_NUM_PARAMETERS.get(label, 0)
        ]
        verdict = "" if target is None or not counted else f"{sum(ratio <= target for ratio in counted)} of {len(counted)} met"
        lines.append([label, *shown, "" if target is None else f"≤ {target:g}", verdict])
    note = (
        "Columns: model (number of parameters), paths. Medians over rounds (smallest–largest). Gumbel-Softmax at temperature 1 in forward mode; its "
        "target is for 3 parameters. Coupled differences run one pair of paths a parameter. –: not measured (the alternative path where it would "
        "take minutes). Where a simulation takes few milliseconds, most of the ratio is the time in which Python takes the derivative, which "
        "`jax.jit` saves.\n"
    )
    return report.table(lines) + "\n" + note


class GradientWorker(Worker):
    """A `gradient_worker.py` process, which is killed when an answer takes too long."""

    def __init__(self, module: str, system: str, method: str, species: str):
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT, module, system, method, species, str(PEER_PATHS), str(MEMORY_LIMIT_GB)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONWARNINGS": "ignore"},
        )
        answer = self._read()
        self.missing, self.error = answer.get("missing"), answer.get("error")
        self.answers: list[dict] = []

    def _read(self) -> dict:
        timer = threading.Timer(SECONDS_LIMIT, self.process.kill)
        timer.start()
        try:
            answer = super()._read()
        finally:
            timer.cancel()
        if answer.get("error", "").startswith("the process ended"):
            answer["error"] = f"did not finish within {SECONDS_LIMIT:g} s and {MEMORY_LIMIT_GB:g} GB ({answer['error']})"
        return answer

    def measure(self, seed: int) -> None:
        """One more gradient, unless one failed."""
        if self.error is None:
            answer = self.ask("run", seed)
            self.error = answer.get("error")
            self.answers += [] if self.error else [answer]


def _beside_stochastix(rounds: int, versions: dict) -> str:
    """The same gradients by both, in turn, in a process each."""
    head = ["1,000 paths", "ssagrad, s", "stochastix, s", "times faster", "target", "", "ssagrad, GB", "stochastix, GB", "of its memory"]
    lines = [[*head, "target", ""]]
    notes = []
    for system, species in (("SIR", "I"), ("REP12", "P1")):
        for method in PEER_METHODS:
            print(f"{system}, {method}, stochastix …", file=sys.stderr, flush=True)
            own_method = method.split(",")[0]
            own, peer = ((module, system, name, species) for module, name in (("own_gradients", own_method), ("stochastix_gradients", method)))
            pair = GradientWorker(*own), GradientWorker(*peer)
            if pair[1].missing:
                return f"stochastix left out ({pair[1].missing}); install stochastix\n"
            versions["stochastix"] = metadata.version("stochastix")
            for seed in range(1, rounds + 1):
                for worker in pair:
                    worker.measure(seed)
            for worker in pair:
                worker.close()
            lines.append([f"{system}, {method}", *_pair(*pair, has_target=not method.endswith(BY_HAND))])
            notes += [f"- stochastix, {system}, {method}: {pair[1].error}" for _ in range(pair[1].error is not None)]
    about = (
        "SIR has 2 reactions and 2 parameters, REP12 12 reactions and 6 parameters; about 2,000 events a path. Seconds of one warm gradient in all "
        "parameters, medians; memory is the largest during it less that before it. "
        "What stochastix computes is less: its score leaves out the unfinished waiting time, and its straight-through gradient "
        "the waiting times, so that both are biased. Its number of steps is bounded as tightly as the reference allows (its default of 100,000 would cost "
        "some fifty times as much). Its rate laws are those of its documentation (`MassAction`, `HillRepressor`), to which the targets refer; "
        "“laws by hand” are plain expressions which we wrote for it, because it runs them five to ten times faster.\n"
    )
    return "\n".join([report.table(lines), *notes, about])


def _pair(own: GradientWorker, peer: GradientWorker, *, has_target: bool) -> list[str]:
    if own.error or not own.answers:
        raise RuntimeError(f"ssagrad failed: {own.error}")
    seconds, memory = ([_median(own, key)] for key in ("seconds", "run_gigabytes"))
    targets = [f"{SPEED_TARGET:g}×", f"1/{MEMORY_TARGET:g}"] if has_target else ["–", "–"]
    if peer.error or not peer.answers:
        return [f"{seconds[0]:.3g}", "did not finish", "–", targets[0], "–", f"{memory[0]:.3f}", "–", "–", targets[1], "–"]
    for numbers, key in ((seconds, "seconds"), (memory, "run_gigabytes")):
        numbers.append(_median(peer, key))
    faster = [theirs["seconds"] / ours["seconds"] for ours, theirs in zip(own.answers, peer.answers, strict=True)]
    ratio = statistics.median(faster)
    return [
        *(f"{value:.3g}" for value in seconds),
        f"{ratio:.0f}× ({min(faster):.0f}–{max(faster):.0f})",
        targets[0],
        report.verdict(ratio >= SPEED_TARGET) if has_target else "",
        *(f"{value:.3f}" for value in memory),
        f"1/{memory[1] / max(memory[0], 1e-3):.1f}",
        targets[1],
        report.verdict(memory[1] >= MEMORY_TARGET * memory[0]) if has_target else "",
    ]


def _median(worker: GradientWorker, key: str) -> float:
    return statistics.median(answer[key] for answer in worker.answers)


if __name__ == "__main__":
    sys.exit(main())
