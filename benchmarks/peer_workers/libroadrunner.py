"""libroadrunner's gillespie integrator, one path a call, from an SBML document written with python-libsbml."""

from __future__ import annotations

import libsbml
import numpy as np
import roadrunner
from systems import NUM_TIMES, System

from .outcome import Outcome


def sbml(system: System) -> str:
    """The network as an SBML level 3 document, species in items."""
    document = libsbml.SBMLDocument(3, 2)
    model = document.createModel()
    compartment = model.createCompartment()
    compartment.setId("cell"), compartment.setSize(1.0), compartment.setConstant(True)
    for name, value in system.parameters.items():
        parameter = model.createParameter()
        parameter.setId(name), parameter.setValue(value), parameter.setConstant(True)
    for name, value in system.start.items():
        species = model.createSpecies()
        species.setId(name), species.setCompartment("cell"), species.setInitialAmount(value)
        species.setHasOnlySubstanceUnits(True), species.setBoundaryCondition(False), species.setConstant(False)
    for reaction in system.reactions:
        _add_reaction(model.createReaction(), reaction)
    return libsbml.writeSBMLToString(document)


def _add_reaction(target, reaction) -> None:
    target.setId(f"r_{reaction.name}"), target.setReversible(False)
    sides = ((reaction.reactants, target.createReactant), (reaction.products, target.createProduct))
    for counted, create in sides:
        for name, number in counted.items():
            reference = create()
            reference.setSpecies(name), reference.setStoichiometry(number), reference.setConstant(True)
    target.createKineticLaw().setMath(libsbml.parseL3Formula(reaction.propensity))


def prepare(system: System, num_paths: int):
    """One loaded model; the loop over paths is in Python, as libroadrunner has no ensembles."""
    model = roadrunner.RoadRunner(sbml(system))
    model.setIntegrator("gillespie")
    model.getIntegrator().setValue("variable_step_size", False)
    model.timeCourseSelections = list(system.species)
    counts = np.empty((num_paths, NUM_TIMES, len(system.species)))

    def run(seed: int) -> Outcome:
        model.getIntegrator().setValue("seed", seed + 1)
        for path in range(num_paths):
            model.reset()
            counts[path] = model.simulate(0, system.horizon, NUM_TIMES)
        return Outcome(counts=counts)

    return run
