"""Targets: rows whose mean and covariance are those of the observed means, whatever is missing."""

import numpy as np
import pytest

from ssagrad.calibration import CalibrationError, fit, model_from_text
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


def test_counts_without_scatter_weigh_as_if_one_of_them_were_off():
    """Of n equal counts the mean has the error of n counts with one off by a molecule, or by a Poisson standard deviation; and that is said."""
    data = table([0, 0, 0, 16, 16, 16, 7, 8, 9], np.repeat([1, 2, 3], 3), [0, 1, 2] * 3)
    found = targets_of(as_problem(MODEL, data, ["birth"]), second=False)
    np.testing.assert_allclose(found.errors[:, 0], [1 / 3, 4 / 3, 1 / np.sqrt(3)])
    np.testing.assert_allclose(found.errors[0, 0], np.std([0, 0, 1], ddof=1) / np.sqrt(3))
    np.testing.assert_allclose(found.means[:, 0], [0, 16, 8], atol=1e-12)
    weight, seen = found.weight()
    assert seen.all() and np.linalg.eigvalsh(weight).min() > 0
    assert any("The same in all replicates of the data: X at 1, 2" in note for note in found.notes)


def test_a_fit_of_zeros_bounds_the_rate():
    """Thirty cells in which nothing was made in a unit of time: the rate comes below the 1/30 at which the likelihood has fallen by e."""
    model = model_from_text("0 -> X @ birth; birth = 1")
    found = fit(model, table([0] * 30, [1.0] * 30, range(30)), free="birth", num_starts=1)
    assert found.estimates["birth"] < 1 / 30


def test_times_that_differ_by_rounding_are_compared():
    """Two replicates at 0.3 and one at 0.1 + 0.2 are three at one time."""
    found = targets_of(as_problem(MODEL, table([3, 5, 7], [0.3, 0.3, 0.1 + 0.2], "abc"), ["birth"]), second=False)
    assert found.times.tolist() == [0.3] and found.means[0, 0] == 5 and found.replicates == 3 and not found.notes


def test_counts_alone_at_their_times_are_told():
    """What is not used is counted and named, with what would use it; a condition of nothing else is refused, and one of time 0 alone."""
    rows = {"time": [1, 1, 2, 3, 4, 5], "replicate": list("abcdef"), "X": [4, 6, 9, 8, 7, 9]}
    (note,) = targets_of(as_problem(MODEL, table(rows["X"], rows["time"], rows["replicate"]), ["birth"])).notes
    assert "Not used: 4 of 6 counts of the data, alone at their times (X at 2, 3, 4, ...)" in note and "noise=" in note
    split = Observations.from_table(rows | {"condition": ["low"] * 4 + ["high"] * 2})
    with pytest.raises(CalibrationError, match="condition 'high': expected at least 2 replicates .* received 2 counts, each alone .* noise="):
        targets_of(as_problem(MODEL, split, ["birth"]))
    early = Observations.from_table({"time": [1, 1, 0, 0], "replicate": list("abcd"), "X": [4, 6, 0, 0], "condition": ["low", "low", "high", "high"]})
    with pytest.raises(CalibrationError, match="condition 'high': expected counts after time 0"):
        as_problem(MODEL, early, ["birth"])


def test_single_paths_have_no_targets():
    """One replicate has no scatter; the message says what fits it."""
    with pytest.raises(CalibrationError, match="give noise="):
        targets_of(as_problem(MODEL, table([1, 2], [1, 2], ["a", "a"]), ["birth"]))
