"""Networks: species, stoichiometry, mass action, functions as propensities, and everything that is refused."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import Network, NetworkError

SIR = Network.from_text("S + I -> 2 I @ infection; I -> R @ recovery")


def test_species_and_stoichiometry():
    """Species stand in the order of the text; the change of a catalyst is zero."""
    assert SIR.species == ("S", "I", "R")
    assert SIR.stoichiometry.tolist() == [[-1, 1, 0], [0, -1, 1]]
    assert SIR.parameter_names == ("infection", "recovery")
    assert Network.from_text("on -> on + mRNA @ k").stoichiometry.tolist() == [[0, 1]]


def test_species_can_be_ordered():
    """Given names come first, the others follow in order of appearance; a species without a reaction is allowed."""
    assert Network.from_text("A -> B @ k", species=("B", "Z")).species == ("B", "Z", "A")


@pytest.mark.parametrize(
    ("text", "counts", "expected"),
    [
        ("0 -> X @ k", [7], 3.0),
        ("X -> 0 @ k", [7], 21.0),
        ("X -> 0 @ 2 k", [7], 42.0),
        ("X -> 0 @ 0.5", [7], 3.5),
        ("2 X -> Y @ k", [7, 0], 3 * 21.0),
        ("2 X -> Y @ k", [1, 0], 0.0),
        ("3 X -> Y @ k", [7, 0], 3 * 35.0),
        ("3 X -> Y @ k", [2, 0], 0.0),
        ("X + Y -> Z @ k", [7, 2, 0], 42.0),
        ("2 X + Y -> Z @ k", [4, 5, 0], 3 * 6 * 5.0),
    ],
)
def test_mass_action_counts_distinct_groups(text, counts, expected):
    """k times the number of ways to choose the reactants; 0 where there are too few."""
    propensities = Network.from_text(text).propensities(jnp.array(counts, jnp.float32), {"k": 3.0})
    assert propensities.tolist() == [expected]


def test_propensities_of_many_states():
    """States [..., S] give propensities [..., R]; integer counts are taken as they are."""
    states = jnp.array([[[10, 2, 0], [0, 5, 1]]])
    values = SIR.propensities(states, {"infection": 0.5, "recovery": 2.0})
    assert values.tolist() == [[[10.0, 4.0], [0.0, 10.0]]]
    with pytest.raises(NetworkError, match=r"expected counts \[..., 3\] for the species \('S', 'I', 'R'\), received shape \(2,\)"):
        SIR.propensities(jnp.array([1, 2]), {"infection": 0.5, "recovery": 2.0})


def test_functions_as_propensities():
    """A function of counts by name and parameters replaces mass action; a factor before its name multiplies it."""
    network = Network.from_text("0 -> X @ 2 * f; X -> 0 @ d", propensities={"f": lambda x, p: p["k"] / (1 + x["X"])})
    assert network.parameter_names == ("d",)
    assert network.propensities(jnp.array([3.0]), {"k": 4.0, "d": 1.0}).tolist() == [2.0, 3.0]


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_an_impossible_value_of_a_function_becomes_nan(value):
    """Negative, infinite and NaN propensities come out as NaN, and so does a positive one where reactants are missing."""
    network = Network.from_text("X -> 0 @ f", propensities={"f": lambda x, p: p["value"] + 0 * x["X"]})
    assert np.isnan(network.propensities(jnp.array([5.0]), {"value": value})).all()
    assert np.isnan(network.propensities(jnp.array([0.0]), {"value": 1.0})).all()
    assert network.propensities(jnp.array([0.0]), {"value": 0.0}).tolist() == [0.0]


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_an_impossible_rate_constant_becomes_nan(value):
    """A negative or NaN rate constant inside jit, where nothing can be raised, makes NaN propensities."""
    values = jax.jit(lambda k: Network.from_text("X -> 0 @ k").propensities(jnp.array([2.0]), {"k": k}))(value)
    assert np.isnan(values).all()


def test_a_vector_as_propensity_is_refused():
    """A function must give one number."""
    network = Network.from_text("X -> 0 @ f", propensities={"f": lambda x, p: jnp.ones(2)})
    with pytest.raises(NetworkError, match=r"propensity 'f': expected a scalar from \(counts, parameters\), received shape \(2,\)"):
        network.propensities(jnp.array([1.0]), {})


def test_names_of_reactions_are_unique():
    """Reactions that share a rate are numbered."""
    network = Network.from_text("A -> 0 @ d; B -> 0 @ d; A -> B @ k")
    assert network.reaction_names == ("d[1]", "d[2]", "k")
    assert network.parameter_names == ("d", "k")


def test_reactions_without_any_species_are_refused():
    """Nothing could ever be counted."""
    with pytest.raises(NetworkError, match=r"expected reactions between species, received '-> @ 1'"):
        Network.from_text(" -> @ 1")


def test_unused_functions_and_duplicate_species_are_refused():
    """A misspelt name of a function, and a species named twice, are errors."""
    with pytest.raises(NetworkError, match=r"the propensities \['g'\] belong to no reaction; the reactions use \['f'\]"):
        Network.from_text("X -> 0 @ f", propensities={"g": lambda x, p: 1.0})
    with pytest.raises(NetworkError, match=r"duplicate species in \['X', 'X'\]"):
        Network.from_text("X -> 0 @ f", species=("X", "X"))


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "fast"])
def test_impossible_rate_constants_are_refused(value):
    """Negative, infinite and NaN rate constants are refused with the reaction and the value."""
    with pytest.raises(NetworkError, match=rf"reaction 'I -> R @ recovery': expected a finite rate constant 'recovery' ≥ 0, received {value}"):
        SIR.check_parameters({"infection": 0.1, "recovery": value})


def test_missing_parameters_are_refused():
    """A missing rate constant is named, with those that were given."""
    with pytest.raises(NetworkError, match=r"reaction 'recovery': no parameter 'recovery' among \['infection'\]"):
        SIR.check_parameters({"infection": 0.1})
    with pytest.raises(NetworkError, match=r"no parameter 'infection' among SimpleNamespace"):
        SIR.check_parameters(types.SimpleNamespace(recovery=1.0))
    SIR.check_parameters(types.SimpleNamespace(infection=0.1, recovery=0.0))
    SIR.check_parameters({"infection": np.array([0.1, 0.2]), "recovery": 1, "of another network": -1.0})


def test_initial_counts_from_names_and_arrays():
    """Species not named start at 0; counts may differ from path to path."""
    assert SIR.counts_from({"I": 2, "S": 8}).tolist() == [8, 2, 0]
    assert SIR.counts_from([8, 2, 0]).tolist() == [8, 2, 0]
    assert SIR.counts_from({"S": np.array([8, 9]), "I": 1}).tolist() == [[8, 1, 0], [9, 1, 0]]
    assert SIR.counts_from({}).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("initial", "words"),
    [
        ({"S": 1, "J": 2}, r"unknown species \['J'\] in the initial counts; the network has \['S', 'I', 'R'\]"),
        ({"S": -1}, r"initial count of 'S': expected a whole number ≥ 0, received -1"),
        ({"I": 0.5}, r"initial count of 'I': expected a whole number ≥ 0, received 0.5"),
        ({"R": float("nan")}, r"initial count of 'R': expected a whole number ≥ 0, received nan"),
        ({"R": float("inf")}, r"initial count of 'R': expected a whole number ≥ 0, received inf"),
        ([[1, 2, 3], [4, -5, 6]], r"initial count of 'I': expected a whole number ≥ 0, received -5 in path 1"),
        ([1, 2], r"expected initial counts \[3\] or \[num_paths, 3\] for the species \['S', 'I', 'R'\], received shape \(2,\)"),
        (np.zeros((1, 2, 3)), r"received shape \(1, 2, 3\)"),
    ],
)
def test_impossible_initial_counts_are_refused(initial, words):
    """The error names the species, the value and the path."""
    with pytest.raises(NetworkError, match=words):
        SIR.counts_from(initial if isinstance(initial, dict) else np.asarray(initial))


def test_mixed_number_types_in_initial_counts():
    """Whole numbers may be written as integers or floats, side by side."""
    assert SIR.counts_from({"S": 8.0, "I": 2}).tolist() == [8, 2, 0]
    mixed = SIR.counts_from({"S": np.array([8.0, 9.0]), "I": np.array([1, 2]), "R": np.int64(3)})
    assert mixed.tolist() == [[8, 1, 3], [9, 2, 3]]


def test_networks_are_values():
    """Equal text gives equal networks with equal hashes; a network is a pytree without leaves and goes through jit."""
    again = Network.from_text("S + I -> 2 I @ infection; I -> R @ recovery")
    assert again == SIR
    assert hash(again) == hash(SIR)
    assert jax.tree.leaves(SIR) == []
    assert jax.jit(lambda network: network)(SIR) == SIR


def test_text_and_latex_show_the_network():
    """The text can be read back; notebooks show an aligned block."""
    assert str(SIR) == "S + I -> 2 I @ infection\nI -> R @ recovery"
    assert Network.from_text(str(SIR)) == SIR
    latex = SIR._repr_latex_()
    assert latex.startswith(r"$$\begin{aligned}")
    assert r"S + I &\xrightarrow{\;\mathrm{infection}\;} 2\,I" in latex
    assert r"\varnothing" in Network.from_text("X -> 0 @ k")._repr_latex_()
