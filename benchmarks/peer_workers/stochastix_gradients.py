"""Gradients by stochastix: one jitted vmap of `stochsimsolve` over the paths, differentiated in the parameters of the rate laws.

Score: the paths by DirectMethod, then `log_prob` of the whole path times the final count less its mean over the batch. Straight-through: the default
solver, DifferentiableDirect, final states only; with and without its `checkpoint`. The rate laws are its own (`MassAction`, `HillRepressor`), as its
documentation writes a model; "by hand" they are expressions of ours (`Law`), which its public `AbstractKinetics` allows and which it runs faster. The
bound on the number of steps is tight in both, which the user would have to know beforehand.
"""

from __future__ import annotations

from collections import Counter

import equinox as eqx
import jax
import jax.numpy as jnp
import stochastix
from reference import reference
from stochastix.kinetics import AbstractKinetics, HillRepressor, MassAction
from systems import Reaction, System

BY_HAND = ", laws by hand"


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


def build(system: System, parameters: dict, *, by_hand: bool) -> stochastix.ReactionNetwork:
    """The network with these parameters; its species are in alphabetical order whatever the order written."""
    ordered = tuple(sorted(system.species))

    def kinetics(reaction: Reaction) -> AbstractKinetics:
        if by_hand:
            return Law(values=parameters, expression=reaction.propensity, species=ordered, _requires_species=())
        if reaction.law is None:
            return MassAction(parameters[reaction.rate])
        if system.name != "REP12":
            raise ValueError(f"no kinetics of stochastix is known here for {reaction.law}")
        repressor = reaction.law.partition("(P")[2][0]
        return HillRepressor(f"P{repressor}", parameters["transcription"], parameters["threshold"], n=2.0, v0=parameters["leak"])

    return stochastix.ReactionNetwork([stochastix.Reaction(r.text, kinetics(r)) for r in system.reactions])


def by_parameter(system: System, slopes: stochastix.ReactionNetwork) -> dict:
    """The gradient by parameter, from that of a network of its own kinetics, in which reactions have constants of their own."""
    total = Counter()
    for reaction, found in zip(system.reactions, slopes.reactions, strict=True):
        if reaction.law is None:
            total[reaction.rate] += float(found.kinetics.k)
        else:
            total.update(transcription=float(found.kinetics.v), threshold=float(found.kinetics.K), leak=float(found.kinetics.v0))
    return dict(total)


def prepare(system: System, method: str, observable: str, num_paths: int):
    """`run(seed)`: the gradient of the mean of one species at the horizon in all parameters, on the host."""
    by_hand = method.endswith(BY_HAND)
    kind = method.removesuffix(BY_HAND)
    parameters = {name: jnp.float32(value) for name, value in system.parameters.items()}
    network = build(system, parameters, by_hand=by_hand)
    start = jnp.array([system.start[name] for name in network.species], jnp.float32)
    chosen = network.species.index(observable)
    options = {"T": system.horizon, "max_steps": int(1.05 * reference(system.name)["events_most"]), "save_propensities": False}

    def by_score(network, key):
        def one_path(key):
            fixed = jax.lax.stop_gradient(network)
            result = stochastix.stochsimsolve(key, fixed, start, solver=stochastix.DirectMethod(), **options)
            return result.x[-1, chosen], network.log_prob(result).sum()

        final, log_probability = jax.vmap(one_path)(jax.random.split(key, num_paths))
        return (jax.lax.stop_gradient(final - final.mean()) * log_probability).mean()

    def by_path(network, key):
        def one_path(key):
            checkpoint = kind.endswith("checkpointed")
            return stochastix.stochsimsolve(key, network, start, save_trajectory=False, checkpoint=checkpoint, **options).x[-1, chosen]

        return jax.vmap(one_path)(jax.random.split(key, num_paths)).mean()

    mean = by_score if kind == "score" else by_path
    if by_hand:
        gradient = jax.jit(jax.grad(lambda parameters, key: mean(build(system, parameters, by_hand=True), key)))
        return lambda seed: jax.tree.map(float, gradient(parameters, jax.random.key(seed)))
    of_network = eqx.filter_jit(eqx.filter_grad(mean))
    return lambda seed: by_parameter(system, of_network(network, jax.random.key(seed)))
