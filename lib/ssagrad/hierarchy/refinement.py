"""Local posteriors by a few steps of Fisher scoring from where the encoder points: a Gaussian with full covariance for each well.

For observations y ~ N(μ(z), v(z)) and a Gaussian prior of z, score = Σ (y − μ)/v ∂μ + ½ ((y − μ)²/v² − 1/v) ∂v − (z − m)/s² and information
F = Σ ∂μ ∂μᵀ/v + ½ ∂v ∂vᵀ/v² + 1/s². The derivatives are forward ones, a lane for each local latent: five lanes instead of a draw's one.
The posterior of the well is then N(z*, F⁻¹) at the best point seen, and importance weights correct what is not Gaussian in it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.hierarchy.levels import log_normal
from ssagrad.hierarchy.likelihood import Wells, predict
from ssagrad.hierarchy.system import System

WIDENED = 1.1  # factor of the standard deviations: weights stay bounded where the true posterior is a little wider
_WRITTEN_OUT = 8  # largest matrices whose roots are written out
_LONGEST = 1.0  # of a step, in prior standard deviations of any latent
_HALF_LOG_TWO_PI = float(0.5 * np.log(2 * np.pi))


class LocalGaussian(NamedTuple):
    """mean [L, ...] and the lower triangular C [L, L, ...] with precision C Cᵀ / WIDENED².

    left: what one more step promises, ½ sᵀ F⁻¹ s nats [...]: small where scoring converged.
    """

    mean: jax.Array
    root: jax.Array
    left: jax.Array

    def draw(self, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Draws [L, ..., K] from noise [L, ..., K], and their log densities [..., K]."""
        volume = sum(jnp.log(self.root[i, i]) - _HALF_LOG_TWO_PI - float(np.log(WIDENED)) for i in range(len(self.mean)))
        offset = jnp.stack(back_substitution(self.root[..., None], WIDENED * noise))
        return self.mean[..., None] + offset, volume[..., None] - 0.5 * (noise**2).sum(0)


def refine(system: System, weights: Any, above: jax.Array, start: jax.Array, wells: Wells, times: np.ndarray, *, steps: int) -> LocalGaussian:
    """Fisher scoring with Levenberg's damping in the local latents, from `start` [L, B, S], given the others `above` [P − L, B, S]."""
    num_local = len(start)
    scale = jnp.asarray(system.levels.scales[-num_local:])[:, None, None]

    def turn(carry, _):
        here, best, value, slope, root, damping = carry
        found, score, information = log_posterior_and_information(system, weights, above, here, wells, times)
        better = found > value
        damping = jnp.where(better, damping * 0.2, damping * 5)
        best, value, slope = jnp.where(better[None], here, best), jnp.where(better, found, value), jnp.where(better[None], score, slope)
        root = jnp.where(better[None, None], information, root)
        damped = root * (1 + damping[None, None] * np.eye(num_local, dtype=np.float32)[:, :, None, None])
        factor = cholesky(damped)
        move = jnp.stack(back_substitution(factor, jnp.stack(forward_substitution(factor, slope))))
        ahead = best + jnp.clip(move, -_LONGEST * scale, _LONGEST * scale)
        return (ahead, best, value, slope, root, damping), None

    shape = start.shape[1:]
    nothing = jnp.full(shape, -jnp.inf, jnp.float32), jnp.zeros_like(start), jnp.zeros((num_local, num_local, *shape), jnp.float32)
    first = (start, start, *nothing, jnp.full(shape, 0.05, jnp.float32))
    (_, best, _, slope, information, _), _ = jax.lax.scan(turn, first, None, length=steps + 1)
    factor = cholesky(information)
    return LocalGaussian(best, factor, 0.5 * sum(part**2 for part in forward_substitution(factor, slope)))


def log_posterior_and_information(system, weights, above, z, wells, times):
    """log p(y, z) [B, S], its derivative in z [L, B, S] and the information [L, L, B, S]."""
    num_local, batch, draws = z.shape
    location, scale = (jnp.asarray(x[-num_local:])[:, None, None] for x in (system.levels.locations, system.levels.scales))
    observed = jnp.transpose(wells.signals, (2, 1, 0))[..., None]

    def solved(z):
        prediction = predict(system, weights, jnp.concatenate([above, z]), wells, times)
        return tuple(part.reshape(len(part), -1, batch, draws) for part in prediction)

    directions = jnp.asarray(np.eye(num_local, dtype=np.float32))[:, :, None, None] * jnp.ones_like(z)[None]
    (mean, variance), pushed = jax.linearize(solved, z)
    d_mean, d_variance = jax.vmap(pushed)(directions)
    residual = observed - mean
    value = -0.5 * (residual**2 / variance + jnp.log(variance)).sum((0, 1)) + log_normal(z, location, scale).sum(0)
    in_mean, in_variance = residual / variance, 0.5 * (residual**2 / variance - 1) / variance
    score = (in_mean[None] * d_mean).sum((1, 2)) + (in_variance[None] * d_variance).sum((1, 2)) - (z - location) / scale**2
    scaled, relative = d_mean / jnp.sqrt(variance)[None], d_variance / variance[None]
    relative = jnp.broadcast_to(relative, (num_local, mean.shape[0], *relative.shape[2:])) if len(variance) == 1 else relative
    information = jnp.einsum("itcbs,jtcbs->ijbs", scaled, scaled) + 0.5 * jnp.einsum("itcbs,jtcbs->ijbs", relative, relative)
    prior = (1 / scale**2)[:, None] * np.eye(num_local, dtype=np.float32)[:, :, None, None]
    return value, score, information + prior


def cholesky(matrices: jax.Array) -> jax.Array:
    """Lower triangular roots of small matrices [L, L, ...], written out: lanes side by side instead of a call for each."""
    size = len(matrices)
    if size > _WRITTEN_OUT:
        return jnp.moveaxis(jnp.linalg.cholesky(jnp.moveaxis(matrices, (0, 1), (-2, -1))), (-2, -1), (0, 1))
    root = [[jnp.zeros_like(matrices[0, 0])] * size for _ in range(size)]
    for j in range(size):
        root[j][j] = jnp.sqrt(jnp.maximum(matrices[j, j] - sum(root[j][k] ** 2 for k in range(j)), 1e-12))
        for i in range(j + 1, size):
            root[i][j] = (matrices[i, j] - sum(root[i][k] * root[j][k] for k in range(j))) / root[j][j]
    return jnp.stack([jnp.stack(row) for row in root])


def forward_substitution(root: jax.Array, right: jax.Array) -> list[jax.Array]:
    """C⁻¹ b for lower triangular C [L, L, ...] and b [L, ...]."""
    if len(right) > _WRITTEN_OUT:
        return _library_solve(root, right, transposed=False)
    found = []
    for i in range(len(right)):
        found.append((right[i] - sum((root[i, k] * found[k] for k in range(i)), jnp.zeros_like(right[i]))) / root[i, i])
    return found


def back_substitution(root: jax.Array, right: jax.Array) -> list[jax.Array]:
    """C⁻ᵀ b for lower triangular C [L, L, ...] and b [L, ...]."""
    if len(right) > _WRITTEN_OUT:
        return _library_solve(root, right, transposed=True)
    found = [None] * len(right)
    for i in reversed(range(len(right))):
        known = sum((root[k, i] * found[k] for k in range(i + 1, len(right))), jnp.zeros_like(right[i]))
        found[i] = (right[i] - known) / root[i, i]
    return found


def _library_solve(root, right, *, transposed):
    matrices = jnp.moveaxis(jnp.broadcast_to(root, (*root.shape[:2], *right.shape[1:])), (0, 1), (-2, -1))
    solved = jax.scipy.linalg.solve_triangular(matrices, jnp.moveaxis(right, 0, -1)[..., None], lower=True, trans=1 if transposed else 0)
    return jnp.moveaxis(solved[..., 0], -1, 0)
