"""Dynkin controls: the contract, what is refused, and that a useless value function does no harm."""

import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import SimulationError, models, simulate
from ssagrad.estimators import dynkin_controls, score_function

NETWORK = models.immigration_death().network
THETA = {"immigration": jnp.asarray(10.0), "death": jnp.asarray(1.0)}
TIMES = np.array([0.0, 1.0, 2.0])


def estimate(theta=THETA, *, seed=3, key=None, initial_counts=None, times=TIMES, **options):
    key = jax.random.key(seed) if key is None else key
    initial_counts = {"X": 4} if initial_counts is None else initial_counts
    return dynkin_controls(key, NETWORK, theta, initial_counts, times, **{"num_paths": 256, "num_strata": 4, "degree": 1} | options)


def exact_mean(immigration, death, times=TIMES):
    return immigration / death + (4 - immigration / death) * np.exp(-death * times)


@pytest.fixture(scope="module")
def paths():
    return estimate()


def test_paths_are_exact_paths(paths):
    assert paths.counts.shape == (256, 3, 1)
    assert np.all(np.asarray(paths.counts)[:, 0] == 4)
    np.testing.assert_allclose(paths.weights, 1)
    assert paths.num_samples == 32


def test_means_of_a_linear_network_have_no_noise(paths):
    np.testing.assert_allclose(paths.mean("X"), exact_mean(10, 1), rtol=1e-5)
    plain = np.asarray(paths.counts)[..., 0].mean(0)
    assert np.abs(plain - exact_mean(10, 1)).max() > 0.01


def test_gradients_of_a_linear_network_have_no_noise():
    slopes = jax.jacfwd(lambda theta: estimate(theta).mean("X"))(THETA)
    assert slopes["death"].shape == (3,)
    for name, step in (("immigration", np.array([1e-4, 0])), ("death", np.array([0, 1e-4]))):
        high, low = (exact_mean(*(np.array([10.0, 1.0]) + sign * step)) for sign in (1, -1))
        np.testing.assert_allclose(slopes[name], (high - low) / 2e-4, rtol=1e-4, atol=1e-5)


def test_reverse_forward_and_compiled_gradients_agree():
    def loss(theta):
        found = estimate(theta)
        return ((found.mean("X") - 5.0) ** 2).sum() + found.variance("X")[-1]

    reverse, forward = jax.grad(loss)(THETA), jax.jacfwd(loss)(THETA)
    value, compiled = jax.jit(jax.value_and_grad(loss))(THETA)
    assert np.isfinite(value)
    for name in THETA:
        np.testing.assert_allclose(reverse[name], forward[name], rtol=1e-4)
        np.testing.assert_allclose(reverse[name], compiled[name], rtol=1e-3)


def test_mapped_over_keys():
    keys = jax.random.split(jax.random.key(3), 2)
    mapped = jax.vmap(lambda key: estimate(key=key, times=TIMES[1:]).mean(lambda counts: counts["X"] ** 2))(keys)
    alone = estimate(key=jax.random.split(jax.random.key(3), 2)[1], times=TIMES[1:]).mean(lambda counts: counts["X"] ** 2)
    np.testing.assert_allclose(mapped[1], alone, rtol=1e-4)
    assert not np.allclose(mapped[0], mapped[1], rtol=1e-6)


def test_variance_and_second_moment_belong_together(paths):
    second = paths.mean(lambda counts: counts["X"] ** 2)
    assert np.isclose(paths.variance("X")[-1], second[-1] - paths.mean("X")[-1] ** 2, rtol=1e-3)


def test_some_of_the_times(paths):
    np.testing.assert_allclose(paths.at([1]).mean("X"), paths.mean("X")[1:2], rtol=1e-6)
    last = jax.jacfwd(lambda theta: (lambda found: found.expectation(found.counts[:, -1, 0]))(estimate(theta)))(THETA)
    np.testing.assert_allclose(last["death"], -10 * (1 - np.exp(-2)) + 6 * 2 * np.exp(-2), rtol=1e-3)


def test_gradient_of_the_variance_of_a_linear_network_has_little_noise():
    slope = jax.grad(lambda theta: estimate(theta, degree=2, times=TIMES[1:]).variance("X")[-1])(THETA)

    def exact(death):  # Var = mean − 4 e^{−2 death t}
        return 10 / death + (4 - 10 / death) * np.exp(-2 * death) - 4 * np.exp(-4 * death)

    assert np.isclose(slope["death"], (exact(1.001) - exact(0.999)) / 0.002, rtol=0.02)


@pytest.mark.parametrize("observable", [lambda x: x["X"] > 8, lambda x: jnp.where(x["X"] > 8, 1, 0)], ids=["bool", "int"])
def test_observables_need_not_be_floats(paths, observable):
    """At each of two times as the same indicator in floating point."""
    found = paths.at([1, 2]).mean(observable)
    expected = paths.at([1, 2]).mean(lambda x: jnp.where(x["X"] > 8, 1.0, 0.0))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found[1] > found[0] + 0.05


def test_other_starts_and_a_later_start_time():
    """Initial counts per path, at times that are not counted from 0."""
    counts = np.repeat([[0.0], [20.0]], 128, axis=0)
    found = estimate(initial_counts=counts, times=5 + TIMES[1:], start_time=5.0, record=("time_integrals",))
    np.testing.assert_allclose(found.mean("X"), 10 + 0 * TIMES[1:], atol=0.02)
    np.testing.assert_allclose(found.time_average("X"), 10 + 0 * TIMES[1:], atol=0.02)


def test_time_average_of_what_the_pilot_has_not_seen():
    """B starts elsewhere than in the pilot: what its features say of B is wrong, and is corrected."""
    network, rates = models.isomerisation().network, models.isomerisation().parameters
    start, options = {"A": 20, "B": 20}, {"num_paths": 512, "record": ("time_integrals",), "num_strata": 4}
    pilot = dynkin_controls(jax.random.key(0), network, rates, {"A": 20}, [1.0], **options)
    found = dynkin_controls(jax.random.key(1), network, rates, start, [1.0], pilot=pilot, **options)
    plain = simulate(jax.random.key(2), network, rates, start, [1.0], num_paths=4096, record=("time_integrals",))
    np.testing.assert_allclose(found.time_average()[-1], plain.time_average()[-1], atol=0.3)
    assert np.isclose(found.time_average()[-1].sum(), 40, atol=0.05)


def test_a_failed_path_is_told_with_its_time():
    with pytest.raises(SimulationError, match=r"after t = 0\.|before the first"):
        estimate(max_events=3, times=[1.0], num_strata=2)


def test_time_average_needs_the_integrals(paths):
    with pytest.raises(ValueError, match="time_integrals"):
        paths.time_average("X")
    found = estimate(record=("time_integrals",)).time_average("X")
    exact = 10 + (4 - 10) * (1 - np.exp(-TIMES[1:])) / TIMES[1:]
    np.testing.assert_allclose(found[1:], exact, rtol=1e-4)


def test_a_pilot_is_taken_over(paths):
    nearby = {name: 1.02 * value for name, value in THETA.items()}
    found = estimate(nearby, seed=9, pilot=paths)
    assert found.controls.model is paths.controls.model
    assert np.abs(found.mean("X") - exact_mean(10.2, 1.02)).max() < 0.05  # V of the old θ leaves only a little over
    with pytest.raises(ValueError, match="value function"):
        estimate(pilot=simulate(jax.random.key(4), NETWORK, THETA, {"X": 4}, TIMES, num_paths=8))
    with pytest.raises(ValueError, match="another degree"):
        estimate(pilot=paths, degree=2)
    with pytest.raises(ValueError, match="strata"):
        estimate(pilot=paths, num_strata=8)
    with pytest.raises(ValueError, match="other times"):
        estimate(pilot=paths, times=10 * TIMES)
    with pytest.raises(ValueError, match="one key"):
        estimate(key=jax.random.split(jax.random.key(0), 256))


def test_a_useless_value_function_does_little_harm():
    """V from a network whose rates were ten times as fast: the mixture with the plain score function takes over."""

    def terms(theta, estimator, **options):
        found = estimator(jax.random.key(5), NETWORK, theta, {"X": 4}, TIMES[1:], num_paths=4096, **options)
        return found.terms(found.samples("X"))[:, -1]

    wrong = estimate({"immigration": jnp.asarray(0.1), "death": jnp.asarray(10.0)}, times=TIMES[1:])
    plain = jax.jacfwd(terms)(THETA, score_function)
    mixed = jax.jacfwd(lambda theta: terms(theta, lambda *args, **options: dynkin_controls(*args, num_strata=4, degree=1, num_batches=64, **options), pilot=wrong))(THETA)
    for name in THETA:
        variance = float(np.var(mixed[name], ddof=1)) / len(mixed[name])
        assert variance < 1.5 * float(np.var(plain[name], ddof=1)) / len(plain[name])


def test_number_of_paths_is_rounded_up():
    assert estimate(num_paths=250).num_paths == 256


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_batches": 10}, "multiple of 4"),
        ({"num_paths": 32}, "at least 128 paths"),
        ({"num_strata": 1}, "num_strata"),
        ({"num_pilot": 3}, "num_pilot"),
        ({"clock": "events"}, "clock='time' only"),
        ({"on_exhausted": "freeze"}, "on_exhausted='raise' only"),
        ({"initial_counts": np.ones((10, 1))}, "multiple of num_batches"),
        ({"times": [0.0]}, "after start_time"),
    ],
)
def test_impossible_requests_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        estimate(**options)


def test_rate_constant_zero_is_refused():
    with pytest.raises(ValueError, match="immigration"):
        estimate(THETA | {"immigration": jnp.asarray(0.0)})


def test_value_function_can_be_looked_at(paths):
    states = jnp.array([[0.0], [9.0], [20.0]])
    found = paths.controls.value_function(paths.counts[:, -1], paths.counts[:, -1], states)
    assert found.shape == (len(paths.controls.nodes), 3, 1)
    to_go = 2.0 - np.asarray(paths.controls.nodes)
    expected = 10 + (np.asarray(states).T - 10) * np.exp(-to_go)[:, None]
    np.testing.assert_allclose(found[..., 0], expected, rtol=1e-3, atol=1e-3)


MODULE = sys.modules[dynkin_controls.__module__]


@pytest.mark.parametrize(
    ("options", "number"), [({}, 256), ({"num_paths": 8192}, 409), ({"num_pilot": 48}, 48), ({"num_pilot": 5000}, 1024)], ids=str
)
def test_all_pilot_paths_teach_in_all_parts_of_a_stratum(monkeypatch, options, number):
    seen, times_of_pilot = [], []
    fit, simulated = MODULE.fit, MODULE.simulate
    monkeypatch.setattr(MODULE, "fit", lambda *args, **others: seen.append(args[2].shape) or fit(*args, **others))
    monkeypatch.setattr(MODULE, "simulate", lambda *args, **others: times_of_pilot.append(args[4]) or simulated(*args, **others))
    MODULE._fit.clear_cache()
    estimate(times=[2.0], num_strata=4, **options)
    np.testing.assert_allclose(times_of_pilot, [np.arange(0.125, 2, 0.25)])
    assert seen == [(4, 2 * number, 1)]


def test_all_parts_of_a_stratum_teach_alike(monkeypatch):
    """Each stratum gets its own pilot states, as many from each part of it."""
    seen = []
    monkeypatch.setattr(MODULE, "fit", lambda features, scalars, pilot, *rest, **options: seen.append(np.asarray(pilot)))
    parts = jnp.arange(2 * 4)[None, :, None]  # of two strata
    MODULE._fit.__wrapped__(None, None, jnp.broadcast_to(parts, (1000, 8, 1)), jnp.ones(2), {}, False)
    (pilot,) = seen
    for stratum, states in enumerate(pilot):
        found, number = np.unique(states, return_counts=True)
        np.testing.assert_array_equal(found, 4 * stratum + np.arange(4))
        assert len(set(number)) == 1


def test_strata_end_at_all_observations_and_have_no_more_than_their_share():
    strata = MODULE._strata(np.array([0.0, 1.0, 4.0]), 0.0, 8, graded=False)
    np.testing.assert_allclose(strata, [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4])


def test_graded_strata_are_short_before_observations():
    times = np.array([0.7, 2.8])
    strata = MODULE._strata(times, 0.1, 8, graded=True)
    assert np.isin(times, strata).all()  # to the last bit
    begin, middle, end = (int(np.flatnonzero(strata == t)[0]) for t in (0.1, 0.7, 2.8))
    assert (begin, middle, end) == (0, 2, 9)
    widths = np.diff(strata[middle:]) / (2.1 / 7)
    assert np.all(np.diff(widths[3:]) < 0) and widths[-1] < 0.35
    assert np.all(widths < 1.4) and widths[0] == pytest.approx(0.98, abs=0.01)


def test_without_a_number_in_the_value_function_there_is_the_score_function():
    """Features that overflow."""
    paths = estimate(times=[2.0])
    broken = replace(paths, controls=replace(paths.controls, plain=paths.controls.plain * jnp.nan, scored=paths.controls.scored * jnp.inf))
    np.testing.assert_allclose(broken.mean("X"), np.asarray(paths.counts)[:, :, 0].mean(0), rtol=1e-5)
