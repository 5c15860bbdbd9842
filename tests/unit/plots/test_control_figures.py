"""Figures of Dynkin controls show what they were given."""

import matplotlib
import numpy as np

from ssagrad import plots

matplotlib.use("Agg")


def test_value_functions_put_dots_on_lines():
    x = np.array([1.0, 2.0])
    axes = plots.value_functions({"0.5": (x, 2 * x)}, {"0.5": (x, 3 * x)}, x_label="now", y_label="end").axes[0]
    drawn = [line.get_ydata().tolist() for line in axes.get_lines()]
    assert [2.0, 4.0] in drawn and [3.0, 6.0] in drawn
    assert axes.get_xlabel() == "now" and axes.get_ylabel() == "end"


def test_advantages_are_a_row_for_each_network_hollow_where_biased():
    values = {"one": {"Dynkin controls": 100.0, "smoothing": 2.0}, "two": {"Dynkin controls": 10.0}}
    figure = plots.advantages(values, reference="score function", hollow=["smoothing"], x_label="efficiency")
    axes = figure.axes[0]
    points = {(float(line.get_xdata()[0]), int(line.get_ydata()[0])): line for line in axes.get_lines() if line.get_linestyle() == "None"}
    assert set(points) == {(100.0, 0), (2.0, 0), (10.0, 1)}
    assert points[2.0, 0].get_markerfacecolor() == "white" and points[10.0, 1].get_markerfacecolor() != "white"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["Dynkin controls", "smoothing (biased)", "score function"]


def test_limits_have_a_panel_for_each_setting():
    figure = plots.limits({"strata": {"a": ([2, 4], [1.0, 10.0])}, "horizon": {"b": ([1.0, 3.0], [5.0, 2.0])}}, y_label="gain")
    assert [axes.get_xlabel() for axes in figure.axes] == ["strata", "horizon"]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["2", "4"]
    assert not matplotlib.pyplot.get_fignums()
