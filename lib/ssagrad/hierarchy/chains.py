"""The local latents of one well by Markov chains (NUTS), given what is shared: what amortised posteriors are measured against."""

from __future__ import annotations

import time
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.hierarchy.likelihood import log_likelihood, predict, wells_of
from ssagrad.hierarchy.levels import log_normal
from ssagrad.hierarchy.plate_reader import Experiment
from ssagrad.hierarchy.system import System


class Chain(NamedTuple):
    """Draws of the local latents u [n, L], seconds of processor and wall time (compilation included), the largest split R̂ of a latent.

    effective: the smallest effective number of draws of a latent.
    """

    draws: np.ndarray
    seconds: float
    wall: float
    r_hat: float
    effective: float


def sample_well(
    key: jax.Array, system: System, weights: Any, above: np.ndarray, start: np.ndarray, well: Experiment, *, warmup: int = 300, draws: int = 500
) -> Chain:
    """NUTS for one well in one chain, with the mass matrix found in the warm-up.

    Args:
        above: u of global and group latents [P − L]. start: u of the local ones [L]. well: an experiment of one well.

    Raises:
        ValueError: more than one well. ImportError: numpyro is missing.
    """
    try:
        with warnings.catch_warnings():  # about notebooks without widgets, from a bar that is not shown
            warnings.simplefilter("ignore")
            from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
            from numpyro.infer import MCMC, NUTS
    except ImportError as error:
        raise ImportError("Markov chains need numpyro: pip install 'ssagrad[hierarchy]'") from error
    if well.num_wells != 1:
        raise ValueError(f"expected one well, received {well.num_wells}")
    wells, fixed = wells_of(well), jnp.asarray(above, jnp.float32)
    location, scale = (jnp.asarray(x[len(above) :]) for x in (system.levels.locations, system.levels.scales))

    def potential(z):
        u = jnp.concatenate([fixed, z])[:, None, None]
        return -(log_likelihood(predict(system, weights, u, wells, well.times), wells.signals, 1).sum() + log_normal(z, location, scale).sum())

    began, processor = time.perf_counter(), time.process_time()
    sampler = MCMC(NUTS(potential_fn=potential, dense_mass=True, target_accept_prob=0.9), num_warmup=warmup, num_samples=draws, progress_bar=False)
    sampler.run(key, init_params=jnp.asarray(start, jnp.float32))
    found = np.asarray(sampler.get_samples())
    seconds, wall = time.process_time() - processor, time.perf_counter() - began
    return Chain(found, seconds, wall, float(np.max(split_gelman_rubin(found[None]))), float(np.min(effective_sample_size(found[None]))))
