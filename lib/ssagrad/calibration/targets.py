"""What a fit aims at: means (and squares) of counts over replicates, also where not every replicate was seen at every time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssagrad.calibration.experiments import Experiment, Problem, products
from ssagrad.calibration.model_text import CalibrationError
from ssagrad.observations import Moments

_ENOUGH_FOR_SQUARES = 30  # replicates at a time
_NAMED = 3  # places in a note


class Targets(NamedTuple):
    """Moments of the data: T pairs of experiment and time, by time; K moments (S means, then squares and products); N replicates of all experiments.

    rows: one for each replicate [N, T, K], whose mean and covariance are those of the moments.
    centres: means [T of the experiment, S] of each experiment.
    means, errors: the moments and their standard errors [T, K]; errors are 0 where nothing can be compared.
    times, experiments: of each pair [T]. moments: names [K]. second: whether there are squares and products.
    replicates: behind a compared mean, the median. notes: sentences on counts that say less than they could.
    """

    rows: np.ndarray
    centres: tuple[np.ndarray, ...]
    means: np.ndarray
    errors: np.ndarray
    times: np.ndarray
    experiments: np.ndarray
    moments: tuple[str, ...]
    second: bool
    replicates: float
    notes: tuple[str, ...]

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

    A mean m of n equal counts has the standard error √max(m, 1)/n, that of counts of which one is off by a Poisson standard deviation, and by a
    molecule at least. (Of n zeros, whose likelihood under a Poisson mean μ is exp(−nμ), that is the μ at which it has fallen by the factor e.) A
    count alone at its time has no error, and is not compared; nor are squares and products without scatter, beside the mean of the same counts.

    Args:
        second: compare squares and products too, which tells variances and covariances; default: where half of the places have 30 replicates.

    Raises:
        CalibrationError: no two replicates at a time, in all experiments or in one of them.
    """
    numbers = np.concatenate([np.isfinite(one.counts).sum(0).ravel() for one in problem.experiments])
    if numbers.max() < 2:
        raise CalibrationError(
            "expected at least 2 replicates at some time, whose scatter weighs the means, received single paths; "
            "give noise=, the standard deviation of the measurement in molecules (about 1 for exact counts), to fit these by a particle filter"
        )
    second = bool(np.median(numbers[numbers > 0]) >= _ENOUGH_FOR_SQUARES) if second is None else second
    total, centres, blocks, errors, notes, first = sum(len(one.counts) for one in problem.experiments), [], [], [], [], 0
    for one in problem.experiments:
        centres.append(np.nan_to_num(Moments.of(one.times, one.counts).means))
        values = np.concatenate([one.counts, *([products(one.counts - centres[-1])] if second else [])], axis=-1)
        found = Moments.of(one.times, values)
        n, mean = found.numbers, np.nan_to_num(found.means)
        flat = (n > 1) & (np.nan_to_num(found.standard_errors) <= 1e-6 * np.abs(mean))
        flat[:, len(problem.species) :] = False
        notes += _notes(one, problem.species, n == 1, flat)
        centred = np.where(np.isfinite(values) & (n > 1), values - mean, 0)
        centred = np.where(flat, _least_scatter(np.isfinite(values), mean), centred) * np.sqrt(total * (total - 1) / np.maximum(n * (n - 1), 1))
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
    return Targets(
        rows, tuple(centres), rows.mean(0), np.concatenate(errors)[order], times[order], labels, _names(problem.species, second), second,
        float(np.median(numbers[numbers > 1])), tuple(notes),
    )  # fmt: skip


def least_error(means: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Standard error √max(m, 1)/n of a mean m of n equal counts."""
    return np.sqrt(np.maximum(means, 1)) / np.maximum(numbers, 1)


def _least_scatter(seen: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Deviations [N, T, K] of replicates that are there, which give the mean `least_error`: in directions drawn at random, so that one place says
    nothing of another."""
    n = seen.sum(0)
    drawn = np.where(seen, np.random.default_rng(0).normal(size=seen.shape), 0)
    drawn = np.where(seen, drawn - drawn.sum(0) / np.maximum(n, 1), 0)
    length = np.sqrt((drawn**2).sum(0))
    return drawn / np.where(length > 0, length, 1) * least_error(mean, n) * np.sqrt(n * np.maximum(n - 1, 0))


def _notes(one: Experiment, species: Sequence[str], alone: np.ndarray, flat: np.ndarray) -> list[str]:
    """Sentences on counts of a condition that are alone at their times, or all the same; CalibrationError if all of them are alone."""
    where, alone, flat = f"condition '{one.name}'" if one.name else "the data", alone[:, : len(species)], flat[:, : len(species)]
    way = "measure replicates at common times, or fit whole paths, which takes every count: noise= (about 1 for exact counts)"
    counts = np.isfinite(one.counts).sum()
    if alone.sum() == counts:
        raise CalibrationError(
            f"{where}: expected at least 2 replicates at some time, whose scatter weighs the mean, received {counts} counts, each alone at its time; "
            f"{way}; or leave this condition out of the data"
        )
    found = []
    if alone.any():
        found.append(f"Not used: {alone.sum()} of {counts} counts of {where}, alone at their times ({_places(one, species, alone)}); {way}.")
    if flat.any():
        found.append(
            f"The same in all replicates of {where}: {_places(one, species, flat)}; taken as if one of n replicates were off by a Poisson standard "
            "deviation, and by a molecule at least."
        )
    return found


def _places(one: Experiment, species: Sequence[str], chosen: np.ndarray) -> str:
    """Such as `X at 1, 2; Y at 3, ...`."""
    times = {name: [f"{time:g}" for time in one.times[column]] for name, column in zip(species, chosen.T, strict=True) if column.any()}
    return "; ".join(f"{name} at {', '.join([*found[:_NAMED], *(['...'] if len(found) > _NAMED else [])])}" for name, found in times.items())


def _names(species: Sequence[str], second: bool) -> tuple[str, ...]:
    first, other = np.triu_indices(len(species))
    pairs = [f"var {species[a]}" if a == b else f"cov {species[a]}, {species[b]}" for a, b in zip(first, other, strict=True)]
    return (*species, *(pairs if second else []))
