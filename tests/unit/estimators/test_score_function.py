"""The score function: scores by hand, baselines by their sums over other paths, windows, the contract, and errors. Claims: tests/statistical."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import Network, simulate
from ssagrad.estimators import score_function
from ssagrad.score import add_to_weights, flat_shift

NETWORK = Network.from_text("0 -> X @ birth; X -> 0 @ death")
RATES = {"birth": jnp.float32(3.0), "death": jnp.float32(0.5)}
TIMES = np.array([0.0, 0.5, 1.5])
BASELINES = ("none", "mean", "leave_one_out", "optimal")


def ensemble(parameters=RATES, *, network=NETWORK, key=0, num_paths=12, times=TIMES, **options):
    return score_function(jax.random.key(key), network, parameters, {"X": 4}, times, num_paths=num_paths, **options)


def scores(**options):
    """S of every path at every time [n, T, P], in the order (birth, death): what the weights carry."""
    slopes = jax.jacfwd(lambda parameters: ensemble(parameters, baseline="none", **options).weights)(RATES)
    return np.stack([np.asarray(slopes[name], float) for name in RATES], axis=-1)


@pytest.mark.parametrize("baseline", BASELINES)
def test_values_are_those_of_simulate_with_the_same_key(baseline):
    """Whatever the baseline, also of what is recorded: the estimator only adds a derivative."""
    record = ("time_integrals", "event_counts")
    plain = simulate(jax.random.key(0), NETWORK, RATES, {"X": 4}, TIMES, num_paths=12, record=record)
    mine = ensemble(baseline=baseline, record=record)
    for name in ("times", "counts", "weights", "num_events", "exhausted", *record):
        assert np.array_equal(getattr(plain, name), getattr(mine, name)), name


def test_the_score_counts_events_less_their_expectation():
    """Mass action: S = (N_r − ∫ a_r ds)/c_r with the integral up to the time, so the unfinished waiting time is in it; 0 at the start."""
    paths = ensemble(record=("time_integrals", "event_counts"))
    exposure = np.stack([np.broadcast_to(TIMES, (12, 3)), np.asarray(paths.time_integrals)[..., 0]], axis=-1)
    by_hand = np.asarray(paths.event_counts) / np.array([3.0, 0.5]) - exposure
    assert np.allclose(scores(), by_hand, rtol=1e-4, atol=1e-5)
    assert np.all(scores()[:, 0] == 0)


def test_in_the_jump_chain_the_scale_of_the_rates_has_no_score():
    """Σ_p θ_p S_p = 0 on every path: doubling all rates changes no probability of a reaction."""
    found = scores(times=np.array([1, 5]), clock="events")
    assert np.allclose(found @ np.array([3.0, 0.5]), 0, atol=1e-5)
    assert np.all(np.abs(found).max((0, 1)) > 0.1)


def test_rate_functions_and_arrays_of_parameters_have_the_same_score():
    """The same propensities, once by mass action and once as functions of an array of rates."""
    functions = {
        "arrive": lambda counts, parameters: parameters["rates"][0],
        "leave": lambda counts, parameters: parameters["rates"][1] * counts["X"],
    }
    network = Network.from_text("0 -> X @ arrive; X -> 0 @ leave", propensities=functions)
    rates = {"rates": jnp.array([3.0, 0.5], jnp.float32)}
    slopes = jax.jacfwd(lambda parameters: ensemble(parameters, network=network, baseline="none").weights)(rates)["rates"]
    assert np.allclose(slopes, scores(), rtol=1e-4, atol=1e-5)


def by_hand(values, found, baseline):
    """Gradient samples S_i (f_i − b_i) [n, T, P] as the definition says, with loops."""
    result = np.zeros_like(found)
    for i, t, p in np.ndindex(*found.shape):
        others = np.arange(len(found)) != i
        squares = found[others, t, p] ** 2
        weighted = (values[others, t] * squares).sum() / squares.sum() if squares.sum() > 0 else 0.0
        b = {"none": 0.0, "mean": values[:, t].mean(), "leave_one_out": values[others, t].mean(), "optimal": weighted}[baseline]
        result[i, t, p] = found[i, t, p] * (values[i, t] - b)
    return result


@pytest.mark.parametrize("baseline", BASELINES)
def test_baselines_are_what_their_names_say(baseline):
    """The gradient of the mean of x², and one term for every path, against loops over the other paths."""

    def of_terms(parameters):
        paths = ensemble(parameters, baseline=baseline)
        return paths.terms(paths.samples("X") ** 2)

    expected = by_hand(np.asarray(ensemble().counts[..., 0], float) ** 2, scores(), baseline)
    terms = jax.jacfwd(of_terms)(RATES)
    mean = jax.jacfwd(lambda parameters: ensemble(parameters, baseline=baseline).mean(lambda x: x["X"] ** 2))(RATES)
    for p, name in enumerate(RATES):
        assert np.allclose(mean[name], expected[..., p].mean(0), rtol=1e-4, atol=1e-3)
        assert np.allclose(terms[name].mean(0), mean[name], rtol=1e-4, atol=1e-3)
        if baseline in ("none", "optimal"):  # the terms of the others are those of a covariance, with the mean score subtracted
            assert np.allclose(terms[name], expected[..., p], rtol=1e-4, atol=1e-3)


def test_the_optimal_baseline_serves_every_statistic():
    """Terms of some of the times, of one value per path, and of time averages have the derivative of their expectation."""

    def statistics(parameters):
        paths = ensemble(parameters, baseline="optimal", record=("time_integrals",))
        late, last = paths.at([1, 2]), paths.counts[:, -1, 0] ** 2
        by_terms = (late.terms(late.counts).mean(0), paths.terms(last).mean(0), paths.time_average_terms("X").mean(0))
        average = paths.expectation(paths.time_integrals)[:, 0] / jnp.maximum(paths.times, 1e-9)
        return by_terms, (late.mean(), paths.expectation(last), jnp.where(paths.times > 0, average, 0.0))

    by_terms, expected = jax.jacfwd(statistics)(RATES)
    for terms, mean in zip(by_terms, expected, strict=True):
        for name in RATES:
            assert np.allclose(terms[name], mean[name], rtol=1e-4, atol=1e-4)


def test_a_window_keeps_the_latest_score():
    """S(t) − S(t − window); one that is longer than the path changes nothing."""
    times = np.array([0.3, 1.0])
    start, first, opens, last = np.moveaxis(scores(times=np.array([0.0, 0.3, 0.5, 1.0])), 1, 0)
    cut = scores(times=times, window=0.5)
    assert np.allclose(cut[:, 0], first - start, atol=1e-5)
    assert np.allclose(cut[:, 1], last - opens, atol=1e-4)
    whole = scores(times=np.array([0.0, 0.3, 1.0]))
    assert np.allclose(scores(times=times, window=9.0), whole[:, 1:], atol=1e-5)


@pytest.mark.parametrize("baseline", ["leave_one_out", "optimal"])
def test_every_way_to_differentiate_gives_the_same(baseline):
    """A nonlinear loss by grad, jacfwd, and grad under vmap and jit."""

    def loss(parameters, key=0):
        paths = ensemble(parameters, key=key, baseline=baseline)
        return (paths.mean("X")[-1] - 9) ** 2 + paths.variance("X")[1]

    by_reverse, by_forward = jax.grad(loss)(RATES), jax.jacfwd(loss)(RATES)
    batch = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), RATES)
    by_vmap = jax.jit(jax.vmap(jax.grad(loss)))(batch)
    again = jax.grad(loss)(jax.tree.map(lambda leaf: leaf[1], batch))
    for name in RATES:
        assert abs(by_reverse[name]) > 0.1
        assert np.allclose(by_forward[name], by_reverse[name], rtol=1e-4)
        assert np.allclose(by_vmap[name], [by_reverse[name], again[name]], rtol=1e-4)


def test_compiled_jacobians_of_many_weights_are_right():
    """20,000 weights under jit(jacfwd), where a sum of products instead of a dot product is compiled to wrong numbers."""
    scores = jax.random.normal(jax.random.key(3), (10_000, 2, 2))

    def weights(parameters, scores):
        return add_to_weights(jnp.ones(scores.shape[:2]), scores, flat_shift(parameters, jnp.float32))

    slopes = jax.jit(jax.jacfwd(weights))(RATES, scores)
    for p, name in enumerate(RATES):
        assert np.allclose(slopes[name], scores[..., p], rtol=1e-6)


def test_parameters_of_each_path_have_their_own_derivative():
    """Equal parameters in all paths: the score of a path is the derivative in its own."""
    each = jax.tree.map(lambda leaf: jnp.full(12, leaf), RATES)
    slopes = jax.jacfwd(lambda parameters: ensemble(parameters, baseline="none", parameters_per_path=True).weights)(each)
    for p, name in enumerate(RATES):
        jacobian = np.asarray(slopes[name])  # [n, T, n]
        assert np.allclose(np.einsum("iti->it", jacobian), scores()[..., p], rtol=1e-4, atol=1e-5)
        assert np.count_nonzero(jacobian.sum(1)) == 12


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"baseline": "median"}, r"baseline among \['none', 'mean', 'leave_one_out', 'optimal'\], received 'median'"),
        ({"num_paths": 1}, "'leave_one_out' is of the other paths and needs at least 2, received num_paths=1"),
        ({"num_paths": 1, "baseline": "optimal"}, "'optimal' is of the other paths"),
        ({"window": 0.0}, "window > 0"),
        ({"parameters": RATES | {"death": 0.0}}, r"rate constants > 0, received 0 for \['death'\]"),
    ],
)
def test_impossible_settings_are_refused(change, message):
    """With what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        ensemble(**change)
