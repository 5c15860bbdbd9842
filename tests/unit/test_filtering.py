"""The particle filter by hand: one observation without dynamics, exact observations, missing ones; batches, failures and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import Network, NetworkError, SimulationError, models
from ssagrad.filtering import filtered, gaussian_noise, log_likelihood

TOY = models.immigration_death().network
THETA = {"immigration": 10.0, "death": 1.0}
TIMES = np.array([0.5, 1.0, 2.0])
DATA = {"X": np.array([4.0, 8.5, 8.0])}
NOISE = gaussian_noise(2.0)
CHAIN = Network.from_text("A -> B @ k1; B -> C @ k2")
RATES = {"k1": 1.0, "k2": 2.0}


def exactly(observed, counts, parameters):
    """No noise at all."""
    return jnp.where(jnp.abs(observed - counts) < 0.5, 0.0, -jnp.inf)


def run(function=filtered, seed=0, network=TOY, parameters=THETA, start=None, times=TIMES, observed=DATA, noise=NOISE, **options):
    options = {"num_particles": 64} | options
    return function(jax.random.key(seed), network, parameters, start or {}, times, observed, noise=noise, **options)


def test_everything_has_its_shape():
    """P = 2 parameters, T = 3 times, S = 3 species, m = 7 smoothed paths."""
    found = run(network=CHAIN, parameters=RATES, start={"A": 20}, observed=np.full((3, 3), 7.0), num_smoothed=7)
    assert [np.shape(part) for part in found] == [(), (2,), (2, 2), (3,), (3,), (3, 3), (7, 3, 3)]
    assert all(np.isfinite(part).all() for part in found)
    assert np.isclose(found.log_likelihood, found.log_increments.sum()) and np.allclose(found.information, found.information.T)
    assert np.all((found.effective_sample_sizes >= 1) & (found.effective_sample_sizes <= 64.01))


def test_at_the_start_the_noise_is_all():
    """One observation 3 molecules off at the start, sigma = 2 to be inferred: a normal density, with z²/σ − 1/σ and 3 z²/σ² − 1/σ²."""
    found = run(parameters=THETA | {"sigma": 2.0}, start={"X": 5}, times=[0.0], observed={"X": np.array([8.0])}, noise=gaussian_noise("sigma"))
    z = 1.5
    assert np.isclose(found.log_likelihood, -(z**2) / 2 - np.log(2) - np.log(2 * np.pi) / 2, rtol=1e-6)
    assert np.allclose(found.score, [0, 0, (z**2 - 1) / 2], atol=1e-6)
    assert np.allclose(found.information, np.diag([0, 0, (3 * z**2 - 1) / 4]), atol=1e-5)


def test_exact_observations_are_met():
    """With no noise, means and smoothed paths pass through the data at all times, and value and derivatives are finite."""
    values = np.array([3.0, 4.0, 9.0])
    found = run(observed={"X": values}, noise=exactly, num_particles=500)
    assert np.allclose(found.filtered_means[:, 0], values) and np.array_equal(found.smoothed_paths[:, :, 0], np.tile(values, (20, 1)))
    assert all(np.isfinite(part).all() for part in found)


def test_smoothed_paths_are_possible_paths():
    """Ancestors are followed: in A -> B -> C, A never grows, C never falls, and all molecules stay."""
    observed = {"B": np.array([5.0, 6.0, 2.0])}
    paths = np.asarray(run(network=CHAIN, parameters=RATES, start={"A": 20}, observed=observed, num_smoothed=50).smoothed_paths)
    assert np.all(paths.sum(2) == 20) and np.all(np.diff(paths[:, :, 0]) <= 0) and np.all(np.diff(paths[:, :, 2]) >= 0)
    assert len(np.unique(paths.reshape(50, -1), axis=0)) > 5


def test_missing_values_say_nothing():
    """Of data that are all missing the likelihood is 1; a time at which all are missing changes no likelihood."""
    nothing = run(observed={"X": np.full(3, np.nan)})
    assert np.allclose(nothing.log_increments, 0, atol=1e-5) and np.allclose(nothing.effective_sample_sizes, 64, rtol=1e-4)
    gap = run(observed={"X": np.array([4.0, np.nan, 8.0])})
    assert np.isclose(gap.log_increments[1], 0, atol=1e-5) and gap.log_increments[0] == run().log_increments[0]
    assert np.isfinite(gap.score).all() and np.isfinite(gap.information).all()


def test_data_are_named_or_in_columns():
    """A mapping in any order, and an array with names, are the same data."""
    a, b = np.array([12.0, 8.0, 3.0]), np.array([5.0, 4.0, 6.0])
    options = {"network": CHAIN, "parameters": RATES, "start": {"A": 20}}
    named = run(log_likelihood, observed={"A": a, "B": b}, **options)
    assert named == run(log_likelihood, observed=np.stack([b, a], axis=1), species=("B", "A"), **options)
    assert named != run(log_likelihood, observed={"A": b, "B": a}, **options)


def test_only_intervals_count():
    assert run(log_likelihood) == run(log_likelihood, times=TIMES + 8, start_time=8.0)


def test_particles_may_start_from_different_states():
    """Each from its own counts: at the start, the likelihood is the mean over them."""
    start = {"X": np.array([0, 100] * 32)}
    assert np.isclose(run(log_likelihood, start=start, times=[0.0], observed={"X": np.zeros(1)}), np.log(np.exp(0) / 2 / np.sqrt(8 * np.pi)))


def test_the_derivative_is_the_score():
    """Through grad, and jacfwd inside jit, for parameters of any structure; the likelihood alone and the full filter draw the same particles."""
    full = run()
    for value_of in (lambda theta: run(log_likelihood, parameters=theta), lambda theta: run(parameters=theta).log_likelihood):
        value, slopes = jax.value_and_grad(value_of)(THETA)
        assert np.allclose([value, slopes["death"], slopes["immigration"]], [full.log_likelihood, *full.score], rtol=1e-5)
    compiled = jax.jit(jax.jacfwd(lambda theta: run(log_likelihood, parameters=theta)))(THETA)
    assert np.allclose([compiled["death"], compiled["immigration"]], full.score, rtol=1e-5)
    hill = {"make": lambda counts, p: p["k"][0] + p["k"][1] / (1 + counts["P"])}
    network = Network.from_text("0 -> P @ make; P -> 0 @ decay", propensities=hill)
    theta = {"k": jnp.array([5.0, 9.0]), "decay": 1.0}
    slopes = jax.grad(lambda theta: run(log_likelihood, network=network, parameters=theta, observed={"P": DATA["X"]}))(theta)
    assert slopes["k"].shape == (2,) and np.all(slopes["k"] != 0)


def test_batches_are_single_filters():
    """vmap over keys, data and parameters."""
    keys, factors = jax.random.split(jax.random.key(5), 3), np.array([0.5, 1.0, 2.0], np.float32)

    def one(immigration, key, factor):
        data = {"X": jnp.asarray(DATA["X"], jnp.float32) * factor}
        return log_likelihood(key, TOY, {"immigration": immigration, "death": 1.0}, {}, TIMES, data, noise=NOISE, num_particles=64)

    one = jax.value_and_grad(one)
    values, slopes = jax.vmap(one)(10 * factors, keys, factors)
    again = jax.random.split(jax.random.key(5), 3)
    single = [one(10 * factor, key, factor) for key, factor in zip(again, factors, strict=True)]
    assert np.allclose(np.stack([values, slopes], axis=1), single, rtol=1e-4)


def test_impossible_data_are_named():
    """Ten molecules of five, at the second observation; inside jit the value is −inf and the gradient NaN."""
    options = {"network": CHAIN, "parameters": RATES, "start": {"A": 5}, "noise": exactly}
    data = {"A": np.array([4.0, 10.0, 1.0])}
    with pytest.raises(SimulationError, match=r"observation 1 \(t = 1\): .* received density 0 from all 64"):
        run(log_likelihood, observed=data, **options)
    with pytest.raises(SimulationError, match="observation 1"):
        jax.grad(lambda theta: run(log_likelihood, observed=data, **(options | {"parameters": theta})))(RATES)
    value, slopes = jax.jit(jax.value_and_grad(lambda theta: run(log_likelihood, observed=data, **(options | {"parameters": theta}))))(RATES)
    assert value == -np.inf and np.isnan(slopes["k1"])


def test_failed_particles_are_named():
    """Eight events are not enough, even where nothing is observed then; inside jit, NaN."""
    data = {"X": np.array([np.nan, np.nan, 8.0])}
    with pytest.raises(SimulationError, match=r"observation 1 .* received NaN: a path failed .* out of events"):
        run(log_likelihood, times=[0.01, 1, 2], observed=data, max_events=1)
    assert np.isnan(jax.jit(lambda: run(log_likelihood, times=[0.01, 1, 2], observed=data, max_events=1))())


def test_other_derivatives_are_refused():
    """Second ones, also inside jit, and those in the data."""
    for transform in (lambda f: f, jax.jit):
        with pytest.raises(NotImplementedError, match="first derivatives in the parameters alone"):
            transform(jax.hessian(lambda theta: run(log_likelihood, parameters=theta)))(THETA)
    with pytest.raises(NotImplementedError, match="in the parameters alone"):
        jax.grad(lambda x: run(log_likelihood, observed={"X": x}))(jnp.array([4.0, 8.0, 8.0]))


def test_double_precision():
    with jax.enable_x64(True):
        found = run(precision="double")
        assert all(part.dtype == jnp.float64 for part in found)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"observed": {"X": np.zeros(2)}}, r"expected 3 observed values of each species, received shapes \[\(2,\)\]"),
        ({"observed": {"Y": np.zeros(3)}}, r"expected observed species among \['X'\], .* received \['Y'\]"),
        ({"observed": {}}, "at least one"),
        ({"observed": np.zeros((3, 2))}, r"expected observed \[3, 1\], .* received shape \(3, 2\)"),
        ({"times": [1.0, 1.0, 2.0]}, "increasing"),
        ({"num_particles": 0}, "expected num_particles to be a whole number ≥ 1, received 0"),
        ({"num_smoothed": 0}, "expected num_smoothed"),
        ({"noise": 2.0}, "expected noise as a function"),
        ({"noise": lambda observed, counts, parameters: 0.0}, r"one log density for each of 1 observed values, received shape \(\)"),
        ({"parameters": THETA | {"death": 0.0}}, "rate constants > 0"),
        ({"start": {"X": np.zeros(3)}}, "expected initial counts of 64 particles"),
    ],
)
def test_bad_input_is_refused(options, text):
    with pytest.raises((NetworkError, ValueError), match=text):
        run(**options)


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.inf])
def test_noise_needs_a_width(sigma):
    with pytest.raises(ValueError, match="expected sigma as a number > 0"):
        gaussian_noise(sigma)
