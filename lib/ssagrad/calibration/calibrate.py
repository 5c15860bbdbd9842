"""From a model, counts and the names of free parameters to estimates with error bars and a diagnosis."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.calibration.choice import Choice, check_options, choose
from ssagrad.calibration.experiments import Problem, as_problem, joint_ensemble
from ssagrad.calibration.identifiability import Information, information
from ssagrad.calibration.model_text import CalibrationError, read_model
from ssagrad.calibration.moment_fit import MomentFit, fit_moments, stages_file
from ssagrad.calibration.record import Calibration, Fitted, Progress, Residual, half_widths, intervals_of, largest_misfit
from ssagrad.calibration.targets import Targets, targets_of
from ssagrad.checkpoint import describe
from ssagrad.network import Network
from ssagrad.observations import Moments, Observations
from ssagrad.simulate import simulate

_CURVE_POINTS, _CURVE_PATHS, _FOR_QUANTILES = 60, 1000, 20
_FEW = 10  # replicates
_ATTEMPTS = 4  # with listed states, before simulation takes over


def fit(
    model: Any, observations: Observations | str | os.PathLike, *, free: Sequence[str], estimator: str = "auto", seed: int = 0,
    conditions: Mapping[str, Any] | None = None, noise: float | None = None, num_starts: int = 4, spread: float = 0.7, num_paths: int = 256,
    num_steps: int = 150, second_moments: bool | None = None, intervals: str = "sandwich", checkpoint: str | os.PathLike | None = None,
    progress: str | None = None,
) -> Calibration:  # fmt: skip
    """Fits rate constants to counts.

        >>> from ssagrad.calibration import fit, model_from_text
        >>> model = model_from_text("0 -> X @ birth; X -> 0 @ death; birth = 4; death = 0.5")
        >>> counts = {"time": [1] * 6 + [4] * 6, "replicate": list(range(12)), "X": [8, 11, 9, 7, 12, 10, 21, 18, 25, 20, 17, 22]}
        >>> found = fit(model, Observations.from_table(counts), free=("birth", "death"))
        >>> found.estimator
        'exact'
        >>> low, high = found.intervals["birth"]
        >>> bool(8 < low < found.estimates["birth"] < high < 18)
        True

    **Replicates** (several under a condition; each seen once or often): Gauss–Newton on means over replicates, and on variances and covariances
    where there are enough (`ssagrad.matching`), on the logarithm of the parameters, from several first guesses. Error bars count the scatter of
    the data and that of the simulation. **Single paths** (`noise` given): likelihood by a particle filter (`ssagrad.filtering`), which counts
    what every path says at every time; error bars from the observed information.

    **Gradients** (`estimator`): "auto" takes exact ones, from the truncated master equation, where few states can be reached, else those of the
    estimator with the most precision per second in a pilot; `Calibration.why` says which and why. By name: "exact", "dynkin_controls",
    "score_function", "forked_path", "coupled_difference"; biased: "gumbel_softmax", "propensity_straight_through".

    Args:
        model: `ModelText`, what `ssagrad.sbml.read` returns, or anything with network, parameters and initial_counts; or the path of such a file.
        observations: `Observations`, or the path of a CSV file of them. Counts at time 0 are not fitted.
        free: parameters to fit; the model's values are first guesses, the others stay as they are.
        seed: of all random numbers.
        conditions: what is different under the conditions of the data, {name: {"parameters": {…}, "initial_counts": {…}}}.
        noise: standard deviation of a measurement, in molecules (for exact counts of a path about 1): fits single paths.
        num_starts: first guesses: the model's and others, normal around it in the logarithm with standard deviation `spread`.
        num_paths: simulated in each step and for each condition, four times as many in the last stage; or particles of the filter.
        num_steps: of Adam, for single paths.
        second_moments: compare variances and covariances too; default: where half of the means have 30 replicates.
        intervals: "sandwich" from the covariance, symmetric in the logarithm; or "profile" (of replicates), which follows moments that bend: how far
            a parameter can go, the others fitted anew; costs as much again as the fit, with simulated gradients many times as much.
        checkpoint: path of an .npz file; if it is there, the fit goes on from its last stage.
        progress: label of bars over steps.

    Raises:
        CalibrationError: names, numbers or data that cannot be fitted. ObservationsError, NetworkError: of the files. ValueError: a checkpoint of
        another fit.
    """
    check_options(
        estimator=estimator, seed=seed, noise=noise, num_starts=num_starts, spread=spread, num_paths=num_paths, num_steps=num_steps
    )
    if intervals not in (("sandwich", "profile") if noise is None else ("sandwich",)):
        raise CalibrationError(f"expected intervals 'sandwich', or 'profile' for replicates (no noise), received '{intervals}'")
    model = read_model(model) if isinstance(model, (str, os.PathLike)) else model
    if not isinstance(observations, Observations):
        observations = Observations.read(observations, noisy=noise is not None)
    problem = as_problem(model, observations, free, conditions)
    starts = _starts(problem, seed, num_starts, spread)
    options = {"num_paths": num_paths, "checkpoint": checkpoint, "progress": progress}
    try:
        if noise is None:
            return _by_moments(problem, estimator, seed, starts, second_moments, intervals == "profile", **options)
        from ssagrad.calibration.single_paths import by_filter

        return by_filter(problem, seed, starts, noise=float(noise), num_steps=num_steps, curves=partial(curves, problem), **options)
    except KeyboardInterrupt:
        where = f"The steps that are done are in {os.fspath(checkpoint)}: the same call goes on from there." if checkpoint else "Nothing was kept."
        print(f"\nFit stopped. {where}", file=sys.stderr)
        raise


def _by_moments(
    problem: Problem, estimator: str, seed: int, starts: np.ndarray, second: bool | None, profile: bool, *, num_paths: int, checkpoint: Any,
    progress: str | None,
) -> Calibration:  # fmt: skip
    choice_key, fit_key, end_key, curve_key = jax.random.split(jax.random.key(seed), 4)
    targets = targets_of(problem, second=second)
    facts = {"data": describe(targets.rows), "starts": describe(starts), "free": ", ".join(problem.free), "network": _reactions(problem.network)}
    fixed = [(one.name, sorted(one.parameters.items()), one.initial_counts.tolist()) for one in problem.experiments]
    facts |= {"settings": f"{estimator}, seed {seed}, {num_paths} paths", "experiments": repr(fixed)}
    save, done = stages_file(checkpoint, facts)
    chosen = str(done.pop("estimator", estimator))  # a pilot measures seconds: its choice is kept
    choice = choose(choice_key, problem, chosen, starts, num_paths=num_paths)
    keep = lambda arrays: save({**arrays, "estimator": np.array(choice.name)})  # noqa: E731
    keep(done)
    for attempt in range(_ATTEMPTS):
        found = fit_moments(
            jax.random.fold_in(fit_key, attempt), problem, targets, choice, starts, num_paths=num_paths, save=keep, done=done, progress=progress
        )
        if not (lost := choice.loses(problem, found.estimates)):
            break
        if estimator == "exact" and attempt == _ATTEMPTS - 1:
            raise CalibrationError(f"the fit left the states that were listed: {lost}; give better first guesses, or use 'auto'")
        starts, done = found.estimates[None], {}
        choice = choose(choice_key, problem, "exact" if attempt < _ATTEMPTS - 2 else "dynkin_controls", starts)
        if choice.name != "exact":
            choice = choice._replace(why="dynkin_controls: the fit left the states that can be listed for exact gradients.")
    joint = joint_ensemble(problem, targets.centres, targets.second, choice.ensembles(problem, 4 * num_paths))
    seen = information(end_key, joint, problem.free, found.estimates, targets)
    record = _record(problem, targets, choice, found, seen, curves(problem, curve_key, found.estimates))
    if not profile:
        return record
    from ssagrad.calibration.profile import profile_intervals

    ends = profile_intervals(jax.random.fold_in(end_key, 1), joint, problem.free, found.estimates, targets, record.covariance)
    return dataclasses.replace(record, intervals=ends)


def _reactions(network: Network) -> str:
    """All that the reactions say, to the last digit, and with the formulas of laws that are functions."""
    return repr((network.species, [part._replace(propensity=_law(part.propensity), change=_law(part.change)) for part in network.reactions]))


def _law(function: Any) -> str:
    """A function as text that is another one for another formula, and the same in another process: that of the formula, or a short hash of code."""
    function = inspect.unwrap(function) if callable(function) else function
    if (code := getattr(function, "__code__", None)) is None:
        return str(function)
    inner = [_law(SimpleNamespace(__code__=one)) if hasattr(one, "co_code") else repr(one) for one in code.co_consts]
    held = [repr(cell.cell_contents) for cell in getattr(function, "__closure__", None) or ()]
    return f"code {hashlib.sha256(repr((code.co_code, code.co_names, inner, held)).encode()).hexdigest()[:12]}"


def _record(problem: Problem, targets: Targets, choice: Choice, found: MomentFit, seen: Information, fitted: tuple[Fitted, ...]) -> Calibration:
    sandwich = found.covariance if np.isfinite(found.covariance).all() and all(one.is_determined for one in seen.directions) else seen.covariance
    estimates, errors, intervals = intervals_of(problem.free, found.estimates, sandwich, freedom=targets.replicates - 1)
    compared = (targets.errors > 0).sum()
    warnings = [*problem.notes, *targets.notes, *([choice.warning] if choice.warning else [])]
    if targets.replicates < _FEW:
        warnings.append(
            f"{targets.replicates:g} replicates at a time know their scatter badly: intervals are those of Student's t with "
            f"{targets.replicates - 1:g} degrees of freedom, and still too narrow where replicates are paths seen at many times; a misfit has to be "
            "large to say something."
        )
    if compared <= len(problem.free):
        warnings.append(f"{compared} moments are compared to fit {len(problem.free)} parameters: the misfit says nothing about the model.")
    elif found.misfit > largest_misfit(int(compared), targets.replicates - 1):
        warnings.append(f"The moments differ by {np.sqrt(found.misfit):.2g} standard errors on average: the model does not describe the data.")
    if (seen.noise > 0.3).any():
        loud = [name for name, noise in zip(problem.free, seen.noise, strict=True) if noise > 0.3]
        warnings.append(f"Gradients in {', '.join(loud)} are mostly noise: more num_paths, or another estimator.")
    residuals = []
    for number, one in enumerate(problem.experiments):
        rows = targets.experiments == number
        for k, moment in enumerate(targets.moments):
            there = rows & np.isfinite(seen.z[:, k])
            residuals += [Residual(one.name, moment, targets.times[there], seen.z[there, k])] if there.any() else []
    counted = choice.name != "exact"
    cost = np.cumsum(found.events, axis=1) if counted else np.broadcast_to(np.arange(1.0, found.misfits.shape[1] + 1), found.misfits.shape)
    history = {name: np.exp(found.logs[:, :, p]) for p, name in enumerate(problem.free)}
    unit = "events simulated" if counted else "steps"
    progress = Progress(cost, unit, found.misfits, "misfit (about 1 if right)", 1.0, history, found.best)
    noise = dict(zip(problem.free, seen.noise.tolist(), strict=True)) if counted else {}
    values = {name: float(value) for name, value in problem.experiments[0].at(estimates).items()}
    return Calibration(
        estimates, errors, intervals, sandwich, choice.name, choice.why, choice.rows, found.misfit, progress, seen.directions, tuple(residuals),
        fitted, noise, seen.paths, tuple(warnings), values, problem.species,
    )  # fmt: skip


def curves(problem: Problem, key: jax.Array, logs: np.ndarray) -> tuple[Fitted, ...]:
    """Paths of the fitted model, beside the data of each condition."""
    found = []
    for number, one in enumerate(problem.experiments):
        parameters = {name: jnp.asarray(value, jnp.float32) for name, value in one.at(dict(zip(problem.free, np.exp(logs), strict=True))).items()}
        times = np.linspace(0, one.times[-1], _CURVE_POINTS + 1)
        paths = simulate(jax.random.fold_in(key, number), problem.network, parameters, one.initial_counts, times, num_paths=_CURVE_PATHS)
        counts = np.asarray(paths.counts[..., list(problem.observed)], float)
        low, high = np.quantile(counts, (0.05, 0.95), axis=0)
        data = Moments.of(one.times, one.counts)
        enough = data.numbers >= _FOR_QUANTILES
        data_low, data_high = (np.where(enough, edge, np.nan) for edge in np.nanquantile(np.where(enough, one.counts, 0), (0.05, 0.95), axis=0))
        found.append(Fitted(one.name, times, counts.mean(0), low, high, one.times, data.means, half_widths(data), data_low, data_high))
    return tuple(found)


def _starts(problem: Problem, seed: int, number: int, spread: float) -> np.ndarray:
    """ln of first guesses [M, P], the model's own first."""
    steps = np.random.default_rng(seed).normal(0, spread, (number, len(problem.free)))
    steps[0] = 0
    return problem.guess + np.clip(steps, -2 * spread, 2 * spread)
