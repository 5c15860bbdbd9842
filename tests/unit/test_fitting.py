"""Descents: they arrive where calculus says, from all starts at once, and say so when they cannot."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssagrad.fitting import descend, relative_distance


def noisy_bowl(parameters, key):
    return (parameters["x"] - 3.0) ** 2 + parameters["y"].sum() ** 2 + 0.0 * jax.random.normal(key)


def test_descends_from_several_starts_to_the_minimum():
    starts = {"x": np.array([0.0, 10.0]), "y": np.array([[1.0, 2.0], [3.0, -1.0]])}
    descents = descend(jax.random.key(0), noisy_bowl, starts, optimizer=optax.sgd(0.1), num_steps=80)
    assert descents.losses.shape == (2, 80) and descents.parameters["y"].shape == (2, 81, 2)
    assert np.array_equal(descents.parameters["x"][:, 0], [0.0, 10.0])
    assert np.allclose(descents.parameters["x"][:, -1], 3.0, atol=1e-4)
    assert np.allclose(descents.losses[:, 0], [9 + 9, 49 + 4])


def test_one_step_is_the_optimisers_step():
    """Plain gradient descent with rate 0.1 from x = 0: x − 0.1 · 2 (x − 3) = 0.6."""
    descents = descend(jax.random.key(0), noisy_bowl, {"x": np.zeros(1), "y": np.zeros((1, 2))}, optimizer=optax.sgd(0.1), num_steps=1)
    assert np.allclose(descents.parameters["x"][0], [0.0, 0.6])


def test_every_step_has_its_own_key_and_all_starts_see_the_same():
    descents = descend(
        jax.random.key(0), lambda x, key: 0 * x + jax.random.normal(key), np.zeros(2, np.float32), optimizer=optax.sgd(0.1), num_steps=5
    )
    assert len(np.unique(descents.losses[0])) == 5 and np.array_equal(descents.losses[0], descents.losses[1])


def test_a_loss_that_is_not_finite_is_named():
    with pytest.raises(FloatingPointError, match=r"start 1, step 0: the loss nan .* parameters -1\.0"):
        descend(jax.random.key(0), lambda x, _: jnp.log(x), np.array([1.0, -1.0], np.float32), optimizer=optax.sgd(0.1), num_steps=2)


def test_starts_without_a_common_axis_are_refused():
    for starts in ({"x": 1.0, "y": np.zeros((1, 2))}, {"x": np.zeros(3), "y": np.zeros((2, 2))}):
        with pytest.raises(ValueError, match="same leading axis of starts, received shapes"):
            descend(jax.random.key(0), noisy_bowl, starts, optimizer=optax.sgd(0.1), num_steps=1)


def test_relative_distance_by_hand():
    """Two times, two species, maxima 4 and 2: (1/4 + 0 + 2/4 + 1/2) / 4 = 0.3125."""
    target = jnp.array([[4.0, 1.0], [2.0, 2.0]])
    counts = jnp.array([[[3.0, 1.0], [4.0, 1.0]]])
    assert np.allclose(relative_distance(counts, target), [0.3125])
