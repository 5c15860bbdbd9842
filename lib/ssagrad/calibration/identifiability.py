"""What the data determine: the information of moments about ln θ, its directions, and in words those along which nothing observed changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.calibration.targets import Targets

UNDETERMINED = 1.0  # standard error of the logarithm of a combination from which on the data are said not to determine it: a factor e
_BLOCKS = 8
_REACH = np.log(1e4)  # of a fit from its first guess, either way


class Direction(NamedTuple):
    """A combination of parameters Π θ_p^exponent: an eigenvector of the information, its largest exponent 1 [P].

    standard_error: of its logarithm, given the data and the sensitivities; infinite where these are 0.
    is_determined: whether it is below UNDETERMINED, also when the error of simulated sensitivities (two standard errors) is allowed for.
    text: what that means. is_noisy: whether that error alone decides, so that the data may determine it.
    """

    exponents: np.ndarray
    standard_error: float
    is_determined: bool
    text: str
    is_noisy: bool = False


class Information(NamedTuple):
    """What the moments at the fitted parameters say.

    directions: from the worst determined combination to the best. noise: relative standard error of the simulated sensitivities by parameter [P].
    covariance: of ln θ by the information alone [P, P], infinite where an undetermined direction has a share of more than a tenth; smaller shares
        add their part of its variance, with the reach of a fit (10⁴) for its largest standard error.
    z: (simulated − observed)/error of each moment [T, K], NaN where nothing is compared. paths: how many plain paths the simulation is worth.
    """

    directions: tuple[Direction, ...]
    noise: np.ndarray
    covariance: np.ndarray
    z: np.ndarray
    paths: float


def information(key: jax.Array, joint: Callable, names: Sequence[str], logs: np.ndarray, targets: Targets) -> Information:
    """Directions of JᵀWJ, with W the inverse covariance of the observed moments and J their sensitivities in ln θ.

    J comes from simulations, whose noise would make everything look determined: products are taken of different blocks of paths only. Where
    that noise hides whether a direction is determined, more paths are simulated, up to 64 times as many.

    Args:
        joint: from parameters by name and a key to `experiments.Joint`. names: of the parameters. logs: ln θ [P].
    """
    simulate = jax.jit(jax.jacfwd(partial(_blocks, joint, names), has_aux=True))
    keys, logs, parts = jax.random.split(key, 64), jnp.asarray(logs, jnp.result_type(float)), []
    for total in (1, 4, 16, 64):
        parts += [simulate(logs, one) for one in keys[len(parts) : total]]
        slopes, moments = (np.concatenate([np.asarray(part, float) for part in of_all]) for of_all in zip(*parts, strict=True))
        found = _information(names, moments, slopes, targets)
        if not any(one.is_noisy for one in found.directions):
            break
    return found


def _information(names: Sequence[str], moments: np.ndarray, slopes: np.ndarray, targets: Targets) -> Information:
    """The same from means of blocks of paths [B, T, K] and their derivatives [B, T, K, P]."""
    weight, seen = targets.weight()
    errors = targets.errors.ravel()[seen]
    z = np.full(targets.means.shape, np.nan)
    flat = z.reshape(-1)
    flat[seen] = (moments.mean(0).ravel()[seen] - targets.means.ravel()[seen]) / errors
    slopes, number = slopes.reshape(len(slopes), -1, len(names))[:, seen], len(slopes)
    mean = slopes.mean(0)
    own = np.einsum("bdp,de,beq->pq", slopes, weight, slopes) / number
    matrix = (number * mean.T @ weight @ mean - own) / (number - 1)
    spread = slopes - mean
    noise = np.sqrt(np.einsum("bdp,de,bep->p", spread, weight, spread) / (number * (number - 1)) / np.maximum(np.diag(matrix), 1e-300))
    shares = 2 * np.einsum("bdp,de,eq->bpq", slopes, weight, mean)  # a product changes by twice what one factor does
    directions, covariance = describe_information(names, matrix, shares)
    plain = errors**2 * len(targets.rows)  # variance of a path, as far as replicates are paths
    scatter = moments.reshape(number, -1)[:, seen].var(0, ddof=1) / number
    paths = float(np.median(plain / np.maximum(scatter, 1e-300))) if (scatter > 1e-12 * plain).all() else np.inf
    return Information(directions, noise, covariance, z, paths)


def describe_information(names: Sequence[str], matrix: np.ndarray, samples: np.ndarray) -> tuple[tuple[Direction, ...], np.ndarray]:
    """Directions of an information matrix of ln θ [P, P], whose error is that of the mean of samples [B, P, P], and the covariance [P, P]."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    doubts = 2 * np.einsum("pv,bpq,qv->bv", vectors, samples, vectors).std(0, ddof=1) / np.sqrt(len(samples))
    directions = tuple(_direction(names, vectors[:, v], values[v], doubts[v]) for v in range(len(names)))
    return directions, _covariance(directions, values, doubts, vectors)


def _blocks(joint: Callable, names: Sequence[str], logs: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Means of blocks of terms [B, T, K], twice: what is differentiated, and what is handed on."""
    values = joint({name: jnp.exp(logs[p]) for p, name in enumerate(names)}, key).values
    limits = np.linspace(0, len(values), min(_BLOCKS, len(values)) + 1).astype(int)
    found = jnp.stack([values[first:end].mean(0) for first, end in zip(limits[:-1], limits[1:], strict=True)])
    return found, found


def _direction(names: Sequence[str], vector: np.ndarray, value: float, doubt: float) -> Direction:
    size = np.abs(vector).max()
    exponents = vector / vector[np.argmax(np.abs(vector))]
    error = float(1 / np.sqrt(value) / size) if value > 0 else np.inf
    least, most = ((value + side * doubt) * size**2 * UNDETERMINED**2 for side in (-1, 1))
    determined, noisy = bool(least > 1), bool(least <= 1 < most and most - least > 2)
    words = _too_noisy(names, exponents) if noisy else _in_words(names, exponents, error, determined)
    return Direction(exponents, error, determined, words, noisy)


def _powers(names: Sequence[str], exponents: np.ndarray) -> tuple[list[int], str]:
    chosen = sorted((p for p in range(len(names)) if abs(exponents[p]) >= 0.15), key=lambda p: -abs(exponents[p]))
    return chosen, " · ".join(names[p] if abs(exponents[p] - 1) < 0.05 else f"{names[p]}^{exponents[p]:.1f}" for p in chosen)


def _too_noisy(names: Sequence[str], exponents: np.ndarray) -> str:
    powers = _powers(names, exponents)[1]
    return f"{powers}: cannot be told; the simulation knows its information too badly to say whether it is determined: more num_paths"


def _in_words(names: Sequence[str], exponents: np.ndarray, error: float, determined: bool) -> str:
    chosen, powers = _powers(names, exponents)
    if determined:
        return f"{powers}: known to {100 * error:.2g} %"
    if len(chosen) == 1:
        return f"{names[chosen[0]]}: not determined; it can change by a factor without what was observed changing beyond its errors"
    up = ", ".join(names[p] for p in chosen if exponents[p] > 0)
    down = ", ".join(names[p] for p in chosen if exponents[p] < 0)
    how = f"{up} up and {down} down together" if down else f"{up} together"
    return f"{powers}: not determined; {how} leave what was observed as it is"


def _covariance(directions: Sequence[Direction], values: np.ndarray, doubts: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    known = np.array([one.is_determined for one in directions])
    least = np.where(known, values, np.maximum(values - doubts, _REACH**-2))
    result = (vectors / least) @ vectors.T
    loose = (np.abs(vectors[:, ~known]) > 0.1).any(1)
    result[loose] = result[:, loose] = 0
    result[loose, loose] = np.inf
    return result
