"""The one-dimensional lattice gas: published reference values, enumeration of small rings, solvable decays."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad.boltzmann import lattice_gas

PLACE = jnp.array([0.5, -0.7])
REFERENCE = {"decay": (-3.7295, 1.2048), "diffusion": (-1.5114, 1.6787), "annihilation": (-2.1157, 0.1601), "coagulation": (0.2474, -1.3697)}


@pytest.mark.parametrize("name", REFERENCE)
def test_closures_have_their_published_values(name):
    """At (h, J) = (0.5, −0.7), from the paper's closed forms, to four digits."""
    assert np.allclose(lattice_gas.closure(PLACE, getattr(lattice_gas, name)), REFERENCE[name], atol=6e-5)


def test_patterns_and_densities_agree():
    """Probabilities of all patterns of one length sum to 1; m1 = P(1), m2 = P(11)."""
    total = sum(lattice_gas.probability(PLACE, "".join(bits)) for bits in product("01", repeat=4))
    assert np.isclose(total, 1.0, atol=1e-5)
    assert np.allclose(lattice_gas.densities(PLACE), [lattice_gas.probability(PLACE, "1"), lattice_gas.probability(PLACE, "11")], atol=1e-6)


def test_a_long_ring_has_the_densities_of_the_chain():
    """Enumerated over all states of 14 sites; the second eigenvalue's share is below 1e-5 at this coupling."""
    states = np.array(list(product((0, 1), repeat=14)))
    pairs = (states * np.roll(states, 1, axis=1)).sum(1)
    weights = np.exp(0.5 * states.sum(1) - 0.7 * pairs)
    found = np.array([states.sum(1) @ weights, pairs @ weights]) / weights.sum() / 14
    assert np.allclose(found, lattice_gas.densities(PLACE), atol=1e-5)


def test_decay_without_coupling_is_solved():
    """J = 0 stays 0, and the density falls as e^{−t}; dh/dt = −(1 + e^h)."""
    path = lattice_gas.integrate(jnp.array([0.3, 0.0]), jnp.array([1.0]), (lattice_gas.decay,), step=0.1, num_steps=20)
    density = jax.vmap(lattice_gas.densities)(path)[:, 0]
    assert np.allclose(path[:, 1], 0.0, atol=1e-4) and np.allclose(density, density[0] * np.exp(-0.1 * np.arange(21)), rtol=1e-4)
    assert np.isclose(lattice_gas.closure(jnp.array([0.3, 0.0]), lattice_gas.decay)[0], -(1 + np.exp(0.3)), rtol=1e-4)


def test_diffusion_forgets_the_coupling_and_keeps_the_density():
    path = lattice_gas.integrate(jnp.array([0.3, 0.8]), jnp.array([1.0]), (lattice_gas.diffusion,), step=0.2, num_steps=60)
    density = jax.vmap(lattice_gas.densities)(path)[:, 0]
    assert np.allclose(density, density[0], atol=1e-4) and abs(path[-1, 1]) < 0.02


def test_branching_onto_empty_sites_is_what_a_ring_shows():
    """One small step of 400,000 sites, drawn exactly: changes of both densities within 4 standard errors."""
    from ssagrad.boltzmann.walk import _branch, _shares

    rng = np.random.default_rng(0)
    before = lattice_gas.sample_rings(rng, np.array([0.2, 0.4]), 200, 2000)
    after = before.copy()
    _branch(rng, after, 0.01)
    change = (_shares(after) - _shares(before))[:, :2] / 0.01
    expected = lattice_gas.branching_to_empty(jnp.array([0.2, 0.4]))
    assert (np.abs(change.mean(0) - expected) < 4 * change.std(0) / np.sqrt(2000) + 0.01).all()


def test_rings_are_drawn_from_the_law():
    """Densities of 20,000 rings of 30 sites within 4 standard errors, dense and coupled."""
    place = np.array([1.65, -0.48])
    rings = lattice_gas.sample_rings(np.random.default_rng(1), place, 30, 20_000)
    pairs = rings * np.roll(rings, 1, axis=1)
    found = np.stack([rings.mean(1), pairs.mean(1)], axis=1)
    assert (np.abs(found.mean(0) - lattice_gas.densities(jnp.asarray(place, jnp.float32))) < 4 * found.std(0) / np.sqrt(20_000)).all()
