"""Run one notebook in its own kernel, with a bar over its cells and a message that helps when a cell fails.

Only this module knows papermill. Kernels get the environment of this process with three changes: where results go
(SSAGRAD_OUTPUT), no MPLBACKEND (it would take the figures out of the notebook), and one folder of compiled JAX programs for
all notebooks of this checkout and version of jaxlib.
"""

import importlib.metadata
import logging
import os
import platform
import sys
import time
from contextlib import contextmanager

import nbformat
import papermill
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError
from tqdm import tqdm

from ssagrad.pipeline.sources import PipelineError
from ssagrad.publish import OUTPUT_VARIABLE

SHARE_COMPILED_PROGRAMS = True
START_TIMEOUT = 180  # seconds for a kernel to answer on a busy machine
SHOWN_LINES = 6  # of a failing cell

# A manager that does not print a line about unencrypted local traffic for every kernel.
QuietKernelManager = type("QuietKernelManager", (AsyncKernelManager,), {"transport_encryption": "auto"})


@contextmanager
def kernel_environment(root, output):
    """The environment that kernels inherit, for the time of one notebook."""
    before = dict(os.environ)
    os.environ.pop("MPLBACKEND", None)
    os.environ[OUTPUT_VARIABLE] = str(output)
    if SHARE_COMPILED_PROGRAMS:
        folder = root / ".cache" / f"jax-{package_version('jaxlib')}-{platform.machine()}"
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
        os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def package_version(name):
    """The installed version of a package, or "none"."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def execute(root, source, parameters, *, output, step):
    """Run a notebook with parameters; returns it executed, without papermill's time stamps.

    Args:
        root: the project folder; the notebook runs in its `notebooks/`.
        source: the notebook, see `sources.read_source`.
        parameters: values that replace the defaults of the parameters cell, by name.
        output: folder where the notebook's figures and reports go; a failed notebook is kept there as `failed.ipynb`.
        step: called before each code cell with its number among the code cells, and after the last with None.

    Raises:
        PipelineError: a cell failed, or the kernel died.
    """
    logging.getLogger("papermill").setLevel(logging.ERROR)
    positions = {cell.id: number for number, cell in enumerate(code_cells(source.notebook), 1)}
    running = {"position": 1}

    def started(cell, cell_index):
        running["position"] = positions.get(cell.get("id"), running["position"])
        if cell.get("id") in positions:
            step(running["position"])

    try:
        with kernel_environment(root, output):
            executed = papermill.execute_notebook(
                nbformat.from_dict(source.notebook), str(output / "failed.ipynb"), parameters=parameters,
                kernel_name="python3", cwd=str(root / "notebooks"), start_timeout=START_TIMEOUT, progress_bar=False,
                kernel_manager_class=QuietKernelManager, extra_arguments=["--log-level=50"], on_cell_execute=started,
                request_save_on_cell_execute=False,
            )  # fmt: skip
    except (PapermillExecutionError, DeadKernelError, CellTimeoutError) as error:
        raise PipelineError(failure(source, running["position"], error)) from None
    except OSError as error:
        error.filename = error.filename or str(output / "failed.ipynb")  # a full disk says no name, and this file is cut short
        (output / "failed.ipynb").unlink(missing_ok=True)
        raise
    step(None)
    (output / "failed.ipynb").unlink()
    return without_stamps(executed)


def code_cells(notebook):
    """The code cells of a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def failure(source, position, error):
    """What failed: the cell, its first lines, the exception."""
    lines = code_cells(source.notebook)[position - 1].source.splitlines()
    shown = lines[:SHOWN_LINES] + ["…"] * (len(lines) > SHOWN_LINES)
    if isinstance(error, PapermillExecutionError):
        what = f"{error.ename}: {error.evalue}".rstrip(": ")
    elif isinstance(error, DeadKernelError):
        what = "The kernel died without a Python error; most often the machine ran out of memory."
    else:
        what = str(error)
    place = f"notebooks/{source.stem}.py, code cell {position} of {len(code_cells(source.notebook))}"
    return "\n".join([f"Failed: {place}", *(f"    {line}" for line in shown), what])


def without_stamps(executed):
    """Take out what papermill and the kernel write about time and machine."""
    executed.metadata.pop("papermill", None)
    for cell in executed.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
    return executed


class Progress:
    """One bar over all cells of all notebooks on a terminal; one line per notebook elsewhere."""

    def __init__(self, sources, *, stream=None):
        self.stream = stream or sys.stderr
        self.number, self.count, self.done = 0, len(sources), 0
        total = sum(len(code_cells(source.notebook)) for source in sources)
        layout = "{desc} |{bar}| {n_fmt}/{total_fmt} cells, {elapsed}"
        self.bar = tqdm(total=total, file=self.stream, bar_format=layout, disable=not self.stream.isatty(), leave=False)

    def start(self, source):
        """A notebook begins."""
        self._next(source)
        if self.bar.disable:
            self.say(f"{self.label}: {self.cells} code cells ...")

    def step(self, position):
        """A code cell begins; None: the notebook is done."""
        done = self.cells if position is None else position - 1
        self.bar.update(self.first + done - self.done)
        self.done = self.first + done
        if position is not None:
            self.bar.set_description_str(f"{self.label} cell {position}/{self.cells}")

    def skip(self, source, why):
        """A notebook is not run."""
        self._next(source)
        self.step(None)
        self.say(f"{self.label}: {why}")

    def finish(self, seconds=None):
        """A notebook is done; `seconds` if it was run elsewhere."""
        self.say(f"{self.label}: done in {time.monotonic() - self.began if seconds is None else seconds:.0f} s")

    def say(self, text):
        """Print a line above the bar."""
        self.bar.clear()
        print(text, file=self.stream, flush=True)
        self.bar.refresh()

    def close(self):
        """Take the bar away."""
        self.bar.close()

    def _next(self, source):
        self.number, self.began, self.cells = self.number + 1, time.monotonic(), len(code_cells(source.notebook))
        self.label, self.first = f"[{self.number}/{self.count}] {source.stem}", self.done
        self.bar.set_description_str(self.label)
