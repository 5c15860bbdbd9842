"""Figures of inference show what they were given: every run and how it ended, medians, intervals, draws, and which signs are wrong."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from ssagrad import plots

matplotlib.use("Agg")
LINES = np.array([[[1.0, 1.0], [0.5, 0.5], [0.0, 0.1]], [[-1.0, 1.0], [-1.0, 0.0], [-1.0, -5.0]], [[1.0, 0.0], [0.5, 0.0], [0.1, 0.0]]])
KEYS = [(0.1, "score function"), (10.0, "score function"), (0.1, "forked path"), (10.0, "forked path")]
TRACKS = {key: (LINES, np.array([True, False, True])) for key in KEYS}


def texts(axes):
    return [text.get_text() for text in axes.texts]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def grid_of(figure):
    """Axes by their place (row, column)."""
    return {(axes.get_subplotspec().rowspan.start, axes.get_subplotspec().colspan.start): axes for axes in figure.axes}


def descents():
    return plots.descents(TRACKS, labels=("x", "y"), limit=2.0)


def test_descents_have_weak_binding_on_top_and_a_column_for_each_estimator():
    grid = grid_of(descents())
    assert set(grid) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert "K_d = 10" in texts(grid[0, 0]) and "K_d = 0.1" in texts(grid[1, 0])
    assert [grid[0, column].get_title() for column in (0, 1)] == ["score function", "forked path"]
    assert (grid[1, 1].get_xlabel(), grid[1, 0].get_ylabel()) == ("x", "y")


def test_descents_are_in_colour_where_recovered_and_dashed_where_not():
    axes = descents().axes[0]
    tracks = {tuple(line.get_xdata()): line for line in axes.get_lines() if len(line.get_xdata()) == 3}
    assert len(tracks) == 3 and "2 of 3" in texts(axes)
    found, lost = tracks[1.0, 0.5, 0.0], tracks[-1.0, -1.0, -1.0]
    assert to_rgb(found.get_color()) == to_rgb(plots.theme.style("score function")[0]) != to_rgb(lost.get_color())
    assert found.get_linestyle() == "-" and lost.get_linestyle() == "--"
    assert lost.get_zorder() > found.get_zorder(), "the rarer kind lies on top"


def test_descents_start_hollow_and_end_on_the_edge_where_they_leave():
    axes = descents().axes[0]
    points = {tuple(line.get_xydata()[0].tolist()): line for line in axes.get_lines() if len(line.get_xydata()) == 1}
    assert set(points) == {(1, 1), (-1, 1), (1, 0), (0, 0.1), (-1, -2), (0.1, 0), (0, 0)}
    assert points[1, 1].get_markerfacecolor() == "white" and points[0, 0].get_marker() == "*"
    assert points[-1, -2].get_marker() != points[0, 0.1].get_marker()
    assert axes.get_xlim() == axes.get_ylim() == (-2, 2)


def test_descents_say_where_nothing_was_run_and_need_a_verdict_for_each_run():
    assert "not run" in texts(grid_of(plots.descents({key: TRACKS[key] for key in KEYS[:3]}, labels=("x", "y"), limit=2.0))[0, 1])
    with pytest.raises(ValueError, match="one verdict for each run"):
        plots.descents({KEYS[0]: (LINES, [True, False])}, labels=("x", "y"), limit=2.0)


def test_progress_draws_medians_over_events_and_holds_runs_that_ended():
    events, loss = np.array([[1.0, 3.0], [3.0, 4.0], [2.0, np.nan]]), np.array([[9.0, 1.0], [8.0, 2.0], [7.0, np.nan]])
    history = {"events": events, "loss": loss, "error": loss / 10}
    histories = {(1.0, "score function"): history, (10.0, "score function"): history, (1.0, "score function, Gauss–Newton"): history}
    figure = plots.progress(histories, quantities={"loss": "the loss", "error": "the error"})
    grid = grid_of(figure)
    assert [grid[0, column].get_title() for column in (0, 1)] == ["K_d = 10", "K_d = 1"]
    assert [grid[row, 0].get_ylabel() for row in (0, 1)] == ["the loss", "the error"] and grid[1, 1].get_xlabel()
    gradient, gauss = grid[0, 1].get_lines()
    assert gradient.get_xydata().tolist() == [[2.0, 8.0], [3.0, 2.0]]
    assert gauss.get_markerfacecolor() == "white" and gauss.get_markevery() is None
    assert all((axes.get_xscale(), axes.get_yscale()) == ("log", "log") for axes in figure.axes)
    assert len(grid[0, 0].get_lines()) == 1 and legend(figure) == ["score function", "score function, Gauss–Newton"]


def test_successes_have_a_panel_for_each_test_and_binding_grows_to_the_right():
    shares = {(10.0, "score function"): (0.9, 0.8, 0.95), (0.1, "score function"): (0.2, 0.1, 0.3), (0.1, "forked path"): (0.5, 0.4, 0.6)}
    figure = plots.successes({"one": shares, "two": shares}, {(10.0, "score function"): (1.0, 0.1), (0.1, "score function"): (5.0, 0.2)})
    first, _, last = figure.axes
    assert [axes.get_title() for axes in figure.axes[:2]] == ["one", "two"]
    assert [label.get_text() for label in first.get_xticklabels()] == ["10", "0.1"] == [label.get_text() for label in last.get_xticklabels()]
    bars = [line.get_ydata() for line in first.get_lines() if np.size(line.get_ydata()) == 2]
    assert [list(bar) for bar in bars] == [[0.8, 0.95], [0.1, 0.3], [0.4, 0.6]]
    assert last.get_xlim()[0] > last.get_xlim()[1] and "stronger binding" in last.get_xlabel()
    assert len(last.containers) == 1 and legend(figure) == ["score function", "forked path"]


def test_intervals_are_counted_and_those_that_miss_stand_out():
    values, errors = np.array([0.0, 0.5, -0.1, np.nan]), np.array([0.1, 0.1, 0.1, np.nan])
    figure = plots.interval_rows({"k_p": (values, errors)}, truth_label="the truth")
    axes = figure.axes[0]
    assert axes.get_title() == "k_p: 2 of 4 intervals\nhold the truth" and legend(figure)[0] == "the truth"
    rows = {float(line.get_xdata()[1]): line for line in axes.get_lines() if len(line.get_xdata()) == 3 and np.isfinite(line.get_xdata()).all()}
    assert [rows[value].get_ydata()[0] for value in (-0.1, 0.0, 0.5)] == [0, 1, 2]
    assert rows[0.0].get_color() == rows[-0.1].get_color() != rows[0.5].get_color()
    assert np.allclose(rows[0.5].get_xdata(), [0.304, 0.5, 0.696])


def test_a_sparse_fit_says_what_was_observed_and_draws_all_that_was_inferred():
    times, fine = np.arange(3.0), np.arange(5.0) / 2
    observed = {"a": np.array([1.0, np.nan, 3.0]), "b": np.full(3, np.nan)}
    truth, draws = {name: fine for name in "abc"}, {name: np.arange(12.0).reshape(4, 3) for name in "abc"}
    axes = plots.sparse_fit(times, observed, (fine, truth), draws, species="abc").axes
    assert [panel.get_title(loc="left") for panel in axes] == ["a: observed", "b: never observed", "c: never observed"]
    assert [len(panel.get_lines()) for panel in axes] == [6, 5, 5]
    assert axes[1].get_lines()[4].get_drawstyle() == "steps-post" and axes[1].get_lines()[3].get_ydata().tolist() == [9.0, 10.0, 11.0]


def test_signs_are_called_wrong_where_that_is_certain():
    gradients = {"a": {"Dynkin controls": (-1.0, 0.1), "score function": (0.8, 0.1), "forked path": (0.1, 0.2), "smoothing": (40.0, 1.0)}}
    gradients["b"] = {"Dynkin controls": (2.0, 0.1), "smoothing": (1.0, 0.1)}
    first, second = plots.signs(gradients).axes
    assert [text.strip() for text in texts(first)] == ["wrong sign", "undecided", "wrong sign", "40"] and texts(second) == []
    shaded = [panel.patches[0].get_extents().transformed(panel.transData.inverted()) for panel in (first, second)]
    assert shaded[0].xmax <= 1e-9 < shaded[0].width and shaded[1].xmin >= -1e-9
    triangle = first.get_lines()[-1]
    assert triangle.get_marker() == ">" and triangle.get_markerfacecolor() == "white"
    assert [label.get_text() for label in first.get_yticklabels()] == ["Dynkin controls", "score function", "forked path", "smoothing"]


def test_figures_of_nothing_are_refused():
    for draw in (
        lambda: plots.descents({}, labels=("x", "y"), limit=1.0),
        lambda: plots.progress({}, quantities={"loss": "loss"}),
        lambda: plots.successes({"test": {}}, {}),
        lambda: plots.interval_rows({}, truth_label="truth"),
        lambda: plots.sparse_fit([0.0], {}, ([0.0], {}), {}, species=()),
        lambda: plots.signs({"a": {}}),
        lambda: plots.signs({"a": {"score function": (0.0, 1.0)}}),
    ):
        with pytest.raises(ValueError, match="expected"):
            draw()
    assert not matplotlib.pyplot.get_fignums()
