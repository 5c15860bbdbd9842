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
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ssagrad.features import Features
from ssagrad.score import Scalars
from ssagrad.value_model import ValueModel, act, coefficients, least_squares

_FIT_PATHS = 1024  # paths that fit the coefficients of an observable


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Controls:
    """Averages over the paths of each of B batches, from which the controlled means and gradients of all observables follow.

    Attributes:
        model: the value functions' evolution.
        plain: [B, W, 4, J], of (∂_t + L) V for each cubic basis function of time and feature, integrated over the stratum.
        scored: the same times the centred score, plus Γ_p φ [B, W, P, 4, J].
        rewards: of φ times 1 and times the centred score, integrated over the stratum [B, W, 1 + P, J].
        start: mean features of the initial states [B, J].
        nodes: limits of the strata [W + 1], the start first.
        scores: score of each path at each observation time [n, T, P].
        shift: θ − stop_gradient(θ) [P].
        parameters: θ without derivative.
        features: φ. num_lags: steps of the model up to the longest lag.
    """

    model: ValueModel
    plain: jax.Array
    scored: jax.Array
    rewards: jax.Array
    start: jax.Array
    nodes: jax.Array
    scores: jax.Array
    shift: jax.Array
    parameters: Any
    features: Features = field(metadata={"static": True})
    num_lags: int = field(metadata={"static": True})

    def terms(self, values: jax.Array, counts: jax.Array, times: jax.Array) -> jax.Array:
        """Independent terms [B, T, ...] whose mean is the expectation of values [n, T, ...] at states [n, T, S], with its derivative."""
        fixed = lax.stop_gradient(values.reshape(*values.shape[:2], -1))
        mean, gradient = _controlled(self, fixed, counts, times)
        shape = (len(mean), *values.shape[1:])
        plain = values.reshape(len(mean), -1, *values.shape[1:]).mean(1)  # whose value cancels: it hands on the values' own derivative
        return plain - lax.stop_gradient(plain) + (mean + gradient @ self.shift).reshape(shape)

    def integral_terms(self, integrals: jax.Array, times: jax.Array) -> jax.Array:
        """The same for the time integrals of all species [n, T, S]: terms [B, T, S]."""
        mean, gradient = _controlled_integrals(self, integrals, times)
        return mean + gradient @ self.shift


def average_features(features: Features, model: ValueModel, counts: jax.Array, parameters: Any, num_paths: int, num_batches: int) -> jax.Array:
    """Batch means [B, J] of the features of the initial counts, [S] or [n, S]."""
    states = tuple(jnp.broadcast_to(counts, (num_paths, counts.shape[-1])).T)
    return _evaluate(features, model, states, parameters).reshape(features.size, num_batches, -1).mean(-1).T


def _evaluate(features: Features, model: ValueModel, states: tuple, parameters: Any) -> jax.Array:
    variables = features.variables(states, parameters)
    return features.products((variables - model.location[:, None]) / model.scale[:, None])


def moments(
    features: Features, scalars: Scalars, model: ValueModel, points: jax.Array, scores: jax.Array, offsets: jax.Array, widths: jax.Array,
    parameters: Any, num_batches: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:  # fmt: skip
    """`Controls.plain`, `scored` and `rewards` from one state of each path in each stratum.

    Args:
        points: states [n, W, S]. scores: there [n, W, P]. offsets: how far into its stratum each state lies, 0 to 1 [n, W]. widths: [W].
    """
    num_paths, num_strata = offsets.shape
    size = num_paths // num_batches

    def blocks(array):
        return jnp.moveaxis(array.reshape(num_batches, size, *array.shape[1:]), 2, 1).reshape(num_batches * num_strata, size, *array.shape[2:])

    def of_block(block):
        states, score, offset, width = block
        counts = tuple(states[:, s] for s in range(states.shape[1]))
        action = act(features, scalars, model.location, model.scale, counts, parameters)
        basis, speed = _hermite(offset, width)
        centred = (score - score.mean(0)).T * (size / (size - 1))
        weights = jnp.concatenate([jnp.ones_like(centred[:1]), centred])
        by_basis, by_speed = (weights[:, None] * part[None] for part in (basis, speed))
        share = width / size
        both = jnp.einsum("qhn,jn->qhj", by_basis, action.generator) + jnp.einsum("qhn,jn->qhj", by_speed, action.features)
        sources = jnp.einsum("hn,pjn->phj", basis, action.sources)
        return share * both[0], share * (both[1:] + sources), share * (weights @ action.features.T)

    widths = jnp.tile(widths, num_batches)
    found = lax.map(of_block, (blocks(points), blocks(scores), blocks(offsets), widths))
    return tuple(part.reshape(num_batches, num_strata, *part.shape[1:]) for part in found)


def _hermite(u: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cubic Hermite functions of u in [0, 1] for value and slope × width at either end [4, n], and their derivatives in time."""
    basis = jnp.stack([(1 + 2 * u) * (1 - u) ** 2, u * (1 - u) ** 2, u**2 * (3 - 2 * u), u**2 * (u - 1)])
    speed = jnp.stack([6 * u * (u - 1), (1 - u) * (1 - 3 * u), 6 * u * (1 - u), u * (3 * u - 2)]) / width
    return basis, speed


@jax.jit
def _controlled(controls: Controls, values: jax.Array, counts: jax.Array, times: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Batch means [B, T, K] and gradients [B, T, K, P] of values [n, T, K]: controlled, and blended with the plain ones."""
    num_batches = len(controls.plain)
    found = _features_at(controls, counts)
    fitted = _fit_halves(found, values)
    batches = []
    for half, start in enumerate(fitted):  # [T, J, K], from the other half of the paths
        rows = _half(len(values), half)
        rest = values[rows] - jnp.einsum("tjn,tjk->ntk", found[..., rows], start)
        parts = _plain(rest, controls.scores[rows], num_batches // 2)
        modelled = _from_model(controls, start, jnp.zeros_like(start), times, half)
        batches.append(jax.tree.map(jnp.add, parts, modelled))
    controlled = jax.tree.map(lambda *halves: jnp.concatenate(halves), *batches)
    return jax.tree.map(_blend, _plain(values, controls.scores, num_batches), controlled)


@jax.jit
def _controlled_integrals(controls: Controls, integrals: jax.Array, times: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The same for ∫ x ds, which V carries as a reward on the way: batch means [B, T, S] and gradients [B, T, S, P]."""
    reward = jnp.broadcast_to(controls.model.species, (len(times), *controls.model.species.shape))
    halves = [_from_model(controls, jnp.zeros_like(reward), reward, times, half) for half in (0, 1)]
    controlled = jax.tree.map(lambda *parts: jnp.concatenate(parts), *halves)
    return jax.tree.map(_blend, _plain(integrals, controls.scores, len(controls.plain)), controlled)


def _half(number: int, half: int) -> slice:
    return slice(half * (number // 2), (half + 1) * (number // 2))


def _features_at(controls: Controls, counts: jax.Array) -> jax.Array:
    """Features at the observations [T, J, n]."""
    by_time = jnp.moveaxis(counts, 1, 0)
    return lax.map(lambda states: _evaluate(controls.features, controls.model, tuple(states.T), controls.parameters), by_time)


def _fit_halves(found: jax.Array, values: jax.Array) -> list[jax.Array]:
    """Coefficients of the observable at each time [T, J, K], for each half of the paths from some of the other half."""
    num_paths = len(values)

    def solve(features, targets):
        return least_squares(features.T)(targets)

    other = [slice(num_paths // 2, num_paths // 2 + min(num_paths // 2, _FIT_PATHS)), slice(0, min(num_paths // 2, _FIT_PATHS))]
    return [jax.vmap(solve)(found[..., rows], jnp.moveaxis(values[rows], 1, 0)) for rows in other]


def _plain(values: jax.Array, scores: jax.Array, num_batches: int) -> tuple[jax.Array, jax.Array]:
    """Batch means [B, T, K] and covariances with the score [B, T, K, P] of values [n, T, K]."""
    size = len(values) // num_batches
    values, scores = (part.reshape(num_batches, size, *part.shape[1:]) for part in (values, scores))
    centred = values - values.mean(1, keepdims=True)
    return values.mean(1), jnp.einsum("bntk,bntp->btkp", centred, scores) / (size - 1)


def _from_model(controls: Controls, start: jax.Array, reward: jax.Array, times: jax.Array, half: int) -> tuple[jax.Array, jax.Array]:
    """What the value function of observables with coefficients and rewards [T, J, K] adds to the mean and to the gradient."""
    model, num_batches = controls.model, len(controls.plain)
    batch = _half(num_batches, half)
    num_times, size, number = start.shape
    begin, on_way = (jnp.moveaxis(part, 1, 0).reshape(size, -1) for part in (start, reward))
    value, correction = coefficients(model, begin, on_way, controls.num_lags)
    value = value.reshape(-1, 1, size, num_times, number)
    correction = correction.reshape(len(value), -1, size, num_times, number)
    tables = jnp.concatenate([value, correction], axis=1)  # [L + 1, 1 + P, J, T, K]
    at_ends = _at_lags(jnp.moveaxis(tables, 3, 0), times[:, None] - controls.nodes[None], model.step)  # [T, W + 1, 1 + P, J, K] and slopes
    before = controls.nodes[None, 1:] <= times[:, None] + 1e-6 * model.step
    width = jnp.diff(controls.nodes)
    sizes = (jnp.ones_like(width), width)  # of values and of slopes
    ends = (slice(None, -1), slice(1, None))
    cubic = jnp.stack([part[:, end] * size[:, None, None, None] for end in ends for part, size in zip(at_ends, sizes, strict=True)], axis=2)
    cubic = jnp.where(before[:, :, None, None, None, None], cubic, 0)  # [T, W, 4, 1 + P, J, K]
    first = at_ends[0][:, 0]  # at the start [T, 1 + P, J, K]
    mean = jnp.einsum("bwhj,twhjk->btk", controls.plain[batch], cubic[:, :, :, 0]) + jnp.einsum("bj,tjk->btk", controls.start[batch], first[:, 0])
    gradient = jnp.einsum("bwphj,twhjk->btkp", controls.scored[batch], cubic[:, :, :, 0])
    gradient += jnp.einsum("bwhj,twhpjk->btkp", controls.plain[batch], cubic[:, :, :, 1:])
    gradient += jnp.einsum("bj,tpjk->btkp", controls.start[batch], first[:, 1:])
    paid = jnp.where(before[:, :, None, None], reward[:, None], 0)  # [T, W, J, K]
    mean += jnp.einsum("bwj,twjk->btk", controls.rewards[batch, :, 0], paid)
    gradient += jnp.einsum("bwpj,twjk->btkp", controls.rewards[batch, :, 1:], paid)
    return mean, gradient


def _at_lags(tables: jax.Array, lags: jax.Array, step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Tables [T, L + 1, …] over lags 0, δ, … read at lags [T, W] by cubic interpolation: values and slopes in time, −d/d lag."""
    slope = jnp.gradient(tables, axis=1)
    ends = -3 * tables[:, 0] + 4 * tables[:, 1] - tables[:, 2], 3 * tables[:, -1] - 4 * tables[:, -2] + tables[:, -3]
    slope = slope.at[:, 0].set(ends[0] / 2).at[:, -1].set(ends[1] / 2)
    position = jnp.clip(lags / step, 0, tables.shape[1] - 1)
    left = jnp.clip(jnp.floor(position + 1e-4).astype(int), 0, tables.shape[1] - 2)
    basis, speed = _hermite(position - left, jnp.ones((), position.dtype))  # [4, T, W]
    row = jnp.arange(len(tables))[:, None]
    corners = [part[row, left + shift] for shift in (0, 1) for part in (tables, slope)]
    shape = (*left.shape, *(1,) * (tables.ndim - 2))
    value, change = (sum(w.reshape(shape) * corner for w, corner in zip(weights, corners, strict=True)) for weights in (basis, speed))
    return value, -change / step


def _blend(plain: jax.Array, controlled: jax.Array) -> jax.Array:
    """The mixture of two unbiased estimates [B, …] with the least variance; each half of the batches is mixed as the other one says."""
    num_batches = len(plain)
    mixed = []
    for half in (0, 1):
        mine, other = _half(num_batches, half), _half(num_batches, 1 - half)
        difference = controlled[other] - plain[other]
        difference = difference - difference.mean(0)
        spread = (difference**2).sum(0)
        share = -(difference * (plain[other] - plain[other].mean(0))).sum(0) / jnp.where(spread > 0, spread, 1)
        mixed.append(plain[mine] + jnp.clip(share, 0, 1) * (controlled[mine] - plain[mine]))
    return jnp.concatenate(mixed)
