"""The alternative path, pruned to one: at some earlier event another reaction fires, and the two outcomes are compared.

References: Arya, Schauer, Schäfer and Rackauckas 2022, "Automatic differentiation of programs with discrete randomness",
arXiv:2210.08572 (stochastic triples, pruning); Kagan and Heinrich 2023, arXiv:2308.16680; Burger et al. 2026, arXiv:2604.02121.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ssagrad.coupling import as_constants, rate_slopes, with_second_paths
from ssagrad.ensemble import Ensemble
from ssagrad.network import Network
from ssagrad.random import Stream, next_exponential, next_uniform, seed_streams
from ssagrad.score import flat_shift
from ssagrad.simulate import SimulationError, check_times

_COUPLINGS = ("common", "independent")


class Walk(NamedTuple):
    """A path and, for each parameter, its one alternative: arrays over n lanes.

    path, alternatives: counts [S, n] and [P, S, n].
    weights: W, the total weight of all branches so far [P, n].
    num_events, num_apart: reactions fired by the path [n], and by each alternative while it was apart [P, n].
    largest: the largest total propensity met [n].
    """

    path: jax.Array
    alternatives: jax.Array
    weights: jax.Array
    num_events: jax.Array
    num_apart: jax.Array
    largest: jax.Array
    stream: Stream


def alternative_path(
    key: jax.Array,
    network: Network,
    parameters: Any,
    initial_counts: Any,
    times: Any,
    *,
    num_paths: int,
    clock: str = "time",
    rate_bound: float | None = None,
    coupling: str = "common",
    drop_met: bool = False,
    start_time: float = 0.0,
) -> Ensemble:
    """Exact paths, each with one alternative for every scalar parameter, in which one earlier event went otherwise.

        ∂E f(x) = E[W (f(y) − f(x))],   W = Σ_i w_i,   w_i = (−∂p_r/p_r)⁺ of the reaction r that event i chose

    Event i offers a branch where ∂p_r < 0: there, instead of r, a reaction s fires that was drawn ∝ (∂p_s)⁺. One branch is kept: a new one
    takes the place of the old one with probability w_i/W. The alternative y goes on with the random numbers of the path x and an equal
    ordering of the reactions, so that from the moment at which the two states agree they stay together, and the branch contributes 0.

    With `clock="events"` the times are numbers of events of the embedded jump chain, p_r = a_r/Σ a. In physical time the chain is
    uniformised: events come at the constant rate B = `rate_bound`, which no parameter moves, p_r = a_r/B, and a ghost reaction that changes
    nothing has p = 1 − Σ a/B. (A path that stops at a fixed time would otherwise drop what θ does to its waiting times.)

    **Requires** propensities differentiable in θ and positive rate constants; a bound B in physical time. An observable of one time: the rows at
    time k hold the alternatives that are kept at that time.
    **Bias / variance**: unbiased. W grows with the number of events while the chance that the alternative is still apart falls, so that the
    variance grows linearly in time where states forget. With `drop_met` an alternative that has met its path gives its weight up, since it
    is known to contribute nothing: also unbiased, and the variance stops growing.

    Args:
        parameters: pytree θ of float scalars or arrays; the derivative is taken in these.
        num_paths: n; the ensemble has n (1 + P) rows: the paths (weight 1), then for each of the P scalars n alternatives (weight 0).
        clock: "time" or "events".
        rate_bound: B [events per unit time], no less than the largest total propensity that any path or alternative meets; a path takes
            B · (last time) steps.
        coupling: "common" random numbers, or "independent" ones until the states meet.
        drop_met: whether the weight W starts again from 0 when the alternative meets the path. False is the method of the paper.
        start_time: the time (or number of events) of the initial counts.

    Returns:
        Ensemble with the values of n plain paths and a derivative in its weights [n (1 + P), T]. An alternative's row counts the events
        that its alternatives fired while they were apart.

    Raises:
        ValueError: clock="time" without rate_bound, unknown clock or coupling. SimulationError: a total propensity above rate_bound, or one
        that is impossible. Inside `jax.jit` the counts of such a path are NaN.
    """
    for name, value, allowed in (("clock", clock, ("time", "events")), ("coupling", coupling, _COUPLINGS)):
        if value not in allowed:
            raise ValueError(f"expected {name} among {list(allowed)}, received '{value}'")
    if clock == "time" and (rate_bound is None or not 0 < rate_bound < np.inf):
        raise ValueError(f"clock='time' needs a rate_bound > 0 (the largest total propensity, in events per unit time), received {rate_bound}")
    bound = None if clock == "events" else jnp.asarray(rate_bound, jnp.float32)
    times, intervals = check_times(times, start_time, clock)
    network.check_parameters(parameters)
    centre = as_constants(parameters, jnp.float32)
    start = jnp.broadcast_to(jnp.asarray(network.counts_from(initial_counts)).astype(jnp.float32), (num_paths, len(network.species)))
    settings = {"network": network, "coupling": coupling, "drop_met": jnp.asarray(drop_met)}
    end, (counts, others, weights) = _simulate(key, start.T, centre, jnp.asarray(intervals).astype(jnp.float32), bound, **settings)
    _raise_failures(end, bound)

    paths = Ensemble(
        times=times,
        counts=counts,
        weights=jnp.ones_like(counts[..., 0]),
        num_events=end.num_events,
        exhausted=jnp.zeros(num_paths, bool),
        start_time=start_time,
        species=network.species,
        reactions=network.reaction_names,
    )
    return _with_alternatives(paths, others, end.num_apart, weights, flat_shift(parameters, weights.dtype))


@jax.jit
def _with_alternatives(paths: Ensemble, counts: jax.Array, num_events: jax.Array, weights: jax.Array, shift: jax.Array) -> Ensemble:
    """One block of rows for each scalar: counts [P, n, T, S], with the weights + W dθ_p; − W dθ_p of all goes to the paths themselves."""
    derivatives = weights * shift[:, None, None]
    blocks = [paths.replace(counts=counts[p], num_events=num_events[p]) for p in range(len(shift))]
    return with_second_paths(paths.replace(weights=paths.weights - derivatives.sum(0)), blocks, list(derivatives))


@partial(jax.jit, static_argnames=("network", "coupling"))
def _simulate(
    key: jax.Array, start: jax.Array, parameters: Any, intervals: jax.Array, bound: jax.Array | None, *, network: Network, **options: Any
) -> tuple[Walk, tuple[jax.Array, jax.Array, jax.Array]]:
    """The walk at its end, and counts [n, T, S], alternatives [P, n, T, S] and weights [P, n, T] at every observation."""
    num_paths, num_scalars = start.shape[1], sum(leaf.size for leaf in jax.tree.leaves(parameters))
    zeros = jnp.zeros((num_scalars, num_paths), start.dtype)
    walk = Walk(
        path=start,
        alternatives=jnp.broadcast_to(start[None], (num_scalars, *start.shape)),
        weights=zeros,
        num_events=jnp.zeros(num_paths, jnp.int32),
        num_apart=zeros.astype(jnp.int32),
        largest=jnp.zeros(num_paths, start.dtype),
        stream=tuple(seed_streams(key, num_paths)),
    )

    def advance(carry):
        walk, clock = carry
        stream, exponential = next_exponential(walk.stream, clock.dtype)
        clock = clock - (1 if bound is None else exponential / bound)
        return _step(walk._replace(stream=stream), clock > 0, parameters=parameters, network=network, bound=bound, **options), clock

    def observe(walk, interval):
        clock = jnp.full(num_paths, interval + 0.5 if bound is None else interval)  # half an event is left over at each observation
        walk, _ = lax.while_loop(lambda carry: (carry[1] > 0).any(), advance, (walk, clock))
        is_possible = (walk.largest <= (jnp.inf if bound is None else bound))[None]
        return walk, (*(jnp.where(is_possible, counts, jnp.nan) for counts in (walk.path, walk.alternatives)), walk.weights)

    end, (paths, alternatives, weights) = lax.scan(observe, walk, intervals)
    return end, (jnp.transpose(paths, (2, 0, 1)), jnp.transpose(alternatives, (1, 3, 0, 2)), jnp.transpose(weights, (1, 2, 0)))


def _step(walk: Walk, is_active: jax.Array, *, parameters: Any, network: Network, bound: jax.Array | None, coupling: str, drop_met: jax.Array) -> Walk:
    """One event (or ghost event) of the active lanes."""
    states = jnp.concatenate([walk.path[None], walk.alternatives])  # [1 + P, S, n]: one computation, so that equal states get equal rates
    is_apart = (states[1:] != walk.path[None]).any(1)
    stream, uniforms = _draw(walk.stream, 1 + 3 * len(is_apart), states.dtype)
    uniform, takes, chooses, own = uniforms[:1], *jnp.split(uniforms[1:], 3)
    common = jnp.broadcast_to(uniform, own.shape)
    uniform = jnp.concatenate([uniform, common if coupling == "common" else jnp.where(is_apart, own, common)])

    rates = jnp.moveaxis(network.propensities(jnp.moveaxis(states, 1, -1), parameters), -1, 1)
    reaction = _first_above(uniform, rates, bound)
    fired = reaction[0]
    chances, slopes = _chances(rates[0], rate_slopes(network, walk.path.T, parameters).T, bound)
    is_fired = fired[None] == jnp.arange(len(chances))[:, None]
    chance, slope = jnp.where(is_fired, chances, 0).sum(0)[None], jnp.where(is_fired[None], slopes, 0).sum(1)
    new = jnp.where(is_active[None] & (slope < 0) & (chance > 0), -slope / jnp.where(chance > 0, chance, 1), 0)
    weights = walk.weights + new
    is_taken = takes * weights < new
    branch = walk.path[None] + _change(network, _first_above(chooses, jnp.maximum(slopes, 0), None))

    states = jnp.where(is_active[None, None], states + _change(network, reaction), states)
    alternatives = jnp.where(is_taken[:, None], branch, states[1:])
    has_met = (alternatives == states[:1]).all(1)
    weights = jnp.where(has_met & drop_met, 0, weights)
    fires = is_active[None] & (reaction < len(network.reactions))
    return Walk(
        path=states[0],
        alternatives=alternatives,
        weights=weights,
        num_events=walk.num_events + fires[0].astype(jnp.int32),
        num_apart=walk.num_apart + (fires[1:] & is_apart).astype(jnp.int32),
        largest=jnp.maximum(walk.largest, jnp.where(is_active, rates.sum(1).max(0), 0)),
        stream=stream,
    )


def _chances(rates: jax.Array, slopes: jax.Array, bound: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """p_r [R + 1, n] and ∂p_r [P, R + 1, n] from a_r [R, n] and ∂a_r [P, R, n]; the last is that of nothing happening."""
    total = rates.sum(0)
    if bound is None:
        divisor = jnp.where(total > 0, total, 1)
        chances = rates / divisor[None]
        slopes = jnp.where(total > 0, slopes - chances[None] * slopes.sum(1, keepdims=True), 0) / divisor[None, None]
        rest, slope = jnp.where(total > 0, 0, 1).astype(total.dtype), jnp.zeros_like(slopes[:, 0])
    else:
        chances, slopes = rates / bound, slopes / bound
        rest, slope = 1 - total / bound, -slopes.sum(1)
    return jnp.concatenate([chances, rest[None]]), jnp.concatenate([slopes, slope[:, None]], axis=1)


def _first_above(uniform: jax.Array, weights: jax.Array, total: float | None) -> jax.Array:
    """Index k = 0 … K drawn by inversion of uniform numbers [Q, n], from weights [Q, K, n] with a given total; K where none is left."""
    cumulative = jnp.cumsum(weights, axis=1)
    threshold = uniform * (cumulative[:, -1] if total is None else total)
    return (threshold[:, None] >= cumulative).sum(1)


def _change(network: Network, reaction: jax.Array) -> jax.Array:
    """Change of the counts [Q, S, n] by reactions [Q, n]; none by the ghost."""
    change = [jnp.asarray(row, jnp.float32)[None, :, None] for row in network.stoichiometry]
    return sum(jnp.where((reaction == r)[:, None], row, 0) for r, row in enumerate(change))


def _draw(stream: Stream, number: int, dtype: Any) -> tuple[Stream, jax.Array]:
    """Uniform random numbers [number, n], one after the other from the stream of each lane."""
    uniforms = []
    for _ in range(number):
        stream, uniform = next_uniform(stream, dtype)
        uniforms.append(uniform)
    return stream, jnp.stack(uniforms)


def _raise_failures(end: Walk, bound: jax.Array | None) -> None:
    """Raises SimulationError where a rate was impossible or above the bound (and the values are known)."""
    if isinstance(end.largest, jax.core.Tracer):
        return
    largest = np.asarray(end.largest).max()
    if np.isnan(largest) or largest == np.inf:
        raise SimulationError("some paths met a propensity that is negative, infinite, NaN, or positive although reactants are missing")
    if bound is not None and largest > bound:
        raise SimulationError(f"expected a rate_bound of at least {largest:g}, the largest total propensity met, received {bound:g}")
