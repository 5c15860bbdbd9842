"""What others do with the same data: regression of derivatives on propensities, which `discover` is compared with.

All take one series of counts (a path, or means of paths), and say which candidates they keep and with which rates. References: Burrage, Weerasinghe,
Burrage 2024, doi:10.1007/s11075-023-01737-0 (coupled libraries, one column for each reaction); Brunton, Proctor, Kutz 2016,
doi:10.1073/pnas.1517384113 (sequential thresholds); Lawson and Hanson 1974, "Solving Least Squares Problems" (non-negative least squares).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from scipy.optimize import nnls

from ssagrad.structure.candidates import Library


def least_squares(library: Library, counts: np.ndarray, times: np.ndarray, *, threshold: float = 1e-6) -> dict[int, float]:
    """Non-negative least squares of numerical derivatives on all candidates at once: coupled SINDy as its authors use it.

    Args:
        counts: [T, S]. times: [T]. threshold: rates below are left out.

    Returns:
        Rates of the candidates kept, by their position in the library.
    """
    design, derivatives = _regression(library, counts, times)
    return {j: rate for j, rate in enumerate(_solve(design, derivatives)) if rate > threshold}


def sequential_thresholds(library: Library, counts: np.ndarray, times: np.ndarray, *, share: float = 0.05) -> dict[int, float]:
    """Coupled SINDy with sequential thresholds: fit, drop candidates that bring less than a share of the derivatives' size, again until none does.

    The threshold is on what a reaction contributes, because rate constants of different orders have no common scale.
    """
    design, derivatives = _regression(library, counts, times)
    kept = np.arange(library.size)
    while True:
        rates = _solve(design[:, kept], derivatives)
        contributions = np.linalg.norm(design[:, kept] * rates, axis=0)
        stays = contributions > share * np.linalg.norm(derivatives)
        if not stays.any():
            return {}
        if stays.all():
            return {int(j): float(rate) for j, rate in zip(kept, rates, strict=True) if rate > 0}
        kept = kept[stays]


def best_pair(library: Library, counts: np.ndarray, times: np.ndarray) -> dict[int, float]:
    """The pair of candidates with the smallest residual, by going through all pairs."""
    design, derivatives = _regression(library, counts, times)
    gram, pull = design.T @ design, design.T @ derivatives
    best, found = np.inf, {}
    for i, j in combinations(range(library.size), 2):
        determinant = gram[i, i] * gram[j, j] - gram[i, j] ** 2
        if determinant <= 1e-12 * gram[i, i] * gram[j, j]:
            continue
        rates = (gram[j, j] * pull[i] - gram[i, j] * pull[j]) / determinant, (gram[i, i] * pull[j] - gram[i, j] * pull[i]) / determinant
        gain = rates[0] * pull[i] + rates[1] * pull[j]  # by which the sum of squares falls
        if min(rates) > 0 and -gain < best:
            best, found = -gain, {i: float(rates[0]), j: float(rates[1])}
    return found


def _regression(library: Library, counts: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Design [T S, L] and derivatives [T S] by central differences."""
    counts, times = np.asarray(counts, float), np.asarray(times, float)
    if counts.shape != (len(times), len(library.species)):
        raise ValueError(f"expected counts [{len(times)}, {len(library.species)}] (times, species), received shape {counts.shape}")
    design = library.combinations(counts)[:, None, :] * library.changes.T[None]
    return design.reshape(-1, library.size), np.gradient(counts, times, axis=0).reshape(-1)


def _solve(design: np.ndarray, derivatives: np.ndarray) -> np.ndarray:
    """Rates ≥ 0, of columns scaled to length 1."""
    lengths = np.linalg.norm(design, axis=0)
    lengths = np.where(lengths > 0, lengths, 1)
    return nnls(design / lengths, derivatives, maxiter=100 * design.shape[1])[0] / lengths
