"""Forked paths, the alternative path in continuous time: what would have happened, had one more reaction fired here?

Reference: Gupta and Khammash 2013, "Unbiased estimation of parameter sensitivities for stochastic chemical reaction networks",
SIAM J. Sci. Comput. 35(6), doi:10.1137/120898747, arXiv:1210.3475, Theorem 2.3; split coupling: Anderson 2012, doi:10.1137/110849079.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ssagrad.coupling import as_constants, rate_slopes, recorded, refuse, simulate_pairs, with_second_paths
from ssagrad.ensemble import Ensemble
from ssagrad.network import Network
from ssagrad.score import flat_shift, outside_gradients
from ssagrad.simulate import check_times, simulate_with


class Forks(NamedTuple):
    """m forks on each of n paths. The durations add up to the intervals between observations, whatever the rounding of the fork times.

    grid: time between the merged observations and forks of a path [n, T + m].
    observed, forked: where in it the observations [n, T] and the forks [n, m] are.
    rest: time from the fork to the first observation after it, then between observations, 0 before it [m, n, T].
    is_past: whether the fork comes before the observation [m, n, T].
    """

    grid: jax.Array
    observed: jax.Array
    forked: jax.Array
    rest: jax.Array
    is_past: jax.Array


class Forked(NamedTuple):
    """n paths and m forks on each, F = m n.

    paths: at their observations. here, there: at each fork [F], and there again one reaction later.
    slopes: ∂_p a_r / q_r of that reaction [F, P].
    order: the forks by the time that is left, up to rounding [F], so that pairs of about equal length run side by side.
    """

    paths: Ensemble
    here: Ensemble
    there: Ensemble
    slopes: jax.Array
    order: jax.Array


def forked_path(
    key: jax.Array,
    network: Network,
    parameters: Any,
    initial_counts: Any,
    times: Any,
    *,
    num_paths: int,
    num_forks: int = 1,
    start_time: float = 0.0,
    **options: Any,
) -> Ensemble:
    """Exact paths, each with a few forks: at a random time one extra reaction fires, and both futures are compared.

        ∂E f(x_T) = E ∫_0^T Σ_r ∂a_r(x_t) [V(x_t + ν_r, T − t) − V(x_t, T − t)] dt,   V(x, s) = E[f(x_s) | x_0 = x]

    A fork at a time drawn uniformly (stratified over the m forks) fires reaction r with probability q_r ∝ Σ_p |θ_p ∂_p a_r| and contributes
    T/(m q_r) ∂_p a_r (f(y_T) − f(x_T)) to every parameter p at once. The pair x, y runs under the split coupling (`coupling`).

    **Requires** propensities that are differentiable in θ. A rate constant may be 0. Nothing of the observable: it may be any function of
    what is recorded, at one time or at several, and of time averages (record=("time_integrals",)) or event counts.
    **Bias / variance**: unbiased. The variance of one fork is about (number of events that θ drives)² × the chance that the pair has not met
    by T × its squared difference; it falls like 1/m. Small where paths forget their past (relaxation), larger than that of the score
    function where they do not (oscillators).

    Args:
        parameters: pytree θ of float scalars or arrays; the derivative is taken in these.
        num_paths: n; the ensemble has n (1 + 2 m) rows: the paths (weight 1), then m blocks of alternatives y and m blocks of their
            partners x, of weight 0. Before its fork such a row shows the path from which it forked.
        num_forks: m, forks on each path.
        start_time, options: passed on to `simulate`; an alternative row counts the events of its pair.

    Returns:
        Ensemble with the values of n plain paths and a derivative in its weights [n (1 + 2 m), T].

    Raises:
        ValueError: num_forks < 1, clock="events" (see `alternative_path`), parameters_per_path, or no time after start_time.
    """
    refuse("forked_path", options, clock="time", parameters_per_path=False)
    if num_forks < 1:
        raise ValueError(f"expected num_forks ≥ 1, received {num_forks}")
    dtype = jnp.float64 if options.get("precision") == "double" else jnp.float32
    centre = as_constants(parameters, dtype)
    with outside_gradients(key, centre, initial_counts, times, start_time, options):
        paths = _simulate(key, network, centre, initial_counts, times, num_paths, num_forks, options | {"start_time": start_time}, dtype)
    return _join(*paths, parameters)


def _simulate(
    key: jax.Array, network: Network, parameters: Any, initial_counts: Any, times: Any, num_paths: int, num_forks: int, options: dict, dtype: Any
) -> tuple[Forked, tuple[Ensemble, Ensemble], Forks, jax.Array]:
    """Paths, forks, and the pairs that go on from them; the intervals between observations."""
    path_key, time_key, reaction_key, pair_key = jax.random.split(key, 4)
    start_time = options["start_time"]
    times, intervals = check_times(times, start_time)
    if not isinstance(intervals, jax.core.Tracer) and not intervals.sum() > 0:
        raise ValueError(f"expected observation times after start_time={start_time:g}, received {times}")
    intervals = jnp.asarray(intervals).astype(dtype)
    forks = _draw_forks(time_key, intervals, num_paths, num_forks)
    names = start_time + intervals.sum() * jnp.linspace(0, 1, forks.grid.shape[1] + 1, dtype=dtype)[1:]  # for messages: evenly spaced
    trunk, _ = simulate_with((), path_key, network, parameters, initial_counts, names, num_paths=num_paths, intervals=forks.grid, **options)
    forked = _fork(reaction_key, trunk.replace(times=times), forks, parameters, network=network)
    starts, rest = _sorted(forked.order, (forked.here.counts, forked.there.counts), forks.rest)
    pairs = simulate_pairs(pair_key, network, (parameters, parameters), starts, times, num_paths=len(rest), intervals=rest, **options)
    return forked, pairs, forks, intervals


@jax.jit
def _sorted(order: jax.Array, starts: tuple[jax.Array, jax.Array], rest: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    """Where the pairs start, and the time between their observations [F, T], in another order."""
    return tuple(start[order] for start in starts), rest.reshape(len(order), -1)[order]


@partial(jax.jit, static_argnums=(2, 3))
def _draw_forks(key: jax.Array, intervals: jax.Array, num_paths: int, num_forks: int) -> Forks:
    """Fork times, one in each of m equal parts of the horizon, as an interval between observations and the time passed in it."""
    ends = jnp.cumsum(intervals)
    part = jnp.arange(num_forks, dtype=ends.dtype)[:, None] + jax.random.uniform(key, (num_forks, num_paths), ends.dtype)
    time = part * (ends[-1] / num_forks)
    interval = jnp.minimum(jnp.searchsorted(ends, time, side="right"), len(intervals) - 1)  # it ends in the first observation after the fork
    passed = jnp.clip(time - (ends - intervals)[interval], 0, intervals[interval])

    follows = jnp.pad(interval[1:] == interval[:-1], ((1, 0), (0, 0)))  # on another fork, not on an observation
    since_fork = passed - jnp.where(follows, jnp.roll(passed, 1, axis=0), 0)
    position = jnp.arange(len(intervals), dtype=interval.dtype)[None, None]
    is_past = interval[..., None] <= position
    is_next = interval[..., None] == position
    last_passed = jnp.where(is_next, passed[..., None], 0).max(0)
    observed = position[0] + is_past.sum(0, dtype=interval.dtype)
    forked = (jnp.arange(num_forks, dtype=interval.dtype)[:, None] + interval).T
    path = jnp.arange(num_paths)[:, None]
    grid = jnp.zeros((num_paths, len(intervals) + num_forks), ends.dtype)
    grid = grid.at[path, observed].set(intervals[None] - last_passed).at[path, forked].set(since_fork.T)
    rest = jnp.where(is_past, intervals[None, None], 0) - jnp.where(is_next, passed[..., None], 0)
    return Forks(grid, observed, forked, rest, is_past)


@partial(jax.jit, static_argnames="network")
def _fork(key: jax.Array, trunk: Ensemble, forks: Forks, parameters: Any, *, network: Network) -> Forked:
    """The paths with their forks."""
    paths, here = ({name: jnp.take_along_axis(value, at[..., None], axis=1) for name, value in recorded(trunk).items()} for at in forks[1:3])
    here = {name: jnp.moveaxis(value, 1, 0).reshape(-1, value.shape[-1]) for name, value in here.items()}
    fired, slopes = _draw_reactions(key, here["counts"], parameters, network)
    there = here | {"counts": here["counts"] + fired @ jnp.asarray(network.stoichiometry, fired.dtype)}
    if "event_counts" in there:
        there["event_counts"] += fired
    paths["weights"] = jnp.ones_like(paths["counts"][..., 0])
    return Forked(*(trunk.replace(**fields) for fields in (paths, here, there)), slopes, _order(forks.rest.sum(-1).reshape(-1)))


def _order(lengths: jax.Array) -> jax.Array:
    """A permutation that sorts lengths > 0 up to rounding: length and place in one whole number, which XLA sorts ten times as fast as the two."""
    digits = (len(lengths) - 1).bit_length()
    rounded = lengths / lengths.max() * (2 ** min(16, 32 - digits) - 1)
    places = jnp.arange(len(lengths), dtype=jnp.uint32)
    ordered = jax.lax.sort((rounded.astype(jnp.uint32) << jnp.uint32(digits)) | places, is_stable=False)
    return (ordered & jnp.uint32(2**digits - 1)).astype(jnp.int32)


def _draw_reactions(key: jax.Array, counts: jax.Array, parameters: Any, network: Network) -> tuple[jax.Array, jax.Array]:
    """The reaction of each fork as a row of zeros and a one [F, R], and ∂_p a_r / q_r [F, P]; all zeros where no rate depends on θ."""
    slopes = rate_slopes(network, counts, parameters)
    size = jnp.concatenate([jnp.abs(leaf).reshape(-1) for leaf in jax.tree.leaves(parameters)])
    importance = (jnp.abs(slopes) * jnp.where(size > 0, size, 1)[None, None]).sum(-1)
    total = importance.sum(-1, keepdims=True)
    reaction = jax.random.categorical(key, jnp.log(importance))
    fired = jnp.where(total > 0, jax.nn.one_hot(reaction, len(network.reactions), dtype=counts.dtype), 0)
    weight = fired * total / jnp.where(importance > 0, importance, 1)
    return fired, (slopes * weight[..., None]).sum(1)


@jax.jit
def _join(forked: Forked, pairs: tuple[Ensemble, Ensemble], forks: Forks, intervals: jax.Array, parameters: Any) -> Ensemble:
    """The paths with the rows of their forks, whose weights carry the derivative."""
    back = jnp.zeros_like(forked.order).at[forked.order].set(jnp.arange(len(forked.order), dtype=forked.order.dtype))
    is_past = forks.is_past.reshape(len(back), -1)
    partners, alternatives = (_branch(forked.paths, *ends, back, is_past) for ends in zip(forked[1:3], pairs, strict=True))
    shift = flat_shift(parameters, intervals.dtype)
    slopes = jnp.einsum("fp,p->f", forked.slopes, shift, precision="highest")  # a dot product for the reason in `score.add_to_weights`
    contribution = slopes * intervals.sum() / len(forks.is_past)
    derivative = jnp.where(is_past, contribution[:, None], 0)
    return with_second_paths(forked.paths, (alternatives, partners), (derivative, -derivative))


def _branch(paths: Ensemble, fork: Ensemble, branch: Ensemble, back: jax.Array, is_past: jax.Array) -> Ensemble:
    """Whole paths [F, T]: as the path before the fork, as the branch (sorted; `back` is the way back) after it; running sums go on from the fork."""
    joined = {"num_events": branch.num_events[back], "exhausted": branch.exhausted[back]}
    for name, value in recorded(branch).items():
        after = value[back] if name == "counts" else value[back] + getattr(fork, name)[:, None]
        before = jnp.tile(getattr(paths, name), (len(back) // paths.num_paths, 1, 1))
        joined[name] = jnp.where(is_past[..., None], after, before)
    return branch.replace(**joined)
