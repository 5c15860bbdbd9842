"""Straight-through paths as one differentiable scan over events, for many parameters: memory that does not grow with their number.

The same tangents as in `straight_through`, left to JAX: in every step a propensity a_r enters as δ_r = a_r − stop_gradient(a_r), whose value
is 0 and whose derivative is that of a_r. Backwards, the scan is run again segment by segment (about √max_events events each), so that
only the states between segments and the steps of one segment are in memory.

Reference: Griewank and Walther 2000, "Algorithm 799: revolve", doi:10.1145/347837.347846, for the trade of time for memory.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ssagrad.ensemble import Ensemble
from ssagrad.network import Network, NetworkError
from ssagrad.random import Stream, next_exponential, next_uniform, seed_streams
from ssagrad.simulate import SimulationError, check_times
from ssagrad.straight_through import local_averages, soft_share, windows_around

_DTYPES = {"single": jnp.float32, "double": jnp.float64}


class Walk(NamedTuple):
    """State of the scan: counts [S, n], arrays over the paths [n], and counts and their integrals up to each time of the grid [S, G, n]."""

    counts: jax.Array
    time: jax.Array
    num_events: jax.Array
    stream: Stream
    observed: jax.Array
    integrals: jax.Array


def reverse_paths(
    key: jax.Array,
    network: Network,
    parameters: Any,
    initial_counts: Any,
    times: Any,
    *,
    temperature: float | None,
    cutoff: float | None,
    waiting_times: bool,
    num_paths: int,
    max_events: int,
    start_time: float = 0.0,
    clock: str = "time",
    record: tuple[str, ...] = (),
    parameters_per_path: bool = False,
    precision: str = "single",
    on_exhausted: str = "raise",
) -> Ensemble:
    """Exact paths with straight-through derivatives in counts and time integrals, by plain differentiation of a scan of `max_events` events.

    Raises:
        SimulationError: a path needs more events (with on_exhausted="nan", or while JAX traces: NaN, and `exhausted`).
    """
    choices = [("precision", precision, _DTYPES), ("on_exhausted", on_exhausted, ("raise", "nan")), ("clock", clock, ("time", "events"))]
    for name, value, allowed in choices:
        if value not in allowed:
            raise ValueError(f"mode='reverse': expected {name} among {list(allowed)}, received '{value}'")
    dtype, jump_chain = _DTYPES[precision], clock == "events"
    network.check_parameters(parameters)
    parameters = jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(dtype), parameters)
    counts = jnp.broadcast_to(jnp.asarray(network.counts_from(initial_counts)).astype(dtype), (num_paths, len(network.species)))
    shown = check_times(times, start_time, clock)[0]
    windows = None if jump_chain else windows_around(times, cutoff, start_time)
    grid = np.asarray(times, np.float64).reshape(-1) if jump_chain else windows.grid - start_time
    settings = {"temperature": temperature, "waiting_times": waiting_times, "jump_chain": jump_chain, "per_path": parameters_per_path}
    num_steps = 1 + (int(grid[-1]) if jump_chain else max_events)
    end = walk(seed_streams(key, num_paths), counts.T, parameters, jnp.asarray(grid, dtype), network=network, num_steps=num_steps, **settings)
    reached = jnp.full(num_paths, True) if jump_chain else end.time >= grid[-1]
    exhausted = jnp.zeros(num_paths, bool) if jump_chain else end.time < grid[-1]
    invalid = jnp.isnan(end.time)
    _raise_unfinished(exhausted, invalid, max_events, on_exhausted)
    values, integrals = (jnp.where((reached & ~invalid)[:, None, None], columns.T, jnp.nan) for columns in (end.observed, end.integrals))
    if not jump_chain:
        averages = local_averages(integrals, windows)
        values = lax.stop_gradient(values[:, windows.now]) + (averages - lax.stop_gradient(averages))
        integrals = integrals[:, windows.now]
    return Ensemble(
        times=shown,
        counts=values,
        weights=jnp.ones(values.shape[:2], dtype),
        num_events=end.num_events,
        exhausted=exhausted,
        start_time=start_time,
        time_integrals=integrals if "time_integrals" in record else None,
        species=network.species,
        reactions=network.reaction_names,
    )


@partial(jax.jit, static_argnames=("network", "num_steps", "temperature", "waiting_times", "jump_chain", "per_path"))
def walk(streams: jax.Array, counts: jax.Array, parameters: Any, grid: jax.Array, *, network: Network, num_steps: int, **options: Any) -> Walk:
    """At least `num_steps` steps of all paths: streams [4, n], counts [S, n], grid of observation times from the start [G]."""
    length = math.isqrt(max(num_steps - 1, 0)) + 1
    step = partial(_step, parameters=parameters, grid=grid, network=network, **options)
    nothing = jnp.zeros((len(network.species), grid.shape[0], counts.shape[1]), counts.dtype)
    start = Walk(counts, jnp.zeros_like(counts[0]), jnp.zeros(counts.shape[1], jnp.int32), tuple(streams), nothing, nothing)

    @partial(jax.checkpoint, prevent_cse=False)
    def segment(state, first):
        return lax.scan(lambda state, i: (step(state, first + i), None), state, jnp.arange(length, dtype=jnp.int32))[0], None

    return lax.scan(segment, start, length * jnp.arange(-(-num_steps // length), dtype=jnp.int32))[0]


def _step(
    state: Walk,
    position: jax.Array,
    *,
    parameters: Any,
    grid: jax.Array,
    network: Network,
    temperature: float | None,
    waiting_times: bool,
    jump_chain: bool,
    per_path: bool,
) -> Walk:
    """One event of every path that has not passed the end of the grid. Arrays of reactions are [R, n], of paths [1, n]."""
    dtype = grid.dtype
    moving = _propensities(network, state.counts, parameters, per_path)
    propensities = lax.stop_gradient(moving)
    deviations = moving - propensities
    cumulative = jnp.cumsum(propensities, axis=0)
    total = cumulative[-1:]
    divisor = jnp.where(total > 0, total, 1)
    stream, exponential = next_exponential(state.stream, dtype)
    stream, uniform = next_uniform(stream, dtype)
    stream, drawn = lax.scan(lambda stream, _: next_exponential(stream, dtype), stream, length=0 if temperature is None else len(moving))

    # In an absorbing state the clock passes the end at once; in the jump chain, states last their mean.
    duration = jnp.where(total > 0, (jnp.ones_like(total) if jump_chain else exponential[None]) / divisor, 0 if jump_chain else grid[-1] + 1)
    duration = jnp.where(total < jnp.inf, duration, jnp.nan)
    stay = duration * (1 - (deviations.sum(0, keepdims=True) / divisor if waiting_times else 0))
    opened, closed = state.time[None], state.time[None] + stay
    fires = (total > 0) & ((position.astype(dtype) < grid[-1]) if jump_chain else (closed <= grid[-1]))

    reaction = (~(uniform[None] * total < cumulative)).sum(0, keepdims=True)  # the first whose cumulative propensity exceeds uniform × total
    hits = fires & (jnp.arange(len(moving))[:, None] == reaction)
    first = (jnp.zeros_like(total) if temperature is None else jnp.where(hits, drawn, 0).sum(0, keepdims=True)) / divisor
    shares, sensitivities = soft_share(propensities, hits, drawn, first, temperature)
    norm = jnp.where(fires, shares.sum(0, keepdims=True), jnp.inf)
    moves = sensitivities * deviations
    choice = hits.astype(dtype) + (moves - shares * (moves.sum(0, keepdims=True) / norm)) / norm

    now = grid[:, None]  # [G, 1]
    if jump_chain:
        here, overlap = position.astype(dtype) == now, (position.astype(dtype) < now).astype(dtype) * stay
        seen = state.counts
    else:
        here, overlap = (opened <= now) & (closed > now), jnp.minimum(now, closed) - jnp.minimum(now, opened)
        seen = lax.stop_gradient(state.counts)
    return Walk(
        counts=state.counts + jnp.matmul(jnp.asarray(network.stoichiometry.T, dtype), choice, precision=lax.Precision.HIGHEST),
        time=closed[0],
        num_events=state.num_events + fires[0].astype(jnp.int32),
        stream=stream,
        observed=state.observed + seen[:, None] * here.astype(dtype)[None],
        integrals=state.integrals + state.counts[:, None] * overlap[None],
    )


def _propensities(network: Network, counts: jax.Array, parameters: Any, per_path: bool) -> jax.Array:
    """[R, n] from counts [S, n]."""

    def of_one_path(counts, parameters):
        return network.propensities(counts, parameters)

    return jax.vmap(of_one_path, in_axes=(1, 0 if per_path else None), out_axes=1)(counts, parameters)


def _raise_unfinished(exhausted: jax.Array, invalid: jax.Array, max_events: int, on_exhausted: str) -> None:
    """Raises SimulationError for paths that failed (where the values are known)."""
    if isinstance(exhausted, jax.core.Tracer):
        return
    if bool(invalid.any()):
        raise SimulationError(f"{int(invalid.sum())} of {len(invalid)} paths met a propensity that is negative, infinite or NaN")
    if on_exhausted == "raise" and bool(exhausted.any()):
        raise SimulationError(
            f"{int(exhausted.sum())} of {len(exhausted)} paths did not reach the last time (and half a cutoff more) within "
            f"max_events={max_events}; give it more, or say on_exhausted='nan'"
        )
