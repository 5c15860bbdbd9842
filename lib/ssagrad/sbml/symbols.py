"""What every symbol of a document stands for, in terms of molecules and free parameters: concentrations, rules, initial assignments.

In a formula of SBML the symbol of a species is its amount divided by the size of its compartment, unless it `hasOnlySubstanceUnits`. Species that
reactions may change are counted; a species that is constant, or on the boundary, keeps its amount and becomes a parameter. A parameter that an
initial assignment computes is no free parameter: the formula takes its place, evaluated at time 0, and so its derivatives are right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ssagrad.sbml.document import Document, SpeciesElement
from ssagrad.sbml.events import Assignment
from ssagrad.sbml.expressions import Expression, SbmlError, apply, leaves, number, substitute, value_of


ANTIMONYS_OWN = "default_compartment"  # of size 1, around every species whose compartment a text in Antimony does not name; no free parameter


class Symbols:
    """The symbols of a document.

    Attributes:
        counted: species whose molecules the simulation counts.
        moved: column of the simulation, by the symbol that events assign and that is no count: its value less the value at the start.
        used: parameters that some formula has read so far.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        events = {variable for event in document.events for variable, _ in event.assignments}
        held = {s.id for s in document.species.values() if s.constant or s.boundary or s.id in document.rules}
        self.counted = tuple(s for s in document.species if s not in held)
        moved = sorted(events - set(self.counted))
        taken = {*document.species, *document.parameters, *document.compartments, *document.references}
        self.moved = {name: _free_name(f"{name}_shift", taken) for name in moved}
        self.used: dict[str, float] = {}
        self._found: dict[tuple[str, bool], Expression] = {}
        self._waiting: list[tuple[str, bool]] = []
        self._laws = {reaction.id: reaction.law for reaction in document.reactions}
        self._check_targets(events)

    def resolve(self, formula: Expression, where: str, *, initial: bool = False) -> Expression:
        """The formula with its symbols inserted; `initial` as it is at time 0, before anything has happened."""

        def known(leaf):
            if leaf.operator == "time" and initial:
                return number(0)
            return self.value(leaf.value, where, initial=initial) if leaf.operator == "name" else None

        return substitute(formula, known)

    def value(self, name: str, where: str, *, initial: bool = False) -> Expression:
        """What the symbol stands for; SbmlError if nothing defines it, or if it depends on itself."""
        key = (name, initial)
        if key not in self._found:
            if key in self._waiting:
                circle = [waiting[0] for waiting in self._waiting[self._waiting.index(key) :]]
                raise SbmlError(f"the definitions of {circle} depend on one another in a circle")
            self._waiting.append(key)
            self._found[key] = self._define(name, where, initial)
            self._waiting.pop()
        return self._found[key]

    def volume(self, species: str, *, initial: bool = False) -> Expression:
        """Size of the compartment of a species."""
        element = self.document.species[species]
        return self.value(element.compartment, f"the concentration of '{species}'", initial=initial)

    def initial_amount(self, species: str) -> Expression:
        """Molecules of a counted species at time 0, as a formula of parameters."""
        element, where = self.document.species[species], f"the initial amount of '{species}'"
        if species in self.document.assigned:
            value = self.resolve(self.document.assigned[species], f"initial assignment of '{species}'", initial=True)
            return value if element.is_amount else apply("times", value, self.volume(species, initial=True))
        if element.initial_amount is not None:
            return number(element.initial_amount)
        if element.initial_concentration is not None:
            return apply("times", number(element.initial_concentration), self.value(element.compartment, where, initial=True))
        raise SbmlError(f"species '{species}' has no initial amount or concentration and no initial assignment; give it one")

    def assignment(self, name: str, value: Expression) -> Assignment:
        """How an assignment to a symbol appears in the simulation."""
        if name in self.moved:
            start = apply("plus", self._start(name, f"assignment to '{name}'"), Expression("origin", (), name))
            return Assignment(self.moved[name], value, start)
        return Assignment(name, value if self.document.species[name].is_amount else apply("times", value, self.volume(name)))

    def _define(self, name: str, where: str, initial: bool) -> Expression:
        if name in self.document.rules:
            return self.resolve(self.document.rules[name], f"assignment rule of '{name}'", initial=initial)
        if name in self.counted:
            amount = self.initial_amount(name) if initial else Expression("amount", (), name)
            volume = number(1) if self.document.species[name].is_amount else self.volume(name, initial=initial)
            return amount if volume == number(1) else apply("divide", amount, volume)
        if name in self._laws:
            return self.resolve(self._laws[name], where, initial=initial)
        start = self._start(name, where, initial=initial)
        if name not in self.moved:
            return start
        return start if initial else apply("plus", start, Expression("origin", (), name), Expression("amount", (), self.moved[name]))

    def _start(self, name: str, where: str, *, initial: bool = False) -> Expression:
        """What no reaction changes, before any event: a free parameter, or the formula of its initial assignment."""
        given = self._given(name, where)
        return given if name not in self.document.species else self._held(self.document.species[name], given, initial)

    def _given(self, name: str, where: str) -> Expression:
        """The same, of a species in the form that the document gives: an amount, or a concentration."""
        if name in self.document.assigned:
            return self.resolve(self.document.assigned[name], f"initial assignment of '{name}'", initial=True)
        if name in self.document.species:
            element = self.document.species[name]
            given = element.initial_amount if element.initial_amount is not None else element.initial_concentration
        else:
            values = {**self.document.compartments, **self.document.parameters, **self.document.references}
            if name not in values:
                raise SbmlError(f"{where} reads '{name}', which nothing in the document defines; define it as a parameter")
            given = values[name]
            if given is not None and (name in self.document.references or (name == ANTIMONYS_OWN and given == 1)):
                return number(given)
        if given is None or np.isnan(given):
            kind = "size" if name in self.document.compartments else "value"
            raise SbmlError(f"{where} reads '{name}', which has no {kind}; give it one (an attribute, an initial assignment or a rule)")
        self.used[name] = float(given)
        return Expression("parameter", (), name)

    def _held(self, element: SpeciesElement, start: Expression, initial: bool) -> Expression:
        """Symbol of a species that no reaction changes, from what the document gives: an amount, or a concentration at time 0."""
        gives_amount = element.is_amount if element.id in self.document.assigned else element.initial_amount is not None
        if gives_amount == element.is_amount and (gives_amount or not self._varies(element.compartment)):
            return start
        amount = start if gives_amount else apply("times", start, self.volume(element.id, initial=True))
        return amount if element.is_amount else apply("divide", amount, self.volume(element.id, initial=initial))

    def _varies(self, compartment: str) -> bool:
        return compartment in self.moved or compartment in self.document.rules

    def _check_targets(self, events: set[str]) -> None:
        for name in sorted(events):
            if name in self.document.rules:
                raise SbmlError(f"'{name}' is set by an assignment rule and by an event; drop one of them")
            element = self.document.species.get(name)
            if element is None or name in self.counted or element.is_amount:
                continue
            if self._varies(element.compartment):
                raise SbmlError(
                    f"an event assigns the boundary species '{name}', whose compartment '{element.compartment}' changes its size; "
                    "give it a compartment of constant size, or hasOnlySubstanceUnits"
                )


def initial_values(formulas: Mapping[str, Expression], parameters: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Values at time 0 in float64 of formulas that read parameters only."""
    return {name: value_of(formula, lambda leaf: parameters[leaf.value]) for name, formula in formulas.items()}


def whole_numbers(values: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Initial counts from amounts; SbmlError for the first that is no whole number ≥ 0 (up to rounding in float64)."""
    counts = {}
    for name, value in values.items():
        nearest = np.round(np.where(np.isfinite(value), value, -1.0))
        if not np.all((np.abs(value - nearest) <= 1e-9 * np.maximum(1, nearest)) & (nearest >= 0)):
            raise SbmlError(
                f"species '{name}': expected a whole number ≥ 0 of molecules at time 0, received {value}; amounts are molecules here, whatever the "
                "units of the document say: rescale amounts in moles or concentrations by Avogadro's number and the volume"
            )
        counts[name] = int(nearest) if np.ndim(nearest) == 0 else nearest.astype(np.int64)
    return counts


def reads_state(formula: Expression) -> bool:
    """Whether the formula can change while a path is simulated."""
    return bool(leaves(formula, "amount"))


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
