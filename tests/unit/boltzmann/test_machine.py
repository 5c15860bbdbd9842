"""The deep Boltzmann machine: names, statistics by hand, Gibbs sampling against the enumerated law."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad.boltzmann.machine import Machine, independent_start, noise, statistics, sweep, visible_odds


def test_the_published_machine_has_ten_parameters():
    names = Machine().names
    assert names == ("a0_P", "a0_H", "a1_P", "a1_H", "a2_P", "a2_H", "W01_PP", "W01_HH", "W12_PP", "W12_HH")
    assert Machine(0).names == ("a0_P", "a0_H") and Machine(2, cross=True).names[10:] == ("W01_PH", "W01_HP", "W12_PH", "W12_HP")
    assert all(len(Machine(n, c).names) == Machine(n, c).num_parameters for n in range(3) for c in (False, True))


def test_statistics_of_a_lone_link():
    """A prey at (0, 0) sees the units (0, 0), (0, 1), (1, 0), (1, 1) above it, and no other."""
    lower = np.zeros((4, 4, 16), np.int8)
    lower[0, 0] = 1
    upper = np.zeros((4, 4, 16), np.int8)
    for chain, place in enumerate(product(range(4), repeat=2)):
        upper[(*place, chain)] = 1
    found = dict(zip(Machine(1).names, np.asarray(statistics(Machine(1), (jnp.asarray(lower), jnp.asarray(upper)))), strict=True))
    assert found["W01_PP"].reshape(4, 4).tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0] * 4, [0] * 4]
    assert (found["a0_P"] == 1).all() and (found["a1_P"] == 1).all() and not found["W01_HH"].any() and not found["a0_H"].any()


def test_cross_links_join_different_kinds():
    lower, upper = np.zeros((4, 4, 1), np.int8), np.zeros((4, 4, 1), np.int8)
    lower[2, 2], upper[3, 3] = 1, 2
    found = dict(zip(Machine(1, True).names, np.asarray(statistics(Machine(1, True), (jnp.asarray(lower), jnp.asarray(upper)))), strict=True))
    assert found["W01_PH"] == 1 and found["W01_HP"] == found["W01_PP"] == found["W01_HH"] == 0


def enumerated(machine, theta, side):
    """Exact means of the statistics of a machine with a lattice of side 1 (four links to the one unit above)."""
    states = np.array(list(product(range(3), repeat=machine.num_layers * side * side)), np.int8)
    layers = tuple(jnp.asarray(layer.T.reshape(side, side, -1)) for layer in np.split(states, machine.num_layers, axis=1))
    values = np.asarray(statistics(machine, layers), float)
    weights = np.exp(theta @ values)
    return values @ weights / weights.sum()


@pytest.mark.parametrize("machine, side", [(Machine(2, cross=True), 1), (Machine(1, cross=True), 2), (Machine(0), 1)])
def test_gibbs_sampling_has_the_enumerated_law(machine, side):
    """60 sweeps of 20,000 chains: all means within 4 standard errors of the sum over all states."""
    theta = 0.3 * np.random.default_rng(3).normal(size=machine.num_parameters)
    each = jnp.asarray(np.repeat(theta[:, None], 20_000, axis=1), jnp.float32)
    states = noise(jax.random.key(0), machine, side, 20_000)
    found = np.asarray(statistics(machine, sweep(jax.random.key(1), machine, each, states, num_sweeps=60, clamped=False)), float)
    error = found.std(1) / np.sqrt(20_000)
    assert (np.abs(found.mean(1) - enumerated(machine, theta, side)) < 4 * error + 1e-6).all()


def test_clamped_sampling_leaves_the_visible_layer_and_has_the_conditional_law():
    """Latent means given one visible lattice, against the sum over latent states."""
    machine, theta = Machine(1, cross=True), np.array([0.2, -0.4, 0.3, -0.2, 0.5, -0.3, 0.2, -0.6])
    visible = np.array([[1, 2], [0, 1]], np.int8)
    latent = np.array(list(product(range(3), repeat=4)), np.int8).T.reshape(2, 2, -1)
    values = np.asarray(statistics(machine, (jnp.asarray(np.repeat(visible[..., None], 81, 2)), jnp.asarray(latent))), float)
    weights = np.exp(theta @ values)
    number, each = 20_000, jnp.asarray(np.repeat(theta[:, None], 20_000, axis=1), jnp.float32)
    start = (jnp.asarray(np.repeat(visible[..., None], number, 2)), jnp.zeros((2, 2, number), jnp.int8))
    states = sweep(jax.random.key(2), machine, each, start, num_sweeps=2, clamped=True)
    found = np.asarray(statistics(machine, states), float)
    assert np.array_equal(states[0], start[0])
    assert (np.abs(found.mean(1) - values @ weights / weights.sum()) < 4 * found.std(1) / np.sqrt(number) + 1e-6).all()


def test_an_independent_start_has_its_density():
    machine = Machine()
    theta = jnp.asarray(np.repeat(independent_start(machine, 0.0625)[:, None], 2, axis=1), jnp.float32)
    prey, hunter = visible_odds(machine, theta, noise(jax.random.key(4), machine, 5, 2))
    assert np.allclose(prey, 0.0625) and np.allclose(hunter, 0.0625)


def test_noise_fills_each_state_with_a_third():
    layers = noise(jax.random.key(5), Machine(), 20, 100)
    shares = np.array([[(layer == kind).mean() for kind in range(3)] for layer in map(np.asarray, layers)])
    assert np.abs(shares - 1 / 3).max() < 4 * np.sqrt(2 / 9 / 40_000) + 1e-3
