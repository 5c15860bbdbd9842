"""`python -m ssagrad fit`: a report from one's own files, refusals before the work, and older reports that stay whole."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from ssagrad import __main__ as command
from ssagrad.pipeline.sources import PipelineError
from ssagrad.pipeline.template import run_template

MODEL = "0 -> X @ birth\nX -> 0 @ death\nbirth = 4; death = 0.5\n"
TOY = '''# %% [markdown]
# # Toy

# %%
import os
import time
from types import SimpleNamespace

from ssagrad import publish

# %% tags=["parameters"]
profile = "quick"
seed = 1
checkpoint = ""
doing = ""

# %%
report = publish.Report("90_toy", profile=profile, seed=seed, parameters={})
fig = SimpleNamespace(axes=[1], savefig=lambda file, **options: file.write_bytes(bytes(24) + bytes([seed])))
report.figure(fig, "dots", caption="Dots.", alt="Dots.")
went_on = os.path.exists(checkpoint)
file = open(checkpoint, "w")
file.close()

# %%
if doing == "die":
    os.kill(os.getpid(), 9)
if doing == "sleep" and not went_on:
    time.sleep(100)
1 / (doing != "fail")

# %%
report.claim("toy.it", source="this project", says="It holds.", measured=seed, criterion="always", holds=True)
report.verdict()
'''


@pytest.fixture
def files(tmp_path):
    """A model, counts of it, and a folder that is no project."""
    random = np.random.default_rng(0)
    rows = [f"{t},{t}-{i},X,{random.poisson(20 * (1 - np.exp(-0.5 * t)))}" for t in (1, 3) for i in range(30)]
    (tmp_path / "model.txt").write_text(MODEL, "utf-8")
    (tmp_path / "counts.csv").write_text("\n".join(["time,replicate,species,count", *rows]), "utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project with one notebook, and a finished report of it in a folder."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "project" / "notebooks").mkdir(parents=True)
    (folder / "project" / "notebooks" / "90_toy.py").write_text(TOY)
    run_template(folder / "project", "90_toy", {}, folder / "report", stream=io.StringIO())
    return folder


@pytest.fixture
def toy(finished, tmp_path):
    """A copy of it: project, folder, and what that holds."""
    root, output = (shutil.copytree(finished / name, tmp_path / name) for name in ("project", "report"))
    return root, output, content(output)


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "checkpoint.npz"}


def test_a_report_from_ones_own_files(files):
    """From a folder that is no project: page, notebook, report and figures, with the parameters that were asked for."""
    options = ["model.txt", "counts.csv", "--free", "birth", "--seed", "3", "--starts", "2", "--output", "results"]
    done = subprocess.run([sys.executable, "-m", "ssagrad", "fit", *options], cwd=files, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Report: " in done.stdout and "90_your_own_model.html" in done.stdout
    report = json.loads((files / "results" / "90_your_own_model.json").read_text("utf-8"))
    assert report["given"]["free"] == "birth" and report["seed"] == 3 and report["given"]["model"] == str(files / "model.txt")
    assert {claim["id"] for claim in report["claims"]} == {"own-model.describes", "own-model.determined"}
    for figure in report["figures"]:
        assert (files / "results" / "figures" / figure["file"]).stat().st_size > 10_000
    page = (files / "results" / "90_your_own_model.html").read_text("utf-8")
    assert "birth" in page and "index.html" not in page and "Does not apply to your own files" in page
    assert sorted(path.name for path in files.iterdir()) == ["counts.csv", "model.txt", "results"]
    assert sorted(path.suffix for path in (files / "results").iterdir()) == ["", ".html", ".ipynb", ".json", ".npz"]


@pytest.mark.parametrize(
    ("model", "counts", "options", "message"),
    [
        (MODEL, "time,replicate,X\n1,a,-2\n", [], "line 2: expected a count ≥ 0 of 'X'"),
        (MODEL, "time,replicate,Z\n1,a,2\n1,b,3\n", [], "unknown species 'Z'"),
        (MODEL, "time,replicate,X\n1,a,2\n1,b,3\n", ["--free", "brith"], "did you mean 'birth'"),
        (MODEL, "time,replicate,X\n1,a,2\n2,a,3\n", [], "single paths; give noise="),
        ("X ->", "time,replicate,X\n1,a,2\n1,b,3\n", [], "expected one rate after '@'"),
        (None, "", [], "No such file"),
    ],
)
def test_files_are_refused_before_the_work(tmp_path, capsys, model, counts, options, message):
    """What is wrong with a file is one message and exit status 1, and no folder is made."""
    if model is not None:
        (tmp_path / "model.txt").write_text(model, "utf-8")
    (tmp_path / "counts.csv").write_text(counts, "utf-8")
    output = ["--output", str(tmp_path / "results")]
    assert command.main(["fit", str(tmp_path / "model.txt"), str(tmp_path / "counts.csv"), *options, *output]) == 1
    assert message in capsys.readouterr().err and not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--estimator", "magic"], "expected estimator among auto, exact"),
        (["--paths", "3"], "expected num_paths as a whole number ≥ 64, received 3"),
        (["--starts", "0"], "expected num_starts as a whole number ≥ 1"),
        (["--seed", "-1"], "expected seed as a whole number ≥ 0"),
        (["--noise", "-2"], "expected noise as a number > 0"),
        (["--noise", "nan"], "expected noise as a number > 0"),
    ],
)
def test_options_are_refused_before_an_older_fit_is_touched(files, capsys, options, message):
    """Numbers and names that cannot be meant: one message, exit status 1, and the checkpoint that was there still is."""
    (files / "results").mkdir()
    (files / "results" / "checkpoint.npz").write_bytes(b"older")
    arguments = [str(files / "model.txt"), str(files / "counts.csv"), "--output", str(files / "results"), *options]
    assert command.main(["fit", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (files / "results").iterdir()} == {"checkpoint.npz": b"older"}


def test_ctrl_c_keeps_report_and_checkpoint_and_resume_goes_on(toy):
    """Interrupted in the middle: the older report is as it was, and the same call with resume takes the checkpoint."""
    root, output, before = toy
    script = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which a shell's background jobs start without
    script += f"from pathlib import Path\nfrom ssagrad.pipeline.template import run_template\nrun_template(Path({str(root)!r}), '90_toy', "
    script += f"{{'doing': 'sleep', 'seed': 2}}, {str(output)!r})"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: (list(output.glob(".run-*/figures/*.png"))), process)
    wait_for(lambda: (output / "checkpoint.npz").exists(), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    assert content(output) == before and (output / "checkpoint.npz").exists()
    run_template(root, "90_toy", {"doing": "sleep", "seed": 2}, output, resume=True, stream=io.StringIO())
    assert json.loads((output / "90_toy.json").read_text("utf-8"))["seed"] == 2


def test_a_killed_run_leaves_the_report_whole(toy):
    """SIGKILL: the older report is as it was; the next run sweeps what was left."""
    root, output, before = toy
    script = f"from pathlib import Path\nfrom ssagrad.pipeline.template import run_template\nrun_template(Path({str(root)!r}), '90_toy', "
    script += f"{{'doing': 'sleep', 'seed': 2}}, {str(output)!r})"
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: list(output.glob(".run-*/figures/*.png")), process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = {name: data for name, data in content(output).items() if not name.startswith(".run-")}
    assert kept == before and list(output.glob(".run-*"))
    run_template(root, "90_toy", {"seed": 4}, output, stream=io.StringIO())
    assert not list(output.glob(".run-*")) and json.loads((output / "90_toy.json").read_text("utf-8"))["seed"] == 4


@pytest.mark.parametrize(("doing", "message"), [("die", "The kernel died"), ("fail", "ZeroDivisionError")])
def test_a_dead_kernel_or_a_failing_cell_leaves_the_report_whole(toy, doing, message):
    """The message says what happened; a failed notebook is kept beside the older report."""
    root, output, before = toy
    with pytest.raises(PipelineError, match=message):
        run_template(root, "90_toy", {"doing": doing}, output, stream=io.StringIO())
    kept = {name: data for name, data in content(output).items() if not name.endswith(".failed.ipynb")}
    assert kept == before and not list(output.glob(".run-*"))


def test_no_room_leaves_the_report_whole(toy, monkeypatch):
    """A disk that is full when the results are written."""
    from ssagrad.pipeline import template

    root, output, before = toy

    def full(path, data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(template, "write_bytes", full)
    with pytest.raises(PipelineError, match="No space left .* What was there before is as it was"):
        run_template(root, "90_toy", {"seed": 5}, output, stream=io.StringIO())
    assert content(output) == before


def test_a_folder_that_cannot_be_written_is_refused(toy, tmp_path):
    """A file in its place, and a file system that takes nothing."""
    root, _, _ = toy
    (tmp_path / "taken").write_text("x")
    for folder in (tmp_path / "taken", "/proc/report"):
        with pytest.raises(PipelineError, match="Expected a folder that can be written"):
            run_template(root, "90_toy", {}, folder, stream=io.StringIO())
    with pytest.raises(PipelineError, match="Unknown parameter 'sede'"):
        run_template(root, "90_toy", {"sede": 1}, tmp_path / "other", stream=io.StringIO())


def wait_for(there, process):
    deadline = time.monotonic() + 90
    while not there():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
