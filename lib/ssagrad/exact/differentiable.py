"""What is computed in float64 NumPy, and known with its first derivative, as a function that JAX differentiates, compiles and maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def first_order(
    rates: Callable[[Any, bool], tuple[jax.Array, jax.Array]],
    law: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    parameters: Any,
    shape: tuple[int, ...],
) -> jax.Array:
    """An array p(θ) whose derivative in the floating-point leaves of θ is the one that `law` computes beside it.

    Eagerly, under `jax.grad` too, `law` is called with known values. Where θ is traced it is a callback; its operands travel as
    bits, because callbacks of a program in single precision round what they are given.

    Args:
        rates: (parameters, with slopes) → two float64 arrays, traced if the parameters are.
        law: (θ [M], the two arrays) → [*shape, 1 + M], p and its derivatives, in NumPy; with M = 0 if the slopes have no rows.
        parameters: pytree θ.
        shape: of p.

    Raises:
        NotImplementedError: when it is differentiated twice.
    """
    leaves, structure = jax.tree.flatten(parameters)
    dtype = jnp.result_type(float)

    def evaluate(leaves, slopes):
        values = rates(structure.unflatten(leaves), slopes)
        with jax.enable_x64(True):
            theta = jnp.concatenate([jnp.zeros(0), *(jnp.ravel(leaf).astype(float) for leaf in leaves)])
            operands = (theta if slopes else theta[:0], *values)
            if not any(isinstance(operand, jax.core.Tracer) for operand in operands):
                found = law(*(np.asarray(operand) for operand in operands)).astype(dtype)
            else:
                expected = jax.ShapeDtypeStruct((*shape, 1 + operands[0].size), dtype)
                bits = [jax.lax.bitcast_convert_type(operand, np.uint32) for operand in operands]
                return jax.pure_callback(on_host, expected, *bits, vmap_method="sequential")
        return jnp.asarray(found)

    def on_host(*bits):
        return law(*(np.ascontiguousarray(part).view(np.float64)[..., 0] for part in bits)).astype(dtype)

    @jax.custom_jvp
    def with_slopes(leaves):
        return evaluate(leaves, True)

    @with_slopes.defjvp
    def _(primals, tangents):
        raise NotImplementedError("the exact law has first derivatives only; difference those for a second one")

    @jax.custom_jvp
    def value(leaves):
        return evaluate(leaves, False)[..., 0]

    @value.defjvp
    def _(primals, tangents):
        found = with_slopes(*primals)
        direction = jnp.concatenate([jnp.zeros(0, dtype), *(jnp.ravel(tangent).astype(dtype) for tangent in tangents[0])])
        return found[..., 0], jnp.matmul(found[..., 1:], direction, precision="highest")

    return value([jnp.asarray(leaf).astype(dtype) if not _floating(leaf) else jnp.asarray(leaf) for leaf in leaves])


def _floating(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
