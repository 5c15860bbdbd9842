"""What many inferences at once cost beside as many single ones: descents on the means of the Hill repressilator, by estimator.

    make bench BENCH=inference, or python benchmarks/inference.py [--starts 50] [--steps 40] [--singles 3] [--output FILE.md]

Each descent is called as a user calls it, compilation included; single ones are timed one after the other with other starts, and their mean counts.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np
import optax
import report
from ssagrad import fitting, models, simulate
from ssagrad.estimators import forked_path, gumbel_softmax, score_function

TIMES = np.linspace(0.4, 8, 20)
NUM_PATHS = 256
ESTIMATORS = {
    "score function": score_function,
    "Gumbel-Softmax": partial(gumbel_softmax, temperature=0.5, cutoff=0.3),
    "alternative path (one fork)": forked_path,
}


def main() -> int:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=50, help="inferences at once (50)")
    parser.add_argument("--steps", type=int, default=40, help="steps of Adam, 256 paths each (40)")
    parser.add_argument("--singles", type=int, default=3, help="single inferences that are timed (3)")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the table there as well")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    network, rates, start, *_ = models.hill_repressilator()
    data = simulate(jax.random.key(0), network, rates, start, TIMES, num_paths=20_000)
    factors = np.random.default_rng(0).uniform(-0.7, 0.7, (arguments.starts, len(rates)))
    first = {name: np.log(value) + factors[:, i] for i, (name, value) in enumerate(rates.items())}
    lines = [["estimator", f"{arguments.starts} at once, s", "one, s", f"{arguments.starts} single ones / at once"]]
    for name, estimator in ESTIMATORS.items():
        loss = fitting.means_loss(
            lambda p, key, e=estimator: e(key, network, p, start, TIMES, num_paths=NUM_PATHS), data.mean(), scale=float(data.variance().mean())
        )
        fit = partial(fitting.descend, jax.random.key(1), loss, optimizer=optax.adam(0.05), num_steps=arguments.steps, on_failure="freeze")
        together = _seconds(lambda: fit(first))
        alone = np.mean([_seconds(lambda i=i: fit({p: v[i : i + 1] for p, v in first.items()})) for i in range(arguments.singles)])
        lines.append([name, f"{together:.1f}", f"{alone:.1f}", f"{arguments.starts * alone / together:.1f}×"])
        print(*lines[-1], file=sys.stderr, flush=True)
    machine = report.in_process(load, "Calls as a user makes them, compilation included.")
    note = f"{arguments.steps} steps of {NUM_PATHS} paths (20 times up to 8 protein lifetimes, about 800 events a path).\n"
    report.publish("Many inferences at once", [machine, report.table(lines), note], arguments.output)
    return 0


def _seconds(run) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
