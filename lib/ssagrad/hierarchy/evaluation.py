"""How good a posterior is, and what it predicts: bounds, effective sample sizes, importance-weighted means, in chunks of wells without derivatives."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.hierarchy import shared
from ssagrad.hierarchy.bound import bound, effective_sample_size, refined_posterior
from ssagrad.hierarchy.likelihood import Wells, log_likelihood, predict, wells_of
from ssagrad.hierarchy.plate_reader import Experiment, require_finite
from ssagrad.hierarchy.system import System

_LANES = 2400  # draws in memory at once
_ROUND = 12  # chunks are multiples of it, so that experiments of several sizes share what was compiled
_CONVERGED = 0.5  # nats that one more step of scoring promises


class Evaluation(NamedTuple):
    """What K draws for each of N wells say.

    bounds: [N]. effective: effective sample size of the weights [N]. likelihood: weighted mean of log p(y | u) by signal [N, 4].
    mean, sd: of the observations, importance weighted, noise included [N, 4, T]. latents: weighted means of u [N, P]; latent_sd: [N, P].
    draws: K. left: what one more step of Fisher scoring promises [N], nats, largest over draws of what is shared; 0 without refinement.
    """

    bounds: np.ndarray
    effective: np.ndarray
    likelihood: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    latents: np.ndarray
    latent_sd: np.ndarray
    draws: int
    left: np.ndarray

    @property
    def not_converged(self) -> int:
        """Wells whose refinement had not converged: one more step promises more than half a nat."""
        return int((~(self.left <= _CONVERGED)).sum())

    @property
    def bound(self) -> float:
        """Mean bound of a well."""
        return float(self.bounds.mean())

    def errors(self, experiment: Experiment) -> np.ndarray:
        """Root mean square error of the weighted means, by signal [4]."""
        return np.sqrt(((self.mean - experiment.signals) ** 2).mean((0, 2)))


def evaluate(
    key: jax.Array,
    system: System,
    posterior: Any,
    weights: Any,
    experiment: Experiment,
    *,
    draws: int = 100,
    steps: int = 0,
    shared_draws: int = 2,
    num_wells: int | None = None,
) -> Evaluation:
    """Bounds, effective sample sizes and predictions of an experiment.

    Args:
        posterior: a `Posterior`, for the published bound, or a `SharedPosterior`, for the bound with shared draws.
        draws: K, for each well and each draw of what is shared. shared_draws: S, with a `SharedPosterior`.
        steps: of Fisher scoring, 0: the posterior as the encoder gives it.
        num_wells: N', over how many wells the divergence of what is shared is spread (for a `SharedPosterior`); None: it is left out. For the N' wells
            that the posterior was learned from, the mean is then a bound on their joint evidence, per well. For others it is a score and no bound: what
            was learned came from other data, and only KL/N of these wells themselves would be a price for it.

    Raises:
        ValueError: signals that are not finite.
    """
    require_finite(experiment)
    each = draws * (shared_draws if isinstance(posterior, shared.SharedPosterior) else 1)
    size = max(1, min(-(-experiment.num_wells // _ROUND) * _ROUND, _LANES // each))
    wells, found = wells_of(experiment), []
    times = tuple(map(float, experiment.times))
    options = {"draws": draws, "steps": steps, "shared_draws": shared_draws}
    for number, begin in enumerate(range(0, experiment.num_wells, size)):
        chosen = np.arange(begin, begin + size) % experiment.num_wells  # the last chunk begins anew, for one shape
        batch = Wells(*(leaf[chosen] for leaf in wells))
        found.append(_chunk(system, times, posterior, weights, batch, jax.random.fold_in(key, number), **options))
    arrays = [np.concatenate(parts)[: experiment.num_wells] for parts in zip(*found, strict=True)]
    if num_wells is not None and isinstance(posterior, shared.SharedPosterior):
        arrays[0] = arrays[0] - float(posterior.divergence()) / num_wells
    return Evaluation(*arrays[:-1], draws, arrays[-1])


@partial(jax.jit, static_argnums=(0, 1), static_argnames=("draws", "steps", "shared_draws"))
def _chunk(system, times, posterior, weights, wells, key, *, draws, steps, shared_draws):
    grid, batch = np.array(times, np.float32), len(wells.signals)
    if isinstance(posterior, shared.SharedPosterior):
        noise = shared.noise_of(key, posterior, batch, shared_draws=shared_draws, draws=draws)
        above, z, log_q, left = shared.draw(system, weights, posterior, wells, grid, noise, steps=steps)
        u = jnp.concatenate([jnp.broadcast_to(above[..., None], (len(above), *z.shape[1:])), z])
        prior = system.levels.log_prior(u) - system.levels.log_prior_above(u)
    else:
        q = posterior(*wells)
        noise = jax.random.normal(key, (*q.mean.shape, 1, draws), jnp.float32)
        left = jnp.zeros((batch, 1), jnp.float32)
        if steps:
            refined = refined_posterior(system, weights, q, wells, grid, steps=steps)
            (u, log_q), left = refined.draw(noise), refined.left
        else:
            u = q.draw(noise[:, :, 0])[:, :, None]
            log_q = q.log_density(u[:, :, 0])[:, None]
        prior = system.levels.log_prior(u)
    return *summaries(system, weights, wells, grid, u, prior - log_q), left.max(-1)


def summaries(system: System, weights: Any, wells: Wells, times: np.ndarray, u: jax.Array, log_ratio: jax.Array) -> tuple[jax.Array, ...]:
    """The arrays of an `Evaluation`, of draws u [P, B, S, K] with log p(u) − log q(u) [B, S, K]: weighted over K, averaged over S."""
    num_latents, batch, shared_draws, draws = u.shape
    prediction = predict(system, weights, u.reshape(num_latents, batch, -1), wells, times)
    by_signal = log_likelihood(prediction, wells.signals, shared_draws * draws)
    log_w = by_signal.sum(0).reshape(log_ratio.shape) + log_ratio
    share = (jax.nn.softmax(log_w, axis=-1) / shared_draws).reshape(batch, -1)
    mean, variance = (part.reshape(len(part), -1, *share.shape) for part in prediction)
    weighted = lambda array: (share.reshape((1,) * (array.ndim - 2) + share.shape) * array).sum(-1)
    first = weighted(mean)
    spread = weighted((mean - first[..., None]) ** 2 + variance)
    flat = u.reshape(num_latents, *share.shape)
    centre = weighted(flat)
    scatter = jnp.sqrt(weighted((flat - centre[..., None]) ** 2))
    observed = jnp.transpose(first, (2, 1, 0)), jnp.sqrt(jnp.transpose(spread, (2, 1, 0)))
    return bound(log_w).mean(-1), effective_sample_size(log_w).mean(-1), weighted(by_signal).T, *observed, centre.T, scatter.T
