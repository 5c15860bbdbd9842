"""The modified Euler method (Heun) on the grid of the data, for many lanes at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Prediction(NamedTuple):
    """Mean and variance of the observations: mean [T, signals, M], variance [T or 1, signals, M]."""

    mean: jax.Array
    variance: jax.Array


def modified_euler(derivative: Callable[[Any, Any], Any], start: Any, drive: Any, times: jax.Array) -> Any:
    """k₁ = f(t, s), k₂ = f(t', s + h k₁), s' = s + h (k₁ + k₂)/2 between neighbouring times.

    **Bias** O(h²) for equations that are smooth on the scale of h.

    Args:
        derivative: (state, drive at a time) -> derivative of the state; the state is a pytree of arrays [..., M].
        drive: pytree of arrays [T, ...], what the equation sees of time.
        times: [T], increasing.

    Returns:
        The states at all times, leaves [T, ..., M].
    """

    @jax.checkpoint  # derivatives keep the states only: less memory traffic, which is what costs time here
    def step(state, inputs):
        here, there, h = inputs
        first = derivative(state, here)
        guess = jax.tree.map(lambda s, k: s + h * k, state, first)
        second = derivative(guess, there)
        state = jax.tree.map(lambda s, a, b: s + (0.5 * h) * (a + b), state, first, second)
        return state, state

    before, after = (jax.tree.map(lambda leaf: leaf[part], drive) for part in (slice(None, -1), slice(1, None)))
    _, path = jax.lax.scan(step, start, (before, after, jnp.diff(times)))
    return jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start, path)
