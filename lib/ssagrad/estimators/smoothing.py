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
    if not sigma > 0:
        raise ValueError(f"expected sigma > 0 (in the units of the parameters), received {sigma}")
    path_key, direction_key = jax.random.split(key)
    path_keys = jax.random.split(path_key, num_paths)
    centre = jax.lax.stop_gradient(parameters)
    leaves, structure = jax.tree.flatten(jax.tree.map(jnp.asarray, parameters))
    leaf_keys = jax.random.split(direction_key, len(leaves))
    directions = [jax.random.normal(k, (num_paths, *leaf.shape), leaf.dtype) for k, leaf in zip(leaf_keys, leaves, strict=True)]

    offsets = structure.unflatten([jnp.concatenate([jnp.zeros_like(u), sigma * u]) for u in directions])
    decoded = jax.vmap(lambda offset: decode(jax.tree.map(jnp.add, centre, offset)))(offsets)
    paths = simulate(
        jnp.concatenate([path_keys, jax.random.clone(path_keys)]),
        network,
        decoded,
        initial_counts,
        times,
        num_paths=2 * num_paths,
        parameters_per_path=True,
        **options,
    )
    # θ − stop_gradient(θ) is 0, and its derivative is 1
    shift = sum(
        jnp.tensordot(u, leaf - jax.lax.stop_gradient(leaf), axes=leaf.ndim) / sigma for u, leaf in zip(directions, leaves, strict=True)
    ).astype(paths.weights.dtype)
    weights = jnp.concatenate([1 - shift, shift])
    return paths.replace(weights=jnp.broadcast_to(weights[:, None], paths.weights.shape))
