"""Exact stochastic simulation of ensembles: Gillespie's direct method, any number of paths in bounded memory, on all cores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.ensemble import Ensemble
from ssagrad.kernel import COMPLETE, EVENT_COUNTS, EXHAUSTED, INVALID, OVERFLOW, TIME_INTEGRALS, Accumulator, Recorded
from ssagrad.network import Network, NetworkError
from ssagrad.parallel import run_paths
from ssagrad.random import seed_streams

_MOST_EVENTS = 2**31 - 1024
_DTYPES = {"single": jnp.float32, "double": jnp.float64}


class SimulationError(RuntimeError):
    """Some paths could not be simulated to the end: out of events, counts too large, or an impossible propensity."""


def simulate(
    key: jax.Array,
    network: Network,
    parameters: Any,
    initial_counts: Any,
    times: Any,
    *,
    num_paths: int,
    start_time: float = 0.0,
    clock: str = "time",
    record: tuple[str, ...] = (),
    parameters_per_path: bool = False,
    precision: str = "single",
    max_events: int | None = None,
    on_exhausted: str = "raise",
    num_threads: int | None = None,
) -> Ensemble:
    """Samples exact paths of the network's Markov jump process and observes them at given times.

    The law is exact up to the rounding of the waiting times and of the choice of reaction: relative 10⁻⁷ in single precision (a reaction
    whose share of the total propensity is below that may fire too seldom, or never), 10⁻¹⁵ in double. Path i depends on the key
    and on i alone: not on num_paths, the number of threads, or the machine's memory.

    Args:
        key: a JAX key; or one key per path [num_paths], where equal keys mean common random numbers (under `jax_debug_key_reuse`, say
            so with `jax.random.clone`).
        network: species and reactions.
        parameters: any pytree that the propensities understand; for mass action a mapping (or an object with attributes) from
            the names of the rate constants to values [1/time], concentrations being molecule counts.
        initial_counts: a mapping from species to molecules (not named: 0; a value may be an array [num_paths]), or [S], or [num_paths, S].
        times: observation times [T], increasing, none before start_time.
        num_paths: how many paths, n.
        start_time: the time at which the initial counts hold.
        clock: "time", or "events": then `times` are numbers of events, every state lasts its mean waiting time in what `record` holds, and
            the observation is of the embedded jump chain (an absorbed path stays in its last state).
        record: any of "time_integrals" (∫ x ds from the start to each time, [n, T, S]) and "event_counts" (firings of each reaction up
            to each time, [n, T, R]).
        parameters_per_path: every leaf of `parameters` has a leading axis [num_paths].
        precision: "single" holds counts exactly below 2²⁴ ≈ 1.7·10⁷; "double" below 2⁵³, needs `jax_enable_x64`, half the speed.
        max_events: stop a path after so many events (checked every 8 events); default about 2·10⁹.
        on_exhausted: what to do with a path that was stopped: "raise"; "freeze" it in its last state; or "nan" for the times not reached.
        num_threads: default all cores (inside `jax.jit`: one).

    Returns:
        Ensemble of n paths with `num_events` [n] and `exhausted` [n]. Inside `jax.jit` nothing can be raised: there, every value that
        could not be simulated is NaN.

    Raises:
        NetworkError: impossible times, counts or parameters. SimulationError: paths that failed, with path, time and counts.
    """
    options = {name: value for name, value in locals().items() if name not in ("key", "network", "parameters", "initial_counts", "times")}
    return simulate_with((), key, network, parameters, initial_counts, times, **options)[0]


def simulate_with(
    accumulators: tuple[Accumulator, ...],
    key: jax.Array,
    network: Network,
    parameters: Any,
    initial_counts: Any,
    times: Any,
    *,
    num_paths: int,
    start_time: float = 0.0,
    clock: str = "time",
    record: tuple[str, ...] = (),
    intervals: jax.Array | None = None,
    parameters_per_path: bool = False,
    precision: str = "single",
    max_events: int | None = None,
    on_exhausted: str = "raise",
    num_threads: int | None = None,
) -> tuple[Ensemble, tuple[jax.Array, ...]]:
    """`simulate`, which also returns the running sums of the accumulators [n, T, C]: what the estimators are made of.

    Args: as `simulate`, and
        intervals: the time from the start to the first observation and between observations, [n, T] for each path its own; `times` are
            then names only.
    """
    if not isinstance(network, Network):
        raise NetworkError(f"expected a Network, for instance from Network.from_text, received {type(network).__name__}")
    dtype = _check_options(precision, on_exhausted, record, clock, num_paths=num_paths, max_events=max_events, num_threads=num_threads)
    times, shared_intervals = check_times(times, start_time, clock)
    counts = _check_counts(network, initial_counts, num_paths, dtype)
    parameters = _check_parameters(network, parameters, num_paths, parameters_per_path, dtype)
    accumulators = (*(_ACCUMULATORS[name] for name in record), *accumulators)
    recorded = run_paths(
        seed_streams(key, num_paths),
        counts,
        parameters,
        (shared_intervals if intervals is None else intervals).astype(dtype),
        np.int32(_MOST_EVENTS if max_events is None else min(max_events, _MOST_EVENTS)),
        network=network,
        accumulators=accumulators,
        per_path=parameters_per_path,
        freeze=on_exhausted == "freeze",
        jump_chain=clock == "events",
        num_threads=num_threads,
    )
    seen = times if intervals is None else start_time + jnp.cumsum(jnp.asarray(intervals), axis=-1)
    _raise_failures(recorded, network, parameters, seen, parameters_per_path, on_exhausted == "raise")
    sizes = [len(network.species), *(accumulator.size(network) - accumulator.num_hidden for accumulator in accumulators)]
    columns = jnp.split(recorded.columns, np.cumsum(sizes)[:-1], axis=-1) if accumulators else [recorded.columns]
    ensemble = Ensemble(
        times=times,
        weights=jnp.ones(recorded.columns.shape[:2], dtype),
        num_events=jnp.asarray(recorded.num_events),
        exhausted=jnp.asarray(recorded.status == EXHAUSTED),
        start_time=start_time,
        species=network.species,
        reactions=network.reaction_names,
        **dict(zip(("counts", *record), columns, strict=False)),
    )
    return ensemble, tuple(columns[1 + len(record) :])


_ACCUMULATORS = {"time_integrals": TIME_INTEGRALS, "event_counts": EVENT_COUNTS}


def check_times(times: Any, start_time: float, clock: str = "time") -> tuple[jax.Array, Any]:
    """Times [T] and the intervals between them [T] (from the start to the first time first), differences of known times taken in float64."""
    if isinstance(times, jax.core.Tracer):
        intervals = jnp.diff(times, prepend=jnp.asarray(start_time, times.dtype))
        possible = (intervals > 0) | ((intervals == 0) & (jnp.arange(len(times)) == 0))
        return times, jnp.where(jnp.all(possible), intervals, jnp.nan)  # nothing can be raised here
    values = np.atleast_1d(np.asarray(times, np.float64))
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise NetworkError(f"expected finite observation times [T], received shape {values.shape}: {times}")
    if not np.isfinite(start_time):
        raise NetworkError(f"expected a finite start_time, received {start_time}")
    if values[0] < start_time:
        raise NetworkError(f"expected observation times from start_time={start_time:g} on, received {values[0]:g} first")
    intervals = np.diff(values, prepend=start_time)
    if (intervals[1:] <= 0).any():
        k = int(np.argmax(intervals[1:] <= 0))
        raise NetworkError(f"expected increasing observation times, received {values[k]:g} and then {values[k + 1]:g} (positions {k}, {k + 1})")
    if clock == "events" and (intervals != np.round(intervals)).any():
        raise NetworkError(f"clock='events': expected times that are whole numbers of events, received {times}")
    return jnp.asarray(values), intervals


def _check_options(precision: str, on_exhausted: str, record: tuple[str, ...], clock: str, **numbers: int | None) -> Any:
    """The kernel's dtype, after a look at every option that has a short list of values."""
    for name, number in numbers.items():
        if number is not None and (number != int(number) or number < 1):
            raise ValueError(f"expected {name} to be a whole number ≥ 1, received {number}")
    if isinstance(record, str):
        raise ValueError(f"expected record as a tuple of names, such as record=('{record}',), received the text '{record}'")
    choices = [("precision", precision, _DTYPES), ("on_exhausted", on_exhausted, ("raise", "freeze", "nan")), ("clock", clock, ("time", "events"))]
    for name, value, allowed in choices + [("record", entry, _ACCUMULATORS) for entry in record]:
        if value not in allowed:
            raise ValueError(f"expected {name} among {list(allowed)}, received '{value}'")
    if precision == "double" and not jax.config.jax_enable_x64:
        raise ValueError("precision='double' needs 64-bit JAX: call jax.config.update('jax_enable_x64', True) before anything else")
    return _DTYPES[precision]


def _check_counts(network: Network, initial_counts: Any, num_paths: int, dtype: Any) -> jax.Array:
    """Initial counts [n, S] in the kernel's dtype."""
    counts = network.counts_from(initial_counts)
    if counts.ndim == 2 and counts.shape[0] != num_paths:
        raise NetworkError(f"expected initial counts for {num_paths} paths, received {counts.shape[0]}")
    largest = 2 ** (jnp.finfo(dtype).nmant + 1)
    if not isinstance(counts, jax.core.Tracer) and (np.asarray(counts) >= largest).any():
        raise NetworkError(
            f"expected initial counts below {largest} (the counts that {np.dtype(dtype)} holds exactly), received {np.asarray(counts).max()}"
            + ("; precision='double' holds counts up to 2⁵³" if dtype == jnp.float32 else "")
        )
    if isinstance(counts, jax.core.Tracer):  # nothing can be raised: NaN, which the kernel hands on
        counts = counts.astype(dtype)
        counts = jnp.where((counts >= 0) & (counts == jnp.round(counts)) & (counts < largest), counts, jnp.nan)
        return jnp.broadcast_to(counts, (num_paths, len(network.species)))
    return np.broadcast_to(counts.astype(dtype), (num_paths, len(network.species)))


def _check_parameters(network: Network, parameters: Any, num_paths: int, per_path: bool, dtype: Any) -> Any:
    """Parameters with every floating or integer leaf in the kernel's dtype."""
    network.check_parameters(parameters)
    parameters = jax.tree.map(lambda leaf: _no_derivative(leaf).astype(dtype) if isinstance(leaf, jax.core.Tracer) else np.asarray(leaf, dtype), parameters)
    for path, leaf in jax.tree_util.tree_leaves_with_path(parameters):
        if per_path and leaf.shape[:1] != (num_paths,):
            name = jax.tree_util.keystr(path)
            raise NetworkError(f"parameter {name}: expected a leading axis of {num_paths} paths (parameters_per_path), received shape {leaf.shape}")
    if not per_path:
        for name in network.parameter_names:
            shape = np.shape(parameters[name] if isinstance(parameters, Mapping) else getattr(parameters, name))
            if shape:
                raise NetworkError(f"rate constant '{name}': expected a scalar (or parameters_per_path=True), received shape {shape}")
    return parameters


@jax.custom_jvp
def _no_derivative(value: jax.Array) -> jax.Array:
    return value


@_no_derivative.defjvp
def _refuse_derivative(primals: tuple, tangents: tuple) -> None:
    raise TypeError("simulate() has no derivative (counts jump); differentiate through an estimator of ssagrad.estimators instead")


def _raise_failures(recorded: Recorded, network: Network, parameters: Any, times: jax.Array, per_path: bool, raise_exhausted: bool) -> None:
    """Raises SimulationError for the first path that failed (where the values are known)."""
    if isinstance(recorded.status, jax.core.Tracer):
        return
    status = np.asarray(recorded.status)
    failed = (status != COMPLETE) & (raise_exhausted | (status != EXHAUSTED))
    if not failed.any():
        return
    path = int(np.argmax(failed))
    observed = int(recorded.num_observed[path])
    reached = times[path] if jnp.ndim(times) == 2 else times
    since = f"after t = {float(reached[observed - 1]):g}" if observed else "before the first observation time"
    counts = dict(zip(network.species, np.asarray(recorded.final_counts[path]).tolist(), strict=True))
    reason = {
        EXHAUSTED: "ran out of events (max_events); give it more, or say on_exhausted='freeze' or 'nan'",
        OVERFLOW: "reached counts that this precision cannot hold exactly; precision='double' holds more (does the population explode?)",
        INVALID: "met a propensity that is negative, infinite, NaN, or positive although reactants are missing",
    }[int(status[path])]
    if status[path] == INVALID:
        of_path = jax.tree.map(lambda leaf: leaf[path], parameters) if per_path else parameters
        reason += _blame(network, recorded.final_counts[path], of_path)
    raise SimulationError(
        f"{int(failed.sum())} of {len(status)} paths failed; path {path} {reason}; "
        f"it got {int(recorded.num_events[path])} events far, {since}, counts {counts}"
    )


def _blame(network: Network, counts: jax.Array, parameters: Any) -> str:
    """Names the reactions whose propensity is NaN at these counts."""
    values = np.asarray(network.propensities(counts, parameters))
    wrong = [network.reaction_text(r) for r, value in zip(network.reactions, values, strict=True) if np.isnan(value)]
    return f": reaction {' and '.join(wrong)}" if wrong else ""
