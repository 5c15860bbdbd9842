"""The score of a path: the derivative of the logarithm of its probability in every parameter, summed up while it is simulated.

    S(t) = Σ_{events i before t} ∂ ln a_{r_i}(x_i) − ∫_0^t Σ_r ∂a_r(x_s) ds

The last, unfinished waiting time counts (it is censored at t). In the embedded jump chain every state lasts 1/Σ_r a_r, so that the
same sum is Σ_i ∂ ln p_{r_i}(x_i), p_r = a_r / Σ a.

Reference: Plyasunov and Arkin 2007, "Efficient stochastic sensitivity analysis of discrete event systems", doi:10.1016/j.jcp.2006.06.047.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Literal

from ssagrad.kernel import Accumulator, Step
from ssagrad.network import Network


class Scalars(NamedTuple):
    """The parameters as a list of P scalars: structure of the pytree, shape of each leaf, and names such as `k_on` or `rates[3]`."""

    structure: Any
    shapes: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]


def scalars_of(parameters: Any, *, per_path: bool = False) -> Scalars:
    """Describes the scalars of a pytree (without the leading axis of the paths, if `per_path`)."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(parameters)
    shapes = tuple(tuple(np.shape(leaf))[int(per_path) :] for _, leaf in leaves)
    names = []
    for (path, _), shape in zip(leaves, shapes, strict=True):
        name = "".join(str(getattr(key, "key", getattr(key, "name", key))) for key in path)
        names += [name] if not shape else [f"{name}{list(index)}" for index in np.ndindex(*shape)]
    return Scalars(structure, shapes, tuple(names))


def flat_shift(parameters: Any, dtype: Any, *, per_path: bool = False) -> jax.Array:
    """θ − stop_gradient(θ) as [P], or [n, P]: the value is 0, and the derivative is 1."""
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(parameters)]
    rows = [(leaf - jax.lax.stop_gradient(leaf)).astype(dtype) for leaf in leaves]
    return jnp.concatenate([row.reshape(*row.shape[: int(per_path)], -1) for row in rows], axis=-1)


def add_to_weights(weights: jax.Array, scores: jax.Array, shift: jax.Array) -> jax.Array:
    """Weights [n, T] that carry Σ_p scores_p dθ_p as their derivative: scores [n, T, P], shift [P] or [n, P].

    A dot product, because XLA's CPU backend gets the sum of a broadcast product wrong where many tangents go through it at once, as in jit(jacfwd).
    """
    axes = "ntp,p->nt" if shift.ndim == 1 else "ntp,np->nt"
    return weights * (1 + jnp.einsum(axes, scores, shift, precision="highest"))


def scores_at(scores: jax.Array, grid: jax.Array, times: jax.Array) -> jax.Array:
    """Scores [n, T, P] on a grid [T], at some of its times [n, T', P]."""
    return scores[:, nearest(grid, times)]


def nearest(grid: jax.Array, times: jax.Array) -> jax.Array:
    """Positions in the grid of the times [T'], up to rounding."""
    return jnp.argmin(jnp.abs(times[:, None] - grid[None].astype(times.dtype)), axis=1)


@cache
def score_accumulator(network: Network, scalars: Scalars) -> Accumulator:
    """Sums up the score: one column for each of the P scalars, which `score_scale` brings to its unit.

    A rate constant c of mass action has ∂a/∂c = a/c: its column counts events less their expected number, Σ_r (N_r − ∫ a_r ds), to be divided
    by c in the end. All other derivatives come from `jax.jvp`, of the reactions that read the parameter.
    """
    readers, closed = readers_of(network, scalars)[1], _rate_constants(network, scalars)
    size = len(scalars.names)

    def increments(values: tuple, step: Step) -> tuple:
        fired = [(jnp.abs(step.reaction - r) < 0.5).astype(step.duration.dtype) for r in range(len(network.reactions))]
        surprise = [f - step.duration * a for f, a in zip(fired, step.propensities, strict=True)]
        columns = []
        for p in range(size):
            if closed[p]:
                terms = [surprise[r] for r in readers[p]]
            else:
                slopes = derivatives(network, scalars, p, readers[p], step.counts, step.parameters, step.per_path)
                divisors = [jnp.where(fired[r] > 0, step.propensities[r], 1) for r in readers[p]]
                terms = [(fired[r] / d - step.duration) * slope for r, d, slope in zip(readers[p], divisors, slopes, strict=True)]
            columns.append(sum(terms, jnp.zeros_like(step.duration)))
        return tuple(columns)

    # the plain sum is good to 10⁻⁵ of the score's standard deviation after 10⁵ events, and 10⁻³ after 4·10⁶; to carry its rounding along would
    # cost as much again as the score
    return Accumulator(size=lambda _: size, increments=increments, compensated=False)


def score_scale(network: Network, parameters: Any, scalars: Scalars, *, per_path: bool = False) -> jax.Array:
    """The factor of each column of `score_accumulator` [P], or [n, 1, P].

    Raises:
        ValueError: a rate constant is 0, where the score is infinite.
    """
    closed = _rate_constants(network, scalars)
    leaves = jax.tree.leaves(parameters)
    values = [leaf.reshape(*leaf.shape[: int(per_path)], -1) for leaf in map(jnp.asarray, leaves)]
    flat = jnp.concatenate(values, axis=-1)
    if not isinstance(flat, jax.core.Tracer):
        zero = (np.asarray(flat).reshape(-1, len(closed)) == 0).any(0) & np.array(closed)
        if zero.any():
            names = [name for name, is_zero in zip(scalars.names, zero, strict=True) if is_zero]
            raise ValueError(f"expected rate constants > 0, received 0 for {names}: a reaction that never fires has an infinite score")
    scale = jnp.where(jnp.array(closed), 1 / flat, jnp.ones_like(flat))
    return scale[:, None] if per_path else scale


def slopes(network: Network, scalars: Scalars, counts: tuple, parameters: Any) -> list[list[tuple[int, jax.Array]]]:
    """For each of the P scalars, the reactions r that read it with ∂a_r/∂θ_p [n] at n states, a tuple of S arrays [n]."""
    readers = readers_of(network, scalars)[1]
    return [
        list(zip(readers[p], derivatives(network, scalars, p, readers[p], counts, parameters, False), strict=True))
        for p in range(len(scalars.names))
    ]


def derivatives(network: Network, scalars: Scalars, p: int, reactions: tuple[int, ...], counts: tuple, parameters: Any, per_path: bool) -> tuple:
    """∂a_r/∂θ_p of some reactions, arrays over the lanes [n]."""
    sizes = np.cumsum([0, *(math.prod(shape) for shape in scalars.shapes)])
    leaf = int(np.searchsorted(sizes, p, side="right")) - 1
    direction = np.zeros(scalars.shapes[leaf]).reshape(-1)
    direction[p - sizes[leaf]] = 1

    def of_one_path(counts, parameters):
        leaves = jax.tree.leaves(parameters)
        tangents = [jnp.zeros_like(value) for value in leaves]
        tangents[leaf] = jnp.asarray(direction.reshape(scalars.shapes[leaf]), leaves[leaf].dtype)
        return jax.jvp(lambda q: network.rates(counts, q, only=reactions), (parameters,), (scalars.structure.unflatten(tangents),))[1]

    slopes = jax.vmap(of_one_path, in_axes=(0, 0 if per_path else None))(counts, parameters)
    return tuple(slope.astype(counts[0].dtype) for slope in slopes)


@cache
def readers_of(network: Network, scalars: Scalars) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """The reactions whose propensity varies with each species, and with each scalar parameter (found in its program, not by values)."""
    leaves = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in scalars.shapes]
    counts = tuple(jax.ShapeDtypeStruct((), jnp.float32) for _ in network.species)
    jaxpr = jax.make_jaxpr(lambda counts, leaves: network.rates(counts, scalars.structure.unflatten(leaves)))(counts, leaves).jaxpr
    sources = {variable: frozenset([i]) for i, variable in enumerate(jaxpr.invars)}

    def behind(variables):
        return frozenset().union(*(sources.get(v, ()) for v in variables if not isinstance(v, Literal)))

    for equation in jaxpr.eqns:  # what is compared has no slope
        sources |= {v: behind(equation.invars) for v in equation.outvars if jnp.issubdtype(v.aval.dtype, jnp.floating)}
    reads = [behind([variable]) for variable in jaxpr.outvars]
    readers = [tuple(r for r, inputs in enumerate(reads) if i in inputs) for i in range(len(jaxpr.invars))]
    num_species = len(network.species)
    of_scalars = [of_leaf for of_leaf, shape in zip(readers[num_species:], scalars.shapes, strict=True) for _ in np.ndindex(*shape)]
    return tuple(readers[:num_species]), tuple(of_scalars)


def outside_gradients(*values: Any) -> AbstractContextManager:
    """The context for what carries no derivative: outside of every `jax.grad` and `jax.vmap` where no value is a tracer.

    In there JAX need not look at each operation, which takes it several times as long as to start them. What propensities close over is not looked
    at and has to be known. (Inside `jax.jit`, θ without its derivative is a tracer.)
    """
    is_known = not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(values))
    return jax.core.eval_context() if is_known else nullcontext()


@cache
def _rate_constants(network: Network, scalars: Scalars) -> tuple[bool, ...]:
    """Whether each scalar is nothing but the rate constant of mass action of some reactions."""
    is_alone = [not shape for shape in scalars.shapes for _ in np.ndindex(*shape)]
    readers = readers_of(network, scalars)[1]
    return tuple(
        alone and bool(reactions) and all(network.reactions[r].propensity is None for r in reactions)
        for alone, reactions in zip(is_alone, readers, strict=True)
    )


def waiting_since_last_event() -> Accumulator:
    """Time since the last event, or since the start where there was none: the unfinished waiting time of each path.

    With x(t) the state that waits, a score that forgets it is S(t) + (time since the last event) · Σ_r ∂a_r(x(t)): that of events alone, whose
    mean is not 0.
    """
    return _WAITING


def _waiting(values: tuple, step: Step) -> tuple:
    fires = step.reaction < len(step.propensities) - 0.5
    return (jnp.where(fires, -values[0], step.duration),)


_WAITING = Accumulator(size=lambda _: 1, increments=_waiting, compensated=False)
