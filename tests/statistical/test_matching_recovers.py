"""Matching moments finds the rates behind simulated data, and its error bars are as long as the estimates scatter."""

import jax
import numpy as np
import pytest
from support import z_limit

from ssagrad import exact, models, simulate
from ssagrad.estimators import dynkin_controls, score_function
from ssagrad.matching import match_moments

MODEL = models.immigration_death()
TIMES = np.linspace(0.0, 40.0, 9)
NAMES = ("death", "immigration")
LEVEL = 0.95


def ensemble_of(estimator, times=TIMES, **options):
    return lambda rates, key: estimator(key, MODEL.network, rates, MODEL.initial_counts, times, **options)


def observations(seed, number, times=TIMES):
    return np.asarray(simulate(jax.random.key(seed), *MODEL[:3], times, num_paths=number).samples("X"))


def errors(fit):
    """Errors and standard errors of ln θ [M, P]."""
    found = np.stack([np.log(fit.estimates[name] / MODEL.parameters[name]) for name in NAMES], axis=-1)
    return found, np.stack([fit.standard_errors()[name] for name in NAMES], axis=-1)


def analytic_covariance(number):
    """(Jᵀ C⁻¹ J)⁻¹ of ln death and ln immigration: Poisson means m(t) = k/γ (1 − e^{−γt}) and Cov(x_s, x_t) = m(s) e^{−γ(t − s)}."""
    immigration, death, times = MODEL.parameters["immigration"], MODEL.parameters["death"], TIMES[1:]
    means = immigration / death * (1 - np.exp(-death * times))
    slopes = np.stack([immigration * times * np.exp(-death * times) - means, means], axis=1)
    earlier = np.minimum(times[:, None], times[None])
    at_earlier = immigration / death * (1 - np.exp(-death * earlier))
    covariance = at_earlier * np.exp(-death * np.abs(times[:, None] - times[None])) / number
    return np.linalg.inv(slopes.T @ np.linalg.solve(covariance, slopes))


@pytest.mark.parametrize(
    "estimator, options, away",
    [(score_function, {"num_paths": 512}, 4.0), (dynkin_controls, {"num_paths": 128, "degree": 2, "num_strata": 32}, 10.0)],
    ids=["score", "dynkin"],
)
def test_rates_are_recovered_from_far_starts(estimator, options, away):
    """From 4 or 10 times too small or too large, within 4 standard errors that are below 10 %, and all starts agree.

    Ten times too fast, a molecule lives for 1 of the 5 between observations, and means hardly say how fast: strata of 2.5 are too long to follow
    that, and 1 start of 20 is lost; of 1.25, none of 192.
    """
    starts = {"immigration": np.array([1 / away, away, 3.0]), "death": np.array([0.1 / away, 0.1 * away, 0.02])}
    horizons = (0.25,) * 4 + (0.5,) * 3 + (1.0,) * 7
    fit = match_moments(jax.random.key(1), ensemble_of(estimator, **options), starts, {"X": observations(2, 200)}, horizons=horizons)
    found, standard_errors = errors(fit)
    assert (fit.failed_at == -1).all() and fit.events.min() > 0
    assert np.abs(found / standard_errors).max() < z_limit(found.size)
    assert standard_errors.max() < 0.1
    assert (np.ptp(found, axis=0) < 4 * standard_errors.max(0)).all()


def test_the_covariance_is_the_analytic_one():
    """4000 observed paths, and 1024 simulated ones in each of 4 steps: (JᵀC⁻¹J)⁻¹ of one path times 1/4000 + 1/4096.

    Over 64 starts, the scatter of blocks (4 · 7 degrees of freedom each) leaves 3 % of its half open, that of the data 2 % of the other half.
    """
    starts = {"immigration": np.full(64, 1.2), "death": np.full(64, 0.09)}
    fit = match_moments(jax.random.key(3), ensemble_of(score_function, num_paths=1024), starts, {"X": observations(4, 4000)}, horizons=[1.0] * 7)
    analytic = analytic_covariance(1) * (1 / 4000 + 1 / 4096)
    scale = np.sqrt(np.outer(np.diag(analytic), np.diag(analytic)))
    half_open = np.hypot(np.sqrt(2 / (64 * 28)), np.sqrt(2 / 4000)) / 2
    assert np.abs((fit.covariances.mean(0) - analytic) / scale).max() < 4 * half_open
    law = exact.birth_death(TIMES[1:], immigration=1.0, death=0.1)
    assert np.allclose(law.mean, 10 * (1 - np.exp(-0.1 * TIMES[1:])))  # what the analytic covariance is made of


@pytest.mark.parametrize(
    "num_paths, num_observed, num_times", [(512, 200, 9), (128, 60, 21)], ids=["many paths", "fewer paths, more means"]
)
def test_intervals_cover_and_estimates_are_centred(num_paths, num_observed, num_times):
    """Over 200 data sets: 95 % intervals hold the truth as often as a binomial allows, and bias and scatter are those that the error bars say.

    Few noisy paths and many means are where weights and derivatives fit the noise that they are multiplied with; error bars may be 30 % too
    long there, but not too short.
    """
    number, times = 200, np.linspace(0.0, 40.0, num_times)
    data = observations(5, number * num_observed, times).reshape(number, num_observed, num_times)
    starts = {name: np.full(number, 1.5 * rate) for name, rate in MODEL.parameters.items()}
    fit = match_moments(jax.random.key(6), ensemble_of(score_function, times, num_paths=num_paths), starts, {"X": data})
    found, standard_errors = errors(fit)
    covered = (np.abs(found / standard_errors) < 1.96).sum(0)
    spread = np.sqrt(number * LEVEL * (1 - LEVEL))
    assert (covered > LEVEL * number - 4 * spread).all()
    ratio = found.std(0, ddof=1) / np.sqrt((standard_errors**2).mean(0))
    allowed = 4 / np.sqrt(2 * number)
    assert (ratio < 1 + allowed).all() and (ratio > 0.77 - allowed).all()
    assert (np.abs(found.mean(0)) < 0.3 * found.std(0)).all()
