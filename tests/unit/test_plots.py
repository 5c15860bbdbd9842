"""Figures show the data that they were given, with labelled axes and legends, and are closed when handed over."""

import jax
import matplotlib
import numpy as np
import pytest

from ssagrad import models, plots, simulate

matplotlib.use("Agg")
PLANE = plots.Plane(np.arange(3.0), np.arange(4.0), np.arange(12.0).reshape(3, 4), "x", "y", (1.0, 2.0), {"a": np.array([[0.0, 0.0], [1.0, 2.0]])})
LAW = plots.Law("name", "molecules", np.arange(5), np.full(5, 0.2), np.full(5, 0.01), np.full(5, 0.19))
FIGURES = {
    "ensemble": lambda: simulate(jax.random.key(0), *models.immigration_death()[:4], num_paths=20).plot(exact={"X": np.ones(51)}),
    "laws": lambda: plots.laws([LAW, LAW]),
    "z_scores": lambda: plots.z_scores({"a": np.array([0.0, 9.0])}, limit=4.0),
    "survival": lambda: plots.survival(np.arange(1.0, 4), {"a": (np.full(3, 0.5), np.full(3, 0.1))}, np.full(3, 0.5), x_label="time"),
    "response_surfaces": lambda: plots.response_surfaces([PLANE, PLANE], loss_label="loss", largest=12.0),
    "curves": lambda: plots.curves([(np.arange(3.0), {"a": (np.ones(3), np.ones(3))})], x_label="x", y_label="y"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_labels_and_is_shown_once(name):
    """Bottom axes have an x label, some axis has a y label, there is a legend, and pyplot does not keep the figure."""
    figure = FIGURES[name]()
    figure.canvas.draw()
    assert figure.axes[-2 if name in ("response_surfaces",) else -1].get_xlabel()
    assert any(axes.get_ylabel() for axes in figure.axes) or name == "z_scores"
    assert figure.legends or any(axes.get_legend() for axes in figure.axes)
    assert not matplotlib.pyplot.get_fignums()


def test_ensemble_draws_mean_and_exact_mean():
    samples = np.array([[1.0, 2.0], [3.0, 4.0]])
    lines = plots.ensemble([0.0, 1.0], {"X": samples}, exact={"X": np.array([2.5, 3.5])}).axes[0].get_lines()
    drawn = [line.get_ydata().tolist() for line in lines]
    assert [2.0, 3.0] in drawn and [2.5, 3.5] in drawn and [1.0, 2.0] in drawn


def test_surface_puts_the_first_axis_along_x():
    """loss [A, B]: the colour at (x_i, y_j) is loss[i, j]."""
    mesh = plots.response_surfaces([PLANE], loss_label="loss", largest=12.0).axes[0].collections[0]
    assert np.array_equal(np.asarray(mesh.get_array()).reshape(4, 3), PLANE.loss.T)


def test_z_scores_beyond_the_limit_are_marked():
    colours = plots.z_scores({"a": np.array([0.0, 9.0])}, limit=4.0).axes[0].collections[0].get_facecolors()
    assert not np.array_equal(colours[0], colours[1])
