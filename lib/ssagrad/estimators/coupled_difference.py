"""Coupled finite differences: paths at θ + h and θ − h that are kept as close together as their laws allow.

References: Anderson 2012, "An efficient finite difference method for parameter sensitivities of continuous time Markov chains",
SIAM J. Numer. Anal. 50(5), doi:10.1137/110849079, equations 6 and 14; common random numbers: Rathinam, Sheppard and Khammash 2010,
doi:10.1063/1.3280166.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.coupling import as_constants, refuse, simulate_pairs, with_second_paths
from ssagrad.ensemble import Ensemble
from ssagrad.network import Network
from ssagrad.score import flat_shift, scalars_of
from ssagrad.simulate import simulate

_COUPLINGS = ("split", "common")


def coupled_difference(
    key: jax.Array,
    network: Network,
    parameters: Any,
    initial_counts: Any,
    times: Any,
    *,
    num_paths: int,
    step: Any = 0.05,
    relative: bool = True,
    coupling: str = "split",
    **options: Any,
) -> Ensemble:
    """Central differences, one coupled pair of paths for every scalar parameter.

        ∂_p E f ≈ E [f(x at θ + h_p e_p) − f(x at θ − h_p e_p)] / (2 h_p)

    Coupling "split": whatever fires in both paths at the common rate min(a_r(x, θ + h), a_r(y, θ − h)) fires in both at once (`coupling`).
    Coupling "common": both paths read the same random numbers, and drift apart once they differ.

    **Requires** nothing of the network but admissible rates at θ ± h, and nothing of the observable.
    **Bias / variance**: bias O(h²), 0 where the mean is linear in θ; variance O(1/h) with the split coupling, as long as the system
    forgets, and up to O(1/h²) with common random numbers. P parameters cost P pairs, each a little more than two paths.

    Args:
        parameters: pytree θ of float scalars or arrays; the derivative is taken in these.
        num_paths: n; the ensemble has n (1 + 2 P) rows: plain paths (weight 1), then for each of the P scalars n paths at θ + h, then
            as many at θ − h, all of weight 0.
        step: h, one number, or a pytree like `parameters` (a scalar or an array for each leaf).
        relative: h is a part of each parameter's value, h_p = step · |θ_p| (so 0.05 is ± 5 %); or else in the units of the parameters.
        coupling: "split" or "common".
        options: passed on to `simulate`; a split-coupled pair counts its events in its first path.

    Returns:
        Ensemble with the values of n plain paths and a derivative in its weights [n (1 + 2 P), T].

    Raises:
        ValueError: a step that is not positive (or a relative one that is not below 1), a parameter 0 with a relative step, an unknown
        coupling, parameters_per_path. NetworkError: rate constants that are negative at θ − h.
    """
    refuse("coupled_difference", options, parameters_per_path=False)
    if coupling not in _COUPLINGS:
        raise ValueError(f"expected coupling among {list(_COUPLINGS)}, received '{coupling}'")
    centre = as_constants(parameters, jnp.float64 if options.get("precision") == "double" else jnp.float32)
    steps = _steps(centre, step, relative)
    ahead, behind = (_shifted(centre, sign * steps, num_paths) for sign in (1, -1))
    for sides in (ahead, behind):
        network.check_parameters(sides)
    path_key, pair_key = jax.random.split(key)
    plain = simulate(path_key, network, centre, initial_counts, times, num_paths=num_paths, **options)
    num_pairs = len(steps) * num_paths
    options |= {"num_paths": num_pairs, "parameters_per_path": True}
    start = jnp.asarray(network.counts_from(initial_counts))
    start = start if start.ndim == 1 else jnp.tile(start, (len(steps), 1))
    if coupling == "split":
        pairs = simulate_pairs(pair_key, network, (ahead, behind), (start, start), times, **options)
    else:
        keys = jax.random.split(pair_key, num_pairs)
        same = jax.random.clone(keys)
        pairs = [simulate(k, network, side, start, times, **options) for k, side in ((keys, ahead), (same, behind))]
    slopes = jnp.repeat(flat_shift(parameters, steps.dtype) / (2 * steps), num_paths)
    derivative = jnp.broadcast_to(slopes[:, None], (num_pairs, plain.weights.shape[1]))
    return with_second_paths(plain, pairs, (derivative, -derivative))


def _steps(centre: Any, step: Any, relative: bool) -> jax.Array:
    """h_p for each of the P scalars [P]."""
    leaves, structure = jax.tree.flatten(centre)
    given = [step] * len(leaves) if np.ndim(step) == 0 and jax.tree.structure(step) != structure else structure.flatten_up_to(step)
    for part in given:
        values = np.asarray(part)
        if not (values > 0).all() or (relative and (values >= 1).any()):
            raise ValueError(f"expected steps > 0{' and < 1 (parts of the parameters)' * relative}, received {step}")
    sizes = [jnp.abs(leaf) if relative else jnp.ones_like(leaf) for leaf in leaves]
    steps = jnp.concatenate([(size * jnp.asarray(part).astype(size.dtype)).reshape(-1) for size, part in zip(sizes, given, strict=True)])
    if not isinstance(steps, jax.core.Tracer) and (np.asarray(steps) == 0).any():
        names = [name for name, h in zip(scalars_of(centre).names, steps, strict=True) if h == 0]
        raise ValueError(f"a relative step needs parameters that are not 0, received 0 for {names}; use relative=False with a step in their units")
    return steps


@partial(jax.jit, static_argnums=2)
def _shifted(centre: Any, steps: jax.Array, num_paths: int) -> Any:
    """θ + h_p e_p for every p, each n times: leaves [P n, ...]."""
    leaves, structure = jax.tree.flatten(centre)
    flat = jnp.concatenate([leaf.reshape(-1) for leaf in leaves])
    rows = jnp.repeat(flat[None] + jnp.diag(steps), num_paths, axis=0)
    parts = jnp.split(rows, np.cumsum([leaf.size for leaf in leaves])[:-1], axis=1)
    return structure.unflatten([part.reshape(-1, *leaf.shape) for part, leaf in zip(parts, leaves, strict=True)])
