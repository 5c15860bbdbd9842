"""Gradients by stochastix: one jitted vmap of `stochsimsolve` over the paths, differentiated in the parameters of the rate laws.

Score: the paths by DirectMethod, then `log_prob` of the whole path times the final count less its mean over the batch. Straight-through: the default
solver, DifferentiableDirect, final states only; with and without its `checkpoint`. Rate laws are kinetics of ours (`stochastix.Law`), faster than its
own MassAction wherever parameters are traced, and the bound on the number of steps is tight, which the user would have to know beforehand.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import stochastix
from reference import reference
from stochastix.kinetics import AbstractKinetics
from systems import System

METHODS = ("score", "straight-through", "straight-through, checkpointed")


class Law(AbstractKinetics):
    """A propensity as an expression of the species and of parameters that are traced."""

    values: dict
    expression: str = eqx.field(static=True)
    species: tuple = eqx.field(static=True)
    _requires_species: tuple = eqx.field(static=True)

    def propensity_fn(self, x, reactants, t=None, volume=1.0):
        """The propensity at counts x."""
        return 1.0 * eval(self.expression, {}, self.values | {name: x[i] for i, name in enumerate(self.species)})

    def ode_rate_fn(self, x, reactants, t=None, volume=1.0):
        """The same law for the rate equation, which stochastix asks every kinetics for."""
        return self.propensity_fn(x, reactants, t, volume)


def build(system: System, parameters: dict) -> stochastix.ReactionNetwork:
    """The network with these parameters; its species are in alphabetical order whatever the order written."""
    ordered = tuple(sorted(system.species))
    return stochastix.ReactionNetwork(
        [
            stochastix.Reaction(r.text, Law(values=parameters, expression=r.propensity, species=ordered, _requires_species=()))
            for r in system.reactions
        ]
    )


def prepare(system: System, method: str, observable: str, num_paths: int):
    """`run(seed)`: the gradient of the mean of one species at the horizon in all parameters, on the host."""
    parameters = {name: jnp.float32(value) for name, value in system.parameters.items()}
    species = build(system, parameters).species
    start, chosen = jnp.array([system.start[name] for name in species], jnp.float32), species.index(observable)
    options = {"T": system.horizon, "max_steps": int(1.05 * reference(system.name)["events_most"]), "save_propensities": False}

    def by_score(parameters, key):
        network = build(system, parameters)

        def one_path(key):
            fixed = jax.lax.stop_gradient(network)
            result = stochastix.stochsimsolve(key, fixed, start, solver=stochastix.DirectMethod(), **options)
            return result.x[-1, chosen], network.log_prob(result).sum()

        final, log_probability = jax.vmap(one_path)(jax.random.split(key, num_paths))
        return (jax.lax.stop_gradient(final - final.mean()) * log_probability).mean()

    def by_path(parameters, key):
        network = build(system, parameters)

        def one_path(key):
            checkpoint = method.endswith("checkpointed")
            return stochastix.stochsimsolve(key, network, start, save_trajectory=False, checkpoint=checkpoint, **options).x[-1, chosen]

        return jax.vmap(one_path)(jax.random.split(key, num_paths)).mean()

    gradient = jax.jit(jax.grad(by_score if method == "score" else by_path))

    def run(seed: int) -> dict:
        return jax.tree.map(float, gradient(parameters, jax.random.key(seed)))

    return run
