"""The learned closure of pairs: its coordinates, its exact part, what it learns, and gradients in the rates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad.boltzmann.moments import product_moments
from ssagrad.boltzmann.pair_closure import Condition, coordinates, learn_pair_closure, predicted_moments, score_gradient
from ssagrad.boltzmann.well_mixed import closed_moments

RATES = np.array([0.03, 0.05, 0.4])


def mean_field(prey, hunters, rates, num_steps=60):
    """Conditions in which sites stay independent."""
    given = {"birth": rates[0], "death": rates[1], "predation": rates[2] / 2 * 4 / 1600}
    path = np.asarray(closed_moments("mean field", given, (prey, hunters), np.arange(num_steps + 1.0)), float)
    return Condition(rates, product_moments(*path.T, 1600))


def silent(hidden=4):
    return {"in": jnp.zeros((8, hidden)), "bias": jnp.zeros(hidden), "out": jnp.zeros((hidden, 24)), "base": jnp.zeros(24)}


def test_coordinates_of_independent_sites_are_densities_and_zeros():
    found = coordinates(product_moments(np.array([160.0, 320.0]), np.array([80.0, 40.0]), 1600), 1600)
    assert np.allclose(found, [[0.1, 0.05, *[0] * 6], [0.2, 0.025, *[0] * 6]])
    assert np.isfinite(coordinates(np.zeros(8), 1600)).all()


def test_without_correlations_the_closure_is_the_mean_field():
    """A network of zeros keeps correlations at 1; Heun steps of one unit agree with fine ones to 1 %."""
    wanted = mean_field(150, 80, RATES)
    found = predicted_moments(silent(), coordinates(wanted.moments[0], 1600), RATES, num_steps=60, num_sites=1600)
    assert found.shape == (61, 8) and np.allclose(found, wanted.moments, rtol=0.01)


def test_learning_from_independent_sites_gives_little_correlation_elsewhere():
    """Three conditions to learn from, another one to predict, within 3 % of the mean field."""
    learned = [mean_field(prey, hunters, RATES * factor) for prey, hunters, factor in ((100, 80, 1.0), (200, 60, 0.8), (150, 120, 1.2))]
    network = learn_pair_closure(jax.random.key(0), learned, num_sites=1600, num_steps=150, windows=(5, 20), batch=16)
    unseen = mean_field(130, 90, RATES * 0.9)
    found = predicted_moments(network, coordinates(unseen.moments[0], 1600), unseen.rates, num_steps=60, num_sites=1600)
    assert np.allclose(found[:, :2], unseen.moments[:, :2], rtol=0.03)


def test_predictions_can_be_differentiated_in_the_rates():
    """At short times: d ln P / d k₁ = t."""
    begin = coordinates(product_moments(100.0, 1e-3, 1600), 1600)
    slope = jax.jacfwd(lambda rates: predicted_moments(silent(), begin, rates, num_steps=4, num_sites=1600)[:, 0])(jnp.asarray(RATES, jnp.float32))
    prey = 100 * np.exp(0.03 * np.arange(5))
    assert np.allclose(slope[:, 0], np.arange(5) * prey, rtol=2e-2, atol=0.1)


def test_the_score_gradient_is_that_of_a_known_mean():
    """f ~ Poisson(λ) with score (n − λ)/λ in λ: d E f / d ln λ = λ, within 4 standard errors below 2 %."""
    draws = np.random.default_rng(0).poisson(20.0, (40_000, 1)).astype(float)
    scores = np.repeat((draws - 20.0)[..., None] / 20.0, 3, axis=2)
    slope, error = score_gradient(draws[..., None], scores, np.array([20.0, 10.0, 0.0]))
    assert slope.shape == error.shape == (1, 1, 3) and error.max() < 0.4
    assert (np.abs(slope[0, 0] - [20.0, 10.0, 0.0]) <= 4 * error[0, 0]).all()


def test_conditions_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="longer than the windows"):
        learn_pair_closure(jax.random.key(1), [mean_field(100, 80, RATES, num_steps=20)], num_sites=1600)
