"""The simulators of the benchmark, one module each, run by `worker.py` in a process of its own.

Each module has `prepare(system, num_paths)`, which builds and compiles, and returns `run(seed) -> Outcome`; a call of `run` does the
whole work: all paths, counts at the 51 output times, arrays on the host.
"""

from __future__ import annotations

from typing import NamedTuple


class Peer(NamedTuple):
    """How a simulator is shown, what to install for it, and whether it may be the fastest peer."""

    title: str
    install: tuple[str, ...]
    ranked: bool = True


PEERS = {
    "own": Peer("ssagrad", ("ssagrad",), ranked=False),
    "cpp": Peer("C++", ("g++",), ranked=False),
    "gillespy2": Peer("gillespy2", ("gillespy2", "scons")),
    "gillespy2_o3": Peer("gillespy2, patched to -O3", ("gillespy2", "scons"), ranked=False),
    "libroadrunner": Peer("libroadrunner", ("libroadrunner", "python-libsbml")),
    "stochastix": Peer("stochastix", ("stochastix",)),
    "jsmfsb": Peer("jsmfsb", ("jsmfsb",)),
    "crn_jax": Peer("crn-jax", ("crn-jax",)),
}
