"""The alternative path: branches that can be counted by hand, and input that is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import Network, SimulationError
from ssagrad.estimators import alternative_path

WALK = Network.from_text("0 -> X @ up; 0 -> Y @ down")
BIRTH = Network.from_text("0 -> X @ birth")


def walk(theta, *, num_paths=1000, **options):
    return alternative_path(jax.random.key(1), WALK, theta, {}, [1, 4], num_paths=num_paths, clock="events", **options)


def test_branches_of_a_walk_that_forgets_nothing():
    """p = up/(up + down) = 1/4: p falls with down, so each X offers a branch of weight 1/4; the alternative has exactly one X less for ever."""
    theta = {"up": 1.0, "down": 3.0}
    paths, rows = walk(theta), jax.jacfwd(lambda theta: walk(theta).weights)(theta)
    trunk, down, up = np.split(np.asarray(paths.counts), 3)
    weights = np.asarray(rows["down"])[1000:2000]
    assert np.allclose(weights, trunk[..., 0] / 4, rtol=1e-5)
    assert np.array_equal(trunk - down, (weights > 0)[..., None] * np.array([1, -1]))
    assert np.array_equal(up - trunk, (np.asarray(rows["up"])[2000:] > 0)[..., None] * np.array([1, -1]))
    assert np.allclose(sum(jax.tree.leaves(rows)).sum(0), 0, atol=1e-3)


def test_events_end_in_an_absorbing_state():
    """All molecules die, whatever θ: the state has no derivative, and nothing is NaN."""
    network = Network.from_text("X -> 0 @ death; X -> Y @ change")
    theta = {"death": 1.0, "change": 1.0}
    mean = lambda theta: alternative_path(jax.random.key(2), network, theta, {"X": 2}, [9], num_paths=50, clock="events").mean("X")  # noqa: E731
    assert np.array_equal(mean(theta), [0]) and all(np.array_equal(slope, [0]) for slope in jax.tree.leaves(jax.jacfwd(mean)(theta)))


def test_failures_are_never_silent():
    """Too small a bound is an error with the number that is needed, a negative rate an error, too; both are NaN inside jit."""
    network = Network.from_text("0 -> X @ birth", propensities={"birth": lambda counts, p: p["birth"] - counts["X"]})

    def call(birth, times):
        return alternative_path(jax.random.key(3), network, {"birth": birth}, {}, times, num_paths=20, rate_bound=5.0).counts

    with pytest.raises(SimulationError, match="expected a rate_bound of at least 8, .* received 5"):
        call(8.0, [0.5])
    with pytest.raises(SimulationError, match="propensity that is negative"):
        call(2.5, [99.0])
    jitted = jax.jit(call)
    assert np.isnan(jitted(8.0, jnp.ones(1))).any() and np.isnan(jitted(2.5, jnp.full(1, 99.0))).all() and np.isfinite(jitted(4.0, jnp.full(1, 0.01))).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "clock='time' needs a rate_bound > 0 .* received None"),
        ({"rate_bound": 0.0}, "rate_bound > 0 .* received 0"),
        ({"clock": "steps"}, "expected clock among"),
        ({"rate_bound": 5.0, "coupling": "split"}, "expected coupling among"),
    ],
)
def test_bad_input_is_refused(options, message):
    """With what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        alternative_path(jax.random.key(0), BIRTH, {"birth": 1.0}, {}, [1.0], num_paths=4, **options)
