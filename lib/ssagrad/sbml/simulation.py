"""Exact paths of a model with events: the simulation stops wherever time can turn a trigger, and goes on from there with a new stream of numbers.

Between two such times nothing but counts can turn a trigger, and those events belong to the reactions (`events.Jump`). Stopping changes no law,
as waiting times have no memory. What happens at a stop is computed in float64 for all paths at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.ensemble import Ensemble
from ssagrad.sbml.clock import ROUNDING, next_turn, truths
from ssagrad.sbml.events import HIDDEN, MOST_ROUNDS, Event, settle
from ssagrad.sbml.expressions import Expression, SbmlError, as_truth, evaluate, leaves, value_of
from ssagrad.simulate import SimulationError, check_times, simulate

MOST_STOPS = 10_000


class _Due(NamedTuple):
    """A delayed event: when it is executed, which one, on which paths [n], with which values [n]."""

    time: float
    event: int
    paths: np.ndarray
    values: tuple[np.ndarray, ...]


class _State(NamedTuple):
    """All paths at one time: columns [n] by name, what variables had been when the segment began [n], truth of the triggers [E][n], delays."""

    time: float
    columns: dict[str, np.ndarray]
    origin: dict[str, np.ndarray]
    last: tuple[np.ndarray, ...]
    due: tuple[_Due, ...]


def simulate_model(
    model: Any, key: jax.Array, parameters: Mapping[str, Any], initial_counts: Any, times: Any, *, num_paths: int, record: tuple[str, ...] = (), **options: Any
) -> Ensemble:
    """`Model.simulate`, with all parameters and counts given."""
    if not model.events:
        return simulate(key, model.network, parameters, initial_counts, times, num_paths=num_paths, record=record, **options)
    _check(model, parameters, initial_counts, times, options)
    wanted = np.asarray(check_times(times, 0.0)[0], float)
    run = _Run(model, parameters, num_paths, options.get("parameters_per_path", False))
    counts = np.broadcast_to(np.asarray(model.network.counts_from(initial_counts), float), (num_paths, len(model.network.species)))
    columns = dict(zip(model.network.species, counts.T, strict=True))
    first = tuple(np.full(num_paths, event.initial_value) for event in model.events)
    state = run.settle(_State(0.0, columns, {name: np.zeros(num_paths) for name, _ in model.variables.values()}, first, ()), after=False)
    rows = [run.row(state)] if wanted[0] == 0 else []
    state, segments = run.settle(state, after=True), []
    while state.time < wanted[-1]:
        if len(segments) == MOST_STOPS:
            raise SbmlError(f"events stop the simulation more than {MOST_STOPS} times, the last time at t = {state.time:g}")
        stop = min(run.next_stop(state), wanted[-1])
        near = wanted[np.argmin(np.abs(wanted - stop))]
        stop = near if abs(near - stop) <= ROUNDING * max(1.0, stop) else stop  # one time, but for rounding
        inner = wanted[(wanted > state.time) & (wanted < stop)]
        segment = run.segment(_key(key, len(segments)), state, np.append(inner, stop), record, options)
        segments.append((segment, len(inner), stop in wanted))
        rows += [run.row(run.at(state, segment, k, inner[k])) for k in range(len(inner))]
        state = run.settle(run.at(state, segment, len(inner), stop), after=False)
        rows += [run.row(state)] if stop in wanted else []
        state = run.settle(state, after=True)
    return _join(model, jnp.asarray(wanted), np.stack(rows, axis=1), segments, record, has_start=bool(wanted[0] == 0))


class _Run:
    """What stays the same while one ensemble is simulated."""

    def __init__(self, model: Any, parameters: Mapping[str, Any], num_paths: int, per_path: bool) -> None:
        self.model, self.num_paths, self.per_path = model, num_paths, per_path
        self.given = parameters
        self.parameters = {name: np.asarray(value, float) for name, value in parameters.items()}

    def read(self, state: _State, *, after: bool) -> Callable:
        """From columns to the values of leaves, at the state's time or right after it."""

        def of(columns: Mapping[str, np.ndarray]) -> Callable[[Expression], Any]:
            def leaf_value(leaf: Expression) -> Any:
                if leaf.operator == "passed":
                    return truths([self.model.comparisons[leaf.value]], leaf_value, state.time, after=after)[0]
                if leaf.operator == "amount":
                    return columns[leaf.value]
                if leaf.operator == "time":
                    return np.asarray(state.time)
                return state.origin[leaf.value] if leaf.operator == "origin" else self.parameters[leaf.value]

            return leaf_value

        return of

    def settle(self, state: _State, *, after: bool) -> _State:
        """Executes all events that are due at the state's time (or right after it), and notes the delayed ones that were triggered."""
        for _ in range(MOST_ROUNDS):
            state = self._settled(state, after=after)
            if not any(d.time <= state.time for d in state.due):  # a delay of 0 is due at once
                return state
        raise SimulationError(f"at t = {state.time:g}: events with a delay of 0 set off one another without end")

    def _settled(self, state: _State, *, after: bool) -> _State:
        events, read = self.model.events, self.read(state, after=after)
        now = [d for d in state.due if abs(d.time - state.time) <= ROUNDING * max(1.0, state.time)]
        later = [d for d in state.due if d not in now] if now else list(state.due)
        with np.errstate(all="ignore"):
            settled = settle(events, state.columns, state.last, read, np, self._forced(now))
            last = tuple(np.broadcast_to(as_truth(np, evaluate(e.trigger, read(settled.columns), np)), self.num_paths) for e in events)
        if any(np.isnan(column).any() for column in settled.columns.values()):
            raise SimulationError(f"at t = {state.time:g}: {_impossible(self.model)}")
        for i, event in enumerate(events):
            if event.delay is None:
                continue
            later = [d if event.persistent or d.event != i else d._replace(paths=d.paths & last[i]) for d in later]
            if settled.triggered[i].any():
                later.append(self._delayed(event, i, state.time, settled.triggered[i], settled.values[i]))
        return state._replace(columns=settled.columns, last=last, due=tuple(d for d in later if d.paths.any()))

    def _forced(self, now: list[_Due]) -> tuple[tuple[np.ndarray, tuple[np.ndarray, ...]], ...]:
        """For each event, on which paths a delayed execution is due, with its values."""
        forced = []
        for i, event in enumerate(self.model.events):
            size = len(event.assignments) + (event.delay is not None)
            paths, values = np.zeros(self.num_paths, bool), tuple(np.zeros(self.num_paths) for _ in range(size))
            for d in now:
                if d.event == i:
                    paths, values = paths | d.paths, tuple(np.where(d.paths, new, old) for new, old in zip(d.values, values, strict=True))
            forced.append((paths, values))
        return tuple(forced)

    def _delayed(self, event: Event, i: int, time: float, paths: np.ndarray, values: tuple[np.ndarray, ...]) -> _Due:
        delays = values[-1][paths]
        if not (delays == delays[0]).all() or not 0 <= delays[0] < np.inf:
            raise SbmlError(f"event '{event.id}': expected one delay ≥ 0 for all paths, received values from {delays.min():g} to {delays.max():g}")
        return _Due(time + float(delays[0]), i, paths, values)

    def next_stop(self, state: _State) -> float:
        """The next time at which a trigger may turn or a delayed event is executed."""
        read = self.read(state, after=True)(state.columns)
        return min([next_turn(self.model.comparisons, read, state.time), *(d.time for d in state.due)])

    def segment(self, key: jax.Array, state: _State, times: np.ndarray, record: tuple[str, ...], options: Mapping[str, Any]) -> Ensemble:
        """Paths from a state to the last of the times, in which only counts can turn a trigger."""
        model = self.model
        shifted = set(model.variables)
        counts = np.stack([np.zeros(self.num_paths) if name in shifted else state.columns[name] for name in model.network.species], axis=1)
        parameters, per_path = dict(self.given), self.per_path or bool(shifted)
        spread = (lambda value: np.broadcast_to(np.asarray(value, float), (self.num_paths, *np.shape(value)))) if per_path and not self.per_path else np.asarray
        parameters = {name: spread(value) for name, value in parameters.items()}
        hidden = {}
        if shifted:
            hidden["origin"] = {name: state.origin[name] + state.columns[column] for column, (name, _) in model.variables.items()}
        if any(leaves(event.trigger, "passed") and not event.timed for event in model.events):
            flags = truths(model.comparisons, self.read(state, after=True)(state.columns), state.time, after=True)
            flags = np.stack([np.broadcast_to(flag, self.num_paths) for flag in flags], axis=1).astype(float)
            hidden["passed"] = flags if per_path else flags[0]
        parameters[HIDDEN] = hidden
        options = dict(options) | {"parameters_per_path": per_path}
        try:
            return simulate(key, model.network, parameters, counts, times, num_paths=self.num_paths, start_time=state.time, record=record, **options)
        except SimulationError as error:
            hint = f"; {_impossible(model)}" if "nan" in str(error) else ""
            raise SimulationError(f"{error}{hint}") from None

    def at(self, state: _State, segment: Ensemble, k: int, time: float) -> _State:
        """The state at the k-th time of a segment that began with another."""
        found = np.asarray(segment.counts[:, k], float)
        if np.isnan(found).any():
            raise SimulationError(f"before t = {time:g}: {_impossible(self.model)}")
        columns = dict(zip(self.model.network.species, found.T, strict=True))
        origin = {name: state.origin[name] + state.columns[column] for column, (name, _) in self.model.variables.items()}
        now = state._replace(time=float(time), columns=columns, origin=origin)
        # time had turned nothing since the segment began: what counts turned has been dealt with there
        read = self.read(state._replace(origin=origin), after=True)(columns)
        with np.errstate(all="ignore"):
            last = tuple(np.broadcast_to(as_truth(np, evaluate(e.trigger, read, np)), self.num_paths) for e in self.model.events)
        return now._replace(last=last)

    def row(self, state: _State) -> np.ndarray:
        """What is observed [n, S]: counts, and the values of variables."""
        read = self.read(state, after=False)(state.columns)
        values = [value_of(self.model.variables[name][1], read) if name in self.model.variables else column for name, column in state.columns.items()]
        return np.stack([np.broadcast_to(value, self.num_paths) for value in values], axis=1)


def _join(
    model: Any, times: jax.Array, counts: np.ndarray, segments: list[tuple[Ensemble, int, bool]], record: tuple[str, ...], *, has_start: bool
) -> Ensemble:
    """One ensemble from the segments, each with its number of inner observations and whether its end is observed; sums go on from one to the next."""
    sums = {name: [] for name in record}
    totals = {name: 0.0 for name in record}
    for segment, inner, has_end in segments:
        for name in record:
            values = getattr(segment, name) + totals[name]
            if has_start and not sums[name]:
                sums[name].append(jnp.zeros_like(values[:, :1]))
            sums[name].append(values[:, : inner + has_end])
            totals[name] = values[:, -1:]
    species = tuple(model.variables[name][0] if name in model.variables else name for name in model.network.species)
    dtype = segments[0][0].counts.dtype if segments else jnp.float32
    num_events = sum((segment.num_events for segment, _, _ in segments), jnp.zeros(len(counts), jnp.int32))
    ensemble = Ensemble(
        times=times,
        counts=jnp.asarray(counts, dtype),
        weights=jnp.ones(counts.shape[:2], dtype),
        num_events=num_events,
        exhausted=jnp.zeros(len(counts), bool),
        species=species,
        reactions=model.network.reaction_names,
    )
    return replace(ensemble, **{name: jnp.concatenate(parts, axis=1) for name, parts in sums.items()})


def _check(model: Any, parameters: Mapping[str, Any], initial_counts: Any, times: Any, options: Mapping[str, Any]) -> None:
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((parameters, initial_counts, times))):
        raise SbmlError("a model with events is simulated with known values only: not inside jax.jit or jax.grad")
    for name, usual in (("start_time", 0.0), ("clock", "time"), ("on_exhausted", "raise")):
        if options.get(name, usual) != usual:
            raise SbmlError(f"a model with events is simulated with {name}={usual!r}, received {options[name]!r}")


def _key(key: jax.Array, segment: int) -> jax.Array:
    if not hasattr(key, "dtype"):
        raise ValueError(f"expected a JAX key, for instance jax.random.key(0), received {key!r}")
    key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    return jax.random.fold_in(key, segment) if key.ndim == 0 else jax.vmap(jax.random.fold_in, (0, None))(key, segment)


def _impossible(model: Any) -> str:
    names = sorted({a.column for event in model.events for a in event.assignments if a.start is None})
    return (
        f"a count is not a number: an event gave one of {names} a value that is no whole number ≥ 0 of molecules, a stoichiometry took more than there "
        f"was, two events of one priority interfered, or events set off one another without end"
    )
