"""Figures on closures show what they were given."""

import matplotlib
import numpy as np

from ssagrad import plots

matplotlib.use("Agg")
X = np.arange(5.0)


def test_every_panel_has_its_data_its_curves_and_its_label():
    panels = [plots.Panel(f"quantity {k}", X, X + k, np.ones(5), {"one": (X, X), "two": (X[::2], X[::2])}) for k in range(4)]
    figure = plots.against_data(panels, x_label="time", data_label="truth", limits=[None, (0, 9), None, None])
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_ylabel() for axes in shown] == [f"quantity {k}" for k in range(4)] and shown[1].get_ylim() == (0, 9)
    assert all(len(axes.get_lines()) == 3 for axes in shown)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["truth", "one", "two"]


def test_equal_counts_draws_an_orbit_and_two_lattices():
    lattice = np.arange(9).reshape(3, 3) % 3
    orbit = np.stack([np.cos(np.arange(120) / 10) + 2, np.sin(np.arange(120) / 10) + 2], axis=1)
    figure = plots.equal_counts(orbit, (10, 73), (lattice, lattice.T), ("left", "right"))
    assert [axes.get_title() for axes in figure.axes] == ["", "t = 10", "t = 73"]
    assert np.array_equal(figure.axes[1].images[0].get_array(), lattice) and figure.axes[2].get_xlabel() == "right"


def test_parameter_curves_have_a_pale_and_a_smooth_line_each():
    figure = plots.parameter_curves(X, {"biases": {"a": (X, X), "b": (X, X)}, "weights": {"w": (X, X)}}, y_label="value")
    assert [axes.get_title() for axes in figure.axes] == ["biases", "weights"] and len(figure.axes[0].get_lines()) == 5


def test_misfits_name_every_model_and_leave_out_what_is_missing():
    rows = {"published": {"prey": 30.0}, "ours": {"prey": 31.0, "pairs": 4.0}}
    figure = plots.misfits(rows, {"prey": 100.0, "pairs": 9.0}, x_label="error", filled=["ours"])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["published", "ours"]
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes] == [["30", "31"], ["4"]]
    assert not matplotlib.pyplot.get_fignums()
