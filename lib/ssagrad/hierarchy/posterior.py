"""Approximate posteriors: every latent is Gaussian in u, with correlations where the family has them.

    u_global = m + L ε_global,   u_group = W g + s ε_group,   u_local = m(y, g) + C(y, g) ε_global,group + L(y, g) ε_local

"mean-field" (the published one): L diagonal, C = 0, free numbers m, L for global latents, linear in the components g for group latents, and linear in
the encoder's features of the series y and in g for local ones. "full": L lower triangular, and C.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.hierarchy.encoder import NUM_FEATURES, Encoder, eqx
from ssagrad.hierarchy.levels import Levels

FAMILIES = ("mean-field", "full")
_HALF_LOG_TWO_PI = float(0.5 * np.log(2 * np.pi))
_PUBLISHED_LIMIT = 30.0  # of log standard deviations, against overflow in a first step


class Gaussian(NamedTuple):
    """The posterior of a batch of wells: u = mean + factor ε, with a lower triangular factor.

    mean: [P, B]. shared: Cholesky factor of the global latents [G, G]. group_sd: [Y, B]. coupling: of local latents to ε of the levels above
    [L, G + Y, B]. local: factor of the local latents [L, L, B].
    """

    mean: jax.Array
    shared: jax.Array
    group_sd: jax.Array
    coupling: jax.Array
    local: jax.Array

    def draw(self, noise: jax.Array) -> jax.Array:
        """u [P, B, K] from standard normal noise [P, B, K]."""
        num_global, above = self.shared.shape[0], self.coupling.shape[1]
        top, middle, bottom = noise[:num_global], noise[num_global:above], noise[above:]
        parts = [
            jnp.einsum("ij,jbk->ibk", self.shared, top),
            self.group_sd[:, :, None] * middle,
            jnp.einsum("ijb,jbk->ibk", self.coupling, noise[:above]) + jnp.einsum("ijb,jbk->ibk", self.local, bottom),
        ]
        return self.mean[:, :, None] + jnp.concatenate(parts)

    def log_density(self, u: jax.Array) -> jax.Array:
        """log q(u) of u [P, B, K], summed over latents: [B, K]."""
        num_global, above = self.shared.shape[0], self.coupling.shape[1]
        off = u - self.mean[:, :, None]
        top = off[:num_global]
        if num_global:
            top = jax.scipy.linalg.solve_triangular(self.shared, top.reshape(num_global, -1), lower=True).reshape(top.shape)
        noise = jnp.concatenate([top, off[num_global:above] / self.group_sd[:, :, None]])
        rest = off[above:] - jnp.einsum("ijb,jbk->ibk", self.coupling, noise)
        local = []
        for i in range(rest.shape[0]):  # forward substitution: a handful of local latents
            known = sum((self.local[i, j][:, None] * local[j] for j in range(i)), jnp.zeros_like(rest[i]))
            local.append((rest[i] - known) / self.local[i, i][:, None])
        squares = (noise**2).sum(0) + sum(one**2 for one in local)
        return -0.5 * squares - self.log_volume()[:, None] - _HALF_LOG_TWO_PI * u.shape[0]

    def log_volume(self) -> jax.Array:
        """log determinant of the factor [B]."""
        local = jnp.log(jnp.diagonal(self.local, axis1=0, axis2=1)).sum(1)
        return jnp.log(jnp.diagonal(self.shared)).sum() + jnp.log(self.group_sd).sum(0) + local


class Posterior(eqx.Module):
    """What the posterior learns: the encoder, and maps from features and components to a `Gaussian`."""

    encoder: Encoder
    shared_mean: jax.Array
    shared_log_sd: jax.Array
    shared_lower: jax.Array
    group_mean: jax.Array
    group_log_sd: jax.Array
    local_head: jax.Array
    local_bias: jax.Array
    counts: tuple = eqx.field(static=True)
    family: str = eqx.field(static=True)

    def __init__(self, key, levels: Levels, num_signals: int, num_times: int, num_components: int, *, family="mean-field", sees="differences", start_sd=None):
        if family not in FAMILIES:
            raise ValueError(f"expected a family of posteriors among {FAMILIES}, received {family!r}")
        keys = jax.random.split(key, 5)
        num_global, num_group, num_local = self.counts = levels.counts
        self.family = family
        self.encoder = Encoder(keys[0], num_signals, num_times, sees=sees)
        published = [0.0 if latent.scale_given_as == "sigma" else np.log(latent.scale) for latent in levels.latents]
        start = np.array(published if start_sd is None else np.full(len(published), np.log(start_sd)), np.float32)
        above = num_global + num_group
        self.shared_mean = jnp.asarray(levels.locations[:num_global])
        self.shared_log_sd = jnp.asarray(start[:num_global])
        full = family == "full"
        self.shared_lower = jnp.zeros((num_global, num_global) if full else (0, 0), jnp.float32)
        width = 1 / np.sqrt(num_components)
        self.group_mean = jax.random.uniform(keys[1], (num_group, num_components), jnp.float32, -width, width)
        self.group_log_sd = jax.random.uniform(keys[2], (num_group, num_components), jnp.float32, -width, width) / 2
        outputs = num_local * (2 + (num_local + above if full else 0))
        inputs = NUM_FEATURES + num_components
        scale = np.full((outputs, 1), 1 / np.sqrt(inputs), np.float32)
        scale[2 * num_local :] *= 0.01
        self.local_head = jax.random.uniform(keys[3], (outputs, inputs), jnp.float32, -1, 1) * scale
        bias = np.zeros(outputs, np.float32)
        bias[:num_local], bias[num_local : 2 * num_local] = levels.locations[above:], start[above:]
        self.local_bias = jnp.asarray(bias)

    def __call__(self, signals: jax.Array, treatments: jax.Array, components: jax.Array) -> Gaussian:
        """The posterior of wells: signals [B, 4, T], treatments [B, 2], components [B, C]."""
        num_global, num_group, num_local = self.counts
        above, batch = num_global + num_group, signals.shape[0]
        features = jnp.concatenate([self.encoder(signals, treatments), components], axis=1)
        outputs = self.local_head @ features.T + self.local_bias[:, None]
        local_sd = jnp.exp(jnp.clip(outputs[num_local : 2 * num_local], -_PUBLISHED_LIMIT, _PUBLISHED_LIMIT))
        shared = jnp.diag(jnp.exp(self.shared_log_sd))
        local = jnp.eye(num_local, dtype=jnp.float32)[:, :, None] * local_sd[None]
        coupling = jnp.zeros((num_local, above, batch), jnp.float32)
        if self.family == "full":
            shared = shared + jnp.tril(self.shared_lower, -1)
            rest = outputs[2 * num_local :].reshape(num_local, num_local + above, batch)
            lower = np.tril(np.ones((num_local, num_local), np.float32), -1)[:, :, None]
            local = local + rest[:, :num_local] * lower * local_sd[:, None]
            coupling = rest[:, num_local:] * local_sd[:, None]
        group_mean = self.group_mean @ components.T
        mean = jnp.concatenate([jnp.broadcast_to(self.shared_mean[:, None], (num_global, batch)), group_mean, outputs[:num_local]])
        return Gaussian(mean, shared, jnp.exp(self.group_log_sd @ components.T), coupling, local)
