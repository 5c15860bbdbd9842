"""Functions of the state that a network suggests by itself: what value functions are expanded in.

Species that a conservation law does not fix, and the propensities that are not of mass action, are standardised; the features are all
their products up to a degree, the constant included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.network import Network

_HIGHEST_DEGREE = 4


@jax.tree_util.register_static
@dataclass(frozen=True)
class Features:
    """Products up to `degree` of the standardised variables of a network: J functions of the state.

    Attributes:
        network: species and reactions.
        species: indices of the species among the variables. laws: of the reactions whose propensity is one.
        degree: of the products.
    """

    network: Network
    species: tuple[int, ...]
    laws: tuple[int, ...]
    degree: int

    @classmethod
    def of_network(cls, network: Network, *, degree: int | None = None, max_features: int = 128) -> Features:
        """The highest degree up to 4 with at most `max_features` features (at least degree 1), unless a degree is given."""
        species = _independent_columns(network.stoichiometry)
        laws = tuple(r for r, reaction in enumerate(network.reactions) if reaction.propensity is not None)
        variables = len(species) + len(laws)
        if degree is None:
            possible = [d for d in range(2, _HIGHEST_DEGREE + 1) if math.comb(variables + d, d) <= max_features]
            degree = max(possible, default=1)
        elif degree < 1:
            raise ValueError(f"expected a degree ≥ 1, received {degree}")
        return cls(network, species, laws, degree)

    @property
    def size(self) -> int:
        """J, the constant included."""
        return math.comb(len(self.species) + len(self.laws) + self.degree, self.degree)

    def variables(self, counts: tuple, parameters: Any) -> jax.Array:
        """Species and laws [V, ...] of states given as a tuple of S arrays [...]."""
        shape = counts[0].shape
        flat = tuple(x.reshape(-1) for x in counts)
        laws = jax.vmap(lambda state: self.network.rates(state, parameters, only=self.laws))(flat) if self.laws else ()
        columns = [*(flat[s] for s in self.species), *(law.astype(counts[0].dtype) for law in laws)]
        return jnp.stack(columns).reshape(-1, *shape)

    def products(self, standardised: jax.Array) -> jax.Array:
        """All products [J, ...] of standardised variables [V, ...], by increasing degree: 1, z_1 … z_V, z_1², z_1 z_2, …"""
        num_variables = len(standardised)
        blocks = [jnp.ones_like(standardised[:1])]
        # products of one degree more whose first factor is z_i: z_i times those of the last degree whose first factor is z_i or later
        starts = [0] * num_variables
        for _ in range(self.degree):
            pieces = [standardised[i : i + 1] * blocks[-1][starts[i] :] for i in range(num_variables)]
            starts = [0, *np.cumsum([len(piece) for piece in pieces])[:-1].tolist()]
            blocks.append(jnp.concatenate(pieces))
        return jnp.concatenate(blocks)


def _independent_columns(stoichiometry: np.ndarray) -> tuple[int, ...]:
    """Species (columns) whose changes determine all others: the first ones that raise the rank."""
    chosen: list[int] = []
    for s in range(stoichiometry.shape[1]):
        if np.linalg.matrix_rank(stoichiometry[:, [*chosen, s]]) > len(chosen):
            chosen.append(s)
    return tuple(chosen)
