"""Models from SBML and Antimony, simulated with the right law or refused by name.

    from ssagrad import sbml

    model = sbml.read("model.xml")
    paths = model.simulate(jax.random.key(0), jnp.linspace(0.0, 50.0, 51), num_paths=10_000)
    ssagrad.simulate(key, model.network, model.parameters, model.initial_counts, times, num_paths=10_000)    # the same, if there are no events

Kinetic laws are propensities (events per unit time) and amounts are molecules; units are not looked at. A law that is stochastic mass action becomes
mass action, any other a function of (counts, parameters), through which every estimator differentiates in global parameters, in local ones (`reaction_k`),
in sizes of compartments and in boundary species. Read are levels 2 and 3: compartments, amounts and concentrations, boundary and constant species,
function definitions, initial assignments, assignment rules, stoichiometries, events with triggers of counts, of time and of both, priorities, persistence,
and delays of events that time triggers. Refused with the id of the element and what to do: reversible reactions with a net rate, rate rules,
algebraic rules, propensities that depend on time, delays of events that counts trigger, constraints, fast reactions, packages that have to be understood.

References: Hucka et al. 2019, "The Systems Biology Markup Language (SBML): language specification for level 3 version 2 core release 2",
J. Integr. Bioinform. 16(2), doi:10.1515/jib-2019-0021. Evans, Gillespie and Wilkinson 2008, "The SBML discrete stochastic models test suite",
doi:10.1093/bioinformatics/btm566.
"""

from __future__ import annotations

import os

from ssagrad.sbml.antimony_text import from_antimony
from ssagrad.sbml.building import build
from ssagrad.sbml.document import check_chains, read_document
from ssagrad.sbml.expressions import SbmlError
from ssagrad.sbml.model import Formula, Model
from ssagrad.sbml.source import load, parse, validate

__all__ = ["Formula", "Model", "SbmlError", "read", "read_antimony"]


def read(source: str | bytes | os.PathLike) -> Model:
    """The model of an SBML document: its path, or its text. A file in Antimony is read if its name ends with .ant.

    Raises:
        SbmlError: no such file, not valid SBML, or what exact simulation cannot follow, by the id of the element. ImportError: what to install.
    """
    text = load(source)
    parsed = parse(text)
    try:
        document = read_document(parsed.getModel())
        check_chains(document)
        validate(parsed)
        return build(document, text)
    except RecursionError:
        raise SbmlError("formulas, functions or rules are nested too deep; write some of them as parameters") from None


def read_antimony(text: str) -> Model:
    """The model of a text in Antimony, such as `"A + B => C; k*A*B; k = 0.1; A = 10; B = 10; C = 0"`.

    A species without `substanceOnly` is a concentration in its compartment; one whose compartment is not named counts molecules (a volume of 1).

    Raises:
        SbmlError: with Antimony's reason, or as `read`. ImportError: what to install.
    """
    return read(from_antimony(text))
