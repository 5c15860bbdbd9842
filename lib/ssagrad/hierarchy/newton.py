"""All levels at once by Fisher scoring: the mode of everything that is shared and of every well, and the Gaussian around it.

The information of a well couples what is shared (a) with its local latents (l). These are eliminated well by well,

    S_i = I_aa − I_al I_ll⁻¹ I_la,   H = prior + Σ_i A_iᵀ S_i A_i,   Δx = H⁻¹ g,   Δz_i = I_ll⁻¹ (s_l − I_la A_i Δx),

so that a step costs one forward derivative for each latent and a system of the size of x. At the end q(x) = N(x*, H⁻¹), with all correlations. What
stochastic ascent with Adam approaches in hundreds of steps along narrow ridges takes a few tens here. **Requires** a likelihood whose few shared
numbers are all latents (a white box), no learned weights.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.hierarchy.encoder import eqx
from ssagrad.hierarchy.levels import CLIP
from ssagrad.hierarchy.likelihood import Wells, wells_of
from ssagrad.hierarchy.plate_reader import Experiment
from ssagrad.hierarchy.progress import bar
from ssagrad.hierarchy.refinement import log_posterior_and_information, refine
from ssagrad.hierarchy.shared import SharedPosterior
from ssagrad.hierarchy.system import System

_WELLS = 40  # differentiated at once
_FIRST_STEPS = 12  # of the local latents alone, before the first joint step
_INSIDE, _INSIDE_GUARD = 0.02, 1e-3  # prior standard deviations
_CONVERGED = 0.5  # nats that one more step promises, over all wells
_LEAST_DAMPING, _MOST_DAMPING = 1e-6, 1e6


class Mode(NamedTuple):
    """Where scoring ended.

    posterior: the given one with q(x) = N(x*, H⁻¹). local: modes of the local latents [N, L]. values: log p(y, z, x) after each step, accepted ones.
    converged: whether one more step promises less than half a nat over all wells. starts: how many were tried.
    """

    posterior: SharedPosterior
    local: np.ndarray
    values: np.ndarray
    converged: bool
    starts: int


class _Climb(NamedTuple):
    """x [D], z [N, L], the derivatives there, values of accepted steps, and whether it converged."""

    x: np.ndarray
    z: np.ndarray
    found: tuple
    values: list
    converged: bool


def joint_mode(
    system: System,
    weights: Any,
    posterior: SharedPosterior,
    experiment: Experiment,
    *,
    steps: int = 40,
    tolerance: float = 0.1,
    starts: int = 2,
    progress: str | None = None,
) -> Mode:
    """Fisher scoring with Levenberg's damping in shared and local latents of all wells; what is at a guard and pushed against it is held there.

    Args:
        steps: of each start at most, rejected ones included. tolerance: promise [nats] of a step below which it ends.
        starts: at most; the first is the posterior's mean, and where it does not converge another one half a prior standard deviation away is tried.
            The highest end counts.
        progress: label of a bar over steps (needs tqdm).

    Raises:
        FloatingPointError: the first value is not finite. ValueError: no step, or no start.
    """
    if steps < 1 or starts < 1:
        raise ValueError(f"expected at least one step and one start, received {steps} and {starts}")
    wells, times = wells_of(experiment), tuple(map(float, experiment.times))
    prior, maps, best = tuple(map(np.float64, posterior.prior())), _maps(posterior, experiment.components), None
    for number in range(starts):
        away = 0.5 * prior[1] * np.random.default_rng(number).standard_normal(len(prior[1])) if number else 0.0
        begin = eqx.tree_at(lambda q: q.mean, posterior, jnp.asarray(np.asarray(posterior.mean, float) + away, jnp.float32))
        climb = _climb(system, times, weights, begin, wells, maps, prior, steps, tolerance, progress and f"{progress}, again" if number else progress)
        if climb and (best is None or climb.values[-1] > best.values[-1]):
            best = climb
        if best is None:
            raise FloatingPointError(f"{system.name}: expected a finite log density at the start, received another; are prior and signals on one scale?")
        if climb and climb.converged:
            break
    location, scale = prior
    x, found = _off_the_edge(best.x, location, scale, best.found, maps, lambda x: _evaluate(system, times, weights, wells, maps @ x, best.z))
    factor = _covariance_root(_step(found, maps, (x - location) / scale**2, 1 / scale**2, 0.0)[2], scale)
    sd = np.diag(factor)
    lower = np.asarray(np.tril(factor, -1) / sd[:, None], np.float32)
    parts = (jnp.asarray(x, jnp.float32), jnp.asarray(np.log(sd), jnp.float32), jnp.asarray(lower))
    return Mode(eqx.tree_at(lambda q: (q.mean, q.log_sd, q.lower), posterior, parts), best.z, np.array(best.values), best.converged, number + 1)


def _climb(system, times, weights, posterior, wells, maps, prior, steps, tolerance, progress) -> _Climb | None:
    """Steps from the posterior's mean; None where the first value is not finite."""
    location, scale = prior
    (x_low, x_high), (z_low, z_high) = _guards(system, maps)
    x = np.clip(np.asarray(posterior.mean, float), x_low, x_high)
    z = np.clip(_first_local(system, times, weights, posterior, wells), z_low, z_high)
    found = _evaluate(system, times, weights, wells, maps @ x, z)
    best = found[0].sum() - 0.5 * (((x - location) / scale) ** 2).sum()
    if not np.isfinite(best):
        return None
    damping, values, left = 1e-2, [best], np.inf
    for _ in bar(range(steps), progress, unit="step"):
        pull = (x - location) / scale**2
        into_x, into_z = _raw_slopes(found, maps, pull)
        held = ((x <= x_low) & (into_x < 0)) | ((x >= x_high) & (into_x > 0)), ((z <= z_low) & (into_z < 0)) | ((z >= z_high) & (into_z > 0))
        dx, dz, _ = _step(found, maps, pull, 1 / scale**2, damping, held)
        left = 0.5 * (into_x @ dx + (into_z * dz).sum())
        if left < tolerance and damping <= 1:
            break
        new_x, new_z = np.clip(x + np.clip(dx, -1, 1), x_low, x_high), np.clip(z + np.clip(dz, -1, 1), z_low, z_high)
        tried = _evaluate(system, times, weights, wells, maps @ new_x, new_z)
        value = tried[0].sum() - 0.5 * (((new_x - location) / scale) ** 2).sum()
        if np.isfinite(value) and value > best:
            x, z, found, best = new_x, new_z, tried, value
            values.append(best)
            damping = max(damping * 0.3, _LEAST_DAMPING)
        else:
            damping = damping * 5
            if damping > _MOST_DAMPING:
                break
    return _Climb(x, z, found, values, bool(left < _CONVERGED))


def _guards(system: System, maps: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Ranges of the shared numbers [D] and of the local latents [L] in which the model follows them, a little inside its guards."""
    levels = system.levels
    low, high = (levels.locations.astype(float) + sign * CLIP * levels.scales for sign in (-1, 1))
    for name, least, most in system.guards:
        if name in levels.names:
            i = levels.index(name)
            low[i], high[i] = max(low[i], least), min(high[i], most)
    low, high = low + _INSIDE_GUARD * levels.scales, high - _INSIDE_GUARD * levels.scales
    above, owner = maps.shape[1], maps.any(0).argmax(0)
    return (low[owner], high[owner]), (low[above:], high[above:])


def _raw_slopes(found, maps, pull):
    """Derivatives in what is shared [D] and in local latents [N, L]."""
    score, above = found[1], maps.shape[1]
    return np.einsum("nad,na->d", maps, score[:, :above]) - pull, score[:, above:]


def _off_the_edge(x, location, scale, found, maps, evaluate):
    """Shared numbers at a guard, from where on the model no longer depends on them, a little inside, with the information there."""
    own = lambda found: np.diagonal(_step(found, maps, 0 * x, 1 / scale**2, 0.0)[2]) - 1 / scale**2
    inside = x + _INSIDE * scale * np.sign(location - x)
    at_edge = own(found) < 0.01 * own(evaluate(inside)) - 1e-3 / scale**2
    moved = np.where(at_edge, inside, x)
    return (moved, evaluate(moved)) if at_edge.any() else (x, found)


def _covariance_root(precision: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Lower triangular root of H⁻¹; H is at least the prior's precision, which rounding may have taken from it along directions without data."""
    values, vectors = np.linalg.eigh(scale[:, None] * (precision + precision.T) / 2 * scale[None])
    covariance = scale[:, None] * (vectors / np.maximum(values, 1)) @ vectors.T * scale[None]
    return np.linalg.cholesky((covariance + covariance.T) / 2)


def _maps(posterior: SharedPosterior, components: np.ndarray) -> np.ndarray:
    """Which shared numbers are the global and group latents of each well: [N, G + Y, D]."""
    num_global, num_group, _ = posterior.levels.counts
    maps = np.zeros((len(components), num_global + num_group, len(posterior.mean)))
    maps[:, np.arange(num_global), np.arange(num_global)] = 1
    begin = num_global
    for y, mask in enumerate(posterior.masks):
        own = np.flatnonzero(mask)
        maps[:, num_global + y, begin : begin + len(own)] = components[:, own]
        begin += len(own)
    return maps


def _step(found, maps, pull, prior, damping, held=None):
    """Δx [D], Δz [N, L] and the precision H [D, D]."""
    _, score, information = found
    above = maps.shape[1]
    i_aa, i_al, i_ll = information[:, :above, :above], information[:, :above, above:], information[:, above:, above:].copy()
    diagonal = np.arange(i_ll.shape[1])
    i_ll[:, diagonal, diagonal] *= 1 + damping
    if held is not None:  # those stay where they are: nothing couples to them, nothing pulls at them
        free = ~held[1]
        i_al, i_ll, score = i_al * free[:, None], np.where(free[:, :, None] & free[:, None], i_ll, 0.0), score.copy()
        i_ll[:, diagonal, diagonal] += held[1]
        score[:, above:] *= free
    into_local = np.linalg.solve(i_ll, np.concatenate([np.swapaxes(i_al, 1, 2), score[:, above:, None]], axis=2))
    schur = i_aa - i_al @ into_local[:, :, :-1]
    slope = score[:, :above] - (i_al @ into_local[:, :, -1:])[:, :, 0]
    precision = np.einsum("nad,nab,nbe->de", maps, schur, maps, optimize=True) + np.diag(prior)
    total = np.einsum("nad,na->d", maps, slope) - pull
    damped = precision + damping * np.diag(np.diag(precision))
    if held is not None:
        total, damped = total * ~held[0], np.where(np.outer(~held[0], ~held[0]), damped, 0.0) + np.diag(held[0].astype(float))
    dx = np.linalg.solve(damped, total)
    dz = into_local[:, :, -1] - (into_local[:, :, :-1] @ (maps @ dx)[:, :, None])[:, :, 0]
    return dx, dz, precision


def _chunks(num_wells):
    for begin in range(0, num_wells, _WELLS):
        yield np.arange(begin, begin + _WELLS) % num_wells


def _evaluate(system, times, weights, wells, above, z):
    """log p(y_i, z_i | x) [N], its derivative [N, P] and information [N, P, P], in double precision."""
    u, parts = jnp.asarray(np.concatenate([above, z], axis=1).T, jnp.float32), []
    for chosen in _chunks(len(z)):
        parts.append([np.asarray(part, float) for part in _chunk(system, times, weights, Wells(*(leaf[chosen] for leaf in wells)), u[:, chosen])])
    value, score, information = (np.concatenate(column, axis=-1)[..., : len(z)] for column in zip(*parts, strict=True))
    return value, score.T, np.moveaxis(information, -1, 0)


@partial(jax.jit, static_argnums=(0, 1))
def _chunk(system, times, weights, wells, u):
    """Without the prior of global and group latents, which counts once and not for each well."""
    nothing = jnp.zeros((0, u.shape[1], 1), jnp.float32)
    parts = log_posterior_and_information(system, weights, nothing, u[:, :, None], wells, np.array(times, np.float32))
    value, score, information = (part[..., 0] for part in parts)
    above = len(u) - system.levels.counts[2]
    location, scale = (jnp.asarray(x[:above])[:, None] for x in (system.levels.locations, system.levels.scales))
    score = score.at[:above].add((u[:above] - location) / scale**2)
    precision = np.zeros((len(u), len(u), 1), np.float32)
    precision[np.arange(above), np.arange(above), 0] = system.levels.scales[:above] ** -2.0
    return value - system.levels.log_prior_above(u), score, information - precision


def _first_local(system, times, weights, posterior, wells):
    parts, num_wells = [], len(wells.signals)
    for chosen in _chunks(num_wells):
        parts.append(np.asarray(_refined(system, times, weights, posterior, Wells(*(leaf[chosen] for leaf in wells))), float))
    return np.concatenate(parts, axis=1)[:, :num_wells].T


@partial(jax.jit, static_argnums=(0, 1))
def _refined(system, times, weights, posterior, wells):
    above = posterior.above(jnp.zeros((len(posterior.mean), 1), jnp.float32), wells.components)
    mean, _ = posterior.local(wells)
    return refine(system, weights, above, mean[:, :, None], wells, np.array(times, np.float32), steps=_FIRST_STEPS).mean[:, :, 0]
