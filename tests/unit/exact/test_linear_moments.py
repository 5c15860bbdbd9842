"""Moment equations of first-order networks, and the law of the first event."""

import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import Network, NetworkError, exact, models

TIMES = np.linspace(0, 3, 7)


def test_moments_of_birth_and_death():
    """The matrix exponential agrees with the closed form, variance from the start on."""
    network = Network.from_text("0 -> X @ immigration; X -> 2 X @ birth; X -> 0 @ death")
    constants = {"immigration": 2.0, "birth": 0.7, "death": 0.4}
    moments = exact.linear_moments(network, constants, {"X": 5}, TIMES)
    law = exact.birth_death(TIMES, **constants, initial=5)
    assert np.allclose(moments.mean[:, 0], law.mean, rtol=1e-12, atol=0)
    assert np.allclose(moments.covariance[:, 0, 0], law.variance, rtol=1e-11, atol=1e-12)


def test_moments_of_several_species_agree_with_the_master_equation():
    """Means and all covariances of a catalytic network of three species."""
    model = models.telegraph()
    moments = exact.linear_moments(*model[:3], TIMES)
    law = exact.MasterEquation.build(model.network, model.initial_counts, bounds={"mRNA": 120}).solve(model.parameters, TIMES)
    assert np.allclose(moments.mean, law.mean(), rtol=0, atol=1e-9)
    for a, first in enumerate(model.network.species):
        for b, second in enumerate(model.network.species):
            product = law.mean(lambda x, first=first, second=second: x[first] * x[second])
            assert np.allclose(moments.covariance[:, a, b], product - law.mean(first) * law.mean(second), rtol=0, atol=1e-8)


def test_bursts_add_the_square_of_their_size():
    """Stationary Fano factor of births in fives and single deaths: (5 + 1)/2."""
    network = Network.from_text("0 -> 5 X @ k; X -> 0 @ d")
    moments = exact.linear_moments(network, {"k": 2.0, "d": 1.0}, {}, [50.0])
    assert np.allclose(moments.mean[0, 0], 10, rtol=1e-12, atol=0)
    assert np.allclose(moments.covariance[0, 0, 0], 30, rtol=1e-12, atol=0)


def test_other_orders_are_refused():
    """Reactions of second order, and functions, have no closed moment equations."""
    with pytest.raises(NetworkError, match=r"reaction '2 P -> P2 @ k_on': expected mass action of order 0 or 1"):
        exact.linear_moments(*models.dimerisation()[:4])
    network = Network.from_text("X -> 0 @ f", propensities={"f": lambda x, p: x["X"]})
    with pytest.raises(NetworkError, match=r"expected mass action of order 0 or 1"):
        exact.linear_moments(network, {}, {"X": 1}, TIMES)


def test_the_first_event():
    """(1 − e^{−a₀t}) a_r/a₀; nothing ever happens in an absorbing state."""
    model = models.sir()
    probabilities = exact.first_event([0.0, 0.001, 10.0], model.network, model.parameters, {"S": 10, "I": 2})
    rates = np.array([0.02 * 20, 5.0 * 2])
    assert np.allclose(probabilities[0], 0, rtol=0, atol=1e-15)
    assert np.allclose(probabilities[1], -np.expm1(-0.001 * rates.sum()) * rates / rates.sum(), rtol=1e-12, atol=0)
    assert np.allclose(probabilities[2].sum(), 1, rtol=1e-12, atol=0)
    assert np.all(exact.first_event([5.0], model.network, model.parameters, {"R": 3}) == 0)


def test_parameters_of_any_precision_give_float64():
    """float32 parameters, integers and Python numbers are used in float64, and JAX's own setting stays as it was."""
    network = Network.from_text("X -> 0 @ d")
    for rate in (1, 1.0, np.float32(1), jnp.float32(1)):
        mean = exact.linear_moments(network, {"d": rate}, {"X": 1}, [1.0]).mean[0, 0]
        assert mean.dtype == np.float64
        assert abs(mean - np.exp(-1)) < 1e-14
    assert jnp.asarray(1.0).dtype == jnp.float32
