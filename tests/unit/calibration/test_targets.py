"""Targets: rows whose mean and covariance are those of the observed means, whatever is missing."""

import numpy as np
import pytest

from ssagrad.calibration import CalibrationError, model_from_text
from ssagrad.calibration.experiments import as_problem
from ssagrad.calibration.targets import targets_of
from ssagrad.observations import Observations

MODEL = model_from_text("0 -> X @ birth; X -> 0 @ death; X -> X + Y @ make; Y -> 0 @ loss; birth = 9; death = 1; make = 2; loss = 1")


def table(counts, times, replicates, **columns):
    return Observations.from_table({"time": times, "replicate": replicates, "X": counts, **columns})


def test_full_data_are_left_as_they_are():
    """Where every replicate has every count, rows are the data."""
    counts = np.random.default_rng(0).poisson(9, (12, 3))
    data = table(counts.ravel(), np.tile([1, 2, 4], 12), np.repeat(np.arange(12), 3))
    found = targets_of(as_problem(MODEL, data, ["birth"]), second=False)
    np.testing.assert_allclose(found.rows[:, :, 0], counts, rtol=1e-12)
    np.testing.assert_allclose(found.errors[:, 0], counts.std(0, ddof=1) / np.sqrt(12))


def test_gaps_keep_the_mean_and_its_error():
    """With each replicate seen at one of three times, the rows' mean and standard error are those of the five that were seen."""
    random = np.random.default_rng(1)
    counts, times = random.poisson(9, 15), np.repeat([1, 2, 4], 5)
    found = targets_of(as_problem(MODEL, table(counts, times, np.arange(15)), ["birth"]), second=False)
    groups = counts.reshape(3, 5)
    np.testing.assert_allclose(found.means[:, 0], groups.mean(1))
    np.testing.assert_allclose(found.errors[:, 0], groups.std(1, ddof=1) / np.sqrt(5))
    np.testing.assert_allclose(found.rows[:, :, 0].std(0, ddof=1) / np.sqrt(15), found.errors[:, 0])
    between = np.cov(found.rows[:, :, 0].T)
    assert np.abs(between - np.diag(np.diag(between))).max() < 1e-9  # no replicate links two times


def test_conditions_share_no_replicates():
    """Moments of two conditions, with times of their own, are ordered by time and uncorrelated."""
    random = np.random.default_rng(2)
    rows = {"time": [1, 3] * 8 + [2] * 8, "replicate": list(np.repeat(range(8), 2)) + list(range(8)), "condition": ["a"] * 16 + ["b"] * 8}
    data = Observations.from_table(rows | {"X": random.poisson(5, 24), "Y": random.poisson(5, 24)})
    found = targets_of(as_problem(MODEL, data, ["birth"], {"b": {"parameters": {"death": 2.0}, "initial_counts": {"X": 3}}}), second=True)
    assert found.times.tolist() == [1, 2, 3] and found.experiments.tolist() == [0, 1, 0]
    assert found.moments == ("X", "Y", "var X", "cov X, Y", "var Y")
    correlation = np.corrcoef(found.rows[:, 0, 0], found.rows[:, 1, 0])[0, 1]
    assert abs(correlation) < 1e-9


def test_weights_leave_out_what_does_not_vary():
    """A count that is the same in all replicates has no error to be weighed by."""
    data = table([4, 4, 4, 7, 8, 9], [1, 1, 1, 2, 2, 2], [0, 1, 2, 0, 1, 2])
    weight, seen = targets_of(as_problem(MODEL, data, ["birth"]), second=False).weight()
    assert seen.tolist() == [False, True] and weight.shape == (1, 1)
    np.testing.assert_allclose(weight, 3.0)


def test_single_paths_have_no_targets():
    """One replicate has no scatter; the message says what fits it."""
    with pytest.raises(CalibrationError, match="give noise="):
        targets_of(as_problem(MODEL, table([1, 2], [1, 2], ["a", "a"]), ["birth"]))
