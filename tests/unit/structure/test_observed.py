"""Counts over time are checked before anything else: the same in every shape they come in, and every mistake is named with its place."""

import numpy as np
import pytest

from ssagrad.structure.candidates import enumerate_reactions, library_of
from ssagrad.structure.discovery import discover
from ssagrad.structure.observed import observed_transitions
from ssagrad.structure.quasi_likelihood import DISCRETENESS

S, I = np.array([9.0, 7.0, 4.0, 4.0]), np.array([1.0, 2.0, 4.0, 1.0])  # noqa: E741
TIMES = np.array([0.0, 0.5, 1.5, 2.0])
TABLE = {"S": S, "I": I}
LIBRARY = library_of("S + I -> 2 I; I -> 0", "SI")


def checked(counts=TABLE, times=TIMES, species=(), **options):
    return observed_transitions(counts, times, species, **options)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip((*one[0], *one[1:]), (*other[0], *other[1:]), strict=True))


def test_transitions_are_neighbours_in_time():
    transitions, array, names = checked()
    assert transitions.starts.tolist() == [[9, 1], [7, 2], [4, 4]] and transitions.ends.tolist() == [[7, 2], [4, 4], [4, 1]]
    assert transitions.durations.tolist() == [0.5, 1.0, 0.5] and transitions.averaged == 1 and transitions.noise.tolist() == [0, 0]
    assert array.shape == (1, 4, 2) and np.array_equal(array[0], np.stack([S, I], axis=1)) and names == ("S", "I")


@pytest.mark.parametrize(
    "counts, species",
    [
        ({"S": S[None], "I": I[None]}, ()),
        (np.stack([S, I], axis=1), ("S", "I")),
        (np.stack([S, I], axis=1)[None], ("S", "I")),
        (np.stack([S, I], axis=1).astype(int).tolist(), "SI"),
        ({"S": S.astype(int).tolist(), "I": I.tolist()}, ()),
    ],
)
def test_a_mapping_and_an_array_are_the_same_data(counts, species):
    assert same(checked(counts, TIMES.tolist(), species), checked())


def test_paths_follow_one_another_and_no_transition_joins_two_of_them():
    two = {"S": np.stack([S, S + 1]), "I": np.stack([I, I + 2])}
    transitions, array, _ = checked(two)
    first, second = checked()[0], checked({"S": S + 1, "I": I + 2})[0]
    for name in ("starts", "ends", "durations"):
        assert np.array_equal(getattr(transitions, name), np.concatenate([getattr(first, name), getattr(second, name)]))
    assert array.shape == (2, 4, 2) and np.array_equal(array[1, :, 1], I + 2)


def test_columns_come_in_the_order_of_the_candidates():
    """Noise of each species moves with its column."""
    swapped = {"I": I, "S": S}
    transitions, array, names = checked(swapped, noise=[2.0, 3.0], candidates=LIBRARY)
    assert names == ("S", "I") and np.array_equal(array[0], np.stack([S, I], axis=1)) and transitions.noise.tolist() == [9, 4]
    assert checked(swapped)[2] == ("I", "S")
    assert same(checked(np.stack([I, S], axis=1), TIMES, ("I", "S"), candidates=LIBRARY), checked(candidates=LIBRARY))


def test_an_increment_holds_the_noise_of_both_its_ends():
    """2 σ², and the discreteness, of which a mean of n paths has an n-th."""
    assert np.allclose(checked(noise=1.5)[0].extra, DISCRETENESS + 2 * 1.5**2)
    assert np.allclose(checked({"S": S / 7, "I": I}, averaged=7)[0].extra, DISCRETENESS / 7)


def test_means_and_noisy_counts_need_not_be_whole():
    """Noise may take a count below 0, where no transition starts."""
    assert checked({"S": S + 0.25, "I": I}, averaged=4)[0].starts[0, 0] == 9.25
    noisy, array, _ = checked({"S": S + 0.3, "I": I - 1.5}, noise=1.0)
    assert noisy.starts[0, 0] == 9.3 and noisy.starts[0, 1] == 0 and array[0, 0, 1] == -0.5


def test_an_array_of_one_species_has_one_column():
    assert checked(S[:, None], TIMES, ("S",))[0].starts.shape == (3, 1)


def changed(place, value, name="I", paths=2):
    """Two paths with one wrong count."""
    table = {key: np.tile(values, (paths, 1)) for key, values in TABLE.items()}
    table[name][place] = value
    return table


@pytest.mark.parametrize(
    "change, message",
    [
        ({"counts": changed((1, 2), -3.0)}, r"a count ≥ 0 of 'I', received -3 at time 1.5, path 1$"),
        ({"counts": changed((0, 1), 2.5, "S")}, r"a whole number .*averaged=.*noise=.* of 'S', received 2.5 at time 0.5, path 0$"),
        ({"counts": changed((1, 0), np.nan)}, r"a finite count of 'I', received nan at time 0, path 1$"),
        ({"counts": changed((1, 3), np.inf), "noise": 1.0}, r"a finite count of 'I', received inf at time 2, path 1$"),
        ({"counts": changed((0, 3), -1.0, paths=1), "averaged": 5}, r"a count ≥ 0 of 'I', received -1 at time 2, path 0$"),
        ({"counts": {"S": S}, "candidates": LIBRARY}, r"received none of \['I'\] among \['S'\]; .*enumerate candidates without it"),
        ({"counts": TABLE | {"R": S}, "candidates": LIBRARY}, r"counts of the species \['S', 'I'\] of the candidates, received also \['R'\]"),
        ({"counts": np.zeros((4, 2)), "species": ("S", "S")}, r"each species once, received \['S', 'S'\]"),
        ({"counts": {"S": S[:1], "I": I[:1]}, "times": [0.0]}, r"at least 3 times, .*received 1"),
        ({"counts": {"S": S[:2], "I": I[:2]}, "times": [0.0, 1.0]}, r"at least 3 times, .*received 2"),
        ({"times": [0.0, 1.0, 1.0, 2.0]}, r"increasing times, received 1 and then 1 \(positions 1, 2\)"),
        ({"times": [0.0, 3.0, 1.0, 2.0]}, r"increasing times, received 3 and then 1 \(positions 1, 2\)"),
        ({"times": [0.0, np.nan, 1.0, 2.0]}, r"finite times, received nan at position 1"),
        ({"times": [0.0, 1.0, 2.0]}, r"one row of counts for each of the times .*\(1, 4, 2\).*times \(3,\)"),
        ({"times": TIMES[None]}, r"times \(1, 4\)"),
        ({"counts": {"S": S, "I": I[:3]}}, r"alike for all species, received shapes \{'S': \(4,\), 'I': \(3,\)\}"),
        ({"counts": {"S": S, "I": np.tile(I, (2, 1))}}, r"alike for all species, received shapes \{'S': \(4,\), 'I': \(2, 4\)\}"),
        ({"counts": {"S": 3.0, "I": 2.0}}, r"counts \[T\] or \[n, T\]"),
        ({"counts": {}}, r"counts \[T\] or \[n, T\], .*received shapes \{\}"),
        ({"counts": S}, r"as an array \[T, S\] or \[n, T, S\], received shape \(4,\)"),
        ({"counts": np.zeros((1, 1, 4, 2)), "species": "SI"}, r"received shape \(1, 1, 4, 2\)"),
        ({"counts": np.stack([S, I], axis=1)}, r"the names of 2 species .*received species=\(\)"),
        ({"counts": np.stack([S, I], axis=1), "species": "SIR"}, r"the names of 2 species .*received species=\('S', 'I', 'R'\)"),
        ({"counts": {"S": np.full(4, 3.0), "I": np.full(4, 2.0)}}, r"counts that change over time, .*was a transient cut off\?"),
        ({"counts": {"S": np.array([[3.0] * 4, [2.0] * 4])}}, r"counts that change over time"),
        ({"averaged": 0}, r"averaged.* whole number ≥ 1, received 0"),
        ({"averaged": 2.5}, r"averaged.* whole number ≥ 1, received 2.5"),
        ({"counts": changed((0, 0), 3.0), "averaged": 4}, r"one series of means with averaged=4, received 2; leave averaged out"),
        ({"noise": -1.0}, r"noise, a standard deviation ≥ 0, .*received -1"),
        ({"noise": np.nan}, r"noise, a standard deviation ≥ 0, .*received nan"),
        ({"noise": [1.0, 2.0, 3.0]}, r"one number or 2, one for each species"),
    ],
)
def test_a_mistake_is_named_with_its_place(change, message):
    """Before anything is searched or simulated: `discover` raises the same."""
    arguments = {"counts": TABLE, "times": TIMES} | change
    with pytest.raises(ValueError, match=message):
        checked(**arguments)
    with pytest.raises(ValueError, match=message):
        discover(**arguments)


def test_the_largest_library_changes_no_data():
    """Candidates bring their order, nothing else."""
    assert same(checked(candidates=enumerate_reactions("SI")), checked())
