"""One simulator in a process of its own that stays warm: python worker.py PEER.

It reads commands from stdin, one a line, and answers each with one line of JSON:

    versions                    names and versions of what it runs on
    prepare SYSTEM PATHS        build and compile; seconds taken
    run SYSTEM PATHS SEED       seconds of a warm run (the median of as many as fit into SECONDS), how many runs these were,
                                and over all of them the events a path (or null) and the means [readouts][species]
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import statistics
import sys
import time

import numpy as np
from peer_workers import PEERS
from systems import READOUTS, SYSTEMS

SECONDS = 0.3


def main(name: str) -> None:
    """Serve until stdin closes; whatever the libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        peer = importlib.import_module(f"peer_workers.{name}")
    except ImportError as error:
        answers.write(json.dumps({"missing": str(error)}) + "\n")
        return
    answers.write(json.dumps({"versions": versions(name)}) + "\n")
    ready: dict = {}
    commands = {"prepare": prepare, "run": run}
    for line in sys.stdin:
        command, *arguments = line.split()
        try:
            answer = commands[command](peer, ready, *arguments)
        except Exception as error:  # the driver reports it and goes on without this cell
            answer = {"error": f"{type(error).__name__}: {str(error)[:300]}"}
        answers.write(json.dumps(answer) + "\n")


def versions(name: str) -> dict:
    """Installed versions of the peer's packages, and JAX with its device where the peer uses it."""
    found = {}
    for package in PEERS[name].install:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if "jax" in sys.modules:
        import jax

        found["jax"] = jax.__version__
        found["device"] = "cpu" if jax.default_backend() == "cpu" else jax.devices()[0].device_kind
    return found


def prepare(peer, ready: dict, system: str, paths: str) -> dict:
    """Build and compile, with one full run where that is what compiles; none of it is in a timed run."""
    begin = time.perf_counter()
    ready[system, paths] = peer.prepare(SYSTEMS[system], int(paths))
    if "jax" in sys.modules:
        ready[system, paths](0)
    return {"seconds": time.perf_counter() - begin}


def run(peer, ready: dict, system: str, paths: str, seed: str) -> dict:
    """Timed runs with different seeds until SECONDS have passed, at least one."""
    seconds, events, means = [], [], []
    while sum(seconds) < SECONDS:
        begin = time.perf_counter()
        outcome = ready[system, paths](1000 * int(seed) + len(seconds))
        elapsed = time.perf_counter() - begin
        seconds.append(elapsed if outcome.seconds is None else outcome.seconds)
        events.append(outcome.events)
        means.append(_readouts(outcome))
    return {
        "seconds": statistics.median(seconds),
        "runs": len(seconds),
        "events": None if events[0] is None else float(np.mean(events)) / int(paths),
        "means": np.mean(means, axis=0).tolist(),
    }


def _readouts(outcome) -> np.ndarray:
    """Means [readouts, species] of one run."""
    if outcome.means is not None:
        return outcome.means[list(READOUTS)]
    counts = outcome.counts() if callable(outcome.counts) else outcome.counts
    return np.asarray(counts)[:, list(READOUTS)].mean(axis=0, dtype=np.float64)


if __name__ == "__main__":
    main(sys.argv[1])
