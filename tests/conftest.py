"""Strict settings for everything under tests/; notebooks run by nbval are other processes and keep a user's settings.

JAX raises on mixed dtypes, on mixed ranks and on a random key used twice; warnings are errors. Results that notebooks
write while they are tested go to a temporary folder, so that `make test` leaves figures/ and reports/ alone.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import jax
import pytest

HERE = Path(__file__).resolve().parent
OUTPUT = tempfile.mkdtemp(prefix="ssagrad-test-")

# Kernels inherit the environment of this process. A set MPLBACKEND would take the figures out of the notebooks.
os.environ.pop("MPLBACKEND", None)
os.environ["SSAGRAD_OUTPUT"] = OUTPUT
sys.path.insert(0, str(HERE))  # tests share support.py and support_notebooks.py

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)


def pytest_collection_modifyitems(items):
    """Warnings are errors in tests, not in the notebooks' cells."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("error"), append=False)


def pytest_collectstart(collector):
    """Progress bars and device messages on stderr are no results: nbval does not compare them."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)


def pytest_unconfigure():
    """Remove what the notebooks wrote."""
    shutil.rmtree(OUTPUT, ignore_errors=True)


def pytest_terminal_summary(terminalreporter, config):
    """List the stale results that tests/notebooks found; they do not fail the tests."""
    stale = getattr(config, "stale_results", [])
    if stale:
        terminalreporter.section("results older than what they are made from (make check)")
    for what, why, renew in stale:
        terminalreporter.line(f"{what}: {why}\n    {renew}")
