"""Gauss–Newton on moments: from several first guesses over growing horizons, and from the best of their ends with more paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ssagrad.calibration.choice import Choice
from ssagrad.calibration.experiments import Problem, joint_ensemble
from ssagrad.calibration.identifiability import UNDETERMINED
from ssagrad.calibration.model_text import CalibrationError
from ssagrad.calibration.targets import Targets
from ssagrad.checkpoint import load_checkpoint, save_checkpoint
from ssagrad.matching import Matches, match_moments

HORIZONS = (0.25,) * 3 + (0.5,) * 3 + (1.0,) * 4  # shares of the time that the steps of the first stage look at
_AVERAGED = 4  # last steps, whose paths together make the error bars
_MORE_PATHS = 4  # times as many in the second stage
_QUIET = ("exact", "dynkin_controls")  # gradients whose noise is small beside that of data


class MomentFit(NamedTuple):
    """History and end of a fit.

    logs: ln θ of M starts before each step and after the last [M, K + 1, P]. events: simulated in each step [M, K].
    misfits: Q times N over the number of means compared, about 1 at a model that is right [M, K]; nan after a failure.
    misfit: at the end. estimates: ln θ [P]. covariance: of them [P, P]. best: the start that was followed.
    """

    logs: np.ndarray
    misfits: np.ndarray
    events: np.ndarray
    misfit: float
    estimates: np.ndarray
    covariance: np.ndarray
    best: int


def fit_moments(
    key: jax.Array, problem: Problem, targets: Targets, choice: Choice, starts: np.ndarray, *, num_paths: int,
    save: Callable[[Mapping[str, np.ndarray]], None], done: Mapping[str, np.ndarray], progress: str | None,
) -> MomentFit:  # fmt: skip
    """Runs the stages that are not among those done, and saves each.

    The first takes all starts over growing horizons. A second one goes on from the best end with four times as many paths; it is left out where
    gradients have little noise and the end has come to rest.

    Args:
        starts: ln of first guesses [M, P]. num_paths: simulated in each step of each experiment.
        save: takes the arrays of all stages done. done: what it took last, empty at the beginning.

    Raises:
        CalibrationError: no start stayed finite.
    """
    arrays = dict(done)

    def stage(number, label, begin, horizons, paths):
        if f"{number}.logs" not in arrays:
            ensemble = joint_ensemble(problem, targets.centres, targets.second, choice.ensembles(problem, paths))
            options = {"horizons": horizons, "num_averaged": _AVERAGED, "factor": 1e4} | ({"progress": f"{progress}: {label}"} if progress else {})
            guesses = dict(zip(problem.free, np.exp(begin).T, strict=True))
            found = match_moments(jax.random.fold_in(key, number), ensemble, guesses, targets.observed(), **options)
            arrays.update({f"{number}.{name}": values for name, values in _arrays(found, problem.free, len(targets.rows)).items()})
            save(arrays)
        return {name: arrays[f"{number}.{name}"] for name in ("logs", "misfits", "events", "estimates", "covariances")}

    earliest = targets.times[(targets.errors > 0).any(1)][0] / targets.times[-1]
    first = stage(0, "all starts", starts, tuple(max(horizon, earliest) for horizon in HORIZONS), num_paths)
    ends = first["misfits"][:, -2:].mean(1)
    if np.isnan(ends).all():
        raise CalibrationError(
            "no first guess led to finite moments: simulations fail on the way (populations that explode, rates that are impossible?); "
            "give first guesses nearer to the data, or a smaller spread"
        )
    best = row = int(np.nanargmin(ends))
    last = first
    if choice.name not in _QUIET or not _rests(first, best):
        last, row = stage(1, "best start", first["logs"][best : best + 1, -1], (1.0,) * (_AVERAGED + 2), _MORE_PATHS * num_paths), 0
    if not np.isfinite(last["misfits"][row]).all():
        raise CalibrationError("the last stage came to parameters whose moments are not finite; give better first guesses, or fewer free parameters")
    ends, covariance = last["estimates"][row], last["covariances"][row]
    if not (np.diag(covariance) < UNDETERMINED**2).all():
        ends = last["logs"][row, -1]  # the undamped last step leads anywhere along what the data leave open
    return MomentFit(first["logs"], first["misfits"], first["events"], float(last["misfits"][row, -_AVERAGED:].mean()), ends, covariance, best)


def _arrays(found: Matches, free: tuple[str, ...], number: int) -> dict[str, np.ndarray]:
    """A stage as arrays; a mapping's leaves, and with them the covariances, are sorted by name."""
    logs, ends = (np.stack([np.log(np.asarray(part[name], float)) for name in free], axis=-1) for part in (found.parameters, found.estimates))
    order = [sorted(free).index(name) for name in free]
    steps = np.arange(found.misfits.shape[1])
    failed = (found.failed_at[:, None] >= 0) & (steps >= found.failed_at[:, None])
    misfits = np.where(failed, np.nan, found.misfits * number)
    return {"logs": logs, "misfits": misfits, "events": found.events, "estimates": ends, "covariances": found.covariances[:, order][:, :, order]}


def _rests(stage: Mapping[str, np.ndarray], best: int) -> bool:
    """Whether the last steps moved by less than a standard error."""
    errors = np.sqrt(np.maximum(np.diag(stage["covariances"][best]), 0))
    moved = np.abs(stage["logs"][best, -1] - stage["logs"][best, -_AVERAGED])
    return bool(np.isfinite(errors).all() and (moved < np.maximum(errors, 1e-4)).all())


def stages_file(path: str | os.PathLike | None, facts: Mapping[str, str]) -> tuple[Callable[[Mapping[str, Any]], None], dict[str, Any]]:
    """What writes the stages done to a file, and those that it holds; without a path, nothing."""
    if path is None:
        return lambda arrays: None, {}
    return lambda arrays: save_checkpoint(path, facts, arrays), load_checkpoint(path, facts) or {}
