"""Reference moments of the five systems: python reference.py writes reference.json with the C++ program.

Per system: mean, standard deviation and maximum of the number of events a path, and mean and variance of every species at the readout
times, over `paths` paths. Each peer, the C++ program among them with other seeds, is held against these before its time counts;
the peers come from seven independent sources, so a wrong reference would fail them all.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from systems import READOUTS, SYSTEMS

FILE = Path(__file__).parent / "reference.json"
PATHS = 200_000
SEED = 20_261_121


@cache
def _all() -> dict:
    return json.loads(FILE.read_text())


def reference(system: str) -> dict:
    """The stored moments of one system; fails if its parameters have changed since they were written."""
    known = _all()[system]
    if known["parameters"] != SYSTEMS[system].parameters:
        raise ValueError(f"{system}: parameters differ from reference.json; renew it with: python benchmarks/reference.py")
    return known


def main() -> None:
    """Simulate all systems anew and store the moments to six digits."""
    from peer_workers import cpp

    table = {}
    for name, system in SYSTEMS.items():
        done = cpp.simulate(system, PATHS, SEED)
        mean = done["events"] / PATHS
        table[name] = {
            "parameters": system.parameters,
            "paths": PATHS,
            "events_mean": round(mean, 3),
            "events_sd": round((done["events_squared"] / PATHS - mean**2) ** 0.5, 3),
            "events_most": done["events_most"],
            "means": [[float(f"{v:.8g}") for v in done["means"][k]] for k in READOUTS],
            "variances": [[float(f"{v:.6g}") for v in done["variances"][k]] for k in READOUTS],
        }
        print(name, table[name]["events_mean"], table[name]["events_sd"])
    FILE.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
