"""Reaction networks as data: species, reactions, stoichiometry and propensities.

A network is read from the text that a chemist would write,

    sir = Network.from_text("S + I -> 2 I @ infection; I -> R @ recovery")

and never holds parameter values: these are a separate pytree that the caller owns, so that one can differentiate in them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ssagrad.notation import NetworkError, rate_text, reaction_latex, read_reactions, side_text

Propensity = Callable[[dict[str, jax.Array], Any], jax.Array]
Change = Callable[[dict[str, jax.Array], Any], Mapping[str, jax.Array]]


class Reaction(NamedTuple):
    """One reaction channel.

    `reactants` and `products` are pairs (species index, molecules). The propensity is `factor × rate × falling factorials`
    (mass action, `rate` None meaning 1) unless `propensity` holds a function of (counts by name, parameters). The counts change by
    products − reactants unless `change` holds a function of (counts by name, parameters), whose values are the changes of the species named.
    """

    name: str
    reactants: tuple[tuple[int, int], ...]
    products: tuple[tuple[int, int], ...]
    rate: str | None
    factor: float
    propensity: Propensity | None
    change: Change | None = None


@jax.tree_util.register_static
@dataclass(frozen=True)
class Network:
    """A reaction network: frozen, hashable, a pytree without leaves (it may be closed over, or be passed through `jax.jit`).

    Attributes:
        species: names, in the order of first appearance in the text.
        reactions: the channels, in the order of the text.
    """

    species: tuple[str, ...]
    reactions: tuple[Reaction, ...]

    @classmethod
    def from_text(cls, text: str, *, species: tuple[str, ...] = (), propensities: Mapping[str, Propensity] | None = None) -> Network:
        """Reads reactions such as `"S + I -> 2 I @ infection; 0 -> S @ birth; A + B <-> C @ on, off"`.

        Reactions are separated by `;` or line ends; `#` starts a comment. What follows `@` is the rate constant of mass action
        (`a = k x`, `k x y`, `k x (x − 1)/2` for two equal reactants, falling factorials over m! in general): the name of a
        parameter, a number, or both (`2 * k_off`); or the name of a function in `propensities`.

        Args:
            text: the reactions.
            species: names that fix the order of the species (those missing from it follow in order of appearance).
            propensities: functions of (counts, parameters), where `counts` maps a species name to a scalar; any JAX code.
                It must be non-negative, and zero where the reactants of its reaction are missing (this is checked while simulating).

        Raises:
            NetworkError: with the reaction and the offending token.
        """
        functions = dict(propensities or {})
        channels = read_reactions(text)
        labels = [channel.label for channel in channels]
        if len(set(species)) < len(species):
            raise NetworkError(f"duplicate species in {list(species)}")
        if unused := set(functions) - set(labels):
            raise NetworkError(f"the propensities {sorted(unused)} belong to no reaction; the reactions use {labels}")
        written = [name for channel in channels for side in (channel.reactants, channel.products) for name in side]
        names = tuple(dict.fromkeys([*species, *written]))
        if not names:
            raise NetworkError(f"expected reactions between species, received {text.strip()!r}, in which there is none")
        index = {name: i for i, name in enumerate(names)}
        reactions = []
        for position, channel in enumerate(channels):
            count = labels[: position + 1].count(channel.label)
            name = channel.label if labels.count(channel.label) == 1 else f"{channel.label}[{count}]"
            sides = [tuple((index[s], m) for s, m in side.items()) for side in (channel.reactants, channel.products)]
            reactions.append(Reaction(name, *sides, channel.rate, channel.factor, functions.get(channel.label)))
        return cls(names, tuple(reactions))

    @property
    def stoichiometry(self) -> np.ndarray:
        """Change of each species by each reaction, int [R, S]; NetworkError where a change is a function."""
        if functions := [reaction.name for reaction in self.reactions if reaction.change is not None]:
            raise NetworkError(f"expected changes that are known beforehand, received functions for {functions}; only simulation can use these")
        return self._known_changes()

    def _known_changes(self) -> np.ndarray:
        """The stoichiometry, with zeros where a change is a function."""
        change = np.zeros((len(self.reactions), len(self.species)), dtype=np.int64)
        for r, reaction in enumerate(self.reactions):
            for sign, side in ((-1, reaction.reactants), (1, reaction.products)):
                for s, molecules in side:
                    change[r, s] += sign * molecules * (reaction.change is None)
        return change

    @property
    def largest_change(self) -> int:
        """The largest change of a count by a reaction, as far as it is known beforehand; at least 1."""
        return max(1, int(np.abs(self._known_changes()).max()))

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Rate constants of the mass-action reactions, in order of appearance (functions may read more than these)."""
        return tuple(dict.fromkeys(r.rate for r in self.reactions if r.rate is not None and r.propensity is None))

    @property
    def reaction_names(self) -> tuple[str, ...]:
        """One name per reaction: the text after `@`, numbered where several reactions share it."""
        return tuple(r.name for r in self.reactions)

    def rate_constants(self, parameters: Any) -> dict[str, Any]:
        """The values that the mass-action reactions read, by name: all that a network without functions needs of its parameters."""
        return {r.rate: _look_up(parameters, r) for r in self.reactions if r.rate is not None and r.propensity is None}

    def rates(self, counts: tuple, parameters: Any, *, only: tuple[int, ...] | None = None) -> tuple:
        """Propensities of one state, as the simulator wants them: a tuple of R scalars (or of some reactions) from a tuple of S scalars.

        A rate constant or a function's value that is negative, infinite or NaN, or positive where reactants are missing, comes
        out as NaN, so that nothing goes on from it unnoticed.
        """
        by_name = dict(zip(self.species, counts, strict=True))
        chosen = self.reactions if only is None else [self.reactions[r] for r in only]
        return tuple(_propensity(reaction, counts, by_name, parameters) for reaction in chosen)

    def next_counts(self, counts: tuple, reaction: jax.Array, parameters: Any) -> tuple:
        """Counts after a reaction, as the simulator wants them: a tuple of S scalars from the like and the reaction's index, a float (R: none fired)."""
        changes = _step_functions(self._known_changes(), reaction)
        by_name = dict(zip(self.species, counts, strict=True))
        for r, channel in enumerate(self.reactions):
            for name, change in channel.change(by_name, parameters).items() if channel.change is not None else ():
                s = self.species.index(name)
                change = jnp.where(jnp.abs(reaction - r) < 0.5, change, 0).astype(counts[s].dtype)
                changes[s] = change if changes[s] is None else changes[s] + change
        return tuple(x if change is None else x + change for x, change in zip(counts, changes, strict=True))

    def propensities(self, counts: jax.Array, parameters: Any) -> jax.Array:
        """Propensities [..., R] (events per unit time) of states `counts` [..., S]."""
        counts = jnp.asarray(counts)
        if counts.shape[-1:] != (len(self.species),):
            raise NetworkError(f"expected counts [..., {len(self.species)}] for the species {self.species}, received shape {counts.shape}")
        counts = counts.astype(jnp.result_type(float)) if not jnp.issubdtype(counts.dtype, jnp.floating) else counts

        def of_state(state):
            values = self.rates(tuple(state[s] for s in range(len(self.species))), parameters)
            return jnp.stack([jnp.asarray(a, counts.dtype) for a in values])

        return jnp.vectorize(of_state, signature="(s)->(r)")(counts)

    def check_parameters(self, parameters: Any) -> None:
        """Raises NetworkError if a rate constant is missing, or is negative, infinite or NaN (where its value is known)."""
        for reaction in self.reactions:
            if reaction.rate is None or reaction.propensity is not None:
                continue
            value = _look_up(parameters, reaction)
            if isinstance(value, jax.core.Tracer):
                continue
            array = np.asarray(value)
            if array.dtype.kind not in "fiu" or not np.all(np.isfinite(array) & (array >= 0)):
                raise NetworkError(
                    f"reaction '{self.reaction_text(reaction)}': expected a finite rate constant '{reaction.rate}' ≥ 0, received {value}"
                )

    def counts_from(self, initial: Any) -> np.ndarray | jax.Array:
        """Initial counts [S] or [n, S] from a mapping (species not named start at 0) or an array of that shape (NumPy's if values are known).

        Raises:
            NetworkError: unknown species, a wrong shape, or negative, fractional or non-finite counts (where they are known).
        """
        if isinstance(initial, Mapping) and (unknown := [name for name in initial if name not in self.species]):
            raise NetworkError(f"unknown species {unknown} in the initial counts; the network has {list(self.species)}")
        arrays = jnp if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(initial)) else np
        if isinstance(initial, Mapping):
            counts = arrays.stack(arrays.broadcast_arrays(*[arrays.asarray(initial.get(name, 0)) for name in self.species]), axis=-1)
        else:
            counts = arrays.asarray(initial)
        if counts.ndim not in (1, 2) or counts.shape[-1] != len(self.species):
            raise NetworkError(
                f"expected initial counts [{len(self.species)}] or [num_paths, {len(self.species)}] for the species "
                f"{list(self.species)}, received shape {counts.shape}"
            )
        if not isinstance(counts, jax.core.Tracer):
            values = np.asarray(counts)
            wrong = ~(np.isfinite(values) & (values >= 0) & (values == np.round(values)))
            if wrong.any():
                where = np.argwhere(wrong)[0]
                raise NetworkError(
                    f"initial count of '{self.species[where[-1]]}': expected a whole number ≥ 0, received {values[tuple(where)]}"
                    + (f" in path {where[0]}" if values.ndim == 2 else "")
                )
        return counts

    def reaction_text(self, reaction: Reaction) -> str:
        """The reaction as text, such as `S + I -> 2 I @ infection`."""
        left, right = self._named_sides(reaction)
        return f"{side_text(left)} -> {side_text(right)} @ {rate_text(reaction.rate, reaction.factor)}"

    def __str__(self) -> str:
        return "\n".join(self.reaction_text(reaction) for reaction in self.reactions)

    def _repr_latex_(self) -> str:
        rows = [reaction_latex(*self._named_sides(r), r.rate, r.factor, r.propensity is not None) for r in self.reactions]
        return "$$\\begin{aligned}" + " \\\\ ".join(rows) + "\\end{aligned}$$"

    def _named_sides(self, reaction: Reaction) -> list[list[tuple[str, int]]]:
        return [[(self.species[s], molecules) for s, molecules in side] for side in (reaction.reactants, reaction.products)]


def _propensity(reaction: Reaction, counts: tuple, by_name: dict, parameters: Any) -> jax.Array:
    if reaction.propensity is not None:
        value = reaction.factor * jnp.asarray(reaction.propensity(by_name, parameters))
        if value.ndim:
            raise NetworkError(f"propensity '{reaction.name}': expected a scalar from (counts, parameters), received shape {value.shape}")
        possible = (value >= 0) & (value < jnp.inf)
        for s, molecules in reaction.reactants:
            possible &= (counts[s] >= molecules) | (value == 0)
        return jnp.where(possible, value, jnp.nan)
    value = reaction.factor
    if reaction.rate is not None:
        rate = jnp.asarray(_look_up(parameters, reaction))
        value = value * jnp.where((rate >= 0) & (rate < jnp.inf), rate, jnp.nan)
    divisor = 1
    for s, molecules in reaction.reactants:
        divisor *= math.factorial(molecules)
        for taken in range(molecules):
            value = value * (counts[s] - taken if taken else counts[s])
    return value / divisor if divisor > 1 else value


def _step_functions(stoichiometry: np.ndarray, reaction: jax.Array) -> list[jax.Array | None]:
    """Change of each species by the reaction that fired: a step function of its index, so only the steps cost anything."""
    changes = []
    for column in stoichiometry.T:
        change = jnp.zeros_like(reaction)
        after = 0
        for r in reversed(range(len(column))):
            if column[r] != after:
                change = lax.select(reaction < r + 0.5, jnp.full_like(reaction, float(column[r])), change)
                after = column[r]
        changes.append(change if column.any() else None)
    return changes


def _look_up(parameters: Any, reaction: Reaction) -> Any:
    try:
        return parameters[reaction.rate] if isinstance(parameters, Mapping) else getattr(parameters, reaction.rate)
    except (KeyError, AttributeError):
        given = list(parameters) if isinstance(parameters, Mapping) else type(parameters).__name__
        raise NetworkError(f"reaction '{reaction.name}': no parameter '{reaction.rate}' among {given}") from None
