"""Which kinetic laws are stochastic mass action: a constant times falling factorials of counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from ssagrad.sbml.expressions import TRUTHS, Expression, number


class MassAction(NamedTuple):
    """`factor × rate × ∏ x (x − 1) … / m!` with m molecules of each species in `orders`; `rate` None meaning 1."""

    rate: str | None
    factor: float
    orders: dict[str, int]


def recognise(law: Expression, consumed: Mapping[str, int], change: Mapping[str, int]) -> MassAction | None:
    """The law as mass action, or None: it has to be a product of numbers, at most one parameter, and whole falling factorials.

    A species that the law reads and the reaction does not name (a modifier) becomes a catalyst, on both sides.

    Args:
        consumed: molecules of each species on the left side: the law must be 0 where they are missing.
        change: net change of each species, which must not be below −m.
    """
    constant, powers = _factors(law)
    rates, orders, falling = [], {}, {}
    for base, power in powers.items():
        taken = _taken(base)
        if power == 0:
            continue
        if base.operator == "parameter" and power == 1:
            rates.append(base.value)
        elif taken is not None and power == 1 and taken[1] not in falling.setdefault(taken[0], set()):
            falling[taken[0]].add(taken[1])
        else:
            return None
    for name, steps in falling.items():
        if steps != set(range(len(steps))):
            return None
        orders[name] = len(steps)
    enough = all(orders.get(name, 0) >= molecules for name, molecules in consumed.items())
    if len(rates) > 1 or not 0 < constant < math.inf or not enough or any(orders.get(name, 0) + m < 0 for name, m in change.items()):
        return None
    return MassAction(rates[0] if rates else None, constant * math.prod(math.factorial(m) for m in orders.values()), orders)


def _taken(base: Expression) -> tuple[str, int] | None:
    """(X, j) for the factor X − j."""
    if base.operator == "amount":
        return base.value, 0
    if base.operator in ("minus", "plus") and len(base.arguments) == 2:
        first, second = base.arguments
        if base.operator == "plus" and second.operator == "amount":
            first, second = second, first
        taken = _constant(second) * (1 if base.operator == "minus" else -1)
        if first.operator == "amount" and taken > 0 and taken == round(taken):
            return first.value, int(taken)
    return None


def _constant(expression: Expression) -> float:
    if expression.operator == "minus" and len(expression.arguments) == 1:
        return -_constant(expression.arguments[0])
    return expression.value if expression.operator == "number" else math.nan


def _factors(expression: Expression) -> tuple[float, dict[Expression, int]]:
    """A product as a number and powers of whatever is no product."""
    operator, arguments = expression.operator, expression.arguments
    if operator == "number":
        return expression.value, {}
    if operator == "times":
        constant, powers = 1.0, {}
        for argument in arguments:
            constant, powers = _multiply((constant, powers), _factors(argument), 1)
        return constant, powers
    if operator == "divide":
        return _multiply(_factors(arguments[0]), _factors(arguments[1]), -1)
    if operator == "minus" and len(arguments) == 1:
        constant, powers = _factors(arguments[0])
        return -constant, powers
    if operator == "power" and _constant(arguments[1]) in range(-8, 9):
        return _multiply((1.0, {}), _factors(arguments[0]), int(_constant(arguments[1])))
    return 1.0, {expression: 1}


def _multiply(left: tuple[float, dict], right: tuple[float, dict], power: int) -> tuple[float, dict]:
    constant, powers = left[0], dict(left[1])
    if right[0] == 0 and power < 0:
        constant = math.nan
    else:
        constant *= right[0] ** power
    for base, times in right[1].items():
        powers[base] = powers.get(base, 0) + power * times
    return constant, powers


_KEEPS_SIGN = {"plus", "max", "min", "piecewise", "factorial", "root", "floor", "ceiling", "quotient"}
_NEVER_NEGATIVE = TRUTHS | {"amount", "parameter", "origin", "exp", "abs", "cosh"}


def cannot_be_negative(law: Expression) -> bool:
    """Whether no values ≥ 0 of counts and parameters make the law negative, as far as its form shows (`k X (X − 1)` passes: X is whole)."""
    if law.operator in _NEVER_NEGATIVE:
        return True
    if law.operator == "number":
        return law.value >= 0
    if law.operator == "power":
        return cannot_be_negative(law.arguments[0]) or _constant(law.arguments[1]) % 2 == 0
    if law.operator in ("times", "divide", "minus"):
        constant, powers = _factors(law)
        odd = [base for base, power in powers.items() if power % 2]
        falling = {taken for base in odd if (taken := _taken(base)) is not None}
        whole = {(name, step) for name, step in falling if all((name, below) in falling for below in range(step))}
        rest = [base for base in odd if _taken(base) not in whole]
        return constant >= 0 and all(base != law and cannot_be_negative(base) for base in rest)
    pieces = law.arguments[::2] if law.operator == "piecewise" else law.arguments
    return law.operator in _KEEPS_SIGN and all(map(cannot_be_negative, pieces))


def differences(law: Expression) -> tuple[Expression, Expression] | None:
    """(A, B) if the law is A − B, or c (A − B): how a net rate splits."""
    if law.operator == "minus" and len(law.arguments) == 2:
        return law.arguments
    if law.operator == "times":
        for i, argument in enumerate(law.arguments):
            if split := differences(argument):
                rest = (*law.arguments[:i], *law.arguments[i + 1 :])
                return tuple(Expression("times", (*rest, part)) for part in split)
    if law.operator == "plus" and any(a.operator == "minus" and len(a.arguments) == 1 for a in law.arguments):
        negative = [a.arguments[0] for a in law.arguments if a.operator == "minus" and len(a.arguments) == 1]
        positive = [a for a in law.arguments if not (a.operator == "minus" and len(a.arguments) == 1)]
        return tuple(Expression("plus", tuple(part)) if len(part) > 1 else (*part, number(0))[0] for part in (positive, negative))
    return None
