"""The inner loop of the simulator: Gillespie's direct method on many paths at once, one path per vector lane.

Every quantity is a separate array over the lanes, so that one event of all lanes is a handful of fused vector loops. Each lane walks
along the observation times by itself: a lane that crosses its next observation time waits, at most `_EVENTS_PER_CHECK` events,
until the states of all waiting lanes are written out and their clocks are set to the next interval, which is exact because
waiting times have no memory. A lane's clock is the time that remains in its interval, with the rounding error carried along
(Kahan summation), so that float32 loses nothing however late the time or however many events an interval holds.

Reference: Gillespie 1977, "Exact stochastic simulation of coupled chemical reactions", doi:10.1021/j100540a008.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

from ssagrad.network import Network
from ssagrad.random import Stream, next_exponential, next_uniform

COMPLETE, EXHAUSTED, OVERFLOW, INVALID = range(4)

_EVENTS_PER_CHECK = 8


class Step(NamedTuple):
    """One step of all lanes, as an accumulator sees it: arrays over the lanes [n].

    counts, propensities: tuples of S and R arrays, before the event.
    duration: time spent in this state, up to the event or to the next observation time (0 in a waiting lane).
    reaction: index of the reaction that fired, as a float; R where none did.
    parameters: as the propensities take them, each leaf with a leading axis [n] if `per_path`.
    exponentials: as many independent Exp(1) numbers as the accumulator asked for.
    """

    counts: tuple[jax.Array, ...]
    propensities: tuple[jax.Array, ...]
    duration: jax.Array
    reaction: jax.Array
    parameters: Any
    per_path: bool
    exponentials: tuple[jax.Array, ...]


class Accumulator(NamedTuple):
    """A running sum of each path: `size(network)` columns that start at 0, grow at every step, and are read at every observation.

    increments: from the values so far and the step to what is added to each column.
    integers: the columns are whole numbers, which the float type must be able to hold.
    compensated: carry the rounding of the sum along (Kahan summation; whole numbers need none).
    num_exponentials: random numbers wanted at each step, from the network; they come from the path's own stream.
    num_hidden: how many columns, the first ones, are for the sum's own use and are not read.
    """

    size: Callable[[Network], int]
    increments: Callable[[tuple[jax.Array, ...], Step], tuple[jax.Array, ...]]
    integers: bool = False
    compensated: bool = True
    num_exponentials: Callable[[Network], int] = lambda network: 0
    num_hidden: int = 0


TIME_INTEGRALS = Accumulator(
    size=lambda network: len(network.species),
    increments=lambda values, step: tuple(step.duration * x for x in step.counts),
)
EVENT_COUNTS = Accumulator(
    size=lambda network: len(network.reactions),
    increments=lambda values, step: tuple((abs(step.reaction - r) < 0.5).astype(value.dtype) for r, value in enumerate(values)),
    integers=True,
)


class Sums(NamedTuple):
    """Values of an accumulator, and for each the rounding that is still to be added."""

    values: tuple[jax.Array, ...]
    rounding: tuple[jax.Array, ...]


class Lanes(NamedTuple):
    """State of the loop: what each lane needs for its next event. `clock` is the time left to the lane's next observation."""

    counts: tuple[jax.Array, ...]
    clock: jax.Array
    rounding: jax.Array
    num_events: jax.Array
    stream: Stream
    accumulated: tuple[Sums, ...]


class Recorded(NamedTuple):
    """Result of the loop. columns: counts, then the accumulators' values [n, T, C]; the rest [n] and counts [n, S] at the end."""

    columns: jax.Array
    num_events: jax.Array
    status: jax.Array
    num_observed: jax.Array
    final_counts: jax.Array


def run_lanes(
    streams: jax.Array,
    counts: jax.Array,
    parameters: Any,
    intervals: jax.Array,
    max_events: jax.Array,
    *,
    network: Network,
    accumulators: tuple[Accumulator, ...],
    per_path: bool,
    freeze: bool,
    jump_chain: bool = False,
) -> Recorded:
    """Simulates n paths and records them at T observation times.

    Args:
        streams: uint32 [4, n], see `random.seed_streams`.
        counts: initial counts [S, n]; their dtype is the dtype of the whole kernel.
        parameters: pytree, as the network's propensities take it; each leaf with a leading axis [n] if `per_path`.
        intervals: waiting time from the start to the first observation, then between observations [T], or [n, T] for each path its own.
        max_events: a path stops at the first check (every 8 steps) that finds this many events.
        freeze: what a path that ran out of events shows afterwards: its last state, or NaN.
        jump_chain: intervals are whole numbers of events, and each state lasts its mean waiting time, 1 / total propensity.
    """
    dtype, num_lanes, num_times = counts.dtype, counts.shape[1], intervals.shape[-1]
    intervals = intervals + 0.5 if jump_chain else intervals  # half an event is left over at each observation
    # the largest count that leaves room for the events between two checks; beyond it, floats no longer hold every integer
    largest = 2 ** (int(jnp.finfo(dtype).nmant) + 1) - _EVENTS_PER_CHECK * network.largest_change
    step = partial(_step, network=network, accumulators=accumulators, per_path=per_path, jump_chain=jump_chain)
    advance = partial(_advance, step, network=network, accumulators=accumulators, parameters=parameters)
    interval = (lambda k: intervals[k]) if intervals.ndim == 1 else (lambda k: intervals[lane, k])
    lane = jnp.arange(num_lanes, dtype=jnp.int32)

    def cond(carry):
        return jnp.any(carry[2])

    def body(carry):
        lanes, observed, running, status, columns = carry
        lanes = advance(lanes)
        arrived = running & ~(lanes.clock > 0)
        status = jnp.where(running & jnp.isnan(lanes.clock), INVALID, status)
        status = jnp.where(running & (jnp.stack(_integers(lanes, accumulators)).max(0) > largest), OVERFLOW, status)
        arrived &= status == COMPLETE
        row = jnp.where(arrived, observed, num_times)
        columns = columns.at[lane, row].set(_columns(lanes, accumulators), mode="drop", unique_indices=True)
        observed = observed + arrived.astype(jnp.int32)
        status = jnp.where(running & (status == COMPLETE) & (lanes.num_events >= max_events) & (observed < num_times), EXHAUSTED, status)
        running &= (observed < num_times) & (status == COMPLETE)
        if not accumulators:  # an absorbed path never changes again: its remaining rows are filled in at the end
            running &= lanes.clock > -jnp.inf
        clock = jnp.where(arrived, interval(jnp.minimum(observed, num_times - 1)), lanes.clock)
        lanes = lanes._replace(clock=jnp.where(running, clock, jnp.minimum(lanes.clock, -1)))
        return lanes, observed, running, status, columns

    zeros = jnp.zeros(num_lanes, dtype)
    start = Lanes(
        counts=tuple(counts),
        clock=jnp.broadcast_to(intervals[..., 0], num_lanes),
        rounding=zeros,
        num_events=jnp.zeros(num_lanes, jnp.int32),
        stream=tuple(streams),
        accumulated=tuple(_empty(accumulator, network, zeros) for accumulator in accumulators),
    )
    columns = jnp.full((num_lanes, num_times, _columns(start, accumulators).shape[-1]), jnp.nan, dtype)
    carry = (start, jnp.zeros(num_lanes, jnp.int32), jnp.ones(num_lanes, bool), jnp.zeros(num_lanes, jnp.int32), columns)
    lanes, observed, _, status, columns = lax.while_loop(cond, body, carry)
    stays = (status == COMPLETE) | ((status == EXHAUSTED) & freeze)
    missing = stays[:, None] & (jnp.arange(num_times, dtype=jnp.int32)[None, :] >= observed[:, None])
    columns = jnp.where(missing[..., None], _columns(lanes, accumulators)[:, None], columns)
    return Recorded(columns, lanes.num_events, status, observed, jnp.stack(lanes.counts, axis=-1))


def _advance(step: Callable, lanes: Lanes, *, network: Network, accumulators: tuple, parameters: Any) -> Lanes:
    """Up to `_EVENTS_PER_CHECK` events in every lane.

    The metadata ask XLA's CPU backend to compile this inner loop into one function, which is up to half as fast again for small networks.
    Elsewhere they are ignored. Functions of users stay out of it, because that path of the compiler cannot take every operation; and so do
    parameters that no rate reads, because it aborts the process over an argument without a use.
    """

    @jax.jit
    def events(lanes, parameters):
        return lax.fori_loop(0, _EVENTS_PER_CHECK, lambda _, lanes: step(lanes, parameters), lanes)

    mass_action = all(reaction.propensity is None for reaction in network.reactions)
    is_small = mass_action and len(network.reactions) <= 8 and not accumulators
    parameters = network.rate_constants(parameters) if mass_action and not accumulators else parameters
    with set_xla_metadata(xla_cpu_small_call="true", inlineable="false") if is_small else nullcontext():
        return events(lanes, parameters)


def stage(function: Callable, *arguments: Any) -> Any:
    """function(*arguments), a boundary of fusion on CPUs: XLA computes its arguments and results once, and not again in each of their uses."""
    if jax.default_backend() != "cpu":
        return function(*arguments)
    with set_xla_metadata(inlineable="false"):
        return jax.jit(set_xla_metadata(inlineable=None)(function))(*arguments)  # calls within the function are part of it


def _step(lanes: Lanes, parameters: Any, *, network: Network, accumulators: tuple, per_path: bool, jump_chain: bool) -> Lanes:
    """One event of the direct method in every lane whose next event comes before its next observation."""
    dtype = lanes.clock.dtype
    stream, exponential = next_exponential(lanes.stream, dtype)
    stream, uniform = next_uniform(stream, dtype)
    propensities = _propensities(network, lanes.counts, parameters, per_path)
    cumulative = list(accumulate(propensities))
    # infinite in an absorbing state (whose total can be −0), NaN where a propensity is, or where the total overflows
    total = lax.select(cumulative[-1] < jnp.inf, jnp.abs(cumulative[-1]), jnp.full_like(exponential, jnp.nan))
    if jump_chain:  # one event per unit of the clock; in an absorbing state the event never comes, and NaN stays NaN
        waiting_time = lax.select(total > 0, jnp.ones_like(total), 1 / total)
    else:
        waiting_time = exponential / total + lanes.rounding
    fires = waiting_time < lanes.clock
    clock = lanes.clock - waiting_time
    rounding = lax.select(fires, waiting_time - (lanes.clock - clock), jnp.zeros_like(clock))

    # The first reaction whose cumulative propensity exceeds uniform × total, never one whose propensity is 0; R where none fires. Its index k
    # comes as the root of k² = 1 + 3 + … + (2k − 1): XLA does not repeat a root in each of its uses, as it would repeat the whole sum.
    threshold = lax.select(fires, uniform * cumulative[-1], jnp.full_like(uniform, jnp.inf))
    # (Not below c, rather than at least c: where a propensity is NaN, nothing fires either.)
    reaction = jnp.sqrt(sum((~(threshold < c)).astype(dtype) * (2.0 * r + 1) for r, c in enumerate(cumulative)))
    accumulated = list(lanes.accumulated)
    if accumulators:
        lasted, rest = (1 / total, jnp.zeros_like(total)) if jump_chain else (lanes.clock - clock, jnp.maximum(lanes.clock, 0))
        duration = lax.select(fires, lasted, rest)  # these add up to the interval
        seen = Step(lanes.counts, propensities, duration, reaction, parameters, per_path, ())
        for i, accumulator in enumerate(accumulators):
            stream, exponentials = _draw(stream, accumulator.num_exponentials(network), dtype)
            accumulated[i] = _add(accumulator, accumulated[i], seen._replace(exponentials=exponentials))
    return Lanes(
        counts=jax.vmap(network.next_counts, in_axes=(0, 0, 0 if per_path else None))(lanes.counts, reaction, parameters),
        clock=clock,
        rounding=rounding,
        num_events=lanes.num_events + fires.astype(jnp.int32),
        stream=stream,
        accumulated=tuple(accumulated),
    )


def _draw(stream: Stream, number: int, dtype: Any) -> tuple[Stream, tuple[jax.Array, ...]]:
    exponentials = []
    for _ in range(number):
        stream, exponential = next_exponential(stream, dtype)
        exponentials.append(exponential)
    return stream, tuple(exponentials)


def _propensities(network: Network, counts: tuple, parameters: Any, per_path: bool) -> tuple[jax.Array, ...]:
    """R arrays over the lanes, in the kernel's dtype."""
    dtype = counts[0].dtype

    def of_one_path(counts, parameters):
        return tuple(jnp.asarray(a).astype(dtype) for a in network.rates(counts, parameters))

    return jax.vmap(of_one_path, in_axes=(0, 0 if per_path else None))(counts, parameters)


def _empty(accumulator: Accumulator, network: Network, zeros: jax.Array) -> Sums:
    values = (zeros,) * accumulator.size(network)
    return Sums(values, values if _is_compensated(accumulator) else ())


def _add(accumulator: Accumulator, sums: Sums, step: Step) -> Sums:
    """Kahan summation: millions of small increments lose nothing."""
    increments = accumulator.increments(sums.values, step)
    if not _is_compensated(accumulator):
        return Sums(tuple(map(jnp.add, sums.values, increments)), ())
    wanted = tuple(map(jnp.add, increments, sums.rounding))
    values = tuple(map(jnp.add, sums.values, wanted))
    rounding = tuple(w - (after - before) for w, after, before in zip(wanted, values, sums.values, strict=True))
    return Sums(values, rounding)


def _is_compensated(accumulator: Accumulator) -> bool:
    return accumulator.compensated and not accumulator.integers


def _integers(lanes: Lanes, accumulators: tuple[Accumulator, ...]) -> list[jax.Array]:
    whole = [sums.values for accumulator, sums in zip(accumulators, lanes.accumulated, strict=True) if accumulator.integers]
    return [*lanes.counts, *(value for values in whole for value in values)]


def _columns(lanes: Lanes, accumulators: tuple[Accumulator, ...]) -> jax.Array:
    read = [sums.values[accumulator.num_hidden :] for accumulator, sums in zip(accumulators, lanes.accumulated, strict=True)]
    return jnp.stack([*lanes.counts, *(value for values in read for value in values)], axis=-1)
