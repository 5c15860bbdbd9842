"""stochastix: jitted vmap of `stochsimsolve` (DirectMethod) and `interpolate`, with a tight bound on the number of steps.

Networks of mass action take its fast path. Where one law is not mass action, every reaction gets a kinetics class of ours
through the public `AbstractKinetics`: its own MassAction then costs lgamma calls over all species and is far slower.
"""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import stochastix
from reference import reference
from stochastix.kinetics import AbstractKinetics, MassAction
from systems import System

from .outcome import Outcome

CHUNK_BYTES = 500e6  # every step of a path is stored before it is read out on the grid: fastest with chunks of about this size


class Law(AbstractKinetics):
    """A propensity as an expression of the species, with the parameters' values folded in."""

    expression: str = eqx.field(static=True)
    parameters: tuple = eqx.field(static=True)
    species: tuple = eqx.field(static=True)
    _requires_species: tuple = eqx.field(static=True)

    def propensity_fn(self, x, reactants, t=None, volume=1.0):
        """The propensity at counts x."""
        names = {name: x[i] for i, name in enumerate(self.species)}
        return eval(self.expression, dict(self.parameters), names)

    def ode_rate_fn(self, x, reactants, t=None, volume=1.0):
        """The same law for the rate equation, which stochastix asks every kinetics for."""
        return self.propensity_fn(x, reactants, t, volume)


def build(system: System) -> stochastix.ReactionNetwork:
    """The network; its species are in alphabetical order whatever the order written."""
    mass_action = all(reaction.law is None for reaction in system.reactions)
    ordered = tuple(sorted(system.species))
    reactions = []
    for reaction in system.reactions:
        if mass_action:
            kinetics = MassAction(system.parameters[reaction.rate])
        else:
            kinetics = Law(
                _requires_species=(),
                expression=reaction.propensity,
                parameters=tuple(system.parameters.items()),
                species=ordered,
            )
        reactions.append(stochastix.Reaction(reaction.text, kinetics))
    network = stochastix.ReactionNetwork(reactions)
    assert network.species == ordered, network.species
    return network


def prepare(system: System, num_paths: int):
    """One compiled function of the keys, in chunks of paths."""
    network = build(system)
    start = jnp.array([system.start[name] for name in network.species], jnp.float32)
    order = np.array([network.species.index(name) for name in system.species])
    times = jnp.array(system.times, jnp.float32)
    max_steps = int(1.05 * reference(system.name)["events_most"])
    chunks = math.ceil(num_paths * max_steps * len(system.species) * 4 / CHUNK_BYTES)

    def one_path(key):
        result = stochastix.stochsimsolve(
            key,
            network,
            start,
            T=system.horizon,
            max_steps=max_steps,
            solver=stochastix.DirectMethod(),
            save_propensities=False,
        )
        return result.interpolate(times).x, result.reactions[-1] >= 0

    @jax.jit
    def batch(key):
        return jax.lax.map(one_path, jax.random.split(key, num_paths), batch_size=math.ceil(num_paths / chunks))

    def run(seed: int) -> Outcome:
        counts, cut = batch(jax.random.key(seed))
        if np.any(cut):
            raise RuntimeError(f"{int(np.sum(cut))} paths needed more than max_steps = {max_steps}")
        return Outcome(counts=np.asarray(counts)[:, :, order])

    return run
