"""Gradient estimators against the exact gradient: two quantities of one species on a network whose master equation can be solved.

    problem = problems()["association"]
    judged = judge(score_function, key, problem, num_paths=10_000)
    judged["average over time"].z                                  # (estimate − exact) / standard error, for each rate constant

All derivatives are in the logarithms of the rate constants, in the order of their names.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad import models
from ssagrad.ensemble import Ensemble
from ssagrad.exact import MasterEquation
from ssagrad.models import Model
from ssagrad.statistics import ROUNDING
from ssagrad.tables import Table

QUANTITIES = ("mean at a time", "average over time")


class Problem(NamedTuple):
    """A gradient whose exact value is known.

    model: network, rate constants (a scalar each) and initial counts. horizon: the time. species: what is observed.
    bounds: largest counts that the master equation keeps, as in `MasterEquation.build`.
    options: what an estimator needs on this network, by its name, such as {"alternative_path": {"rate_bound": 60.0}}.
    """

    model: Model
    horizon: float
    species: str
    bounds: Mapping[str, int] = {}
    options: Mapping[str, Mapping[str, Any]] = {}

    @property
    def names(self) -> list[str]:
        """The rate constants, sorted."""
        return sorted(self.model.parameters)

    def master(self) -> MasterEquation:
        """The master equation from the initial counts."""
        return MasterEquation.build(self.model.network, self.model.initial_counts, bounds=self.bounds)


class Judged(NamedTuple):
    """Estimates of a gradient [P], their standard errors and the exact values; the cost of a path in simulated events."""

    estimate: np.ndarray
    standard_error: np.ndarray
    exact: np.ndarray
    num_paths: int
    events: float

    @property
    def z(self) -> np.ndarray:
        """z-scores [P]; the error includes that of single precision."""
        return (self.estimate - self.exact) / self._error

    @property
    def relative_error(self) -> tuple[np.ndarray, np.ndarray]:
        """(estimate − exact) / |exact| and its standard error [P], in per cent."""
        return 100 * (self.estimate - self.exact) / np.abs(self.exact), 100 * self.standard_error / np.abs(self.exact)

    def efficiency(self, reference: Judged) -> float:
        """How many times fewer events than the reference needs do for the same standard error: geometric mean over the parameters."""
        costs = [judged._error**2 * judged.num_paths * judged.events for judged in (self, reference)]
        return float(np.exp(np.mean(np.log(costs[1] / costs[0]))))

    @property
    def _error(self) -> np.ndarray:
        return np.hypot(self.standard_error, ROUNDING * self.exact)


def problems() -> dict[str, Problem]:
    """Six networks by name: linear, conserved (two), a gene that is on or off, bistable, and an epidemic among 25 people that dies out.

    The alternative path needs the largest total propensity that it may meet (20,000 in Schlögl's system, too slow: it has none here), and
    straight-through estimators the width of the window in which they see a time.
    """
    death = models.immigration_death()._replace(parameters={"immigration": 10.0, "death": 1.0})
    epidemic = models.sir()._replace(parameters={"infection": 0.1, "recovery": 1.0}, initial_counts={"S": 22, "I": 3})
    return {
        "immigration–death": _problem(death, 3.0, "X", {"X": 60}, rate_bound=60.0, cutoff=0.5),
        "association": _problem(models.association(), 2.0, "C", rate_bound=120.0, cutoff=0.3),
        "dimerisation": _problem(models.dimerisation(), 50.0, "P", rate_bound=8.0, cutoff=2.0),
        "telegraph": _problem(models.telegraph(), 3.0, "mRNA", {"mRNA": 90}, rate_bound=150.0, cutoff=0.3),
        "Schlögl": _problem(models.schloegl(), 2.0, "X", {"X": 1000}, rate_bound=None, cutoff=0.1),
        "SIR": _problem(epidemic, 2.0, "I", rate_bound=60.0, cutoff=0.3),
    }


def judge(estimator: Callable[..., Ensemble], key: jax.Array, problem: Problem, *, num_paths: int) -> dict[str, Judged]:
    """The gradients of both quantities by one estimator, from one simulation.

    The derivative of `Ensemble.terms` gives independent samples of the gradient: their mean is the estimate, their spread its standard error.

    Args:
        estimator: one of `ssagrad.estimators`, its settings bound by `partial`. Smoothing needs decode=`exponentials`: it perturbs logarithms.
        num_paths: what the estimator takes. A pilot of `num_pilot` paths, if bound, counts among the events.

    Returns:
        {quantity: Judged}; the alternative path has no average over time.
    """
    name, settings = _bound(estimator)
    seen = QUANTITIES[:1] if name == "alternative_path" else QUANTITIES
    options = dict(problem.options.get(name, {})) | ({"record": ("time_integrals",)} if len(seen) == 2 else {})
    model, decode = problem.model, _unchanged if "decode" in settings else exponentials

    def terms(logarithms):
        paths = estimator(key, model.network, decode(logarithms), model.initial_counts, [problem.horizon], num_paths=num_paths, **options)
        at_end = paths.terms(paths.samples(problem.species))[:, -1]
        averages = paths.time_average_terms(problem.species)[:, -1] if len(seen) == 2 else None
        return dict(zip(seen, (at_end, averages), strict=False)), paths.num_events.sum()

    found, events = jax.jacfwd(terms, has_aux=True)({p: float(np.log(rate)) for p, rate in model.parameters.items()})
    exact, judged = exact_gradients(problem), {}
    events = float(events) / num_paths * (1 + settings.get("num_pilot", 0) / num_paths)
    for quantity in seen:
        samples = np.stack([np.asarray(found[quantity][p], float) for p in problem.names], axis=-1)
        error = samples.std(0, ddof=1) / np.sqrt(len(samples))
        judged[quantity] = Judged(samples.mean(0), error, exact[quantity], num_paths, events)
    return judged


def decision_limit(num_comparisons: int, num_samples: int, *, family_error: float = 1e-3) -> float:
    """The |z| that so many true statements exceed with at most the probability `family_error` (Bonferroni), standard errors from `num_samples`."""
    from scipy.stats import t

    return float(t.isf(family_error / (2 * num_comparisons), num_samples - 1))


def z_scores(judged: Mapping[tuple[str, str, str], Judged], labels: Collection[str]) -> dict[str, np.ndarray]:
    """All z-scores of each of the estimators, from results by (problem, estimator, quantity)."""
    return {label: np.concatenate([result.z for (_, other, _), result in judged.items() if other == label]) for label in labels}


def relative_errors(judged: Mapping[tuple[str, str, str], Judged], label: str, quantity: str) -> list[np.ndarray]:
    """`Judged.relative_error` of one estimator on all problems, one after the other: errors and their standard errors, in per cent."""
    found = [result.relative_error for (_, other, kind), result in judged.items() if (other, kind) == (label, quantity)]
    return [np.concatenate(part) for part in zip(*found, strict=True)]


def least_advantage(gain: Mapping[tuple[str, str, str], float], label: str, rivals: Collection[str]) -> float:
    """How many times as efficient as the best of its rivals an estimator is, where that is least; gains by (problem, estimator, quantity)."""
    best = {(name, quantity): max(gain.get((name, rival, quantity), 0.0) for rival in rivals if rival != label) for name, _, quantity in gain}
    return min(gain[name, label, quantity] / value for (name, quantity), value in best.items())


def table(judged: Mapping[tuple[str, str, str], Judged], known: Mapping[str, Problem]) -> Table:
    """Estimate and z-score by (problem, estimator, quantity): a row for each gradient, a column for each estimator."""
    labels = list(dict.fromkeys(label for _, label, _ in judged))
    rows = []
    for name, quantity in dict.fromkeys(task[::2] for task in judged):
        found = [judged.get((name, label, quantity)) for label in labels]
        exact = next(result.exact for result in found if result is not None)
        for i, p in enumerate(known[name].names):
            cells = ["–" if result is None else f"{result.estimate[i]:.4g} ({result.z[i]:+.1f})" for result in found]
            rows.append((f"{name}: {p}", quantity, f"{exact[i]:.4g}", *cells))
    return Table(("in the logarithm of", "derivative of the", "exact", *labels), rows)


def exponentials(logarithms: Any) -> Any:
    """Rate constants from their logarithms."""
    return jax.tree.map(jnp.exp, logarithms)


def exact_gradients(problem: Problem, parameters: Mapping[str, float] | None = None) -> dict[str, np.ndarray]:
    """The exact gradients [P] of both quantities, at the model's rate constants or at others."""
    rates, master = parameters or problem.model.parameters, problem.master()
    found = {}
    for quantity in QUANTITIES:
        slopes = master.gradient(rates, [problem.horizon], problem.species, average=quantity == QUANTITIES[1])
        found[quantity] = np.array([rates[p] * slopes[p][0] for p in problem.names])
    return found


def difference_bias(problem: Problem, step: float) -> np.ndarray:
    """Exact bias of central differences by ± step θ, average over time [P], in per cent of the gradient."""
    master, slopes = problem.master(), []
    for p in problem.names:
        sides = [_scaled(problem, p, 1 + sign * step) for sign in (1, -1)]
        high, low = (master.solve(rates, [problem.horizon], average=True).mean(problem.species)[0] for rates in sides)
        slopes.append((high - low) / (2 * step))
    exact = exact_gradients(problem)[QUANTITIES[1]]
    return 100 * (np.array(slopes) - exact) / np.abs(exact)


def smoothing_bias(problem: Problem, sigma: float) -> np.ndarray:
    """Bias of smoothing the logarithms by N(0, σ²) up to O(σ⁴), σ²/2 times the Laplacian of the gradient of the average [P], in per cent."""
    exact, curvature = exact_gradients(problem)[QUANTITIES[1]], 0
    for p in problem.names:
        sides = [exact_gradients(problem, _scaled(problem, p, np.exp(sign * sigma)))[QUANTITIES[1]] for sign in (1, -1)]
        curvature = curvature + sum(sides) - 2 * exact
    return 100 * curvature / 2 / np.abs(exact)


def _problem(
    model: Model, horizon: float, species: str, bounds: Mapping[str, int] | None = None, *, rate_bound: float | None, cutoff: float
) -> Problem:
    options = {"gumbel_softmax": {"cutoff": cutoff}, "propensity_straight_through": {"cutoff": cutoff}}
    options |= {"alternative_path": {"rate_bound": rate_bound}} if rate_bound else {}
    return Problem(model, horizon, species, bounds or {}, options)


def _scaled(problem: Problem, name: str, factor: float) -> dict[str, float]:
    return problem.model.parameters | {name: factor * problem.model.parameters[name]}


def _unchanged(parameters: Any) -> Any:
    return parameters


def _bound(estimator: Callable) -> tuple[str, dict[str, Any]]:
    """The name of an estimator and the settings that `partial` bound to it."""
    settings = {}
    while isinstance(estimator, partial):
        settings, estimator = estimator.keywords | settings, estimator.func
    return estimator.__name__, settings
