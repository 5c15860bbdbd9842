"""The score function against exact gradients: unbiased on many networks, with the variance of theory; one that forgets is found out.

Exact values are closed forms or the master equation. A score has the Fisher information E S_p² (in ln θ: the expected number of events that θ_p
drives), and were score and observable jointly normal, E (f − m)² S² ≤ 3 Var f · E S²: the bound on every standard error here, unless a reference
says more.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import LIMIT, assert_mean, forgetful_score_function, z_scores

from ssagrad import Network, exact, models
from ssagrad.estimators import score_function

TOY = models.immigration_death().network
THETA = {"immigration": 10.0, "death": 1.0}
T = 3.0
EXACT = np.array([10 * (1 - np.exp(-T)), -10 * (1 - np.exp(-T)) + 10 * T * np.exp(-T)])  # d E X(T) in ln immigration, ln death
NUM_PATHS = 10_000


def autoregulation():
    """One protein that represses its own production through a Hill function: propensities that are not of mass action."""
    hill = {"production": lambda counts, parameters: parameters["k"] / (1 + (counts["P"] / parameters["K"]) ** 2)}
    network = Network.from_text("0 -> P @ production; P -> 0 @ decay", propensities=hill)
    return network, {"k": 20.0, "K": 8.0, "decay": 1.0}, {"P": 2}, {"P": 60}


def of_model(model, *, start=None, bounds=None, **parameters):
    return model.network, model.parameters | parameters, start or model.initial_counts, bounds


CASES = {  # network, parameters, initial counts, bounds of the master equation; observable; times; numbers of events that each parameter drives
    "association": (of_model(models.association()), "C", (0.1, 2.0)),
    "association, squares": (of_model(models.association(), k_on=10.0), lambda x: x["C"] ** 2, (0.05, 0.5)),
    "dimerisation": (of_model(models.dimerisation(), start={"P": 30}, k_on=0.05, k_off=0.2), "P2", (5.0, 20.0)),
    "telegraph": (of_model(models.telegraph(), bounds={"mRNA": 90}), "mRNA", (1.0, 4.0)),
    "epidemic": (of_model(models.sir(), start={"S": 25, "I": 5}, infection=0.2), "R", (0.2, 1.0)),
    "epidemic is over": (of_model(models.sir(), start={"S": 25, "I": 5}, infection=0.2), lambda x: jnp.where(x["I"] == 0, 1.0, 0.0), (0.5, 1.0)),
    "autoregulation": (autoregulation(), "P", (0.5, 3.0)),
}


def gradient_samples(estimator, network, theta, start, times, statistic, **options):
    """Samples of the gradient in ln θ [n, T, P], parameters in the order of theta, and the ensemble."""

    def terms(theta):
        paths = estimator(jax.random.key(21), network, theta, start, np.array(times), **options)
        return paths.terms(statistic(paths)), paths

    slopes, paths = jax.jacfwd(terms, has_aux=True)({name: jnp.float32(value) for name, value in theta.items()})
    return np.stack([np.asarray(slopes[name], float) * theta[name] for name in theta], axis=-1), paths


def toy_samples(estimator=score_function, *, key=None, statistic=lambda paths: paths.samples("X"), **options):
    return gradient_samples(estimator, TOY, THETA, {}, (T,), statistic, **({"num_paths": 20_000} | options))[0][:, 0]


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_unbiased(name):
    """Every parameter of five networks at two times, among them rate functions, bimodal and absorbed ones: 34 gradients."""
    (network, theta, start, bounds), observable, times = CASES[name]
    samples, paths = gradient_samples(
        score_function, network, theta, start, times, lambda paths: paths.samples(observable), num_paths=NUM_PATHS, record=("event_counts",)
    )
    master = exact.MasterEquation.build(network, start, bounds=bounds)
    slopes = master.gradient(theta, times, observable)
    expected = np.stack([slopes[name] * theta[name] for name in theta], axis=-1)
    variance = master.solve(theta, times).variance(observable)[-1]
    most_events = np.asarray(paths.event_counts)[:, -1].mean(0).max() * (4 if "K" in theta else 1)  # |∂ ln a/∂ ln K| ≤ 2
    assert_mean(samples, expected, largest_standard_error=np.sqrt(3 * variance * most_events / NUM_PATHS))


@pytest.mark.parametrize(("baseline", "variance"), [("none", (3279, 2321)), ("leave_one_out", (385, 267)), ("optimal", (382, 261))])
def test_variances_are_those_of_the_reference(baseline, variance):
    """Immigration and death: the mean as a baseline saves nine tenths, the optimal one hardly more."""
    samples = toy_samples(baseline=baseline)
    assert_mean(samples, EXACT, largest_standard_error=np.sqrt(1.1 * np.max(variance) / len(samples)))
    ratio = samples.var(0, ddof=1) / variance
    assert np.all((ratio > 0.9) & (ratio < 1.1)), f"variance over its reference: {ratio}"


def test_the_optimal_baseline_helps_where_it_should():
    """Arrivals alone, x ~ Poisson(m), f = (x − m)², in ln k: S = x − m, so b = E S⁴/E S² = 3 m + 1, E f = m, and the gradient is E S³ = m.

    Variances from the central moments of a Poisson number, E (f − b)² S² − m².
    """
    network, m = Network.from_text("0 -> X @ k"), 5.0
    fourth, sixth = m + 3 * m**2, m + 25 * m**2 + 15 * m**3

    def variance(b):
        return sixth - 2 * b * fourth + b**2 * m - m**2

    arguments = (network, {"k": m}, {"X": 0}, (1.0,), lambda paths: (paths.samples("X") - m) ** 2)
    for baseline, b in (("leave_one_out", m), ("optimal", fourth / m)):
        samples = gradient_samples(score_function, *arguments, num_paths=40_000, baseline=baseline)[0][:, 0, 0]
        # the sample variance of such heavy tails is good to some 3 %
        assert_mean(samples, m, largest_standard_error=np.sqrt(1.15 * variance(b) / 40_000))
        assert 0.85 < samples.var(ddof=1) / variance(b) < 1.15
    assert variance(fourth / m) < 0.75 * variance(m)


@pytest.mark.parametrize("baseline", ["leave_one_out", "optimal"])
def test_baselines_of_other_paths_have_no_bias(baseline):
    """Twelve paths in each of 5,000 gradients: the mean of all paths as a baseline would be too small by a twelfth.

    A baseline from eleven paths adds its own variance: for normal numbers 1/11 of the whole for the mean, 3/11 for the optimal one.
    """

    def gradient(key, baseline):
        def mean(theta):
            return score_function(key, TOY, theta, {}, np.array([T]), num_paths=12, baseline=baseline).mean("X")[0]

        slopes = jax.grad(mean)({name: jnp.float32(value) for name, value in THETA.items()})
        return jnp.stack([slopes[name] * value for name, value in THETA.items()])

    keys = jax.random.split(jax.random.key(22), 5000)
    samples = jax.jit(jax.vmap(partial(gradient, baseline=baseline)))(keys)
    assert_mean(samples, EXACT, largest_standard_error=np.sqrt(1.6 * 385 / 12 / 5000))
    if baseline == "leave_one_out":
        assert np.all(np.abs(z_scores(np.asarray(samples) * 11 / 12, EXACT)) > LIMIT), "no power"


@cache
def jump_chain_gradient(k_on, num_events):
    model = models.association()
    master = exact.MasterEquation.build(model.network, model.initial_counts)
    return master.gradient({"k_on": k_on, "k_off": 1.0}, observable="C", num_events=num_events)["k_on"] * k_on


NUM_EVENTS = (20, 40, 80, 160, 320)


@pytest.mark.parametrize(("k_on", "variance"), [(0.1, (9.2, 17, 33, 64, 127)), (1.0, (5.1, 11, 22, 43, 87)), (10.0, (2.0, 5.2, 12, 25, 50))])
def test_the_variance_grows_linearly_in_the_jump_chain(k_on, variance):
    """Complexes after N events: unbiased at every affinity, the variance doubles with N (Burger et al. 2026)."""
    model = models.association()
    samples, _ = gradient_samples(
        score_function, model.network, {"k_on": k_on, "k_off": 1.0}, model.initial_counts, NUM_EVENTS, lambda paths: paths.samples("C"),
        num_paths=NUM_PATHS, clock="events",
    )  # fmt: skip
    assert_mean(samples[..., 0], jump_chain_gradient(k_on, NUM_EVENTS), largest_standard_error=np.sqrt(1.2 * variance[-1] / NUM_PATHS))
    ratio = samples[..., 0].var(0) / variance
    assert np.all((ratio > 0.85) & (ratio < 1.2)), f"variance over its reference: {ratio}"


@pytest.mark.parametrize(("k_on", "window", "mean", "variance"), [(10.0, 10, 0.632, 1.5), (1.0, 20, 1.093, 6.4)])
def test_a_window_trades_little_bias_for_much_variance(k_on, window, mean, variance):
    """After 160 events, exact 0.628 and 1.096: the score of the last few relaxation times is enough, at a sixteenth and a seventh of the variance."""
    model = models.association()
    samples, _ = gradient_samples(
        score_function, model.network, {"k_on": k_on, "k_off": 1.0}, model.initial_counts, (160,), lambda paths: paths.samples("C"),
        num_paths=20_000, clock="events", window=window,
    )  # fmt: skip
    samples = samples[:, 0, 0]
    assert abs(samples.mean() - mean) < LIMIT * np.sqrt(2 * variance / 20_000) + 5e-4  # the reference is sampled and rounded
    assert 0.8 < samples.var() / variance < 1.2


def test_the_score_has_mean_zero_and_the_information_of_theory():
    """E S_p = 0 and E S_p S_q = δ_pq × the expected number of events that ln θ_p drives: k T arrivals, k T − m(T) deaths."""
    samples = toy_samples(baseline="none", statistic=lambda paths: jnp.ones_like(paths.weights))
    events = np.array([10 * T, 10 * T - EXACT[0]])
    assert_mean(samples, np.zeros(2), largest_standard_error=np.sqrt(1.1 * events.max() / len(samples)))
    products = samples[:, :, None] * samples[:, None, :]
    assert_mean(products, np.diag(events), largest_standard_error=0.4)


def test_a_score_that_forgets_the_unfinished_waiting_time_is_rejected():
    """The negative control, isomerisation at a time of few events: even with a baseline the same test sees its bias."""
    model = models.isomerisation()
    times, arguments = (0.1, 1.0), (model.network, model.parameters, model.initial_counts)
    slopes = exact.MasterEquation.build(model.network, model.initial_counts).gradient(model.parameters, times, "A")
    expected = np.stack([slopes[name] * model.parameters[name] for name in model.parameters], axis=-1)
    bound = np.sqrt(3 * 5.0 * 20 / NUM_PATHS)  # a binomial variance of at most 20/4, and at most 20 events
    for estimator in (score_function, forgetful_score_function):
        samples, _ = gradient_samples(estimator, *arguments, times, lambda paths: paths.samples("A"), num_paths=NUM_PATHS)
        if estimator is score_function:
            assert_mean(samples, expected, largest_standard_error=bound)
        else:
            with pytest.raises(AssertionError, match="z = "):
                assert_mean(samples, expected, largest_standard_error=bound)
