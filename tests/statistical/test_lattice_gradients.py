"""Scores of lattice runs give the derivatives of their means: against closed forms, and against common finite differences."""

import jax
import numpy as np
import pytest

from ssagrad.boltzmann.lattice import HUNTER, PREY, Rates, lattice_runs
from ssagrad.boltzmann.pair_closure import score_gradient


def numbers(runs):
    return np.stack([(runs.sites == kind).sum((2, 3)) for kind in (PREY, HUNTER)], axis=-1).astype(float)


@pytest.mark.parametrize("selection", ["row first", "uniform"])
def test_lone_hunters_and_lone_prey_have_their_exact_derivatives(selection):
    """Hunters: d/d ln k₂ of 60 e^{−k₂ t} is −60 k₂ t e^{−k₂ t}; prey that are never eaten: 40 k₁ t e^{k₁ t}. 1000 runs, within 4 standard errors."""
    rates, times = Rates(birth=0.05, death=0.1, predation=0.0), np.arange(6)
    runs = lattice_runs(jax.random.key(0), num_runs=1000, num_steps=5, side=20, initial=(40, 60), rates=rates, selection=selection)
    slope, error = score_gradient(numbers(runs), runs.scores, rates)
    exact = np.zeros((6, 2, 2))
    exact[:, 0, 0], exact[:, 1, 1] = 40 * 0.05 * times * np.exp(0.05 * times), -60 * 0.1 * times * np.exp(-0.1 * times)
    assert (np.abs(slope[..., :2] - exact)[1:] < 4 * error[1:, :, :2]).all()
    assert error[-1, 0, 0] < 0.06 * exact[-1, 0, 0] * 2 and error[-1, 1, 1] < 0.06 * 60


def test_the_derivative_in_predation_agrees_with_a_finite_difference():
    """Prey and hunters after 8 units of time, 1500 runs each; the difference of ± 20 % has an error of its own, and of second order."""
    rates = Rates(birth=0.02, death=0.05, predation=0.5)
    options = {"num_steps": 8, "side": 15, "initial": (40, 30)}
    runs = lattice_runs(jax.random.key(1), num_runs=1500, rates=rates, **options)
    slope, error = score_gradient(numbers(runs), runs.scores, rates)
    others = [lattice_runs(jax.random.key(k), num_runs=1500, rates=rates._replace(predation=value), **options) for k, value in ((2, 0.6), (3, 0.4))]
    ends = [numbers(other)[:, -1] for other in others]
    difference = (ends[0].mean(0) - ends[1].mean(0)) / 0.4
    spread = np.sqrt(sum(part.var(0) / 1500 for part in ends)) / 0.4
    assert (np.abs(slope[-1, :, 2] - difference) < 4 * np.hypot(error[-1, :, 2], spread) + 0.04 * np.abs(difference)).all()
    assert (np.abs(difference) > 8 * spread).all()
