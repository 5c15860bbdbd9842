"""Intervals: what loose directions add to them, what noise cannot tell, and how often they cover the truth of few replicates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ssagrad.calibration import CalibrationError, fit, model_from_text
from ssagrad.calibration.experiments import Joint, as_problem
from ssagrad.calibration.identifiability import describe_information
from ssagrad.calibration.record import intervals_of, largest_misfit
from ssagrad.calibration.targets import targets_of
from ssagrad.matching import match_moments
from ssagrad.observations import Observations

NONE = np.zeros((2, 2, 2))  # samples of the information without scatter


def information(*values, angle):
    """A matrix with these eigenvalues, the first along (cos, sin)."""
    vectors = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return vectors @ np.diag(values) @ vectors.T, vectors


def test_small_shares_in_loose_directions_widen_intervals():
    """The share 0.08 in a direction of standard error 5 adds 0.08² · 5² to a variance; without information, a fit's reach is the limit."""
    for value, error in ((1 / 25, 5.0), (0.0, np.log(1e4)), (-1.0, np.log(1e4))):
        matrix, vectors = information(value, 400.0, angle=np.arcsin(0.08))
        (loose, _), covariance = describe_information(("open", "known"), matrix, NONE)
        assert not loose.is_determined and covariance[0, 0] == np.inf
        np.testing.assert_allclose(covariance[1, 1], (0.08 * error) ** 2 + vectors[1, 1] ** 2 / 400)


def test_parameters_without_a_share_keep_their_intervals():
    """A loose direction along another parameter leaves the variance at the inverse of the information."""
    _, covariance = describe_information(("open", "known"), np.diag([0.0, 400.0]), NONE)
    np.testing.assert_allclose(covariance[1, 1], 1 / 400)


@pytest.mark.parametrize(("value", "scatter", "words"), [(50.0, 3.0, "known to"), (50.0, 100.0, "cannot be told"), (0.01, 0.1, "not determined")])
def test_noise_of_the_information_is_no_lack_of_it(value, scatter, words):
    """Well above the limit with little noise: determined; with much: it cannot be told, more paths would; well below it: not determined."""
    samples = scatter * np.array([-1.0, 1.0, -1.0, 1.0])[:, None, None]
    (direction,), covariance = describe_information(("k",), np.array([[value]]), samples)
    assert words in direction.text and direction.is_determined == (words == "known to") == bool(np.isfinite(covariance[0, 0]))
    assert direction.is_noisy == (words == "cannot be told") == ("more num_paths" in direction.text)


def covered(observed, freedom):
    """Share of data sets [M, N, 1] whose interval of the mean 20 holds it."""

    def ensemble(values, key):
        return Joint(jnp.ones(1), jnp.broadcast_to(values["m"], (2, 1, 1)), jnp.zeros(1))

    found = match_moments(jax.random.key(0), ensemble, {"m": np.full(len(observed), 15.0)}, {"X": observed}, horizons=(1.0,) * 6)
    pairs = zip(found.estimates["m"], found.covariances, strict=True)
    ranges = [intervals_of(("m",), np.log([mean]), covariance, freedom=freedom)[2]["m"] for mean, covariance in pairs]
    return np.mean([low < 20 < high for low, high in ranges])


def test_intervals_of_three_replicates_cover_the_truth():
    """Student's t covers 95 % within four standard errors of a share of 400 data sets; the normal distribution does not (a negative control)."""
    random, rows = np.random.default_rng(0), []
    model = model_from_text("0 -> X @ birth; X -> 0 @ 1; birth = 20; X(0) = 20")
    for _ in range(400):
        data = Observations.from_table({"time": [1.0] * 3, "replicate": range(3), "X": random.poisson(20, 3)})
        targets = targets_of(as_problem(model, data, ["birth"]))
        rows.append(targets.rows[:, :, 0])
    allowed = 4 * np.sqrt(0.95 * 0.05 / 400)
    assert abs(covered(np.array(rows), targets.replicates - 1) - 0.95) < allowed
    assert covered(np.array(rows), np.inf) < 0.95 - allowed


def test_few_replicates_accuse_no_model():
    """The misfit that speaks against a model is that of many replicates, and much larger for three."""
    assert largest_misfit(8, 1000.0) < 4.1 and largest_misfit(8, 2.0) > 100


def test_a_profile_follows_a_curved_model():
    """Pure death from 100: the mean 100 exp(−k) turns the interval of a mean into that of k exactly, however it bends; and if the data may
    mean no death at all, the lower end is 0, while the other intervals are symmetric in ln k."""
    model = model_from_text("X -> 0 @ k; k = 0.05; X(0) = 100")
    for counts in ([97, 94, 99, 95, 96, 93, 98, 95], [100, 100, 99, 100, 100, 96, 100, 100]):
        data = Observations.from_table({"time": [1.0] * 8, "replicate": range(8), "X": counts})
        found = fit(model, data, free="k", num_starts=1, intervals="profile")
        mean, half = np.mean(counts), stats.t.ppf(0.975, 7) * np.std(counts, ddof=1) / np.sqrt(8)
        low, high = (-np.log(min(edge, 100) / 100) for edge in (mean + half, mean - half))
        np.testing.assert_allclose(found.intervals["k"], (low, high), rtol=0.02)
    assert low == 0 and "0 to 0.0" in repr(found.table())


def test_a_profile_fits_the_others_anew():
    """Where moments are nearly linear in the logarithms, profiles are the intervals of the covariance, also of correlated parameters."""
    random, mean = np.random.default_rng(3), [20 * (1 - np.exp(-0.5 * t)) for t in (1.0, 6.0)]
    rows = {"time": np.repeat([1.0, 6.0], 900), "replicate": range(1800), "X": random.poisson(np.repeat(mean, 900))}
    model = model_from_text("0 -> X @ birth; X -> 0 @ death; birth = 9; death = 0.45")
    found = fit(model, Observations.from_table(rows), free=("birth", "death"), num_starts=1, second_moments=False, intervals="profile")
    assert abs(found.covariance[0, 1]) > 0.8 * np.sqrt(np.prod(np.diag(found.covariance)))
    for name, error in found.standard_errors.items():
        ends = np.log(found.estimates[name]) + np.array([-1.96, 1.96]) * error
        np.testing.assert_allclose(np.log(found.intervals[name]), ends, atol=0.1 * error)


def test_kinds_of_intervals_are_checked():
    """A name that is none, and profiles of single paths."""
    model, data = model_from_text("X -> 0 @ k; k = 1; X(0) = 9"), Observations.from_table({"time": [1, 1], "replicate": [0, 1], "X": [3, 4]})
    for options in ({"intervals": "bayes"}, {"intervals": "profile", "noise": 1.0}):
        with pytest.raises(CalibrationError, match="expected intervals 'sandwich'"):
            fit(model, data, free="k", **options)
