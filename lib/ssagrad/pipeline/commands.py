"""Run the notebooks and publish their results; say what is stale; make the .ipynb twins.

A notebook writes to `.runs/<process>-<stem>/` inside the project. When it is done its files are moved to their places,
the report last: a run that is killed at any time leaves the old results whole, and the next run sweeps what it left.
Results go to `figures/` and `reports/` for the paper profile, to their `quick/` folders for the quick one, and to
`custom/` as soon as a parameter is set by hand: what is committed is only ever what `notebooks/paper.toml` says.
Several notebooks run at once with an executor (see `ssagrad.executors`): each still publishes its results by itself.
"""

import os
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import nbformat

from ssagrad.executors import check_folder
from ssagrad.pipeline import pages, results
from ssagrad.pipeline.execute import Progress, execute
from ssagrad.pipeline.sources import (
    PipelineError,
    Source,
    fitting_value,
    is_verdict,
    known,
    paper_parameters,
    read_source,
    read_value,
    stems,
    stored_verdict,
    write_twin,
)
from ssagrad.publish import PROFILES, write_bytes, write_json


class Job(NamedTuple):
    """One notebook and what it will run with."""

    source: Source
    parameters: dict  # all of them, by name
    folders: results.Folders  # where its results go


def plan(root, *, profile="quick", only=(), assignments=()):
    """All notebooks to run, in order; everything that can be refused is refused here.

    Args:
        root: the project folder.
        profile: "quick" (the notebooks' own defaults) or "paper" (with the values of `notebooks/paper.toml`).
        only: stems; all notebooks if empty.
        assignments: texts NAME=VALUE; each is applied to every chosen notebook that has the parameter.

    Raises:
        PipelineError: an unknown stem or parameter, a value of the wrong type.
    """
    all_stems = stems(root)
    if not all_stems:
        raise PipelineError(f"No notebook NN_name.py in {root / 'notebooks'}.")
    chosen = {known(stem.removesuffix(".py").removesuffix(".ipynb"), all_stems, what="notebook") for stem in only}
    sources = [read_source(root, stem) for stem in all_stems if not chosen or stem in chosen]
    given = dict(read_assignment(text) for text in assignments)
    names = sorted({name for source in sources for name in source.defaults})
    for name in given:
        known(name, names, what="parameter")
    folders = results.folders(root, "custom" if given else profile)
    return [Job(source, parameters(root, source, profile, given), folders) for source in sources]


def read_assignment(text):
    """Split NAME=VALUE; the profile is no parameter to set by hand."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip().isidentifier():
        raise PipelineError(f"--set expects NAME=VALUE, got {text!r}.")
    if name.strip() == "profile":
        raise PipelineError(f"The profile is chosen by --profile {' or '.join(PROFILES)}, not by --set.")
    return name.strip(), value.strip()


def parameters(root, source, profile, given):
    """The values a notebook runs with: its defaults, the paper's values, then what is set by hand."""
    chosen = {**source.defaults, "profile": profile}
    paper = paper_parameters(root)
    for stem in paper:
        known(stem, stems(root), what="table of notebooks/paper.toml, no notebook is called")
    for name, value in paper.get(source.stem, {}).items():
        known(name, list(source.defaults), what=f"parameter of {source.stem} in notebooks/paper.toml")
        fitted = fitting_value(value, name, source.defaults[name])
        if profile == "paper":
            chosen[name] = fitted
    for name in given.keys() & source.defaults.keys():
        chosen[name] = read_value(given[name], name, source.defaults[name])
    return chosen


def run(root, *, profile="quick", only=(), assignments=(), resume=False, executor="serial", workers=2, address=None, stream=None):
    """Run notebooks in stem order and publish each when it is done; see `plan` for the arguments.

    With `resume`, notebooks are left out whose report was made from the same cells, parameters and library code. With another `executor` than
    "serial" several run at once, in `workers` processes or on the dask scheduler at `address`, which share the cores: what they measure of time
    is then longer than alone.

    Raises:
        PipelineError: something is refused before the start, a notebook failed, or a file cannot be written.
    """
    jobs = plan(root, profile=profile, only=only, assignments=assignments)
    options = f"--profile {profile}" + "".join(f" --set {text}" for text in assignments)
    with named_files("Nothing was run"):
        sweep(root)
        for folder in (root / ".runs", *jobs[0].folders):
            check_folder(folder)
    fresh = {job.source.stem for job in jobs if resume and not results.problems(root, job.source, job.parameters, job.folders)}
    progress = Progress([job.source for job in jobs], stream=stream)
    try:
        seconds = {}
        if executor != "serial":
            seconds = run_at_once(root, [job for job in jobs if job.source.stem not in fresh], options, executor, workers, address)
        for job in jobs:
            if job.source.stem in fresh:
                progress.skip(job.source, "fresh, not run again")
                continue
            progress.start(job.source)
            if job.source.stem not in seconds:
                run_job(root, job, options, progress.step)
            progress.finish(seconds.get(job.source.stem))
    finally:
        progress.close()
        sweep(root, own=True)
    with named_files("All notebooks are done, but their overview is not"):
        pages.write_overview(root, jobs[0].folders)
    return jobs[0].folders


def run_at_once(root, jobs, options, executor, workers, address):
    """Run notebooks by an executor; returns the seconds that each took, by stem."""
    from ssagrad import executors

    same = {"root": str(root), "folders": [str(folder) for folder in jobs[0].folders] if jobs else [], "options": options}
    values = [same | {"stem": job.source.stem, "parameters": job.parameters} for job in jobs]
    with tempfile.TemporaryDirectory(dir=root / ".runs", prefix=f"{os.getpid()}-") as folder:  # what was run before is known from its report
        try:
            keys = executors.run(run_there, values, folder, executor=executor, workers=workers, address=address, progress="notebooks")
        except (executors.ExecutorError, ImportError) as error:
            raise PipelineError(f"{error}\nWhat is done is published; go on with: {command(root)} run {options} --resume") from None
        return {job.source.stem: float(executors.load(folder, key)["value"]) for job, key in zip(jobs, keys, strict=True)}


def run_there(root, folders, options, stem, parameters):
    """Run one notebook in another process and publish it there, as an executor's task; returns the seconds that it took."""
    began, root = time.monotonic(), Path(root)
    run_job(root, Job(read_source(root, stem), parameters, results.Folders(*map(Path, folders))), options, lambda position: None)
    return time.monotonic() - began


def run_job(root, job, options, step):
    """Run one notebook and publish its results; an error says how to go on."""
    stage = root / ".runs" / f"{os.getpid()}-{job.source.stem}"
    try:
        with named_files(f"The results of {job.source.stem} are not published"):
            run_one(root, job, stage, step)
    except PipelineError as error:
        raise PipelineError(f"{error}\n{how_to_go_on(root, job, stage, options)}") from None
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def named_files(what):
    """Turns an OSError into a PipelineError that says which file could not be written or read."""
    try:
        yield
    except OSError as error:
        place = error.filename2 or error.filename or "a file"
        why = f"{place}: {error.strerror or error}"
        raise PipelineError(f"{what}: {why}. All figures and reports that were there are whole.") from None


def run_one(root, job, stage, step):
    """Run one notebook in a folder of its own and move what it made to its place."""
    for folder in ("figures", "reports"):
        (stage / folder).mkdir(parents=True)
    source = job.source
    before = results.made_from(root, source, job.parameters)
    changed = {name: value for name, value in job.parameters.items() if value != source.defaults[name]}
    executed = execute(root, source, changed, output=stage, step=step)
    report = results.read_report(stage / "reports" / f"{source.stem}.json")
    if report is None:
        raise PipelineError(f"{source.stem} ran, but wrote no report: its last results come from `report.verdict()`.")
    report |= {"title": source.title, "made_from": before}
    write_json(stage / "reports" / f"{source.stem}.json", report)
    write_bytes(stage / "reports" / f"{source.stem}.ipynb", nbformat.writes(executed).encode())
    write_bytes(stage / "reports" / f"{source.stem}.html", pages.notebook_page(executed, source.title).encode())
    results.move(stage, source.stem, job.folders)


def how_to_go_on(root, job, stage, options):
    """After a failure: where the notebook is kept, the command that runs it again, the one that runs the rest."""
    kept = root / ".runs" / f"{job.source.stem}.failed.ipynb"
    lines = []
    if (stage / "failed.ipynb").is_file():
        os.replace(stage / "failed.ipynb", kept)
        lines.append(f"The notebook up to there:  {kept.relative_to(root)}")
    again = f"{command(root)} run {options}"
    lines.append(f"Run it again:              {again} --only {job.source.stem}")
    lines.append(f"Then go on with the rest:  {again} --resume")
    return "\n".join(lines)


def command(root):
    """How the user calls this program."""
    inside = Path(sys.prefix).resolve() == (root / ".venv").resolve()
    return f"{'.venv/bin/python' if inside else 'python'} -m ssagrad"


def sweep(root, *, own=False):
    """Remove the folders of runs that are no longer alive; with `own`, that of this process."""
    for folder in (root / ".runs").glob("*-*/"):
        number = folder.name.partition("-")[0]
        if number.isdigit() and (int(number) == os.getpid() if own else not is_alive(int(number))):
            shutil.rmtree(folder, ignore_errors=True)
    if not own:
        for kept in (root / ".runs").glob("*.failed.ipynb"):
            kept.unlink(missing_ok=True)


def is_alive(number):
    """Whether a process of this number runs on this machine."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return number != os.getpid()


def check(root):
    """What is out of step with its sources, as (what, why, command that renews it)."""
    found = []
    for job in plan(root, profile="paper"):
        twin = results.twin_problems(root, job.source)
        if twin:
            found.append((f"notebooks/{job.source.stem}.ipynb", "; ".join(twin), f"{command(root)} sync"))
        reasons = results.problems(root, job.source, job.parameters, job.folders)
        if reasons:
            renew = f"{command(root)} run --profile paper --only {job.source.stem}"
            found.append((f"reports/{job.source.stem}.json", "; ".join(reasons), renew))
    for path in results.orphans(root, results.folders(root, "paper"), stems(root)):
        found.append((str(path.relative_to(root)), "no notebook makes it", f"git rm {path.relative_to(root)}"))
    for path in pages.stale_overview(root, results.folders(root, "paper")):
        found.append((str(path.relative_to(root)), "differs from what the reports give", f"{command(root)} sync"))
    return found


def sync(root):
    """Make the .ipynb twins and the overview pages anew; returns the twins that changed and those without a verdict.

    The verdict cell's output comes from the last quick run if that is fresh, else from the twin as it was if the code is
    the same, else there is none and a quick run is due.
    """
    written, without = [], []
    for job in plan(root, profile="quick"):
        stem = job.source.stem
        fresh = not results.problems(root, job.source, job.parameters, job.folders)
        outputs = stored_verdict(job.folders.reports / f"{stem}.ipynb", job.source) if fresh else []
        outputs = outputs or stored_verdict(root / "notebooks" / f"{stem}.ipynb", job.source)
        if write_twin(root, job.source, outputs):
            written.append(stem)
        if not outputs and any(is_verdict(cell) for cell in job.source.notebook.cells):
            without.append(stem)
    paper = results.folders(root, "paper")
    if list(paper.reports.glob("*.json")):
        pages.write_overview(root, paper)
    return written, without
