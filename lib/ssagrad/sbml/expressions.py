"""Formulas as nested tuples: what they read, what they are worth in NumPy or JAX, and how they are written.

A formula is a tree that compares and hashes by value, so that two readings of one document give equal networks, which share their compiled
simulation. Its leaves say where a value comes from: `amount` (molecules of a species), `parameter`, `origin` and `passed` (what events left
behind, see `events`), `time`, and `name` as long as nothing is known about a symbol.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.network import NetworkError

MOST_NODES, MOST_DEPTH = 20_000, 100
LEAVES = {"name", "amount", "parameter", "origin", "passed", "time"}
TRUTHS = {"eq", "neq", "lt", "leq", "gt", "geq", "and", "or", "not", "xor", "implies", "true", "false", "passed"}


class SbmlError(NetworkError):
    """The document cannot be read, or says what exact simulation cannot follow; the message names the element and what to do."""


class Expression(NamedTuple):
    """One node: an operator with its arguments; a leaf has a `value`, a name or a number."""

    operator: str
    arguments: tuple[Expression, ...] = ()
    value: Any = None


def number(value: float) -> Expression:
    """The constant."""
    return Expression("number", (), float(value))


def apply(operator: str, *arguments: Expression) -> Expression:
    """The operator of arguments, sums of sums and products of products being one node; SbmlError beyond MOST_NODES or MOST_DEPTH."""
    if operator in ("plus", "times"):
        arguments = tuple(inner for a in arguments for inner in (a.arguments if a.operator == operator else (a,)))
    return checked(Expression(operator, arguments))


def nodes(expression: Expression) -> Iterator[Expression]:
    """Every node of the tree."""
    waiting = [expression]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.arguments)


def checked(expression: Expression) -> Expression:
    """The expression, if it is not too large to be simulated."""
    waiting, seen = [(expression, 1)], 0
    while waiting:
        node, depth = waiting.pop()
        seen += 1
        if seen > MOST_NODES or depth > MOST_DEPTH:
            raise SbmlError(
                f"a formula has more than {MOST_NODES} operations or is nested more than {MOST_DEPTH} deep once functions and rules are inserted; "
                "write it in several reactions, or simplify it"
            )
        waiting.extend((argument, depth + 1) for argument in node.arguments)
    return expression


def leaves(expression: Expression, *kinds: str) -> set[Any]:
    """Values of the leaves of these kinds, such as the names of the parameters that it reads."""
    return {node.value for node in nodes(expression) if node.operator in kinds}


def substitute(expression: Expression, replacement: Callable[[Expression], Expression | None]) -> Expression:
    """The expression with some leaves replaced; `replacement` gives None for those that stay."""
    if not expression.arguments:
        return replacement(expression) or expression
    found = tuple(substitute(argument, replacement) for argument in expression.arguments)
    return expression if found == expression.arguments else apply(expression.operator, *found)


def evaluate(expression: Expression, read: Callable[[Expression], Any], arrays: Any = jnp, active: Any = None) -> Any:
    """The value of the expression: an array or a scalar of `arrays` (jax.numpy, or numpy in float64).

    Args:
        read: the value of a leaf.
        active: where the value is wanted at all. A piece of a `piecewise` that is not taken divides by 1 and takes the logarithm of 1, so that
            its derivative is no NaN.
    """
    operator = expression.operator
    if operator == "number":
        return expression.value
    if operator in LEAVES:
        return read(expression)
    if operator == "piecewise":
        return _piecewise(expression.arguments, read, arrays, active)
    values = [evaluate(argument, read, arrays, active) for argument in expression.arguments]
    if operator in _LOGIC:
        return _LOGIC[operator](arrays, *[as_truth(arrays, value) for value in values])
    values = [_figure(arrays, value) for value in values]
    if active is not None and operator in _DELICATE:
        which = _DELICATE[operator]
        values[which] = arrays.where(active, values[which], 1.0)
    if operator == "power":
        exponent = expression.arguments[1]
        return _power(arrays, *values, exponent.value if exponent.operator == "number" else None)
    return _OPERATIONS[operator](arrays, *values)


def _piecewise(arguments: tuple[Expression, ...], read: Callable, arrays: Any, active: Any) -> Any:
    """Value, condition, value, condition, …, and the value otherwise (NaN if it is left out)."""
    open_, pieces = (True if active is None else active), []
    for value, condition in zip(arguments[::2], arguments[1::2], strict=False):
        holds = as_truth(arrays, evaluate(condition, read, arrays, open_))
        taken = arrays.logical_and(open_, holds)
        pieces.append((taken, _figure(arrays, evaluate(value, read, arrays, taken))))
        open_ = arrays.logical_and(open_, arrays.logical_not(holds))
    result = _figure(arrays, evaluate(arguments[-1], read, arrays, open_)) if len(arguments) % 2 else math.nan
    for taken, value in reversed(pieces):
        result = arrays.where(taken, value, result)
    return result


def as_truth(arrays: Any, value: Any) -> Any:
    """A value as a truth: a number is true unless it is 0."""
    return value if isinstance(value, bool) or getattr(value, "dtype", None) == bool else arrays.not_equal(value, 0)


def _figure(arrays: Any, value: Any) -> Any:
    is_truth = isinstance(value, bool) or getattr(value, "dtype", None) == bool
    return arrays.where(value, 1.0, 0.0) if is_truth else value


def _power(arrays: Any, base: Any, exponent: Any, known: float | None) -> Any:
    """Whole exponents up to 64 by multiplication, which has the right derivative and sign everywhere."""
    if known is not None and known == round(known) and abs(known) <= 64:
        result = reduce(lambda product, _: product * base, range(int(abs(known))), 1.0)
        return arrays.divide(1.0, result) if known < 0 else result
    return arrays.power(arrays.asarray(base, getattr(exponent, "dtype", None)), exponent)


def _chain(compare: Callable) -> Callable:
    def of(arrays: Any, *values: Any) -> Any:
        links = [compare(arrays, a, b) for a, b in zip(values[:-1], values[1:], strict=True)]
        return reduce(arrays.logical_and, links, True)

    return of


_LOGIC = {
    "and": lambda arrays, *values: reduce(arrays.logical_and, values, True),
    "or": lambda arrays, *values: reduce(arrays.logical_or, values, False),
    "xor": lambda arrays, *values: reduce(arrays.logical_xor, values, False),
    "not": lambda arrays, value: arrays.logical_not(value),
    "implies": lambda arrays, a, b: arrays.logical_or(arrays.logical_not(a), b),
    "true": lambda arrays: True,
    "false": lambda arrays: False,
}
_DELICATE = {"divide": 1, "ln": 0, "log": 1, "root": 1, "power": 0, "quotient": 1, "rem": 1}


def _factorial(arrays: Any, value: Any) -> Any:
    if arrays is np:
        return np.vectorize(lambda x: math.gamma(x + 1) if 0 <= x < 170 else math.nan, otypes=[float])(value)
    return jnp.exp(jax.lax.lgamma(jnp.asarray(value + 1.0)))


_OPERATIONS: Mapping[str, Callable] = {
    "plus": lambda arrays, *values: sum(values) if values else 0.0,
    "times": lambda arrays, *values: math.prod(values[1:], start=values[0]) if values else 1.0,
    "minus": lambda arrays, *values: values[0] - values[1] if len(values) > 1 else -values[0],
    "divide": lambda arrays, a, b: arrays.divide(a, b),
    "root": lambda arrays, degree, value: _power(arrays, value, arrays.divide(1.0, degree), None),
    "ln": lambda arrays, value: arrays.log(value),
    "log": lambda arrays, base, value: arrays.log(value) / arrays.log(base),
    "eq": _chain(lambda arrays, a, b: arrays.equal(a, b)),
    "neq": lambda arrays, a, b: arrays.not_equal(a, b),
    "lt": _chain(lambda arrays, a, b: arrays.less(a, b)),
    "leq": _chain(lambda arrays, a, b: arrays.less_equal(a, b)),
    "gt": _chain(lambda arrays, a, b: arrays.greater(a, b)),
    "geq": _chain(lambda arrays, a, b: arrays.greater_equal(a, b)),
    "max": lambda arrays, *values: reduce(arrays.maximum, values),
    "min": lambda arrays, *values: reduce(arrays.minimum, values),
    "quotient": lambda arrays, a, b: arrays.trunc(arrays.divide(a, b)),
    "rem": lambda arrays, a, b: a - b * arrays.trunc(arrays.divide(a, b)),
    "factorial": _factorial,
    "ceiling": lambda arrays, value: arrays.ceil(value),
    **{name: (lambda name: lambda arrays, value: getattr(arrays, name)(value))(name) for name in ("exp", "abs", "floor", "sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{f"arc{name}": (lambda name: lambda arrays, value: getattr(arrays, f"arc{name}")(value))(name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    "sec": lambda arrays, value: 1 / arrays.cos(value),
    "csc": lambda arrays, value: 1 / arrays.sin(value),
    "cot": lambda arrays, value: 1 / arrays.tan(value),
    "sech": lambda arrays, value: 1 / arrays.cosh(value),
    "csch": lambda arrays, value: 1 / arrays.sinh(value),
    "coth": lambda arrays, value: 1 / arrays.tanh(value),
    "arcsec": lambda arrays, value: arrays.arccos(arrays.divide(1.0, value)),
    "arccsc": lambda arrays, value: arrays.arcsin(arrays.divide(1.0, value)),
    "arccot": lambda arrays, value: arrays.arctan(arrays.divide(1.0, value)),
    "arcsech": lambda arrays, value: arrays.arccosh(arrays.divide(1.0, value)),
    "arccsch": lambda arrays, value: arrays.arcsinh(arrays.divide(1.0, value)),
    "arccoth": lambda arrays, value: arrays.arctanh(arrays.divide(1.0, value)),
}
# Operator: the fewest and the most arguments (None: any number) that a document may give it.
ARITY: Mapping[str, tuple[int, int | None]] = {
    **dict.fromkeys(_OPERATIONS, (1, 1)),
    **dict.fromkeys(("plus", "times", "and", "or", "xor"), (0, None)),
    **dict.fromkeys(("max", "min", "piecewise"), (1, None)),
    **dict.fromkeys(("eq", "lt", "leq", "gt", "geq"), (2, None)),
    **dict.fromkeys(("divide", "root", "log", "neq", "quotient", "rem", "power", "implies"), (2, 2)),
    **dict.fromkeys(("true", "false"), (0, 0)),
    "minus": (1, 2),
    "not": (1, 1),
}


def value_of(expression: Expression, read: Callable[[Expression], Any]) -> Any:
    """The value in float64, without warnings; impossible operations give NaN or infinity."""
    with np.errstate(all="ignore"):
        return evaluate(expression, lambda leaf: np.asarray(read(leaf), float), np)
