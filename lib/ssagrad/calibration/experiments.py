"""A model and the conditions under which it was observed, checked against one another; and all of them simulated as one ensemble."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.calibration.model_text import CalibrationError
from ssagrad.network import Network
from ssagrad.observations import Observations, nearest


class Experiment(NamedTuple):
    """One condition: S observed species on N replicates at T times after the start.

    name: of the condition. parameters: all values by name. pinned: those that the condition sets itself, which are not fitted there.
    initial_counts: [all species]. times: [T]. counts: [N, T, S], NaN where nothing was measured.
    """

    name: str
    parameters: dict[str, float]
    pinned: frozenset[str]
    initial_counts: np.ndarray
    times: np.ndarray
    counts: np.ndarray

    def at(self, free: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters, the free ones from a mapping."""
        return {**self.parameters, **{name: value for name, value in free.items() if name not in self.pinned}}


class Problem(NamedTuple):
    """What is to be fitted: a network, the free parameters, and the experiments. observed: positions of the S observed species."""

    network: Network
    free: tuple[str, ...]
    species: tuple[str, ...]
    observed: tuple[int, ...]
    experiments: tuple[Experiment, ...]
    notes: tuple[str, ...]

    @property
    def guess(self) -> np.ndarray:
        """ln of the first guesses [P]."""
        return np.log([self.experiments[0].parameters[name] for name in self.free])


def as_problem(model: Any, data: Observations, free: Sequence[str], conditions: Mapping[str, Any] | None = None) -> Problem:
    """Checks a model against data.

    Args:
        model: an object with network, parameters, initial_counts (and conditions, as `ModelText`).
        free: names of the parameters to fit; those of the model are first guesses.
        conditions: {condition of the data: {"parameters": {…}, "initial_counts": {…}}}, what is different there.

    Raises:
        CalibrationError: names that do not fit, values that cannot be fitted. ObservationsError: unknown species. NetworkError: bad values.
    """
    if events := [str(getattr(event, "id", event)) for event in getattr(model, "events", ())]:
        raise CalibrationError(f"expected a model without events (jumps at a time or a trigger), received {events}; gradients do not follow them")
    network, values = model.network, {name: float(value) for name, value in model.parameters.items()}
    data.check_species(known=network.species)
    free = _check_free(free, values)
    written = getattr(model, "conditions", {}).items()
    changes = {name: {"parameters": values, "initial_counts": counts} for name, (values, counts) in written} | dict(conditions or {})
    names = [one.name for one in data.conditions]
    for name, own in changes.items():
        if name not in names:
            raise CalibrationError(f"expected conditions of the data, {names}, received '{name}'{nearest(name, names)}")
        _check_changes(name, own, values)
    observed, experiments, notes = tuple(network.species.index(name) for name in data.species), [], _note_alike(names, changes)
    for one in data.conditions:
        own = changes.get(one.name, {})
        pinned = dict(own.get("parameters", {}))
        parameters = values | {name: float(value) for name, value in pinned.items()}
        network.check_parameters(parameters)
        given = dict(own.get("initial_counts", {}))
        start = np.asarray(network.counts_from(_start(model, parameters, given, [name for name in free if name not in pinned])), float)
        later = one.times > 0
        notes += _note_start(one, start[list(observed)], data.species)
        if not later.any():
            raise CalibrationError(f"condition '{one.name}': expected counts after time 0, received none; leave this condition out of the data")
        experiments.append(Experiment(one.name, parameters, frozenset(pinned), start, one.times[later], one.counts[:, later]))
    if pinned_everywhere := [name for name in free if all(name in one.pinned for one in experiments)]:
        raise CalibrationError(f"expected free parameters that some condition leaves open, received '{pinned_everywhere[0]}', which all of them set")
    return Problem(network, free, data.species, observed, tuple(experiments), tuple(notes))


class Joint(NamedTuple):
    """What `match_moments` reads of an ensemble, of all experiments together: times in order [T], and `values`, terms of the moments [n, T, K]."""

    times: jax.Array
    values: jax.Array
    num_events: jax.Array
    start_time: float = 0.0
    is_exact: bool = False

    @property
    def counts(self) -> jax.Array:
        """Something of the type of the counts."""
        return self.values

    def samples(self, observable: Any) -> jax.Array:
        """The terms, which are made where the experiment's own times and centres are known."""
        return self.values

    def terms(self, values: jax.Array) -> jax.Array:
        """Samples are terms already."""
        return values


def joint_ensemble(problem: Problem, centres: Sequence[np.ndarray], second: bool, ensembles: Sequence[Callable]) -> Callable:
    """From free parameters and a key to `Joint`.

    Args:
        centres: for each experiment, the means of the data around which squares and products are taken [T, S].
        second: whether squares and products are among the moments.
        ensembles: for each experiment, from all parameters and a key to an ensemble.
    """
    order = np.argsort(np.concatenate([one.times for one in problem.experiments]), kind="stable")

    def joint(free: Mapping[str, jax.Array], key: jax.Array) -> Joint:
        parts, events = [], []
        for number, (one, centre, ensemble) in enumerate(zip(problem.experiments, centres, ensembles, strict=True)):
            paths = ensemble(one.at(free), jax.random.fold_in(key, number))
            counts = paths.counts[..., list(problem.observed)]
            values = jnp.concatenate([counts, *([products(counts - jnp.asarray(centre, counts.dtype)[None])] if second else [])], axis=-1)
            parts.append(_exact_terms(paths.weights, values) if paths.is_exact else paths.terms(values))
            events.append(paths.num_events.sum())
        times = jnp.asarray(np.concatenate([one.times for one in problem.experiments])[order], parts[0].dtype)
        return Joint(times, jnp.concatenate(parts, axis=1)[:, order], jnp.stack(events))

    return joint


def _exact_terms(weights: jax.Array, values: jax.Array) -> jax.Array:
    """Two equal terms [2, T, K]; a dot product, because XLA's CPU backend gets the sum of a broadcast product wrong in jit(vmap(jacfwd))."""
    means = jnp.einsum("nt,ntk->tk", weights, values, precision="highest") / weights.sum(0)[:, None]
    return jnp.broadcast_to(means[None], (2, *means.shape))


def products(deviations: Any) -> Any:
    """Products of all pairs, squares included, of the last axis: [..., S] → [..., S (S + 1)/2]."""
    first, second = np.triu_indices(deviations.shape[-1])
    return deviations[..., first] * deviations[..., second]


def _check_free(free: Sequence[str], values: Mapping[str, float]) -> tuple[str, ...]:
    free = (free,) if isinstance(free, str) else tuple(free)
    if not free or len(set(free)) < len(free):
        raise CalibrationError(f"expected the names of the parameters to fit, each once, received {list(free)}; the model has {list(values)}")
    for name in free:
        if name not in values:
            raise CalibrationError(f"expected free parameters of the model, received '{name}'{nearest(name, list(values))}")
        if not 0 < values[name] < np.inf:
            raise CalibrationError(f"expected a first guess > 0 of '{name}', which is fitted on a logarithmic scale, received {values[name]:g}")
    return free


def _note_start(one: Any, start: np.ndarray, species: Sequence[str]) -> list[str]:
    """A sentence where the data at time 0 are not the initial counts."""
    if one.times[0] > 0:
        return []
    means = np.array([np.mean(column[np.isfinite(column)]) if np.isfinite(column).any() else np.nan for column in one.counts[:, 0].T])
    where = f"condition '{one.name}'" if one.name else "the data"
    return [
        f"At time 0, {where}: {name} is {mean:g} on average, the model starts with {first:g}; the fit uses the model's."
        for name, mean, first in zip(species, means, start, strict=True)
        if abs(mean - first) > 1e-6 * max(1.0, abs(first))
    ]


def _check_changes(name: str, own: Mapping[str, Any], values: Mapping[str, float]) -> None:
    if unknown := [key for key in own if key not in ("parameters", "initial_counts")]:
        raise CalibrationError(f"condition '{name}': expected changes of parameters and of initial_counts, received {unknown}")
    if unknown := [key for key in own.get("parameters", {}) if key not in values]:
        raise CalibrationError(f"condition '{name}': unknown parameter '{unknown[0]}'{nearest(unknown[0], list(values))}")


def _note_alike(names: Sequence[str], changes: Mapping[str, Any]) -> list[str]:
    """A sentence where the model does not tell conditions of the data apart."""
    alike = [name for name in names if not any(changes.get(name, {}).values())]
    if len(alike) < 2:
        return []
    same = f"The model says nothing different about the conditions {', '.join(alike)}, which are fitted as one and the same"
    return [f"{same}; '[{alike[-1]}]' in a model's text, or conditions=, says what is different there."]


def _start(model: Any, parameters: Mapping[str, float], given: Mapping[str, Any], free: Sequence[str]) -> dict[str, Any]:
    """Initial counts by species at these parameters, then what is given; CalibrationError if others are computed from a free parameter."""
    if not isinstance(model.initial_counts, Mapping):
        raise CalibrationError(f"expected initial counts as a mapping from species to molecules, received {type(model.initial_counts).__name__}")
    if not hasattr(model, "counts_at_start"):
        return {**model.initial_counts, **given}
    from ssagrad.sbml.expressions import leaves

    for species, formula in model.initial.items():
        if species not in given and (moved := [name for name in free if name in leaves(formula, "parameter")]):
            raise CalibrationError(
                f"expected free parameters that change rates alone, received '{moved[0]}', from which the model computes the initial count of "
                f"'{species}'; gradients do not follow initial counts: keep '{moved[0]}' fixed, or give the count under every condition"
            )
    return model.counts_at_start(parameters, given)
