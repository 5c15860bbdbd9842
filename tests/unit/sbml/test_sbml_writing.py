"""A model can be written as text, LaTeX, SBML and Antimony, and what is read back is the same model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support_sbml import birth_death, compartment, document, event, function, initial, parameter, reaction, rule, species

from ssagrad import Network, sbml
from ssagrad.sbml.events import HIDDEN

HILL = document(
    function("hill", ("x", "k"), "x^2 / (k^2 + x^2)"), compartment("cell", 2), species("P", 20, counts=False), species("D", 0), parameter("v", 3),
    reaction("Make", "", "P", "v * (1 - hill(P, K))", local={"K": 5}), reaction("Pair", "2 P", "D", "0.1234567890123 * P * (P - 1 / cell) * cell^2 / 2"),
    reaction("Part", "D", "2 P", "v / 3 * D"), reaction("Twice", "2 D", "D", "0.25 * v * D * (D - 1)"),
)  # fmt: skip
EVENTFUL = document(
    compartment("cell", 2), species("X", 20), species("B", concentration=4, counts=False, boundary=True), parameter("k", 0.5), parameter("v", 1, constant=False),
    parameter("w", constant=False), parameter("d"), rule("w", "v * B"), initial("d", "2 * k"), reaction("Make", "B", "5 X", "w * d", modifiers=("B",)),
    reaction("Die", "X", "", "k * X"), event("full", "X > 30", {"X": "10", "v": "v / 2"}, priority="1"),
    event("late", "time >= 2.5", {"X": "X + 3"}, delay="0.5"),
)  # fmt: skip


def rates(model, network=None):
    """Propensities at some states, by position of the reaction."""
    states = jnp.asarray(np.random.default_rng(0).integers(2, 30, (5, len(model.network.species))), jnp.float32)
    return np.asarray((network or model.network).propensities(states, model.parameters))


def test_text_is_read_back_as_the_same_network():
    """Mass action and functions, numbers to the last digit."""
    for text in (birth_death(), HILL):
        model = sbml.read(text)
        again = Network.from_text(model.to_text(), propensities=model.propensities, species=model.network.species)
        assert np.allclose(rates(model, again), rates(model), rtol=1e-6) and np.array_equal(again.stoichiometry, model.network.stoichiometry)
        assert [r._replace(name="") for r in again.reactions] == [r._replace(name="") for r in model.network.reactions]


def test_text_that_would_lose_events_is_refused():
    with pytest.raises(sbml.SbmlError, match="events"):
        sbml.read(EVENTFUL).to_text()


def test_str_says_everything_that_is_simulated():
    text = str(sbml.read(EVENTFUL))
    for part in ("molecules", "event full: when X > 30, priority 1: X := 10, v := ", "event late: when time >= 2.5, after 0.5: X := X + 3", "X -> 0 @ ", "B = 4", "X = 20"):
        assert part in text, part
    assert "Make = v * (1 - (P / cell)^2 / (Make_K^2 + (P / cell)^2))" in str(sbml.read(HILL))


def test_latex_is_one_aligned_block_with_balanced_braces():
    for text in (birth_death(), HILL, EVENTFUL):
        latex = sbml.read(text)._repr_latex_()
        assert latex.startswith("$$\\begin{aligned}") and latex.endswith("\\end{aligned}$$")
        assert latex.count("{") == latex.count("}") and latex.count("\\left") - latex.count("\\leftarrow") == latex.count("\\right") - latex.count("\\rightarrow")
    assert r"\xrightarrow{\;\mathrm{Lambda}\;}" in sbml.read(birth_death())._repr_latex_()
    assert r"\frac" in sbml.read(HILL)._repr_latex_() and r"\text{when } X > 30" in sbml.read(EVENTFUL)._repr_latex_()


def test_latex_says_what_a_rule_computes_and_no_more():
    """`w = v B` for a rule; a boundary species is not said to equal itself, nor its amount its concentration."""
    latex = sbml.read(EVENTFUL)._repr_latex_()
    assert r"\\  w &= v\,B \\ " in latex and r" \text{amount of }B &= B\,\mathrm{cell}" in latex
    plain = document(species("X", 0), species("B", 7, boundary=True), reaction("R", "B", "X", "B", modifiers=("B",)))
    assert "B &=" not in sbml.read(plain)._repr_latex_() and "B = 7" in str(sbml.read(plain))


def test_what_events_assign_is_written_by_its_name():
    """Not as the sum of its start, its change and a column: in laws, rules, triggers and assignments, in text and LaTeX."""
    formula = "1 + v * X + v"
    model = sbml.read(document(
        species("X", 20), parameter("a", 2), parameter("v", constant=False), initial("v", "a + 1"), reaction("Die", "X", "", formula),
        parameter("w", constant=False), rule("w", formula), event("late", "time >= v && v + 1 > a", {"v": formula}),
    ))  # fmt: skip
    text, latex = str(model), model._repr_latex_()
    for part in ("with Die = 1 + v * X + v", "  w = 1 + v * X + v", "(v + 1 > a): v := 1 + v * X + v", "initial counts: X = 20"):
        assert part in text, part
    assert "shift" not in text and "shift" not in latex


def test_a_network_of_mass_action_goes_to_text_and_back():
    """From SBML to a network, its text, and a network again: equal, and with the LaTeX of the first; a function keeps its name."""
    network = sbml.read(birth_death()).network
    again = Network.from_text(str(network), species=network.species)
    assert [r._replace(name="") for r in again.reactions] == [r._replace(name="") for r in network.reactions]
    assert again._repr_latex_() == network._repr_latex_()
    model = sbml.read(HILL)
    for name in model.propensities:
        assert f"@ {name}" in str(model.network) and f"{name} = " in str(model) and "(x)" in model.network._repr_latex_()


@pytest.mark.parametrize("text", [birth_death(), HILL, EVENTFUL])
def test_sbml_is_read_back_with_the_values_that_it_was_written_with(text):
    """Global and local parameters, sizes and boundary species; the text itself if nothing changed."""
    model = sbml.read(text)
    assert model.to_sbml() == model.source
    values = {name: value + 1.0 for name, value in model.parameters.items()}
    again = sbml.read(model.to_sbml(values))
    assert again.parameters == values and again.network == model.network and again.events == model.events


@pytest.mark.parametrize("text", [birth_death(), HILL, EVENTFUL])
def test_antimony_is_read_back_as_a_model_with_the_same_propensities(text):
    pytest.importorskip("antimony")
    model = sbml.read(text)
    again = sbml.read_antimony(model.to_antimony())
    order = [model.network.species.index(name) for name in again.network.species]
    states = np.random.default_rng(0).integers(2, 30, (5, len(order)))
    values = {HIDDEN: {}} | {name: model.parameters.get(name, model.parameters.get(name.removeprefix("_"))) for name in again.parameters}
    found = np.asarray(again.network.propensities(jnp.asarray(states[:, order], jnp.float32), values))
    assert np.allclose(found, np.asarray(model.network.propensities(jnp.asarray(states, jnp.float32), model.parameters | {HIDDEN: {}})), rtol=1e-5)
    assert len(again.events) == len(model.events) and again.initial_counts == {name: model.initial_counts[name] for name in again.network.species}


def test_a_rewritten_document_gives_the_same_paths():
    """Also with events, number for number."""
    for text in (HILL, EVENTFUL):
        model = sbml.read(text)
        again = sbml.read(sbml.read(model.to_sbml(model.parameters | {"v": 2.0})).to_sbml({"v": model.parameters["v"]}))
        paths = [m.simulate(jax.random.key(0), [1.0, 4.0], num_paths=20).counts for m in (model, again)]
        assert np.array_equal(*paths)
