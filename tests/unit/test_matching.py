"""Matching moments: Gauss–Newton steps by hand, horizons, data of every shape, own numbers for every start, and errors that say what is wrong."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import Ensemble, models, simulate
from ssagrad.estimators import score_function
from ssagrad.matching import match_moments

TIMES = jnp.linspace(0.0, 4.0, 5)
NOISE = np.random.default_rng(0).normal(size=(64, 5))
SHORT = {"horizons": (1.0,), "num_averaged": 1}


def decay(parameters, key, *, noise=0.05, num_paths=16):
    """A made-up ensemble that fires no reaction: x = scale · exp(−rate t) plus noise, y = 7."""
    means = parameters["scale"] * jnp.exp(-parameters["rate"] * TIMES)
    x = means[None] + noise * jax.random.normal(key, (num_paths, 5))
    counts = jnp.stack([x, jnp.full_like(x, 7.0)], axis=-1)
    events = jnp.zeros(num_paths, jnp.int32)
    return Ensemble(TIMES, counts, jnp.ones_like(x), events, events > 0, species=("x", "y"))


def data(rate=0.5, scale=3.0):
    """Observed paths [N, T] whose means are exact."""
    return scale * np.exp(-rate * np.asarray(TIMES)) + 0.1 * (NOISE - NOISE.mean(0))


def starts(number=1, rate=0.6, scale=2.0):
    return {"rate": np.full(number, rate), "scale": np.full(number, scale)}


def exact(parameters, key):
    return decay(parameters, key, noise=0.0)


@cache
def matched():
    """What several tests compare with: one step to x."""
    return match_moments(jax.random.key(0), decay, starts(), {"x": data()}, **SHORT)


def test_one_step_is_that_of_gauss_and_newton():
    """Against least squares in NumPy, with weights and damping written out once more."""
    fit = match_moments(jax.random.key(0), exact, starts(), {"x": data()}, largest_step=9.0, **SHORT)
    times, spread = np.asarray(TIMES, float), data().std(0, ddof=1)
    model = 2.0 * np.exp(-0.6 * times)
    slopes = np.stack([-0.6 * times * model, model], axis=1) / spread[:, None]
    kept = 64 / (64 + 5)
    weights = np.linalg.inv(kept * np.corrcoef(data().T) + (1 - kept) * np.eye(5))
    residuals = (model - data().mean(0)) / spread
    curvature = slopes.T @ weights @ slopes
    damped = -np.linalg.solve(curvature + 0.01 * np.diag(np.diag(curvature)), slopes.T @ weights @ residuals)
    moved = [np.log(fit.parameters[name][0, 1] / fit.parameters[name][0, 0]) for name in ("rate", "scale")]
    assert np.allclose(moved, damped, rtol=1e-3)
    assert np.allclose(fit.misfits[0, 0], residuals @ weights @ residuals / 5, rtol=1e-4)
    undamped = -np.linalg.solve(curvature, slopes.T @ weights @ residuals)
    assert np.allclose([np.log(fit.estimates["rate"][0] / 0.6), np.log(fit.estimates["scale"][0] / 2.0)], undamped, rtol=1e-3)


def test_means_without_noise_are_matched_exactly_from_all_starts():
    far = {"rate": np.array([0.1, 0.6, 2.0]), "scale": np.array([1.0, 20.0, 3.0])}
    fit = match_moments(jax.random.key(0), exact, far, {"x": data()}, horizons=[1.0] * 16)
    assert np.allclose(fit.estimates["rate"], 0.5, rtol=1e-4) and np.allclose(fit.estimates["scale"], 3.0, rtol=1e-4)
    assert fit.parameters["rate"].shape == (3, 17) and np.allclose(fit.parameters["rate"][:, 0], far["rate"])
    assert fit.covariances.shape == (3, 2, 2) and fit.misfits.shape == fit.events.shape == (3, 16) and list(fit.failed_at) == [-1] * 3
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(fit))


def test_the_first_steps_look_no_further_than_their_horizon():
    """Data after half of the time change nothing until a step at the full horizon."""
    changed = data() + np.where(np.asarray(TIMES) > 2.0, 5.0, 0.0)
    horizons = (0.25, 0.5, 1.0)
    one, other = (match_moments(jax.random.key(0), decay, starts(), {"x": x}, horizons=horizons, num_averaged=1) for x in (data(), changed))
    assert np.array_equal(one.parameters["rate"][:, :3], other.parameters["rate"][:, :3])
    assert np.array_equal(one.misfits[:, :2], other.misfits[:, :2]) and one.misfits[0, 2] != other.misfits[0, 2]
    assert one.parameters["rate"][0, 3] != other.parameters["rate"][0, 3]


def test_a_mean_that_never_varies_is_left_out():
    """The species y is 7 on all observed paths: another number would weigh infinitely."""
    with_y = match_moments(jax.random.key(0), decay, starts(), {"x": data(), "y": np.full((64, 5), 7.5)}, **SHORT)
    without = matched()
    assert np.allclose(with_y.estimates["rate"], without.estimates["rate"], rtol=1e-6)
    assert np.allclose(with_y.misfits, without.misfits)


def test_every_start_may_have_its_own_data():
    both = match_moments(jax.random.key(0), exact, starts(2), {"x": np.stack([data(0.5), data(0.8)])}, horizons=[1.0] * 8)
    assert np.allclose(both.estimates["rate"], [0.5, 0.8], rtol=1e-3)


def test_the_same_data_for_each_start_are_the_shared_data():
    shared = match_moments(jax.random.key(0), decay, starts(2), {"x": data()}, **SHORT)
    own = match_moments(jax.random.key(0), decay, starts(2), {"x": np.stack([data()] * 2)}, **SHORT)
    for one, other in zip(jax.tree.leaves(shared), jax.tree.leaves(own), strict=True):
        assert np.allclose(one, other, rtol=1e-9)
    assert shared.misfits[0, 0] != shared.misfits[1, 0]  # a key for each start


def test_parameters_may_be_nested():
    def ensemble(parameters, key):
        return decay({"rate": parameters["a"][0], "scale": parameters["b"]["c"]}, key)

    nested = {"a": (np.array([0.6]),), "b": {"c": np.array([2.0])}}
    fit = match_moments(jax.random.key(0), ensemble, nested, {"x": data()}, **SHORT)
    plain = matched()
    assert fit.estimates["a"][0] == plain.estimates["rate"] and fit.standard_errors()["b"]["c"] == plain.standard_errors()["scale"]


def test_observables_are_functions_of_the_observed_species():
    """Two of them, in the order of times, then observables; the squares bring in the variance of the data, 0.01."""
    fit = match_moments(jax.random.key(0), exact, starts(), {"x": data()}, observable=lambda n: jnp.stack([n["x"], n["x"] ** 2]), horizons=[1.0] * 12)
    assert np.allclose(fit.estimates["rate"], 0.5, atol=0.02)
    assert fit.standard_errors()["rate"] < 1 / 8


def test_an_observable_may_be_a_scalar():
    fit = match_moments(jax.random.key(0), decay, starts(), {"x": data()}, observable=lambda n: n["x"], **SHORT)
    assert fit.estimates["rate"] == matched().estimates["rate"]


def test_a_start_that_fails_is_marked_and_leaves_the_others_their_numbers():
    def fails(parameters, key):
        paths = decay(parameters, key)
        return paths.replace(counts=jnp.where(parameters["rate"] > 1.0, jnp.inf, paths.counts))

    options = {"horizons": [1.0] * 4, "num_averaged": 2}
    mixed = {"rate": np.array([0.6, 2.0]), "scale": np.array([2.0, 2.0])}
    fit = match_moments(jax.random.key(0), fails, mixed, {"x": data()}, **options)
    alone = match_moments(jax.random.key(0), fails, starts(), {"x": data()}, **options)
    assert list(fit.failed_at) == [-1, 0] and np.isnan(fit.covariances[1]).all() and np.isnan(fit.misfits[1]).all()
    assert np.allclose(fit.parameters["rate"][1], 2.0) and np.allclose(fit.estimates["rate"][1], 2.0)
    assert np.allclose(fit.estimates["rate"][0], alone.estimates["rate"][0]) and np.allclose(fit.covariances[0], alone.covariances[0])


def test_a_parameter_on_which_nothing_depends_stays_and_has_no_error_bar():
    def ensemble(parameters, key):
        return decay({"rate": parameters["rate"], "scale": 3.0 + 0.0 * parameters["scale"]}, key)

    fit = match_moments(jax.random.key(0), ensemble, starts(), {"x": data()}, **SHORT)
    assert np.allclose(fit.estimates["scale"], 2.0) and np.isinf(fit.standard_errors()["scale"]).all()


def test_steps_and_the_whole_way_are_limited():
    fit = match_moments(jax.random.key(0), exact, starts(rate=50.0, scale=2.0), {"x": data()}, horizons=[1.0] * 6, largest_step=0.5, factor=2.0)
    moves = np.abs(np.diff(np.log(fit.parameters["scale"])))
    assert moves.max() <= 0.5 + 1e-6 and fit.parameters["scale"].max() <= 4.0 + 1e-6


def test_all_steps_share_one_compilation_and_repeat_bit_for_bit():
    traced = []

    def ensemble(parameters, key):
        traced.append(None)
        return decay(parameters, key)

    one = match_moments(jax.random.key(0), ensemble, starts(3), {"x": data()})
    assert len(traced) == 1
    other = match_moments(jax.random.key(0), decay, starts(3), {"x": data()})
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


@pytest.mark.parametrize("x64", [False, True])
def test_strict_dtypes_are_kept_in_either_precision(x64):
    """Simulated paths, an observable of whole numbers, and rates in double precision where JAX has it."""
    model, seen = models.isomerisation(), []

    def ensemble(rates, key):
        seen.append(rates["forward"].dtype)
        return score_function(key, model.network, rates, model.initial_counts, [0.5, 1.0], num_paths=64)

    with jax.enable_x64(x64):
        paths = simulate(jax.random.key(1), *model[:3], [0.5, 1.0], num_paths=64)
        options = {"observable": lambda counts: (counts["A"] > 12).astype(jnp.int32), **SHORT}
        fit = match_moments(jax.random.key(0), ensemble, {k: np.ones(1) for k in model.parameters}, {"A": paths.samples("A")}, **options)
    assert seen == [np.float64 if x64 else np.float32] and list(fit.failed_at) == [-1] and np.isfinite(fit.misfits).all()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"horizons": (0.5, 1.5)}, r"shares of the time in \(0, 1\]"),
        ({"horizons": (1.0, 0.5)}, "full horizon 1"),
        ({"num_averaged": 11}, "num_averaged=11"),
        ({"factor": 1.0}, "factor > 1"),
        ({"starts": {"rate": np.array([-0.5]), "scale": np.ones(1)}}, "are they logarithms"),
        ({"starts": {"rate": np.ones(2), "scale": np.ones(1)}}, "all of one length"),
        ({"starts": {"rate": 1.0, "scale": 2.0}}, r"arrays \[M\]"),
        ({"observed": data()}, "mapping from species"),
        ({"observed": {"x": data()[0]}}, r"\[N, T\]"),
        ({"observed": {"x": np.stack([data()] * 3)}}, r"\[1, N, T\]"),
        ({"observed": {"x": data()[:1]}}, "see ssagrad.filtering"),
        ({"observed": {"x": np.where(NOISE > 1, np.nan, 1.0)}}, "finite counts of 'x'"),
        ({"observed": {"x": np.ones((64, 5))}}, "vary from path to path"),
        ({"observed": {"x": data()[:, :4]}}, "at the times of the data"),
        ({"observed": {"z": data()}}, r"among \['x', 'y'\]"),
        ({"observable": lambda counts: counts["y"]}, "observed species"),
        ({"ensemble": lambda parameters, key: decay(parameters, key, num_paths=1)}, "at least 2 independent terms"),
    ],
)
def test_a_mistake_is_named(change, message):
    arguments = {"ensemble": decay, "starts": starts(), "observed": {"x": data()}} | change
    with pytest.raises(ValueError, match=message):
        match_moments(jax.random.key(0), **arguments)
