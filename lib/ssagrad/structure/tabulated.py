"""Networks whose stoichiometry is data: one program simulates a different network on every path.

An ordinary `Network` compiles its reactions in. Here the reactions are rows of a table that the parameters hold,

    parameters = {"reactants": [n, R, S], "products": [n, R, S], "rates": [n, R]}

so that candidates which differ in structure run side by side in one batch, and a search over structures compiles once.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from ssagrad.network import Network, Reaction

MOST_MOLECULES = 2  # of one species on the left side of a reaction


@cache
def tabulated_network(species: tuple[str, ...], num_reactions: int) -> Network:
    """A network of R mass-action reactions that are read from its parameters: "reactants" and "products" [R, S], "rates" [R].

    Row r has the propensity rate × Π_s binomial(x_s, reactants_rs), with at most 2 molecules of one species among the reactants. The
    tables hold whole numbers, as floats. To simulate a network per path, give every leaf a leading axis [n] and say
    `parameters_per_path=True`. A row whose rate is 0 never fires.
    """
    return Network(species, tuple(_row(r, species) for r in range(num_reactions)))


def _row(r: int, species: tuple[str, ...]) -> Reaction:
    def propensity(counts: dict[str, jax.Array], parameters: Any) -> jax.Array:
        value = parameters["rates"][r]
        for s, name in enumerate(species):
            value = value * _combinations(counts[name], parameters["reactants"][r, s])
        return value

    def change(counts: dict[str, jax.Array], parameters: Any) -> dict[str, jax.Array]:
        return {name: parameters["products"][r, s] - parameters["reactants"][r, s] for s, name in enumerate(species)}

    return Reaction(f"reaction {r + 1}", (), (), None, 1.0, propensity, change)


def _combinations(count: jax.Array, molecules: jax.Array) -> jax.Array:
    """Ways to choose 0, 1 or 2 molecules out of `count`."""
    pairs = count * (count - 1) / 2
    return jnp.where(molecules < 0.5, 1.0, jnp.where(molecules < 1.5, count, pairs))
