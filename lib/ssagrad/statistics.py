"""How sure a number is: standard errors, z-scores, intervals and the efficiency of estimators.

All functions take samples along the leading axis and work on anything that `jax.numpy` takes.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

ROUNDING = 1e-5  # relative error of gradients in single precision, which counts where standard errors are smaller


def weighted_mean(samples: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Σ_i w_i x_i / Σ_i w_i over the leading axis; weights [n, ...] are broadcast over trailing axes of samples [n, ..., K]."""
    samples = jnp.asarray(samples)
    if weights is None:
        return samples.mean(0)
    weights = _align(weights, samples)
    return (weights * samples).sum(0) / weights.sum(0)


def centred(samples: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Samples [n, ...] less their (weighted) mean."""
    return samples - weighted_mean(samples, weights)[None]


def standard_error(samples: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Standard error of the (weighted) mean of independent samples [n, ...].

    For weights the linearised (delta-method) form √(Σ w² (x − m)²) / Σ w, with the factor n/(n − 1) of the unweighted case.
    """
    samples = jnp.asarray(samples)
    if samples.shape[0] < 2:
        raise ValueError(f"a standard error needs at least 2 samples, received {samples.shape[0]}")
    weights = jnp.ones_like(samples) if weights is None else _align(weights, samples)
    residuals = weights * centred(samples, weights)
    return jnp.sqrt((residuals**2).sum(0) * unbiased_factor(weights).astype(samples.dtype)) / jnp.abs(weights.sum(0))


def unbiased_factor(weights: jax.Array) -> jax.Array:
    """n/(n − 1), where n counts the samples that have a weight (an estimator may add rows whose weight is 0)."""
    num_samples = (weights != 0).sum(0)
    return num_samples / jnp.maximum(num_samples - 1, 1)


def z_score(samples: jax.Array, exact: jax.Array) -> jax.Array:
    """(mean − exact) / standard error of samples [n, ...]; 0 where both differences vanish (a constant that is right)."""
    samples = jnp.asarray(samples)
    error = samples.mean(0) - exact
    scale = standard_error(samples)
    return jnp.where(error == 0, 0.0, error / jnp.where(scale > 0, scale, jnp.where(error == 0, 1.0, 0.0)))


def variance_z_score(samples: jax.Array, exact_mean: jax.Array, exact_variance: jax.Array) -> jax.Array:
    """z-score of the variance of samples [n, ...]: their mean square deviation from the exact mean, against the exact variance."""
    return z_score((jnp.asarray(samples) - jnp.asarray(exact_mean)[None]) ** 2, exact_variance)


def largest_expected_z(num_comparisons: int, *, family_error: float = 1e-3) -> float:
    """The |z| that `num_comparisons` true statements exceed with at most the probability `family_error` (Bonferroni)."""
    return -NormalDist().inv_cdf(family_error / (2 * num_comparisons))


def fit_p_value(counts: jax.Array, probabilities: jax.Array) -> float:
    """p-value of Pearson's χ² test that whole numbers [n] follow probabilities [K] of 0 … K − 1 (neighbouring cells pooled to about 10 expected)."""
    from scipy import stats

    counts, probabilities = np.asarray(counts).astype(int), np.asarray(probabilities, float)
    expected = len(counts) * np.append(probabilities, max(0.0, 1 - probabilities.sum()))
    observed = np.bincount(np.minimum(counts, len(probabilities)), minlength=len(expected))
    cell = np.minimum(np.cumsum(expected) // 10, (len(counts) - 10) // 10).astype(int)
    expected, observed = (np.bincount(np.unique(cell, return_inverse=True)[1], weights=values) for values in (expected, observed))
    return float(stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue)


def confidence_interval(samples: jax.Array, *, level: float = 0.95) -> tuple[jax.Array, jax.Array]:
    """Normal interval of the mean of samples [n, ...]: mean ± q standard errors."""
    samples = jnp.asarray(samples)
    half = -NormalDist().inv_cdf((1 - level) / 2) * standard_error(samples)
    return samples.mean(0) - half, samples.mean(0) + half


def binomial_interval(successes: int, trials: int, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson interval of a success probability (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"expected 0 ≤ successes ≤ trials with trials ≥ 1, received {successes} of {trials}")
    q, share = -NormalDist().inv_cdf((1 - level) / 2), successes / trials
    centre = (share + q**2 / (2 * trials)) / (1 + q**2 / trials)
    half = q * math.sqrt(share * (1 - share) / trials + q**2 / (4 * trials**2)) / (1 + q**2 / trials)
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == trials else centre + half)


def work_normalised_variance(samples: jax.Array, cost_per_sample: float) -> jax.Array:
    """Variance of one sample [n, ...] times what it costs (seconds or events): estimators compare by this; its inverse is the efficiency.

    Reference: Glynn and Whitt 1992, "The asymptotic efficiency of simulation estimators", doi:10.1287/opre.40.3.505.
    """
    return jnp.asarray(samples).var(0, ddof=1) * cost_per_sample


def _align(weights: jax.Array, samples: jax.Array) -> jax.Array:
    weights = jnp.asarray(weights)
    return weights.reshape(weights.shape + (1,) * (samples.ndim - weights.ndim))


def log_ratios(parameters: Any, reference: Any) -> np.ndarray:
    """ln θ/θ₀ of positive parameters, leaves [...] and scalars: [..., P] in the order of the pytree's leaves."""
    pairs = zip(jax.tree.leaves(parameters), jax.tree.leaves(reference), strict=True)
    return np.stack([np.log(np.asarray(leaf, float) / float(one)) for leaf, one in pairs], axis=-1)


def cost_until(errors: np.ndarray, costs: np.ndarray, *, limit: float) -> np.ndarray:
    """What each run had spent when its error fell below the limit for good [M]; infinity where it ends above it.

    Args:
        errors, costs: after each step [M, K], costs added up.
    """
    above = np.maximum.accumulate((~(errors < limit))[:, ::-1], axis=1)[:, ::-1]  # now or later
    reached = np.take_along_axis(costs, (~above).argmax(1)[:, None], axis=1)[:, 0]
    return np.where(above[:, -1], np.inf, reached)


def paired_p_value(successes: np.ndarray, others: np.ndarray) -> float:
    """One-sided p-value of the sign test (McNemar, exact) that more runs succeed than of others with the same starts, both booleans [M]."""
    from scipy import stats  # takes longer to import than all of ssagrad

    more, fewer = int((successes & ~others).sum()), int((others & ~successes).sum())
    return float(stats.binomtest(more, more + fewer, alternative="greater").pvalue) if more + fewer else 1.0
