"""Learning: gradients of the right sign, checkpoints that go on to the same numbers, mistakes."""

import jax
import numpy as np
import pytest

from ssagrad.boltzmann.machine import Machine
from ssagrad.boltzmann.training import Schedule, arguments_of, learn, model_moments

SMALL = Schedule(learning_rate=4e-4, num_steps=60, steps_per_shift=20, window=4, batch=3, chains=2, wake_sweeps=2, sleep_sweeps=3)


def growing(num_times=8, side=10):
    """Independent sites, whose density of prey doubles over seven units of time while hunters stay at 10 %."""
    rng = np.random.default_rng(0)
    sites = np.zeros((20, num_times, side, side), np.int8)
    for time in range(num_times):
        share = 0.1 * 2 ** (time / 7)
        sites[:, time] = rng.choice(3, (20, side, side), p=[0.9 - share, share, 0.1])
    return sites


def test_learning_follows_a_growing_density():
    """Biases alone: prey grow in the model too, hunters less, and the mismatch gets smaller."""
    learned = learn(jax.random.key(0), Machine(0), growing(), schedule=SMALL)
    moments, error = model_moments(jax.random.key(1), learned.machine, learned.theta[[0, 6]], side=10, num_chains=200, num_sweeps=1)
    assert moments.shape == error.shape == (2, 8) and learned.theta.shape == (7, 2) and learned.mismatch.shape == (60, 2)
    assert moments[1, 0] > 1.3 * moments[0, 0] and abs(moments[1, 1] / moments[0, 1] - 1) < 0.3


@pytest.mark.parametrize("machine, sleep", [(Machine(2), "noise"), (Machine(1, cross=True), "persistent")])
def test_a_checkpoint_goes_on_to_the_same_numbers(tmp_path, machine, sleep):
    plan = SMALL._replace(num_steps=100, steps_per_shift=40, sleep=sleep)
    whole = learn(jax.random.key(2), machine, growing(), schedule=plan)
    path = tmp_path / "closure.npz"
    first = learn(jax.random.key(2), machine, growing(), schedule=plan, checkpoint=path)
    again = learn(jax.random.key(2), machine, growing(), schedule=plan, checkpoint=path)
    assert np.array_equal(whole.theta, first.theta) and np.allclose(whole.theta, again.theta, atol=1e-6)
    with pytest.raises(ValueError, match="another computation"):
        learn(jax.random.key(3), machine, growing(), schedule=plan, checkpoint=path)


def test_the_published_arguments_are_six():
    assert [Machine().names[i] for i in arguments_of(Machine())] == ["a0_P", "a0_H", "W01_PP", "W01_HH", "W12_PP", "W12_HH"]


@pytest.mark.parametrize(
    "change, message", [({"sleep": "deep"}, "'deep'"), ({"num_steps": 200}, "T ≥ 14"), ({"batch": 30}, "batch=30 runs")]
)
def test_a_mistake_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        learn(jax.random.key(4), Machine(0), growing(), schedule=SMALL._replace(**change))


def test_a_learning_rate_that_is_too_large_is_noticed():
    with pytest.raises(FloatingPointError, match="learning_rate"):
        learn(jax.random.key(5), Machine(0), growing(), schedule=SMALL._replace(learning_rate=1e3))
