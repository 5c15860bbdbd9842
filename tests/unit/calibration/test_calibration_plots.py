"""Figures of a fit, also of the fits that went badly."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from ssagrad import plots

matplotlib.use("Agg")
NAN, INF = np.nan, np.inf


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def panel(times=(1.0, 2.0)):
    fine = np.linspace(0, 2, 9)
    curve = (fine, fine, 0.5 * fine, 1.5 * fine)
    return {"curve": curve, "data": (np.array(times), np.array([1.0, NAN]), np.array([NAN, NAN])), "range": (np.full(2, NAN), np.full(2, NAN))}


def test_panels_are_conditions_by_species():
    """Two conditions and two species make four panels, whose axes begin at 0; what is missing is left out."""
    figure = plots.model_and_data({(c, s): panel() for c in ("low", "high") for s in "XY"})
    assert len(figure.axes) == 4 and all(axes.get_ylim()[0] == 0 for axes in figure.axes)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["X", "Y"] and figure.axes[2].get_xlabel() == "time"
    assert [text.get_text() for text in figure.legends[0].get_texts()][2:] == ["data, mean and 95 % interval", "data, one count"]
    figure.canvas.draw()


def test_the_way_is_drawn_with_failures_and_negative_losses():
    """A start that failed is nan; a log-likelihood may have any sign, and then there is no logarithmic axis."""
    loss = np.array([[9.0, 3.0, 1.0], [8.0, NAN, NAN]])
    first = plots.fit_progress(np.cumsum(np.full((2, 3), 2e5), 1), loss, x_label="events", y_label="misfit", best=0, reference=1.0)
    assert first.axes[0].get_yscale() == "log"
    second = plots.fit_progress(np.arange(3.0)[None], -loss[:1], x_label="steps", y_label="loss", best=0)
    assert second.axes[0].get_yscale() == "linear"
    first.canvas.draw()


def test_open_parameters_are_said_to_be_open():
    """An infinite interval is drawn to the edges, with words; the others have theirs."""
    intervals = {"k": (1.0, 0.8, 1.3), "q": (2.0, 0.0, INF)}
    figure = plots.estimates_with_intervals(intervals, guesses={"k": 2.0, "q": 2.0}, ends={"k": [1.0, 1.1], "q": [2.0, 0.1]}, truth={"k": 1.1})
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert any("left open" in text for text in texts) and any("0.8 to 1.3" in text for text in texts)
    figure.canvas.draw()


@pytest.mark.parametrize("residuals", [{}, {("", "X"): (np.array([1.0, 2.0]), np.array([0.5, -7.0]))}])
def test_diagnostics_of_few_and_of_no_moments(residuals):
    """Large residuals stay inside; combinations with an infinite error have a bar; single paths have no residuals."""
    directions = [(np.array([1.0, -0.9]), INF, False), (np.array([0.2, 1.0]), 0.05, True)]
    figure = plots.fit_diagnostics(residuals, directions, ["k", "q"], limit=1.0)
    left, right = figure.axes
    assert left.get_ylim()[1] >= 3 and (not residuals or left.get_ylim()[1] > 7)
    assert len(right.patches) == 2 and any("k · q" in text.get_text() for text in right.texts)
    figure.canvas.draw()
