"""Which gradients a fit uses: exact ones where the states can be listed, else those of the estimator that a short pilot finds most efficient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from ssagrad import estimators
from ssagrad.calibration.experiments import Problem
from ssagrad.calibration.model_text import CalibrationError
from ssagrad.estimators.comparison import Row
from ssagrad.exact import MasterEquation, TruncationError
from ssagrad.exact.states import state_rates
from ssagrad.lyapunov import tangent_growth
from ssagrad.network import NetworkError
from ssagrad.simulate import SimulationError, simulate


def _dynkin_controls(*arguments: Any, num_paths: int, **options: Any) -> Any:
    """With fewer batches of paths where there are few paths, 4 in each."""
    return estimators.dynkin_controls(*arguments, num_paths=num_paths, num_batches=min(32, num_paths // 16 * 4), **options)


def _straight_through(*arguments: Any, estimator: Callable, **options: Any) -> Any:
    """Derivatives of counts averaged over a tenth of the observed time."""
    return estimator(*arguments, cutoff=float(arguments[-1][-1]) / 10, **options)


ESTIMATORS = {
    "dynkin_controls": _dynkin_controls,
    "score_function": estimators.score_function,
    "forked_path": estimators.forked_path,
    "coupled_difference": estimators.coupled_difference,
    "gumbel_softmax": partial(_straight_through, estimator=estimators.gumbel_softmax, temperature=0.5),
    "propensity_straight_through": partial(_straight_through, estimator=estimators.propensity_straight_through),
}
BIASED = ("gumbel_softmax", "propensity_straight_through")
_PILOTS = ("dynkin_controls", "score_function")
_MOST_STATES = 5_000
_MOST_EVENTS = 100_000
_MOST_WORK = 3e7  # states × reactions × events of one solution, a tenth of a second
_LOST = 1e-3  # probability that a truncation may lose: a bias beside which data have larger errors
_REPETITIONS = 3
_NOT_POSSIBLE = (ValueError, NotImplementedError, RuntimeError, FloatingPointError, KeyError, TypeError)


class Choice(NamedTuple):
    """Where gradients come from.

    name: "exact" or one of ESTIMATORS. why: in words. masters: the master equation of each experiment, if exact. rows: of the pilot, if any.
    warning: what speaks against straight-through gradients on this network, if anything.
    """

    name: str
    why: str
    masters: tuple[MasterEquation, ...] = ()
    rows: tuple[Row, ...] = ()
    warning: str = ""

    def ensembles(self, problem: Problem, num_paths: int) -> list[Callable]:
        """For each experiment, from all parameters and a key to an ensemble."""
        if self.name == "exact":
            pairs = zip(self.masters, problem.experiments, strict=True)
            return [partial(_exact, master=master, times=one.times) for master, one in pairs]
        made = ESTIMATORS[self.name]
        return [
            partial(_simulated, estimator=made, network=problem.network, start=one.initial_counts, times=one.times, num_paths=num_paths)
            for one in problem.experiments
        ]

    def loses(self, problem: Problem, logs: np.ndarray) -> str:
        """What is wrong with the listed states at ln θ [P], if exact and anything: they hold too little of the probability."""
        free = dict(zip(problem.free, np.exp(logs), strict=True))
        for master, one in zip(self.masters, problem.experiments, strict=False):
            try:
                master.solve(one.at(free), one.times, tolerance=_LOST)
            except TruncationError as error:
                return str(error)
        return ""


def choose(key: jax.Array, problem: Problem, estimator: str, starts: np.ndarray, *, num_paths: int = 256) -> Choice:
    """Takes an estimator by name, or finds one ("auto").

    Exact gradients are chosen where all experiments have at most 5,000 states and one solution of their master equations takes about a tenth of a
    second; species that nothing bounds are bounded by half as much again as simulations from the first guesses, and the data, reach. Else Dynkin
    controls and the score function each compute a few gradients of the observed counts at the last time, and the one with more precision per
    second is taken.

    Args:
        starts: ln of first guesses [M, P]. num_paths: of a gradient in the pilot, as many as the fit will simulate.

    Raises:
        CalibrationError: an unknown name; exact gradients where there are too many states.
    """
    check_options(estimator=estimator)
    if estimator in ("auto", "exact"):
        masters, why = exact_laws(key, problem, starts)
        if masters:
            return Choice("exact", why, masters)
        if estimator == "exact":
            raise CalibrationError(f"expected a model whose states can be listed for estimator='exact', received one where {why}; use 'auto'")
        return pilot(key, problem, because=why, num_paths=num_paths)
    warning = explosion(key, problem) if estimator in BIASED else ""
    biased = "; these gradients are biased, and so may the fit be" if estimator in BIASED else ""
    return Choice(estimator, f"{estimator} was asked for{biased}.", warning=warning)


def check_options(
    *, estimator: str = "auto", seed: int = 0, noise: float | None = None, num_starts: int = 4, spread: float = 0.7, num_paths: int = 256,
    num_steps: int = 150,
) -> None:  # fmt: skip
    """Raises CalibrationError for options of `calibrate.fit` that cannot be meant."""
    if estimator not in ("auto", "exact", *ESTIMATORS):
        raise CalibrationError(f"expected estimator among auto, exact, {', '.join(ESTIMATORS)}, received '{estimator}'")
    if noise is not None and not 0 < float(noise) < np.inf:
        raise CalibrationError(f"expected noise as a number > 0 in molecules, or none, received {noise}")
    if noise is not None and estimator != "auto":
        raise CalibrationError(f"expected no estimator beside noise, which asks for a particle filter, received '{estimator}'")
    for name, value, least in (("seed", seed, 0), ("num_starts", num_starts, 1), ("num_paths", num_paths, 64), ("num_steps", num_steps, 10)):
        if not least <= value < 2**32 or value != int(value):
            raise CalibrationError(f"expected {name} as a whole number ≥ {least}, received {value}")
    if not 0 <= spread < 5:
        raise CalibrationError(f"expected spread, of the logarithm of first guesses, in [0, 5), received {spread}")


def exact_laws(key: jax.Array, problem: Problem, starts: np.ndarray) -> tuple[tuple[MasterEquation, ...], str]:
    """The master equations of all experiments, or none, and why."""
    masters, work, bounded = [], 0.0, {}
    try:
        for number, one in enumerate(problem.experiments):
            try:
                masters.append(MasterEquation.build(problem.network, one.initial_counts, max_states=_MOST_STATES))
            except TruncationError:
                bounds = _reached(jax.random.fold_in(key, number), problem, one, starts)
                masters.append(MasterEquation.build(problem.network, one.initial_counts, bounds=bounds, max_states=_MOST_STATES))
                bounded.update(bounds)
            for logs in starts:
                free = dict(zip(problem.free, np.exp(logs), strict=True))
                rates = state_rates(problem.network, one.at(free), masters[-1].states)
                work = max(work, float(rates.sum(1).max() * one.times[-1] * rates.size))
    except TruncationError:
        return (), f"more than {_MOST_STATES} states can be reached"
    except SimulationError:
        return (), f"more than {_MOST_EVENTS} events fire in a path"
    except NetworkError as error:
        return (), f"its states cannot be listed ({error})"
    number = max(len(master.states) for master in masters)
    if not work <= _MOST_WORK:
        events = work / (number * len(problem.network.reactions))
        return (), f"{number} states with up to {events:.2g} events are too many to follow"
    limits = f", with at most {', '.join(f'{count} {name}' for name, count in bounded.items())}" if bounded else ""
    return tuple(masters), f"Exact gradients, from the master equation: {number} states can be reached{limits}."


def pilot(key: jax.Array, problem: Problem, *, because: str, num_paths: int) -> Choice:
    """The estimator with the smallest variance × seconds of gradients of the observed counts in the logarithms of the free parameters."""
    one, rows, refused = max(problem.experiments, key=lambda one: one.times[-1]), [], []
    last = np.nanmean(np.where(np.isfinite(one.counts), one.counts, np.nan), axis=0)[-1] if np.isfinite(one.counts[:, -1]).any() else np.ones(1)
    scale = 1 / np.maximum(np.where(np.isfinite(last), last, 1), 1).astype(np.float32)

    def observable(counts):
        return sum(counts[name] * np.asarray(share, counts[name].dtype) for name, share in zip(problem.species, scale, strict=False))

    free = {name: float(value) for name, value in zip(problem.free, np.exp(problem.guess), strict=True)}
    for name in _PILOTS:
        wrapped, sizes = partial(_of_free, estimator=ESTIMATORS[name], one=one), {"num_paths": num_paths, "repetitions": _REPETITIONS}
        try:
            rows += estimators.compare({name: wrapped}, key, problem.network, free, one.initial_counts, one.times, observable=observable, **sizes)
        except _NOT_POSSIBLE as error:
            refused.append(f"{name} is not possible here ({str(error).splitlines()[0][:120]})")
    if not rows:
        raise CalibrationError(f"expected an estimator that works with this network, received refusals: {'; '.join(refused)}")
    precision = {}
    for name in dict.fromkeys(row.estimator for row in rows):
        precision[name] = np.exp(np.mean([np.log(max(row.efficiency, 1e-300)) for row in rows if row.estimator == name]))
    best = max(precision, key=precision.get)
    others = [f"{precision[best] / value:.3g} times that of {name}" for name, value in precision.items() if name != best]
    measured = f"its precision per second in a pilot of {_REPETITIONS * num_paths} paths is {' and '.join(others)}" if others else "it works here"
    words = "; ".join([measured, *refused])
    return Choice(best, f"{best}: {because}, and {words}.", rows=tuple(rows))


def explosion(key: jax.Array, problem: Problem) -> str:
    """A sentence if straight-through tangents grow on pilot paths as long as those of the data; nothing if they do not, or cannot be asked."""
    one = problem.experiments[0]
    try:
        paths = simulate(key, problem.network, one.parameters, one.initial_counts, one.times[-1:], num_paths=32)
        number = int(np.clip(np.mean(np.asarray(paths.num_events)), 8, 1000))
        growth = tangent_growth(
            jax.random.fold_in(key, 1), problem.network, one.parameters, one.initial_counts, temperature=0.5, num_events=number, num_paths=64
        )
    except _NOT_POSSIBLE:
        return ""
    if not growth.explodes:
        return ""
    return f"Straight-through gradients (Gumbel-Softmax, temperature 0.5) explode on paths of {number} events: their Lyapunov exponent is positive."


def _of_free(
    key: jax.Array, network: Any, free: Mapping[str, Any], initial_counts: Any, times: Any, *, estimator: Callable, one: Any, **options: Any
) -> Any:
    return estimator(key, network, one.at(free), initial_counts, times, **options)


def _exact(parameters: Mapping[str, Any], key: jax.Array, *, master: MasterEquation, times: np.ndarray) -> Any:
    return master.ensemble(parameters, times, tolerance=np.inf)  # on the way; the end is looked at by `Choice.loses`


def _simulated(parameters: Mapping[str, Any], key: jax.Array, *, estimator: Callable, network: Any, start: Any, times: Any, num_paths: int) -> Any:
    return estimator(key, network, parameters, start, times, num_paths=num_paths)


def _reached(key: jax.Array, problem: Problem, one: Any, starts: np.ndarray) -> dict[str, int]:
    """Bounds above what paths from all first guesses reach, by species."""
    logs = np.repeat(starts, 32, axis=0)
    parameters = {name: np.full(len(logs), value, np.float32) for name, value in one.parameters.items()}
    parameters |= {name: np.exp(logs[:, p]).astype(np.float32) for p, name in enumerate(problem.free) if name not in one.pinned}
    times = np.linspace(one.times[-1] / 20, one.times[-1], 20)
    options = {"num_paths": len(logs), "parameters_per_path": True, "max_events": _MOST_EVENTS}
    paths = simulate(key, problem.network, parameters, one.initial_counts, times, **options)
    highest = np.maximum(np.asarray(paths.counts).max((0, 1)), one.initial_counts)
    seen = np.nanmax(np.nan_to_num(one.counts), axis=(0, 1))
    highest[list(problem.observed)] = np.maximum(highest[list(problem.observed)], seen)
    return {name: int(np.ceil(1.5 * count + 5 * np.sqrt(count) + 5)) for name, count in zip(problem.network.species, highest, strict=True)}
