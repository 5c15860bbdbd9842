"""Single noisy paths: the likelihood by a particle filter, climbed by Adam in ln θ, with error bars from the observed information."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ssagrad.calibration.experiments import Experiment, Problem
from ssagrad.calibration.model_text import CalibrationError
from ssagrad.descents import Descents
from ssagrad.filtering import filtered, gaussian_noise, log_likelihood
from ssagrad.fitting import descend

_REPEATS, _MORE = 16, 4  # filters behind the error bars, and how many times as many particles they have
_RATE = 0.1  # of Adam, falling to 0 by a cosine
_LARGEST_CHANGE = np.log(1e4)  # of a parameter, from its first guess


class PathFit(NamedTuple):
    """End and history of a fit of single paths.

    descents: of M starts; losses are minus the log-likelihood. best: the start that was followed.
    estimates: ln θ [P]. information, scores: of ln θ there, by several filters [B, P, P] and [B, P].
    effective: smallest effective sample size of a filter at the estimates, over the number of particles.
    """

    descents: Descents
    estimates: np.ndarray
    information: np.ndarray
    scores: np.ndarray
    best: int
    effective: float


def fit_paths(
    key: jax.Array, problem: Problem, starts: np.ndarray, *, noise: float, num_particles: int, num_steps: int,
    checkpoint: str | os.PathLike | None, progress: str | None,
) -> PathFit:  # fmt: skip
    """Maximises the sum of the log-likelihoods of all replicates of all experiments.

    Args:
        starts: ln of first guesses [M, P]. noise: standard deviation of each measurement, in molecules.

    Raises:
        CalibrationError: no start has a likelihood.
    """
    loss = _loss(problem, noise, num_particles)
    begin = {name: starts[:, p] for p, name in enumerate(problem.free)}
    limits = ({name: problem.guess[p] - _LARGEST_CHANGE for p, name in enumerate(problem.free)},
              {name: problem.guess[p] + _LARGEST_CHANGE for p, name in enumerate(problem.free)})  # fmt: skip
    fit_key, end_key = jax.random.split(key)
    found = descend(
        fit_key, loss, begin, optimizer=optax.adam(optax.cosine_decay_schedule(_RATE, num_steps)), num_steps=num_steps, bounds=limits,
        on_failure="freeze", checkpoint=checkpoint, progress=progress,
    )  # fmt: skip
    last = max(1, num_steps // 10)
    ends = np.where(found.failed_at < 0, np.nan_to_num(found.losses[:, -last:], nan=np.inf).mean(1), np.inf)
    if not np.isfinite(ends).any():
        raise CalibrationError(
            f"no first guess has a likelihood: with noise {noise:g} no simulated path can have made the data; give better guesses, or larger noise"
        )
    best = int(np.argmin(ends))
    averaged = found.averaged(0.25)
    logs = np.array([averaged[name][best] for name in problem.free], float)
    seen = [_seen(jax.random.fold_in(end_key, repeat), problem, logs, noise, _MORE * num_particles) for repeat in range(_REPEATS)]
    matrices, scores, sizes = (np.array(part) for part in zip(*seen, strict=True))
    return PathFit(found, logs, matrices, scores, best, float(sizes.min()))


def _loss(problem: Problem, noise: float, num_particles: int) -> Callable:
    """Minus the log-likelihood as a function of (ln θ by name, key)."""

    def loss(logs, key):
        terms = []
        for number, one in enumerate(problem.experiments):
            parameters = one.at({name: jnp.exp(log) for name, log in logs.items()})
            own = jax.random.fold_in(key, number)
            terms.append(_over_replicates(log_likelihood, own, problem, one, parameters, noise, num_particles).sum())
        return -sum(terms)

    return loss


def _seen(key: jax.Array, problem: Problem, logs: np.ndarray, noise: float, num_particles: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Observed information of ln θ [P, P] (θ_p θ_q I_pq − δ_pq θ_p S_p), its score [P], and the smallest share of effective particles."""
    total, slopes, smallest, values = np.zeros((len(logs), len(logs))), np.zeros(len(logs)), 1.0, np.exp(logs)
    for number, one in enumerate(problem.experiments):
        parameters = one.at(dict(zip(problem.free, values, strict=True)))
        found = _over_replicates(filtered, jax.random.fold_in(key, number), problem, one, parameters, noise, num_particles)
        places = [sorted(parameters).index(name) for name in problem.free]
        score, matrix = (np.asarray(part, float).sum(0) for part in (found.score, found.information))
        part = np.outer(values, values) * matrix[np.ix_(places, places)] - np.diag(values * score[places])
        fitted = np.array([name not in one.pinned for name in problem.free])
        total += np.where(np.outer(fitted, fitted), part, 0)
        slopes += np.where(fitted, values * score[places], 0)
        smallest = min(smallest, float(np.asarray(found.effective_sample_sizes).min()) / num_particles)
    return total, slopes, smallest


def _over_replicates(
    function: Callable, key: jax.Array, problem: Problem, one: Experiment, parameters: dict, noise: float, num_particles: int
) -> Any:
    keys, observed = jax.random.split(key, len(one.counts)), jnp.asarray(one.counts, jnp.result_type(float))
    settings = {"noise": gaussian_noise(noise), "num_particles": num_particles, "species": problem.species}
    parameters = {name: jnp.asarray(value, jnp.result_type(float)) for name, value in parameters.items()}

    def of_one(key, values):
        return function(key, problem.network, parameters, one.initial_counts, one.times, values, **settings)

    return jax.vmap(of_one)(keys, observed)
