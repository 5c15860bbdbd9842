"""A Boltzmann law without latent units: pair couplings within and between kinds, at both distances whose pairs are counted.

    p ∝ exp(Σ_k θ_k m_k),   m the eight moments of `moments.NAMES`: prey, hunters, and their pairs at nearest and next-nearest distance

Among all laws with the same eight means it is that of largest entropy; the log-likelihood is concave in θ, its gradient is a difference of means,
its Hessian minus the covariance C of the moments. So θ follows data by natural-gradient steps C⁻¹(m_data − m), with m and C from chains that never
start again: what is fitted is the law in equilibrium, not that of a few sweeps.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.boltzmann.moments import NAMES, expected_moments
from ssagrad.random import next_uniform

_NEAR = ((0, 1), (1, 0), (0, -1), (-1, 0))
_NEXT = ((0, 2), (1, 1), (2, 0), (0, -2), (-1, -1), (-2, 0))
_COLOURS = 5  # sites with equal (row + 2 column) mod 5 are no neighbours at either distance


@jax.jit
def field_sweep(key: jax.Array, theta: jax.Array, sites: jax.Array, num_sweeps: int | jax.Array) -> jax.Array:
    """Gibbs sweeps: sites of one of five colours at a time, which do not interact.

    Args:
        theta: [8, chains], in the order of NAMES. sites: int8 [side, side, chains], 0 empty, 1 prey, 2 hunter; the side a multiple of 5.

    Raises:
        ValueError: a side that is not a multiple of 5.
    """
    if sites.shape[0] % _COLOURS or sites.shape[1] % _COLOURS:
        raise ValueError(f"expected a side that is a multiple of {_COLOURS}, received {sites.shape[:2]}")
    rows, columns = jnp.arange(sites.shape[0]), jnp.arange(sites.shape[1])
    colour = ((rows[:, None] + 2 * columns[None]) % _COLOURS)[..., None]

    def one(_, carry):
        sites, stream = carry
        stream, uniform = next_uniform(stream, theta.dtype)
        for turn in range(_COLOURS):
            prey, hunter = field_odds(theta, sites)
            level = uniform * (1 + prey + hunter)
            drawn = (level < prey).astype(jnp.int8) + 2 * ((level >= prey) & (level < prey + hunter)).astype(jnp.int8)
            sites = jnp.where(colour == turn, drawn, sites)
        return sites, stream

    words = jax.random.bits(key, (4, *sites.shape), jnp.uint32)
    return jax.lax.fori_loop(0, num_sweeps, one, (sites, tuple(words)))[0]


def field_odds(theta: jax.Array, sites: jax.Array) -> tuple[jax.Array, jax.Array]:
    """e^field of prey and of a hunter at each site, given all others: odds against empty [side, side, chains]."""
    square = sites * sites
    packed = square * square  # 0, 1 or 16: both kinds are counted in one byte
    for axis in range(2):
        ends = jax.lax.slice_in_dim(packed, -2, None, axis=axis), packed, jax.lax.slice_in_dim(packed, 0, 2, axis=axis)
        packed = jax.lax.optimization_barrier(jnp.concatenate(ends, axis))
    side = sites.shape[:2]
    fields = [theta[kind][None, None] for kind in range(2)]
    for place, shifts in ((2, _NEAR), (5, _NEXT)):
        total = sum(packed[2 + row : 2 + row + side[0], 2 + column : 2 + column + side[1]] for row, column in shifts)
        prey, hunters = (count.astype(theta.dtype) for count in (total & 15, total >> 4))
        same_prey, same_hunters, mixed = theta[place : place + 3, None, None]
        fields = [fields[0] + same_prey * prey + mixed * hunters, fields[1] + same_hunters * hunters + mixed * prey]
    return jnp.exp(fields[0]), jnp.exp(fields[1])


def follow(
    key: jax.Array,
    targets: np.ndarray,
    *,
    side: int,
    bounds: np.ndarray | None = None,
    num_chains: int = 200,
    num_sweeps: int = 3,
    steps_per_time: int = 2,
    rate: float = 0.3,
    progress: str | None = None,
) -> np.ndarray:
    """θ(t) [T, 8] whose equilibrium law has the target moments at each time, by natural-gradient steps, from independent sites on.

    Strong couplings order the lattice: two phases, between which chains do not pass, and moments that jump with θ. `bounds` keep them below that;
    then the means are still matched, pairs as far as the bounds allow.

    **Bias / variance**: θ lags behind by about 1/(rate · steps_per_time) units of time, and scatters with the error of `num_chains` chains, which
    carry over from time to time.

    Args:
        targets: moments of the data [T, 8], those at time 0 near independent sites. bounds: largest |θ_k| [8]; none if left out.
        num_sweeps: between two steps. rate: share of the natural-gradient step that is taken.
    """
    bounds = np.full(len(NAMES), np.inf) if bounds is None else np.asarray(bounds, float)
    density = np.maximum(targets[0, :2], 1) / side**2
    theta = np.append(np.log(density / (1 - density.sum())), np.zeros(len(NAMES) - 2))
    level = jax.random.uniform(key, (side, side, num_chains))
    sites = (level < density[0]).astype(jnp.int8) + 2 * ((level >= density[0]) & (level < density.sum())).astype(jnp.int8)
    path = []
    for time in _bar(range(len(targets)), progress):
        for step in range(steps_per_time):
            number = time * steps_per_time + step
            sites, values = _march(jax.random.fold_in(key, number), jnp.asarray(theta, jnp.float32), sites, num_sweeps)
            theta = np.clip(theta + rate * natural_step(np.asarray(values, float), targets[time], theta, bounds), -bounds, bounds)
        path.append(theta)
    return np.array(path)


def natural_step(values: np.ndarray, target: np.ndarray, theta: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """C⁻¹(target − mean) for moments of chains [n, 8], among the parameters that are not held by a bound; at most 0.3 in each.

    C has a ridge of 5 % of the variances. A parameter at its bound [8] that would be pushed on is held, and the others are solved for without it.
    """
    covariance, gradient = np.cov(values.T), target - values.mean(0)
    scale = np.sqrt(np.diag(covariance) + 1.0)
    correlation = covariance / np.outer(scale, scale) + 0.05 * np.eye(len(scale))
    free, change = np.ones(len(theta), bool), np.zeros(len(theta))
    for _ in range(len(theta)):
        change = np.zeros(len(theta))
        change[free] = np.linalg.solve(correlation[np.ix_(free, free)], (gradient / scale)[free]) / scale[free]
        held = free & (np.abs(theta) >= bounds * (1 - 1e-9)) & (change * theta >= 0)
        if not held.any():
            break
        free &= ~held
    return np.clip(change, -0.3, 0.3)


def field_moments(
    key: jax.Array, theta: np.ndarray, *, side: int, num_chains: int, num_sweeps: int, batch: int = 1000
) -> tuple[np.ndarray, np.ndarray]:
    """Moments of the law after sweeps from noise (each site empty or of either kind with probability 1/3), and standard errors: two arrays [T, 8]."""
    rows, found = max(1, batch // num_chains), []
    for number, begin in enumerate(range(0, len(theta), rows)):
        some = theta[begin : begin + rows]
        padded = np.concatenate([some, np.repeat(some[-1:], rows - len(some), axis=0)])
        each = jnp.asarray(np.repeat(padded.T, num_chains, axis=1), jnp.float32)
        first, second = jax.random.split(jax.random.fold_in(key, number))
        sites = jax.random.randint(first, (side, side, each.shape[1]), 0, 3, jnp.int8)
        values = _count(field_sweep(second, each, sites, num_sweeps))
        found.append(np.asarray(values, float).reshape(rows, num_chains, -1)[: len(some)])
    samples = np.concatenate(found)
    return samples.mean(1), samples.std(1, ddof=1) / np.sqrt(num_chains)


@partial(jax.jit)
def _march(key, theta, sites, num_sweeps):
    sites = field_sweep(key, jnp.repeat(theta[:, None], sites.shape[2], axis=1), sites, num_sweeps)
    return sites, _count(sites)


@jax.jit
def _count(sites):
    return expected_moments((sites == 1).astype(jnp.float32), (sites == 2).astype(jnp.float32))


def _bar(steps: range, label: str | None):
    if label is None:
        return steps
    from tqdm import tqdm

    return tqdm(steps, desc=label, unit="time")
