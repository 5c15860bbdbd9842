"""Models as text, as LaTeX and as the SBML they came from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ssagrad.network import Network
from ssagrad.notation import name_latex, reaction_latex, side_text
from ssagrad.sbml.events import Assignment
from ssagrad.sbml.expressions import Expression, leaves, substitute
from ssagrad.sbml.source import import_libsbml, parse

_INFIX = {"plus": (" + ", 1), "minus": (" - ", 1), "times": (" * ", 2), "divide": (" / ", 2), "power": ("^", 4)}
_COMPARED = {"eq": "==", "neq": "!=", "lt": "<", "leq": "<=", "gt": ">", "geq": ">=", "and": "&&", "or": "||"}


def formula_text(formula: Expression) -> str:
    """The formula in the infix notation of SBML and Antimony."""
    return _text(formula, 0)


def _text(node: Expression, outer: int) -> str:
    operator, arguments = node.operator, node.arguments
    if operator == "number":
        return number_text(node.value)
    if not arguments:
        return {"plus": "0", "times": "1", "and": "true", "or": "false"}.get(operator, operator if node.value is None else str(node.value))
    if operator == "minus" and len(arguments) == 1:
        return _bracketed("-" + _text(arguments[0], 3), 1, outer)
    if operator in _INFIX and (len(arguments) > 1 or operator in ("plus", "times")):
        sign, strength = _INFIX[operator]
        first, *rest = arguments
        inner = strength + (operator in ("minus", "divide"))
        parts = [_text(first, strength + (operator == "power")), *(_text(a, inner + (operator == "power")) for a in rest)]
        return _bracketed(sign.join(parts), strength, outer)
    if operator in _COMPARED and len(arguments) > 1:
        return _bracketed(f" {_COMPARED[operator]} ".join(_text(a, 1) for a in arguments), 0.5, outer)
    return f"{operator}({', '.join(_text(a, 0) for a in arguments)})"


def number_text(value: float) -> str:
    """The shortest text that reads back as this number."""
    return str(int(value)) if value == round(value) and abs(value) < 1e15 else repr(value) if math.isfinite(value) else str(value)


def _bracketed(text: str, strength: float, outer: float) -> str:
    return f"({text})" if strength < outer else text


def network_text(network: Network) -> str:
    """The reactions as `Network.from_text` reads them, numbers to the last digit; a propensity that is a function goes by its name."""
    rows = []
    for reaction in network.reactions:
        left, right = ([(network.species[s], m) for s, m in side] for side in (reaction.reactants, reaction.products))
        number = number_text(reaction.factor) if reaction.factor != 1 or reaction.rate is None else ""
        rows.append(f"{side_text(left)} -> {side_text(right)} @ {' * '.join(part for part in (number, reaction.rate) if part)}")
    return "\n".join(rows)


def model_text(model: Any) -> str:
    """Everything that is simulated, one line each: reactions with their laws, events, rules, values."""
    shown = lambda formula: formula_text(_with_names(formula, model))
    functions = [reaction for reaction in model.network.reactions if reaction.propensity is not None]
    laws = {reaction.name: f"   with {reaction.name} = {shown(reaction.propensity.expression)}" for reaction in functions}
    rows = [f"{model.name}: amounts are molecules, whatever the units of the document"]
    rows += [f"  {row}{laws.get(r.name, '')}" for r, row in zip(model.network.reactions, network_text(model.network).splitlines(), strict=True)]
    for event in model.events:
        done = ", ".join(f"{_target(a, model)} := {shown(a.value)}" for a in event.assignments)
        extra = "".join(f", {word} {shown(f)}" for word, f in (("after", event.delay), ("priority", event.priority)) if f is not None)
        rows.append(f"  event {event.id}: when {shown(_with_time(event.trigger, model))}{extra}: {done}")
    rows += [f"  {'amount of ' * is_amount}{name} = {shown(formula)}" for name, formula, is_amount in _computed(model)]
    rows.append("  parameters: " + ", ".join(f"{name} = {value:g}" for name, value in model.parameters.items()))
    rows.append("  initial counts: " + ", ".join(f"{name} = {value}" for name, value in model.initial_counts.items() if name not in model.variables))
    return "\n".join(rows)


def _computed(model: Any) -> list[tuple[str, Expression, bool]]:
    """Observables that are no plain parameter, and whether one is the amount of a species whose concentration is the parameter of that name."""
    formulas = {name: formula.expression for name, formula in model.observables.items() if formula.expression.operator != "parameter"}
    return [(name, formula, name in leaves(formula, "parameter")) for name, formula in formulas.items()]


def _with_names(formula: Expression, model: Any) -> Expression:
    """The formula with what events assign by its name, where the simulation adds up a start, what had changed before and a column."""
    arguments = tuple(_with_names(argument, model) for argument in formula.arguments)
    for name, value in model.variables.values() if formula.operator == "plus" else ():
        terms = value.arguments
        for i in reversed(range(len(arguments) - len(terms) + 1)):
            if arguments[i : i + len(terms)] == terms:
                arguments = (*arguments[:i], Expression("name", (), name), *arguments[i + len(terms) :])
    return arguments[0] if formula.operator == "plus" and len(arguments) == 1 else formula._replace(arguments=arguments)


def _target(assignment: Assignment, model: Any) -> str:
    return model.variables[assignment.column][0] if assignment.column in model.variables else assignment.column


def _with_time(trigger: Expression, model: Any) -> Expression:
    """The trigger as it was written: comparisons with time in place of their leaves."""

    def written(leaf: Expression) -> Expression | None:
        if leaf.operator != "passed":
            return None
        operator, slope, intercept = model.comparisons[leaf.value]
        time = Expression("time", (), "time")
        if slope.operator == intercept.operator == "number" and slope.value == 1:
            return Expression(operator, (time, Expression("number", (), 0 - intercept.value)))
        line = Expression("plus", (Expression("times", (slope, time)), intercept))
        return Expression(operator, (line, Expression("number", (), 0.0)))

    return substitute(trigger, written)


def model_latex(model: Any) -> str:
    """The reactions with their laws over an aligned block, then events and rules."""
    network, rows, shown = model.network, [], lambda formula: formula_latex(_with_names(formula, model))
    for reaction in network.reactions:
        left, right = ([(network.species[s], m) for s, m in side] for side in (reaction.reactants, reaction.products))
        row = reaction_latex(left, right, reaction.rate, reaction.factor, reaction.propensity is not None)
        if isinstance(getattr(reaction.propensity, "expression", None), Expression):
            row += rf" && {name_latex(reaction.name)}(x) = {shown(reaction.propensity.expression)}"
        rows.append(row)
    for event in model.events:
        done = r",\; ".join(rf"{name_latex(_target(a, model))} \leftarrow {shown(a.value)}" for a in event.assignments)
        rows.append(rf" & \text{{when }} {shown(_with_time(event.trigger, model))}: && {done}")
    computed = [found for found in _computed(model) if not found[0].startswith("[")]
    words = {True: r"\text{amount of }", False: ""}
    rows += [rf" {words[is_amount]}{name_latex(name)} &= {shown(formula)}" for name, formula, is_amount in computed]
    return "$$\\begin{aligned}" + " \\\\ ".join(rows) + "\\end{aligned}$$"


def formula_latex(formula: Expression) -> str:
    """The formula in LaTeX."""
    return _latex(formula, 0)


_LATEX = {"plus": (" + ", 1), "minus": (" - ", 1), "times": (r"\,", 2)}
_COMPARED_LATEX = {"eq": "=", "neq": r"\neq", "lt": "<", "leq": r"\leq", "gt": ">", "geq": r"\geq", "and": r"\wedge", "or": r"\vee"}


def _latex(node: Expression, outer: int) -> str:
    operator, arguments = node.operator, node.arguments
    if operator == "number":
        mantissa, _, exponent = number_text(node.value).replace("inf", r"\infty").partition("e")
        return rf"{mantissa}\cdot 10^{{{int(exponent)}}}" if exponent else mantissa
    if not arguments:
        return name_latex(str(operator if node.value is None else node.value))
    if operator == "divide":
        return rf"\frac{{{_latex(arguments[0], 0)}}}{{{_latex(arguments[1], 0)}}}"
    if operator == "power":
        return rf"{_latex(arguments[0], 3)}^{{{_latex(arguments[1], 0)}}}"
    if operator == "minus" and len(arguments) == 1:
        return _bracketed_latex("-" + _latex(arguments[0], 2), 1, outer)
    if operator in _LATEX:
        sign, strength = _LATEX[operator]
        parts = [_latex(arguments[0], strength), *(_latex(a, strength + (operator == "minus")) for a in arguments[1:])]
        return _bracketed_latex(sign.join(parts), strength, outer)
    if operator in _COMPARED_LATEX:
        return _bracketed_latex(f" {_COMPARED_LATEX[operator]} ".join(_latex(a, 1) for a in arguments), 0, outer)
    return rf"\operatorname{{{operator}}}\left({', '.join(_latex(a, 0) for a in arguments)}\right)"


def _bracketed_latex(text: str, strength: int, outer: int) -> str:
    return rf"\left({text}\right)" if strength < outer else text


def document_text(source: str, values: Mapping[str, Any], known: Mapping[str, float]) -> str:
    """The document with the values of some parameters replaced; the text itself if none differs."""
    changed = {name: float(value) for name, value in values.items() if value is not known[name]}
    if not changed:
        return source
    libsbml, document = import_libsbml(), parse(source)
    for name, value in changed.items():
        _set_value(document.getModel(), name, value)
    return libsbml.writeSBMLToString(document)


def _set_value(model: Any, name: str, value: float) -> None:
    if element := model.getParameter(name):
        element.setValue(value)
    elif element := model.getCompartment(name):
        element.setSize(value)
    elif element := model.getSpecies(name):
        (element.setInitialAmount if element.isSetInitialAmount() else element.setInitialConcentration)(value)
    else:
        for law in (reaction.getKineticLaw() for reaction in model.getListOfReactions()):
            for local in (*law.getListOfParameters(), *law.getListOfLocalParameters()):
                if name.rstrip("_") == f"{law.getParentSBMLObject().getId()}_{local.getId()}".rstrip("_"):
                    local.setValue(value)
