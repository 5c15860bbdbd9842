"""Four ways to write a network of unknown structure as plain numbers, which gradient descent can change.

A formulation decodes unconstrained parameters θ into a network: which reactions there are, and how fast. Decoding is crisp (it chooses and
rounds), so a small change of θ changes nothing or the whole model: gradients come from smoothing over θ (`estimators.smoothing`).

    library of reactions      one rate for each of L candidates; the structure is which of them stay above a threshold      K = L
    choice from the library   each of R reactions is the candidate with the largest of L logits                             K = R (L + 1)
    coefficients and rates    the coefficients of R reactions are real numbers, rounded                                     K = R (2 S + 1)
    constrained coefficients  two molecules on each side, each the largest of S + 1 logits (one of them: nothing)           K = R (4 S + 5)

Reference: Kreikemeyer, Andelfinger, Uhrmacher 2024, "Towards Learning Stochastic Population Models by Gradient Descent", section 5,
doi:10.1145/3615979.3656058. The first name is theirs; the definitions of the other three are our reading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.network import Network, NetworkError
from ssagrad.structure.candidates import Library, library_of
from ssagrad.structure.tabulated import MOST_MOLECULES, tabulated_network

LARGEST_RATE = 1e3
Scale = Callable[[jax.Array, jax.Array], jax.Array]


class Formulation(NamedTuple):
    """A family of networks in unconstrained parameters θ, a dictionary of float arrays.

    network: simulates any of its members. decode: from the θ of one member to the parameters of `network`; for `polyak_smoothing(…, decode=…)`.
    table: from θ to {"reactants": [R, S], "products": [R, S], "rates": [R]}. draw: from a NumPy generator and M to M first guesses, leaves [M, …].
    """

    network: Network
    decode: Callable[[Any], Any]
    table: Callable[[Any], dict[str, Any]]
    draw: Callable[[np.random.Generator, int], dict[str, np.ndarray]]

    @property
    def num_parameters(self) -> int:
        """The number of free parameters K."""
        return sum(leaf.size for leaf in self.draw(np.random.default_rng(0), 1).values())


class ReactionList(NamedTuple):
    """Different reactions and their rate constants [R], the fastest first."""

    library: Library
    rates: np.ndarray

    def has_structure_of(self, network: Network | str) -> bool:
        """Whether these are the reactions of a network (or of its text), no fewer and no more; rates are not compared."""
        sides = [_keys(library) for library in (self.library, library_of(network, self.library.species))]
        return set(sides[0]) == set(sides[1])


def decoded_model(formulation: Formulation, parameters: Any, *, above: float = 0.0) -> ReactionList:
    """The reactions of one θ whose rate constants exceed a threshold: equal ones added up, those that change nothing left out."""
    rows = {name: np.asarray(leaf, float) for name, leaf in formulation.table(parameters).items()}
    library = Library(formulation.network.species, *(rows[side].round().astype(int) for side in ("reactants", "products")))
    total: dict[tuple[int, ...], float] = {}
    for key, rate, change in zip(_keys(library), rows["rates"].tolist(), library.changes, strict=True):
        if change.any():
            total[key] = total.get(key, 0.0) + rate
    kept = sorted((key for key in total if total[key] > above), key=lambda key: -total[key])
    sides = np.array(kept, int).reshape(len(kept), 2, len(library.species))
    return ReactionList(Library(library.species, sides[:, 0], sides[:, 1]), np.array([total[key] for key in kept]))


def in_units(parameters: Any, units: Any) -> Any:
    """θ = unit · z of many starts: leaves [M, …] times units [M]."""
    units = np.asarray(units)
    return jax.tree.map(lambda leaf: leaf * units.reshape(-1, *(1,) * (leaf.ndim - 1)), parameters)


def logarithmic(theta: jax.Array, order: jax.Array) -> jax.Array:
    """Rate constants 10^θ."""
    return 10 ** jnp.minimum(theta, 38)


def linear(theta: jax.Array, order: jax.Array) -> jax.Array:
    """Rate constants θ, or 0 where θ is negative."""
    return jnp.maximum(theta, 0)


def per_molecule(population: float) -> Scale:
    """Rate constants 10^θ · N^(1 − order): θ means about the same speed whatever the number of reactants, in a population of N molecules."""
    return lambda theta, order: 10 ** (jnp.minimum(theta, 30) + np.log10(population) * (1 - order))


def library_of_reactions(library: Library, *, scale: Scale = logarithmic, start: tuple[float, float] = (-4.0, -4.0)) -> Formulation:
    """Every candidate is present with a rate of its own: θ = {"rates": [L]}.

    Args:
        library: of one candidate for each known reaction, this is parameter estimation.
        scale: from θ and the number of reactants to rate constants. start: first guesses of θ are uniform between these.
    """
    network, (reactants, products) = library.network(), _as_floats(library)

    def table(theta):
        return {"reactants": reactants, "products": products, "rates": _rates(theta["rates"], reactants, scale)}

    def decode(theta):
        rates = table(theta)["rates"]
        return {name: rates[i] for i, name in enumerate(network.parameter_names)}

    return Formulation(network, decode, table, lambda generator, number: {"rates": generator.uniform(*start, (number, library.size))})


def choice_from_library(
    library: Library, num_reactions: int, *, scale: Scale = logarithmic, start: tuple[float, float] = (-3.0, 0.0)
) -> Formulation:
    """R reactions, each the candidate with the largest logit: θ = {"logits": [R, L], "rates": [R]}; first logits are uniform in (0, 1)."""
    reactants, products = _as_floats(library)

    def table(theta):
        chosen = jnp.argmax(theta["logits"], -1)
        return _rows(jnp.asarray(reactants)[chosen], jnp.asarray(products)[chosen], theta, scale)

    draw = _drawing(num_reactions, start, logits=((library.size,), 1.0))
    return Formulation(tabulated_network(library.species, num_reactions), table, table, draw)


def coefficients_and_rates(
    species: Sequence[str], num_reactions: int, *, scale: Scale = logarithmic, start: tuple[float, float] = (-3.0, 0.0)
) -> Formulation:
    """R reactions with free coefficients, rounded to 0, 1 or 2: θ = {"coefficients": [R, 2, S], "rates": [R]}.

    First coefficients are uniform in (0, 2). A side may hold up to 2 S molecules.
    """

    def table(theta):
        sides = jnp.floor(jnp.clip(theta["coefficients"], 0, MOST_MOLECULES) + 0.5)
        return _rows(sides[:, 0], sides[:, 1], theta, scale)

    draw = _drawing(num_reactions, start, coefficients=((2, len(species)), float(MOST_MOLECULES)))
    return Formulation(tabulated_network(tuple(species), num_reactions), table, table, draw)


def constrained_coefficients(
    species: Sequence[str],
    num_reactions: int,
    *,
    conserves_molecules: bool = False,
    scale: Scale = logarithmic,
    start: tuple[float, float] = (-3.0, 0.0),
) -> Formulation:
    """R reactions of at most two molecules on each side, each molecule chosen by logits: θ = {"molecules": [R, 4, S + 1], "rates": [R]}.

    Args:
        conserves_molecules: there are as many products as reactants: the k-th product is nothing where the k-th reactant is (K is then R (4 S + 3)).
    """
    size = len(species)

    def table(theta):
        logits = jnp.asarray(theta["molecules"])
        left = jax.nn.one_hot(jnp.argmax(logits[:, :2], -1), size + 1, dtype=logits.dtype)[..., 1:]
        if conserves_molecules:
            picks = jax.nn.one_hot(jnp.argmax(theta["products"], -1), size, dtype=logits.dtype)
            right = picks * left.sum(-1, keepdims=True)
        else:
            right = jax.nn.one_hot(jnp.argmax(logits[:, 2:], -1), size + 1, dtype=logits.dtype)[..., 1:]
        return _rows(left.sum(1), right.sum(1), theta, scale)

    shapes = {"molecules": ((2, size + 1), 1.0), "products": ((2, size), 1.0)} if conserves_molecules else {"molecules": ((4, size + 1), 1.0)}
    return Formulation(tabulated_network(tuple(species), num_reactions), table, table, _drawing(num_reactions, start, **shapes))


def four_problems(library: Library, num_reactions: int, **options: Any) -> dict[str, Formulation]:
    """The four formulations by name, the last three with R reactions each; options are `scale` and `start`."""
    return {
        "library of reactions": library_of_reactions(library, **options),
        "choice from the library": choice_from_library(library, num_reactions, **options),
        "coefficients and rates": coefficients_and_rates(library.species, num_reactions, **options),
        "constrained coefficients": constrained_coefficients(library.species, num_reactions, **options),
    }


def _drawing(num_reactions: int, start: tuple[float, float], **shapes: tuple[tuple[int, ...], float]) -> Callable:
    """First guesses: rates uniform between the ends of `start`, every other leaf [M, R, *shape] uniform from 0 to its limit."""
    if num_reactions != int(num_reactions) or num_reactions < 1:
        raise NetworkError(f"expected num_reactions to be a whole number ≥ 1, received {num_reactions}")

    def draw(generator, number):
        others = {name: generator.uniform(0, limit, (number, num_reactions, *shape)) for name, (shape, limit) in shapes.items()}
        return others | {"rates": generator.uniform(*start, (number, num_reactions))}

    return draw


def _rows(reactants: jax.Array, products: jax.Array, theta: Any, scale: Scale) -> dict[str, jax.Array]:
    return {"reactants": reactants, "products": products, "rates": _rates(theta["rates"], reactants, scale)}


def _rates(theta: Any, reactants: Any, scale: Scale) -> jax.Array:
    """Rate constants [R], at most the largest."""
    theta = jnp.asarray(theta)
    return jnp.minimum(scale(theta, jnp.asarray(reactants, theta.dtype).sum(-1)), LARGEST_RATE)


def _as_floats(library: Library) -> tuple[np.ndarray, np.ndarray]:
    return library.reactants.astype(np.float32), library.products.astype(np.float32)


def _keys(library: Library) -> list[tuple[int, ...]]:
    """The coefficients of each reaction, reactants first, as something to look up."""
    return [(*left, *right) for left, right in zip(library.reactants.tolist(), library.products.tolist(), strict=True)]
