"""Events of SBML: whenever a trigger becomes true, values are assigned, which may make further triggers true.

A trigger that only counts can turn belongs to the reactions that turn it: after such a reaction its rising edge is tested and its assignments are
made, so that the change of counts is a function of the state, and the law stays exact. What depends on time is left to `simulation`, which
stops at those times and does the same on all paths at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.sbml.expressions import Expression, SbmlError, as_truth, evaluate, leaves

HIDDEN = "what events left behind"  # a key of the parameters that no identifier of SBML can be
MOST_ROUNDS = 1000


class Assignment(NamedTuple):
    """What an event does to a column of the simulation: `column := value`, a count, or `column := value − start` for a variable that has a start."""

    column: str
    value: Expression
    start: Expression | None = None


class Event(NamedTuple):
    """An event whose formulas read columns of the simulation and parameters.

    timed: no reaction can turn the trigger. persistent: it goes on once triggered, whatever the trigger does before it is executed.
    """

    id: str
    trigger: Expression
    initial_value: bool
    persistent: bool
    from_trigger_time: bool
    priority: Expression | None
    delay: Expression | None
    assignments: tuple[Assignment, ...]
    timed: bool = True


class Settled(NamedTuple):
    """State after all events that were due: columns by name, and the delayed events that were triggered, with the values they captured."""

    columns: dict[str, Any]
    triggered: tuple[Any, ...]
    values: tuple[tuple[Any, ...], ...]


class _Round(NamedTuple):
    columns: dict[str, Any]
    last: tuple[Any, ...]
    pending: tuple[Any, ...]  # how often each event waits to be executed
    triggered: tuple[Any, ...]
    values: tuple[tuple[Any, ...], ...]
    number: Any


def settle(
    events: tuple[Event, ...],
    columns: dict[str, Any],
    before: tuple[Any, ...],
    read: Callable[[Mapping[str, Any]], Callable[[Expression], Any]],
    arrays: Any,
    due: tuple[tuple[Any, tuple[Any, ...]], ...] | None = None,
) -> Settled:
    """Executes what has just become due, one event after the other by priority, until nothing is.

    Events without a priority come last, and those that tie in the order of the document (SBML leaves it open). Two events of one explicit priority,
    of which one assigns what the other reads or assigns, give NaN: SBML would toss a coin. So does a value that is no possible count.

    Args:
        before: each trigger before the change.
        read: from columns to the value of a leaf.
        arrays: numpy, for arrays over the paths, or jax.numpy, for one path.
        due: for each event, where a delayed execution is due, and the values captured for it.
    """
    truth = [lambda state, e=e: as_truth(arrays, evaluate(e.trigger, read(state), arrays)) for e in events]
    captured = lambda e, state: tuple(evaluate(f, read(state), arrays) for f in _captured(e))
    shape = np.shape(next(iter(columns.values())))
    false = arrays.zeros(shape, bool)
    full = lambda value: arrays.broadcast_to(arrays.asarray(value, next(iter(columns.values())).dtype), shape)

    def notice(state: _Round) -> _Round:
        """Marks what has become true, and forgets what is no longer true and does not persist."""
        now = tuple(arrays.logical_or(false, t(state.columns)) for t in truth)
        pending, triggered, values = list(state.pending), list(state.triggered), list(state.values)
        for i, event in enumerate(events):
            rises = arrays.logical_and(now[i], arrays.logical_not(state.last[i]))
            pending[i] = pending[i] if event.persistent else pending[i] * now[i].astype(np.int32)
            if event.delay is None:
                pending[i] = pending[i] + rises.astype(np.int32)
            else:
                triggered[i] = arrays.logical_or(triggered[i], rises)
            values[i] = tuple(arrays.where(rises, full(new), old) for new, old in zip(captured(event, state.columns), values[i], strict=True))
        return state._replace(last=now, pending=tuple(pending), triggered=tuple(triggered), values=tuple(values))

    def execute(state: _Round) -> _Round:
        """Executes the first of the pending events, then notices what follows from it."""
        chosen, tied = _first(events, state, read, arrays, full)
        columns = dict(state.columns)
        for i, event in enumerate(events):
            values = state.values[i] if event.from_trigger_time else captured(event, state.columns)
            for (name, _, start), value in zip(event.assignments, values, strict=False):
                value = _possible(full(value), arrays) if start is None else full(value) - full(evaluate(start, read(state.columns), arrays))
                columns[name] = arrays.where(chosen[i], value, columns[name])
        columns = {name: arrays.where(tied, full(np.nan), column) for name, column in columns.items()}
        rest = tuple(p - c.astype(np.int32) for p, c in zip(state.pending, chosen, strict=True))
        return notice(state._replace(columns=columns, pending=rest, number=state.number + 1))

    goes_on = lambda state: arrays.logical_and(_any(state.pending, arrays), state.number < MOST_ROUNDS)
    none = arrays.zeros(shape, np.int32)
    nothing = tuple(tuple(full(0.0) for _ in _captured(e)) for e in events)
    forced = tuple(none for _ in events) if due is None else tuple(d[0].astype(np.int32) for d in due)
    values = nothing if due is None else tuple(d[1] for d in due)
    state = notice(_Round(dict(columns), before, forced, tuple(false for _ in events), values, np.int32(0)))
    if arrays is np:
        while goes_on(state):
            state = execute(state)
    elif len(events) == 1:  # after its own execution, an event can only find its trigger as it was, or false
        state = execute(state)._replace(pending=(none,))
    else:
        state = jax.lax.while_loop(goes_on, execute, state._replace(number=jnp.int32(0)))
    left = _any(state.pending, arrays, axis=0)
    columns = {name: arrays.where(left, full(np.nan), column) for name, column in state.columns.items()}
    return Settled(columns, state.triggered, state.values)


def _captured(event: Event) -> tuple[Expression, ...]:
    """What an event evaluates when it is triggered: its values, then its delay."""
    return (*(assignment.value for assignment in event.assignments), *(() if event.delay is None else (event.delay,)))


def _any(masks: tuple[Any, ...], arrays: Any, axis: int | None = None) -> Any:
    return arrays.any(arrays.stack([arrays.asarray(m) for m in masks]) > 0, axis=axis)


def _possible(value: Any, arrays: Any) -> Any:
    """The count nearest to a value, NaN if that is further away than rounding can explain, or below 0."""
    nearest = arrays.round(value)
    return arrays.where((arrays.abs(value - nearest) <= 1e-4 + 1e-6 * arrays.abs(value)) & (nearest >= 0), nearest, np.nan)


def _first(events: tuple[Event, ...], state: _Round, read: Callable, arrays: Any, full: Callable) -> tuple[list[Any], Any]:
    """Which event each path executes next, and where two of them tie although their order matters."""
    ranks = [full(-np.inf) if e.priority is None else full(evaluate(e.priority, read(state.columns), arrays)) for e in events]
    ranks = [arrays.where(p > 0, arrays.maximum(rank, full(-3e38)), full(-np.inf)) for p, rank in zip(state.pending, ranks, strict=True)]
    best = arrays.max(arrays.stack(ranks), axis=0)
    taken, chosen, tied = arrays.zeros(np.shape(best), bool), [], arrays.zeros(np.shape(best), bool)
    for i, event in enumerate(events):
        is_best = arrays.logical_and(state.pending[i] > 0, ranks[i] == best)
        rivals = [j for j in range(i) if event.priority is not None and events[j].priority is not None and _interfere(event, events[j])]
        for j in rivals:
            tied = arrays.logical_or(tied, arrays.logical_and(is_best, arrays.logical_and(state.pending[j] > 0, ranks[j] == best)))
        chosen.append(arrays.logical_and(is_best, arrays.logical_not(taken)))
        taken = arrays.logical_or(taken, is_best)
    return chosen, tied


def _interfere(a: Event, b: Event) -> bool:
    """Whether the order of two events matters: one assigns what the other assigns or reads."""
    writes = [{assignment.column for assignment in event.assignments} for event in (a, b)]
    reads = [set().union(*(leaves(f, "amount") for f in (e.trigger, *_captured(e), *(() if e.priority is None else (e.priority,))))) for e in (a, b)]
    return bool(writes[0] & (writes[1] | reads[1]) or writes[1] & reads[0])


@dataclass(frozen=True)
class Jump:
    """Change of counts by a reaction and by the events that follow from it at once: a function of (counts, parameters).

    steps: (species, molecules, formula) for each species that the reaction changes by `molecules` or by the value of a formula.
    """

    reaction: str
    steps: tuple[tuple[str, int, Expression | None], ...]
    events: tuple[Event, ...]

    def __call__(self, counts: Mapping[str, jax.Array], parameters: Any) -> dict[str, jax.Array]:
        """Changes of the species that the reaction or an event may change; NaN for a count that is not possible."""
        read = lambda columns: reader(columns, parameters)
        after, changed = {name: jnp.asarray(x) for name, x in counts.items()}, set()
        dtype = next(iter(after.values())).dtype
        for name, molecules, formula in self.steps:
            step = molecules if formula is None else jnp.asarray(evaluate(formula, read(counts)), dtype)
            after[name] = after[name] + step if formula is None else _possible(after[name] + step, jnp)
            changed.add(name)
        if self.events:
            before = tuple(jnp.asarray(as_truth(jnp, evaluate(e.trigger, read(counts), jnp)), bool) for e in self.events)
            after = settle(self.events, after, before, read, jnp).columns
            changed |= {assignment.column for event in self.events for assignment in event.assignments}
        return {name: after[name] - counts[name] for name in sorted(changed)}


def reader(columns: Mapping[str, Any], parameters: Any) -> Callable[[Expression], Any]:
    """Values of leaves in JAX, in the dtype of the counts."""
    first = next(iter(columns.values()), 0.0)
    dtype = first.dtype if jnp.issubdtype(getattr(first, "dtype", np.int32), jnp.floating) else jnp.result_type(float)
    hidden = parameters.get(HIDDEN, {}) if isinstance(parameters, Mapping) else {}

    def read(leaf: Expression) -> Any:
        if leaf.operator == "amount":
            return jnp.asarray(columns[leaf.value], dtype)
        if leaf.operator == "origin":
            return jnp.asarray(hidden["origin"][leaf.value], dtype) if "origin" in hidden else 0.0
        if leaf.operator == "passed":
            if "passed" not in hidden:
                raise SbmlError("an event of this model depends on time and on counts: simulate it with Model.simulate")
            return jnp.asarray(hidden["passed"], dtype)[leaf.value]
        if leaf.operator != "parameter":
            raise SbmlError(f"a formula reads '{leaf.value}', which has no value while paths are simulated")
        try:
            value = parameters[leaf.value] if isinstance(parameters, Mapping) else getattr(parameters, leaf.value)
        except (KeyError, AttributeError):
            raise SbmlError(f"no parameter '{leaf.value}' among {list(parameters) if isinstance(parameters, Mapping) else type(parameters)}") from None
        return jnp.asarray(value, dtype) if getattr(value, "dtype", None) != dtype else value

    return read
