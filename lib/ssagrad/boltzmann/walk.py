"""The branching and annihilating random walk on a ring, and effective rates of its closure in (h, J), fitted to simulated moments.

Reference: Ernst et al. 2018, doi:10.1063/1.5026403, arXiv:1803.01063, where the chain is open and all runs begin with the same lattice; here it is a
ring, and lattices at time 0 are drawn from the lattice gas.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.boltzmann import lattice_gas
from ssagrad.boltzmann.hopping import generator, hop, outcome_tables, ring_neighbours

PUBLISHED = (lattice_gas.branching, lattice_gas.diffusion, lattice_gas.annihilation)
WITH_EXCLUSION = (lattice_gas.branching_to_empty, lattice_gas.diffusion, lattice_gas.annihilation)


def walk_densities(
    key: jax.Array,
    coupling: np.ndarray,
    *,
    num_runs: int,
    num_steps: int,
    step: float = 0.01,
    branching: float = 10.0,
    annihilation: float = 0.1,
    length: int = 100,
    most_sites: int = 1_000_000,
) -> np.ndarray:
    """Shares of sites, neighbouring pairs and triplets that are full, [n, num_steps + 1, 3], of walks from lattices drawn at (h, J).

    In each step every molecule branches with probability `branching · step` (onto an empty neighbouring site, if it has one), then tries one hop, and
    annihilates with a molecule that is in its way with probability `annihilation`.

    Args:
        branching: rate of A → 2 A [1/time]. most_sites: runs are simulated in batches of so many sites.
    """
    rng, neighbours, tables = generator(key), ring_neighbours(length), outcome_tables({(1, 1): (0, 0)})
    found, batch = [], max(1, min(4000, most_sites // length))
    for begin in range(0, num_runs, batch):
        sites = lattice_gas.sample_rings(rng, coupling, length, min(batch, num_runs - begin))
        moments = [_shares(sites)]
        for _ in range(num_steps):
            _branch(rng, sites, branching * step)
            hop(rng, sites, neighbours, tables, annihilation)
            moments.append(_shares(sites))
        found.append(np.stack(moments, axis=1))
    return np.concatenate(found)


class Effective(NamedTuple):
    """Fitted rates [R], their covariance [R, R] by the scatter of the runs, and what they predict: m1, m2 and P(111) over time [T, 3]."""

    rates: np.ndarray
    covariance: np.ndarray
    densities: np.ndarray


def fit_rates(
    samples: np.ndarray, coupling: np.ndarray, start: np.ndarray, *, step: float, reactions: tuple = PUBLISHED, num_iterations: int = 30
) -> Effective:
    """Rates θ_r ≥ 0 of F = Σ θ_r F^(r) whose m1 and m2 are closest to those of simulated runs, by damped Gauss–Newton steps in ln θ.

    Closest in units of the mean standard error of each. The derivatives run through the integration of (h, J).

    Args:
        samples: m1, m2 (and more) of n runs [n, T, ≥ 2]. coupling: (h, J) at time 0. start: rates to begin with [R].
        reactions: R functions of `lattice_gas`.

    Returns:
        `Effective`; its covariance holds if runs are independent and the fit is linear within the error bars.
    """
    means, scale = samples[..., :2].mean(0), samples[1:, 1:, :2].std(0, ddof=1).mean(0) / np.sqrt(len(samples))
    num_steps = len(means) - 1
    begin = jnp.asarray(coupling, jnp.float32)

    @jax.jit
    def predicted(logs):
        path = lattice_gas.integrate(begin, jnp.exp(logs), reactions, step=step, num_steps=num_steps)
        return jax.vmap(lattice_gas.densities)(path)

    slopes, logs, damping = jax.jit(jax.jacfwd(predicted)), np.log(start), 1e-3
    residual = ((np.asarray(predicted(jnp.asarray(logs, jnp.float32))) - means) / scale)[1:].ravel()
    for _ in range(num_iterations):
        slope = (np.asarray(slopes(jnp.asarray(logs, jnp.float32)), float) / scale[:, None])[1:].reshape(residual.size, -1)
        curvature = slope.T @ slope
        change = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), -slope.T @ residual)
        trial = logs + np.clip(change, -0.5, 0.5)
        after = ((np.asarray(predicted(jnp.asarray(trial, jnp.float32))) - means) / scale)[1:].ravel()
        better = after @ after < residual @ residual
        damping *= 0.3 if better else 10.0
        logs, residual = (trial, after) if better else (logs, residual)
    slope = (np.asarray(slopes(jnp.asarray(logs, jnp.float32)), float) / scale[:, None])[1:].reshape(residual.size, -1)
    moved = ((samples[..., :2] - means) / scale)[:, 1:].reshape(len(samples), -1) @ slope @ np.linalg.inv(slope.T @ slope)
    covariance = moved.T @ moved / (len(samples) * (len(samples) - 1)) * np.outer(np.exp(logs), np.exp(logs))
    return Effective(np.exp(logs), covariance, predicted_densities(np.exp(logs), coupling, step=step, num_steps=num_steps, reactions=reactions))


def predicted_densities(rates: np.ndarray, coupling: np.ndarray, *, step: float, num_steps: int, reactions: tuple = PUBLISHED) -> np.ndarray:
    """Densities of particles, pairs and triplets of the closure with given rates [R], from (h, J) at time 0: [num_steps + 1, 3]."""

    @jax.jit
    def solve(rates, begin):
        path = lattice_gas.integrate(begin, rates, reactions, step=step, num_steps=num_steps)
        return jax.vmap(lambda one: jnp.append(lattice_gas.densities(one), lattice_gas.probability(one, "111")))(path)

    return np.asarray(solve(jnp.asarray(rates, jnp.float32), jnp.asarray(coupling, jnp.float32)))


def _branch(rng: np.random.Generator, sites: np.ndarray, probability: float) -> None:
    """Each molecule has a child with the given probability, in place; of two that claim the same site one is born."""
    length = sites.shape[1]
    run, place = np.nonzero((sites == 1) & (rng.random(sites.shape, np.float32) < probability))
    left, right = sites[run, (place - 1) % length] == 0, sites[run, (place + 1) % length] == 0
    to_right = np.where(left & right, rng.random(len(run)) < 0.5, right)
    grows = left | right
    sites[run[grows], (place + np.where(to_right, 1, -1))[grows] % length] = 1


def _shares(sites: np.ndarray) -> np.ndarray:
    full = sites.astype(bool)
    pairs = full & np.roll(full, -1, 1)
    return np.stack([full.mean(1), pairs.mean(1), (pairs & np.roll(full, -2, 1)).mean(1)], axis=-1)
