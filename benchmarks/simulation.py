"""How many reaction events a second: ssagrad against other simulators and a plain C++ program, on the same work.

    python benchmarks/simulation.py [--systems SIR HILL] [--paths 1000] [--rounds 3] [--peers cpp crn_jax] [--output FILE.md]

Five networks (systems.py), 51 output times. Every simulator runs in a process of its own that stays warm; rounds go over all of
them in turn, the median counts, and a simulator whose means differ from the reference (reference.json) by more than five
standard errors is not ranked. A peer that is not installed is left out with a note. Targets: SIR 40 times the fastest peer
and 6 times C++; the other systems 20 and 4 times.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import fresh
import report
from peer_workers import PEERS
from rounds import Cell, Worker, measure
from systems import SYSTEMS

GPU_PATHS = 1_000_000


def main() -> int:
    """Measure, print, and write the table; status 1 if ssagrad itself failed or gave wrong means."""
    arguments = _arguments()
    names = ["own", *(name for name in PEERS if name in arguments.peers and name != "own")]
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"the machine is busy (load average {load:.1f}): ratios to single-threaded programs come out too low", file=sys.stderr)
    with open(os.devnull if not arguments.verbose else "/dev/stderr", "w") as log:
        workers = _start(names, log)
        try:
            rows = _rows(workers, arguments)
            device = workers["own"].versions.get("device", "cpu")
            large = None if device == "cpu" else _large(workers["own"], arguments.rounds)
        finally:
            for worker in workers.values():
                worker.close()
    parts = [
        report.machine(
            {name: worker.versions for name, worker in workers.items()},
            load,
            f"Warm calls, 51 output times, arrays on the host; median of {arguments.rounds} interleaved rounds.",
        ),
        report.rates(rows, list(workers)),
        report.ratios(rows),
    ]
    if large is not None:
        parts.append(report.device_row(device, GPU_PATHS, large))
    if not arguments.no_limits:
        parts.append(report.limits(fresh.measure_memory(), fresh.measure_cold()))
    parts.append(report.noise(rows))
    report.publish("Speed of exact simulation", parts, arguments.output)
    return 0 if all(cells["own"].valid for cells in rows.values()) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    others = [name for name in PEERS if name != "own"]
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS), metavar="SYSTEM", help=", ".join(SYSTEMS))
    parser.add_argument("--paths", nargs="+", type=int, default=[1_000, 10_000], metavar="N", help="1000 10000 unless told otherwise")
    parser.add_argument("--rounds", type=int, default=3, help="timed rounds over all simulators (3)")
    parser.add_argument("--peers", nargs="*", choices=others, default=others, metavar="PEER", help=", ".join(others))
    parser.add_argument("--no-limits", action="store_true", help="leave out peak memory and cold start")
    parser.add_argument("--output", type=Path, metavar="FILE.md", help="write the table there as well")
    parser.add_argument("--verbose", action="store_true", help="show what the simulators print")
    return parser.parse_args()


def _start(names: list[str], log) -> dict[str, Worker]:
    """The workers that can run; the others with a line that says what to install."""
    workers = {}
    for name in names:
        worker = Worker(name, log)
        if worker.missing is None:
            workers[name] = worker
            continue
        worker.close()
        if name == "own":
            sys.exit(f"ssagrad cannot be imported ({worker.missing}); make setup installs it")
        print(f"{PEERS[name].title} left out ({worker.missing}); install {' '.join(PEERS[name].install)}", file=sys.stderr)
    return workers


def _rows(workers: dict[str, Worker], arguments: argparse.Namespace) -> report.Rows:
    rows: report.Rows = {}
    for system in arguments.systems:
        for paths in arguments.paths:
            print(f"{system}, {paths:,} paths …", file=sys.stderr, flush=True)
            rows[system, paths] = measure(workers, system, paths, arguments.rounds)
    return rows


def _large(own: Worker, rounds: int) -> Cell:
    return measure({"own": own}, "SIR", GPU_PATHS, rounds)["own"]


if __name__ == "__main__":
    sys.exit(main())
