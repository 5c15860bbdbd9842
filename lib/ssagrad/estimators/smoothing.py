"""Gaussian smoothing over the parameters: gradients from paths at randomly perturbed parameters.

References: Polyak 1987, "Introduction to Optimization"; Kreikemeyer and Andelfinger 2023, "Smoothing methods for automatic
differentiation across conditional branches", doi:10.1109/ACCESS.2023.3342136, equations 12 and 13.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ssagrad.ensemble import Ensemble
from ssagrad.network import Network
from ssagrad.simulate import simulate


def polyak_smoothing(
    key: jax.Array,
    network: Network,
    parameters: Any,
    initial_counts: Any,
    times: Any,
    *,
    num_paths: int,
    sigma: float,
    decode: Callable[[Any], Any] = lambda parameters: parameters,
    **options: Any,
) -> Ensemble:
    """Polyak's gradient-free oracle (PGO): forward differences along random directions, with common random numbers.

        ∂E f ≈ 1/n Σ_i u_i (f(θ + σ u_i) − f(θ)) / σ,   u_i ~ N(0, 1), both paths of pair i from the same random stream

    **Requires** nothing of the network or of the observable; σ must fit the scale of every parameter (hence the log scale, see `decode`).
    **Bias / variance**: the gradient of the objective smoothed by N(0, σ²), so O(σ²) biased; the variance grows with the number of
    parameters, and like 1/σ as long as common random numbers keep the paths of a pair together.

    Args:
        parameters: pytree θ of float scalars or arrays; the derivative is taken in these.
        num_paths: number of pairs n; the ensemble has 2 n rows: the reference paths (weight 1), then the perturbed ones (weight 0).
        sigma: standard deviation of the perturbation, in the units of `parameters`.
        decode: maps θ to the parameters of the network, such as `lambda theta: {"k": 10 ** theta["k"]}`; it has to make the result of any
            perturbation admissible (non-negative rates).
        options: passed on to `simulate`.

    Returns:
        Ensemble of 2 n rows with the values of the reference paths and a derivative in its weights [2 n, T].

    Raises:
        ValueError: σ ≤ 0.
    """
    path_key, direction_key = jax.random.split(key)
    path_keys = jax.random.split(path_key, num_paths)
    keys = jnp.concatenate([path_keys, jax.random.clone(path_keys)])
    directions = _draw_directions(direction_key, parameters, num_paths, sigma)
    both = jax.tree.map(lambda u: jnp.concatenate([jnp.zeros_like(u), u]), directions)
    paths = _simulate_perturbed(keys, network, parameters, both, initial_counts, times, sigma=sigma, decode=decode, **options)
    shift = _along(parameters, directions, sigma, paths.weights)
    return paths.replace(weights=jnp.concatenate([1 - shift, shift]), num_samples=num_paths)


def reinforce(
    key: jax.Array,
    network: Network,
    parameters: Any,
    initial_counts: Any,
    times: Any,
    *,
    num_paths: int,
    sigma: float,
    decode: Callable[[Any], Any] = lambda parameters: parameters,
    **options: Any,
) -> Ensemble:
    """REINFORCE over the parameters: random parameters, each weighted by the score of their normal law.

        ∂E f ≈ 1/n Σ_i f(θ + σ u_i) u_i / σ,   u_i ~ N(0, 1)

    **Requires** nothing of the network or of the observable; σ must fit the scale of every parameter.
    **Bias / variance**: the gradient of the objective smoothed by N(0, σ²), so O(σ²) biased; the values are those of the smoothed objective,
    too, since all paths run at perturbed parameters. Without a baseline the variance is at least (E f)²/σ², for each parameter.

    Args: as `polyak_smoothing`, but num_paths rows: one path for each u_i.

    Returns:
        Ensemble of n rows at n perturbed parameters, with a derivative in its weights [n, T].

    Raises:
        ValueError: σ ≤ 0.
    """
    paths, shift = _simulate_cloud(key, network, parameters, initial_counts, times, num_paths=num_paths, sigma=sigma, decode=decode, **options)
    return paths.replace(weights=1 + shift, is_normalised=False)


def rloo(
    key: jax.Array,
    network: Network,
    parameters: Any,
    initial_counts: Any,
    times: Any,
    *,
    num_paths: int,
    sigma: float,
    decode: Callable[[Any], Any] = lambda parameters: parameters,
    **options: Any,
) -> Ensemble:
    """REINFORCE over the parameters with a leave-one-out baseline (RLOO).

        ∂E f ≈ 1/n Σ_i (f(θ + σ u_i) − b_i) u_i / σ,   b_i = mean of the f of the other paths

    **Requires** as `reinforce`; num_paths ≥ 2.
    **Bias / variance**: as `reinforce`, but the variance is about Var f/σ², whatever the mean of f.

    Args: as `polyak_smoothing`, but num_paths rows: one path for each u_i.

    Returns:
        Ensemble of n rows at n perturbed parameters, with a derivative in its weights [n, T].

    Raises:
        ValueError: σ ≤ 0, or a single path.

    Reference: Kool, van Hoof and Welling 2019, "Buy 4 REINFORCE samples, get a baseline for free!", ICLR workshop.
    """
    if num_paths < 2:
        raise ValueError(f"a leave-one-out baseline needs at least 2 paths, received {num_paths}")
    paths, shift = _simulate_cloud(key, network, parameters, initial_counts, times, num_paths=num_paths, sigma=sigma, decode=decode, **options)
    return paths.replace(weights=1 + shift * (num_paths / (num_paths - 1)))


def _simulate_cloud(
    key: jax.Array, network: Network, parameters: Any, *start: Any, num_paths: int, sigma: float, **options: Any
) -> tuple[Ensemble, jax.Array]:
    """One path at each of n perturbed parameters, and Σ_p u_p dθ_p / σ [n, T]."""
    path_key, direction_key = jax.random.split(key)
    directions = _draw_directions(direction_key, parameters, num_paths, sigma)
    paths = _simulate_perturbed(jax.random.split(path_key, num_paths), network, parameters, directions, *start, sigma=sigma, **options)
    return paths, _along(parameters, directions, sigma, paths.weights)


def _draw_directions(key: jax.Array, parameters: Any, num_paths: int, sigma: float) -> Any:
    """u_i: independent standard normal numbers, a pytree like the parameters, each leaf with a leading axis [n]."""
    if not sigma > 0:
        raise ValueError(f"expected sigma > 0 (in the units of the parameters), received {sigma}")
    leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, parameters))
    keys = jax.random.split(key, len(leaves))
    return structure.unflatten([jax.random.normal(k, (num_paths, *leaf.shape), leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)])


def _simulate_perturbed(
    keys: jax.Array, network: Network, parameters: Any, directions: Any, *start: Any, sigma: float, decode: Callable, **options: Any
) -> Ensemble:
    """Path i at the parameters decode(θ + σ u_i), with the key i."""
    centre = jax.lax.stop_gradient(parameters)
    decoded = jax.vmap(lambda u: decode(jax.tree.map(lambda value, step: value + sigma * step, centre, u)))(directions)
    return simulate(keys, network, decoded, *start, num_paths=len(keys), parameters_per_path=True, **options)


def _along(parameters: Any, directions: Any, sigma: float, like: jax.Array) -> jax.Array:
    """Σ_p u_p dθ_p / σ [n, T]: the values are 0, the derivative is not."""
    leaves = zip(jax.tree.leaves(directions), map(jnp.asarray, jax.tree.leaves(parameters)), strict=True)
    # θ − stop_gradient(θ) is 0, and its derivative is 1
    shift = sum(jnp.tensordot(u, leaf - jax.lax.stop_gradient(leaf), axes=leaf.ndim) / sigma for u, leaf in leaves)
    return jnp.broadcast_to(shift.astype(like.dtype)[:, None], (len(shift), like.shape[1]))
