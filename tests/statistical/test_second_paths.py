"""Second paths against exact gradients: coupled differences, forks, alternatives; their variances and what makes them small.

Exact values are closed forms or the master equation. Reference variances are closed forms, or come from long runs; they are held from
both sides.
"""

from functools import cache

import jax
import numpy as np
import pytest
from support import assert_mean

from ssagrad import exact, models
from ssagrad.coupling import simulate_pairs
from ssagrad.estimators import alternative_path, coupled_difference, forked_path

TOY = models.immigration_death().network
THETA = {"immigration": 10.0, "death": 1.0}
T = 3.0
ASSOCIATION = models.association()


def gradient_samples(estimator, network, theta, start, times, statistic, **options):
    """Samples of the gradient in ln θ [n, T, P], parameters in the order of theta."""

    def terms(theta):
        paths = estimator(jax.random.key(11), network, theta, start, times, **options)
        values = statistic(paths)
        return paths.terms(values if values.ndim > 1 else values[:, None])

    slopes = jax.jacfwd(terms)(theta)
    return np.stack([np.asarray(slopes[name], float) * theta[name] for name in theta], axis=-1)


def toy_samples(estimator, *, statistic=lambda paths: paths.samples("X"), times=(T,), **options):
    return gradient_samples(estimator, TOY, THETA, {}, times, statistic, **options)


def toy_mean(t, immigration=10.0, death=1.0):
    return immigration / death * (1 - np.exp(-death * t))


TOY_GRADIENT = np.array([toy_mean(T), -toy_mean(T) + 10 * T * np.exp(-T)])  # in ln immigration, ln death


def assert_gradient(samples, exact_gradient, variance, *, factor=1.3):
    """The mean is exact and the variance is the reference's, within a factor: [n, …] samples, […] the others."""
    assert_mean(samples, exact_gradient, largest_standard_error=np.sqrt(factor * np.max(variance) / len(samples)))
    ratio = samples.var(0, ddof=1) / variance
    assert np.all((ratio > 1 / factor) & (ratio < factor)), f"variance over its reference: {ratio}"


@cache
def association_gradient(k_on, *, times=None, num_events=None):
    master = exact.MasterEquation.build(ASSOCIATION.network, ASSOCIATION.initial_counts)
    slopes = master.gradient({"k_on": k_on, "k_off": 1.0}, times, "C", num_events=num_events)
    return np.stack([np.asarray(slopes["k_on"]) * k_on, np.asarray(slopes["k_off"])], axis=-1)


def test_both_paths_of_a_pair_have_their_own_law():
    """Poisson with the mean of their own parameters, although they share most of their events."""
    pair = simulate_pairs(
        jax.random.key(1), TOY, (THETA, {"immigration": 12.0, "death": 0.7}), (np.array([0]), np.array([0])), [1.0, T], num_paths=10_000
    )
    for path, mean in zip(pair, (toy_mean(np.array([1, T])), toy_mean(np.array([1, T]), 12.0, 0.7)), strict=True):
        assert_mean(path.counts[..., 0], mean, exact_variance=mean, largest_standard_error=0.05)
        squares = (np.asarray(path.counts[..., 0]) - mean) ** 2
        assert_mean(squares, mean, largest_standard_error=0.3)
    difference = np.asarray(pair[0].counts - pair[1].counts)[:, 1, 0]
    assert difference.var() < 0.5 * (toy_mean(T) + toy_mean(T, 12.0, 0.7))


@pytest.mark.parametrize(("step", "variance"), [(0.2, (24, 6.9)), (0.05, (96, 26)), (0.01, (476, 337))])
def test_split_differences_have_the_bias_and_the_variance_of_theory(step, variance):
    """The mean is the finite difference of the exact mean (steps ± 20, 5 and 1 %), and the variance about 1/h (at 1 %: counts that rarely differ)."""
    ends = [[toy_mean(T, **{name: THETA[name] * (1 + sign * step) for name in (key,)}) for key in THETA] for sign in (1, -1)]
    difference = (np.array(ends[0]) - ends[1]) / (2 * step)
    samples = toy_samples(coupled_difference, num_paths=20_000, step=step)[:, 0]
    assert_gradient(samples, difference, np.array(variance))


def test_bias_of_coupled_differences_is_of_second_order():
    """d/d ln death: quartering the step divides the bias by 16, and at ± 20 % the samples see it."""
    bias = [(toy_mean(T, death=1 + h) - toy_mean(T, death=1 - h)) / (2 * h) - TOY_GRADIENT[1] for h in (0.2, 0.05)]
    assert np.isclose(bias[0] / bias[1], 16, rtol=0.05)
    samples = toy_samples(coupled_difference, num_paths=20_000, step=0.2)[:, 0, 1]
    with pytest.raises(AssertionError, match="z = -"):
        assert_mean(samples, TOY_GRADIENT[1], largest_standard_error=0.025)


def test_common_random_numbers_keep_pairs_less_close():
    """Also unbiased up to h²; the split coupling has a several times smaller variance (Anderson 2012)."""
    samples = toy_samples(coupled_difference, num_paths=20_000, step=0.05, coupling="common")[:, 0]
    assert_mean(samples, TOY_GRADIENT, largest_standard_error=np.sqrt(600 / 20_000))
    assert np.all(samples.var(0) > 4 * np.array([96, 26]))


def fork_variance():
    """Closed form for one fork of either parameter: T ∫ a_r² (1 + a_s/a_r) e^{−(T−t)} dt − (∂m)², with E a_s a_r of a Poisson count."""
    t = np.linspace(0, T, 20_001)
    m = toy_mean(t)
    moments = np.stack([10 * (10 + m), m**2 + m + 10 * m])
    return T * np.trapezoid(moments * np.exp(t - T), t, axis=1) - TOY_GRADIENT**2


@pytest.mark.parametrize("num_forks", [1, 4])
def test_forks_are_unbiased_with_the_variance_of_theory(num_forks):
    """One fork serves both parameters; m forks divide the variance by m or, being stratified, by a little more."""
    samples = toy_samples(forked_path, num_paths=20_000 // num_forks, num_forks=num_forks)[:, 0]
    assert_gradient(samples, TOY_GRADIENT, fork_variance() / num_forks, factor=1.2)


def test_forks_serve_whatever_is_recorded():
    """Time averages, event counts and a product of two times: gradients in closed form, from two forks per path."""

    def statistic(paths):
        counts, deaths = paths.samples("X"), paths.event_counts[:, -1, 1]
        return jax.numpy.stack([paths.time_integrals[:, -1, 0] / T, deaths, counts[:, 0] * counts[:, 1]], axis=1)[:, None].repeat(2, axis=1)

    samples = toy_samples(
        forked_path, statistic=statistic, times=(1.0, T), num_paths=20_000, num_forks=2, record=("time_integrals", "event_counts")
    )[:, -1]

    def expected(immigration, death):
        first, last = toy_mean(np.array([1.0, T]), immigration, death)
        integral = immigration / death * T - last / death
        return np.array([integral / T, death * integral, first * last + first * np.exp(-death * (T - 1))])

    h = 1e-5
    slopes = [(expected(10 * np.exp(h * a), np.exp(h * b)) - expected(10 * np.exp(-h * a), np.exp(-h * b))) / (2 * h) for a, b in ((1, 0), (0, 1))]
    assert_mean(samples, np.stack(slopes, axis=-1), largest_standard_error=2.5)


@pytest.mark.parametrize(
    ("estimator", "options", "largest"),
    [
        (forked_path, {"num_forks": 2}, 0.1),
        (coupled_difference, {"step": 0.05}, 0.035),
        (alternative_path, {"rate_bound": 120.0}, 0.13),
        (alternative_path, {"rate_bound": 120.0, "drop_met": True}, 0.09),
    ],
)
def test_association_at_physical_times(estimator, options, largest):
    """A nonlinear network, at two times at once, against the master equation."""
    times = (0.1, 2.0)
    theta = {"k_on": 1.0, "k_off": 1.0}
    samples = gradient_samples(
        estimator, ASSOCIATION.network, theta, ASSOCIATION.initial_counts, times, lambda paths: paths.samples("C"), num_paths=20_000, **options
    )
    assert_mean(samples, association_gradient(1.0, times=times), largest_standard_error=largest)


NUM_EVENTS = (20, 40, 80, 160, 320)
PAPER = {0.1: (11, 25, 52, 103, 204), 1.0: (6.8, 15, 34, 69, 130), 10.0: (2.7, 6.5, 14, 29, 62)}


def jump_chain(k_on, **options):
    theta = {"k_on": k_on, "k_off": 1.0}
    return gradient_samples(
        alternative_path, ASSOCIATION.network, theta, ASSOCIATION.initial_counts, NUM_EVENTS, lambda paths: paths.samples("C"),
        num_paths=10_000, clock="events", **options,
    )  # fmt: skip


@pytest.mark.parametrize("k_on", PAPER)
def test_alternative_paths_of_the_jump_chain(k_on):
    """Unbiased at every affinity; the variance grows linearly with the number of events (Burger et al. 2026)."""
    samples = jump_chain(k_on)
    assert_mean(samples, association_gradient(k_on, num_events=NUM_EVENTS), largest_standard_error=np.sqrt(1.5 * PAPER[k_on][-1] / 10_000))
    ratio = samples[..., 0].var(0) / PAPER[k_on]
    assert np.all((ratio > 0.7) & (ratio < 1.4)), f"variance over its reference: {ratio}"


def test_dropping_met_alternatives_stops_the_growth():
    """Beyond the paper: still unbiased, and after 320 events the variance is that after 20, 40 times below the paper's."""
    samples = jump_chain(1.0, drop_met=True)
    assert_mean(samples, association_gradient(1.0, num_events=NUM_EVENTS), largest_standard_error=np.sqrt(3.5 / 10_000))
    variance = samples[..., 0].var(0)
    assert variance[-1] < 1.3 * variance[0] and variance[-1] < PAPER[1.0][-1] / 40


@pytest.mark.parametrize(
    ("options", "variance"),
    [
        ({"rate_bound": 40.0}, (195, 113)),
        ({"rate_bound": 80.0}, (195, 116)),
        ({"rate_bound": 40.0, "coupling": "independent"}, (2064, 1345)),
    ],
)
def test_alternative_paths_in_physical_time(options, variance):
    """Uniformised: unbiased whatever the bound; without common random numbers ten times the variance."""
    samples = toy_samples(alternative_path, num_paths=20_000, **options)[:, 0]
    assert_gradient(samples, TOY_GRADIENT, np.array(variance))
