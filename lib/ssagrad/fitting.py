"""Gradient descent on losses of simulated ensembles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ssagrad.estimators import polyak_smoothing
from ssagrad.network import Network


def relative_distance(counts: jax.Array, target: jax.Array) -> jax.Array:
    """Distance of each path to a target trajectory, averaged over times and species: |x − y| / max_t y.

    Args:
        counts: [n, T, S]. target: [T, S], every species positive at some time.

    Returns:
        One distance per path [n], without a unit. Its expectation is positive even for the true model: the paths scatter.
    """
    return (jnp.abs(counts - target[None]) / target.max(0)[None, None]).mean((1, 2))


def smoothed_loss(
    network: Network,
    initial_counts: Any,
    times: Any,
    *,
    distance: Callable[[jax.Array], jax.Array],
    num_pairs: int,
    sigma: float,
    decode: Callable[[Any], Any] = lambda parameters: parameters,
) -> Callable[[Any, jax.Array], jax.Array]:
    """The expected distance of single paths as a function of (parameters, key), with Polyak-smoothed gradients: what `descend` takes.

    Args:
        distance: from counts [n, T, S] to one value per path [n], such as `relative_distance`.
        num_pairs, sigma, decode: of `estimators.polyak_smoothing`.
    """

    def loss(parameters: Any, key: jax.Array) -> jax.Array:
        paths = polyak_smoothing(key, network, parameters, initial_counts, times, num_paths=num_pairs, sigma=sigma, decode=decode)
        return paths.expectation(distance(paths.counts))

    return loss


class Descents(NamedTuple):
    """History of M descents of K steps: parameters before each step and after the last, leaves [M, K + 1, ...]; losses [M, K]."""

    parameters: Any
    losses: jax.Array


def descend(
    key: jax.Array,
    loss: Callable[[Any, jax.Array], jax.Array],
    starts: Any,
    *,
    optimizer: optax.GradientTransformation,
    num_steps: int,
) -> Descents:
    """Minimises loss(parameters, key) with an optax optimiser from several starts at once, in one compiled program.

    Args:
        loss: differentiable by `jax.grad`, for instance because it is made of an ensemble from an estimator. Every step has its own key;
            all starts see the same keys.
        starts: pytree of floats, every leaf with a leading axis of M starts.
        num_steps: steps K.

    Raises:
        ValueError: leaves without a common leading axis. FloatingPointError: the loss or its gradient became NaN or infinite, with start, step and parameters.
    """
    keys = jax.random.split(key, num_steps)

    def step(carry, step_key):
        parameters, state = carry
        value, gradient = jax.value_and_grad(loss)(parameters, step_key)
        updates, state = optimizer.update(gradient, state, parameters)
        return (optax.apply_updates(parameters, updates), state), (value, parameters)

    def from_one_start(parameters):
        (last, _), (losses, visited) = jax.lax.scan(step, (parameters, optimizer.init(parameters)), keys)
        return Descents(jax.tree.map(lambda rows, row: jnp.concatenate([rows, row[None]]), visited, last), losses)

    starts = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(float)), starts)
    leading = {leaf.shape[:1] for leaf in jax.tree.leaves(starts)}
    if len(leading) != 1 or () in leading:
        shapes = jax.tree.map(jnp.shape, starts)
        raise ValueError(f"expected parameters that are arrays with one and the same leading axis of starts, received shapes {shapes}")
    descents = jax.jit(jax.vmap(from_one_start))(starts)
    _raise_not_finite(descents)
    return descents


def _raise_not_finite(descents: Descents) -> None:
    """Raises FloatingPointError for the first start and step where a loss, or the parameters after it, are not finite."""
    leaves = jax.tree.leaves(descents.parameters)
    after = [np.isfinite(leaf[:, 1:]).reshape(*descents.losses.shape, -1).all(-1) for leaf in leaves]
    finite = np.isfinite(descents.losses) & np.all(after, axis=0)
    if not finite.all():
        start, step = np.argwhere(~finite)[0]
        where = jax.tree.map(lambda leaf: leaf[start, step].tolist(), descents.parameters)
        raise FloatingPointError(
            f"start {start}, step {step}: the loss {float(descents.losses[start, step])} or its gradient is not finite at parameters {where}; "
            "a path that fails (out of events, impossible rates) makes it NaN"
        )
