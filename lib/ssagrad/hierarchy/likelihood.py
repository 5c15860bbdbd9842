"""The data given draws of the latents: predictions of a system for batches of wells, and their Gaussian log-likelihood."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.hierarchy.integrate import Prediction
from ssagrad.hierarchy.plate_reader import Experiment
from ssagrad.hierarchy.system import System

_LOG_TWO_PI = float(np.log(2 * np.pi))


class Wells(NamedTuple):
    """A batch: signals [B, 4, T], treatments [B, 2], components [B, C]."""

    signals: jax.Array
    treatments: jax.Array
    components: jax.Array


def wells_of(experiment: Experiment) -> Wells:
    """The wells of an experiment as arrays of JAX."""
    return Wells(*(jnp.asarray(x, jnp.float32) for x in (experiment.signals, experiment.treatments, experiment.components)))


def predict(system: System, weights: Any, u: jax.Array, wells: Wells, times: np.ndarray) -> Prediction:
    """The observations of draws u [P, B, K]: lanes in the order of wells, then draws; treatments and components are spread by axis."""
    _, batch, draws = u.shape
    spread = lambda rows: jnp.broadcast_to(rows.T[:, :, None], (rows.shape[1], batch, draws)).reshape(rows.shape[1], -1)
    return system.solve(weights, u.reshape(len(u), -1), spread(wells.treatments), spread(wells.components), times)


def log_likelihood(prediction: Prediction, signals: jax.Array, draws: int) -> jax.Array:
    """Independent Gaussian errors: log p(y | u) by signal [4, B, K]."""
    batch, num_signals, num_times = signals.shape
    mean = prediction.mean.reshape(num_times, num_signals, batch, draws)
    variance = prediction.variance.reshape(-1, num_signals, batch, draws)
    squares = (jnp.transpose(signals, (2, 1, 0))[..., None] - mean) ** 2
    if len(variance) == 1:
        return -0.5 * (squares.sum(0) / variance[0] + num_times * (jnp.log(variance[0]) + _LOG_TWO_PI))
    return -0.5 * (squares / variance + jnp.log(variance) + _LOG_TWO_PI).sum(0)
