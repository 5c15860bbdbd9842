"""The fit of single noisy paths as a record like that of replicates."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ssagrad.calibration.experiments import Problem
from ssagrad.calibration.identifiability import describe_information
from ssagrad.calibration.path_fit import fit_paths
from ssagrad.calibration.record import Calibration, Progress, intervals_of

_FEW = 0.02  # of the particles


def by_filter(
    problem: Problem, seed: int, starts: np.ndarray, *, noise: float, num_steps: int, num_paths: int, curves: Callable[..., Any],
    checkpoint: str | os.PathLike | None, progress: str | None,
) -> Calibration:  # fmt: skip
    """Fits single paths; see `calibrate.fit`."""
    fit_key, curve_key = jax.random.split(jax.random.key(seed))
    found = fit_paths(
        fit_key, problem, starts, noise=noise, num_particles=num_paths, num_steps=num_steps, checkpoint=checkpoint, progress=progress
    )
    directions, covariance = describe_information(problem.free, found.information.mean(0), found.information)
    estimates, errors, intervals = intervals_of(problem.free, found.estimates, covariance)
    losses = found.descents.losses.astype(float)
    history = {name: np.exp(np.asarray(found.descents.parameters[name], float)) for name in problem.free}
    cost = np.broadcast_to(np.arange(1.0, losses.shape[1] + 1), losses.shape)
    warnings = list(problem.notes)
    if found.effective < _FEW:
        warnings.append(f"At one observation {100 * found.effective:.2g} % of the particles carry all the weight: more num_paths, or larger noise.")
    pull = found.scores.mean(0)
    ahead = pull @ np.where(np.isfinite(covariance), covariance, 0) @ pull
    noise_of_it = np.trace(np.where(np.isfinite(covariance), covariance, 0) @ np.atleast_2d(np.cov(found.scores.T))) / len(found.scores)
    if ahead - 2 * noise_of_it > 1:
        warnings.append(f"The likelihood still rises at the end, {np.sqrt(ahead):.2g} standard errors away from its top: more num_steps.")
    last = losses[found.best][-max(1, num_steps // 10) :]
    values = {name: float(value) for name, value in problem.experiments[0].at(estimates).items()}
    return Calibration(
        estimates, errors, intervals, covariance, "particle filter",
        f"particle filter of {num_paths} particles: noise of {noise:g} molecules was given, which is for single paths.", (), float(np.nanmean(last)),
        Progress(cost, "steps", losses, "minus the log-likelihood", None, history, found.best), directions, (), curves(curve_key, found.estimates),
        {}, found.effective, tuple(warnings), values, problem.species,
    )  # fmt: skip
