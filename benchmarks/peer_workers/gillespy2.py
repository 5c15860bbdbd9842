"""GillesPy2's C++ direct method (SSACSolver), compiled per model by SCons.

GillesPy2 calls SCons through the interpreter behind a virtual environment's link, which does not see the environment's
packages; with the environment's own `scons` script first on the path it takes that one, and builds.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import gillespy2
import numpy as np
from systems import NUM_TIMES, System

from .outcome import Outcome

os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def build(system: System) -> gillespy2.Model:
    """Every reaction with its propensity written out (its own mass action counts 2 P as P (P - 1), without the half)."""
    model = gillespy2.Model(name=system.name)
    model.add_parameter([gillespy2.Parameter(name=n, expression=v) for n, v in system.parameters.items()])
    model.add_species(
        [gillespy2.Species(name=n, initial_value=v, mode="discrete") for n, v in system.start.items()]
    )
    model.add_reaction(
        [
            gillespy2.Reaction(
                name=reaction.name,
                reactants=reaction.reactants,
                products=reaction.products,
                propensity_function=reaction.propensity,
            )
            for reaction in system.reactions
        ]
    )
    model.timespan(gillespy2.TimeSpan.linspace(t=system.horizon, num_points=NUM_TIMES))
    return model


def prepare(system: System, num_paths: int):
    """A compiled solver; the results stay GillesPy2's own arrays until the clock has stopped."""
    model = build(system)
    solver = gillespy2.SSACSolver(model=model)
    model.run(solver=solver, number_of_trajectories=1, seed=1)

    def run(seed: int) -> Outcome:
        results = model.run(solver=solver, number_of_trajectories=num_paths, seed=seed + 1)
        return Outcome(counts=lambda: np.array([[path[name] for name in system.species] for path in results]).transpose(0, 2, 1))

    return run
