"""The runner on a small project of two notebooks: it refuses, publishes, resumes and never harms old results."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from base64 import b64decode, b64encode

import numpy as np
import pytest
from PIL import Image

from ssagrad.pipeline import commands, pages, results, sources
from ssagrad.pipeline.sources import PipelineError

NOTEBOOK = '''# %% [markdown]
# # Toy {stem}
# With $x^2$.

# %%
import time
from types import SimpleNamespace

from ssagrad import publish

# %% tags=["parameters"]
profile = "quick"
seed = 1
num_paths = 10
rate = 0.5
name = "A"
sizes = [1, 2]
loud = False
{extra}

# %%
report = publish.Report("{stem}", profile=profile, seed=seed, parameters=dict(num_paths=num_paths, rate=rate))
fig = SimpleNamespace(axes=[1], savefig=lambda file, **options: file.write_bytes(bytes(24)))
report.figure(fig, "dots", caption="Dots for $x$.", alt="Some <dots>.")
time.sleep(0)

# %%
numbers = sizes[:num_paths]
numbers[seed]

# %%
report.claim("{stem}.it", source="Toy 2026", says="It <holds>.", measured=num_paths, criterion="always", holds=True)
report.verdict()
'''
FIRST, SECOND = "10_first", "20_second"


def write_project(root):
    """Two notebooks; only the second one has `extra`."""
    (root / "notebooks").mkdir(parents=True)
    (root / "pyproject.toml").touch()
    (root / "notebooks" / "paper.toml").write_text(f"[{FIRST}]\nnum_paths = 20\n")
    for stem, extra in ((FIRST, ""), (SECOND, "extra = 1")):
        (root / "notebooks" / f"{stem}.py").write_text(NOTEBOOK.format(stem=stem, extra=extra))
    return root


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project after a run in the paper profile, and what the run printed."""
    root = write_project(tmp_path_factory.mktemp("finished") / "a project")
    stream = io.StringIO()
    commands.run(root, profile="paper", stream=stream)
    return root, stream.getvalue()


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the finished project, to be changed."""
    return shutil.copytree(finished[0], tmp_path / "a project")


def edit(root, stem, old, new):
    """Change a notebook's source."""
    path = root / "notebooks" / f"{stem}.py"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def published(root):
    """All published files with their content."""
    paths = (path for folder in ("figures", "reports") for path in (root / folder).rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


def stale(root):
    """What is stale apart from the twins, which this project has not."""
    return {what: (why, renew) for what, why, renew in commands.check(root) if not what.endswith(".ipynb")}


def test_a_run_publishes_everything(finished):
    """Figures, reports, pages, the claims table; parameters from paper.toml; nothing temporary is left."""
    root, printed = finished
    per_notebook = [f"reports/{stem}.{ending}" for stem in (FIRST, SECOND) for ending in ("html", "ipynb", "json")]
    figures = [f"figures/{stem}_dots.{ending}" for stem in (FIRST, SECOND) for ending in ("png", "pdf")]
    assert set(published(root)) == {*per_notebook, *figures, "reports/README.md", "reports/index.html"}
    report = json.loads((root / "reports" / f"{FIRST}.json").read_text())
    assert report["parameters"]["num_paths"] == 20 and report["title"] == f"Toy {FIRST}" and report["made_from"]
    assert "[2/2] 20_second: done" in printed
    assert not list((root / ".runs").iterdir())


def test_pages_stand_alone(finished):
    """No page asks for anything outside; code is folded, formulas are MathML, texts are escaped."""
    root, _ = finished
    text = (root / "reports" / f"{FIRST}.html").read_text()
    assert "<details><summary>code</summary>" in text and "<math" in text and "It &lt;holds&gt;." in text
    index = (root / "reports" / "index.html").read_text()
    assert 'src="../figures/10_first_dots.png"' in index and "Some &lt;dots&gt;." in index
    for page in (text, index):
        assert "<script" not in page
        assert not [line for line in page.replace("http://www.w3.org/1998/Math/MathML", "").splitlines() if "http" in line]
    assert "| 10_first.it | Toy 2026 | It <holds>. | 20 | always | reproduced |" in (root / "reports" / "README.md").read_text()


@pytest.mark.parametrize("formula", [r"\begin{aligned} a &= b \end{aligned}", r"S \xrightarrow{k_{1}} 2\,S", r"\frac{\mathrm{d}}{2}"])
def test_formulas_become_mathml(formula):
    """What notebooks use is drawn; what cannot be read is shown as it is written."""
    assert pages.mathml(formula).startswith("<math") and "\\" not in pages.mathml(formula)
    assert pages.mathml(r"\unheard{1}") == r"<code>\unheard{1}</code>"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": ["10_frist"]}, "did you mean 10_first"),
        ({"assignments": ["num_path=3"]}, "did you mean num_paths"),
        ({"only": [FIRST], "assignments": ["extra=3"]}, "Unknown parameter 'extra'"),
        ({"assignments": ["num_paths=1.5"]}, "expects a whole number .its default is 10., got 1.5"),
        ({"assignments": ["num_paths=many"]}, "expects a whole number"),
        ({"assignments": ["loud=1"]}, "expects True or False"),
        ({"assignments": ["sizes=3"]}, "expects a list"),
        ({"assignments": ["rate=1e999"]}, "expects a number"),
        ({"assignments": ["seed"]}, "NAME=VALUE"),
        ({"assignments": ["profile=paper"]}, "--profile"),
    ],
)
def test_what_is_unknown_or_of_another_type_is_refused(project, options, message):
    """Before anything runs, in a sentence."""
    with pytest.raises(PipelineError, match=message):
        commands.run(project, **options)


def test_assignments_take_the_type_of_the_default(project):
    """Each is applied where it exists."""
    first, second = commands.plan(project, assignments=["num_paths=1e3", "rate=2", "name=B", "sizes=[3]", "loud=True", "extra=4"])
    wanted = {"profile": "quick", "seed": 1, "num_paths": 1000, "rate": 2.0, "name": "B", "sizes": [3], "loud": True}
    assert first.parameters == wanted and second.parameters == wanted | {"extra": 4}
    assert first.folders.reports == project / "reports" / "custom"


@pytest.mark.parametrize("text", ["[30_third]\nn = 1", "[10_first]\nnum_path = 1", "[10_first]\nnum_paths = 1.5", "[10_first"])
def test_paper_parameters_are_checked(project, text):
    """An unknown table, name or type in paper.toml is refused for every profile."""
    (project / "notebooks" / "paper.toml").write_text(text)
    with pytest.raises(PipelineError):
        commands.plan(project)


def test_check_names_what_is_stale_and_how_to_renew_it(project):
    """An edit of code counts, one of a comment or of prose does not; so do a changed figure, page and parameter."""
    assert stale(project) == {}
    edit(project, FIRST, "time.sleep(0)", "time.sleep(0)  # a moment")
    edit(project, FIRST, "With $x^2$", "With $x^3$")
    edit(project, FIRST, "num_paths = 10", "num_paths = 11")  # the paper profile sets its own
    assert stale(project) == {}
    edit(project, FIRST, "time.sleep(0)", "time.sleep(0.0)")
    why, renew = stale(project)["reports/10_first.json"]
    assert "code cells" in why and renew.endswith("run --profile paper --only 10_first")
    (project / "figures" / "20_second_dots.png").write_bytes(b"another")
    assert "20_second_dots.png" in stale(project)["reports/20_second.json"][0]
    (project / "reports" / "README.md").write_text("edited")
    (project / "figures" / "30_gone.png").touch()
    assert {"reports/README.md", "figures/30_gone.png"} <= set(stale(project))
    (project / "notebooks" / "paper.toml").write_text("")
    assert "parameters" in stale(project)["reports/10_first.json"][0]


def test_the_command_line_reports_by_exit_status(project):
    """check fails on what is stale, run on what is unknown; each says why."""
    check = subprocess.run([sys.executable, "-m", "ssagrad", "check"], cwd=project / "notebooks", capture_output=True, text=True)
    assert check.returncode == 1 and "sync" in check.stdout
    run = subprocess.run([sys.executable, "-m", "ssagrad", "run", "--only", "x"], cwd=project, capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr.startswith("Unknown notebook 'x'") and "Traceback" not in run.stderr


def test_a_failing_cell_is_named_with_the_command_that_reruns_it(project):
    """Old results stay, the custom ones are not written, the failed notebook is kept."""
    before = published(project)
    with pytest.raises(PipelineError) as caught:
        commands.run(project, only=[SECOND], assignments=["seed=7"], stream=io.StringIO())
    message = str(caught.value)
    assert "notebooks/20_second.py, code cell 4 of 5" in message and "numbers[seed]" in message and "IndexError" in message
    assert "-m ssagrad run --profile quick --set seed=7 --only 20_second" in message
    assert published(project) == before
    assert [path.name for path in (project / ".runs").iterdir()] == ["20_second.failed.ipynb"]


def test_a_killed_run_leaves_old_results_whole_and_resume_completes_it(project):
    """SIGKILL in the middle of a notebook; then only what is not fresh runs again, and the leftovers are gone."""
    edit(project, FIRST, "time.sleep(0)", "time.sleep(60)")
    before = published(project)
    command = [sys.executable, "-m", "ssagrad", "run", "--profile", "paper"]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(project.glob(".runs/*/figures/*.png")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert published(project) == before and list((project / ".runs").iterdir())
    edit(project, FIRST, "time.sleep(60)", "time.sleep(0.0)")
    stream = io.StringIO()
    commands.run(project, profile="paper", resume=True, stream=stream)
    assert "[1/2] 10_first: done" in stream.getvalue() and "[2/2] 20_second: fresh" in stream.getvalue()
    assert stale(project) == {} and not list((project / ".runs").iterdir())


@pytest.mark.filterwarnings("default")  # those of the workers' own start and end
def test_several_notebooks_at_once_publish_what_they_publish_one_by_one(project, capsys):
    """Two processes: the same bytes but for the code that made them, lines in stem order, nothing left over; then all is fresh."""
    before = published(project)
    for stem in (FIRST, SECOND):
        edit(project, stem, "time.sleep(0)", "time.sleep(0.0)")
    stream = io.StringIO()
    commands.run(project, profile="paper", executor="processes", workers=2, stream=stream)
    lines = [line for line in stream.getvalue().splitlines() if "done" in line]
    assert [line.split(":")[0] for line in lines] == ["[1/2] 10_first", "[2/2] 20_second"]
    after, unlike = published(project), (".json", ".html", ".ipynb")
    assert set(after) == set(before) and stale(project) == {} and not list((project / ".runs").iterdir())
    assert {name: data for name, data in after.items() if not name.endswith(unlike)} == {n: d for n, d in before.items() if not n.endswith(unlike)}
    stream = io.StringIO()
    commands.run(project, profile="paper", executor="processes", resume=True, stream=stream)
    assert stream.getvalue().count("fresh") == 2


@pytest.mark.filterwarnings("default")
def test_a_notebook_that_fails_beside_others_is_named(project, capsys):
    """As one by one: the cell, the error, the commands; the other one is published, the failed one as it was."""
    before = published(project)
    with pytest.raises(PipelineError, match="notebooks/20_second.py, code cell 4 of 5") as caught:
        edit(project, SECOND, "numbers[seed]", "numbers[99]")
        edit(project, FIRST, "time.sleep(0)", "time.sleep(0.0)")
        commands.run(project, profile="paper", executor="processes", workers=2, stream=io.StringIO())
    assert "IndexError" in str(caught.value) and "run --profile paper --resume" in str(caught.value)
    after = published(project)
    assert {name for name in before if after[name] != before[name]} == {f"reports/{FIRST}.{ending}" for ending in ("html", "ipynb", "json")}
    assert [path.name for path in (project / ".runs").iterdir()] == ["20_second.failed.ipynb"]
    with pytest.raises(PipelineError, match="(?s)expected a dask scheduler at nonsense://1.*--resume"):
        commands.run(project, profile="paper", executor="dask", address="nonsense://1", stream=io.StringIO())


def test_a_folder_that_cannot_be_written_is_refused_before_the_run(project):
    """A file in place of the folder: its name, and nothing ran."""
    (project / "reports" / "quick").touch()
    stream = io.StringIO()
    with pytest.raises(PipelineError, match="Nothing was run: .*reports/quick.*whole"):
        commands.run(project, stream=stream)
    assert stream.getvalue() == ""


def test_a_file_that_cannot_be_replaced_is_named_and_all_others_are_whole(project):
    """Something else in the place of a figure: the error names it and how to go on; the report is the old one."""
    before = published(project)
    target = project / "figures" / "10_first_dots.png"
    target.unlink()
    (target / "inside").mkdir(parents=True)
    with pytest.raises(PipelineError, match="10_first are not published: .*figures/10_first_dots.png.*") as caught:
        commands.run(project, profile="paper", only=[FIRST], stream=io.StringIO())
    assert "--only 10_first" in str(caught.value)
    shutil.rmtree(target)
    target.write_bytes(before["figures/10_first_dots.png"])
    assert published(project) == before and not list((project / ".runs").iterdir())


@pytest.mark.parametrize(("limit", "name"), [(100_000, "failed.ipynb"), (2_000, ".runs")])
def test_a_full_disk_ends_in_a_message_that_names_the_file(project, limit, name):
    """Files may not grow beyond a limit while a notebook prints more than that, or from the start on: exit status 1, no traceback, old results whole."""
    edit(project, FIRST, "time.sleep(0)", 'print("x" * 200_000)' if limit > 10_000 else "time.sleep(0.0)")
    before = published(project)
    script = (
        "import resource, signal, sys\nfrom ssagrad.__main__ import main\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\nsys.exit(main(['run', '--profile', 'paper', '--only', '{FIRST}']))"
    )
    found = subprocess.run([sys.executable, "-c", script], cwd=project, capture_output=True, text=True)
    assert found.returncode == 1 and "Traceback" not in found.stderr, found.stderr
    assert name in found.stderr and "File too large" in found.stderr and "whole" in found.stderr, found.stderr
    assert published(project) == before and not list((project / ".runs").iterdir())


def test_sync_stores_the_verdict_of_the_last_quick_run(project):
    """Twins come from the .py, with hashed ids and one output; a second sync changes nothing."""
    edit(project, FIRST, "time.sleep(0)", "time.sleep(0.0)")
    assert commands.sync(project) == ([FIRST, SECOND], [FIRST, SECOND])
    commands.run(project, only=[FIRST], stream=io.StringIO())
    assert commands.sync(project) == ([FIRST], [SECOND])
    assert commands.sync(project) == ([], [SECOND])
    assert results.twin_problems(project, sources.read_source(project, FIRST)) == []
    edit(project, FIRST, "# %% [markdown]", "# %% [markdown]\n# More words.")
    assert commands.sync(project) == ([FIRST], [SECOND])  # the code is the same: its verdict stays
    twin = json.loads((project / "notebooks" / f"{FIRST}.ipynb").read_text())
    assert [cell["execution_count"] for cell in twin["cells"] if cell.get("outputs")] == [5]
    edit(project, FIRST, "time.sleep(0.0)", "time.sleep(0.00)")
    assert commands.sync(project) == ([FIRST], [FIRST, SECOND])  # other code may give another verdict


def test_pictures_of_a_page_lose_their_opacity_and_nothing_else():
    """Opaque pictures become RGB with the same colours, and smaller; others stay as they are."""
    colours = np.random.default_rng(0).integers(0, 255, (40, 50, 4), dtype=np.uint8)
    for opacity, mode in ((255, "RGB"), (128, "RGBA")):
        colours[..., 3] = opacity
        buffer = io.BytesIO()
        Image.fromarray(colours).save(buffer, "PNG")
        given = b64encode(buffer.getvalue()).decode()
        taken = pages.without_alpha(given)
        seen = Image.open(io.BytesIO(b64decode(taken)))
        assert seen.mode == mode and (taken == given) == (mode == "RGBA") and len(taken) <= len(given)
        np.testing.assert_array_equal(np.asarray(seen)[..., :3], colours[..., :3])
