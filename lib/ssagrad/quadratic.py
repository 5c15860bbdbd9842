"""Features that are products of two variables: what the generator does to them, by Leibniz's rule.

    L(u_a u_b) = u_a L u_b + u_b L u_a + Γ(u_a, u_b),      Γ(u_a, u_b) = Σ_r a_r Δ_r u_a Δ_r u_b

With u = (1, variables), V of them, averages of (V + 1)(V + 2)/2 products over many states are products of matrices with V + 1 rows, and Γ, the
carré du champ, is 0 but for variables that one reaction changes together. For networks of many species this takes a tenth of the time of
features evaluated one by one at the R states that each state leads to.

Reference: Bakry, Gentil and Ledoux 2014, "Analysis and Geometry of Markov Diffusion Operators", section 1.4.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.features import Features
from ssagrad.score import Scalars, slopes


class Pairs(NamedTuple):
    """What the generator does to u = (1, standardised variables), A = V + 1, at n states; K pairs (a, b) that a reaction changes together.

    values: u [A, n]. generator: L u [A, n]. square: Γ(u_a, u_b) of the pairs [K, n].
    sources: Σ_r ∂_p a_r Δ_r u [P, A, n]. source_squares: Σ_r ∂_p a_r Δ_r u_a Δ_r u_b [P, K, n].
    """

    values: jax.Array
    generator: jax.Array
    square: jax.Array
    sources: jax.Array
    source_squares: jax.Array


def products_of(features: Features) -> tuple[np.ndarray, np.ndarray]:
    """Factors (a, b) of each of the J features, in the order of `Features.products`: a = 0 is the constant."""
    return np.triu_indices(1 + features.num_variables)


def changed_together(features: Features) -> list[tuple[int, int]]:
    """The K pairs of factors a ≤ b that some reaction changes together."""
    moved = [features.moved(r) for r in range(len(features.network.reactions))]
    return sorted({(v + 1, w + 1) for of_reaction in moved for v in of_reaction for w in of_reaction if v <= w})


def act_on_pairs(features: Features, scalars: Scalars, location: jax.Array, scale: jax.Array, counts: tuple, parameters: Any) -> Pairs:
    """The generator at n states, a tuple of S arrays [n]; location and scale [V] standardise the variables."""
    network, zeros = features.network, jnp.zeros_like(counts[0])
    variables = features.variables(counts, parameters)
    rates = jax.vmap(lambda state: network.rates(state, parameters))(counts)
    by_scalar = [dict(of_scalar) for of_scalar in slopes(network, scalars, counts, parameters)]
    kinds = [dict(enumerate(a.astype(zeros.dtype) for a in rates)), *by_scalar]
    pairs = changed_together(features)
    first = [[zeros] * (1 + features.num_variables) for _ in kinds]
    second = [dict.fromkeys(pairs, zeros) for _ in kinds]
    for r, rate in enumerate(rates):
        found = features.changes(r, rate > 0, variables, counts, parameters)
        changes = {v + 1: change / scale[v] for v, change in found.items()}
        for kind, weights in enumerate(kinds):
            if r in weights:
                weighted = {v: weights[r] * change for v, change in changes.items()}
                for v, part in weighted.items():
                    first[kind][v] += part
                    for w, change in changes.items():
                        if v <= w:
                            second[kind][v, w] += part * change
    here = jnp.concatenate([jnp.ones_like(variables[:1]), (variables - location[:, None]) / scale[:, None]])
    first, second = jnp.stack([jnp.stack(one) for one in first]), jnp.stack([jnp.stack(list(one.values())) for one in second])
    return Pairs(here, first[0], second[0], first[1:], second[1:])


def products(features: Features, pairs: Pairs) -> tuple[jax.Array, jax.Array, jax.Array]:
    """φ [J, n], L φ [J, n] and Γ_p φ [P, J, n] of the features themselves."""
    a, b = products_of(features)
    at = _places(features)

    def leibniz(first, square):
        return (pairs.values[a] * first[b] + pairs.values[b] * first[a]).at[at].add(square)

    sources = [leibniz(*of_scalar) for of_scalar in zip(pairs.sources, pairs.source_squares, strict=True)]
    return pairs.values[a] * pairs.values[b], leibniz(pairs.generator, pairs.square), jnp.stack(sources)


def averages(
    features: Features, pairs: Pairs, weights: jax.Array, basis: jax.Array, speed: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:  # fmt: skip
    """Weighted sums over n states: of b L φ + b' φ for Q weights [Q, n] and H polynomials in time b, b' [H, n], which gives [Q, H, J]; of b Γ_p φ
    [P, H, J]; and of φ [Q, J].
    """
    a, b = products_of(features)
    at, u = _places(features), pairs.values
    num_factors, num_states = u.shape

    def rows(left, right):  # products of two sets of rows, as one set
        return (left[:, None] * right[None]).reshape(-1, num_states)

    def symmetric(left, right):  # Σ (l_i u_a) r_jb + (l_i u_b) r_ja  [I, J', J]
        found = (rows(left, u) @ right.reshape(-1, num_states).T).reshape(len(left), num_factors, -1, num_factors)
        both = found + jnp.swapaxes(found, 1, 3)
        return both[:, a, :, b]

    halves = basis[:, None] * pairs.generator[None] + speed[:, None] * (u / 2)[None]
    drift = jnp.moveaxis(symmetric(weights, halves), 0, -1)
    squares = (weights @ rows(basis, pairs.square).T).reshape(len(weights), len(basis), -1)
    sources = jnp.moveaxis(symmetric(basis, pairs.sources), 0, -1)
    by_scalar = (basis @ pairs.source_squares.reshape(-1, num_states).T).reshape(len(basis), len(pairs.sources), -1)
    plain = (rows(weights, u) @ u.T).reshape(len(weights), num_factors, num_factors)[:, a, b]
    return drift.at[:, :, at].add(squares), jnp.swapaxes(sources.at[:, :, at].add(by_scalar), 0, 1), plain


def _places(features: Features) -> np.ndarray:
    """Where the K pairs that a reaction changes together are among the J features."""
    order = {pair: j for j, pair in enumerate(zip(*(part.tolist() for part in products_of(features)), strict=True))}
    return np.array([order[pair] for pair in changed_together(features)])
