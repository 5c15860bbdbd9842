"""Estimators against exact gradients: the exact ones by closed forms, judgements by hand, tables by their cells."""

from functools import partial

import jax
import numpy as np
import pytest

from ssagrad import models
from ssagrad.estimators import alternative_path, polyak_smoothing, score_function, truth

AT_END, AVERAGE = truth.QUANTITIES
DEATH = truth.problems()["immigration–death"]
EXACT = np.array([10 * (4 * np.exp(-3) - 1), 10 * (1 - np.exp(-3))])  # of 10/γ (1 − e^{−3γ}), in the logarithms of death and immigration


def result(estimate, error, exact, *, num_paths=100, events=10.0):
    return truth.Judged(np.array(estimate), np.array(error), np.array(exact), num_paths, events)


def test_exact_gradients_are_those_of_the_closed_form():
    np.testing.assert_allclose(truth.exact_gradients(DEATH)[AT_END], EXACT, rtol=1e-6)


def test_there_are_six_problems_that_name_their_species():
    found = truth.problems()
    assert len(found) == 6
    assert all(problem.species in problem.model.network.species for problem in found.values())


def test_z_scores_and_efficiency_by_hand():
    """The error of single precision counts where the standard error is smaller; half the error at the same cost is four times as efficient."""
    sure, unsure = result([1.5, 2.0], [0.5, 0.0], [1.0, 2.0 + 2e-5]), result([1.0], [0.5], [1.0])
    np.testing.assert_allclose(sure.z, [1.0, -1.0], rtol=1e-4)
    np.testing.assert_allclose(sure.relative_error, [[50.0, -1e-3], [50.0, 0.0]], rtol=1e-4)
    assert result([1.0], [0.25], [1.0]).efficiency(unsure) == pytest.approx(4, rel=1e-6)
    assert result([1.0], [0.5], [1.0], events=20.0).efficiency(unsure) == pytest.approx(0.5)


@pytest.mark.parametrize("estimator", [score_function, partial(polyak_smoothing, sigma=0.1, decode=truth.exponentials)])
def test_both_quantities_come_from_one_simulation(estimator):
    judged = truth.judge(estimator, jax.random.key(1), DEATH, num_paths=500)
    assert list(judged) == [AT_END, AVERAGE]
    assert all(np.abs(found.z).max() < 4 and found.events > 40 for found in judged.values())


def test_the_alternative_path_has_no_average():
    judged = truth.judge(alternative_path, jax.random.key(2), DEATH, num_paths=200)
    assert list(judged) == [AT_END]
    assert np.abs(judged[AT_END].z).max() < 4


def test_biases_of_small_steps():
    """Central differences are exact where the mean is linear, as in immigration, and of the order of the squared step elsewhere; so is smoothing."""
    death, immigration = truth.difference_bias(DEATH, 0.1)
    assert abs(immigration) < 1e-6 and death == pytest.approx(4 * truth.difference_bias(DEATH, 0.05)[0], rel=0.02)
    assert truth.smoothing_bias(DEATH, 0.1) == pytest.approx(4 * truth.smoothing_bias(DEATH, 0.05), rel=0.02)


def test_tables_and_families():
    """Rows are gradients, columns estimators; the limit widens with the comparisons; the least advantage is over the best rival."""
    judged = {("a", "one", AT_END): result([1.5], [0.5], [1.0]), ("a", "two", AT_END): result([1.0], [0.5], [1.0])}
    judged[("a", "one", AVERAGE)] = result([2.0], [0.5], [1.0])
    found = truth.table(judged, {"a": truth.Problem(models.birth_death()._replace(parameters={"k": 1.0}), 1.0, "X")})
    assert found.rows == [("a: k", AT_END, "1", "1.5 (+1.0)", "1 (+0.0)"), ("a: k", AVERAGE, "1", "2 (+2.0)", "–")]
    assert truth.z_scores(judged, ["one"])["one"] == pytest.approx([1.0, 2.0], rel=1e-6)
    assert truth.relative_errors(judged, "one", AVERAGE) == [pytest.approx([100.0]), pytest.approx([50.0])]
    assert truth.decision_limit(1, 10**6, family_error=0.05) == pytest.approx(1.96, abs=0.001)
    assert truth.decision_limit(100, 64) > truth.decision_limit(100, 256) > truth.decision_limit(10, 256)
    assert truth.least_advantage({("a", "one", AT_END): 6.0, ("a", "two", AT_END): 2.0, ("a", "three", AT_END): 3.0}, "one", ["one", "two", "three"]) == 2
