"""Pairs of paths that stay close: the split coupling, and the rows that a second path adds to an ensemble.

    both move    with propensity  min(a_r(x, θ), a_r(y, θ'))
    x alone                       a_r(x, θ)  − min(…)
    y alone                       a_r(y, θ') − min(…)

Either path by itself has exactly the law of the network. The pair is a reaction network with 2 S species and 3 R reactions, and runs
on the same kernel; where x = y and θ = θ' nothing moves alone, so that paths that have met stay together.

Reference: Anderson 2012, "An efficient finite difference method for parameter sensitivities of continuous time Markov chains",
doi:10.1137/110849079.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.ensemble import Ensemble
from ssagrad.network import Network, Reaction
from ssagrad.simulate import simulate_with

_MOVES = ("both", "first", "second")


@cache
def split_coupling(network: Network) -> Network:
    """The pair of paths (x, y) as one network: species "X" and "X'", reactions "r both", "r first", "r second" in three blocks of R.

    Its parameters are {"first": θ, "second": θ'}. Equal networks give the same pair, which is compiled once.
    """
    network.stoichiometry  # noqa: B018 (refuses changes that are functions)
    size = len(network.species)
    reactions = []
    for move in _MOVES:
        for r, reaction in enumerate(network.reactions):
            sides = [
                tuple((s + shift, m) for shift, mover in ((0, "first"), (size, "second")) if move in ("both", mover) for s, m in side)
                for side in (reaction.reactants, reaction.products)
            ]
            name = f"{reaction.name} {move}"
            reactions.append(Reaction(name, *sides, name, 1.0, _propensity(network, r, move)))
    return Network((*network.species, *(f"{name}'" for name in network.species)), tuple(reactions))


def _propensity(network: Network, r: int, move: str) -> Callable[[dict[str, jax.Array], Any], jax.Array]:
    def propensity(counts, parameters):
        values = tuple(counts.values())
        size = len(network.species)
        (first,) = network.rates(values[:size], parameters["first"], only=(r,))
        (second,) = network.rates(values[size:], parameters["second"], only=(r,))
        first, second = jnp.asarray(first), jnp.asarray(second)
        shared = jnp.minimum(first, second)
        return {"both": shared, "first": first - shared, "second": second - shared}[move]

    return propensity


def simulate_pairs(
    key: jax.Array, network: Network, parameters: tuple[Any, Any], initial_counts: tuple[Any, Any], times: Any, **options: Any
) -> tuple[Ensemble, Ensemble]:
    """Split-coupled pairs of paths: two ensembles of n paths each, which have the law of `simulate` one by one.

    Args:
        parameters: θ of the first and of the second path of each pair.
        initial_counts: counts of both, as `simulate` takes them.
        options: passed on to `simulate_with`.

    Returns:
        The first and the second paths. The events of a pair, of which it shares many, are counted in its first path.
    """
    counts = jnp.concatenate([jnp.asarray(network.counts_from(start)) for start in initial_counts], axis=-1)
    pairs, _ = simulate_with((), key, split_coupling(network), dict(zip(_MOVES[1:], parameters, strict=True)), counts, times, **options)

    return _path(pairs, network, 0), _path(pairs, network, 1)


@partial(jax.jit, static_argnums=(1, 2))
def _path(pairs: Ensemble, network: Network, place: int) -> Ensemble:
    """The first (0) or the second (1) path of each pair."""
    size = len(network.species)
    fields = {name: value[..., place * size : (place + 1) * size] for name, value in recorded(pairs).items() if name != "event_counts"}
    if pairs.event_counts is not None:
        both, *alone = jnp.split(pairs.event_counts, 3, axis=-1)
        fields["event_counts"] = both + alone[place]
    num_events = pairs.num_events * (1 - place)
    return replace(pairs, species=network.species, reactions=network.reaction_names, num_events=num_events, **fields)


@jax.jit
def with_second_paths(paths: Ensemble, others: Sequence[Ensemble], derivatives: Sequence[jax.Array]) -> Ensemble:
    """The ensemble with blocks of n rows added, each of weight 0 with a given derivative.

    Args:
        paths: n rows with their weights.
        others: blocks of n (or a multiple of n) rows; row i of each block belongs to the independent sample i.
        derivatives: for each block an array of zeros that carries the derivative of its weights [n, T].
    """
    names = ("num_events", "exhausted", *recorded(paths))
    rows = {name: jnp.concatenate([getattr(one, name) for one in (paths, *others)]) for name in names}
    weights = jnp.concatenate([paths.weights, *(d.astype(paths.weights.dtype) for d in derivatives)])
    return replace(paths, weights=weights, num_samples=paths.num_paths, **rows)


def recorded(ensemble: Ensemble) -> dict[str, jax.Array]:
    """What each path holds at each time: counts [n, T, S], and the running sums that were recorded."""
    names = ("counts", "time_integrals", "event_counts")
    return {name: getattr(ensemble, name) for name in names if getattr(ensemble, name) is not None}


def rate_slopes(network: Network, counts: jax.Array, parameters: Any) -> jax.Array:
    """∂a_r/∂θ_p [..., R, P] in the states `counts` [..., S], for all P scalars of the parameters."""

    def of_state(state):
        leaves = jax.tree.leaves(jax.jacfwd(lambda theta: network.propensities(state, theta))(parameters))
        return jnp.concatenate([leaf.reshape(len(network.reactions), -1) for leaf in leaves], axis=-1)

    return jnp.vectorize(of_state, signature="(s)->(r,p)")(counts)


def as_constants(parameters: Any, dtype: Any) -> Any:
    """The values of the parameters, floating and without a derivative (NumPy's where they are known)."""

    def constant(leaf):
        leaf = jax.lax.stop_gradient(leaf)
        return leaf.astype(dtype) if isinstance(leaf, jax.core.Tracer) else np.asarray(leaf, dtype)

    return jax.tree.map(constant, parameters)


def refuse(estimator: str, options: dict[str, Any], **unsupported: Any) -> None:
    """Raises ValueError for an option of `simulate` that has a value which an estimator cannot follow."""
    for name, usual in unsupported.items():
        if options.get(name, usual) != usual:
            raise ValueError(f"{estimator} supports {name}={usual!r} only, received {options[name]!r}")
