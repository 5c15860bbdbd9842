"""Standard errors, z-scores and intervals against values known otherwise."""

import math
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import exact
from ssagrad.statistics import (
    binomial_interval,
    confidence_interval,
    cost_until,
    fit_p_value,
    largest_expected_z,
    log_ratios,
    paired_p_value,
    standard_error,
    variance_z_score,
    weighted_mean,
    work_normalised_variance,
    z_score,
)

SAMPLES = np.random.default_rng(51).gamma(2.0, 3.0, (500, 4)).astype(np.float32)


def agree(actual, expected):
    return np.allclose(actual, expected, rtol=2e-5, atol=0)


def test_standard_error_of_a_mean():
    """s/√n; weights of 2 change nothing; two samples are enough and one is refused."""
    assert agree(standard_error(SAMPLES), SAMPLES.std(0, ddof=1) / math.sqrt(500))
    assert agree(standard_error(SAMPLES, np.full(500, 2.0, np.float32)), standard_error(SAMPLES))
    assert agree(standard_error(np.array([1.0, 3.0], np.float32)), 1.0)
    with pytest.raises(ValueError, match="a standard error needs at least 2 samples, received 1"):
        standard_error(np.ones((1, 3), np.float32))


def test_weighted_mean_broadcasts_over_trailing_axes():
    """Weights [n] or [n, T] for samples [n, T, K]."""
    samples = SAMPLES.reshape(500, 2, 2)
    weights = np.linspace(0.1, 1, 500, dtype=np.float32)
    assert agree(weighted_mean(samples, weights), np.average(samples, weights=weights, axis=0))
    assert agree(weighted_mean(SAMPLES), SAMPLES.mean(0))


def test_weighted_standard_error_covers_the_truth():
    """The self-normalised mean of importance samples lies within two of its standard errors as often as it should: in 95 % of 400 repetitions."""
    samples = jax.random.normal(jax.random.key(52), (400, 200))
    weights = jnp.exp(0.3 * samples)
    z = jax.vmap(lambda x, w: (weighted_mean(x, w) - 0.3) / standard_error(x, w))(samples, weights)
    inside = int((jnp.abs(z) < 1.96).sum())
    low, high = binomial_interval(inside, 400, level=0.9999)
    assert low < 0.95 < high


def test_z_scores():
    """(mean − exact)/standard error; a right constant scores 0, a wrong one ∞."""
    exact = np.full(4, 6.0, np.float32)
    expected = (SAMPLES.mean(0) - 6) / (SAMPLES.std(0, ddof=1) / math.sqrt(500))
    assert np.allclose(z_score(SAMPLES, exact), expected, rtol=0, atol=1e-3)
    constant = np.full((10, 2), 3.0, np.float32)
    assert z_score(constant, np.array([3.0, 3.0], np.float32)).tolist() == [0.0, 0.0]
    assert np.isinf(z_score(constant, np.array([3.0, 4.0], np.float32))[1])


def test_z_score_of_a_variance():
    """Right for normal samples of known mean and variance, large for a wrong variance."""
    samples = 2 * jax.random.normal(jax.random.key(53), (20_000,)) + 1
    assert abs(float(variance_z_score(samples, 1.0, 4.0))) < 4
    assert abs(float(variance_z_score(samples, 1.0, 4.4))) > 4


@pytest.mark.parametrize("num_comparisons", [1, 100, 10_000, 1_000_000])
def test_many_comparisons_allow_a_larger_z(num_comparisons):
    """Bonferroni's limit, finite and right however many comparisons there are."""
    limit = largest_expected_z(num_comparisons, family_error=1e-3)
    assert math.isclose(limit, -NormalDist().inv_cdf(0.5e-3 / num_comparisons), rel_tol=1e-3)


def test_goodness_of_fit():
    """p-values of a right law are uniform; of a wrong one, zero."""
    law = exact.birth_death([1.0], immigration=7.0, death=1.0).probabilities[0]
    wrong = exact.birth_death([1.0], immigration=7.7, death=1.0).probabilities[0]
    mean = 7 * (1 - math.exp(-1))
    samples = np.random.default_rng(54).poisson(mean, (200, 1000))
    p_values = [fit_p_value(row, law) for row in samples]
    assert abs(np.mean(p_values) - 0.5) < 4 / math.sqrt(12 * 200)
    assert abs(np.var(p_values) - 1 / 12) < 4 / math.sqrt(180 * 200)
    assert fit_p_value(samples.reshape(-1), wrong) < 1e-9
    assert fit_p_value(samples.reshape(-1), law) > 1e-4


def test_intervals():
    """Normal intervals, and Wilson's for shares (its published example: 7 of 10 gives 0.397 to 0.892)."""
    low, high = confidence_interval(SAMPLES, level=0.95)
    half = 1.959964 * SAMPLES.std(0, ddof=1) / math.sqrt(500)
    assert agree(high - low, 2 * half)
    assert agree((low + high) / 2, SAMPLES.mean(0))
    assert np.allclose(binomial_interval(7, 10), (0.39677, 0.89221), rtol=0, atol=1e-4)
    assert binomial_interval(0, 10)[0] == 0
    assert binomial_interval(10, 10)[1] == 1
    assert np.allclose(binomial_interval(0, 10)[1], 0.27753, rtol=0, atol=1e-4)
    for successes, trials in ((11, 10), (-1, 10), (0, 0)):
        with pytest.raises(ValueError, match=f"expected 0 ≤ successes ≤ trials with trials ≥ 1, received {successes} of {trials}"):
            binomial_interval(successes, trials)


def test_work_normalised_variance():
    """Variance of one sample times its cost."""
    assert agree(work_normalised_variance(SAMPLES, 3.0), 3 * SAMPLES.var(0, ddof=1))


def test_log_ratios_are_in_the_order_of_the_leaves():
    """ln θ/θ₀ of every run and step, parameters last and sorted by name."""
    found = log_ratios({"b": np.array([[1.0, np.e]]), "a": np.array([[2.0, 2.0]])}, {"b": 1.0, "a": 2.0})
    np.testing.assert_allclose(found, [[[0, 0], [0, 1]]], atol=1e-12)


def test_cost_until_counts_the_last_time_that_an_error_was_large():
    """A run that comes near and goes away again has not arrived; one that ends far away, or as NaN, never does; the limit itself is not below."""
    errors = np.array([[0.5, 0.05, 0.5, 0.05, 0.01], [0.5, 0.4, 0.05, 0.05, 0.1], [0.01, 0.01, 0.01, 0.01, 0.01], [0.01, 0.01, np.nan, np.nan, np.nan]])
    costs = np.cumsum(np.full(errors.shape, 10.0), axis=1)
    np.testing.assert_array_equal(cost_until(errors, costs, limit=0.1), [40, np.inf, 10, np.inf])


def test_paired_p_value_counts_the_runs_that_differ():
    """Six of six differing runs for one side are 1/64 by chance; agreement says nothing."""
    first = np.array([True] * 10 + [False] * 2)
    second = np.array([True] * 4 + [False] * 8)
    np.testing.assert_allclose([paired_p_value(first, second), paired_p_value(second, first), paired_p_value(first, first)], [1 / 64, 1, 1])
