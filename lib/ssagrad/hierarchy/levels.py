"""Latent parameters of a hierarchical model as data: each has a level, a prior family and two numbers.

Everything is computed in the *unconstrained* coordinate u of a parameter: its logarithm where the prior is log-normal, itself where it is normal. Both
families are then Gaussian in u, and log p − log q is the same in either coordinate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LEVELS = ("global", "group", "local")
FAMILIES = ("normal", "lognormal")
CLIP = 4.0  # prior standard deviations beyond which a draw enters the differential equation as if it were there
_LOG_TWO_PI = float(np.log(2 * np.pi))


class Latent(NamedTuple):
    """One latent parameter.

    level: "global" (one value for the experiment), "group" (one for each combination of components) or "local" (one for each well).
    family: "normal" or "lognormal". location, scale: mean and standard deviation of the parameter, or of its logarithm.
    scale_given_as: how the prior was published; where it was a "sigma", the published posterior starts at a standard deviation of 1.
    """

    name: str
    level: str
    family: str
    location: float
    scale: float
    scale_given_as: str = "sigma"


class Levels(NamedTuple):
    """The latents of a model, ordered global, group, local. Arrays over latents have P entries in this order."""

    latents: tuple[Latent, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the P latents."""
        return tuple(latent.name for latent in self.latents)

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many are global, group and local."""
        return tuple(sum(latent.level == level for latent in self.latents) for level in LEVELS)

    @property
    def locations(self) -> np.ndarray:
        """Prior means of u [P]."""
        return np.array([latent.location for latent in self.latents], np.float32)

    @property
    def scales(self) -> np.ndarray:
        """Prior standard deviations of u [P]."""
        return np.array([latent.scale for latent in self.latents], np.float32)

    @property
    def is_logarithm(self) -> np.ndarray:
        """Whether u is the logarithm of the parameter, bool [P]."""
        return np.array([latent.family == "lognormal" for latent in self.latents])

    def index(self, name: str) -> int:
        """The place of a latent in arrays over latents."""
        return self.names.index(name)

    def values(self, u: jax.Array) -> dict[str, jax.Array]:
        """The parameters by name, from u [P, ...], for any trailing axes."""
        return {latent.name: jnp.exp(u[i]) if latent.family == "lognormal" else u[i] for i, latent in enumerate(self.latents)}

    def clipped(self, u: jax.Array) -> jax.Array:
        """u [P, ...] within four prior standard deviations of the prior mean: what enters the differential equation, never a density."""
        location, scale = (_beside(x, u) for x in (self.locations, self.scales))
        return jnp.clip(u, location - CLIP * scale, location + CLIP * scale)

    def log_prior(self, u: jax.Array) -> jax.Array:
        """log p(u), summed over the leading axis of u [P, ...], at the draw as it is."""
        return log_normal(u, _beside(self.locations, u), _beside(self.scales, u)).sum(0)

    def log_prior_above(self, u: jax.Array) -> jax.Array:
        """The part of `log_prior` that global and group latents have."""
        num_above = len(self.latents) - self.counts[2]
        return Levels(self.latents[:num_above]).log_prior(u[:num_above]) if num_above else jnp.zeros(u.shape[1:], u.dtype)


def levels_of(latents: Sequence[Latent]) -> Levels:
    """Orders latents by level and checks them.

    Raises:
        ValueError: an unknown level or family, a scale that is not positive, a name that is given twice.
    """
    for latent in latents:
        if latent.level not in LEVELS or latent.family not in FAMILIES:
            raise ValueError(f"latent {latent.name}: expected a level among {LEVELS} and a family among {FAMILIES}, received {latent.level}, {latent.family}")
        if not latent.scale > 0:
            raise ValueError(f"latent {latent.name}: expected a scale > 0, received {latent.scale}; precisions have to be turned into standard deviations")
    names = [latent.name for latent in latents]
    if len(set(names)) < len(names):
        raise ValueError(f"expected each name once, received {sorted(name for name in set(names) if names.count(name) > 1)} more than once")
    return Levels(tuple(sorted(latents, key=lambda latent: LEVELS.index(latent.level))))


def log_normal(value: jax.Array, mean: jax.Array, sd: jax.Array) -> jax.Array:
    """Log density of a normal distribution, elementwise, for arrays of one shape or that broadcast axis by axis."""
    return -0.5 * ((value - mean) / sd) ** 2 - jnp.log(sd) - 0.5 * _LOG_TWO_PI


def _beside(array: np.ndarray, u: jax.Array) -> jax.Array:
    return jnp.asarray(array).reshape(-1, *[1] * (u.ndim - 1))
