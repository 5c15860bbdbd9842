"""The elements of an SBML document as plain records, and what is refused by name before anything is computed."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ssagrad.sbml.expressions import MOST_DEPTH, Expression, SbmlError, apply, leaves, number, substitute
from ssagrad.sbml.formulas import Definition, read_formula, read_functions


class SpeciesElement(NamedTuple):
    """A species; the symbol stands for its amount if `is_amount`, else for amount/volume."""

    id: str
    compartment: str
    initial_amount: float | None
    initial_concentration: float | None
    is_amount: bool
    boundary: bool
    constant: bool


class ReactionElement(NamedTuple):
    """A reaction: stoichiometries as formulas by species, and the kinetic law, in which local parameters already have their long names."""

    id: str
    reactants: tuple[tuple[str, Expression], ...]
    products: tuple[tuple[str, Expression], ...]
    law: Expression
    reversible: bool


class EventElement(NamedTuple):
    """An event; without a priority or a delay these are None."""

    id: str
    trigger: Expression
    initial_value: bool
    persistent: bool
    from_trigger_time: bool
    priority: Expression | None
    delay: Expression | None
    assignments: tuple[tuple[str, Expression], ...]


class Document(NamedTuple):
    """All that a document says, with every symbol a leaf `name`.

    compartments, parameters: values by id (None where none is given); local parameters are among the parameters.
    rules, assigned: formulas of assignment rules and of initial assignments by the symbol they set. references: stoichiometries that have an id.
    """

    name: str
    compartments: dict[str, float | None]
    points: frozenset[str]
    species: dict[str, SpeciesElement]
    parameters: dict[str, float | None]
    references: dict[str, float | None]
    rules: dict[str, Expression]
    assigned: dict[str, Expression]
    reactions: tuple[ReactionElement, ...]
    events: tuple[EventElement, ...]


def read_document(model: Any) -> Document:
    """The records of a libsbml Model.

    Raises:
        SbmlError: an element that exact simulation cannot follow, by its id, with what to do about it.
    """
    functions = read_functions(model)
    if model.getNumConstraints():
        raise SbmlError("the model has a constraint, which would stop a simulation; remove it, and test the simulated counts instead")
    compartments = {c.getId(): c.getSize() if c.isSetSize() else None for c in model.getListOfCompartments()}
    points = frozenset(c.getId() for c in model.getListOfCompartments() if c.isSetSpatialDimensions() and c.getSpatialDimensionsAsDouble() == 0)
    parameters = {p.getId(): p.getValue() if p.isSetValue() else None for p in model.getListOfParameters()}
    species = {s.getId(): _read_species(s, points) for s in model.getListOfSpecies()}
    rules = dict(_read_rule(rule, functions) for rule in model.getListOfRules())
    assigned = {a.getSymbol(): read_formula(a.getMath(), f"initial assignment of '{a.getSymbol()}'", functions) for a in model.getListOfInitialAssignments()}
    taken = {*compartments, *parameters, *species, *(r.getId() for r in model.getListOfReactions())}
    reactions, references = [], {}
    for reaction in model.getListOfReactions():
        local = _local_names(reaction, taken)
        parameters |= {local[p.getId()]: p.getValue() if p.isSetValue() else None for p in _local_parameters(reaction)}
        reactions.append(_read_reaction(reaction, model, functions, local, references))
    events = [_read_event(event, i, functions) for i, event in enumerate(model.getListOfEvents())]
    name = model.getName() or model.getId() or "model"
    return Document(name, compartments, points, species, parameters, references, rules, assigned, tuple(reactions), tuple(events))


def check_chains(document: Document) -> None:
    """SbmlError where rules and initial assignments read one another more than MOST_DEPTH deep, or in a circle."""
    formulas = [*document.rules.items(), *document.assigned.items()]
    waiting: dict[str, set[str]] = {}
    for name, formula in formulas:
        waiting.setdefault(name, set()).update(leaves(formula, "name"))
    waiting = {name: read & waiting.keys() for name, read in waiting.items()}
    for _ in range(MOST_DEPTH):
        ready = {name for name, read in waiting.items() if not read}
        waiting = {name: read - ready for name, read in waiting.items() if name not in ready}
    if waiting:
        names = sorted(waiting)[:8]
        raise SbmlError(f"rules or initial assignments such as {names} read one another in a circle or more than {MOST_DEPTH} deep; write some as parameters")


def _read_species(species: Any, points: frozenset[str]) -> SpeciesElement:
    return SpeciesElement(
        species.getId(),
        species.getCompartment(),
        species.getInitialAmount() if species.isSetInitialAmount() else None,
        species.getInitialConcentration() if species.isSetInitialConcentration() else None,
        species.getHasOnlySubstanceUnits() or species.getCompartment() in points,
        species.getBoundaryCondition(),
        species.getConstant(),
    )


def _read_rule(rule: Any, functions: dict[str, Definition]) -> tuple[str, Expression]:
    if rule.isRate():
        raise SbmlError(f"rate rule of '{rule.getVariable()}': a quantity that flows between the events cannot be simulated exactly; write it as reactions")
    if rule.isAlgebraic():
        raise SbmlError("the model has an algebraic rule, which fixes no single quantity; solve it by hand for an assignment rule")
    return rule.getVariable(), read_formula(rule.getMath(), f"assignment rule of '{rule.getVariable()}'", functions)


def _local_parameters(reaction: Any) -> list[Any]:
    law = reaction.getKineticLaw()
    if law is None:
        raise SbmlError(f"reaction '{reaction.getId()}' has no kinetic law, so no propensity; give it one")
    return [law.getParameter(i) for i in range(law.getNumParameters())] or [law.getLocalParameter(i) for i in range(law.getNumLocalParameters())]


def _local_names(reaction: Any, taken: set[str]) -> dict[str, str]:
    """`reaction_k` for the local parameter k, with further underscores if something else has that name."""
    names = {}
    for parameter in _local_parameters(reaction):
        name = f"{reaction.getId()}_{parameter.getId()}"
        while name in taken:
            name += "_"
        taken.add(name)
        names[parameter.getId()] = name
    return names


def _read_reaction(reaction: Any, model: Any, functions: dict[str, Definition], local: dict[str, str], references: dict) -> ReactionElement:
    where = f"reaction '{reaction.getId()}'"
    if reaction.isSetFast() and reaction.getFast():
        raise SbmlError(f"{where} is fast, that is, always in equilibrium, which is no jump process; give it a large rate constant and fast='false'")
    law = read_formula(reaction.getKineticLaw().getMath(), f"kinetic law of {where}", functions)
    law = substitute(law, lambda leaf: Expression("name", (), local[leaf.value]) if leaf.operator == "name" and leaf.value in local else None)
    sides = []
    for elements in (reaction.getListOfReactants(), reaction.getListOfProducts()):
        sides.append(tuple((e.getSpecies(), _stoichiometry(e, where, model, functions, references)) for e in elements))
    return ReactionElement(reaction.getId(), *sides, law, reaction.getReversible())


def _stoichiometry(element: Any, where: str, model: Any, functions: dict[str, Definition], references: dict) -> Expression:
    """Molecules of a species in a reaction: a number, a formula (level 2), or the id of something that is assigned a value (level 3)."""
    species = element.getSpecies()
    if element.isSetStoichiometryMath():
        value = read_formula(element.getStoichiometryMath().getMath(), f"stoichiometry of '{species}' in {where}", functions)
    else:
        known = element.getStoichiometry()
        if element.getLevel() > 2 and not element.isSetStoichiometry():
            known = math.nan
        if element.getLevel() > 2 and element.isSetId():
            references[element.getId()] = None if math.isnan(known) else known
            value = Expression("name", (), element.getId())
        elif math.isnan(known):
            raise SbmlError(f"{where}: the stoichiometry of '{species}' is missing; write a number")
        else:
            value = number(known)
    described = model.getSpecies(species)
    factor = described.getConversionFactor() if described is not None and described.isSetConversionFactor() else model.getConversionFactor()
    return apply("times", Expression("name", (), factor), value) if factor else value


def _read_event(event: Any, position: int, functions: dict[str, Definition]) -> EventElement:
    name = event.getId() or f"event {position + 1}"
    where, trigger = f"event '{name}'", event.getTrigger()
    if trigger is None:
        raise SbmlError(f"{where} has no trigger; give it one, or remove it")
    delay, priority = event.getDelay() if event.isSetDelay() else None, event.getPriority() if event.isSetPriority() else None
    return EventElement(
        name,
        read_formula(trigger.getMath(), f"trigger of {where}", functions),
        trigger.getInitialValue() if trigger.isSetInitialValue() else True,
        trigger.getPersistent() if trigger.isSetPersistent() else True,
        event.getUseValuesFromTriggerTime() if event.isSetUseValuesFromTriggerTime() else True,
        read_formula(priority.getMath(), f"priority of {where}", functions) if priority is not None else None,
        read_formula(delay.getMath(), f"delay of {where}", functions) if delay is not None else None,
        tuple((a.getVariable(), read_formula(a.getMath(), f"assignment to '{a.getVariable()}' by {where}", functions)) for a in event.getListOfEventAssignments()),
    )
