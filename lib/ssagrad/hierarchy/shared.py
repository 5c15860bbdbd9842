"""One draw of what wells share: the bound on the joint evidence, per well.

    L = (1/N) Σ_i E_{x ~ q} [ log mean_k p(y_i | z_ik, x) p(z_ik) / q(z_ik | y_i, x) ] − KL(q(x) ‖ p(x)) / N

x holds the global latents, and the group latents once for each component (u_group of a well is that of its own component). In the published bound, all
of them are drawn anew for each well, and every well pays for the whole divergence of x; here an experiment pays once. q(x) is Gaussian, with or without
correlations; q(z | y, x) is the encoder's, or that of `refinement`, from which the encoder then learns.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.hierarchy.bound import bound
from ssagrad.hierarchy.encoder import NUM_FEATURES, Encoder, eqx
from ssagrad.hierarchy.levels import Levels, log_normal
from ssagrad.hierarchy.likelihood import Wells, log_likelihood, predict
from ssagrad.hierarchy.refinement import LocalGaussian, refine
from ssagrad.hierarchy.system import System

FAMILIES = ("mean-field", "full")
START_SD = 0.1  # of q(x)
_LEAST_LOCAL_SD = 1e-3


class SharedPosterior(eqx.Module):
    """q(x) over D shared numbers, and the encoder's q(z | y): linear in its features and the components."""

    encoder: Encoder
    mean: jax.Array  # [D]
    log_sd: jax.Array
    lower: jax.Array  # [D, D], or [0, 0] without correlations
    head: jax.Array
    bias: jax.Array
    levels: Levels = eqx.field(static=True)
    masks: tuple = eqx.field(static=True)

    def __init__(self, key, levels: Levels, masks: np.ndarray, num_signals: int, num_times: int, *, family: str = "full", sees: str = "everything"):
        if family not in FAMILIES:
            raise ValueError(f"expected a family of posteriors among {FAMILIES}, received {family!r}")
        if not sum(levels.counts[:2]):
            words = f"received {levels.counts[2]} local ones and no other: wells share nothing; use the objective 'per well' (`Posterior`)"
            raise ValueError(f"expected global or group latents, {words}")
        one, two = jax.random.split(key)
        self.levels, self.masks = levels, tuple(map(tuple, np.asarray(masks, bool).tolist()))
        self.encoder = Encoder(one, num_signals, num_times, sees=sees)
        location, _ = self.prior()
        self.mean, self.log_sd = jnp.asarray(location), jnp.full(len(location), np.log(START_SD), jnp.float32)
        self.lower = jnp.zeros((len(location),) * 2 if family == "full" else (0, 0), jnp.float32)
        num_local, inputs = levels.counts[2], NUM_FEATURES + self.num_components
        self.head = jax.random.uniform(two, (2 * num_local, inputs), jnp.float32, -1, 1) * float(0.1 / np.sqrt(inputs))
        local = levels.locations[len(levels.latents) - num_local :], np.log(0.5 * levels.scales[len(levels.latents) - num_local :])
        self.bias = jnp.asarray(np.concatenate(local))

    @property
    def num_components(self) -> int:
        """Components that a device can have."""
        return len(self.masks[0]) if self.masks else 0

    def prior(self) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations of the D shared numbers: global latents, then group latents by component."""
        num_global, num_group, _ = self.levels.counts
        rows = np.concatenate([np.arange(num_global), *[np.full(sum(mask), num_global + y) for y, mask in enumerate(self.masks)]]).astype(int)
        return self.levels.locations[rows], self.levels.scales[rows]

    def factor(self) -> jax.Array:
        """The lower triangular factor of q(x) [D, D]."""
        diagonal = jnp.diag(jnp.exp(self.log_sd))
        return diagonal + jnp.tril(self.lower, -1) * jnp.exp(self.log_sd)[:, None] if self.lower.size else diagonal

    def divergence(self) -> jax.Array:
        """KL(q(x) ‖ p(x))."""
        location, scale = self.prior()
        factor = self.factor() / scale[:, None]
        return 0.5 * ((factor**2).sum() + (((self.mean - location) / scale) ** 2).sum() - len(scale)) - jnp.log(jnp.diag(factor)).sum()

    def above(self, noise: jax.Array, components: jax.Array) -> jax.Array:
        """Global and group latents u [G + Y, B, S] of wells with components [B, C], from noise [D, S]."""
        x = self.mean[:, None] + self.factor() @ noise
        num_global, batch = self.levels.counts[0], len(components)
        rows, begin = [jnp.broadcast_to(x[:num_global, None], (num_global, batch, noise.shape[1]))], num_global
        for mask in self.masks:
            own = np.flatnonzero(mask)
            rows.append((components[:, own] @ x[begin : begin + len(own)])[None])
            begin += len(own)
        return jnp.concatenate(rows)

    def local(self, wells: Wells) -> tuple[jax.Array, jax.Array]:
        """The encoder's means and standard deviations of the local latents [L, B]."""
        features = jnp.concatenate([self.encoder(wells.signals, wells.treatments), wells.components], axis=1)
        mean, log_sd = jnp.split(self.head @ features.T + self.bias[:, None], 2)
        return mean, _LEAST_LOCAL_SD + jnp.exp(jnp.clip(log_sd, -10.0, 5.0))


class Noise(NamedTuple):
    """Standard normal numbers: shared [D, S], local [L, B, S, K]."""

    shared: jax.Array
    local: jax.Array


def noise_of(key: jax.Array, posterior: SharedPosterior, batch: int, *, shared_draws: int, draws: int) -> Noise:
    """Noise for S draws of what is shared and K of what is local."""
    one, two = jax.random.split(key)
    num_local = posterior.levels.counts[2]
    return Noise(jax.random.normal(one, (len(posterior.mean), shared_draws), jnp.float32), jax.random.normal(two, (num_local, batch, shared_draws, draws), jnp.float32))


def local_posterior(system: System, weights: Any, posterior: SharedPosterior, wells: Wells, times, above, *, steps: int) -> LocalGaussian:
    """q(z | y, x) for the draws of x in `above` [P − L, B, S] after Fisher scoring from the encoder's means; nothing is differentiated through it."""
    mean, _ = posterior.local(wells)
    start = jnp.broadcast_to(mean[:, :, None], (*mean.shape, above.shape[2]))
    return jax.tree.map(jax.lax.stop_gradient, refine(system, weights, above, start, wells, times, steps=steps))


def draw(system, weights, posterior, wells, times, noise, *, steps) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Draws for evaluation: above [P − L, B, S], local [L, B, S, K], log q of the local ones [B, S, K], and what more steps promise [B, S]."""
    above = posterior.above(noise.shared, wells.components)
    if steps:
        local = local_posterior(system, weights, posterior, wells, times, above, steps=steps)
        return above, *local.draw(noise.local), local.left
    mean, sd = (part[:, :, None, None] for part in posterior.local(wells))
    z = mean + sd * noise.local
    return above, z, log_normal(z, mean, sd).sum(0), jnp.zeros(above.shape[1:], jnp.float32)


def log_weights(system, weights, above, z, log_q, wells, times) -> jax.Array:
    """log p(y | z, x) + log p(z) − log q(z) [B, S, K] of local draws z [L, B, S, K] beside above [P − L, B, S]."""
    num_local, batch, shared_draws, draws = z.shape
    u = jnp.concatenate([jnp.broadcast_to(above[..., None], (len(above), *z.shape[1:])), z]).reshape(-1, batch, shared_draws * draws)
    likelihood = log_likelihood(predict(system, weights, u, wells, times), wells.signals, shared_draws * draws).sum(0)
    location, scale = (jnp.asarray(x[len(above) :])[:, None, None, None] for x in (system.levels.locations, system.levels.scales))
    return likelihood.reshape(batch, shared_draws, draws) + log_normal(z, location, scale).sum(0) - log_q


def objective(trained: Any, system: System, wells: Wells, times: np.ndarray, noise: Noise, *, steps: int, num_wells: float) -> tuple[jax.Array, jax.Array]:
    """What training ascends, and the bound per well (the first has a term by which the encoder learns from refined posteriors)."""
    posterior, weights = trained
    above = posterior.above(noise.shared, wells.components)
    mean, sd = (part[:, :, None, None] for part in posterior.local(wells))
    if steps:
        fixed = jax.tree.map(jax.lax.stop_gradient, (weights, posterior, above))
        z, log_q = local_posterior(system, *fixed[:2], wells, times, fixed[2], steps=steps).draw(noise.local)
    else:
        z = mean + sd * noise.local
        log_q = log_normal(z, mean, sd).sum(0)
    log_w = log_weights(system, weights, above, z, log_q, wells, times)
    value = bound(log_w).mean() - posterior.divergence() / num_wells
    if not steps:
        return value, value
    share = jax.lax.stop_gradient(jax.nn.softmax(log_w, axis=-1))
    return value + (share * log_normal(z, mean, sd).sum(0)).sum(-1).mean(), value


def pinned(posterior: SharedPosterior) -> SharedPosterior:
    """The posterior with what is shared fixed at its mean."""
    tiny, none = jnp.full_like(posterior.log_sd, -16.0), jnp.zeros_like(posterior.lower)
    return eqx.tree_at(lambda q: (q.log_sd, q.lower), posterior, (tiny, none))
