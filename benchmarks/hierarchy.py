"""What an epoch of the published inference costs: white and black box at the settings under which the public code was measured, beside its times.

    make bench BENCH=hierarchy, or python benchmarks/hierarchy.py [--epochs 60] [--output reports/benchmark_hierarchy.md]

Processor seconds of training and evaluations (every 10 epochs, 100 draws); compilation stands apart. Needs the plate-reader files
(`python -m ssagrad data vi-hds`).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path

import jax
import report
from ssagrad import hierarchy
from ssagrad.hierarchy import neural, receiver
from ssagrad.hierarchy.plate_reader import fold

REFERENCE = {"white box": 2.1, "black box": 3.4}  # processor seconds per epoch of the public code, its worst defects repaired, on another machine
TARGET = 5.0


def main() -> int:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60, help="epochs of each model (60)")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the table there as well")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    wells = hierarchy.read_experiment(hierarchy.located("vi-hds"))
    training, new = (wells.wells(part) for part in fold(wells.num_wells, seed=0, number=1))
    systems = {"white box": (receiver.constant_expression(), (0.01,)), "black box": (neural.hierarchical(), (0.005,))}
    lines = [["model", "bound", "s per epoch", "compilation, s", "public code, s per epoch", "ratio", "target", ""]]
    for name, (system, rates) in systems.items():
        schedule = hierarchy.Schedule(epochs=arguments.epochs, rates=rates, milestones=())
        score = lambda *trained, system=system: hierarchy.evaluate(jax.random.key(0), system, *trained, new)
        train = partial(hierarchy.train, system=system, experiment=training, evaluate=score)
        _, first = _timed(lambda s=schedule, train=train: train(jax.random.key(1), schedule=s._replace(epochs=1)))
        trained, total = _timed(lambda s=schedule, train=train: train(jax.random.key(1), schedule=s))
        each = total / arguments.epochs
        ratio = REFERENCE[name] / each
        bound = trained.history[arguments.epochs].bound
        lines.append([name, f"{bound:.0f}", f"{each:.2f}", f"{first - each:.0f}", f"{REFERENCE[name]}", f"{ratio:.1f}×", f"{TARGET:g}×", report.verdict(ratio >= TARGET)])
        print(*lines[-1], file=sys.stderr, flush=True)
    machine = report.in_process(load, "Processor time, all threads.")
    note = (
        f"234 wells, batches of 36, K = 20 in training, 100 in evaluation, {arguments.epochs} epochs. The public code (PyTorch 2.13, one thread) was measured "
        "on another machine and at another time, so the ratio is an order of magnitude; its gradients are plain ones and its steps midpoint ones.\n"
    )
    report.publish("An epoch of hierarchical inference", [machine, report.table(lines), note], arguments.output)
    return 0


def _timed(run):
    begin = time.process_time()
    found = run()
    return found, time.process_time() - begin


if __name__ == "__main__":
    sys.exit(main())
