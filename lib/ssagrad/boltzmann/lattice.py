"""Lotka–Volterra on a lattice: prey that breed, hunters that die, and predation where the two meet.

The data of Ernst, Bartol, Sejnowski and Mjolsness 2019, "Deep learning moment closure approximations using dynamic Boltzmann distributions",
arXiv:1905.12122: a periodic square lattice with at most one molecule a site. In each unit of time births and deaths come first, as a Markov jump
process, then one hop attempt of each molecule, in random order, with predation at an encounter. Newborns are put on an empty site of the whole
lattice.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from ssagrad.boltzmann.hopping import generator, hop, outcome_tables, square_neighbours

EMPTY, PREY, HUNTER = 0, 1, 2
SELECTIONS = ("row first", "uniform")
_PREDATION = {(PREY, HUNTER): (HUNTER, HUNTER), (HUNTER, PREY): (HUNTER, HUNTER)}


class Rates(NamedTuple):
    """Birth per prey and death per hunter [1/time], probability of predation at an encounter; the defaults are those of the paper."""

    birth: float = 0.025
    death: float = 0.06
    predation: float = 0.4


class Runs(NamedTuple):
    """Lattices of n runs at times 0, 1, …, T − 1.

    sites: int8 [n, T, side, side]: 0 empty, 1 prey, 2 hunter.
    scores: derivative of the log-probability of each run up to each time in (birth, death, predation) [n, T, 3].
    num_simulated: runs from which these come; less those that lost a species, where only survivors are kept.
    """

    sites: np.ndarray
    scores: np.ndarray
    num_simulated: int

    @property
    def survived(self) -> np.ndarray:
        """Whether each run still has both species at its end [n]."""
        last = self.sites[:, -1].reshape(len(self.sites), -1)
        return (last == PREY).any(1) & (last == HUNTER).any(1)

    def take(self, chosen: np.ndarray) -> Runs:
        """Some of the runs, by index or by truth value."""
        return self._replace(sites=self.sites[chosen], scores=self.scores[chosen])


def lattice_runs(
    key: jax.Array,
    *,
    num_runs: int,
    num_steps: int,
    rates: Rates = Rates(),
    side: int = 40,
    initial: tuple[int, int] = (100, 100),
    selection: str = "row first",
    progress: str | None = None,
) -> Runs:
    """Simulates runs from `initial` prey and hunters on random sites, over `num_steps` units of time.

    **Requires**: nothing of the rates but that they are not negative and the probability ≤ 1.
    **Selection**: which empty site gets a newborn, which hunter dies. "uniform": each is as likely. "row first", which makes the published
    data: a row is drawn from those that have one, then a site in that row, so that births are spread evenly over rows and a hunter in a
    row with few hunters dies more often: an artefact, which makes the horizontal bands of the published snapshots.
    **Scores** are exact likelihood ratios: their mean is 0, and E[f score] is the derivative of E f (with no site selected by the rates).

    Args:
        num_steps: T − 1; the state is recorded at 0, 1, …, num_steps.
        progress: label of a bar over steps (needs tqdm).

    Raises:
        ValueError: an unknown selection, rates that cannot be meant, more molecules than sites.
    """
    _check(rates, side, initial, selection)
    rng, grid = generator(key), np.zeros((num_runs, side * side), np.uint8)
    order = rng.random((num_runs, side * side)).argsort(1)
    np.put_along_axis(grid, order[:, : initial[0]], PREY, axis=1)
    np.put_along_axis(grid, order[:, initial[0] : sum(initial)], HUNTER, axis=1)
    sites, scores = np.zeros((num_runs, num_steps + 1, side, side), np.int8), np.zeros((num_runs, num_steps + 1, 3))
    sites[:, 0] = grid.reshape(-1, side, side)
    events, neighbours, tables = _Events(rng, grid.reshape(-1, side, side), rates, selection), square_neighbours(side), outcome_tables(_PREDATION)
    for step in _bar(range(1, num_steps + 1), progress):
        events.advance(float(step))
        hunters = (grid == HUNTER).sum(1)
        refused = hop(rng, grid, neighbours, tables, rates.predation)
        eaten = (grid == HUNTER).sum(1) - hunters
        sites[:, step] = grid.reshape(-1, side, side)
        scores[:, step, :2] = events.scores
        share = rates.predation
        scores[:, step, 2] = scores[:, step - 1, 2] + (eaten / share if share > 0 else 0.0) - (refused / (1 - share) if share < 1 else 0.0)
    return Runs(sites, scores, num_runs)


def surviving_runs(key: jax.Array, *, num_runs: int, batch: int = 140, **options) -> Runs:
    """`lattice_runs` until `num_runs` of them have kept both species to the end: the ensemble that the paper's figures show.

    Conditioned on survival: its law is not that of all runs, and `num_simulated` says how many (whole batches) it took.

    Raises:
        RuntimeError: of 20 batches not enough survive.
    """
    kept, simulated = [], 0
    for number in range(20):
        runs = lattice_runs(jax.random.fold_in(key, number), num_runs=batch, **options)
        kept.append(runs.take(runs.survived))
        simulated += batch
        if sum(len(part.sites) for part in kept) >= num_runs:
            sites, scores = (np.concatenate([getattr(part, name) for part in kept])[:num_runs] for name in ("sites", "scores"))
            return Runs(sites, scores, simulated)
    survivors = sum(len(part.sites) for part in kept)
    raise RuntimeError(f"expected {num_runs} surviving runs, received {survivors} of {simulated}: is the lattice too small?")


class _Events:
    """Births and deaths of all runs, by the direct method; an event that is drawn past the end of a step is kept for the next one."""

    def __init__(self, rng: np.random.Generator, grid: np.ndarray, rates: Rates, selection: str):
        self.rng, self.grid, self.rates, self.row_first = rng, grid, rates, selection == "row first"
        self.scores, self.next_time = np.zeros((len(grid), 2)), np.zeros(len(grid))
        self.next_is_birth = np.zeros(len(grid), bool)
        self._draw(np.arange(len(grid)), np.zeros(len(grid)))

    def advance(self, until: float) -> None:
        """Does all births and deaths up to a time."""
        while (due := np.flatnonzero(self.next_time <= until)).size:
            born = self.next_is_birth[due]
            for runs, old, new in ((due[born], EMPTY, PREY), (due[~born], HUNTER, EMPTY)):
                if runs.size:
                    found, row, column = _pick(self.rng, self.grid[runs] == old, self.row_first)
                    self.grid[runs[found], row[found], column[found]] = new
            self._draw(due, self.next_time[due])

    def _draw(self, runs: np.ndarray, now: np.ndarray) -> None:
        """Draws the next event of some runs, and adds the derivative of its log-density to their scores."""
        grid = self.grid[runs].reshape(len(runs), -1)
        prey, hunters = np.maximum((grid == PREY).sum(1), 1), (grid == HUNTER).sum(1)
        births, deaths = self.rates.birth * prey, self.rates.death * hunters
        total = births + deaths
        with np.errstate(divide="ignore"):
            wait = np.where(total > 0, self.rng.exponential(size=len(runs)) / total, np.inf)
        is_birth = self.rng.random(len(runs)) * total < births
        self.next_time[runs], self.next_is_birth[runs] = now + wait, is_birth
        happens, wait = total > 0, np.where(total > 0, wait, 0.0)
        if self.rates.birth > 0:
            self.scores[runs, 0] += (is_birth & happens) / self.rates.birth - prey * wait
        if self.rates.death > 0:
            self.scores[runs, 1] += (~is_birth & happens) / self.rates.death - hunters * wait


def _pick(rng: np.random.Generator, hits: np.ndarray, row_first: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A random hit in each of some lattices [A, rows, columns]: whether there is one, its row and its column [A]."""
    in_rows = hits.sum(2)
    found, row = _draw_index(rng, (in_rows > 0) if row_first else in_rows)
    column = _draw_index(rng, hits[np.arange(len(hits)), row])[1]
    return found, row, column


def _draw_index(rng: np.random.Generator, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether any weight [A, K] is positive, and an index drawn in proportion to them [A]."""
    levels = np.cumsum(weights, axis=1)
    total = levels[:, -1]
    index = (levels <= (rng.random(len(levels)) * total)[:, None]).sum(1)
    return total > 0, np.minimum(index, weights.shape[1] - 1)


def _check(rates: Rates, side: int, initial: tuple[int, int], selection: str) -> None:
    if selection not in SELECTIONS:
        raise ValueError(f"expected a selection among {SELECTIONS}, received '{selection}'")
    if min(rates) < 0 or rates.predation > 1:
        raise ValueError(f"expected rates ≥ 0 and a probability of predation ≤ 1, received {rates}")
    if min(initial) < 0 or sum(initial) > side * side:
        raise ValueError(f"expected at most {side * side} molecules on {side} × {side} sites, received {initial}")


def _bar(steps: range, label: str | None):
    if label is None:
        return steps
    from tqdm import tqdm

    return tqdm(steps, desc=label, unit="step")
