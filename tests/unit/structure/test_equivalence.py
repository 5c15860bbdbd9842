"""Reactions that others can stand in for, in law: where a conserved quantity makes room for it, and nowhere else."""

from itertools import product

import numpy as np
import pytest

from ssagrad.structure.candidates import enumerate_reactions, library_of
from ssagrad.structure.equivalence import same_law

N = 12
STATES = np.array([(s, i, N - s - i) for s, i in product(range(N + 1), repeat=2) if s + i <= N])
LIBRARY = enumerate_reactions("SIR")
INFECTION, RECOVERY = LIBRARY.positions("S + I -> 2 I; I -> R")


def replaced(text, rate, library=LIBRARY, states=STATES):
    """What stands in for one reaction, as text with rates."""
    (place,) = library.positions(text)
    found = same_law(library, {place: rate}, states).get(place, {})
    return dict(zip(library.subset(list(found)).texts(), found.values(), strict=True))


def test_recovery_is_three_reactions_of_pairs_where_molecules_are_conserved():
    """I = I (S + (I − 1) + R)/(N − 1), and the propensity of 2 I is I (I − 1)/2."""
    found = replaced("I -> R", 5.0)
    expected = {"2 I -> I + R": 2 * 5 / (N - 1), "S + I -> S + R": 5 / (N - 1), "I + R -> 2 R": 5 / (N - 1)}
    assert found.keys() == expected.keys() and all(np.isclose(found[text], rate, rtol=1e-6) for text, rate in expected.items())


def test_a_replacement_has_the_same_total_propensity_in_every_state():
    found = same_law(LIBRARY, {INFECTION: 0.02, RECOVERY: 5.0}, STATES)[RECOVERY]
    ways = LIBRARY.combinations(STATES)
    assert np.allclose(sum(rate * ways[:, j] for j, rate in found.items()), 5.0 * ways[:, RECOVERY], rtol=1e-6, atol=1e-9)
    assert all(np.array_equal(LIBRARY.changes[j], LIBRARY.changes[RECOVERY]) for j in found)


def test_infection_has_no_replacement():
    """S I = S ((N − 1) − (S − 1) − R): rates would be negative."""
    assert INFECTION not in same_law(LIBRARY, {INFECTION: 0.02, RECOVERY: 5.0}, STATES)


def test_without_a_conserved_quantity_nothing_stands_in_for_recovery():
    free = np.array(list(product(range(5), repeat=3)))
    assert same_law(LIBRARY, {INFECTION: 0.02, RECOVERY: 5.0}, free) == {}


def test_without_the_candidates_nothing_stands_in_for_recovery():
    """One of the three is not enough of a library."""
    library = library_of("I -> R; 2 I -> I + R; S + I -> S + R", "SIR")
    assert replaced("I -> R", 5.0, library) == {}


@pytest.mark.parametrize("text, others", [("I -> R", "I -> 0; I -> I + R"), ("0 -> S", "0 -> 2 S"), ("2 S -> S", "2 S -> 0")])
def test_the_same_mean_is_not_the_same_law(text, others):
    """Changes of another size, at rates that leave the mean as it is, scatter more."""
    library = library_of(f"{text}; {others}", "SIR")
    assert same_law(library, {0: 1.0}, np.array(list(product(range(5), repeat=3)))) == {}


def test_a_pair_stands_in_for_three_the_other_way_round():
    """I + R -> 2 R alone is no recovery; I -> R at no rate takes part in its replacement."""
    assert replaced("I + R -> 2 R", 1.0) == {}


def test_a_catalyst_of_constant_number_is_a_rate():
    """E always 3: A -> B @ 2 is A + E -> B + E @ 2/3, and the other way round."""
    library = library_of("A -> B; A + E -> B + E", ("A", "B", "E"))
    states = np.array([(a, 9 - a, 3) for a in range(10)])
    assert np.isclose(replaced("A -> B", 2.0, library, states)["A + E -> B + E"], 2 / 3, rtol=1e-6)
    assert np.isclose(replaced("A + E -> B + E", 2 / 3, library, states)["A -> B"], 2, rtol=1e-6)


def test_a_reaction_that_never_fires_needs_no_replacement():
    """At rate 0, or without reactants in any state."""
    dead = STATES[STATES[:, 1] == 0]
    assert same_law(LIBRARY, {RECOVERY: 0.0}, STATES) == {} and same_law(LIBRARY, {RECOVERY: 5.0}, dead) == {}


def test_states_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"expected states \[M, 3\], received shape \(4, 2\)"):
        same_law(LIBRARY, {RECOVERY: 5.0}, np.arange(8).reshape(4, 2))
