"""Forked paths: the bookkeeping of forks, and input that is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import Network
from ssagrad.estimators import forked_path

BIRTH = Network.from_text("0 -> X @ birth")
TIMES = np.array([0.3, 1.0, 1.5])


def forked(birth):
    """6 paths with 15 forks each; 3, 10 and 15 of the 15 parts of the horizon end at the three observations."""
    return forked_path(
        jax.random.key(1), BIRTH, {"birth": birth}, {}, TIMES, num_paths=6, num_forks=15, record=("event_counts", "time_integrals")
    )


def test_a_fork_of_a_birth_process_is_one_more_birth():
    """The pair never meets: f(y) − f(x) = 1 from the fork on, so a sample is the share of the forks before t, times T: t without noise."""

    def terms(birth):
        paths = forked(birth)
        return paths.terms(paths.samples("X"))

    assert np.allclose(jax.jacfwd(terms)(5.0), np.tile(TIMES, (6, 1)), rtol=1e-5)
    assert np.allclose(jax.jacfwd(terms)(0.0), np.tile(TIMES, (6, 1)), rtol=1e-5)  # where the score is infinite


def test_rows_are_whole_paths():
    """Before its fork a row shows the path that it forked from; afterwards events, integrals and counts go on together."""
    paths = forked(5.0)
    assert paths.counts.shape == (6 * 31, 3, 1) and np.array_equal(paths.counts, paths.event_counts)
    trunk, alternative, partner = np.split(np.asarray(paths.counts)[..., 0], [6, 96])
    is_past = np.repeat([3, 10, 15], 6).reshape(3, 6).T[None] > np.arange(15)[:, None, None]  # [15, 6, 3]
    assert np.array_equal((alternative - partner).reshape(15, 6, 3), is_past)
    assert np.array_equal(np.where(is_past, 0, alternative.reshape(15, 6, 3)), np.where(is_past, 0, trunk[None]))
    assert np.all(np.diff(alternative) >= 0) and np.any(partner.reshape(15, 6, 3) != trunk[None])
    growth = np.diff(np.asarray(paths.time_integrals)[..., 0], axis=1)
    assert np.all(growth >= np.diff(TIMES) * np.asarray(paths.counts)[:, :-1, 0] - 1e-3)


def test_a_state_without_derivatives_contributes_nothing():
    """No reaction reads θ where nothing is left: the alternative is the path itself, and no count turns negative."""
    network = Network.from_text("X -> 0 @ death")

    def terms(death):
        paths = forked_path(jax.random.key(4), network, {"death": death}, {"X": 1}, [50.0], num_paths=50)
        assert np.all(paths.counts >= 0)
        return paths.terms(paths.samples("X"))

    assert np.array_equal(jax.jacfwd(terms)(1.0), np.zeros((50, 1)))


def test_double_precision_is_followed():
    """Forks, weights and counts in float64, where JAX has it."""
    with jax.enable_x64(True):
        paths = forked_path(jax.random.key(5), BIRTH, {"birth": 5.0}, {}, TIMES, num_paths=4, precision="double")
        assert paths.counts.dtype == paths.weights.dtype == jnp.float64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_forks": 0}, "expected num_forks ≥ 1, received 0"),
        ({"clock": "events"}, "supports clock='time' only"),
        ({"parameters_per_path": True}, "supports parameters_per_path=False only"),
        ({"start_time": 1.5, "times": [1.5]}, "after start_time=1.5"),
    ],
)
def test_bad_input_is_refused(options, message):
    """With what was expected and what came."""
    options = {"times": TIMES} | options
    with pytest.raises(ValueError, match=message):
        forked_path(jax.random.key(0), BIRTH, {"birth": 1.0}, {}, num_paths=4, **options)
