"""Wells that nobody looked at: predictions from components and treatments alone, and how data and predictions are put side by side."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.hierarchy.likelihood import Wells, predict, wells_of
from ssagrad.hierarchy.plate_reader import Experiment
from ssagrad.hierarchy.shared import SharedPosterior
from ssagrad.hierarchy.system import System


class Forecast(NamedTuple):
    """mean, low, high: mean and 5 % and 95 % quantiles of the signals over draws [N, 4, T], without noise."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def forecast(key: jax.Array, system: System, posterior: SharedPosterior, weights: Any, experiment: Experiment, local: np.ndarray, *, draws: int = 60) -> Forecast:
    """Signals of wells from their treatments and components only: what is shared from q(x), local latents from other wells.

    The published prediction of a held-out device lets the encoder see its series; this one does not.

    Args:
        experiment: its signals are not read. local: u of the local latents of other wells [n, L], of which one is taken at random for each draw.
    """
    one, two = jax.random.split(key)
    chosen = np.asarray(local, np.float32)[np.asarray(jax.random.randint(one, (draws,), 0, len(local)))]
    noise = jax.random.normal(two, (len(posterior.mean), draws), jnp.float32)
    wells = wells_of(experiment)
    mean = _mean(system, tuple(map(float, experiment.times)), posterior, weights, wells, noise, jnp.asarray(chosen.T))
    return Forecast(*(np.asarray(part) for part in (mean.mean(-1), *np.quantile(np.asarray(mean), [0.05, 0.95], axis=-1))))


@partial(jax.jit, static_argnums=(0, 1))
def _mean(system, times, posterior, weights, wells: Wells, noise, local):
    above = posterior.above(noise, wells.components)
    u = jnp.concatenate([above, jnp.broadcast_to(local[:, None], (len(local), *above.shape[1:]))])
    mean = predict(system, weights, u, wells, np.array(times, np.float32)).mean
    return jnp.transpose(mean.reshape(len(times), 4, *above.shape[1:]), (2, 1, 0, 3))


def with_components_of(experiment: Experiment, donor: Experiment) -> Experiment:
    """The same wells as if their device were made of what the donor's first well is made of."""
    return experiment._replace(components=np.repeat(donor.components[:1], experiment.num_wells, axis=0))


def device_means(experiment: Experiment, values: np.ndarray) -> np.ndarray:
    """Means over the wells of each device of values [N, ...]: [devices, ...]; nan for devices without wells."""
    means = np.full((len(experiment.device_names), *np.shape(values)[1:]), np.nan)
    for device in np.unique(experiment.devices):
        means[device] = np.asarray(values)[experiment.devices == device].mean(0)
    return means


def dose_response(experiment: Experiment, values: np.ndarray, *, treatment: int) -> tuple[np.ndarray, np.ndarray]:
    """Doses [K] of C6 (0) or C12 (1) and means of values [N, ...] over the wells that got them and none of the other [K, ...].

    Wells without either count as the lowest dose, written as a third of the smallest.
    """
    other = experiment.treatments[:, 1 - treatment] == 0
    doses = np.round(np.expm1(experiment.treatments[:, treatment].astype(float)), 4)
    levels = np.unique(doses[other])
    means = np.array([np.asarray(values)[other & (doses == level)].mean(0) for level in levels])
    shown = np.where(levels > 0, levels, levels[levels > 0].min() / 3 if (levels > 0).any() else 1.0)
    return shown, means


def dose_error(experiment: Experiment, mean: np.ndarray, *, signals: tuple[int, ...] = (2, 3)) -> float:
    """Root mean square error of predictions [N, 4, T] at the last time, over the wells and the given signals (YFP and CFP)."""
    off = (np.asarray(mean) - experiment.signals)[:, list(signals), -1]
    return float(np.sqrt((off**2).mean()))
