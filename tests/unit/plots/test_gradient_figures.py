"""Figures of gradients show what they were given: points, the number beyond the edge, bars, shares of a reference."""

import matplotlib
import numpy as np

from ssagrad import plots

matplotlib.use("Agg")


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_forest_draws_every_point_and_counts_those_beyond():
    axes = plots.forest({"right": {"score function": np.array([0.0, 1.0])}, "wrong": {"smoothing": np.array([-20.0, 3.0, 30.0, 40.0])}}, limit=4.0).axes[0]
    assert [len(points.get_offsets()) for points in axes.collections] == [2, 1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["score function", "smoothing"]
    assert {"right", "wrong", "1", "2"} <= set(texts(axes))


def test_biases_name_a_network_once_and_end_bars_at_the_edge():
    figure = plots.biases({"smoothing": (np.array([5.0, 500.0]), np.array([1.0, 10.0]))}, ["a: x", "a: y"], x_label="error (%)")
    axes = figure.axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a: x", "y"]
    assert max(np.max(line.get_xdata()) for line in axes.get_lines()) < 110


def test_efficiencies_put_biased_rows_in_brackets_and_a_dash_where_nothing_is():
    panels = {"mean": [[2.0, np.nan], [0.5, 3e6]]}
    axes = plots.efficiencies(panels, ["right", "wrong"], ["one", "two"], reference="score function", hollow=["wrong"]).axes[0]
    assert texts(axes) == ["× 2.0", "–", "(× 0.5)", "(× 10$^{6}$)"]


def test_estimates_cross_out_what_does_not_agree():
    panels = {"rate": (1.0, {"right": (1.1, 0.1), "wrong": (3.0, 0.1)})}
    axes = plots.estimates(panels, x_label="gradient").axes[0]
    assert [container.lines[0].get_marker() for container in axes.containers] == ["o", "X"]
    assert axes.get_xlabel() == "gradient" and not matplotlib.pyplot.get_fignums()
