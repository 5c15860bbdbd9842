"""The pair law: Gibbs sampling against one site's odds and against independent sites, and fits that find their targets within bounds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad.boltzmann.markov_field import field_moments, field_odds, field_sweep, follow, natural_step
from ssagrad.boltzmann.moments import NAMES, lattice_moments, product_moments


def test_the_odds_of_a_site_are_ratios_of_probabilities():
    """For every site of a random lattice: e^field = p(with prey, or a hunter, there) / p(with nobody there), from the moments themselves."""
    rng = np.random.default_rng(0)
    theta, sites = rng.normal(size=8), rng.integers(0, 3, (10, 10)).astype(np.int8)
    prey, hunter = field_odds(jnp.asarray(theta[:, None], jnp.float32), jnp.asarray(sites[..., None]))
    for place in ((0, 0), (3, 9), (9, 4), (5, 5)):
        logs = []
        for kind in range(3):
            changed = sites.copy()
            changed[place] = kind
            logs.append(theta @ lattice_moments(changed))
        assert np.allclose(np.log([prey[place][0], hunter[place][0]]), [logs[1] - logs[0], logs[2] - logs[0]], atol=1e-4)


def test_without_couplings_sites_are_independent():
    theta = np.append(np.log([0.2 / 0.5, 0.3 / 0.5]), np.zeros(6))
    found, error = field_moments(jax.random.key(0), theta[None], side=10, num_chains=2000, num_sweeps=2)
    assert (np.abs(found[0] - product_moments(20.0, 30.0, 100)) < 4 * error[0]).all()


def test_sites_of_one_colour_do_not_interact_and_chains_do_not_either():
    """Sampling leaves a strong attraction's law: means after 40 and after 80 sweeps agree within 4 standard errors."""
    theta = np.array([-1.5, -1.5, 0.3, 0.2, -0.4, 0.2, 0.1, -0.3])
    one, other = (field_moments(jax.random.key(seed), theta[None], side=10, num_chains=1500, num_sweeps=n) for seed, n in ((1, 40), (2, 80)))
    assert (np.abs(one[0] - other[0]) < 4 * np.hypot(one[1], other[1])).all()


def test_a_fit_finds_the_parameters_behind_its_targets():
    """Moments of known couplings, held for 60 units of time: the average of the last half is within 0.05 of each."""
    theta = np.array([-1.5, -1.2, 0.25, 0.1, -0.3, 0.1, 0.15, -0.2])
    target, _ = field_moments(jax.random.key(3), theta[None], side=20, num_chains=400, num_sweeps=40)
    start = product_moments(*target[0, :2], 400)
    path = follow(jax.random.key(4), np.concatenate([start[None], np.repeat(target, 59, 0)]), side=20, num_chains=120)
    assert path.shape == (60, 8) and np.abs(path[30:].mean(0) - theta).max() < 0.05


def test_bounds_are_kept_and_means_are_matched_within_them():
    bounds = np.array([9, 9, 0.1, 0.1, 0.0, 0.0, 0.0, 0.0])
    target = product_moments(60.0, 40.0, 400) * np.array([1, 1, 2, 2, 0.5, 1.5, 1.5, 0.6])
    path = follow(jax.random.key(5), np.repeat(target[None], 60, 0), side=20, num_chains=150, bounds=bounds)
    assert (np.abs(path) <= bounds).all() and not path[:, 4:].any() and np.allclose(path[-1, 2:4], 0.1)
    found, _ = field_moments(jax.random.key(6), path[30:].mean(0)[None], side=20, num_chains=600, num_sweeps=30)
    assert np.allclose(found[0, :2], target[:2], rtol=0.05)


def test_a_held_parameter_does_not_move():
    values = np.random.default_rng(1).normal(10, 1, (200, 8))
    theta, bounds = np.zeros(8), np.full(8, 1.0)
    theta[3] = 1.0
    change = natural_step(values, values.mean(0) + 1.0, theta, bounds)
    assert change[3] == 0 and (np.delete(change, 3) > 0).all() and len(NAMES) == 8


def test_a_side_that_cannot_be_coloured_is_refused():
    with pytest.raises(ValueError, match="multiple of 5"):
        field_sweep(jax.random.key(7), jnp.zeros((8, 1)), jnp.zeros((12, 12, 1), jnp.int8), 1)
