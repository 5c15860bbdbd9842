"""Estimators side by side on one network: gradients, errors, bias against the exact law, and what a gradient costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.ensemble import Ensemble, Observable
from ssagrad.exact import MasterEquation
from ssagrad.network import Network
from ssagrad.score import scalars_of
from ssagrad.tables import Table

Estimator = Callable[..., Ensemble]


class Row(NamedTuple):
    """One estimator and one parameter: a line of the tidy table (`pandas.DataFrame(rows)` takes them as they are).

    estimator, parameter: names.
    gradient, standard_error: of the observable at the last time, from all repetitions.
    exact, bias, z: the exact gradient, gradient − exact, and that in standard errors (None where no exact law was given).
    variance: of the gradient, times the number of paths.
    events: simulated events per path, extra paths included (a pilot is not). seconds: of one gradient of all parameters, compiled.
    efficiency: 1 / (variance × seconds per path): what estimators compare by (Glynn and Whitt 1992, doi:10.1287/opre.40.3.505).
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
    seconds: float
    efficiency: float


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
) -> list[Row]:
    """Gradients of one expectation at the last of the times by several estimators, judged by the exact one where the state space allows.

    Args:
        chosen: estimators by name, such as {"score function": score_function, "four forks": partial(forked_path, num_forks=4)}.
        observable: a species, or a function of counts by name. time_average: its average from 0 on instead (a species then).
        num_paths: of one gradient. repetitions: gradients by each estimator, with keys of their own.
        master: the truncated master equation of the network from the initial counts (`exact.MasterEquation.build`).
        relative: derivatives in ln θ, which compare across parameters, rather than in θ.

    Returns:
        A row for each estimator and parameter; `show` makes a table of them.

    Raises:
        ValueError: an observable that is not one number. What an estimator raises is passed on, with its name.
    """
    if observable is None or (time_average and not isinstance(observable, str)):
        raise ValueError(f"expected the name of a species{'' if time_average else ' or a function'} as observable, received {observable}")
    names = scalars_of(parameters).names
    scale = np.concatenate([np.ravel(np.asarray(leaf, float)) for leaf in jax.tree.leaves(parameters)]) if relative else np.ones(len(names))
    exact = None
    if master is not None:
        found = master.gradient(parameters, np.asarray(times)[-1:], observable, average=time_average)
        exact = scale * np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(found)])
    rows = []
    for position, (name, estimator) in enumerate(chosen.items()):
        try:
            measured = _measure(estimator, jax.random.fold_in(key, position), network, parameters, initial_counts, times, observable, time_average, num_paths, repetitions)
        except (ValueError, RuntimeError) as error:
            error.add_note(f"(estimator '{name}')")
            raise
        samples, events, seconds = measured
        rows += [_row(name, names[p], scale[p] * samples[:, p], None if exact is None else exact[p], num_paths * repetitions, events, seconds, num_paths) for p in range(len(names))]
    return rows


def show(rows: list[Row], *, reference: str | None = None) -> Table:
    """The rows as a table; with a reference estimator, variance and efficiency as multiples of its own."""
    of_reference = {row.parameter: row for row in rows if row.estimator == reference}
    head = ("estimator", "parameter", "gradient", "exact", "z", "variance", "events", "ms", "efficiency")
    lines = []
    for row in rows:
        base = of_reference.get(row.parameter)
        variance, efficiency = (f"{row.variance:.3g}", f"{row.efficiency:.3g}")
        if base is not None:
            variance += f" (÷ {base.variance / row.variance:.3g})"
            efficiency = f"× {row.efficiency / base.efficiency:.3g}"
        exact, z = ("–", "–") if row.exact is None else (f"{row.exact:.4g}", f"{row.z:+.1f}")
        gradient = f"{row.gradient:.4g} ± {row.standard_error:.2g}"
        lines.append((row.estimator, row.parameter, gradient, exact, z, variance, f"{row.events:.3g}", f"{1e3 * row.seconds:.3g}", efficiency))
    return Table(head, lines)


def _measure(
    estimator: Estimator, key: jax.Array, network: Network, parameters: Any, initial_counts: Any, times: Any, observable: Observable,
    time_average: bool, num_paths: int, repetitions: int,
) -> tuple[np.ndarray, float, float]:  # fmt: skip
    """Independent samples of the gradient [n, P], events per path, and seconds of one gradient."""
    record = {"record": ("time_integrals",)} if time_average else {}

    def ensemble_of(key, parameters):
        return estimator(key, network, parameters, initial_counts, times, num_paths=num_paths, **record)

    def terms(parameters, key):
        ensemble = ensemble_of(key, parameters)
        found = ensemble.time_average_terms(observable) if time_average else ensemble.terms(ensemble.samples(observable))
        return found[:, -1], ensemble.num_events.sum()

    def mean(parameters, key):
        ensemble = ensemble_of(key, parameters)
        return (ensemble.time_average(observable) if time_average else ensemble.mean(observable))[-1]

    samples, events, seconds = [], 0, []
    for repetition in range(repetitions):
        key, sample_key, time_key = jax.random.split(key, 3)
        slopes, num_events = jax.jacfwd(terms, has_aux=True)(parameters, sample_key)
        leaves = [np.asarray(leaf, float) for leaf in jax.tree.leaves(slopes)]
        samples.append(np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1))
        events += float(num_events) / num_paths / repetitions
        for _ in range(2 if repetition == 0 else 1):  # the first one compiles
            begin = time.perf_counter()
            jax.block_until_ready(jax.grad(mean)(parameters, jax.random.clone(time_key)))
            elapsed = time.perf_counter() - begin
        seconds.append(elapsed)
    return np.concatenate(samples), events, float(np.median(seconds))


def _row(name: str, parameter: str, samples: np.ndarray, exact: float | None, all_paths: int, events: float, seconds: float, num_paths: int) -> Row:
    gradient, error = float(samples.mean()), float(samples.std(ddof=1) / np.sqrt(len(samples)))
    variance = error**2 * all_paths
    bias = None if exact is None else gradient - float(exact)
    z = None if bias is None else (0.0 if bias == 0 else bias / error if error > 0 else float("inf"))
    efficiency = num_paths / (variance * seconds) if variance > 0 else float("inf")
    return Row(name, parameter, gradient, error, None if exact is None else float(exact), bias, z, variance, events, seconds, efficiency)
