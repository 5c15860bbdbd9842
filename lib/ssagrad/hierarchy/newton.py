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
from ssagrad.hierarchy.likelihood import Wells, wells_of
from ssagrad.hierarchy.plate_reader import Experiment
from ssagrad.hierarchy.refinement import log_posterior_and_information, refine
from ssagrad.hierarchy.shared import SharedPosterior
from ssagrad.hierarchy.system import System

_WELLS = 40  # differentiated at once
_FIRST_STEPS = 12  # of the local latents alone, before the first joint step
_INSIDE = 0.02  # prior standard deviations
_LEAST_DAMPING, _MOST_DAMPING = 1e-6, 1e6


class Mode(NamedTuple):
    """Where scoring ended.

    posterior: the given one with q(x) = N(x*, H⁻¹). local: modes of the local latents [N, L]. values: log p(y, z, x) after each step, accepted ones.
    """

    posterior: SharedPosterior
    local: np.ndarray
    values: np.ndarray


def joint_mode(
    system: System, weights: Any, posterior: SharedPosterior, experiment: Experiment, *, steps: int = 40, tolerance: float = 0.01, progress: str | None = None
) -> Mode:
    """Fisher scoring with Levenberg's damping in shared and local latents of all wells.

    Args:
        steps: at most, rejected ones included. tolerance: gain [nats] of an accepted step below which it ends.
        progress: label of a bar over steps (needs tqdm).

    Raises:
        FloatingPointError: the first value is not finite.
    """
    wells, times = wells_of(experiment), tuple(map(float, experiment.times))
    x, (location, scale) = np.asarray(posterior.mean, float), map(np.float64, posterior.prior())
    maps = _maps(posterior, experiment.components)
    z = _first_local(system, times, weights, posterior, wells)
    found = _evaluate(system, times, weights, wells, maps @ x, z)
    best = found[0].sum() - 0.5 * (((x - location) / scale) ** 2).sum()
    if not np.isfinite(best):
        raise FloatingPointError(f"{system.name}: expected a finite log density at the start, received {best}")
    damping, values = 1e-2, [best]
    for _ in _bar(range(steps), progress):
        dx, dz, _ = _step(found, maps, (x - location) / scale**2, 1 / scale**2, damping)
        new_x, new_z = x + np.clip(dx, -1, 1), z + np.clip(dz, -1, 1)
        tried = _evaluate(system, times, weights, wells, maps @ new_x, new_z)
        value = tried[0].sum() - 0.5 * (((new_x - location) / scale) ** 2).sum()
        if np.isfinite(value) and value > best:
            gain, (x, z, found, best) = value - best, (new_x, new_z, tried, value)
            values.append(best)
            damping = max(damping * 0.3, _LEAST_DAMPING)
            if gain < tolerance:
                break
        else:
            damping = damping * 5
            if damping > _MOST_DAMPING:
                break
    x, found = _off_the_edge(x, location, scale, found, maps, lambda x: _evaluate(system, times, weights, wells, maps @ x, z))
    precision = _step(found, maps, (x - location) / scale**2, 1 / scale**2, 0.0)[2]
    factor = _covariance_root(precision, scale)
    sd = np.diag(factor)
    lower = np.asarray(np.tril(factor, -1) / sd[:, None], np.float32)
    parts = (jnp.asarray(x, jnp.float32), jnp.asarray(np.log(sd), jnp.float32), jnp.asarray(lower))
    return Mode(eqx.tree_at(lambda q: (q.mean, q.log_sd, q.lower), posterior, parts), z, np.array(values))


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


def _step(found, maps, pull, prior, damping):
    """Δx [D], Δz [N, L] and the precision H [D, D]."""
    _, score, information = found
    above = maps.shape[1]
    i_aa, i_al, i_ll = information[:, :above, :above], information[:, :above, above:], information[:, above:, above:].copy()
    diagonal = np.arange(i_ll.shape[1])
    i_ll[:, diagonal, diagonal] *= 1 + damping
    into_local = np.linalg.solve(i_ll, np.concatenate([np.swapaxes(i_al, 1, 2), score[:, above:, None]], axis=2))
    schur = i_aa - i_al @ into_local[:, :, :-1]
    slope = score[:, :above] - (i_al @ into_local[:, :, -1:])[:, :, 0]
    precision = np.einsum("nad,nab,nbe->de", maps, schur, maps, optimize=True) + np.diag(prior)
    total = np.einsum("nad,na->d", maps, slope) - pull
    damped = precision + damping * np.diag(np.diag(precision))
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


def _bar(steps, label):
    if label is None:
        return steps
    from tqdm import tqdm

    return tqdm(iter(steps), desc=label, unit="step")  # how many there will be is not known
