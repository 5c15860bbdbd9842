"""The truncated master equation against closed forms; its states, its lost mass, and what it refuses."""

import jax
import numpy as np
import pytest

from ssagrad import Network, NetworkError, exact, models
from ssagrad.exact import MasterEquation, TruncationError

TURNOVER = Network.from_text("0 -> X @ k; X -> 0 @ d")


def test_the_distribution_agrees_with_the_closed_form():
    """Immigration and death, every probability at every time, the first time included."""
    times = np.array([0.0, 0.1, 1.0, 5.0])
    law = MasterEquation.build(TURNOVER, {"X": 3}, bounds={"X": 60}).solve({"k": 10.0, "d": 1.0}, times)
    closed = exact.birth_death(times, immigration=10.0, death=1.0, initial=3)
    assert np.abs(law.marginal("X")[:, :60] - closed.probabilities[:, :60]).max() < 1e-12
    assert np.allclose(law.mean("X"), closed.mean, rtol=1e-11, atol=0)
    assert np.allclose(law.variance("X"), closed.variance, rtol=1e-9, atol=1e-10)


def test_the_distribution_agrees_with_a_matrix_exponential():
    """Uniformisation in long steps (many thousand jumps) gives what a dense matrix exponential gives."""
    from scipy.linalg import expm

    model = models.dimerisation()
    master = MasterEquation.build(model.network, model.initial_counts)
    parameters = {"k_on": 0.5, "k_off": 1.0}
    law = master.solve(parameters, [0.05, 10.0])
    for row, time in enumerate((0.05, 10.0)):
        assert np.abs(law.probabilities[row] - expm(time * master.generator(parameters).toarray())[:, 0]).max() < 1e-11


def test_states_are_those_that_can_be_reached():
    """Conservation laws bound an epidemic without any bound given; parity is respected; the initial state is the first."""
    model = models.sir()
    master = MasterEquation.build(model.network, {"S": 3, "I": 1})
    assert master.states[0].tolist() == [3, 1, 0]
    assert len(master.states) == 14
    assert np.all(master.states.sum(1) == 4)
    assert len({tuple(state) for state in master.states.tolist()}) == 14
    pairs = MasterEquation.build(Network.from_text("0 <-> 2 X @ a, b"), {"X": 1}, bounds={"X": 10})
    assert sorted(pairs.states[:, 0].tolist()) == [1, 3, 5, 7, 9]


def test_the_generator_moves_probability():
    """Columns sum to 0 in a closed set; entries are the propensities; what leaves a truncated set is missing from its column."""
    closed = MasterEquation.build(Network.from_text("A <-> B @ f, b"), {"A": 2})
    generator = closed.generator({"f": 1.0, "b": 3.0}).toarray()
    assert closed.states.tolist() == [[2, 0], [1, 1], [0, 2]]
    assert np.array_equal(generator, [[-2.0, 3.0, 0.0], [2.0, -4.0, 6.0], [0.0, 1.0, -6.0]])
    cut = MasterEquation.build(TURNOVER, {}, bounds={"X": 2}).generator({"k": 5.0, "d": 1.0}).toarray()
    assert cut.sum(0).tolist() == [0.0, 0.0, -5.0]


def test_lost_probability_is_reported_and_refused():
    """The mass that left is the true probability of having left; above the tolerance it is an error with the numbers."""
    births = Network.from_text("0 -> X @ k")
    master = MasterEquation.build(births, {}, bounds={"X": 4})
    law = master.solve({"k": 1.0}, [0.5, 1.0], tolerance=0.1)
    poisson = np.exp(-1) * np.array([1, 1, 1 / 2, 1 / 6, 1 / 24])
    assert np.allclose(law.probabilities[1], poisson, rtol=1e-12, atol=0)
    assert np.allclose(law.lost[1], 1 - poisson.sum(), rtol=1e-9, atol=0)
    words = r"0\.0037 of the probability left the 5 states by t = 1 \(tolerance 1e-09\); raise the bounds {'X': 4}"
    with pytest.raises(TruncationError, match=words):
        master.solve({"k": 1.0}, [0.5, 1.0])


def test_observables():
    """By name, by a function (of one value), or all species, as an ensemble takes them."""
    model = models.association()
    law = MasterEquation.build(model.network, model.initial_counts).solve(model.parameters, [0.3, 1.0])
    assert law.mean().shape == law.variance().shape == (2, 3)
    assert np.allclose(law.mean(lambda x: x["A"] + x["C"]), 10, rtol=1e-12, atol=0)
    assert np.allclose(law.variance(lambda x: x["A"] + x["C"]), 0, rtol=0, atol=1e-10)
    assert np.allclose(law.mean(lambda x: x["C"] ** 2) - law.mean("C") ** 2, law.variance("C"), rtol=1e-10, atol=0)
    assert np.allclose(law.marginal("C") @ np.arange(11), law.mean("C"), rtol=1e-12, atol=0)
    with pytest.raises(NetworkError, match=r"unknown species 'X'; the network has \['A', 'B', 'C'\]"):
        law.mean("X")


def test_functions_as_propensities_and_small_differences():
    """A Hill function is evaluated in float64: a finite difference of 10⁻⁶ in a parameter gives eight digits of a derivative."""
    network = Network.from_text("0 -> X @ f; X -> 0 @ d", propensities={"f": lambda x, p: p["k"] / (1 + x["X"])})
    master = MasterEquation.build(network, {}, bounds={"X": 60})

    def mean(k):
        return master.solve({"k": k, "d": 1.0}, [0.01]).mean("X")[0]

    assert abs((mean(5 + 1e-6) - mean(5 - 1e-6)) / 2e-6 - 0.0098) < 2e-4
    assert abs((mean(5 + 1e-6) - mean(5 - 1e-6)) - (mean(5 + 2e-6) - mean(5 - 2e-6)) / 2) < 1e-13


def test_stationary_law_of_association():
    """After a long time, π(n) ∝ Kⁿ/(n! (N_A − n)! (N_B − n)!): mean 7.488 and variance 1.179 for 10 and 10 molecules (spec 2, section 4)."""
    model = models.association()
    law = MasterEquation.build(model.network, model.initial_counts).solve(model.parameters, [30.0])
    assert np.allclose(law.mean("C"), 7.488, rtol=0, atol=5e-4)
    assert np.allclose(law.variance("C"), 1.179, rtol=0, atol=5e-4)


def test_absorbing_states_and_reactions_without_change():
    """A state without reactions keeps its probability; a reaction that changes nothing changes nothing."""
    law = MasterEquation.build(Network.from_text("X -> 0 @ d; X -> X @ idle"), {"X": 1}).solve({"d": 1.0, "idle": 50.0}, [2.0])
    assert np.allclose(law.probabilities[0], [np.exp(-2), 1 - np.exp(-2)], rtol=1e-12, atol=0)
    still = MasterEquation.build(Network.from_text("X -> 0 @ d"), {}).solve({"d": 1.0}, [3.0])
    assert still.probabilities.tolist() == [[1.0]]


def test_what_is_refused():
    """Too many states, unknown species, a start outside the bounds, paths, impossible propensities."""
    with pytest.raises(TruncationError, match=r"more than 100 states can be reached with bounds {}; species without a bound: \['X'\]"):
        MasterEquation.build(TURNOVER, {}, max_states=100)
    with pytest.raises(NetworkError, match=r"unknown species 'Y' in the bounds; the network has \['X'\]"):
        MasterEquation.build(TURNOVER, {}, bounds={"Y": 3})
    with pytest.raises(NetworkError, match=r"initial count of 'X' is above its bound 3"):
        MasterEquation.build(TURNOVER, {"X": 4}, bounds={"X": 3})
    with pytest.raises(NetworkError, match=r"expected one initial state \[1\], received shape \(2, 1\)"):
        MasterEquation.build(TURNOVER, np.array([[1], [2]]), bounds={"X": 3})
    with pytest.raises(NetworkError, match=r"expected a finite rate constant 'd' ≥ 0, received -1.0"):
        MasterEquation.build(TURNOVER, {}, bounds={"X": 3}).solve({"k": 1.0, "d": -1.0}, [1.0])
    wrong = Network.from_text("0 -> X @ f", propensities={"f": lambda x, p: 2.0 - x["X"]})
    with pytest.raises(NetworkError, match=r"reaction '0 -> X @ f': impossible propensity \(negative, infinite or NaN\) at {'X': 3}"):
        MasterEquation.build(wrong, {}, bounds={"X": 3}).solve({}, [1.0])
    with pytest.raises(NetworkError, match="expected times"):
        MasterEquation.build(TURNOVER, {}, bounds={"X": 3}).solve({"k": 1.0, "d": 1.0}, [2.0, 1.0])


def test_it_knows_no_random_numbers_and_no_settings():
    """JAX is still in single precision afterwards, and two solutions are equal to the last bit."""
    model = models.dimerisation()
    master = MasterEquation.build(model.network, model.initial_counts)
    first, second = (master.solve(model.parameters, model.times) for _ in range(2))
    assert np.array_equal(first.probabilities, second.probabilities)
    assert not jax.config.jax_enable_x64
