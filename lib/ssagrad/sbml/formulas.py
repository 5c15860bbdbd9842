"""Mathematics of a document (libsbml's trees) as expressions, with function definitions inserted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from ssagrad.sbml.expressions import ARITY, MOST_DEPTH, MOST_NODES, Expression, SbmlError, apply, nodes, number

AVOGADRO = 6.02214179e23  # the value that SBML Level 3 gives the symbol

_OPERATORS = {
    **{name: name.lower() for name in ("PLUS", "MINUS", "TIMES", "DIVIDE", "POWER")},
    **{f"RELATIONAL_{name}": name.lower() for name in ("EQ", "NEQ", "LT", "GT", "LEQ", "GEQ")},
    **{f"LOGICAL_{name}": name.lower() for name in ("AND", "OR", "NOT", "XOR", "IMPLIES")},
    "CONSTANT_TRUE": "true",
    "CONSTANT_FALSE": "false",
    **{f"FUNCTION_{name}": name.lower() for name in ("POWER", "EXP", "LN", "LOG", "ROOT", "ABS", "FLOOR", "CEILING", "FACTORIAL", "PIECEWISE")},
    **{f"FUNCTION_{name}": name.lower() for name in ("MAX", "MIN", "QUOTIENT", "REM")},
    **{f"FUNCTION_{a}{name}{h}": f"{a}{name}{h}".lower() for a in ("", "ARC") for name in ("SIN", "COS", "TAN", "SEC", "CSC", "COT") for h in ("", "H")},
}
_CONSTANTS = {"CONSTANT_PI": math.pi, "CONSTANT_E": math.e, "NAME_AVOGADRO": AVOGADRO}
_REFUSED = {
    "FUNCTION_DELAY": "the value of a formula at an earlier time (the csymbol 'delay'): a jump process has no memory; model the delay by intermediate species",
    "FUNCTION_RATE_OF": "'rateOf': counts jump and have no rate of change",
}


class Definition(NamedTuple):
    """A function definition: the names of its arguments, and its body."""

    arguments: tuple[str, ...]
    body: Expression


@cache
def _kinds() -> dict[int, str]:
    """Names of libsbml's types of nodes, without their prefix."""
    import libsbml

    return {getattr(libsbml, name): name.removeprefix("AST_") for name in dir(libsbml) if name.startswith("AST_") and name != "AST_END_OF_CORE"}


def read_formula(tree: Any, where: str, functions: Mapping[str, Definition]) -> Expression:
    """The expression of a libsbml ASTNode, in which every symbol is a leaf `name` and time a leaf `time`.

    Raises:
        SbmlError: what has no meaning in exact simulation, naming `where` it stands.
    """
    if tree is None:
        raise SbmlError(f"{where}: the formula is missing or is not MathML that libsbml understands")
    return _read(tree, where, functions, 0)


def _read(tree: Any, where: str, functions: Mapping[str, Definition], depth: int) -> Expression:
    kind = _kinds().get(tree.getType(), "UNKNOWN")
    if depth > MOST_DEPTH:
        raise SbmlError(f"{where}: the formula is nested more than {MOST_DEPTH} deep")
    if kind in ("INTEGER", "REAL", "REAL_E", "RATIONAL"):
        return number(tree.getValue())
    if kind in _CONSTANTS:
        return number(_CONSTANTS[kind])
    if kind == "NAME":
        return Expression("name", (), tree.getName())
    if kind == "NAME_TIME":
        return Expression("time", (), "time")
    if kind in _REFUSED:
        raise SbmlError(f"{where} reads {_REFUSED[kind]}")
    arguments = [_read(child, where, functions, depth + 1) for child in _children(tree)]
    if kind == "FUNCTION":
        return _call(tree.getName(), arguments, where, functions)
    if kind not in _OPERATORS:
        name = tree.getName() or kind.lower()
        raise SbmlError(f"{where} uses '{name}', which is no operation of SBML's mathematics that can be simulated here; write it with arithmetic")
    operator = _OPERATORS[kind]
    if operator == "log" and len(arguments) == 1:
        arguments = [number(10), *arguments]
    if operator == "root" and len(arguments) == 1:
        arguments = [number(2), *arguments]
    fewest, most = ARITY[operator]
    if len(arguments) < fewest or (most is not None and len(arguments) > most):
        raise SbmlError(f"{where}: '{operator}' takes {fewest if most == fewest else f'at least {fewest}'} arguments, received {len(arguments)}")
    return apply(operator, *arguments)


def _children(tree: Any) -> list[Any]:
    """Arguments of a node; those of sums of sums and of products of products at once, as long sums come nested."""
    flat, found, waiting = tree.isOperator() and tree.getType() in _long_types(), [], [tree.getChild(i) for i in reversed(range(tree.getNumChildren()))]
    while waiting:
        child = waiting.pop()
        if flat and child.getType() == tree.getType():
            waiting.extend(child.getChild(i) for i in reversed(range(child.getNumChildren())))
        else:
            found.append(child)
        if len(found) > MOST_NODES:
            raise SbmlError(f"a formula has more than {MOST_NODES} terms; write it in several reactions")
    return found


@cache
def _long_types() -> set[int]:
    return {number for number, name in _kinds().items() if name in ("PLUS", "TIMES")}


def _call(name: str, arguments: list[Expression], where: str, functions: Mapping[str, Definition]) -> Expression:
    if name not in functions:
        raise SbmlError(f"{where} calls the function '{name}', which the document does not define (before it is used); define it, or write the formula out")
    definition = functions[name]
    if len(arguments) != len(definition.arguments):
        raise SbmlError(f"{where}: function '{name}' takes {len(definition.arguments)} arguments, received {len(arguments)}")
    given = dict(zip(definition.arguments, arguments, strict=True))
    return _insert(definition.body, given)


def _insert(body: Expression, given: Mapping[str, Expression]) -> Expression:
    """The body with its arguments inserted."""
    if body.operator == "name":
        return given[body.value]
    if not body.arguments:
        return body
    return apply(body.operator, *[_insert(argument, given) for argument in body.arguments])


def read_functions(model: Any) -> dict[str, Definition]:
    """The function definitions of a libsbml Model by id; each may call those before it, and reads nothing but its arguments."""
    found: dict[str, Definition] = {}
    waiting = [model.getFunctionDefinition(i) for i in range(model.getNumFunctionDefinitions())]
    while waiting:
        ready = [f for f in waiting if not _called(f.getBody()) & {other.getId() for other in waiting}]
        if not ready:
            raise SbmlError(f"function definitions {[f.getId() for f in waiting]} call one another in a circle")
        for function in ready:
            where = f"function definition '{function.getId()}'"
            names = tuple(function.getArgument(i).getName() for i in range(function.getNumArguments()))
            body = read_formula(function.getBody(), where, found)
            if unknown := {node.value for node in _names(body)} - set(names):
                raise SbmlError(f"{where} reads {sorted(map(str, unknown))}, which are not among its arguments {list(names)}")
            found[function.getId()] = Definition(names, body)
        waiting = [f for f in waiting if f.getId() not in found]
    return found


def _names(expression: Expression) -> list[Expression]:
    return [node for node in nodes(expression) if node.operator in ("name", "time")]


def _called(tree: Any, depth: int = 0) -> set[str]:
    if tree is None or depth > MOST_DEPTH:
        return set()
    inner = set().union(*(_called(child, depth + 1) for child in _children(tree)))
    return inner | ({tree.getName()} if _kinds().get(tree.getType()) == "FUNCTION" else set())
