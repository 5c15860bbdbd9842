"""One gradient in a process of its own, with a limit on its memory: python gradient_worker.py MODULE SYSTEM METHOD SPECIES PATHS GB.

It answers each line on stdin, `run SEED`, with a line of JSON: seconds of one gradient, the gradient by parameter, and the memory [GB] that this one
run took. The first answer, before any command, is that of a run that compiles.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import resource
import sys
import threading
import time


def main(module: str, system: str, method: str, species: str, paths: str, limit: str) -> None:
    """Serve until stdin closes; whatever the libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (int(float(limit) * 1e9),) * 2)
    try:
        import jax
        from systems import SYSTEMS

        peer = importlib.import_module(f"peer_workers.{module}")
    except ImportError as error:
        answers.write(json.dumps({"missing": str(error)}) + "\n")
        return
    jax.block_until_ready(jax.numpy.zeros(1) + 1)
    run = None
    for seed in _seeds():
        try:
            run = run or peer.prepare(SYSTEMS[system], method, species, int(paths))
            with Memory() as memory:
                begin = time.perf_counter()
                gradient = run(seed)
                seconds = time.perf_counter() - begin
            answer = {"seconds": seconds, "gradient": gradient, "run_gigabytes": memory.gigabytes}
        except Exception as error:  # the driver reports it and goes on without this cell
            answer = {"error": f"{type(error).__name__}: {str(error)[:200]}"}
        answers.write(json.dumps(answer) + "\n")


class Memory:
    """Largest resident memory of this process during a block, less that before it [GB], sampled every 2 ms; 0 where there is no /proc."""

    def __enter__(self) -> Memory:
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)
        self.start = self.largest = _resident()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.ended.wait(0.002):
            self.largest = max(self.largest, _resident())

    def __exit__(self, *_) -> None:
        self.ended.set()
        self.thread.join()
        self.gigabytes = self.largest - self.start


def _seeds():
    yield 0
    for line in sys.stdin:
        yield int(line.split()[1])


def _resident() -> float:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 1e9
    except OSError:
        return 0.0


if __name__ == "__main__":
    main(*sys.argv[1:])
