"""Moments of lattices: numbers of molecules and of pairs of them, by distance."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np

PAIRS = {"prey–prey": (0, 0), "hunter–hunter": (1, 1), "prey–hunter": (0, 1)}
SHIFTS = {"NN": ((0, 1), (1, 0)), "NNN": ((0, 2), (1, 1), (2, 0))}
NAMES = ("prey", "hunters", *(f"{distance} {pair}" for distance in SHIFTS for pair in PAIRS))


def lattice_moments(sites: np.ndarray) -> np.ndarray:
    """Numbers of prey, hunters, and of pairs at nearest (NN) and next-nearest (NNN) distance, of each lattice [..., 8] in the order of NAMES.

    NN pairs are those with displacements (0, 1) and (1, 0), NNN pairs those with (0, 2), (1, 1) and (2, 0) (not (1, −1)), on a periodic
    lattice; of two different species both orders are counted. Extensive: sums over the lattice.

    Args:
        sites: [..., side, side], 0 empty, 1 prey, 2 hunter.

    References: the pair observables of Ernst et al. 2019, arXiv:1905.12122, as their published figures count them.
    """
    sites = np.asarray(sites)
    return _moments(((sites == 1).astype(np.int16), (sites == 2).astype(np.int16)), (-2, -1), np).astype(float)


def expected_moments(prey: Any, hunters: Any) -> Any:
    """The same of independent sites that hold prey and hunters with given probabilities, float32 [side, side, chains]: [chains, 8], in JAX."""
    return _moments((prey, hunters), (0, 1), jnp)


def _moments(kinds: tuple[Any, Any], axes: tuple[int, int], xp: ModuleType) -> Any:
    found = [kind.sum(axes) for kind in kinds]
    for shifts in SHIFTS.values():
        around = [sum(xp.roll(kind, shift, axes) for shift in shifts) for kind in kinds]
        for one, other in PAIRS.values():
            pairs = kinds[one] * around[other]
            found.append((pairs if one == other else pairs + kinds[other] * around[one]).sum(axes))
    return xp.stack(found, axis=-1)


def product_moments(prey: np.ndarray, hunters: np.ndarray, num_sites: int) -> np.ndarray:
    """What `lattice_moments` would be on average if sites were independent, at given mean numbers [...]: [..., 8]."""
    numbers = np.asarray(prey, float), np.asarray(hunters, float)
    kinds = [(len(shifts) * (1 + (one != other)), one, other) for shifts in SHIFTS.values() for one, other in PAIRS.values()]
    pairs = [links * numbers[one] * numbers[other] / num_sites for links, one, other in kinds]
    return np.stack([*numbers, *pairs], axis=-1)


def moments_of_runs(sites: np.ndarray) -> np.ndarray:
    """`lattice_moments` of runs [n, T, side, side], a run at a time: [n, T, 8]."""
    return np.stack([lattice_moments(run) for run in sites])


def distances(found: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """Root mean square over time of the differences of moments [T, 8], by name."""
    values = np.sqrt(((np.asarray(found) - np.asarray(expected)) ** 2).mean(0))
    return dict(zip(NAMES, values.tolist(), strict=True))


def low_pass(values: np.ndarray, *, cutoff: float = 0.1, taps: int = 401) -> np.ndarray:
    """Curves [T, ...] without what is faster than the cutoff [radians per sample]: a sinc under a Blackman window, ends held.

    Reference: the paper's filter, whose kernel is not known; this length is ours.
    """
    lag = np.arange(taps) - taps // 2
    kernel = cutoff / np.pi * np.sinc(cutoff * lag / np.pi) * np.blackman(taps)
    values = np.asarray(values, float)
    padded = np.pad(values, [(taps // 2, taps // 2)] + [(0, 0)] * (values.ndim - 1), mode="edge")
    flat = padded.reshape(len(padded), -1)
    smooth = np.stack([np.convolve(column, kernel / kernel.sum(), mode="valid") for column in flat.T], axis=-1)
    return smooth.reshape(values.shape)


def first_moment_law(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares coefficients of d⟨prey⟩/dt and d⟨hunters⟩/dt in (own number, NN prey–hunter), [2, 2], and their jackknife standard errors.

    The law is exact, with coefficients (birth, −r) and (−death, r), where r = predation probability · (1/4 + 1/4): each of a pair's two molecules
    picks the other with probability 1/4 a step. Changes over a unit of time are regressed on means of the numbers at its ends: an error of second
    order.

    Args:
        moments: of runs [n, T, 8], in the order of NAMES, at times one unit apart.
    """
    total, number = moments.sum(0), len(moments)
    found = np.array([_law(one) for one in [total / number, *((total - run) / (number - 1) for run in moments)]])
    return found[0], np.sqrt((number - 1) / number * ((found[1:] - found[1:].mean(0)) ** 2).sum(0))


def _law(means: np.ndarray) -> np.ndarray:
    middle, change = (means[1:] + means[:-1]) / 2, np.diff(means, axis=0)
    met = middle[:, NAMES.index("NN prey–hunter")]
    return np.stack([np.linalg.lstsq(np.stack([middle[:, kind], met], axis=1), change[:, kind], rcond=None)[0] for kind in range(2)])


def equal_means(means: np.ndarray, *, apart: int) -> tuple[int, int]:
    """The two times, at least so far apart, at which mean prey and hunters [T, ≥ 2] are closest to one another: where the orbit crosses itself."""
    points = means[:, :2]
    gaps = np.linalg.norm(points[:, None] - points[None], axis=-1)
    times = np.arange(len(points))
    gaps = np.where(times[None] - times[:, None] >= apart, gaps, np.inf)
    first, second = np.unravel_index(np.argmin(gaps), gaps.shape)
    return int(first), int(second)
