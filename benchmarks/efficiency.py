"""What a gradient of a given precision costs: variance × seconds of each estimator, beside the score function.

    make bench BENCH=efficiency, or python benchmarks/efficiency.py [--paths 40000] [--repetitions 3] [--output FILE.md]

Gradients of the mean of one species at the last time, by `ssagrad.estimators.compare`: variances from all repetitions, seconds the median of warm
gradients as a user writes them (`jax.grad`), geometric means over the parameters. Targets for Dynkin controls: 50 times on immigration–death and
association, 5 times on both repressilators, never less than 1. "With the last pilot": the value function is taken over, as between the steps of an
optimisation.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

import jax
import report
from ssagrad import models
from ssagrad.estimators import compare, coupled_difference, dynkin_controls, forked_path, gain, score_function, truth

REFERENCE, FLAGSHIP, CARRIED = "score function", "Dynkin controls", "Dynkin controls, with the last pilot"
TARGETS = {"immigration–death": 50.0, "association": 50.0, "repressilator, Hill": 5.0, "repressilator, promoters": 5.0}


def main() -> int:
    """Measure, print, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=40_000, metavar="N", help="of one gradient (40,000)")
    parser.add_argument("--repetitions", type=int, default=3, help="gradients by each estimator (3)")
    parser.add_argument("--only", nargs="*", metavar="NETWORK", help="some of the networks")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the table there as well")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    cases = {name: (*problem.model[:3], problem.horizon, problem.species) for name, problem in truth.problems().items()}
    cases["repressilator, Hill"] = (*models.hill_repressilator()[:3], 8.0, "P1")
    cases["repressilator, promoters"] = (*models.promoter_repressilator()[:3], 8.0, "P1")
    lines = [["efficiency / that of the score function", "variance", "time", "efficiency", "target", "", FEW, *OTHERS]]
    for name in arguments.only or cases:
        lines.append(_line(name, *cases[name], arguments))
        print(*lines[-1], file=sys.stderr, flush=True)
    timing = f"Warm calls, arrays on the host; median of {arguments.repetitions} interleaved rounds."
    machine = report.in_process(load, timing)
    note = (
        f"{arguments.paths:,} paths. Variance: of the score function (leave-one-out baseline) over that of Dynkin controls. Time: of a gradient by Dynkin "
        "controls, pilot included, over one by the score function. Efficiency: variance / time; the pilot takes its time however many the paths "
        "are, so also with a quarter of them. Other columns: efficiency of other ways, over that of "
        "the score function; coupled differences (± 5 %) are slightly biased. Where all rates are linear, single precision is what is left of the "
        "variance. The networks and what is observed are those of `ssagrad.estimators.truth.problems`, and both repressilators at T = 8.\n"
    )
    report.publish("Variance × seconds of gradients", [machine, report.table(lines), note], arguments.output)
    return 0


FEW = "with a quarter of the paths"
OTHERS = (CARRIED, "forked path, 4 forks", "coupled difference")


def _line(name: str, network, parameters, initial_counts, horizon: float, species: str, arguments: argparse.Namespace) -> list[str]:
    """One network: variance, time and efficiency of the flagship, and the efficiencies of the others."""
    pilot = dynkin_controls(jax.random.key(9), network, parameters, initial_counts, [horizon], num_paths=arguments.paths)
    chosen = {REFERENCE: score_function, FLAGSHIP: dynkin_controls, CARRIED: partial(dynkin_controls, pilot=pilot)}
    chosen |= {OTHERS[1]: partial(forked_path, num_forks=4), OTHERS[2]: coupled_difference}
    size = {"num_paths": arguments.paths, "repetitions": arguments.repetitions}
    rows = compare(chosen, jax.random.key(1), network, parameters, initial_counts, [horizon], observable=species, **size)
    variance, efficiency = (gain(rows, REFERENCE, per=cost) for cost in ("path", "second"))
    few = size | {"num_paths": arguments.paths // 4, "repetitions": 4 * arguments.repetitions}
    both = {label: chosen[label] for label in (REFERENCE, FLAGSHIP)}
    with_few = gain(compare(both, jax.random.key(2), network, parameters, initial_counts, [horizon], observable=species, **few), REFERENCE, per="second")
    target = TARGETS.get(name, 1.0)
    cells = [variance[FLAGSHIP], variance[FLAGSHIP] / efficiency[FLAGSHIP], efficiency[FLAGSHIP]]
    verdict = report.verdict(efficiency[FLAGSHIP] >= target)
    return [name, *(f"{cell:.3g}" for cell in cells), f"≥ {target:g}", verdict, f"{with_few[FLAGSHIP]:.3g}", *(f"{efficiency[label]:.3g}" for label in OTHERS)]


if __name__ == "__main__":
    sys.exit(main())
