"""Libraries of candidate reactions: every reaction of mass action up to an order, under constraints.

References: Kreikemeyer, Andelfinger, Uhrmacher 2024, "Towards Learning Stochastic Population Models by Gradient Descent",
doi:10.1145/3615979.3656058; Burrage, Weerasinghe, Burrage 2024, doi:10.1007/s11075-023-01737-0 (coupled libraries).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any, NamedTuple

import numpy as np

from ssagrad.network import Network, NetworkError
from ssagrad.notation import side_text


class Library(NamedTuple):
    """L candidate reactions between S species, all of mass action.

    species: names. reactants, products: molecules on each side, int [L, S].
    """

    species: tuple[str, ...]
    reactants: np.ndarray
    products: np.ndarray

    @property
    def size(self) -> int:
        """The number of candidates L."""
        return len(self.reactants)

    @property
    def changes(self) -> np.ndarray:
        """Change of each species by each candidate, int [L, S]."""
        return self.products - self.reactants

    def texts(self) -> list[str]:
        """The candidates as text, such as "S + I -> 2 I"."""
        sides = [[{name: int(m) for name, m in zip(self.species, row, strict=True) if m} for row in side] for side in (self.reactants, self.products)]
        return [f"{side_text(left.items())} -> {side_text(right.items())}" for left, right in zip(*sides, strict=True)]

    def subset(self, indices: Sequence[int]) -> Library:
        """Some of the candidates, in the order given."""
        chosen = np.asarray(indices, int)
        return Library(self.species, self.reactants[chosen], self.products[chosen])

    def positions(self, network: Network | str) -> list[int]:
        """Where the reactions of a network (or of its text) stand in the library.

        Raises:
            NetworkError: one of them is not a candidate.
        """
        wanted = library_of(network, self.species)
        rows = {(*left, *right): i for i, (left, right) in enumerate(zip(self.reactants.tolist(), self.products.tolist(), strict=True))}
        keys = [(*left, *right) for left, right in zip(wanted.reactants.tolist(), wanted.products.tolist(), strict=True)]
        if missing := [text for text, key in zip(wanted.texts(), keys, strict=True) if key not in rows]:
            raise NetworkError(f"expected reactions of the library of {self.size}, received {missing}; raise its orders or relax its constraints")
        return [rows[key] for key in keys]

    def network(self) -> Network:
        """All candidates as one network with the rate constants k1, ..., kL."""
        return Network.from_text("; ".join(f"{text} @ k{i + 1}" for i, text in enumerate(self.texts())), species=self.species)

    def combinations(self, counts: Any) -> np.ndarray:
        """Propensities per unit rate: ways to choose the reactants out of counts [..., S] (which may be means, not whole), [..., L]."""
        counts = np.asarray(counts, float)[..., None, :]
        ways = np.where(self.reactants == 0, 1.0, np.where(self.reactants == 1, counts, counts * (counts - 1) / 2))
        return np.maximum(ways, 0).prod(-1)


def enumerate_reactions(
    species: Sequence[str],
    *,
    most_reactants: int = 2,
    most_products: int = 2,
    largest_change: int | None = None,
    conserves_molecules: bool = False,
    empty_sides: bool = True,
) -> Library:
    """Every reaction with at most so many molecules on its sides, without those that change nothing.

    Args:
        species: names of the S species.
        most_reactants: molecules on the left side, 0, 1 or 2. most_products: molecules on the right side.
        largest_change: of any one species by one reaction; None: no limit.
        conserves_molecules: as many molecules on the right as on the left.
        empty_sides: allow `0 -> A` and `A -> 0`.

    Raises:
        NetworkError: names that cannot be species, orders that cannot be meant, or constraints that leave no reaction.
    """
    species = tuple(species)
    if not species or len(set(species)) < len(species):
        raise NetworkError(f"expected names of species, each once, received {species}")
    if most_reactants not in (0, 1, 2) or most_products < 0 or most_products != int(most_products):
        raise NetworkError(f"expected most_reactants in 0, 1, 2 and most_products ≥ 0, received {most_reactants} and {most_products}")
    left, right = _multisets(len(species), most_reactants), _multisets(len(species), int(most_products))
    reactants, products = np.repeat(left, len(right), axis=0), np.tile(right, (len(left), 1))
    change = products - reactants
    kept = change.any(1)
    if largest_change is not None:
        kept &= np.abs(change).max(1) <= largest_change
    if conserves_molecules:
        kept &= change.sum(1) == 0
    if not empty_sides:
        kept &= (reactants.sum(1) > 0) & (products.sum(1) > 0)
    if not kept.any():
        raise NetworkError("expected constraints that some reaction fulfils, received a library without any; relax one of them")
    library = Library(species, reactants[kept], products[kept])
    library_of(library.texts()[0] + " @ 1", species)  # names that a reaction could not be written with
    return library


def library_of(network: Network | str, species: Sequence[str] = ()) -> Library:
    """The reactions of a network, or of a text such as "S + I -> 2 I; I -> R" (rates may be left out), as a library.

    Raises:
        NetworkError: text that cannot be read, species that are not among `species`, three equal reactants, or propensities that are functions.
    """
    if isinstance(network, str):
        parts = [part.strip() for line in network.splitlines() for part in line.split("#")[0].split(";") if part.strip()]
        network = Network.from_text("; ".join(part if "@" in part else f"{part} @ 1" for part in parts), species=tuple(species))
    if functions := [reaction.name for reaction in network.reactions if reaction.propensity is not None]:
        raise NetworkError(f"expected mass action, received functions as propensities: {functions}")
    names = tuple(species) or network.species
    if unknown := [name for name in network.species if name not in names]:
        raise NetworkError(f"expected reactions between {list(names)}, received the species {unknown}")
    sides = np.zeros((2, len(network.reactions), len(names)), int)
    for r, reaction in enumerate(network.reactions):
        for side, molecules in enumerate((reaction.reactants, reaction.products)):
            for s, number in molecules:
                sides[side, r, names.index(network.species[s])] += number
    if (sides[0] > 2).any():
        raise NetworkError(f"expected at most 2 molecules of one species on a left side, received {Library(names, *sides[:, (sides[0] > 2).any(1)]).texts()}")
    return Library(names, *sides)


def _multisets(num_species: int, most: int) -> np.ndarray:
    """All ways to put at most so many molecules on one side [., S], by their number."""
    picks = [pick for size in range(most + 1) for pick in combinations_with_replacement(range(num_species), size)]
    table = np.zeros((len(picks), num_species), int)
    for row, pick in zip(table, picks, strict=True):
        np.add.at(row, list(pick), 1)
    return table
