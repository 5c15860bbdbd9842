"""Published results on disk: where they are, whether they are fresh, moving new ones in, finding those without an owner."""

import hashlib
import json
import os
from pathlib import Path

from ssagrad.executors import check_folder
from ssagrad.pipeline import digest
from ssagrad.pipeline.sources import is_verdict, stored_verdict, twin_differences
from ssagrad.publish import Folders

GENERATED = ("README.md", "index.html")


def folders(root, place):
    """The folders of figures and reports of "paper", "quick" or "custom" results."""
    below = "" if place == "paper" else place
    return Folders(root / "figures" / below, root / "reports" / below)


def made_from(root, source, parameters):
    """What a notebook's results depend on, see `digest.made_from`; the library is the project's, else the installed one."""
    package = Path(root) / "lib" / "ssagrad"
    package = package if package.is_dir() else Path(__file__).resolve().parent.parent
    return digest.made_from(source.code_cells, parameters, package=package)


def read_report(path):
    """A report as a dict; None where there is none that can be read."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def problems(root, source, parameters, folders):
    """Why a notebook's published results are not what a run would give now; empty if they are."""
    report = read_report(folders.reports / f"{source.stem}.json")
    if report is None:
        return ["never run"]
    if "made_from" not in report:
        return ["made outside the runner"]
    changes = digest.changed(report["made_from"], made_from(root, source, parameters))
    found = [f"changed since: {', '.join(changes)}"] if changes else []
    for figure in report["figures"]:
        path = folders.figures / figure["file"]
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != figure["sha256"]:
            found.append(f"figure {figure['file']} is missing or another one")
    if not (folders.reports / f"{source.stem}.html").is_file():
        found.append("the page is missing")
    return found


def twin_problems(root, source):
    """What is wrong with a notebook's .ipynb: it differs from its source, or its verdict has no stored output."""
    found = twin_differences(root, source)
    has_verdict = any(is_verdict(cell) for cell in source.notebook.cells)
    if not found and has_verdict and not stored_verdict(root / "notebooks" / f"{source.stem}.ipynb", source):
        found.append("the verdict cell has no stored output: run it in the quick profile first")
    return found


def figure_files(report):
    """The names of all files of a report's figures."""
    return {figure[key] for figure in report["figures"] for key in ("file", "vector") if key in figure}


def move(stage, stem, folders):
    """Move a finished notebook's files to their places, its report last; remove figures that it no longer makes."""
    old = read_report(folders.reports / f"{stem}.json")
    new = read_report(stage / "reports" / f"{stem}.json")
    for folder in folders:
        check_folder(folder)
    for path in sorted((stage / "figures").iterdir()):
        os.replace(path, folders.figures / path.name)
    for ending in ("ipynb", "html", "json"):
        os.replace(stage / "reports" / f"{stem}.{ending}", folders.reports / f"{stem}.{ending}")
    for name in (figure_files(old) if old else set()) - figure_files(new):
        (folders.figures / name).unlink(missing_ok=True)


def reports(folders):
    """All reports in a folder, in stem order."""
    found = (read_report(path) for path in sorted(folders.reports.glob("*.json")))
    return [report for report in found if report]


def orphans(root, folders, stems):
    """Files among the results that no present notebook makes, nor a benchmark (`benchmark_NAME.md` is of `benchmarks/NAME.py`)."""
    named = {name for report in reports(folders) if report["stem"] in stems for name in figure_files(report)}
    found = [path for path in sorted(folders.figures.glob("*")) if path.is_file() and path.name not in named]
    made = {*stems, *(f"benchmark_{path.stem}" for path in (root / "benchmarks").glob("*.py"))}
    for path in sorted(folders.reports.glob("*")):
        if path.is_file() and path.name not in GENERATED and path.stem not in made:
            found.append(path)
    return found
