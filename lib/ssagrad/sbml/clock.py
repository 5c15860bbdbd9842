"""Comparisons with time in triggers, such as `time >= 25`: when they turn, and what they say at and after such a moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssagrad.sbml.expressions import Expression, SbmlError, apply, leaves, number, value_of

_COMPARISONS = {"eq": np.equal, "neq": np.not_equal, "lt": np.less, "leq": np.less_equal, "gt": np.greater, "geq": np.greater_equal}
ROUNDING = 1e-9  # two times whose distance is this part of them are one


class Comparison(NamedTuple):
    """`slope × time + intercept` compared with 0; both may read parameters and what events assign, but no counts."""

    operator: str
    slope: Expression
    intercept: Expression


def take_out(trigger: Expression, comparisons: list[Comparison], counted: set[str], where: str) -> Expression:
    """The trigger with its comparisons with time replaced by leaves `passed`, which are added to the list.

    Args:
        counted: the species, whose counts no time may be compared with.

    Raises:
        SbmlError: time in a form whose turning points cannot be foreseen.
    """
    if not leaves(trigger, "time"):
        return trigger
    if trigger.operator in _COMPARISONS:
        pairs = list(zip(trigger.arguments[:-1], trigger.arguments[1:], strict=True))
        parts = []
        for left, right in pairs:
            line = _line(apply("minus", left, right))
            if line is None or (leaves(line[0], "amount") | leaves(line[1], "amount")) & counted:
                raise SbmlError(f"{where} compares time in a way whose turning point cannot be foreseen; compare time alone with parameters: time >= t_1")
            comparison = Comparison(trigger.operator, *line)
            if comparison not in comparisons:
                comparisons.append(comparison)
            parts.append(Expression("passed", (), comparisons.index(comparison)))
        return parts[0] if len(parts) == 1 else apply("and", *parts)
    if trigger.operator in ("and", "or", "not", "xor", "implies"):
        return apply(trigger.operator, *[take_out(argument, comparisons, counted, where) for argument in trigger.arguments])
    raise SbmlError(f"{where} reads time outside a comparison such as time >= t_1, combined by and, or, not; write it so")


def _line(formula: Expression) -> tuple[Expression, Expression] | None:
    """Slope and intercept of a formula that is linear in time, else None."""
    if not leaves(formula, "time"):
        return number(0), formula
    if formula.operator == "time":
        return number(1), number(0)
    operator, arguments = formula.operator, formula.arguments
    lines = [_line(argument) for argument in arguments]
    if any(line is None for line in lines):
        return None
    if operator in ("plus", "minus"):
        return tuple(_folded(operator, *[line[part] for line in lines]) for part in (0, 1))
    moving = [line for argument, line in zip(arguments, lines, strict=True) if leaves(argument, "time")]
    fixed = [argument for argument in arguments if not leaves(argument, "time")]
    if operator == "times" and len(moving) == 1:
        return tuple(_folded("times", *fixed, part) for part in moving[0])
    if operator == "divide" and not leaves(arguments[1], "time"):
        return tuple(_folded("divide", part, arguments[1]) for part in lines[0])
    return None


def _folded(operator: str, *arguments: Expression) -> Expression:
    """The operation, carried out if its arguments are numbers."""
    found = apply(operator, *arguments)
    return number(float(value_of(found, lambda leaf: np.nan))) if all(a.operator == "number" for a in arguments) else found


def truths(comparisons: Sequence[Comparison], read: Callable[[Expression], Any], time: float, *, after: bool) -> list[Any]:
    """Each comparison at a time, or right `after` it: arrays over the paths."""
    found = []
    for comparison in comparisons:
        slope, intercept = value_of(comparison.slope, read), value_of(comparison.intercept, read)
        root = _root(slope, intercept)
        here = np.abs(time - root) <= ROUNDING * np.maximum(1.0, np.abs(time))
        distance = np.where(here, slope if after else 0.0, slope * time + intercept)
        found.append(_COMPARISONS[comparison.operator](distance, 0.0))
    return found


def next_turn(comparisons: Sequence[Comparison], read: Callable[[Expression], Any], time: float) -> float:
    """The first time after `time` at which a comparison turns; infinity if none does.

    Raises:
        SbmlError: paths for which it would be another time.
    """
    turns = [np.inf]
    for comparison in comparisons:
        roots = np.ravel(_root(value_of(comparison.slope, read), value_of(comparison.intercept, read)))
        if np.isnan(roots).any():
            raise SbmlError("a trigger compares time with a value that is not a number")
        if (roots != roots[0]).any():
            raise SbmlError("a trigger compares time with a value that differs between paths; let only events that depend on time alone assign it")
        if time + ROUNDING * max(1.0, abs(time)) < roots[0] < np.inf:
            turns.append(float(roots[0]))
    return min(turns)


def _root(slope: Any, intercept: Any) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.asarray(np.where(slope == 0, np.inf, -intercept / np.where(slope == 0, 1.0, slope)), float)
