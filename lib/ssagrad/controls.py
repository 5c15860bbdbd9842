"""Dynkin controls: expectations and gradients through an approximate value function, unbiased whatever its quality.

For any V(x, t) and an observation f at time T, Dynkin's formula says for every θ

    E f(x_T) = V(x_0, 0) + E[(f − V)(x_T)] + E ∫_0^T (∂_t + L_θ) V(x_t, t) dt,

and its derivative, with the score S and Γ_p = Σ_r ∂_p a_r Δ_r,

    ∂_p E f = E[(f − V)(x_T) S_T] + E ∫_0^T {(∂_t + L) V · S_t + Γ_p V}(x_t, t) dt.

If V is nearly the value function E[f(x_T) | x_t = x], then (∂_t + L) V nearly vanishes and with it all that the score multiplies. The integral is
sampled at one random time in each stratum of [0, T]. V = φ(x) · c(t) is linear in its coefficients, so that averages over paths of φ, L φ and
Γ_p φ, weighted by 1 and by S, serve every observable at every time. The same formula without score, for W_p ≈ E ∫ Γ_p V, controls the last term.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import lax

from ssagrad.features import Features
from ssagrad.kernel import stage
from ssagrad.score import Scalars, nearest, scores_at
from ssagrad.value_model import ValueModel, averages, coefficients, least_squares, num_polynomials, polynomials

_FIT_PATHS = 1024  # paths that fit the coefficients of an observable


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Controls:
    """Averages over the paths of each of B batches, from which the controlled means and gradients of all observables follow.

    Attributes:
        model: the value functions' evolution.
        plain: [B, W, H, J], of (∂_t + L) V for each polynomial in time and feature, integrated over the stratum.
        scored: the same times the centred score, plus Γ_p φ [B, W, P, H, J].
        rewards: of φ times 1 and times the centred score, integrated over the stratum [B, W, 1 + P, J].
        unspanned: of the counts less what the features say of them, weighted in the same way [B, W, 1 + P, S].
        start: mean features of the initial states [B, J].
        nodes: limits of the strata [W + 1], the start first.
        scores: score of each path at each observation time [n, T, P]. times: of the observations [T].
        shift: θ − stop_gradient(θ) [P].
        parameters: θ without derivative.
        features: φ. scalars: the parameters.
    """

    model: ValueModel
    plain: jax.Array
    scored: jax.Array
    rewards: jax.Array
    unspanned: jax.Array
    start: jax.Array
    nodes: jax.Array
    scores: jax.Array
    times: jax.Array
    shift: jax.Array
    parameters: Any
    features: Features = field(metadata={"static": True})
    scalars: Scalars = field(metadata={"static": True})
    has_plain_means: ClassVar[bool] = False

    def terms(self, values: jax.Array, counts: jax.Array, times: jax.Array) -> jax.Array:
        """Independent terms [B, T, ...] whose mean is the expectation of values [n, T, ...] at states [n, T, S], with its derivative."""
        fixed = lax.stop_gradient(values.reshape(*values.shape[:2], -1))
        with jax.default_matmul_precision("highest"):
            mean, gradient = _controlled(self, fixed, counts, times)
        shape = (len(mean), *values.shape[1:])
        plain = values.reshape(len(mean), -1, *values.shape[1:]).mean(1)  # whose value cancels: it hands on the values' own derivative
        return plain - lax.stop_gradient(plain) + (mean + gradient @ self.shift).reshape(shape)

    def integral_terms(self, integrals: jax.Array, times: jax.Array) -> jax.Array:
        """The same for the time integrals of all species [n, T, S]: terms [B, T, S]."""
        with jax.default_matmul_precision("highest"):
            mean, gradient = _controlled_integrals(self, integrals, times)
        return mean + gradient @ self.shift

    def value_function(self, values: jax.Array, counts: jax.Array, states: jax.Array) -> jax.Array:
        """V(x, t) at the limits of the strata up to the last observation [W + 1, m, K], to look at.

        Args:
            values: of the observable on the paths at the last time [n, K]. counts: of the paths then [n, S]. states: x [m, S].
        """
        found = _features_at(self, counts[:, None])
        start = _fit(found, values[:, None], slice(None))[0]
        at = jnp.full(values.shape[-1], len(self.nodes) - 1)
        tables, first = coefficients(self.model, start, jnp.zeros_like(start), at)
        ends = jnp.concatenate([first[:1], tables[:, 1, 0]])
        here = _evaluate(self.features, self.model, tuple(states.T), self.parameters)
        return jnp.einsum("jm,wjk->wmk", here, ends)


def average_features(features: Features, model: ValueModel, counts: jax.Array, parameters: Any, num_batches: int) -> jax.Array:
    """Batch means [B, J] of the features of the initial counts, [S] or [n, S]."""
    rows = counts.reshape(-1, counts.shape[-1])
    means = _evaluate(features, model, tuple(rows.T), parameters).reshape(features.size, -1, max(1, len(rows) // num_batches)).mean(-1).T
    return jnp.broadcast_to(means, (num_batches, features.size))


def _evaluate(features: Features, model: ValueModel, states: tuple, parameters: Any) -> jax.Array:
    variables = features.variables(states, parameters)
    return features.products((variables - model.location[:, None]) / model.scale[:, None])


def moments(
    features: Features, scalars: Scalars, model: ValueModel, points: jax.Array, scores: jax.Array, offsets: jax.Array, widths: jax.Array,
    parameters: Any, num_batches: int,
) -> tuple[jax.Array, ...]:  # fmt: skip
    """`Controls.plain`, `scored`, `rewards` and `unspanned` from one state of each path in each stratum.

    Args:
        points: states [n, W, S]. scores: there [n, W, P]. offsets: how far into its stratum each state lies, 0 to 1 [n, W]. widths: [W].
    """
    num_paths, num_strata = offsets.shape
    size = num_paths // num_batches

    def blocks(array):  # [B W, ..., n / B], one block for each batch and stratum
        return jnp.moveaxis(array.reshape(num_batches, size, *array.shape[1:]), 1, -1).reshape(num_batches * num_strata, *array.shape[2:], size)

    def of_block(block):
        states, score, offset, width = block
        basis, speed = polynomials(offset, num_polynomials(features))
        centred = (score - score.mean(1, keepdims=True)) * (size / (size - 1))
        weights = jnp.concatenate([jnp.ones_like(centred[:1]), centred]) * (width / size)
        at_states = (features, scalars, model.location, model.scale, tuple(states), parameters)
        drift, sources, mean = averages(*at_states, weights, basis, speed / width)
        return drift[0], drift[1:] + width / size * sources, mean, weights @ states.T - mean @ (model.root @ model.species)

    each = (blocks(points), blocks(scores), blocks(offsets), jnp.tile(widths, num_batches))
    found = lax.map(partial(stage, of_block), each)
    return tuple(part.reshape(num_batches, num_strata, *part.shape[1:]) for part in found)


@jax.jit
def _controlled(controls: Controls, values: jax.Array, counts: jax.Array, times: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Batch means [B, T, K] and gradients [B, T, K, P] of values [n, T, K]: controlled, and blended with the plain ones.

    For each half of the batches, some of the others fit the coefficients of the observable and the rest of these say how to blend.
    """
    num_batches, scores = len(controls.plain), scores_at(controls.scores, controls.times, times)
    size, found = len(values) // num_batches, _features_at(controls, counts)
    num_fitted = min(num_batches // 4, -(-_FIT_PATHS // size))
    plain, mixed = _plain(values, scores, num_batches), []
    for half in (0, 1):
        others = _half(num_batches, 1 - half)
        fitted, judging = slice(others.start, others.start + num_fitted), slice(others.start + num_fitted, others.stop)
        start = _fit(found, values, slice(fitted.start * size, fitted.stop * size))
        rest = _plain(values - jnp.einsum("tjn,tjk->ntk", found, start), scores, num_batches)
        controlled = jax.tree.map(jnp.add, rest, _from_model(controls, start, jnp.zeros_like(start), times))
        mixed.append(jax.tree.map(partial(_blend, mine=_half(num_batches, half), judging=judging), plain, controlled))
    return jax.tree.map(lambda *halves: jnp.concatenate(halves), *mixed)


@jax.jit
def _controlled_integrals(controls: Controls, integrals: jax.Array, times: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The same for ∫ x ds, which V carries as a running reward: batch means [B, T, S] and gradients [B, T, S, P]."""
    num_batches = len(controls.plain)
    reward = jnp.broadcast_to(controls.model.species, (len(times), *controls.model.species.shape))
    mean, gradient = _from_model(controls, jnp.zeros_like(reward), reward, times)
    before = _strata_before(controls, times).astype(mean.dtype)
    unspanned = jnp.einsum("tw,bwqs->btsq", before, controls.unspanned)
    controlled = mean + unspanned[..., 0], gradient + unspanned[..., 1:]
    plain = _plain(integrals, scores_at(controls.scores, controls.times, times), num_batches)
    halves = [partial(_blend, mine=_half(num_batches, half), judging=_half(num_batches, 1 - half)) for half in (0, 1)]
    return jax.tree.map(lambda *parts: jnp.concatenate([blend(*parts) for blend in halves]), plain, controlled)


def _half(number: int, half: int) -> slice:
    return slice(half * (number // 2), (half + 1) * (number // 2))


def _features_at(controls: Controls, counts: jax.Array) -> jax.Array:
    """Orthonormal features at the observations [T, J, n]."""
    by_time = jnp.moveaxis(counts, 1, 0)
    return lax.map(lambda states: controls.model.root.T @ _evaluate(controls.features, controls.model, tuple(states.T), controls.parameters), by_time)


def _strata_before(controls: Controls, times: jax.Array) -> jax.Array:
    """Which strata lie before which observations [T, W]."""
    return jnp.arange(len(controls.nodes) - 1)[None] < nearest(controls.nodes, times)[:, None]


def _fit(found: jax.Array, values: jax.Array, rows: slice) -> jax.Array:
    """Coefficients of the observable at each time [T, J, K] from some of the paths."""

    def solve(features, targets):
        found = least_squares(features.T)
        return found.root @ found(targets)

    return jax.vmap(solve)(found[..., rows], jnp.moveaxis(values[rows], 1, 0))


def _plain(values: jax.Array, scores: jax.Array, num_batches: int) -> tuple[jax.Array, jax.Array]:
    """Batch means [B, T, K] and covariances with the score [B, T, K, P] of values [n, T, K]."""
    size = len(values) // num_batches
    values, scores = (part.reshape(num_batches, size, *part.shape[1:]) for part in (values, scores))
    centred = values - values.mean(1, keepdims=True)
    return values.mean(1), jnp.einsum("bntk,bntp->btkp", centred, scores) / (size - 1)


def _from_model(controls: Controls, start: jax.Array, reward: jax.Array, times: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What the value function of observables with coefficients and rewards [T, J, K] adds to the mean and to the gradient."""
    num_times, size, number = start.shape
    begin, on_way = (jnp.moveaxis(part, 1, 0).reshape(size, -1) for part in (start, reward))
    at = nearest(controls.nodes, times)
    tables, first = coefficients(controls.model, begin, on_way, jnp.repeat(at, number))
    mean = jnp.einsum("bwhj,whjk->bk", controls.plain, tables[:, :, 0]) + controls.start @ first[0]
    gradient = jnp.einsum("bwphj,whjk->bkp", controls.scored, tables[:, :, 0])
    if tables.shape[2] > 1:
        gradient += jnp.einsum("bwhj,whpjk->bkp", controls.plain, tables[:, :, 1:]) + jnp.einsum("bj,pjk->bkp", controls.start, first[1:])
    before = _strata_before(controls, times)
    in_features = jnp.einsum("lj,tjk->tlk", controls.model.root, reward)
    paid = jnp.where(before[:, :, None, None], in_features[:, None], 0)  # [T, W, J, K]
    mean += jnp.einsum("bwj,twjk->btk", controls.rewards[:, :, 0], paid).reshape(mean.shape)
    gradient += jnp.einsum("bwpj,twjk->btkp", controls.rewards[:, :, 1:], paid).reshape(gradient.shape)
    return tuple(part.reshape(len(part), num_times, number, *part.shape[2:]) for part in (mean, gradient))


def _blend(plain: jax.Array, controlled: jax.Array, *, mine: slice, judging: slice) -> jax.Array:
    """The mixture of two unbiased estimates [B, …] in some batches that has the least variance in others."""
    controlled = jnp.where(jnp.isfinite(controlled).all(0), controlled, plain)  # no V without numbers
    difference = controlled[judging] - plain[judging]
    difference = difference - difference.mean(0, keepdims=True)
    deviation = plain[judging] - plain[judging].mean(0, keepdims=True)
    spread = (difference**2).sum(0)
    share = jnp.clip(-(difference * deviation).sum(0) / jnp.where(spread > 0, spread, 1), 0, 1)
    return plain[mine] + share[None] * (controlled[mine] - plain[mine])
