"""Straight-through tangents: exact paths whose counts carry the derivative of a relaxed choice of reaction and of the waiting times.

The tangent D of the counts x and the tangent dt of the time of the next event follow a path in forward mode. With slopes
∂a_r + ∇a_r · D of the propensities, soft choice y and its sensitivity v (`soft_share`, over its sum), an event and a stay of length h add

    D += Σ_r ν_r (v_r (∂a_r + ∇a_r · D) − y_r Σ_s v_s (∂a_s + ∇a_s · D)),   dt −= h Σ_r (∂a_r + ∇a_r · D) / Σ_r a_r

and the integral of the counts ∫ x ds moves with both: by h D during a stay, by −ν dt at an event. Off the lattice of whole counts, a
propensity goes on as the function it is written as (for mass action, the falling factorial).

References: Bengio, Léonard and Courville 2013, arXiv:1308.3432; Jang, Gu and Poole 2017, arXiv:1611.01144; Burger et al. 2026,
arXiv:2604.02121.
"""

from __future__ import annotations

from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ssagrad.ensemble import Ensemble
from ssagrad.kernel import Accumulator, Step, stage
from ssagrad.network import Network
from ssagrad.random import noise, noise_key
from ssagrad.score import Scalars, derivatives, flat_shift, outside_gradients, readers_of, scalars_of
from ssagrad.simulate import check_times, simulate_with


class Windows(NamedTuple):
    """Where the paths are observed: a grid that holds the wanted times (at `now`) and the edges of the window around each of them.

    opens, closes: position of the edges in the grid, + 1 (0: the start). widths: from edge to edge [T]; 1 for a window of no width.
    """

    grid: np.ndarray
    now: np.ndarray
    opens: np.ndarray
    closes: np.ndarray
    widths: np.ndarray


def check_options(mode: str, temperature: float | None, cutoff: float | None, **options: Any) -> None:
    """Raises ValueError for options that do not fit together."""
    if mode not in ("forward", "reverse"):
        raise ValueError(f"expected mode among ['forward', 'reverse'], received '{mode}'")
    if temperature is not None and not 0 < temperature < np.inf:
        raise ValueError(f"expected a temperature > 0, received {temperature}")
    if options.get("clock") == "events":
        if cutoff is not None:
            raise ValueError(f"clock='events' needs no cutoff (counts after so many events are smooth already), received {cutoff}")
    elif cutoff is None or not 0 < cutoff < np.inf:
        raise ValueError(f"expected a cutoff > 0, the width in time over which the derivative of counts is averaged, received {cutoff}")
    if "event_counts" in options.get("record", ()):
        raise ValueError("event_counts carry no derivative here; write the reaction with a product of its own that counts it, and use its counts")
    if mode == "reverse" and options.get("max_events") is None:
        raise ValueError("mode='reverse' runs a fixed number of steps: give it max_events, enough for the longest path (and half a cutoff more)")


def forward_paths(
    key: jax.Array,
    network: Network,
    parameters: Any,
    initial_counts: Any,
    times: Any,
    *,
    temperature: float | None,
    cutoff: float | None,
    waiting_times: bool,
    **options: Any,
) -> Ensemble:
    """`simulate`, with straight-through tangents in counts and time integrals (no temperature: through normalised propensities)."""
    per_path = options.get("parameters_per_path", False)
    scalars = scalars_of(parameters, per_path=per_path)
    jump_chain = options.get("clock") == "events"
    accumulator = tangents_accumulator(network, scalars, temperature, waiting_times, jump_chain)
    centre = jax.lax.stop_gradient(parameters)
    windows = None if jump_chain else windows_around(times, cutoff, options.get("start_time", 0.0))
    grid = times if jump_chain else windows.grid
    with outside_gradients(key, centre, initial_counts, grid, options):
        paths, (tangents,) = simulate_with((accumulator,), key, network, centre, initial_counts, grid, **options)
    return _carry(paths, tangents, windows, parameters, per_path=per_path)


@partial(jax.jit, static_argnames="per_path")
def _carry(paths: Ensemble, tangents: jax.Array, windows: Windows | None, parameters: Any, *, per_path: bool) -> Ensemble:
    """The paths at the wanted times, whose counts and time integrals carry the tangents as their derivative.

    With windows, the tangents on the grid are those of the integrals [n, G, S · P]; else those of counts, clock and integrals at the wanted times.
    """
    size = len(paths.species) * sum(int(np.prod(np.shape(leaf)[int(per_path) :])) for leaf in jax.tree.leaves(parameters))
    if windows is None:
        of_counts, of_integrals = tangents[..., :size], tangents[..., -size:]
    else:
        of_counts, of_integrals = local_averages(tangents, windows), tangents[:, windows.now]
        paths = paths.at(windows.now)
    of_counts, of_integrals = (columns.reshape(*paths.counts.shape, -1) for columns in (of_counts, of_integrals))
    shift = flat_shift(parameters, of_counts.dtype, per_path=per_path)
    carried = {"counts": attach(paths.counts, of_counts, shift)}
    if paths.time_integrals is not None:
        carried["time_integrals"] = attach(paths.time_integrals, of_integrals, shift)
    return paths.replace(**carried)


def windows_around(times: Any, width: float, start: float) -> Windows:
    """Windows of a width around the times, narrower where they would open before the start (so that each has its time in the middle)."""
    check_times(times, start)
    wanted = np.asarray(times, np.float64).reshape(-1)
    half = np.minimum(width / 2, wanted - start)
    decimals = 9 - int(np.floor(np.log10(max(np.ptp(wanted), width))))  # so that edges which coincide but for rounding are one
    opens = np.where(half < width / 2, start, np.maximum(np.round(wanted - half, decimals), start))
    closes = np.where(half > 0, np.round(wanted + half, decimals), start)
    grid = np.unique(np.concatenate([wanted, opens[opens > start], closes[closes > start]]))
    opens, closes = (np.where(edges > start, np.searchsorted(grid, edges) + 1, 0) for edges in (opens, closes))
    edges = np.concatenate([[start], grid])
    widths = edges[closes] - edges[opens]
    return Windows(grid, np.searchsorted(grid, wanted), opens, closes, np.where(widths > 0, widths, 1.0))


@jax.jit
def local_averages(integrals: jax.Array, windows: Windows) -> jax.Array:
    """Averages over the windows [n, T, K] from the integrals up to each time of their grid [n, G, K]."""

    def up_to(edges):
        return jnp.where((edges > 0)[None, :, None], integrals[:, jnp.maximum(edges - 1, 0)], 0)

    return (up_to(windows.closes) - up_to(windows.opens)) / windows.widths.astype(integrals.dtype)[None, :, None]


@jax.custom_jvp
def attach(values: jax.Array, jacobian: jax.Array, shift: jax.Array) -> jax.Array:
    """Values [n, T, S] that carry Σ_p jacobian_p dθ_p as their derivative: jacobian [n, T, S, P], shift [P] or [n, P]."""
    return values


@attach.defjvp
def _attach_jvp(primals: tuple, tangents: tuple) -> tuple:
    values, jacobian, _ = primals
    return values, jnp.einsum("ntsp,np->nts" if tangents[2].ndim == 2 else "ntsp,p->nts", jacobian, tangents[2], precision="highest")


class Choice(NamedTuple):
    """A relaxed choice of a reaction with shares w_r, arrays [n]: their derivatives v_r, Σ_r w_r ν_r, 1 / Σ_r w_r, 1 / Σ_r a_r (no event: 0)."""

    sensitivities: tuple[jax.Array, ...]
    drift: list[jax.Array]
    per_share: jax.Array
    per_event: jax.Array


@cache
def tangents_accumulator(network: Network, scalars: Scalars, temperature: float | None, waiting_times: bool, jump_chain: bool) -> Accumulator:
    """Columns: tangents of the counts [S · P], of the time of the next event [P], and of the time integrals [S · P]."""
    num_species, num_scalars = len(network.species), len(scalars.names)
    reactions, changes = range(len(network.reactions)), network.stoichiometry.T
    laws = tuple(r for r in reactions if network.reactions[r].propensity is not None)
    others = tuple(r for r in reactions if r not in laws)

    def increments(values: tuple, step: Step) -> tuple:
        # The noise rests on the first of two numbers. The other one is independent of the reaction; a waiting time is, but in the jump chain.
        random = step.exponentials if jump_chain or temperature is None else (*step.exponentials, step.duration)
        choice = stage(partial(_relax, network=network, temperature=temperature), step.propensities, step.reaction, random)
        state = (step.counts, step.parameters, [values[p : num_species * num_scalars : num_scalars] for p in range(num_scalars)])
        some_slopes = partial(_slopes, network=network, scalars=scalars, per_path=step.per_path)
        of_laws = stage(partial(some_slopes, reactions=laws), *state) if laws else [{}] * num_scalars

        def slopes(state: tuple, of_laws: list) -> list:  # those of mass action cost no more than to keep them
            return [rest | known for rest, known in zip(some_slopes(*state, reactions=others), of_laws, strict=True)]

        def all_means(choice: Choice, duration: jax.Array, *state: Any) -> list:
            return [_means(choice, duration, moved) for moved in slopes(*state)]

        means = stage(all_means, choice, step.duration, state, of_laws)
        hits = [(lax.abs(step.reaction - r) < 0.5).astype(step.duration.dtype) for r in reactions]
        jumps = [combine(column, hits) for column in changes]
        columns = []
        for tangent, late, moved, (mean, delay) in zip(state[2], values[num_species * num_scalars :], slopes(state, of_laws), means, strict=False):
            delay = delay if waiting_times else jnp.zeros_like(delay)
            moves = [choice.sensitivities[r] * moved[r] if r in moved else None for r in reactions]
            of_counts = [(combine(column, moves) - d * mean) * choice.per_share for d, column in zip(choice.drift, changes, strict=True)]
            shifts = [x * delay for x in step.counts] if jump_chain else [-jump * (late + delay) for jump in jumps]
            columns.append((*of_counts, delay, *(step.duration * d + shift for d, shift in zip(tangent, shifts, strict=True))))
        return tuple(column for row in zip(*columns, strict=True) for column in row)

    return Accumulator(
        size=lambda _: (2 * num_species + 1) * num_scalars,
        increments=increments,
        compensated=False,
        num_hidden=0 if jump_chain else (num_species + 1) * num_scalars,
        num_exponentials=lambda _: 0 if temperature is None else 1 + jump_chain,
    )


def _means(choice: Choice, duration: jax.Array, slopes: dict[int, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """What the slopes of the propensities in one scalar make of all shares together, and of the waiting time."""
    mean = sum(choice.sensitivities[r] * slope for r, slope in slopes.items()) * choice.per_share
    return mean, -duration * choice.per_event * sum(slopes.values())


def _relax(propensities: tuple, reaction: jax.Array, random: tuple, *, network: Network, temperature: float | None) -> Choice:
    """The relaxed choice, from the reaction that fired and two numbers (none without a temperature): Exp(1) for the arrival of the first, any for the rest."""
    total, zero = sum(propensities), jnp.zeros_like(reaction)
    per_event = lax.select(total > 0, 1 / total, zero)
    first, key = (random[0] * per_event, noise_key(random)) if random else (None, None)
    soft = []
    for r, propensity in enumerate(propensities):
        exponential = noise(key, r, reaction.dtype) if random else None
        soft.append(soft_share(propensity, lax.abs(reaction - r) < 0.5, exponential, first, temperature))
    shares, sensitivities = zip(*soft, strict=True)
    per_share = lax.select(reaction < len(propensities) - 0.5, 1 / sum(shares), zero)
    return Choice(sensitivities, [combine(column, shares) for column in network.stoichiometry.T], per_share, per_event)


def soft_share(
    propensity: jax.Array, hit: jax.Array, exponential: jax.Array, first: jax.Array, temperature: float | None
) -> tuple[jax.Array, jax.Array]:
    """Share w of a reaction in the relaxed choice y = w / Σ w, and its derivative in the propensity a.

    With a temperature τ: y = softmax((ln a + g)/τ), for Gumbel noise g that makes the reaction that fired (`hit`) the largest. It comes from a race
    of exponential clocks: the winner arrives `first`, any other reaction E / a later, and w = (first arrival / arrival)^(1/τ). A reaction that is
    impossible (a = 0) has no gradient. Without a temperature: w = a.
    """
    if temperature is None:
        return propensity, jnp.ones_like(propensity)
    by_propensity = jnp.where(propensity > 0, first, 0) / (propensity * first + jnp.where(hit, 0, exponential))
    closeness = propensity * by_propensity
    if temperature == 1:
        return closeness, by_propensity
    return _power(closeness, 1 / temperature), by_propensity * _power(jnp.maximum(closeness, 1e-30), 1 / temperature - 1) / temperature


def _power(value: jax.Array, exponent: float) -> jax.Array:
    whole = round(exponent)
    return lax.integer_pow(value, whole) if abs(exponent - whole) < 1e-6 and whole <= 32 else lax.exp(exponent * lax.log(value))


def combine(coefficients: np.ndarray, terms: list[jax.Array]) -> jax.Array | float:
    """Σ c_r term_r without the terms that are not there."""
    parts = [float(c) * term if c != 1 else term for c, term in zip(coefficients, terms, strict=True) if c and term is not None]
    return sum(parts) if parts else 0.0


def _slopes(
    counts: tuple, parameters: Any, tangents: list, *, network: Network, scalars: Scalars, per_path: bool, reactions: tuple[int, ...]
) -> list[dict[int, jax.Array]]:
    """∂a_r + ∇a_r · D of some reactions r for each scalar, where anything moves it, from the tangents D of the counts: P times S arrays [n]."""
    of_species, of_scalars = (tuple(tuple(r for r in some if r in reactions) for some in readers) for readers in readers_of(network, scalars))
    in_counts = [dict(zip(some, _slopes_in_counts(network, s, some, counts, parameters, per_path), strict=True)) for s, some in enumerate(of_species)]
    slopes = []
    for p, readers in enumerate(of_scalars):
        mine = dict(zip(readers, derivatives(network, scalars, p, readers, counts, parameters, per_path), strict=True))
        for tangent, by_reaction in zip(tangents[p], in_counts, strict=True):
            for r, slope in by_reaction.items():
                mine[r] = mine.get(r, 0) + slope * tangent
        slopes.append(mine)
    return slopes


def _slopes_in_counts(network: Network, s: int, reactions: tuple[int, ...], counts: tuple, parameters: Any, per_path: bool) -> tuple[jax.Array, ...]:
    """∂a_r/∂x_s of some reactions, arrays over the lanes [n]."""

    def of_one_path(counts, parameters):
        direction = tuple(jnp.full_like(x, float(i == s)) for i, x in enumerate(counts))
        return jax.jvp(lambda x: network.rates(x, parameters, only=reactions), (counts,), (direction,))[1]

    values = jax.vmap(of_one_path, in_axes=(0, 0 if per_path else None))(counts, parameters)
    return tuple(value.astype(counts[0].dtype) for value in values)
