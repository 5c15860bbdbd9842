"""How expectations of features evolve, learned from a few pilot paths: approximate value functions V(x, t) = E[f(x_T) | x_t = x].

With features φ(x) [J] and V = φ · c, one least-squares fit over all pilot states, E[φ(x_{t+δ}) | x_t] ≈ φ(x_t) K, gives the coefficients of every
observable at every lag: c(0) = those of f, c(ℓ + δ) = K c(ℓ). A linear network with linear features is exact; elsewhere V need not be.

Reference: Williams, Kevrekidis and Rowley 2015, "A data-driven approximation of the Koopman operator", doi:10.1007/s00332-015-9258-5.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ssagrad.features import Features
from ssagrad.score import Scalars, slopes

_MOST_STATES, _SOURCE_STATES, _BLOCK = 2**17, 4096, 2048  # of the pilot that enter the fit, at most
_SMALLEST = 3e-5  # singular value of the features, relative to the largest, that single precision still resolves


class ValueModel(NamedTuple):
    """What the pilot paths taught.

    location, scale: of the variables [V].
    transition: K [J, J]. sources: Γ_p φ ≈ φ G_p [P, J, J], Γ_p = Σ_r ∂_p a_r Δ_r.
    species: coefficients of the counts [J, S]. step: δ.
    """

    location: jax.Array
    scale: jax.Array
    transition: jax.Array
    sources: jax.Array
    species: jax.Array
    step: jax.Array


class Action(NamedTuple):
    """Features [J, n], generator L φ = Σ_r a_r Δ_r φ [J, n], and Γ_p φ = Σ_r ∂_p a_r Δ_r φ [P, J, n] at n states."""

    features: jax.Array
    generator: jax.Array
    sources: jax.Array


def act(features: Features, scalars: Scalars, location: jax.Array, scale: jax.Array, counts: tuple, parameters: Any) -> Action:
    """What the generator and its derivatives do to the features at n states, a tuple of S arrays [n]."""
    network = features.network
    rates = jax.vmap(lambda state: network.rates(state, parameters))(counts)
    # a reaction that cannot happen leads nowhere, so that no feature is asked for at impossible counts
    change = jnp.asarray(network.stoichiometry, counts[0].dtype)
    possible = jnp.stack([a > 0 for a in rates])
    shifted = tuple(jnp.concatenate([x[None], x + jnp.where(possible, change[:, s, None], 0)]) for s, x in enumerate(counts))
    variables = features.variables(shifted, parameters)
    everywhere = features.products((variables - location[:, None, None]) / scale[:, None, None])
    here, difference = everywhere[:, 0], everywhere[:, 1:] - everywhere[:, :1]
    generator = sum(a.astype(here.dtype) * difference[:, r] for r, a in enumerate(rates))
    sources = [sum((da * difference[:, r] for r, da in of_scalar), jnp.zeros_like(here)) for of_scalar in slopes(network, scalars, counts, parameters)]
    return Action(here, generator, jnp.stack(sources))


def fit(features: Features, scalars: Scalars, pilot: jax.Array, step: Any, parameters: Any, *, with_sources: bool) -> ValueModel:
    """Least squares over the states of m pilot paths at L + 1 times δ apart, counts [m, L + 1, S]."""
    states, later = _pairs(pilot, _MOST_STATES)
    few = slice(None, None, max(1, states.shape[1] // _SOURCE_STATES))
    variables = features.variables(tuple(states[:, few]), parameters)
    location, spread = variables.mean(1), variables.std(1)
    scale = jnp.where(spread > 0, spread, 1)

    def of_states(counts):
        variables = features.variables(tuple(counts), parameters)
        return features.products((variables - location[:, None]) / scale[:, None])

    # a few states make the features orthonormal (which single precision needs), and show what the derivatives of the generator do
    action = act(features, scalars, location, scale, tuple(states[:, few]), parameters)
    solve = least_squares(action.features.T)
    size, num_scalars = features.size, len(scalars.names)
    sources = jnp.zeros((num_scalars, size, size), variables.dtype)
    if with_sources:
        found = solve(action.sources.reshape(num_scalars * size, -1).T)
        sources = jnp.moveaxis(found.reshape(size, num_scalars, size), 1, 0)

    # all states teach the transition
    def products(part):
        now, then = (solve.root.T @ of_states(counts) for counts in part)
        return now @ now.T, now @ then.T

    blocks = [jnp.moveaxis(part[:, : part.shape[1] // _BLOCK * _BLOCK].reshape(len(part), -1, _BLOCK), 1, 0) for part in (states, later)]
    gram, cross = jax.tree.map(lambda part: part.sum(0), lax.map(products, tuple(blocks)))
    unused = jnp.diag((jnp.diagonal(gram) == 0).astype(gram.dtype))
    orthonormal = jnp.linalg.solve(gram + unused, cross)
    transition = solve.root @ orthonormal @ solve.unroot
    return ValueModel(location, scale, transition, sources, solve(states[:, few].T), jnp.asarray(step, variables.dtype))


def _pairs(pilot: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """States and those δ later, two of [S, N], at starts spread evenly over the lags; N is a multiple of the block size."""
    num_paths, num_times, _ = pilot.shape
    num_starts = max(1, min(num_times - 1, most // num_paths))
    first = np.unique(np.linspace(0, num_times - 2, num_starts).round().astype(int))
    found = [jnp.moveaxis(pilot[:, rows], -1, 0).reshape(pilot.shape[-1], -1) for rows in (first, first + 1)]
    missing = -found[0].shape[1] % _BLOCK  # filled up with the first ones
    return tuple(jnp.concatenate([part, part[:, :missing]], axis=1) for part in found)


class LeastSquares(NamedTuple):
    """min |columns c − targets|² over the directions that the columns [N, J] really span.

    root: makes the columns orthonormal there, 0 elsewhere [J, J]. unroot: its pseudo-inverse. rotated: the orthonormal columns [N, J].
    """

    root: jax.Array
    unroot: jax.Array
    rotated: jax.Array

    def __call__(self, targets: jax.Array) -> jax.Array:
        """Coefficients [J, K] of targets [N, K]."""
        return self.root @ (self.rotated.T @ targets)


def least_squares(columns: jax.Array) -> LeastSquares:
    """The solver for columns [N, J], which are scaled to one size first; by QR and the singular values of R."""
    size = jnp.sqrt((columns**2).mean(0))
    size = jnp.where(size > 0, size, 1)
    q, r = jnp.linalg.qr(columns / size)
    left, singular, right = jnp.linalg.svd(r, full_matrices=False)
    kept = singular > _SMALLEST * singular[0]
    inverse = jnp.where(kept, 1 / jnp.where(kept, singular, 1), 0)
    root = right.T * inverse / size[:, None]
    return LeastSquares(root, jnp.where(kept, singular, 0)[:, None] * right * size, jnp.where(kept, q @ left, 0))


def coefficients(model: ValueModel, start: jax.Array, reward: jax.Array, num_lags: int) -> tuple[jax.Array, jax.Array]:
    """Coefficients of V at lags 0, δ, …, and those of W_p, which explains Γ_p V in the same way.

    Args:
        start: coefficients of the observable [J, K]. reward: those of what is integrated on the way [J, K].

    Returns:
        [L + 1, J, K] and [L + 1, P, J, K]: V' = K V + reward, W_p' = K W_p + G_p V (trapezoidal rule over a step).
    """

    def advance(carry, _):
        value, correction = carry
        later = model.transition @ value + model.step / 2 * (reward + model.transition @ reward)
        source, source_later = model.sources @ value, model.sources @ later
        corrected = model.transition @ correction + model.step / 2 * (source_later + model.transition @ source)
        return (later, corrected), carry

    begin = (start, jnp.zeros((model.sources.shape[0], *start.shape), start.dtype))
    return lax.scan(advance, begin, length=num_lags + 1)[1]
