"""Products of two variables: the generator by Leibniz's rule, and averages of it, against the states that each reaction leads to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import Network, models, simulate
from ssagrad.features import Features
from ssagrad.quadratic import act_on_pairs, averages, changed_together, products_of
from ssagrad.score import scalars_of, slopes
from ssagrad.value_model import act

MODELS = {
    "SIR (curves of S and I)": models.sir()._replace(parameters={"infection": 0.1, "recovery": 1.0}, initial_counts={"S": 22, "I": 3}),
    "Hill repressilator (laws)": models.hill_repressilator(),
    "promoter repressilator (totals)": models.promoter_repressilator(),
}


def states_of(model, num_states=64):
    """Features of degree 2, θ, and states along paths, those at the end among them."""
    features = Features.of_network(model.network, degree=2)
    theta = {name: jnp.float32(value) for name, value in model.parameters.items()}
    paths = simulate(jax.random.key(1), model.network, theta, model.initial_counts, [0.5, 2.0], num_paths=num_states // 2)
    counts = tuple(paths.counts.reshape(num_states, -1).T)
    variables = features.variables(counts, theta)
    spread = variables.std(1)
    return features, theta, counts, variables.mean(1), jnp.where(spread > 0, spread, 1)


def by_enumeration(features, theta, counts, location, scale):
    """Features, generator and Γ_p from the state after each reaction, one by one."""
    network = features.network

    def at(states):
        return features.products((features.variables(states, theta) - location[:, None]) / scale[:, None])

    rates = jax.vmap(lambda state: network.rates(state, theta))(counts)
    of_scalars = [dict(one) for one in slopes(network, scalars_of(theta), counts, theta)]
    here = at(counts)
    generator, sources = jnp.zeros_like(here), [jnp.zeros_like(here) for _ in of_scalars]
    for r, rate in enumerate(rates):
        after = tuple(x + jnp.where(rate > 0, float(n), 0) for x, n in zip(counts, network.stoichiometry[r], strict=True))
        difference = at(after) - here
        generator += rate[None] * difference
        sources = [found + one[r][None] * difference if r in one else found for found, one in zip(sources, of_scalars, strict=True)]
    return here, generator, jnp.stack(sources)


@pytest.mark.parametrize("name", MODELS)
def test_leibniz_is_what_enumeration_finds(name):
    features, theta, counts, location, scale = states_of(MODELS[name])
    found = act(features, scalars_of(theta), location, scale, counts, theta)
    for part, expected in zip(found, by_enumeration(features, theta, counts, location, scale), strict=True):
        assert part.shape == expected.shape
        np.testing.assert_allclose(part, expected, rtol=1e-3, atol=2e-6 * float(jnp.abs(expected).max()))


def test_averages_are_those_of_features_one_by_one():
    features, theta, counts, location, scale = states_of(MODELS["promoter repressilator (totals)"])
    pairs = act_on_pairs(features, scalars_of(theta), location, scale, counts, theta)
    weights, basis, speed = (jax.random.normal(jax.random.key(seed), (size, 64)) for seed, size in ((2, 3), (3, 4), (4, 4)))
    found = averages(features, pairs, weights, basis, speed)
    here, generator, sources = by_enumeration(features, theta, counts, location, scale)
    drift = jnp.einsum("qn,hn,jn->qhj", weights, basis, generator) + jnp.einsum("qn,hn,jn->qhj", weights, speed, here)
    expected = (drift, jnp.einsum("hn,pjn->phj", basis, sources), weights @ here.T)
    for part, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(part, wanted, rtol=1e-3, atol=1e-5 * float(jnp.abs(wanted).max()))


def test_factors_are_in_the_order_of_the_features():
    features, theta, counts, location, scale = states_of(MODELS["promoter repressilator (totals)"])
    z = (features.variables(counts, theta) - location[:, None]) / scale[:, None]
    u, (a, b) = jnp.concatenate([jnp.ones_like(z[:1]), z]), products_of(features)
    np.testing.assert_array_equal(u[a] * u[b], features.products(z))


def test_pairs_that_no_reaction_changes_together_are_left_out():
    network = Network.from_text("0 -> A @ a; 0 -> B @ b; 2 A -> A @ c")
    features = Features.of_network(network, degree=2)  # A, B, exp(−A/2)
    assert changed_together(features) == [(1, 1), (1, 3), (2, 2), (3, 3)]
