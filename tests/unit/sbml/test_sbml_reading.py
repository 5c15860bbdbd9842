"""A document becomes the network, the parameters and the counts that the rules of SBML say, compared with numbers worked out by hand."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support_sbml import birth_death, compartment, document, event, function, initial, parameter, reaction, rule, species

from ssagrad import Network, sbml, simulate


def propensities(model, counts, **parameters):
    """Propensities by name of the reaction."""
    state = jnp.asarray([float(counts.get(name, 0)) for name in model.network.species])
    values = model.network.propensities(state, model.complete(parameters))
    return dict(zip(model.network.reaction_names, np.asarray(values, float).tolist(), strict=True))


def test_a_plain_document_is_the_network_that_one_would_write():
    model = sbml.read(birth_death())
    assert str(model.network) == "X -> 2 X @ Lambda\nX -> 0 @ Mu"
    assert model.parameters == {"Lambda": 0.1, "Mu": 0.11, "cell": 1.0}
    assert model.initial_counts == {"X": 100} and model.events == ()
    assert model.compartments == {"cell": 1.0}


def test_a_path_a_text_and_bytes_are_read_alike(tmp_path):
    path = tmp_path / "model.xml"
    path.write_text(birth_death(), encoding="utf-8")
    networks = [sbml.read(source).network for source in (path, str(path), birth_death(), birth_death().encode(), b"\xef\xbb\xbf" + birth_death().encode())]
    assert all(network == networks[0] for network in networks)


def test_without_events_simulate_is_the_librarys_own_number_for_number():
    model, times = sbml.read(birth_death()), np.linspace(0.0, 5.0, 6)
    mine = model.simulate(jax.random.key(0), times, num_paths=50)
    plain = simulate(jax.random.key(0), model.network, model.parameters, model.initial_counts, times, num_paths=50)
    assert np.array_equal(mine.counts, plain.counts)


MASS_ACTION = {
    "k * A": ("A", "", "A -> 0 @ k"),
    "A * k * 1": ("A", "", "A -> 0 @ k"),
    "2 * k * A": ("A", "", "A -> 0 @ 2 * k"),
    "k * A * 0.5 * 2": ("A", "", "A -> 0 @ k"),
    "k * A * B": ("A + B", "C", "A + B -> C @ k"),
    "k * A * (A - 1) / 2": ("2 A", "B", "2 A -> B @ k"),
    "k * A * (A - 1)": ("2 A", "B", "2 A -> B @ 2 * k"),
    "0.5 * k * (A - 1) * A": ("2 A", "B", "2 A -> B @ k"),
    "k * (A - 2) * A * (A - 1) / 6": ("3 A", "B", "3 A -> B @ k"),
    "k": ("", "A", "0 -> A @ k"),
    "3": ("", "A", "0 -> A @ 3"),
    "k * B": ("A", "C + 4 A", None),
    "k * C": ("", "A", "C -> A + C @ k"),
    "k * A * C": ("A", "B", "A + C -> B + C @ k"),
    "k * A * cell / cell": ("A", "", "A -> 0 @ k"),
    "k * A^2": ("2 A", "B", None),
    "k * A * A": ("2 A", "B", None),
    "k * k2 * A": ("A", "", None),
    "k * A / (k2 + A)": ("A", "", None),
    "k + A": ("", "A", None),
}


@pytest.mark.parametrize("law", MASS_ACTION)
def test_stochastic_mass_action_is_recognised_and_nothing_else_is(law):
    left, right, text = MASS_ACTION[law]
    elements = [species("A", 5), species("B", 5), species("C", 5), parameter("k", 2), parameter("k2", 3)]
    model = sbml.read(document(*elements, reaction("R", left, right, law, modifiers="ABC")))
    (only,) = model.network.reactions
    assert (only.propensity is None) == (text is not None)
    if text is not None:
        assert model.network.reaction_text(only) == text
        (expected,) = Network.from_text(text, species=model.network.species).reactions
        assert only._replace(name=expected.name) == expected
    value = float(eval(law.replace("^", "**"), {"A": 5, "B": 4, "C": 3, "k": 2, "k2": 3, "cell": 1}))
    assert propensities(model, {"A": 5, "B": 4, "C": 3})["R"] == pytest.approx(value)


def test_a_symbol_is_a_concentration_unless_it_has_only_substance_units():
    """k S in a volume of 2 with 100 molecules is k · 50 for a concentration, k · 100 for an amount; 3 mol/l · 4 l are 12 molecules."""
    elements = [species("S", 100, counts=False), species("N", 100), species("C", concentration=3, counts=False, compartment="pot")]
    laws = {"R1": "k * S", "R2": "k * N", "R3": "k * S * N", "R4": "k * cell * S", "R5": "k * C"}
    reactions = [reaction(name, "", "N", law, modifiers=("S", "N", "C")) for name, law in laws.items()]
    model = sbml.read(document(compartment("cell", 2), compartment("pot", 4), parameter("k", 0.1), *elements, *reactions))
    assert model.initial_counts == {"S": 100, "N": 100, "C": 12}
    found = propensities(model, {"S": 100, "N": 100, "C": 12})
    assert found == pytest.approx({"R1": 5, "R2": 10, "R3": 500, "R4": 10, "R5": 0.3})
    assert propensities(model, {"S": 100}, cell=4.0)["R1"] == pytest.approx(2.5)
    assert model.counts_at_start({"pot": 8.0})["C"] == 24


def test_a_file_in_antimony_is_read_by_its_ending_or_refused_with_the_way_out(tmp_path):
    """model.ant is translated; the same text under another name, as a string, or reactions of our own notation say which function reads them."""
    pytest.importorskip("antimony")
    text = "A + B -> C; k * A * B; k = 0.1; A = 10; B = 10; C = 0"
    (tmp_path / "model.ant").write_text(text)
    model = sbml.read(tmp_path / "model.ant")
    assert str(model.network) == "A + B -> C @ k" and model.initial_counts == {"A": 10, "B": 10, "C": 0}
    assert sbml.read(str(tmp_path / "model.ant")).network == model.network
    (tmp_path / "model.txt").write_text(text)
    with pytest.raises(sbml.SbmlError, match=r"expected SBML.* in model\.txt.*sbml\.read_antimony.*Network\.from_text"):
        sbml.read(tmp_path / "model.txt")
    with pytest.raises(sbml.SbmlError, match=r"sbml\.read_antimony"):
        sbml.read(text)
    (tmp_path / "model.ant").write_text("A -> ")
    with pytest.raises(sbml.SbmlError, match="Antimony cannot read"):
        sbml.read(tmp_path / "model.ant")


def test_boundary_and_constant_species_are_read_and_never_changed():
    elements = [species("X", 0), species("Source", 7, boundary=True), species("Sink", 3, boundary=True, constant=True)]
    reactions = [reaction("In", "Source", "X", "k * Source"), reaction("Out", "X", "2 Sink", "k * X")]
    model = sbml.read(document(parameter("k", 0.5), *elements, *reactions))
    assert model.network.species == ("X",) and str(model.network).startswith("0 -> X @ In")
    assert model.parameters == {"k": 0.5, "cell": 1.0, "Source": 7.0, "Sink": 3.0}
    assert propensities(model, {"X": 4}) == {"In": 3.5, "Out": 2.0}
    assert float(model.observables["Sink"]({"X": 1.0}, model.parameters)) == 3


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("given", ["amount", "concentration"])
def test_a_boundary_species_may_be_given_either_way_and_read_either_way(counts, given):
    """6 molecules, or 3 per litre in 2 litres, are the symbol 6 as an amount and 3 as a concentration, also when the volume is another."""
    value = {"amount": 6} if given == "amount" else {"concentration": 3}
    elements = [species("B", **value, counts=counts, boundary=True), species("X", 0), reaction("R", "", "X", "B", modifiers=("B",))]
    model = sbml.read(document(compartment("cell", 2), *elements))
    assert propensities(model, {})["R"] == (6 if counts else 3)
    expected = {("amount", True): 6, ("amount", False): 1.5, ("concentration", True): 12, ("concentration", False): 3}
    assert propensities(model, {}, cell=4.0)["R"] == expected[given, counts]


def test_local_parameters_hide_global_ones_and_have_long_names():
    elements = [species("X", 3), parameter("k", 2), parameter("R2_k", 9)]
    reactions = [reaction("R1", "X", "", "k * X"), reaction("R2", "X", "", "k * X", local={"k": 5}), reaction("R3", "X", "", "R2_k * X")]
    model = sbml.read(document(*elements, *reactions))
    assert model.parameters == {"k": 2.0, "R2_k": 9.0, "R2_k_": 5.0, "cell": 1.0}
    assert propensities(model, {"X": 3}) == {"R1": 6.0, "R2": 15.0, "R3": 27.0}


def test_functions_may_call_functions_and_their_arguments_hide_symbols():
    functions = [function("hill", ("x", "k"), "power_of(x, 2) / (k + power_of(x, 2))"), function("power_of", ("x", "n"), "x^n")]
    elements = [species("x", 3), parameter("k", 2), parameter("K", 7)]
    model = sbml.read(document(*functions, *elements, reaction("R", "x", "", "k * hill(x, K)")))
    assert propensities(model, {"x": 3})["R"] == pytest.approx(2 * 9 / (7 + 9))


def test_initial_assignments_are_formulas_of_parameters_not_numbers():
    """k2 = 2 k1 stays so when k1 is another; X starts from k1 · 10; a symbol of a species means its amount at time 0."""
    elements = [species("X"), species("Y", 4), parameter("k1", 1), parameter("k2", 77), parameter("k3")]
    given = [initial("X", "k1 * 10"), initial("k2", "2 * k1"), initial("k3", "X + Y")]
    model = sbml.read(document(*elements, *given, reaction("R", "X", "", "k2 * X"), reaction("S", "Y", "", "k3 * Y")))
    assert model.parameters == {"k1": 1.0, "cell": 1.0} and model.initial_counts == {"X": 10, "Y": 4}
    assert propensities(model, {"X": 3, "Y": 1}) == {"R": 6.0, "S": 14.0}
    assert propensities(model, {"X": 3, "Y": 1}, k1=3.0) == {"R": 18.0, "S": 34.0}
    assert model.counts_at_start({"k1": 3.0}) == {"X": 30, "Y": 4}
    assert model.counts_at_start({"k1": 3.0}, {"X": 5}) == {"X": 5, "Y": 4}


def test_assignment_rules_hold_at_all_times_for_parameters_species_and_compartments():
    elements = [species("X", 6), species("Twice", counts=False), parameter("rate", constant=False), compartment("cell", constant=False), parameter("k", 0.5)]
    rules = [rule("Twice", "2 * X"), rule("rate", "k * Twice"), rule("cell", "4")]
    model = sbml.read(document(*elements, *rules, reaction("R", "X", "", "rate * X")))
    assert model.network.species == ("X",) and model.parameters == {"k": 0.5}
    assert propensities(model, {"X": 6})["R"] == pytest.approx(0.5 * 12 * 6)
    counts = {"X": 6.0}
    assert {name: float(f(counts, model.parameters)) for name, f in model.observables.items()} == {"rate": 6, "cell": 4, "[Twice]": 12, "Twice": 48}


def test_the_name_of_a_reaction_in_a_formula_is_its_rate():
    elements = [species("X", 6), parameter("k", 0.5), parameter("flux", constant=False), rule("flux", "R")]
    model = sbml.read(document(*elements, reaction("R", "X", "", "k * X")))
    assert float(model.observables["flux"]({"X": 6.0}, model.parameters)) == 3


def test_stoichiometries_other_than_one_and_repeated_species():
    model = sbml.read(document(species("X", 0), species("Y", 8), parameter("k", 1), reaction("R", {"Y": 2}, {"X": 5, "Y": 1}, "k * Y * (Y - 1)")))
    assert str(model.network) == "2 Y -> 5 X + Y @ 2 * k"
    twice = document(species("X", 0), parameter("k", 1), reaction("R", "", "X + X", "k"))
    twice = twice.replace('<listOfProducts>', '<listOfProducts><speciesReference species="X" stoichiometry="1" constant="true"/>')
    assert sbml.read(twice).network.stoichiometry.tolist() == [[2]]


def test_stoichiometries_that_are_formulas_are_functions_of_parameters():
    named = document(species("X", 0), parameter("k", 1), parameter("burst", 3), initial("n", "2 * burst"), reaction("R", "", "X", "k"))
    named = named.replace('stoichiometry="1" constant="true"', 'id="n" constant="true"')
    model = sbml.read(named)
    assert model.network.reactions[0].change({"X": jnp.float32(0)}, model.parameters) == {"X": 6}
    paths = model.simulate(jax.random.key(0), [2.0], num_paths=20, parameters={"burst": 2.0})
    assert set(np.unique(np.asarray(paths.counts) % 4)) == {0} and paths.counts.max() > 0


def test_conversion_factors_multiply_the_stoichiometry():
    text = document(species("X", 0), parameter("k", 1), parameter("f", 3), reaction("R", "", "2 X", "k")).replace('<model id="example"', '<model id="example" conversionFactor="f"')
    assert sbml.read(text).network.reactions[0].change({"X": jnp.float32(0)}, {"f": 3.0, "k": 1.0}) == {"X": 6}


def test_level_2_is_read_with_its_own_defaults():
    """No attribute says how to read a symbol (a concentration), a trigger starts true, and stoichiometries may be formulas."""
    text = (
        '<sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" version="4"><model id="m"><listOfCompartments><compartment id="c" size="2"/>'
        '</listOfCompartments><listOfSpecies><species id="X" compartment="c" initialAmount="8"/></listOfSpecies><listOfReactions>'
        '<reaction id="R" reversible="false"><listOfReactants><speciesReference species="X"><stoichiometryMath><math xmlns="http://www.w3.org/1998/Math/MathML">'
        "<cn>2</cn></math></stoichiometryMath></speciesReference></listOfReactants>"
        '<kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>k</ci><ci>X</ci></apply></math><listOfParameters>'
        '<parameter id="k" value="3"/></listOfParameters></kineticLaw></reaction></listOfReactions></model></sbml>'
    )
    model = sbml.read(text)
    assert propensities(model, {"X": 8})["R"] == 12 and model.network.stoichiometry.tolist() == [[-2]] and model.parameters == {"R_k": 3.0, "c": 2.0}


def test_reversible_only_in_name_is_irreversible():
    """A law that cannot be negative is no net rate, whatever the attribute says (Antimony's `->` sets it)."""
    for law in ("k * A", "k * A * (A - 1)", "k * A / (1 + A)", "k * exp(-A)", "k * (A - B)^2", "piecewise(k, A > 3, 0)"):
        model = sbml.read(document(species("A", 4), species("B", 4), parameter("k", 1), reaction("R", "A", "B", law, reversible=True, modifiers="AB")))
        assert len(model.network.reactions) == 1


def test_a_modifier_need_not_be_listed():
    """SBML wants it, many files lack it, and the law says all that is needed."""
    model = sbml.read(document(species("X", 3), species("E", 2), parameter("k", 1), reaction("R", "X", "", "k * X * E")))
    assert propensities(model, {"X": 3, "E": 2}) == {"R": 6.0}


def test_two_readings_are_equal_and_share_what_is_compiled():
    text = document(species("A", 4), parameter("k", 1), reaction("R", "A", "", "k * A / (1 + A)"), event("e", "A < 2", {"A": "4"}))
    one, two = sbml.read(text), sbml.read(text)
    assert one.network == two.network and hash(one.network) == hash(two.network)


def test_what_is_named_wrongly_is_refused():
    model = sbml.read(birth_death())
    for call in (lambda: model.complete({"mu": 1.0}), lambda: model.counts_at_start({}, {"Y": 1}), lambda: model.observable("Y")):
        with pytest.raises(sbml.SbmlError, match="unknown"):
            call()


def test_observables_are_what_an_ensemble_takes():
    model = sbml.read(document(compartment("cell", 2), species("X", 8, counts=False), parameter("k", 1), reaction("R", "X", "", "k * X * cell")))
    paths = model.simulate(jax.random.key(0), [0.0, 1.0], num_paths=100)
    assert np.allclose(paths.mean(model.observable("[X]")), paths.mean("X") / 2)
    assert np.allclose(paths.mean(model.observable("[X]", {"cell": 4.0})), paths.mean("X") / 4)


def test_antimony_is_read_where_it_is_installed():
    pytest.importorskip("antimony")
    model = sbml.read_antimony("A + B => C; k*A*B; C => A + B; k2*C; k = 0.1; k2 = 2; A = 10; B = 12; C = 0")
    assert str(model.network) == "A + B -> C @ k\nC -> A + B @ k2"
    assert model.parameters == {"k": 0.1, "k2": 2.0} and model.initial_counts == {"A": 10, "B": 12, "C": 0}
    with pytest.raises(sbml.SbmlError, match="line 1"):
        sbml.read_antimony("A => B; k*(")


def test_a_missing_package_is_named(monkeypatch):
    import sys

    for name, call in (("libsbml", lambda: sbml.read(birth_death())), ("antimony", lambda: sbml.read_antimony("A => B; 1"))):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(ImportError, match=r"ssagrad\[sbml\]"):
            call()


def test_reading_writes_nothing(capfd, tmp_path, monkeypatch):
    """No file, and nothing on the terminal, whether a document is good or bad."""
    monkeypatch.chdir(tmp_path)
    for text in (birth_death(), birth_death().replace("Mu", "Nu", 1), "<sbml>", "<a/>"):
        try:
            sbml.read(text)
        except sbml.SbmlError:
            pass
    assert capfd.readouterr() == ("", "") and os.listdir(tmp_path) == []
