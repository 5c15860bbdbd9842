"""The states that a network can reach, and the propensities there with their derivatives, in float64 whatever JAX is set to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.network import Network, NetworkError

WIDTH = 48  # bits of one species' count in the number that stands for a state


class TruncationError(RuntimeError):
    """The states that were kept do not hold enough of the probability, or are too many; the message has the numbers."""


def reachable(network: Network, start: np.ndarray, bounds: Mapping[str, int], max_states: int) -> tuple[np.ndarray, np.ndarray]:
    """States [N, S] in the order in which they are found from the first on, and the index that each reaction leads to [N, R].

    A state is looked up as one number, Σ_s x_s 2^(48 s), so that a reaction adds a constant. The index is −1 where reactants are missing
    or a bound is exceeded.

    Raises:
        TruncationError: more than `max_states` states.
    """
    upper = [bounds.get(name, 2**WIDTH - 1) for name in network.species]
    needs = [reaction.reactants for reaction in network.reactions]
    changes = [tuple(row) for row in network.stoichiometry.tolist()]
    keys = [sum(v << (WIDTH * s) for s, v in enumerate(change)) for change in changes]
    first = tuple(int(x) for x in start)
    states, key = [first], sum(x << (WIDTH * s) for s, x in enumerate(first))
    index, order = {key: 0}, [key]
    for state, key in zip(states, order, strict=False):  # both grow on the way
        for r, step in enumerate(keys):
            if key + step in index or any(state[s] < molecules for s, molecules in needs[r]):
                continue
            target = tuple(x + v for x, v in zip(state, changes[r], strict=True))
            if any(x > largest for x, largest in zip(target, upper, strict=True)):
                continue
            if len(states) >= max_states:
                free = [name for name in network.species if name not in bounds]
                raise TruncationError(f"more than {max_states} states can be reached with bounds {dict(bounds)}; species without a bound: {free}")
            index[key + step] = len(states)
            states.append(target)
            order.append(key + step)
    found, targets = np.array(states), np.empty((len(states), len(keys)), int)
    for r, step in enumerate(keys):
        possible = np.all(found + network.stoichiometry[r] <= upper, axis=1)
        for s, molecules in needs[r]:
            possible &= found[:, s] >= molecules
        targets[:, r] = np.where(possible, [index.get(key + step, -1) for key in order], -1)
    return found, targets


def state_rates(network: Network, parameters: Any, states: np.ndarray) -> np.ndarray:
    """Propensities [N, R] of states [N, S] in float64; raises NetworkError where one is impossible."""
    return rates_and_slopes(network, parameters, states, slopes=False)[0]


def rates_and_slopes(network: Network, parameters: Any, states: np.ndarray, *, slopes: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Propensities [N, R] of states [N, S], and their derivatives [M, N, R] in all M numbers of the parameters (no rows, if not asked for).

    Raises:
        NetworkError: a propensity that is negative, infinite or NaN, or a derivative that is infinite or NaN.
    """
    network.check_parameters(parameters)
    leaves, structure = jax.tree.flatten(parameters)
    rates, derivatives = traced_rates(network, structure.unflatten([np.asarray(leaf, float) for leaf in leaves]), states, slopes=slopes)
    rates, derivatives = np.asarray(rates), np.asarray(derivatives)
    check_rates(network, states, rates, derivatives)
    return rates, derivatives


def traced_rates(network: Network, parameters: Any, states: np.ndarray, *, slopes: bool) -> tuple[jax.Array, jax.Array]:
    """What `rates_and_slopes` returns, unchecked and as JAX arrays, from parameters that may be traced."""
    with jax.enable_x64(True):
        parameters = jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(float), parameters)
        return _rates_and_slopes(network, parameters, jnp.asarray(states, float), slopes)


def check_rates(network: Network, states: np.ndarray, rates: np.ndarray, slopes: np.ndarray) -> None:
    """Raises NetworkError with the first state where a propensity is impossible or has no derivative."""
    for bad, what in (
        (np.isnan(rates), "impossible propensity (negative, infinite or NaN)"),
        (~np.isfinite(slopes).all(0), "propensity with an infinite or NaN derivative in the parameters"),
    ):
        if bad.any():
            state, r = np.argwhere(bad)[0]
            raise NetworkError(f"reaction '{network.reaction_text(network.reactions[r])}': {what} at {describe(network, states[state])}")


def describe(network: Network, state: np.ndarray) -> dict[str, int]:
    """Counts by name."""
    return dict(zip(network.species, state.tolist(), strict=True))


def _rates_and_slopes(network: Network, parameters: Any, states: jax.Array, slopes: bool) -> tuple[jax.Array, jax.Array]:
    leaves, structure = jax.tree.flatten(parameters)
    jaxpr = jax.make_jaxpr(lambda leaves: network.propensities(states[:1], structure.unflatten(leaves)))(leaves).jaxpr
    used = {id(variable) for equation in jaxpr.eqns for variable in equation.invars}
    read = [i for i, variable in enumerate(jaxpr.invars) if id(variable) in used]  # a parameter that no reaction reads costs nothing
    if not slopes or not read:
        num_slopes = sum(leaf.size for leaf in leaves) if slopes else 0
        return network.propensities(states, parameters), jnp.zeros((num_slopes, len(states), len(network.reactions)))

    def rates(some):
        all_leaves = list(leaves)
        for i, leaf in zip(read, some, strict=True):
            all_leaves[i] = leaf
        values = network.propensities(states, structure.unflatten(all_leaves))
        return values, values

    jacobians, values = jax.jacfwd(rates, has_aux=True)([leaves[i] for i in read])
    blocks = {i: jnp.moveaxis(block.reshape(*values.shape, -1), -1, 0) for i, block in zip(read, jacobians, strict=True)}
    rows = [blocks[i] if i in blocks else jnp.zeros((leaf.size, *values.shape)) for i, leaf in enumerate(leaves)]
    return values, jnp.concatenate(rows)


_rates_and_slopes = jax.jit(_rates_and_slopes, static_argnums=3)
