"""GillesPy2's C++ direct method compiled with -O3, which the package itself does not ask g++ for.

A `g++` first on the path adds the flag. Shown beside the package as it installs itself, and not ranked: nobody gets this speed
without patching the build.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from .gillespy2 import prepare

__all__ = ["prepare"]


def _put_optimising_compiler_first() -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        raise ImportError("g++ is not on the path")
    folder = Path(tempfile.mkdtemp(prefix="ssagrad-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    wrapper = folder / "g++"
    wrapper.write_text(f'#!/bin/sh\nexec "{compiler}" -O3 "$@"\n')
    wrapper.chmod(0o755)
    os.environ["PATH"] = os.pathsep.join([str(folder), os.environ["PATH"]])


_put_optimising_compiler_first()
