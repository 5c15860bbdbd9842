"""Figures of learned structures show what they were given: ranges of all runs, true reactions that stand out, every run a point."""

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from ssagrad import plots

matplotlib.use("Agg")
STEPS = np.array([1, 10, 100])
EVENTS = np.array([[1e3, 1e4, 1e5], [3e3, 3e4, 3e5], [2e3, 2e4, 2e5]])
LOSS = np.array([[0.6, 0.2, 0.02], [0.6, 0.3, 0.05], [0.6, 0.4, 0.03]])
HISTORY = {"steps": STEPS, "events": EVENTS, "loss": LOSS}
PROBLEMS = "library of reactions", "coefficients and rates"
TRUTH = ["S + I -> 2 I", "I -> R"]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def dashed(axes):
    """The y of the lines that cross the whole panel."""
    return [line.get_ydata()[0] for line in axes.get_lines() if tuple(line.get_xdata()) == (0, 1)]


def convergence():
    return plots.convergence({(PROBLEMS[0], "PGO"): HISTORY, (PROBLEMS[0], "RLOO"): HISTORY, (PROBLEMS[1], "PGO"): HISTORY}, optimum=0.01)


def test_convergence_has_steps_above_events_and_a_column_for_each_problem():
    figure = convergence()
    top, bottom = figure.axes[:2], figure.axes[2:]
    assert [axes.get_title() for axes in top] == ["library of reactions", "coefficients and\nrates"]
    assert {axes.get_xlabel() for axes in top} == {"steps"} and {axes.get_xlabel() for axes in bottom} == {"events simulated"}
    assert all(axes.get_yscale() == "log" and dashed(axes) == [0.01] for axes in figure.axes)
    assert legend(figure) == ["PGO", "RLOO", "true model"]


def test_convergence_draws_the_median_and_the_range_of_all_runs():
    above, below = convergence().axes[0], convergence().axes[2]
    for axes, x in ((above, STEPS), (below, [2e3, 2e4, 2e5])):
        lines = [line for line in axes.get_lines() if len(line.get_xdata()) == 3]
        assert len(lines) == 2, "one for each method that was run"
        assert np.allclose(lines[0].get_xdata(), x) and np.allclose(lines[0].get_ydata(), [0.6, 0.3, 0.03])
        corners = axes.collections[0].get_paths()[0].vertices
        assert {round(y, 3) for px, y in corners if np.isclose(px, x[2])} == {0.02, 0.05}
    assert len({line.get_linestyle() for line in lines}) == len({line.get_marker() for line in lines}) == 2, "readable without colour"


def test_reactions_of_the_true_model_stand_out():
    models = {"true model": (TRUTH, [0.02, 5.0]), "learned": (["2 S -> R", "I -> R"], np.array([0.3, 0.1]))}
    figure = plots.reaction_lists(models, truth=TRUTH, x_label="rate")
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == ["true model", "learned"]
    assert [label.get_text() for label in shown[1].get_yticklabels()] == ["2 S → R", "I → R"]
    assert [label.get_fontweight() for label in shown[1].get_yticklabels()] == ["normal", "bold"]
    wrong, right = shown[1].patches
    assert to_rgb(right.get_facecolor()) == to_rgb(shown[0].patches[0].get_facecolor()) != to_rgb(wrong.get_facecolor())
    assert wrong.get_hatch() and not right.get_hatch()
    assert wrong.get_x() == 1e-4 and np.isclose(wrong.get_x() + wrong.get_width(), 0.3)
    assert [text.get_text() for text in shown[1].texts] == ["0.3", "0.1"]
    assert {axes.get_xlim() for axes in shown} == {(1e-4, 40.0)} and legend(figure) == ["in the true model", "not in the true model"]


def test_long_lists_are_cut_and_say_so():
    names = [f"{k} S -> R" for k in range(12)]
    figure = plots.reaction_lists({"library": (names, np.geomspace(1, 1e-3, 12)), "nothing": ([], [])}, truth=TRUTH, most=5)
    cut, empty = figure.axes[:2]
    assert len(cut.patches) == 5 and "… and 7 more" in [text.get_text() for text in cut.texts]
    assert not empty.patches and not empty.texts


def test_lists_fill_rows_of_three():
    figure = plots.reaction_lists({str(k): (TRUTH, [0.1, 0.1]) for k in range(5)}, truth=TRUTH)
    assert len(figure.axes) == 6 and [axes.get_visible() for axes in figure.axes] == [True] * 5 + [False]
    assert [bool(axes.get_xlabel()) for axes in figure.axes[:5]] == [False, False, True, True, True], "the lowest of each column"


def test_parsimony_has_every_run_and_the_truth_in_its_corner():
    ends = {"library": (np.array([30, 25]), np.array([0.02, 0.03])), "choice": (np.array([2, 1]), np.array([0.2, 0.3]))}
    axes = plots.parsimony(ends, truth=(2, 0.01), fits=0.05).axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert list(lines) == ["library", "choice", "true model"]
    assert np.allclose(lines["library"].get_xdata(), [30, 25], rtol=0.1) and np.array_equal(lines["library"].get_ydata(), [0.02, 0.03])
    assert lines["true model"].get_xydata().tolist() == [[2, 0.01]]
    assert lines["library"].get_marker() != lines["choice"].get_marker()
    assert any(np.isclose(patch.get_y() + patch.get_height(), 0.05) for patch in axes.patches), "the shaded region ends where runs no longer fit"


def test_settings_have_a_panel_for_each_problem_and_join_medians_in_order():
    ends = {("library", "log", 0.2): [0.1, 0.3, 0.2], ("library", "log", 0.1): [0.02, 0.03, 0.01], ("choice", "linear", 0.5): [0.2, 0.2, 0.4]}
    figure = plots.setting_losses(ends, x_label="σ", optimum=0.01)
    first, second = figure.axes
    assert (first.get_title(), second.get_title(), first.get_xlabel()) == ("library", "choice", "σ")
    median = next(line for line in first.get_lines() if len(line.get_xdata()) == 2 and line.get_linestyle() != "None" and tuple(line.get_xdata()) != (0, 1))
    assert np.allclose(median.get_ydata(), [0.02, 0.2]) and np.allclose(median.get_xdata(), [0.1, 0.2], rtol=0.1)
    assert sum(len(line.get_xdata()) for line in first.get_lines() if line.get_linestyle() == "None") == 6, "every run a point"
    assert legend(figure) == ["log", "linear", "true model"] and [label.get_text() for label in first.get_xticklabels()] == ["0.1", "0.2"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.convergence({}, optimum=0.01),
        lambda: plots.reaction_lists({}, truth=TRUTH),
        lambda: plots.parsimony({}, truth=(2, 0.01), fits=0.05),
        lambda: plots.setting_losses({}, x_label="x", optimum=0.01),
    ],
)
def test_nothing_to_draw_is_refused(draw):
    with pytest.raises(ValueError, match="at least one|received none"):
        draw()
