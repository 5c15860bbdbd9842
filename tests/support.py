"""What the tests share: one rule for agreement with an exact value, and simulators and an estimator that are wrong on purpose.

The rule. With z = (mean − exact)/standard error, a single claim holds if |z| < 4. A claim about m values at once (times, species) holds
if all |z| stay below the limit that m normal numbers keep with the same probability as one keeps below 4 (Bonferroni). Keys are literal and
sample sizes chosen beforehand, so a test either passes always or fails always, and a right simulator fails one with
probability 6e-5, however many values it compares. So that noise cannot hide an error, every test also bounds the standard error.
"""

from dataclasses import replace
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad import Ensemble, simulate
from ssagrad.coupling import rate_slopes
from ssagrad.estimators import score_function
from ssagrad.score import add_to_weights, flat_shift, waiting_since_last_event
from ssagrad.simulate import simulate_with

LIMIT = 4.0
FALSE_ALARM = 2 * NormalDist().cdf(-LIMIT)


def z_limit(num_values):
    """The |z| that `num_values` normal numbers all stay below with the probability that one stays below 4."""
    return -NormalDist().inv_cdf(FALSE_ALARM / 2 / num_values)


def z_scores(samples, exact, *, exact_variance=None):
    """(mean − exact)/standard error of independent samples [n, ...] in float64; an exact constant scores 0, a wrong constant ∞.

    The standard error is that of the samples; or, better, that of the exact variance [...], to which a few wild samples cannot add. Then one
    path's largest standard deviation over n is added, because a count that is hardly ever not 0 is no normal number.
    """
    samples, exact = np.asarray(samples, float), np.asarray(exact, float)
    error = samples.mean(0) - exact
    if exact_variance is None:
        standard_error = samples.std(0, ddof=1) / np.sqrt(len(samples))
    else:
        deviation = np.sqrt(np.maximum(exact_variance, 0))
        standard_error = deviation / np.sqrt(len(samples)) + np.max(deviation) / len(samples)
    rounding = 1e-6 * np.maximum(np.abs(exact), 1)  # of values that hardly vary
    return np.where(np.abs(error) <= rounding, 0.0, error / np.where(standard_error > 0, standard_error, 1e-300))


def assert_mean(samples, exact, *, largest_standard_error, exact_variance=None):
    """The mean of independent samples [n, ...] agrees with its exact value [...], and is known at least that well."""
    samples = np.asarray(samples, float)
    assert np.isfinite(samples).all(), "samples that are not finite"
    worst_error = np.max(samples.std(0, ddof=1)) / np.sqrt(len(samples))
    assert worst_error <= largest_standard_error, f"standard error {worst_error:.3g}, expected at most {largest_standard_error:.3g}"
    z = np.atleast_1d(z_scores(samples, exact, exact_variance=exact_variance))
    worst = tuple(map(int, np.unravel_index(np.argmax(np.abs(z)), z.shape)))
    assert np.abs(z).max() < z_limit(z.size), f"z = {z[worst]:.2f} at {worst}, expected |z| < {z_limit(z.size):.2f} for {z.size} values"


def assert_variance(samples, exact_mean, exact_variance, *, largest_standard_error):
    """The variance of independent samples [n, ...] agrees with its exact value [...]: mean square deviation from the exact mean."""
    squares = (np.asarray(samples, float) - np.asarray(exact_mean, float)) ** 2
    assert_mean(squares, exact_variance, largest_standard_error=largest_standard_error)


def assert_moments(ensemble, mean, variance, *, largest_standard_error):
    """Means and variances [T, S] of all species hold at once; the two standard errors are bounded in parts of the largest mean and variance."""
    samples = np.asarray(ensemble.counts, float)
    of_mean, of_variance = largest_standard_error
    assert_mean(samples, mean, exact_variance=variance, largest_standard_error=of_mean * np.max(mean))
    assert_variance(samples, mean, variance, largest_standard_error=of_variance * np.max(variance))


def assert_distribution(counts, probabilities):
    """Whole numbers [n] follow the probabilities [K] of 0 … K − 1: chi-square over cells of at least 10 expected counts.

    The statistic, made nearly normal by its cube root (Wilson and Hilferty 1931, doi:10.1073/pnas.17.12.684), is held to |z| < 4: a
    fit that is too good is wrong, too.
    """
    counts = np.asarray(counts).astype(int)
    expected = len(counts) * np.append(probabilities, max(0.0, 1 - np.sum(probabilities)))
    observed = np.bincount(np.minimum(counts, len(probabilities)), minlength=len(expected))
    assert np.all(observed[expected < 1e-9 * len(counts)] == 0), "an impossible count"
    cells = np.minimum(np.floor(np.cumsum(expected) / 10), np.floor((expected.sum() - 10) / 10)).astype(int)
    expected, observed = np.bincount(cells, expected), np.bincount(cells, observed)
    expected, observed = expected[expected > 0], observed[expected > 0]
    assert len(expected) > 2, "too few cells for a chi-square test"
    freedom = len(expected) - 1
    statistic = np.sum((observed - expected) ** 2 / expected)
    z = ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / np.sqrt(2 / (9 * freedom))
    assert abs(z) < LIMIT, f"chi-square {statistic:.1f} with {freedom} degrees of freedom, z = {z:.2f}"


def assert_continuous(samples, distribution_function):
    """Samples [n] follow a continuous law: Kolmogorov–Smirnov distance, held to the false alarm of |z| < 4.

    P(√n D > x) ≤ 2 exp(−2 x²) for every n (Massart 1990, doi:10.1214/aop/1176990746).
    """
    ordered = np.sort(np.asarray(samples, float))
    steps = np.arange(len(ordered) + 1) / len(ordered)
    exact = distribution_function(ordered)
    distance = max(np.max(steps[1:] - exact), np.max(exact - steps[:-1]))
    limit = np.sqrt(np.log(2 / FALSE_ALARM) / 2 / len(ordered))
    assert distance < limit, f"Kolmogorov–Smirnov distance {distance:.4f}, expected below {limit:.4f}"


# Negative controls: simulators and an estimator that are wrong in ways in which real ones have been. Each is called as `simulate` is.


def death_rate_low(key, network, parameters, initial_counts, times, *, num_paths):
    """The rate constant `death` is 10 % low."""
    return simulate(key, network, parameters | {"death": 0.9 * parameters["death"]}, initial_counts, times, num_paths=num_paths)


def frozen_paths(key, network, parameters, initial_counts, times, *, num_paths):
    """One path in 5,000 stops early and shows its last state ever after (a uniform number that is exactly 0; peers 5.1)."""
    ensemble = simulate(key, network, parameters, initial_counts, times, num_paths=num_paths)
    stop = len(times) // 10
    frozen = jnp.arange(num_paths)[:, None, None] % 5000 == 0
    late = jnp.arange(len(times))[None, :, None] >= stop
    return replace(ensemble, counts=jnp.where(frozen & late, ensemble.counts[:, stop : stop + 1], ensemble.counts))


def repeated_paths(key, network, parameters, initial_counts, times, *, num_paths):
    """Half of the paths are copies of the other half (a seed that is used twice)."""
    half = simulate(key, network, parameters, initial_counts, times, num_paths=num_paths // 2)
    return replace(half, counts=jnp.concatenate([half.counts, half.counts]))


def reads_after(key, network, parameters, initial_counts, times, *, num_paths):
    """Reads the state after the event that passes an observation time, instead of before it."""
    return _plain_direct_method(key, network, parameters, initial_counts, times, num_paths, fault="reads after")


def keeps_the_clock(key, network, parameters, initial_counts, times, *, num_paths):
    """Redraws the waiting time at each observation, but counts it from the last event (NFsim as embedded in PyBNF, issue 391)."""
    return _plain_direct_method(key, network, parameters, initial_counts, times, num_paths, fault="keeps the clock")


def right_but_slow(key, network, parameters, initial_counts, times, *, num_paths):
    """The positive control: what the two above do when they make no mistake."""
    return _plain_direct_method(key, network, parameters, initial_counts, times, num_paths, fault=None)


def _plain_direct_method(key, network, parameters, initial_counts, times, num_paths, *, fault):
    """Gillespie's direct method in NumPy, all paths side by side, one event at a time."""
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
    counts = np.tile(np.asarray(network.counts_from(initial_counts), float), (num_paths, 1))
    clock, recorded, rates = np.zeros(num_paths), [], jax.jit(network.propensities)
    for time in times:
        before, waiting = counts.copy(), np.full(num_paths, True)
        while waiting.any():
            propensities = np.asarray(rates(jnp.asarray(counts, jnp.float32), parameters), float)
            cumulative = np.cumsum(propensities, axis=1)
            with np.errstate(divide="ignore"):
                next_time = clock + generator.exponential(size=num_paths) / cumulative[:, -1]
            crosses = next_time > time
            reaction = (generator.uniform(size=num_paths)[:, None] * cumulative[:, -1:] >= cumulative[:, :-1]).sum(1)
            after = counts + network.stoichiometry[reaction]
            crossing = waiting & crosses
            possible = crossing & (cumulative[:, -1] > 0)
            before[crossing] = np.where(possible[:, None], after, counts)[crossing] if fault == "reads after" else counts[crossing]
            fires = waiting & ~crosses
            counts[fires], clock[fires] = after[fires], next_time[fires]
            waiting &= ~crosses
        recorded.append(before)
        if fault != "keeps the clock":
            clock[:] = time
    counts = jnp.asarray(np.stack(recorded, axis=1), jnp.float32)
    none = jnp.zeros(num_paths, bool)
    return Ensemble(jnp.asarray(times), counts, jnp.ones(counts.shape[:2]), none.astype(jnp.int32), none, species=network.species)


def forgetful_score_function(key, network, parameters, initial_counts, times, *, num_paths):
    """A score function whose score leaves out the unfinished waiting time before each observation (stochastix; peers 5.2)."""
    right = score_function(key, network, parameters, initial_counts, times, num_paths=num_paths)
    centre = jax.lax.stop_gradient(parameters)
    paths, (waiting,) = simulate_with((waiting_since_last_event(),), jax.random.clone(key), network, centre, initial_counts, times, num_paths=num_paths)
    states = paths.counts.reshape(-1, len(network.species))
    slopes = rate_slopes(network, states, centre).sum(1).reshape(*paths.weights.shape, -1)
    return replace(right, weights=add_to_weights(right.weights, waiting * slopes, flat_shift(parameters, jnp.float32)))
