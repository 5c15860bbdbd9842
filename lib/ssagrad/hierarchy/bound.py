"""The published bound: all latents are drawn for each well, and each well pays for their divergences.

log w = log p(y | u) + log p(u) − log q(u | y),  bound of a well = log mean_k w_k  (Burda, Grosse, Salakhutdinov 2016, arXiv:1509.00519). `shared` has
the bound on the evidence of all wells together.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.hierarchy.likelihood import Wells, log_likelihood, predict
from ssagrad.hierarchy.posterior import Gaussian
from ssagrad.hierarchy.refinement import LocalGaussian, refine
from ssagrad.hierarchy.system import System

GRADIENTS = ("plain", "doubly reparameterised")


def log_joint(system: System, weights: Any, u: jax.Array, wells: Wells, times: np.ndarray) -> jax.Array:
    """log p(y, u) [B, K] of draws u [P, B, K]; densities are those of the draw as it is, only the differential equation sees it clipped."""
    return log_likelihood(predict(system, weights, u, wells, times), wells.signals, u.shape[2]).sum(0) + system.levels.log_prior(u)


def bound(log_w: jax.Array) -> jax.Array:
    """log mean_k w_k over the last axis."""
    return jax.nn.logsumexp(log_w, axis=-1) - float(np.log(log_w.shape[-1]))


def effective_sample_size(log_w: jax.Array) -> jax.Array:
    """(Σ w)² / Σ w² over the last axis: 1 where one draw carries everything, K where all weigh alike."""
    return jnp.exp(2 * jax.nn.logsumexp(log_w, axis=-1) - jax.nn.logsumexp(2 * log_w, axis=-1))


def gradients(
    system: System, trained: Any, wells: Wells, times: np.ndarray, noise: jax.Array, *, gradient: str
) -> tuple[jax.Array, Any]:
    """The bound of each well [B], and the derivative of their mean in what is trained: (posterior, weights of the system).

    "plain" differentiates the bound. "doubly reparameterised" (Tucker et al. 2019, arXiv:1810.04152) weighs the derivative of log w_k in the draw by the
    square of its normalised weight, with log q stopped in its parameters: the same mean, less variance in the posterior's part. What enters log w_k
    without the draw, the weights of the system, is weighed by the normalised weight itself (the published code squares it there too, which is biased).

    Args:
        noise: standard normal [P, B, K]. gradient: one of `GRADIENTS`.
    """
    posterior, weights = trained

    def drawn(posterior):
        q = posterior(*wells)
        return q, q.draw(noise)

    (q, u), pull_posterior = jax.vjp(drawn, posterior)
    log_w, pull = jax.vjp(lambda weights, q, u: log_joint(system, weights, u, wells, times) - q.log_density(u), weights, q, u)
    share = jax.nn.softmax(log_w, axis=-1)
    for_weights, for_q, for_u = pull(share / len(share))
    if gradient != "plain":
        for_q, for_u = jax.tree.map(jnp.zeros_like, for_q), for_u * share[None]
    return bound(log_w), (*pull_posterior((for_q, for_u)), for_weights)


def refined_posterior(system: System, weights: Any, q: Gaussian, wells: Wells, times: np.ndarray, *, steps: int) -> LocalGaussian:
    """Gaussian of all P latents of each well, [P, B, 1], by Fisher scoring from the means of q; nothing is differentiated through it."""
    nothing = jnp.zeros((0, q.mean.shape[1], 1), jnp.float32)
    fixed, mean = jax.tree.map(jax.lax.stop_gradient, (weights, q.mean))
    return refine(system, fixed, nothing, mean[:, :, None], wells, times, steps=steps)


def refined_gradients(system: System, trained: Any, wells: Wells, times: np.ndarray, noise: jax.Array, *, steps: int) -> tuple[jax.Array, Any]:
    """As `gradients`, with draws from refined posteriors: the weights of the system follow the bound, the posterior learns to begin where those end.

    Its derivative is that of Σ_k w_k log q(u_k | y), with normalised weights: the divergence of the true posterior from q, as far as the draws know it.
    """
    posterior, weights = trained
    u, log_q = refined_posterior(system, weights, posterior(*wells), wells, times, steps=steps).draw(noise[:, :, None])
    u, log_q = u[:, :, 0], log_q[:, 0]

    def ascended(posterior, weights):
        log_w = log_joint(system, weights, u, wells, times) - log_q
        share = jax.lax.stop_gradient(jax.nn.softmax(log_w, axis=-1))
        return bound(log_w).mean() + (share * posterior(*wells).log_density(u)).sum(-1).mean(), bound(log_w)

    slope, found = jax.grad(ascended, argnums=(0, 1), has_aux=True)(posterior, weights)
    return found, slope
