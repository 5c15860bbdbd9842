"""Statistics of an ensemble against NumPy, with and without weights, and as a pytree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import Ensemble, Network, NetworkError, simulate
from ssagrad.exact import MasterEquation

GENERATOR = np.random.default_rng(41)
COUNTS = GENERATOR.integers(0, 50, (200, 4, 3)).astype(np.float32)
WEIGHTS = GENERATOR.uniform(0.5, 2.0, (200, 4)).astype(np.float32)
SPECIES = ("S", "I", "R")


def ensemble(weights=None, **fields):
    return Ensemble(
        times=jnp.array([0.0, 1.0, 2.0, 4.0]),
        counts=jnp.asarray(COUNTS),
        weights=jnp.ones((200, 4)) if weights is None else jnp.asarray(weights),
        num_events=jnp.zeros(200, jnp.int32),
        exhausted=jnp.zeros(200, bool),
        species=SPECIES,
        **fields,
    )


def agree(actual, expected):
    return np.allclose(actual, expected, rtol=2e-5, atol=0)


def test_plain_statistics_are_those_of_numpy():
    """Mean, variance, standard error, covariance and quantiles of paths of equal weight."""
    paths = ensemble()
    assert paths.num_paths == 200
    assert agree(paths.mean(), COUNTS.mean(0))
    assert agree(paths.mean("I"), COUNTS[..., 1].mean(0))
    assert agree(paths.variance(), COUNTS.var(0, ddof=1))
    assert agree(paths.variance("R"), COUNTS[..., 2].var(0, ddof=1))
    assert agree(paths.standard_error("S"), COUNTS[..., 0].std(0, ddof=1) / np.sqrt(200))
    covariance = np.stack([np.cov(COUNTS[:, k].T) for k in range(4)])
    assert np.allclose(paths.covariance(), covariance, rtol=0, atol=1e-4 * covariance.max())
    assert agree(paths.quantile([0.25, 0.5], "I"), np.quantile(COUNTS[..., 1], [0.25, 0.5], axis=0))
    assert paths.quantile(0.5).shape == (4, 3)


def test_weighted_statistics():
    """Weights differ in time: Σ w f / Σ w, its linearised standard error, and the spread around it."""
    paths = ensemble(WEIGHTS)
    mean = np.array([np.average(COUNTS[:, k], weights=WEIGHTS[:, k], axis=0) for k in range(4)])
    assert agree(paths.mean(), mean)
    assert agree(paths.mean("I"), mean[:, 1])
    squares = np.array([np.average((COUNTS[:, k] - mean[k]) ** 2, weights=WEIGHTS[:, k], axis=0) for k in range(4)])
    assert agree(paths.variance(), squares * 200 / 199)
    residuals = WEIGHTS * (COUNTS[..., 0] - mean[:, 0])
    assert agree(paths.standard_error("S"), np.sqrt((residuals**2).sum(0) * 200 / 199) / WEIGHTS.sum(0))


def test_observables_are_functions_of_named_counts():
    """A function sees scalars by name, may give one value or several, and is used like a species."""
    paths = ensemble(WEIGHTS)
    assert agree(paths.samples(lambda x: x["S"] + x["I"] * x["R"]), COUNTS[..., 0] + COUNTS[..., 1] * COUNTS[..., 2])
    several = paths.samples(lambda x: jnp.stack([x["S"], x["S"] ** 2]))
    assert several.shape == (200, 4, 2)
    assert agree(paths.mean(lambda x: jnp.where(x["S"] > 10, 1.0, 0.0)), [np.average(COUNTS[:, k, 0] > 10, weights=WEIGHTS[:, k]) for k in range(4)])
    assert paths.samples() is paths.counts
    assert paths.samples("R").shape == (200, 4)


def test_array_valued_observables_keep_their_derivatives_in_compiled_batches():
    """jit(vmap(jacfwd)) with one member gives what jacfwd gives, for [mean, mean square] of an exact law of 451 states."""
    network = Network.from_text("S + I -> 2 I @ infection; I -> R @ recovery; I -> D @ death")
    law = MasterEquation.build(network, {"S": 10, "I": 2})

    def moments(rates):
        paths = law.ensemble(dict(zip(network.parameter_names, rates, strict=True)), np.array([0.5, 1.0, 3.0]))
        return paths.mean(lambda x: jnp.stack([x["I"], x["I"] ** 2]))

    rates = jnp.array([0.0727, 0.46, 0.42])
    assert agree(jax.jit(jax.vmap(jax.jacfwd(moments)))(rates[None])[0], jax.jacfwd(moments)(rates))


def test_an_unknown_species_is_refused():
    """With the names that there are."""
    with pytest.raises(NetworkError, match=r"unknown species 'X'; the ensemble has \['S', 'I', 'R'\]"):
        ensemble().mean("X")


def test_a_spread_needs_two_paths():
    """Standard error, variance and covariance of one path are refused in the same words."""
    one = jax.tree.map(lambda leaf: leaf[:1] if jnp.shape(leaf)[:1] == (200,) else leaf, ensemble())
    for statistic in (one.standard_error, one.variance, one.covariance):
        with pytest.raises(ValueError, match="needs at least 2"):
            statistic()


def test_time_averages_need_integrals():
    """(1/t) ∫ x ds over the paths; refused where it was not recorded."""
    integrals = np.cumsum(COUNTS, axis=1)
    paths = ensemble(time_integrals=jnp.asarray(integrals))
    expected = integrals[:, 1:].mean(0) / np.array([1.0, 2.0, 4.0])[:, None]
    assert agree(paths.time_average()[1:], expected)
    assert agree(paths.time_average("I")[1:], expected[:, 1])
    with pytest.raises(ValueError, match=r'call simulate\(..., record=\("time_integrals",\)\)'):
        ensemble().time_average("S")


def test_time_averages_count_from_the_start_of_the_simulation():
    """A species that never changes has itself as its time average, also when the simulation starts late."""
    network = Network.from_text("X -> X @ k")
    options = {"num_paths": 4, "record": ("time_integrals",)}
    for start in (0.0, 3.0):
        paths = simulate(jax.random.key(42), network, {"k": 1.0}, {"X": 7}, [start + 1, start + 2], start_time=start, **options)
        assert np.allclose(paths.time_average("X"), 7.0, rtol=1e-5, atol=0)


def test_an_ensemble_is_a_pytree():
    """Through jit, tree.map and back, names and optional fields included; statistics can be differentiated in counts and weights."""
    paths = ensemble(WEIGHTS)
    assert len(jax.tree.leaves(paths)) == 6  # the optional ones are not there
    doubled = jax.jit(lambda paths: paths.replace(counts=2 * paths.counts))(paths)
    assert doubled.species == SPECIES
    assert agree(doubled.mean("S"), 2 * paths.mean("S"))
    scale = jax.grad(lambda c: paths.replace(counts=c * paths.counts).mean("S")[2])(1.0)
    assert agree(scale, paths.mean("S")[2])
    tilt = jax.grad(lambda c: paths.replace(weights=paths.weights * (1 + c * paths.counts[..., 0])).mean("I")[1])(0.0)
    weights = WEIGHTS[:, 1] / WEIGHTS[:, 1].sum()
    first, second = COUNTS[:, 1, 0], COUNTS[:, 1, 1]
    expected = (weights * first * second).sum() - (weights * first).sum() * (weights * second).sum()
    assert np.allclose(tilt, expected, rtol=0, atol=1e-3 * np.abs(first * second).mean())
