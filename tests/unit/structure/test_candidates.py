"""Libraries of candidate reactions hold each reaction once, as many as can be counted by hand, and say what they cannot hold."""

import numpy as np
import pytest

from ssagrad import Network, models
from ssagrad.network import NetworkError
from ssagrad.structure.candidates import Library, enumerate_reactions, library_of

SIR = "S + I -> 2 I; I -> R"
# reactants ≤, products ≤, empty sides: all; every change ≤ 1; as many molecules on both sides; both
SIZES = {
    (1, 1, True): (12, 12, 6, 6),
    (2, 1, True): (36, 27, 6, 6),
    (1, 2, True): (36, 27, 6, 6),
    (2, 2, True): (90, 60, 36, 24),
    (2, 2, False): (72, 48, 36, 24),
    (2, 3, True): (190, 97, 36, 24),
}


@pytest.mark.parametrize("orders", SIZES)
def test_sizes_for_three_species(orders):
    """The counts of multisets: for two molecules a side 10 · 10 − 10, and so on."""
    left, right, empty = orders
    for (change, conserved), size in zip([(None, False), (1, False), (None, True), (1, True)], SIZES[orders], strict=True):
        options = {"most_reactants": left, "most_products": right, "largest_change": change, "conserves_molecules": conserved, "empty_sides": empty}
        assert enumerate_reactions("SIR", **options).size == size


def test_every_reaction_is_there_once_and_changes_something():
    library = enumerate_reactions("SIR")
    assert len(set(library.texts())) == 90
    assert library.changes.any(1).all() and np.array_equal(library.changes, library.products - library.reactants)
    assert library.reactants.sum(1).max() == library.products.sum(1).max() == 2


def test_constraints_hold_for_every_candidate():
    library = enumerate_reactions("SIR", most_products=3, largest_change=1)
    assert np.abs(library.changes).max() == 1
    conserved = enumerate_reactions("SIR", conserves_molecules=True)
    assert not conserved.changes.sum(1).any()
    closed = enumerate_reactions("SIR", empty_sides=False)
    assert closed.reactants.sum(1).min() == closed.products.sum(1).min() == 1


@pytest.mark.parametrize("options", [{}, {"most_products": 3, "largest_change": 1}, {"conserves_molecules": True}])
def test_the_true_reactions_are_candidates(options):
    """By text, by network, and whatever order the network has its species in."""
    library = enumerate_reactions("SIR", **options)
    places = library.positions(SIR)
    assert library.subset(places).texts() == ["S + I -> 2 I", "I -> R"]
    assert library.positions(models.sir().network) == places
    assert enumerate_reactions("RIS", **options).subset(enumerate_reactions("RIS", **options).positions(SIR)).changes.tolist() == [[0, 1, -1], [1, -1, 0]]


def test_a_library_is_a_network_with_a_rate_for_each_candidate():
    """Its propensities are the ways to choose the reactants: S, S I, S (S − 1)/2."""
    library = library_of("S -> I; S + I -> R; 2 S -> I; 0 -> S", "SIR")
    network, counts = library.network(), np.array([5.0, 3.0, 0.0])
    assert network.parameter_names == ("k1", "k2", "k3", "k4") and network.species == ("S", "I", "R")
    assert np.array_equal(network.stoichiometry, library.changes)
    assert np.allclose(network.propensities(counts, dict.fromkeys(network.parameter_names, 2.0)), [10.0, 30.0, 20.0, 2.0])
    assert np.array_equal(library.combinations(counts), [5.0, 15.0, 10.0, 1.0])
    assert library.combinations(np.stack([counts, 0 * counts])).tolist() == [[5, 15, 10, 1], [0, 0, 0, 1]]


def test_text_is_read_with_and_without_rates_on_one_line_or_many():
    lines = library_of("S + I -> 2 I @ infection  # catching it\nI -> R", "SIR")
    assert lines.texts() == library_of(SIR, "SIR").texts()
    assert library_of(SIR).species == ("S", "I", "R")


def test_what_is_no_library_is_refused():
    for wrong in ((), ("S", "S")):
        with pytest.raises(NetworkError, match="names of species, each once"):
            enumerate_reactions(wrong)
    with pytest.raises(NetworkError, match="most_reactants in 0, 1, 2"):
        enumerate_reactions("SIR", most_reactants=3)
    with pytest.raises(NetworkError, match="relax one of them"):
        enumerate_reactions("SIR", most_reactants=0, conserves_molecules=True)
    with pytest.raises(NetworkError):
        enumerate_reactions(["S I", "+"])


def test_reactions_outside_the_library_are_named():
    library = enumerate_reactions("SIR", most_products=1)
    with pytest.raises(NetworkError, match=r"library of 36, received \['S \+ I -> 2 I'\]"):
        library.positions(SIR)
    with pytest.raises(NetworkError, match=r"received the species \['X'\]"):
        library.positions("S -> X")


def test_functions_as_propensities_are_no_candidates():
    network = Network.from_text("0 -> X @ birth", propensities={"birth": lambda counts, parameters: parameters["birth"] / (1 + counts["X"])})
    with pytest.raises(NetworkError, match="expected mass action"):
        library_of(network)


def test_three_equal_reactants_are_no_candidates():
    with pytest.raises(NetworkError, match="at most 2 molecules of one species on a left side"):
        library_of("3 S -> I; S -> I")


def test_an_empty_library_has_size_zero():
    nothing = enumerate_reactions("SIR").subset([])
    assert isinstance(nothing, Library) and nothing.size == 0 and nothing.texts() == []
