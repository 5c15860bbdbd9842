"""A report saves the same bytes for the same run and refuses what is no result."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from ssagrad import publish
from ssagrad.tables import Table, html_table, markdown_table, measurement, plain_table, verdict_text, verdict_word


@pytest.fixture
def output(tmp_path, monkeypatch):
    """The folder that a report writes to."""
    monkeypatch.setenv(publish.OUTPUT_VARIABLE, str(tmp_path))
    return tmp_path


def make_report(**changes):
    """A report as a notebook makes it."""
    given = {"profile": "quick", "seed": 1, "parameters": {"num_paths": 100, "rate": 0.5}} | changes
    return publish.Report("10_toy", **given)


def claim(report, id="toy.mean", **changes):
    """A claim that can be recorded, but for the changes."""
    given = {"source": "Toy 2026", "says": "It stays.", "measured": 1.5, "standard_error": 0.1, "criterion": "|z| < 4", "holds": True}
    report.claim(id, **(given | changes))


def figure():
    """A small figure with a line."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    fig, axis = plt.subplots(figsize=(2, 1))
    axis.plot([1, 2])
    return fig


def test_a_report_holds_all_that_was_recorded(output):
    """Parameters, values, claims, versions and the place of the figure stand in the JSON file."""
    report = make_report()
    report.figure(figure(), "line", caption="A line.", alt="It rises.")
    report.value("mean", np.float32(0.1), standard_error=np.array(0.01), unit="1/day")
    claim(report, holds=np.bool_(False), kind="beyond")
    report.verdict()
    record = json.loads((output / "reports" / "10_toy.json").read_text())
    assert record["values"]["mean"] == {"value": 0.1, "standard_error": 0.01, "unit": "1/day"}
    assert record["claims"][0]["verdict"] == "beyond" and record["claims"][0]["holds"] is False
    assert record["figures"][0]["file"] == "10_toy_line.png" and "vector" not in record["figures"][0]
    assert record["parameters"] == {"num_paths": 100, "rate": 0.5} and record["versions"]["numpy"] == np.__version__


@pytest.mark.parametrize("profile", publish.PROFILES)
def test_the_same_run_gives_the_same_bytes(output, profile):
    """Neither figures nor report carry a date or an id; the paper profile adds a PDF."""
    seen = []
    for _ in range(2):
        report = make_report(profile=profile)
        report.figure(figure(), "line", caption="A line.", alt="It rises.")
        claim(report)
        report.verdict()
        seen.append({path.name: path.read_bytes() for path in output.rglob("*") if path.is_file()})
    assert seen[0] == seen[1]
    assert ("10_toy_line.pdf" in seen[0]) == (profile == "paper")


def test_a_figure_shows_itself_once_and_is_closed(output):
    """The cell shows image and caption; pyplot has nothing left to show."""
    import matplotlib.pyplot as plt

    shown = make_report().figure(figure(), "line", caption="A line.", alt="It rises.")
    assert plt.get_fignums() == []
    assert shown.png.startswith(b"\x89PNG") and shown.alt == "It rises."


def test_the_verdict_table_has_no_digits_of_measurements(output):
    """What nbval compares is id, sentence and truth value."""
    report = make_report()
    claim(report)
    table = report.verdict()
    assert repr(table) == "claim     says       holds\ntoy.mean  It stays.  True"
    assert "1.5" not in table._repr_html_() and "1.50 ± 0.10" in repr(report.numbers())


def test_profiles_write_to_their_folders(tmp_path, monkeypatch):
    """Without a runner, the project decides: paper at the top, quick below."""
    monkeypatch.delenv(publish.OUTPUT_VARIABLE)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert publish.output_folders("paper") == (tmp_path / "figures", tmp_path / "reports")
    assert publish.output_folders("quick") == (tmp_path / "figures" / "quick", tmp_path / "reports" / "quick")


def test_without_a_project_results_go_below_the_working_folder(tmp_path, monkeypatch, capsys):
    """And the user is told."""
    monkeypatch.delenv(publish.OUTPUT_VARIABLE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(publish, "project_root", lambda: None)
    assert publish.output_folders("paper").figures == tmp_path / "figures"
    assert "No project found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measured": math.nan}, "finite number"),
        ({"measured": np.ones(2)}, "one number"),
        ({"measured": True}, "one number"),
        ({"measured": ""}, "expected measured to be a text"),
        ({"measured": "three of four"}, "belongs to a measured number"),
        ({"standard_error": math.inf}, "finite number"),
        ({"standard_error": -1.0}, "≥ 0"),
        ({"kind": "proved"}, "expected a kind among paper, beyond, our reading"),
        ({"says": " "}, "expected says to be a text"),
        ({"criterion": None}, "expected criterion to be a text"),
        ({"id": "Toy mean"}, "small letters"),
    ],
)
def test_a_claim_that_is_none_is_refused(output, changes, message):
    """The message names the claim, what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        claim(make_report(), **changes)


@pytest.mark.parametrize("holds", [1, None, "yes", np.array([True, False])])
def test_holds_is_one_boolean(output, holds):
    """A criterion was computed, not guessed."""
    with pytest.raises(TypeError, match="True or False"):
        claim(make_report(), holds=holds)


def test_names_are_used_once(output):
    """A second value, figure or claim of the same name is refused."""
    report = make_report()
    claim(report)
    report.value("mean", 1, unit="1")
    report.figure(figure(), "line", caption="A line.", alt="It rises.")
    with pytest.raises(ValueError, match="given before"):
        claim(report)
    with pytest.raises(ValueError, match="given before"):
        report.value("mean", 2, unit="1")
    with pytest.raises(ValueError, match="given before"):
        report.figure(None, "line", caption="A line.", alt="It rises.")


def test_a_report_needs_a_claim_a_stem_and_a_known_profile(output):
    """Each is refused where it enters."""
    with pytest.raises(ValueError, match="no claim"):
        make_report().verdict()
    with pytest.raises(ValueError, match="quick, paper"):
        make_report(profile="full")
    with pytest.raises(ValueError, match="small letters"):
        publish.Report("../10_toy", profile="quick", seed=1, parameters={})
    with pytest.raises(ValueError, match="finite"):
        make_report(parameters={"rates": [1.0, math.nan]})
    with pytest.raises(ValueError, match="figure with axes"):
        make_report().figure(object(), "line", caption="A line.", alt="It rises.")


def test_publish_imports_neither_jax_nor_matplotlib():
    """It saves what it is given; a reader's machine may have neither."""
    code = "import sys; import ssagrad.publish; print({'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"


def test_measurements_show_the_error_to_two_digits():
    """And the value to as many; the unit follows unless it is 1."""
    assert measurement(0.0103, 0.00021, "1") == "0.01030 ± 0.00021"
    assert measurement(1234.5, 12.0, "paths") == "1234 ± 12 paths"
    assert measurement(1234.5, 150.0, "1") == "1234 ± 150"
    assert measurement(1.5e-7, 2e-9, "1") == "1.5000e-07 ± 2.0e-09"
    assert measurement(3, None, "1") == "3" and measurement("3 of 4", None, "1") == "3 of 4"
    assert measurement(1 / 3, None, "s") == "0.3333 s" and measurement(2.0, 0.0, "1") == "2 ± 0"


def test_verdicts_say_when_a_claim_does_not_hold():
    """The four words of the claims table, and no false success."""
    assert [verdict_word("paper", holds) for holds in (True, False)] == ["reproduced", "not reproduced"]
    assert verdict_text({"verdict": "beyond", "holds": False}) == "beyond, does not hold"
    assert verdict_text({"verdict": "not reproduced", "holds": False}) == "not reproduced"
    assert verdict_text({"verdict": "our reading", "holds": True}) == "our reading"


def test_tables_escape_and_wrap():
    """Text, HTML and Markdown show the same cells."""
    head, rows = ("a", "b"), [("|x| < 1", "long " * 30)]
    assert "&lt; 1" in html_table(head, rows)
    assert "\\|x\\| < 1" in markdown_table(head, rows)
    assert max(len(line) for line in plain_table(head, rows).splitlines()) < 90
    assert repr(Table(head, rows)) == plain_table(head, rows)
