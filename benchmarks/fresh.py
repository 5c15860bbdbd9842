"""Peak memory and cold start of ssagrad, each in a fresh process: python fresh.py memory | cold."""

from __future__ import annotations

import os
import subprocess
import sys
import time

MEMORY_PATHS, MEMORY_TARGET_GB = 100_000, 1.5
COLD_PATHS, COLD_TARGET_S = 1_000, 5.0


def measure_memory() -> float:
    """Peak resident memory [GB] of a process that simulates 100,000 SIR paths with 51 times."""
    return float(_fresh_process("memory"))


def measure_cold() -> tuple[float, float]:
    """Seconds from the start of python to 1,000 SIR paths on the host, and of these up to the end of the imports."""
    begin = time.perf_counter()
    imported = float(_fresh_process("cold"))
    return time.perf_counter() - begin, imported


def _fresh_process(what: str) -> str:
    environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    done = subprocess.run([sys.executable, __file__, what], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return done.stdout.split()[-1]


def _main(what: str) -> None:
    begin = time.perf_counter()
    from peer_workers import own
    from systems import SYSTEMS

    imported = time.perf_counter() - begin
    own.prepare(SYSTEMS["SIR"], MEMORY_PATHS if what == "memory" else COLD_PATHS)(1)
    print(_peak_gigabytes() if what == "memory" else imported)


def _peak_gigabytes() -> float:
    """Peak resident memory of this process [GB]."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


if __name__ == "__main__":
    _main(sys.argv[1])
