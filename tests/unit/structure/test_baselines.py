"""Regressions of derivatives: right on derivatives without noise, dense as their authors report, and sparse where they are asked to be."""

from functools import cache

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from ssagrad.structure.baselines import best_pair, least_squares, sequential_thresholds
from ssagrad.structure.candidates import enumerate_reactions, library_of

TIMES = np.linspace(0, 1, 101)
LIBRARY = enumerate_reactions("SIR")
PAIR = LIBRARY.positions("S + I -> 2 I; I -> R")


@cache
def epidemic():
    """The rate equations of the SIR model of the paper at 101 times [T, S]."""

    def slopes(_, x):
        infections, recoveries = 0.02 * x[0] * x[1], 5.0 * x[1]
        return [-infections, infections - recoveries, recoveries]

    return solve_ivp(slopes, (0, 1), [1980.0, 20.0, 0.0], t_eval=TIMES, rtol=1e-10, atol=1e-8).y.T


def straight(*slopes):
    """Counts that grow along straight lines, whose differences are exact."""
    return 10 + np.linspace(0, 3, 7)[:, None] * np.array(slopes)


@pytest.mark.parametrize("method", [least_squares, sequential_thresholds])
def test_a_constant_source_is_found_exactly(method):
    """A grows by 3, B by 2 a unit of time, by sources alone; unevenly spaced times change nothing."""
    library = library_of("0 -> A; 0 -> B; A -> B; A + B -> 0", "AB")
    times = np.array([0, 0.5, 1, 2, 2.5, 3, 3.2])
    counts = 10 + times[:, None] * np.array([3.0, 2.0])
    found = method(library, counts, times)
    assert found.keys() == {0, 1} and np.allclose([found[0], found[1]], [3, 2], rtol=1e-9)


def test_one_reaction_may_explain_two_species():
    """Columns are coupled: A + B falls with one rate for both, not with two."""
    library = library_of("A -> B; B -> A", "AB")
    times = np.linspace(0, 2, 201)
    a = 100 * np.exp(-times)
    found = least_squares(library, np.stack([a, 100 - a], axis=1), times)
    spacing = times[1]
    assert found.keys() == {0} and abs(found[0] - 1) < spacing  # one-sided differences at both ends are right to first order


def test_the_best_pair_of_the_rate_equations_is_the_true_one():
    """As the spec reports: S + I -> 2 I at 0.0199 and I -> R at 4.99."""
    found = best_pair(LIBRARY, epidemic(), TIMES)
    assert sorted(found) == sorted(PAIR)
    assert np.allclose([found[j] for j in PAIR], [0.0199, 4.99], rtol=0.005)


def test_the_best_pair_is_that_of_least_squares_pair_by_pair():
    """Against numpy on a library of 8, among pairs with both rates above 0."""
    library = enumerate_reactions("SI", conserves_molecules=True)
    counts = epidemic()[:, :2] + np.random.default_rng(0).normal(scale=3, size=(101, 2))
    design = (library.combinations(counts)[:, None] * library.changes.T).reshape(-1, library.size)
    derivatives = np.gradient(counts, TIMES, axis=0).reshape(-1)
    losses = {}
    for i in range(library.size):
        for j in range(i):
            rates, residual, rank, _ = np.linalg.lstsq(design[:, [j, i]], derivatives, rcond=None)
            if rank == 2 and min(rates) > 0:
                losses[j, i] = (residual[0], rates)
    best = min(losses, key=lambda pair: losses[pair][0])
    found = best_pair(library, counts, TIMES)
    assert tuple(found) == best and np.allclose(list(found.values()), losses[best][1], rtol=1e-6)


def test_least_squares_on_a_whole_library_are_dense():
    """The derivatives hold the error of differences alone, and still more than 3 times as many reactions stay as there are."""
    found = least_squares(LIBRARY, epidemic(), TIMES)
    assert len(found) > 6 and min(found.values()) > 1e-6
    assert len(least_squares(LIBRARY, epidemic(), TIMES, threshold=1e-4)) < len(found)


def test_thresholds_leave_the_true_pair_of_noiseless_counts():
    dense, sparse = least_squares(LIBRARY, epidemic(), TIMES), sequential_thresholds(LIBRARY, epidemic(), TIMES)
    assert set(PAIR) <= sparse.keys() and len(sparse) < len(dense)
    assert len(sequential_thresholds(LIBRARY, epidemic(), TIMES, share=0.2)) <= len(sparse)


def test_no_pair_explains_what_no_candidate_can():
    """A grows, and every candidate takes from it."""
    library = library_of("A -> 0; A -> B; 2 A -> A", "AB")
    times = np.linspace(0, 3, 7)
    assert best_pair(library, straight(3.0, 0.0), times) == {} == least_squares(library, straight(3.0, 0.0), times)


@pytest.mark.parametrize("method", [least_squares, sequential_thresholds, best_pair])
def test_counts_of_another_shape_are_refused(method):
    with pytest.raises(ValueError, match=r"expected counts \[7, 2\] \(times, species\), received shape \(7, 3\)"):
        method(library_of("A -> B", "AB"), straight(1.0, 2.0, 3.0), np.linspace(0, 3, 7))
