"""Plain single-threaded C++: `direct_method.cpp`, compiled with g++ -O3 -march=native when the benchmark starts."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from systems import NUM_TIMES, System

from .outcome import Outcome

if shutil.which("g++") is None:
    raise ImportError("g++ is not on the path")

SOURCE = Path(__file__).parent.parent / "direct_method.cpp"


@cache
def executable() -> Path:
    """The compiled program, in a folder that goes when the process ends."""
    folder = tempfile.mkdtemp(prefix="ssagrad-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = Path(folder) / "direct_method"
    subprocess.run(["g++", "-std=c++17", "-O3", "-march=native", SOURCE, "-o", target], check=True)
    return target


def simulate(system: System, num_paths: int, seed: int) -> dict:
    """One run of the program: seconds of its loop, events, and mean and variance [times, species]."""
    work = [system.name, num_paths, seed, system.horizon, NUM_TIMES, *system.parameters.values()]
    done = subprocess.run([executable(), *map(str, work)], check=True, capture_output=True, text=True)
    seconds, events, events_squared, events_most, *moments = map(float, done.stdout.split())
    table = np.array(moments).reshape(NUM_TIMES, len(system.species), 2)
    return {
        "seconds": seconds,
        "events": events,
        "events_squared": events_squared,
        "events_most": events_most,
        "means": table[..., 0],
        "variances": table[..., 1],
    }


def prepare(system: System, num_paths: int):
    """The compiled program; its seconds are those of the simulation loop, without starting and reading."""
    executable()

    def run(seed: int) -> Outcome:
        done = simulate(system, num_paths, seed)
        return Outcome(events=done["events"], seconds=done["seconds"], means=done["means"])

    return run
