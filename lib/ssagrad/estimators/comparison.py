"""Estimators side by side on one network: gradients, errors, bias against the exact law, what a gradient costs, and whether it explodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from ssagrad.ensemble import Ensemble, Observable
from ssagrad.exact import MasterEquation
from ssagrad.lyapunov import tangent_growth
from ssagrad.network import Network
from ssagrad.score import scalars_of
from ssagrad.statistics import ROUNDING
from ssagrad.tables import Table

Estimator = Callable[..., Ensemble]

_STRAIGHT_THROUGH = ("gumbel_softmax", "propensity_straight_through")
_MOST_PILOT_PATHS = 1000


class Row(NamedTuple):
    """One estimator and one parameter: a line of the tidy table (`pandas.DataFrame(rows)` takes them as they are).

    estimator, parameter: names.
    gradient, standard_error: of the observable at the last time, from all repetitions; in ln θ if the comparison is relative.
    exact, bias, z: the exact gradient, gradient − exact, and that in standard errors, to which the error of single precision, 10⁻⁵ of the
        gradient, is added (None where no exact law was given).
    variance: of the gradient, times the number of paths.
    events: simulated events per path, extra paths included (a pilot is not).
    seconds: of one gradient of all parameters, compiled (None if not timed).
    efficiency: 1 / (variance × seconds per path), what estimators compare by (None if not timed).
    warning: why not to trust the gradient; empty if nothing is known against it.

    Reference for the efficiency: Glynn and Whitt 1992, doi:10.1287/opre.40.3.505.
    """

    estimator: str
    parameter: str
    gradient: float
    standard_error: float
    exact: float | None
    bias: float | None
    z: float | None
    variance: float
    events: float
    seconds: float | None
    efficiency: float | None
    warning: str


def compare(
    chosen: Mapping[str, Estimator],
    key: jax.Array,
    network: Network,
    parameters: Any,
    initial_counts: Any,
    times: Any,
    *,
    observable: Observable = None,
    time_average: bool = False,
    num_paths: int = 1000,
    repetitions: int = 4,
    master: MasterEquation | None = None,
    relative: bool = True,
    timed: bool = True,
) -> list[Row]:
    """Gradients of one expectation at the last of the times by several estimators, judged by the exact one where the state space allows.

    A straight-through estimator is also asked, on pilot paths of as many events, whether its tangents explode (`lyapunov.tangent_growth`): then its
    sample variance is ruled by rare spikes, and what is measured here says little.

    Args:
        chosen: estimators by name, such as {"score function": score_function, "four forks": partial(forked_path, num_forks=4)}.
        observable: a species, or a function of counts by name. time_average: its average from the start on instead (a species then).
        num_paths: of one gradient. repetitions: gradients by each estimator, with keys of their own.
        master: the truncated master equation of the network from the initial counts (`exact.MasterEquation.build`).
        relative: derivatives in ln θ, which compare across parameters, rather than in θ.
        timed: measure seconds, which compiles every estimator once more, and on a busy machine says little.

    Returns:
        A row for each estimator and parameter; `show` makes a table of them.

    Raises:
        ValueError: an observable that is not one number. What an estimator raises is passed on, with its name.
    """
    if observable is None or (time_average and not isinstance(observable, str)):
        raise ValueError(f"expected the name of a species{'' if time_average else ' or a function'} as observable, received {observable}")
    problem, options = (network, parameters, initial_counts), {"num_paths": num_paths}
    options |= {"record": ("time_integrals",)} if time_average else {}
    observe = partial(_terms, observable=observable, time_average=time_average)
    names, leaves = scalars_of(parameters).names, jax.tree.leaves(parameters)
    scale = _flat(leaves) if relative else np.ones(len(names))
    slopes = [None] * len(names)
    if master is not None:
        slopes = scale * _flat(jax.tree.leaves(master.gradient(parameters, np.asarray(times)[-1:], observable, average=time_average)))
    rows = []
    for position, (name, estimator) in enumerate(chosen.items()):
        sample_key, time_key, pilot_key = jax.random.split(jax.random.fold_in(key, position), 3)
        try:
            estimate = _Estimate(estimator, observe, problem, times, options)
            samples, events = estimate.samples(sample_key, repetitions)
            seconds = estimate.seconds(time_key, repetitions) if timed else None
            warning = _explosion(estimator, pilot_key, *problem, num_events=events, num_paths=num_paths)
        except Exception as error:
            error.add_note(f"(estimator '{name}')")
            raise
        cost = {"events": events, "seconds": seconds, "num_paths": num_paths, "num_gradients": repetitions}
        rows += [_row(name, names[p], scale[p] * samples[:, p], slopes[p], **cost, warning=warning) for p in range(len(names))]
    return rows


def show(rows: list[Row], *, reference: str | None = None) -> Table:
    """The rows as a table, without what was not measured; with a reference estimator, variance and efficiency as multiples of its own."""
    of_reference = {row.parameter: row for row in rows if row.estimator == reference}
    if reference is not None and not of_reference:
        raise ValueError(f"expected reference among {list(dict.fromkeys(row.estimator for row in rows))}, received '{reference}'")
    lines = []
    for row in rows:
        base = of_reference.get(row.parameter)
        cells = {"estimator": row.estimator, "parameter": row.parameter, "gradient": f"{row.gradient:.4g} ± {row.standard_error:.2g}"}
        if row.exact is not None:
            cells |= {"exact": f"{row.exact:.4g}", "z": f"{row.z:+.1f}"}
        cells |= {"variance": f"{row.variance:.3g}", "events": f"{row.events:.3g}"}
        if base is not None:
            cells["variance"] += f" (÷ {base.variance / row.variance if row.variance else float('inf'):.3g})"
        if row.seconds is not None:
            cells |= {"ms": f"{1e3 * row.seconds:.3g}", "efficiency": f"{row.efficiency:.3g}"}
            if base is not None:
                cells["efficiency"] = f"× {row.efficiency / base.efficiency:.3g}"
        lines.append(cells | ({"warning": row.warning} if row.warning else {}))
    order = ("estimator", "parameter", "gradient", "exact", "z", "variance", "events", "ms", "efficiency", "warning")
    head = tuple(name for name in order if any(name in cells for cells in lines))
    return Table(head, [tuple(cells.get(name, "" if name == "warning" else "–") for name in head) for cells in lines])


def gain(rows: list[Row], reference: str, *, per: str = "event") -> dict[str, float]:
    """How many times as efficient as a reference the other estimators are: geometric mean over the parameters, {estimator: gain}.

    Args:
        per: what a gradient costs; "path" compares variances alone, "event" variance × events, "second" variance × seconds.
    """
    costs = {"path": lambda row: 1.0, "event": lambda row: row.events, "second": lambda row: row.seconds}
    if per not in costs:
        raise ValueError(f"expected per among {list(costs)}, received '{per}'")
    used = {(row.estimator, row.parameter): row.variance * costs[per](row) for row in rows}
    names = [name for name in dict.fromkeys(row.estimator for row in rows) if name != reference]
    return {name: float(np.exp(np.mean([np.log(used[reference, p] / cost) for (other, p), cost in used.items() if other == name]))) for name in names}


class _Estimate(NamedTuple):
    """One estimator asked for the gradient of one expectation."""

    estimator: Estimator
    observe: Callable[[Ensemble], jax.Array]
    problem: tuple
    times: Any
    options: dict

    def ensemble(self, key: jax.Array, parameters: Any) -> Ensemble:
        """The paths of one gradient."""
        network, _, initial_counts = self.problem
        return self.estimator(key, network, parameters, initial_counts, self.times, **self.options)

    def samples(self, key: jax.Array, repetitions: int) -> tuple[np.ndarray, float]:
        """Independent samples of the gradient [n, P], and events per path."""

        def terms(parameters, key):
            ensemble = self.ensemble(key, parameters)
            return self.observe(ensemble), ensemble.num_events.sum()

        found = [jax.jacfwd(terms, has_aux=True)(self.problem[1], key) for key in jax.random.split(key, repetitions)]
        samples = [np.concatenate([_flat([leaf]).reshape(len(leaf), -1) for leaf in jax.tree.leaves(slopes)], axis=1) for slopes, _ in found]
        return np.concatenate(samples), float(np.mean([events for _, events in found])) / self.options["num_paths"]

    def seconds(self, key: jax.Array, repetitions: int) -> float:
        """Median time of one gradient, after one that compiles."""

        def run(key):
            begin = time.perf_counter()
            jax.block_until_ready(jax.grad(lambda parameters: self.observe(self.ensemble(key, parameters)).mean())(self.problem[1]))
            return time.perf_counter() - begin

        return float(np.median([run(key) for key in jax.random.split(key, repetitions + 1)][1:]))


def _terms(ensemble: Ensemble, *, observable: Observable, time_average: bool) -> jax.Array:
    """Independent terms of the expectation at the last time [n]."""
    found = ensemble.time_average_terms(observable) if time_average else ensemble.terms(ensemble.samples(observable))
    if found.ndim != 2:
        raise ValueError(f"expected an observable that is one number, received one of shape {found.shape[2:]}")
    return found[:, -1]


def _explosion(
    estimator: Estimator, key: jax.Array, network: Network, parameters: Any, initial_counts: Any, *, num_events: float, num_paths: int
) -> str:
    """A warning if the tangents of a straight-through estimator explode on pilot paths as long as its own; else nothing."""
    settings = {}
    while isinstance(estimator, partial):
        settings, estimator = estimator.keywords | settings, estimator.func
    if getattr(estimator, "__name__", None) not in _STRAIGHT_THROUGH:
        return ""
    size = {"num_events": max(8, round(num_events)), "num_paths": min(max(num_paths, 64), _MOST_PILOT_PATHS)}
    growth = tangent_growth(key, network, parameters, initial_counts, temperature=settings.get("temperature"), **size)
    if not growth.explodes:
        return ""
    slope = np.nanmax(growth.second_moment, initial=-np.inf)
    how = f"×{np.exp(10 * slope):.2g} in ten events" if np.isfinite(slope) and slope > 0 else "beyond the largest number"
    return f"explodes: mean square tangent {how}"


def _row(
    name: str, parameter: str, samples: np.ndarray, exact: float | None, *, events: float, seconds: float | None, num_paths: int,
    num_gradients: int, warning: str,
) -> Row:  # fmt: skip
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        gradient, error = samples.mean(), samples.std(ddof=1) / np.sqrt(len(samples))
        variance = error**2 * num_paths * num_gradients
        bias = None if exact is None else gradient - exact
        z = None if bias is None else 0.0 if bias == 0 else float(bias / np.hypot(error, ROUNDING * exact))
        efficiency = None if seconds is None else float(num_paths / (variance * seconds))
    numbers = (None if value is None else float(value) for value in (gradient, error, exact, bias, z, variance, events, seconds, efficiency))
    return Row(name, parameter, *numbers, warning)


def _flat(leaves: list) -> np.ndarray:
    return np.concatenate([np.ravel(np.asarray(leaf, float)) for leaf in leaves])
