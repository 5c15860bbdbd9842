"""One notebook as a template: run with a user's own values, its results in a folder of the user's.

The folder keeps what it has until the notebook is done; then figures, page, notebook and report take the place of older ones, the report last.
"""

import os
import shutil
from pathlib import Path

import nbformat

from ssagrad.pipeline import pages, results
from ssagrad.pipeline.commands import is_alive
from ssagrad.pipeline.execute import Progress, execute
from ssagrad.pipeline.sources import PipelineError, fitting_value, known, read_source
from ssagrad.publish import Folders, write_bytes, write_json

CHECKPOINT = "checkpoint.npz"
BACK = '<nav><a href="index.html">All notebooks</a></nav>'  # of a page among others, which this one is not


def run_template(root, stem, values, output, *, resume=False, stream=None):
    """Run a notebook with parameters and publish its results in a folder; returns the path of the page.

    Args:
        root: the project folder that has the notebook.
        stem: of the notebook, which has a parameter `checkpoint`.
        values: parameters by name, other than the notebook's own.
        output: the folder, made if it is not there.
        resume: go on from the checkpoint that an earlier run left in the folder; else it is removed.

    Raises:
        PipelineError: an unknown parameter, a folder that cannot be written, a cell that fails.
    """
    source, output = read_source(root, stem), Path(output).resolve()
    stage = output / f".run-{os.getpid()}"
    given = {known(name, list(source.defaults), what="parameter"): fitting_value(value, name, source.defaults[name]) for name, value in values.items()}
    try:
        for left in output.glob(".run-*/"):  # by runs that were killed
            if not is_alive(int(left.name.removeprefix(".run-"))):
                shutil.rmtree(left, ignore_errors=True)
        for folder in ("figures", "reports"):
            (stage / folder).mkdir(parents=True, exist_ok=True)
        if not resume:
            (output / CHECKPOINT).unlink(missing_ok=True)
    except OSError as error:
        raise PipelineError(f"Expected a folder that can be written, got {output}: {error}.") from None
    given["checkpoint"] = str(output / CHECKPOINT)
    progress = Progress([source], stream=stream)
    try:
        progress.start(source)
        executed = execute(root, source, given, output=stage, step=progress.step)
        publish_results(root, source, source.defaults | given, executed, stage, output)
        progress.finish()
    except OSError as error:
        raise PipelineError(f"The results cannot be written to {output}: {error}. What was there before is as it was.") from None
    finally:
        progress.close()
        keep_failed(stage, output, stem)
        shutil.rmtree(stage, ignore_errors=True)
    return output / f"{stem}.html"


def publish_results(root, source, parameters, executed, stage, output):
    """Write report, notebook and page beside the figures, and move all of them to their places."""
    report = results.read_report(stage / "reports" / f"{source.stem}.json")
    if report is None:
        raise PipelineError(f"{source.stem} ran, but wrote no report.")
    report |= {"title": source.title, "made_from": results.made_from(root, source, parameters), "given": parameters}
    write_json(stage / "reports" / f"{source.stem}.json", report)
    write_bytes(stage / "reports" / f"{source.stem}.ipynb", nbformat.writes(executed).encode())
    page = pages.notebook_page(executed, source.title).replace(BACK, "")
    write_bytes(stage / "reports" / f"{source.stem}.html", page.encode())
    results.move(stage, source.stem, Folders(output / "figures", output))


def keep_failed(stage, output, stem):
    """After a failure, keep the notebook up to there."""
    if (stage / "failed.ipynb").is_file():
        os.replace(stage / "failed.ipynb", output / f"{stem}.failed.ipynb")
    else:
        (output / f"{stem}.failed.ipynb").unlink(missing_ok=True)
