"""The branching and annihilating walk: reproducible, and a fit that finds the rates behind a closure's own moments."""

import jax
import numpy as np

from ssagrad.boltzmann.walk import fit_rates, predicted_densities, walk_densities

BEGIN = np.array([1.0, -0.3])


def test_walks_begin_with_the_law_of_the_lattice_gas_and_repeat():
    one, other = (walk_densities(jax.random.key(0), BEGIN, num_runs=200, num_steps=4, length=50) for _ in range(2))
    assert one.shape == (200, 5, 3) and np.array_equal(one, other)
    expected = predicted_densities(np.ones(3), BEGIN, step=0.01, num_steps=1)[0]
    assert (np.abs(one[:, 0].mean(0) - expected) < 4 * one[:, 0].std(0) / np.sqrt(200)).all()


def test_without_reactions_the_density_stays():
    found = walk_densities(jax.random.key(1), BEGIN, num_runs=20, num_steps=5, branching=0.0, annihilation=0.0, length=40)
    assert np.allclose(found[:, 1:, 0], found[:, :1, 0])


def test_rates_behind_a_closure_are_found_again():
    """Moments predicted with (8, 30, 12), and noise of 0.1 %: within 4 standard errors, which are below 5 %."""
    truth = np.array([8.0, 30.0, 12.0])
    exact = predicted_densities(truth, BEGIN, step=0.01, num_steps=40)
    samples = exact + 1e-2 * np.random.default_rng(0).normal(size=(100, *exact.shape))
    fit = fit_rates(samples, BEGIN, np.full(3, 10.0), step=0.01)
    error = np.sqrt(np.diag(fit.covariance))
    assert (np.abs(fit.rates - truth) < 4 * error).all() and (error < 0.05 * truth).all()
    assert fit.densities.shape == (41, 3) and np.allclose(fit.densities, exact, atol=3e-3)
