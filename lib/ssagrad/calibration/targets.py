"""What a fit aims at: means (and squares) of counts over replicates, also where not every replicate was seen at every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssagrad.calibration.experiments import Problem, products
from ssagrad.calibration.model_text import CalibrationError

_ENOUGH_FOR_SQUARES = 30  # replicates at a time


class Targets(NamedTuple):
    """Moments of the data: T pairs of experiment and time, by time; K moments (S means, then squares and products); N replicates of all experiments.

    rows: one for each replicate [N, T, K], whose mean and covariance are those of the moments.
    centres: means [T of the experiment, S] of each experiment.
    means, errors: the moments and their standard errors [T, K]; errors are 0 where nothing can be compared.
    times, experiments: of each pair [T]. moments: names [K]. second: whether there are squares and products.
    """

    rows: np.ndarray
    centres: tuple[np.ndarray, ...]
    means: np.ndarray
    errors: np.ndarray
    times: np.ndarray
    experiments: np.ndarray
    moments: tuple[str, ...]
    second: bool

    def observed(self) -> dict[str, np.ndarray]:
        """Rows by moment, as `match_moments` takes them."""
        return {name: self.rows[:, :, k] for k, name in enumerate(self.moments)}

    def weight(self) -> tuple[np.ndarray, np.ndarray]:
        """Inverse covariance of the compared moments [D, D] (its correlations shrunk as in `matching`), and which they are [T K]."""
        seen = (self.errors > 0).ravel()
        number, errors = len(self.rows), self.errors.ravel()[seen]
        scaled = (self.rows - self.means).reshape(number, -1)[:, seen] / (errors * np.sqrt(number * (number - 1)))
        kept = number / (number + seen.sum())
        return np.linalg.inv(kept * scaled.T @ scaled + (1 - kept) * np.eye(len(errors))) / np.outer(errors, errors), seen


def targets_of(problem: Problem, *, second: bool | None = None) -> Targets:
    """Moments of the data of all experiments.

    A replicate's row holds mean + √(N(N−1)/(n(n−1))) (value − mean), where n of all N replicates have a value, and the mean where it has none.
    Then rows have the mean and the covariance of the n values' mean, whatever the gaps (pairs of moments share the replicates that have both).

    Args:
        second: compare squares and products too, which tells variances and covariances; default: where half of the places have 30 replicates.

    Raises:
        CalibrationError: no experiment has two replicates at a time.
    """
    numbers = np.concatenate([np.isfinite(one.counts).sum(0).ravel() for one in problem.experiments])
    if numbers.max() < 2:
        raise CalibrationError(
            "expected at least 2 replicates at some time, whose scatter weighs the means, received single paths; "
            "give noise=, the standard deviation of the measurement in molecules (about 1 for exact counts), to fit these by a particle filter"
        )
    second = bool(np.median(numbers[numbers > 0]) >= _ENOUGH_FOR_SQUARES) if second is None else second
    total, centres, blocks, errors, first = sum(len(one.counts) for one in problem.experiments), [], [], [], 0
    for one in problem.experiments:
        centres.append(_mean(one.counts))
        values = np.concatenate([one.counts, *([products(one.counts - centres[-1])] if second else [])], axis=-1)
        seen, mean = np.isfinite(values), _mean(values)
        n = seen.sum(0)
        centred = np.where(seen, values - mean, 0) * (n > 1) * np.sqrt(total * (total - 1) / np.maximum(n * (n - 1), 1))
        spread = np.sqrt((centred**2).sum(0) / (total * (total - 1)))
        errors.append(np.where(spread > 1e-6 * np.abs(mean), spread, 0))
        block = np.zeros((total, *mean.shape))
        block[first : first + len(values)] = centred * (errors[-1] > 0)
        blocks.append(block + mean)
        first += len(values)
    times = np.concatenate([one.times for one in problem.experiments])
    order = np.argsort(times, kind="stable")
    rows = np.concatenate(blocks, axis=1)[:, order]
    labels = np.repeat(np.arange(len(problem.experiments)), [len(one.times) for one in problem.experiments])[order]
    return Targets(rows, tuple(centres), rows.mean(0), np.concatenate(errors)[order], times[order], labels, _names(problem.species, second), second)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over replicates of what is there; 0 where nothing is."""
    n = np.isfinite(values).sum(0)
    return np.nansum(values, axis=0) / np.maximum(n, 1)


def _names(species: Sequence[str], second: bool) -> tuple[str, ...]:
    first, other = np.triu_indices(len(species))
    pairs = [f"var {species[a]}" if a == b else f"cov {species[a]}, {species[b]}" for a, b in zip(first, other, strict=True)]
    return (*species, *(pairs if second else []))
