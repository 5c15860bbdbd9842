"""Figures on hierarchical inference: what they draw, and what they refuse."""

import numpy as np
import pytest

from ssagrad.plots import hierarchy


def test_figures_draw_what_they_are_given():
    """Each figure has its panels."""
    curves = {"white box": {0: [-500.0, -400.0], 60: [700.0, 720.0]}, "black box": {0: [-200.0], 60: [1000.0]}}
    assert len(hierarchy.bound_curves(curves, {"white box": {60: 729.0}}).axes) == 1
    assert len(hierarchy.ablation({"white box, published": [700.0], "black box": [1.0]}, {"white box, published": [1.0], "black box": [30.0]}, draws=100).axes) == 2
    lines = np.ones((2, 4, 5))
    assert len(hierarchy.device_fits(np.arange(5), lines, {"fit": lines}, devices=("a", "b"), signals=("w", "x", "y", "z")).axes) == 8
    panel = {"doses": [1.0, 2.0], "observed": np.ones((2, 2)), "lines": {"fit": np.ones((2, 2))}, "bands": {"fit": (np.zeros((2, 2)), np.ones((2, 2)))}}
    assert len(hierarchy.dose_responses({"a": {"C6": panel, "C12": panel}}).axes) == 4
    pair = (np.zeros(3), np.ones(3))
    assert len(hierarchy.priors_and_posteriors(["a", "b", "c"], pair, {"fold 1": pair}, truth=np.zeros(3)).axes) == 2
    sites = {"aR": {"x": ([0.0, 0.1], [0.1, 0.1])}, "aS": {"y": ([0.0], [0.1])}}
    assert len(hierarchy.binding_sites(sites, truth={"aR": [0.0], "aS": [0.0]}).axes) == 2
    assert len(hierarchy.side_by_side(["a", "b", "c"], {"NUTS": pair, "refined": pair}).axes) == 1


@pytest.mark.parametrize(
    "draw",
    [
        lambda: hierarchy.bound_curves({}, {}), lambda: hierarchy.ablation({}, {}, draws=10), lambda: hierarchy.dose_responses({}),
        lambda: hierarchy.device_fits([0], np.zeros((1, 1, 1)), {}, devices=("a",), signals=("b",)),
        lambda: hierarchy.priors_and_posteriors([], ([], []), {}), lambda: hierarchy.binding_sites({}), lambda: hierarchy.side_by_side([], {}),
    ],
)  # fmt: skip
def test_nothing_to_draw_is_refused(draw):
    """An empty mapping is an error, with what was expected."""
    with pytest.raises(ValueError, match="received none"):
        draw()
