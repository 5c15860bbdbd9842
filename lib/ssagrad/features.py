"""Functions of the state that a network suggests by itself: what value functions are expanded in.

Variables are the species that a conservation law does not fix and the propensities that are not of mass action. They are standardised; the
features are all their products up to a degree, the constant included. Where only products of two are affordable, further variables tell the
first few molecules apart: exp(−x/2) of each species that meets others, counted with what it is bound in. Binding and unbinding leave that total
alone, so that these curves are slow where the promoters or enzymes that bind are fast.
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
_SCALE = 2.0  # of curves, in molecules
_MANY = 128
_MOST_CURVED = 256  # features up to which curves are added


@jax.tree_util.register_static
@dataclass(frozen=True)
class Features:
    """Products up to `degree` of the standardised variables of a network: J functions of the state.

    Attributes:
        network: species and reactions.
        species: indices of the species among the variables. laws: of the reactions whose propensity is one.
        degree: of the products.
        totals: for each total that curves are taken of, how often each species counts.
    """

    network: Network
    species: tuple[int, ...]
    laws: tuple[int, ...]
    degree: int
    totals: tuple[tuple[int, ...], ...]

    @classmethod
    def of_network(cls, network: Network, *, degree: int | None = None, max_features: int = _MANY) -> Features:
        """The highest degree up to 4 with at most `max_features` features (at least degree 1), unless a degree is given."""
        species = _independent_columns(network.stoichiometry)
        laws = tuple(r for r, reaction in enumerate(network.reactions) if reaction.propensity is not None)
        variables = len(species) + len(laws)
        if degree is None:
            possible = [d for d in range(2, _HIGHEST_DEGREE + 1) if math.comb(variables + d, d) <= max_features]
            degree = max(possible, default=1)
        elif degree < 1:
            raise ValueError(f"expected a degree ≥ 1, received {degree}")
        totals = _totals(network) if degree == 2 else ()
        curved = cls(network, species, laws, degree, totals)
        return curved if curved.size <= _MOST_CURVED else cls(network, species, laws, degree, ())

    @property
    def num_variables(self) -> int:
        """V: species, laws and curves."""
        return len(self.species) + len(self.laws) + len(self.totals)

    @property
    def in_pairs(self) -> bool:
        """Whether the features are the products of up to two variables (`quadratic`)."""
        return self.degree == 2

    @property
    def is_large(self) -> bool:
        """Whether they are so many that the value function costs more than the simulation, and says little of fast reactions."""
        return self.size > _MANY

    @property
    def size(self) -> int:
        """J, the constant included."""
        return math.comb(self.num_variables + self.degree, self.degree)

    def variables(self, counts: tuple, parameters: Any) -> jax.Array:
        """Species, laws and curves [V, ...] of states given as a tuple of S arrays [...]."""
        shape = counts[0].shape
        flat = tuple(x.reshape(-1) for x in counts)
        laws = jax.vmap(lambda state: self.network.rates(state, parameters, only=self.laws))(flat) if self.laws else ()
        curves = [jnp.exp(-sum(n * flat[s] for s, n in enumerate(total) if n) / _SCALE) for total in self.totals]
        columns = [*(flat[s] for s in self.species), *(law.astype(counts[0].dtype) for law in laws), *curves]
        return jnp.stack(columns).reshape(-1, *shape)

    def moved(self, reaction: int) -> tuple[int, ...]:
        """The variables that a reaction may change (every law among them)."""
        change, laws, curves = self.network.stoichiometry[reaction], len(self.species), len(self.species) + len(self.laws)
        of_curves = (curves + i for i, total in enumerate(self.totals) if np.dot(total, change))
        return (*(v for v, s in enumerate(self.species) if change[s]), *range(laws, curves), *of_curves)

    def changes(self, reaction: int, possible: jax.Array, variables: jax.Array, counts: tuple, parameters: Any) -> dict[int, Any]:
        """How the variables in `moved` change if a reaction fires at n states, a tuple of S arrays [n] with variables [V, n].

        Where it is not possible, no law is asked for its value there.
        """
        change, laws, curves = self.network.stoichiometry[reaction], len(self.species), len(self.species) + len(self.laws)
        after = tuple(x + jnp.where(possible, float(n), 0) if n else x for x, n in zip(counts, change, strict=True))
        of_laws = jax.vmap(lambda state: self.network.rates(state, parameters, only=self.laws))(after) if self.laws else ()
        found = {}
        for v in self.moved(reaction):
            if v < laws:
                found[v] = float(change[self.species[v]])
            elif v < curves:
                found[v] = of_laws[v - laws].astype(variables.dtype) - variables[v]
            else:
                found[v] = variables[v] * math.expm1(-float(np.dot(self.totals[v - curves], change)) / _SCALE)
        return found

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


def parts_of(network: Network) -> tuple[int, ...]:
    """For each species, the first of its group [S]: conservation laws tie species of one group only, so that counts of several can be combined."""
    changes = network.stoichiometry
    tied = np.abs(np.eye(changes.shape[1]) - np.linalg.pinv(changes) @ changes) > 1e-6  # the projection on the conservation laws
    return tuple(np.argmax(np.linalg.matrix_power(tied | np.eye(len(tied), dtype=bool), len(tied)), axis=1).tolist())


def _independent_columns(stoichiometry: np.ndarray) -> tuple[int, ...]:
    """Species (columns) whose changes determine all others: the first ones that raise the rank."""
    chosen: list[int] = []
    for s in range(stoichiometry.shape[1]):
        if np.linalg.matrix_rank(stoichiometry[:, [*chosen, s]]) > len(chosen):
            chosen.append(s)
    return tuple(chosen)


def _totals(network: Network) -> tuple[tuple[int, ...], ...]:
    """Species that meet others in reactions of mass action, each with what it is bound in: how often each species counts [S].

    A binding makes fewer and other molecules than it consumes; what a binding makes has no total of its own. Totals that never change are left out.
    """
    meetings = [r for r in network.reactions if r.propensity is None and sum(n for _, n in r.reactants) > 1]
    bindings = [r for r in meetings if 0 < sum(n for _, n in r.products) < sum(n for _, n in r.reactants)]
    bindings = [r for r in bindings if not {s for s, _ in r.products} & {s for s, _ in r.reactants}]
    made = {s for r in bindings for s, _ in r.products}
    totals = []
    for species in sorted({s for r in meetings for s, _ in r.reactants} - made):
        total = np.eye(len(network.species), dtype=int)[species]
        for _ in network.species:  # a complex of complexes takes as many rounds as it has parts
            for binding in bindings:
                if len(binding.products) == 1:
                    (product, number), *_ = binding.products
                    total[product] = max(total[product], sum(n * total[s] for s, n in binding.reactants) // number)
        if (network.stoichiometry @ total).any():
            totals.append(tuple(total.tolist()))
    return tuple(totals)
