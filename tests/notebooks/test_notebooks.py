"""Every notebook keeps the template, has a twin and known parameters, and every published file has an owner."""

import nbformat
import pytest
from support_notebooks import template_violations

from ssagrad.pipeline import commands, results, sources
from ssagrad.publish import project_root

ROOT = project_root(__file__)
STEMS = sources.stems(ROOT)
MOST_BYTES = 1_500_000  # of a committed file


def test_there_is_a_notebook():
    """The checks below have something to check."""
    assert STEMS


@pytest.mark.parametrize("stem", STEMS)
def test_a_notebook_keeps_the_template(stem):
    """Title, parameters, verdict and limits are there; no definitions, no paths, nothing too long."""
    assert template_violations(sources.read_source(ROOT, stem)) == []


@pytest.mark.parametrize("stem", STEMS)
def test_a_twin_equals_its_source_and_stores_its_verdict(stem):
    """The .ipynb has the same cells as the .py (else: make sync), and an output that nbval can compare."""
    source = sources.read_source(ROOT, stem)
    assert results.twin_problems(ROOT, source) == []
    cells = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4).cells
    assert [cell.execution_count is not None for cell in cells if sources.is_verdict(cell)] == [True]
    others = [cell.source for cell in cells if cell.get("outputs") and not sources.is_verdict(cell)]
    assert others == [], "stored outputs beside the verdict, as JupyterLab saves them; `make sync` takes them out"


def test_paper_parameters_are_known():
    """Every table and name in paper.toml belongs to a notebook and has the type of its default."""
    assert len(commands.plan(ROOT, profile="paper")) == len(STEMS)


def test_every_published_file_is_made_by_a_notebook():
    """Nothing lies in figures/ or reports/ that no notebook (or, for its table, no benchmark) makes."""
    assert results.orphans(ROOT, results.folders(ROOT, "paper"), STEMS) == []


def test_published_files_are_small():
    """Pages and figures stay small enough for a repository."""
    paths = [path for folder in results.folders(ROOT, "paper") for path in folder.glob("*") if path.suffix != ".ipynb"]
    assert [path.name for path in paths if path.is_file() and path.stat().st_size > MOST_BYTES] == []


def test_claim_ids_are_unique_in_the_project():
    """A claim's id leads to one notebook."""
    reports = results.reports(results.folders(ROOT, "paper"))
    ids = [claim["id"] for report in reports for claim in report["claims"]]
    assert sorted(ids) == sorted(set(ids))


def test_stale_results_are_listed(request):
    """What is stale is shown at the end of the test run (see conftest); `make check` is what fails on it."""
    request.config.stale_results = commands.check(ROOT)
    assert all(why and renew for _, why, renew in request.config.stale_results)
