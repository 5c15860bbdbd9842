"""From the elements of a document to a model: reactions with propensities, events, observables."""

from __future__ import annotations

from typing import Any

import numpy as np

from ssagrad.network import Network, Reaction
from ssagrad.sbml.clock import Comparison, take_out
from ssagrad.sbml.document import Document, EventElement, ReactionElement
from ssagrad.sbml.events import Event, Jump
from ssagrad.sbml.expressions import Expression, SbmlError, apply, leaves, number, value_of
from ssagrad.sbml.mass_action import cannot_be_negative, differences, recognise
from ssagrad.sbml.model import Formula, Model
from ssagrad.sbml.symbols import ANTIMONYS_OWN, Symbols, initial_values, whole_numbers
from ssagrad.sbml.writing import formula_text


def build(document: Document, source: str) -> Model:
    """The model of a document.

    Raises:
        SbmlError: what cannot be simulated exactly, by the id of the element, with what to do about it.
    """
    symbols = Symbols(document)
    comparisons: list[Comparison] = []
    events = _sort_events([_event(element, symbols, comparisons) for element in document.events], comparisons, symbols)
    species = (*symbols.counted, *(symbols.moved[name] for name in symbols.moved))
    if not species or not document.reactions:
        raise SbmlError("the model has no reactions between species whose molecules could be counted")
    drafts = [_Draft(element, symbols) for element in document.reactions]
    in_network = tuple(event for event in events if not event.timed)
    jumps, timed = any(draft.needs_jump(in_network) for draft in drafts), len(in_network) < len(events) or bool(comparisons)
    reactions = tuple(draft.reaction(species, in_network, functions_only=jumps, timed=timed) for draft in drafts)
    initial = {name: symbols.initial_amount(name) for name in symbols.counted}
    observables = _observables(document, symbols)
    parameters = _free_parameters(document, symbols)
    counts = whole_numbers(initial_values(initial, parameters)) | dict.fromkeys(symbols.moved.values(), 0)
    variables = {column: (name, symbols.value(name, name)) for name, column in symbols.moved.items()}
    sizes = {name: size for name, size in document.compartments.items() if size is not None}
    network = Network(species, reactions)
    return Model(document.name, network, parameters, counts, events, sizes, observables, initial, tuple(comparisons), variables, source)


def _observables(document: Document, symbols: Symbols) -> dict[str, Formula]:
    """Variables of assignment rules, amounts of species that are not counted, and `[X]` for the concentration of the species X."""
    found = {name: symbols.value(name, "an observable") for name in document.rules if name not in document.species}
    for name, element in document.species.items():
        is_given = name in document.assigned or element.initial_amount is not None or element.initial_concentration is not None
        if name in symbols.moved or not (is_given or name in document.rules) or not (element.is_amount or _has_volume(document, name)):
            continue
        value = symbols.value(name, "an observable")
        if not element.is_amount and element.compartment != ANTIMONYS_OWN:
            found[f"[{name}]"] = value
        if name not in symbols.counted:
            found[name] = value if element.is_amount else apply("times", value, symbols.volume(name))
    return {name: Formula(_no_time(formula, f"assignment rule of '{name}'")) for name, formula in found.items()}


def _free_parameters(document: Document, symbols: Symbols) -> dict[str, float]:
    """Values by name of what nothing in the document computes: parameters and compartments that have a value, and held species that are read."""
    given = {name: value for name, value in (document.parameters | document.compartments).items() if value is not None and not np.isnan(value)}
    free = {name: float(value) for name, value in given.items() if name not in document.rules and name not in document.assigned}
    if free.get(ANTIMONYS_OWN) == 1 and ANTIMONYS_OWN not in symbols.moved:
        del free[ANTIMONYS_OWN]
    return free | {name: value for name, value in symbols.used.items() if name not in free}


def _has_volume(document: Document, species: str) -> bool:
    compartment = document.species[species].compartment
    return document.compartments.get(compartment) is not None or compartment in document.assigned or compartment in document.rules


def _no_time(formula: Expression, where: str) -> Expression:
    if leaves(formula, "time"):
        raise SbmlError(
            f"{where} depends on time: waiting times with a propensity that changes in between are not simulated here; "
            "let an event at a time change a parameter instead"
        )
    return formula


class _Draft:
    """A reaction with everything resolved: the law, and by how much it changes each species that it may change."""

    def __init__(self, element: ReactionElement, symbols: Symbols) -> None:
        self.name, where = element.id, f"reaction '{element.id}'"
        self.law = _no_time(symbols.resolve(element.law, f"kinetic law of {where}"), f"kinetic law of {where}")
        if element.reversible and not cannot_be_negative(self.law):
            raise SbmlError(f"{where} is reversible with a net rate, which is no propensity; {_how_to_split(element)}")
        self.sides: list[dict[str, int]] = [{}, {}]
        self.formulas: dict[str, Expression] = {}
        for sign, side, elements in ((-1, self.sides[0], element.reactants), (1, self.sides[1], element.products)):
            for name, stoichiometry in elements:
                if name in symbols.counted:
                    self._add(name, sign, side, symbols.resolve(stoichiometry, f"stoichiometry of '{name}' in {where}"), where)

    def _add(self, name: str, sign: int, side: dict[str, int], stoichiometry: Expression, where: str) -> None:
        """One molecule number, or a formula of parameters and counts where it is not known beforehand."""
        if leaves(stoichiometry, "amount", "parameter", "origin", "time"):
            term = Expression("times", (number(sign), _no_time(stoichiometry, f"stoichiometry of '{name}' in {where}")))
            self.formulas[name] = Expression("plus", (self.formulas[name], term)) if name in self.formulas else term
            return
        molecules = float(value_of(stoichiometry, lambda leaf: np.nan))
        if not 0 <= molecules < 2**31 or molecules != round(molecules):
            raise SbmlError(f"{where}: the stoichiometry of '{name}' is {molecules:g}; molecules come in whole numbers ≥ 0, so rescale the reaction")
        if molecules:
            side[name] = side.get(name, 0) + int(molecules)

    @property
    def change(self) -> dict[str, int]:
        """Net change of each species by whole numbers."""
        left, right = self.sides
        return {name: right.get(name, 0) - left.get(name, 0) for name in dict.fromkeys((*left, *right))}

    def needs_jump(self, events: tuple[Event, ...]) -> bool:
        """Whether the change is a function: of formulas, or of triggers that this reaction may turn."""
        changed = {name for name, molecules in self.change.items() if molecules} | set(self.formulas)
        return bool(self.formulas) or any(leaves(event.trigger, "amount") & changed for event in events)

    def reaction(self, species: tuple[str, ...], events: tuple[Event, ...], *, functions_only: bool, timed: bool) -> Reaction:
        """The channel of the network. (The simulator hands functions of changes all parameters only if propensities are functions, too.)"""
        left, right = self.sides
        indexed = lambda side: tuple((species.index(name), molecules) for name, molecules in side.items() if molecules)
        change = None
        if self.needs_jump(events):
            steps = [(name, molecules, None) for name, molecules in self.change.items() if molecules]
            steps += [(name, 0, formula) for name, formula in self.formulas.items()]
            turned = any(leaves(event.trigger, "amount") & {name for name, *_ in steps} for event in events)
            change = Jump(self.name, tuple(steps), events if turned else ())
        found = None if functions_only or timed else recognise(self.law, left, self.change)
        if found is None:
            return Reaction(self.name, indexed(left), indexed(right), self.name, 1.0, Formula(self.law, timed), change)
        order = [*left, *(name for name in found.orders if name not in left)]
        reactants = {name: found.orders[name] for name in order}
        products = {name: reactants.get(name, 0) + self.change.get(name, 0) for name in dict.fromkeys((*right, *reactants))}
        return Reaction(self.name, indexed(reactants), indexed(products), found.rate, found.factor, None, change)


def _how_to_split(element: ReactionElement) -> str:
    split = differences(element.law)
    if split is None:
        return "write it as two reactions, one each way, each with reversible='false' and a law that is never negative"
    left, right = (" + ".join(name for name, _ in side) or "nothing" for side in (element.reactants, element.products))
    forward, backward = map(formula_text, split)
    return f"write two reactions with reversible='false': {left} → {right} with the law {forward}, and {right} → {left} with the law {backward}"


def _event(element: EventElement, symbols: Symbols, comparisons: list[Comparison]) -> Event:
    where = f"event '{element.id}'"
    trigger = take_out(symbols.resolve(element.trigger, f"trigger of {where}"), comparisons, set(symbols.counted), f"trigger of {where}")
    delay = None if element.delay is None else symbols.resolve(element.delay, f"delay of {where}")
    priority = None if element.priority is None else symbols.resolve(element.priority, f"priority of {where}")
    assignments = []
    for name, formula in element.assignments:
        value = symbols.resolve(formula, f"assignment to '{name}' by {where}")
        assignments.append(symbols.assignment(name, value))
    return Event(element.id, trigger, element.initial_value, element.persistent, element.from_trigger_time, priority, delay, tuple(assignments))


def _sort_events(events: list[Event], comparisons: list[Comparison], symbols: Symbols) -> tuple[Event, ...]:
    """The events, with `timed` said of those whose trigger no reaction can turn, neither directly nor through what another event assigns."""
    turning, timed = set(symbols.counted), [True] * len(events)
    while turned := [i for i, event in enumerate(events) if timed[i] and leaves(event.trigger, "amount") & turning]:
        for i in turned:
            timed[i] = False
            turning |= {assignment.column for assignment in events[i].assignments}
    events = [event._replace(timed=mark) for event, mark in zip(events, timed, strict=True)]
    for comparison in comparisons:
        if read := (leaves(comparison.slope, "amount") | leaves(comparison.intercept, "amount")) & turning:
            names = [name for name, column in symbols.moved.items() if column in read]
            raise SbmlError(f"a trigger compares time with {names}, which an event that depends on counts assigns: paths would stop at different times")
    for event in events:
        where = f"event '{event.id}'"
        if not event.timed and event.delay is not None:
            raise SbmlError(f"{where} is triggered by counts and has a delay, which is not simulated here; model the delay by a species")
        formulas = (*(assignment.value for assignment in event.assignments), *filter(None, [event.priority]))
        if not event.timed and any(leaves(formula, "time") for formula in formulas):
            raise SbmlError(f"{where} is triggered by counts and reads time, which is not available then; use an event that depends on time alone")
    return tuple(events)
