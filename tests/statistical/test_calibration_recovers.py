"""Fits of made data: error bars are right, exact and simulated gradients agree, wrong models are told."""

import numpy as np
import pytest
from scipy import stats

from ssagrad.calibration import fit, model_from_text
from ssagrad.observations import Observations

MODEL = model_from_text("0 -> X @ birth; X -> 0 @ death; birth = 6; death = 0.8")
TRUTH = {"birth": 10.0, "death": 0.5}
TIMES = (1.0, 3.0, 8.0)
NUM_SETS, NUMBER = 16, 50


def cells(random, *, number=NUMBER, burst=1):
    """Counts of cells that are measured once: Poisson, or with `burst` molecules at a time."""
    rows = {"time": [], "replicate": [], "X": []}
    for t in TIMES:
        mean = TRUTH["birth"] / TRUTH["death"] * (1 - np.exp(-TRUTH["death"] * t))
        rows["X"] += list(burst * random.poisson(mean / burst, number))
        rows["time"] += [t] * number
        rows["replicate"] += [f"{t}-{i}" for i in range(number)]
    return Observations.from_table(rows)


@pytest.fixture(scope="module")
def found():
    """Fits to new data, each."""
    return [fit(MODEL, cells(np.random.default_rng(100 + i)), free=("birth", "death"), num_starts=1) for i in range(NUM_SETS)]


@pytest.mark.parametrize("name", TRUTH)
def test_errors_are_as_large_as_the_error_bars(found, name):
    """Σ z² over independent data sets is χ²: neither tail below 10⁻⁴; and their mean is 0 within four standard errors."""
    z = np.array([np.log(one.estimates[name] / TRUTH[name]) / one.standard_errors[name] for one in found])
    assert 1e-4 < stats.chi2.cdf((z**2).sum(), NUM_SETS) < 1 - 1e-4
    assert abs(z.mean()) < 4 / np.sqrt(NUM_SETS)


def test_a_right_model_is_not_accused(found):
    """The mean square residual stays near 1, and no fit warns of its model."""
    assert np.mean([one.misfit for one in found]) < 1.5
    assert not any("does not describe" in text for one in found for text in one.warnings)


def test_a_wrong_model_is_told():
    """Negative control: molecules that come four at a time have the right means and four times the variance."""
    wrong = fit(MODEL, cells(np.random.default_rng(7), number=200, burst=4), free=("birth", "death"), num_starts=1)
    assert any("does not describe the data" in text for text in wrong.warnings)


@pytest.mark.parametrize("estimator", ["dynkin_controls", "score_function"])
def test_simulated_gradients_come_to_the_same_estimates(estimator):
    """Data, weights and model are the same, so that only the noise of simulation is between the estimates."""
    data = cells(np.random.default_rng(8))
    exact = fit(MODEL, data, free=("birth", "death"), estimator="exact", num_starts=1)
    simulated = fit(MODEL, data, free=("birth", "death"), estimator=estimator, num_starts=1)
    share = 0.05 if estimator == "dynkin_controls" else 1.0  # of the error bar: the score function adds noise of its own
    for name in TRUTH:
        difference = abs(np.log(simulated.estimates[name] / exact.estimates[name]))
        assert difference < share * exact.standard_errors[name], name
    assert not simulated.undetermined
