"""Dynkin controls: the score function, of which an approximate value function explains nearly everything.

References: Dynkin 1965, "Markov Processes"; Gupta and Khammash 2013, doi:10.1186/1471-2105-14-311 (the integral formula for the exact value
function); Milias-Argeitis, Lygeros and Khammash 2014, doi:10.1063/1.4886935 (shadow functions, the stationary case).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.controls import Controls, average_features, moments
from ssagrad.coupling import refuse
from ssagrad.ensemble import Ensemble
from ssagrad.features import Features
from ssagrad.network import Network
from ssagrad.score import Scalars, add_to_weights, flat_shift, outside_gradients, scalars_of, score_accumulator, score_scale
from ssagrad.simulate import check_times, simulate, simulate_with
from ssagrad.value_model import ValueModel, fit

_PILOT_PATHS = 256, 1024  # the least, if nothing is said, and the most
_PATHS_PER_PILOT = 20
_PER_STRATUM = 2  # pilot states of a path in each stratum
_MOST_SOURCES = 512  # parameters × features up to which the Γ_p V term is controlled as well


def dynkin_controls(
    key: jax.Array,
    network: Network,
    parameters: Any,
    initial_counts: Any,
    times: Any,
    *,
    num_paths: int,
    num_strata: int = 16,
    num_pilot: int | None = None,
    pilot: Ensemble | None = None,
    degree: int | None = None,
    num_batches: int = 32,
    start_time: float = 0.0,
    **options: Any,
) -> Ensemble:
    """The score function where only what a value function V(x, t) does not explain is multiplied by the score.

        ∂E f(x_T) = E[(f − V)(x_T) S_T] + E ∫_0^T {(∂_t + L) V · S_t + Σ_r ∂a_r Δ_r V} dt     for any V (`controls.py`)

    V is a polynomial in species, in propensities that are not of mass action and, where the degree is two, in curves of few molecules
    (`features.py`), with coefficients learned from pilot paths (`value_model.py`). One random state of each path per stratum of time samples the
    integral. Means come out with less variance as well.

    **Requires** positive rate constants, known times and parameters that change propensities only; observables that are functions of the
    state, or time integrals of species, gain most. V is blended with the plain score function (leave-one-out baseline) as the
    variances of other batches say, so that a poor V does little harm. One key for all paths; paths that reach max_events raise.
    **Bias / variance**: unbiased (no path is averaged with what it fitted), all parameters at once, no coupling, no temperature. Variance:
    what the residual (∂_t + L) V leaves, which depends on how well these describe conditional expectations: nothing but rounding where all
    rates are linear, 1/100 to 1/1000 of the score function's variance where they are smooth, 1/10 where genes switch within moments. It falls
    with num_strata, and grows with time faster than that of the score function. A gradient takes 2 to 5 times as long, less with `pilot=` or many paths.

    Args:
        parameters: pytree θ of float scalars or arrays; the derivative is taken in these.
        num_paths: n, rounded up to a multiple of num_batches.
        num_strata: sampled times from the start to the last observation, at least one between two observations; with more than 128 features
            they are denser before each observation.
        num_pilot: pilot paths that V is learned from, at most 1,024; default num_paths / 20, at least 256.
        pilot: an ensemble that this estimator made before, with the same network and features (at a slightly different θ: an
            optimisation's last step), whose V is taken over; no pilot is simulated then.
        degree: of the polynomials; default the highest up to 4 that gives at most 128 features.
        num_batches: groups of paths whose averages are the ensemble's independent `terms`, a multiple of 4 and at least 8.
        options: passed on to `simulate`.

    Returns:
        Ensemble whose `mean`, `expectation`, `variance`, `covariance` and `time_average` are controlled and carry the derivative.

    Raises:
        ValueError: impossible numbers, an option without meaning here (clock, parameters_per_path, on_exhausted), or a pilot that does not fit.
    """
    _check(key, num_paths, num_strata, num_pilot, num_batches, pilot)
    refuse("dynkin_controls", options, clock="time", parameters_per_path=False, on_exhausted="raise")
    if isinstance(times, jax.core.Tracer):
        raise ValueError("dynkin_controls needs times that are known when it is compiled (static), received traced ones")
    check_times(times, start_time)
    times = np.atleast_1d(np.asarray(times, np.float64))
    if times[-1] <= start_time:
        raise ValueError(f"expected an observation after start_time={start_time:g}, received times up to {times[-1]:g}")
    num_paths += -num_paths % num_batches
    scalars, centre = scalars_of(parameters), jax.lax.stop_gradient(parameters)
    features, counts = Features.of_network(network, degree=degree), network.counts_from(initial_counts)
    if counts.ndim == 2 and len(counts) != num_paths:
        raise ValueError(f"expected initial counts for a multiple of num_batches={num_batches} paths, here {num_paths}, received {len(counts)}")
    nodes = _strata(times, start_time, num_strata, graded=features.is_large)
    with outside_gradients(key, centre, initial_counts, pilot, options):
        pilot_key, path_key, offset_key = jax.random.split(key, 3)
        widths = jnp.asarray(np.diff(nodes), jnp.float32)
        if pilot is None:
            size = min(num_pilot or max(num_paths // _PATHS_PER_PILOT, _PILOT_PATHS[0]), _PILOT_PATHS[1])
            some = counts if counts.ndim == 1 else counts[np.arange(size) % num_paths]
            model = _learn(pilot_key, network, centre, some, nodes, features, scalars, size, options)
        else:
            model = _take_over(pilot, features, scalars, nodes)
        sampled = _sample(path_key, offset_key, network, centre, initial_counts, times, nodes, scalars, num_paths, options)
        with jax.default_matmul_precision("highest"):
            averages = _moments(features, scalars, model, sampled.points, sampled.point_scores, sampled.offsets, widths, centre, num_batches)
        start = _average_features(features, model, jnp.asarray(counts, widths.dtype), centre, num_batches)
    shift = flat_shift(parameters, widths.dtype)
    nodes, at = (jnp.asarray(part, widths.dtype) for part in (nodes, times))
    controls = Controls(model, *averages, start, nodes, sampled.scores, at, shift, centre, features, scalars)
    weights = add_to_weights(sampled.paths.weights, sampled.scores, shift)
    return replace(sampled.paths, start_time=start_time, weights=weights, controls=controls, num_samples=num_batches)


def _learn(
    key: jax.Array, network: Network, parameters: Any, counts: Any, nodes: np.ndarray, features: Features, scalars: Scalars, num_paths: int, options: dict
) -> ValueModel:
    """The value model from a few paths, seen at some times in each stratum."""
    widths = np.diff(nodes)
    inside = (nodes[:-1, None] + widths[:, None] * (np.arange(_PER_STRATUM) + 0.5) / _PER_STRATUM).reshape(-1)
    quiet = {name: value for name, value in options.items() if name != "record"}
    paths = simulate(key, network, parameters, counts, inside, num_paths=num_paths, start_time=float(nodes[0]), **quiet)
    with_sources = len(scalars.names) * features.size <= _MOST_SOURCES
    with jax.default_matmul_precision("highest"):
        return _fit(features, scalars, paths.counts, jnp.asarray(widths, jnp.float32), parameters, with_sources)


class _Sampled(NamedTuple):
    """Paths at the observation times, with their scores [n, T, P]; states [n, W, S] and scores [n, W, P] at `offsets` into the strata [n, W]."""

    paths: Ensemble
    scores: jax.Array
    points: jax.Array
    point_scores: jax.Array
    offsets: jax.Array


def _sample(
    key: jax.Array, offset_key: jax.Array, network: Network, parameters: Any, initial_counts: Any, times: np.ndarray, nodes: np.ndarray,
    scalars: Scalars, num_paths: int, options: dict,
) -> _Sampled:  # fmt: skip
    """One simulation that stops at the observation times and at one random time of each path in each stratum."""
    offsets = jax.random.uniform(offset_key, (num_paths, len(nodes) - 1))
    waiting, intervals, at_points, at_times = jnp.zeros(num_paths), [], [], []
    if times[0] == nodes[0]:
        at_times.append(0)
        intervals.append(waiting)
    for k, width in enumerate(np.diff(nodes)):
        at_points.append(len(intervals))
        intervals.append(waiting + offsets[:, k] * width)
        waiting = (1 - offsets[:, k]) * width
        if nodes[k + 1] in times:
            at_times.append(len(intervals))
            intervals.append(waiting)
            waiting = jnp.zeros(num_paths)
    recorded, (scores,) = simulate_with(
        (score_accumulator(network, scalars),),
        key,
        network,
        parameters,
        initial_counts,
        np.arange(1.0, len(intervals) + 1),
        intervals=jnp.stack(intervals, axis=1),
        num_paths=num_paths,
        **options,
    )
    scores = scores * score_scale(network, parameters, scalars)[None, None]
    at_points, at_times = np.array(at_points), np.array(at_times)
    paths = replace(recorded.at(at_times), times=jnp.asarray(times))
    return _Sampled(paths, scores[:, at_times], recorded.counts[:, at_points], scores[:, at_points], offsets)


def _strata(times: np.ndarray, start: float, num_strata: int, *, graded: bool) -> np.ndarray:
    """Limits of the strata: the start, every observation time, and equal parts between them no longer than horizon / num_strata.

    Graded ones are as many, up to 1.35 times as long, and shrink to nothing before the observation, where fast reactions are not yet forgotten.
    """
    limits = np.concatenate([[start], times[times > start]])
    parts = np.ceil(np.diff(limits) / (limits[-1] - start) * num_strata - 1e-9).astype(int)
    pieces = []
    for begin, end, number in zip(limits[:-1], limits[1:], parts, strict=True):
        u = np.linspace(0, 1, number + 1)[1:-1]
        if graded:  # of width 0.8 at the start, at most 1.34, and 0 at the end
            u = u * (0.8 + 1.4 * u - 1.2 * u**2)
        pieces += [begin + (end - begin) * u, [end]]
    return np.concatenate([[start], *pieces])


@partial(jax.jit, static_argnums=(0, 1, 5))
def _fit(features: Features, scalars: Scalars, counts: jax.Array, widths: jax.Array, parameters: Any, with_sources: bool) -> ValueModel:
    num_paths, _, num_species = counts.shape
    by_stratum = jnp.moveaxis(counts.reshape(num_paths, len(widths), -1, num_species), 1, 0).reshape(len(widths), -1, num_species)
    return fit(features, scalars, by_stratum, widths, parameters, with_sources=with_sources)


_moments = jax.jit(moments, static_argnums=(0, 1, 8))
_average_features = jax.jit(average_features, static_argnums=(0, 4))


def _take_over(pilot: Ensemble, features: Features, scalars: Scalars, nodes: np.ndarray) -> ValueModel:
    if not isinstance(pilot.controls, Controls):
        raise ValueError("expected as pilot an ensemble that dynkin_controls made; this one carries no value function")
    if pilot.controls.features != features or pilot.controls.scalars != scalars:
        raise ValueError("the pilot belongs to another network, to other parameters, or to another degree")
    theirs = pilot.controls.nodes
    if theirs.shape != nodes.shape or not (isinstance(theirs, jax.core.Tracer) or np.allclose(theirs, nodes, rtol=1e-5)):
        raise ValueError(f"the pilot has other times or another number of strata: {len(theirs) - 1}, here {len(nodes) - 1} up to {nodes[-1]:g}")
    return pilot.controls.model


def _check(key: jax.Array, num_paths: int, num_strata: int, num_pilot: int | None, num_batches: int, pilot: Any) -> None:
    if jnp.ndim(key):
        raise ValueError(f"dynkin_controls takes one key for all paths, received {jnp.shape(key)}; use jax.vmap for several ensembles")
    if num_batches % 4 or num_batches < 8:
        raise ValueError(f"expected a multiple of 4 and at least 8 batches, received num_batches={num_batches}")
    if num_paths < 4 * num_batches:
        raise ValueError(f"expected at least {4 * num_batches} paths (4 in each of {num_batches} batches), received num_paths={num_paths}")
    if num_strata < 2:
        raise ValueError(f"expected num_strata ≥ 2, received {num_strata}")
    if num_pilot is not None and (pilot is not None or num_pilot < 16):
        raise ValueError(f"expected num_pilot ≥ 16, and only where no pilot is given; received num_pilot={num_pilot}")
