"""Classical closures: equal where there is nothing to close, and named mistakes."""

import jax
import numpy as np
import pytest

from ssagrad.boltzmann.well_mixed import CLOSURES, breaking_time, closed_moments

TIMES = np.linspace(0, 10, 21)


@pytest.mark.parametrize("closure", CLOSURES)
def test_without_predation_means_are_exponential(closure):
    found = closed_moments(closure, {"birth": 0.1, "predation": 0.0, "death": 0.2}, (30, 20), TIMES)
    assert np.allclose(found, np.stack([30 * np.exp(0.1 * TIMES), 20 * np.exp(-0.2 * TIMES)], axis=1), rtol=1e-4)


def test_the_mean_field_conserves_its_invariant():
    """d (predation (P + H) − birth ln H − death ln P) = 0."""
    rates = {"birth": 0.5, "predation": 0.01, "death": 0.4}
    prey, hunters = np.asarray(closed_moments("mean field", rates, (60, 30), TIMES), float).T
    invariant = 0.01 * (prey + hunters) - 0.5 * np.log(hunters) - 0.4 * np.log(prey)
    assert np.ptp(invariant) < 1e-4


def test_second_moments_agree_with_the_mean_field_for_large_numbers():
    rates = {"birth": 0.5, "predation": 1e-5, "death": 0.4}
    field, *others = (closed_moments(closure, rates, (60_000, 30_000), TIMES) for closure in CLOSURES)
    assert all(np.allclose(other, field, rtol=2e-3) for other in others)


def test_closures_can_be_differentiated():
    rates = {"birth": 0.1, "predation": 1e-3, "death": 0.2}
    slope = jax.grad(lambda birth: closed_moments("normal", rates | {"birth": birth}, (50, 50), TIMES)[-1, 0])(0.1)
    ends = [float(closed_moments("normal", rates | {"birth": birth}, (50, 50), TIMES)[-1, 0]) for birth in (0.101, 0.099)]
    assert np.isclose(slope, (ends[0] - ends[1]) / 0.002, rtol=1e-2)


def test_a_curve_breaks_where_it_leaves_the_exact_one():
    exact = np.full(5, 10.0)
    assert breaking_time(np.arange(5), np.array([10, 10.4, 10, 11, 10]), exact) == 3.0
    assert breaking_time(np.arange(5), exact, exact) == float("inf")
    assert breaking_time(np.arange(5), np.where(np.arange(5) > 1, np.nan, 10), exact) == 2.0


def test_a_mistake_is_named():
    with pytest.raises(ValueError, match="'poisson'"):
        closed_moments("poisson", {}, (1, 1), TIMES)
    with pytest.raises(ValueError, match="evenly spaced"):
        closed_moments("normal", {}, (1, 1), [0.0, 1.0, 3.0])
