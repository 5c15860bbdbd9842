"""Exponents of the straight-through tangent: critical temperatures from an independent program, and the pilot's warning."""

import jax
import numpy as np
import pytest

from ssagrad import models
from ssagrad.lyapunov import association_exponents, critical_temperature, tangent_growth

ASSOCIATION = models.association()


@pytest.mark.parametrize(
    ("num_a", "num_b", "affinity", "typical", "second_moment"),
    [
        (10, 10, 0.1, 0.050, 0.112),
        (10, 10, 1.0, 0.072, 0.198),
        (10, 10, 10.0, 0.148, 0.337),
        (10, 10, 100.0, 0.156, 0.333),
        (20, 20, 0.1, 0.025, 0.053),
        (20, 20, 1.0, 0.045, 0.134),
        (20, 20, 10.0, 0.114, 0.292),
        (20, 20, 100.0, 0.155, 0.332),
        (20, 10, 1.0, 0.079, 0.183),
        (20, 10, 10.0, 0.092, 0.194),
    ],
)
def test_critical_temperatures(num_a, num_b, affinity, typical, second_moment):
    """Both exponents vanish where the reference has them vanish, to its three digits."""
    found = [critical_temperature(name, affinity, num_a, num_b) for name in ("typical", "second_moment")]
    assert np.all(np.abs(np.array(found) - [typical, second_moment]) < 1e-3)


def test_many_free_molecules_have_no_critical_temperature():
    """100 and 100 molecules at affinity 0.01: both exponents are negative from 0.02 on, and no zero is found."""
    assert max(association_exponents(temperature, 0.01, 100, 100).second_moment for temperature in (0.02, 0.05, 0.1)) < 0
    assert np.isnan(critical_temperature("typical", 0.01, 100, 100))


@pytest.mark.parametrize("temperature", [0.05, 0.2, 1.0])
def test_the_second_moment_grows_at_least_as_the_typical_tangent(temperature):
    """Λ₂ ≥ 2 λ (Jensen)."""
    exponents = association_exponents(temperature, 1.0, 10, 10)
    assert exponents.second_moment >= 2 * exponents.typical


def test_without_soft_choices_tangents_neither_grow_nor_decay():
    """One molecule of each: no interior state, J = 1 always, both exponents are 0."""
    assert np.allclose(association_exponents(0.5, 1.0, 1, 1), 0.0, atol=1e-12)


@pytest.mark.parametrize(("temperature", "explodes"), [(0.1, True), (0.5, False), (None, False)])
def test_pilot_paths_warn_of_an_explosion(temperature, explodes):
    """Affinity 1: below its critical temperature 0.198 the pilot's mean square grows, and above it does not."""
    arguments = (jax.random.key(1), ASSOCIATION.network, ASSOCIATION.parameters, ASSOCIATION.initial_counts)
    growth = tangent_growth(*arguments, temperature=temperature, num_events=80)
    assert growth.second_moment.shape == (3, 2)
    assert growth.explodes is explodes


def test_impossible_settings_are_refused():
    """With what was expected."""
    with pytest.raises(ValueError, match="temperature, affinity > 0"):
        association_exponents(0.0, 1.0, 10, 10)
    with pytest.raises(ValueError, match="exponent among"):
        critical_temperature("lambda", 1.0, 10, 10)
