"""Whatever is given to the reader, it reads it or says in the library's own error what is wrong: it neither hangs nor crashes.

`benchmarks/fuzz_sbml.py` runs the same with more examples (the environment variable SSAGRAD_FUZZ).
"""

import copy
import os
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support_sbml import birth_death, compartment, document, event, function, initial, math, parameter, reaction, rule, species

from ssagrad import sbml
from ssagrad.sbml.expressions import value_of

EXAMPLES = int(os.environ.get("SSAGRAD_FUZZ", 150))
FUZZ = settings(
    max_examples=EXAMPLES, deadline=20_000, derandomize="SSAGRAD_FUZZ" not in os.environ, database=None, suppress_health_check=list(HealthCheck)
)

LEVEL_2 = (
    '<sbml xmlns="http://www.sbml.org/sbml/level2/version4" level="2" version="4"><model id="m"><listOfCompartments><compartment id="c" size="2"/>'
    '</listOfCompartments><listOfSpecies><species id="X" compartment="c" initialAmount="8"/></listOfSpecies><listOfReactions>'
    '<reaction id="R" reversible="false"><listOfReactants><speciesReference species="X"/></listOfReactants>'
    '<kineticLaw><math xmlns="http://www.w3.org/1998/Math/MathML"><apply><times/><ci>k</ci><ci>X</ci></apply></math><listOfParameters>'
    '<parameter id="k" value="3"/></listOfParameters></kineticLaw></reaction></listOfReactions></model></sbml>'
)
RICH = document(
    function("hill", ("x", "k"), "x^2 / (k^2 + x^2)"), compartment("cell", 2, constant=False), species("P", 20, counts=False), species("D", 0),
    species("B", concentration=4, counts=False, boundary=True), parameter("v", 3, constant=False), parameter("w", constant=False), parameter("d"),
    rule("w", "v * B"), initial("d", "2 * v"), reaction("Make", "B", "P", "v * (1 - hill(P, K)) * w", local={"K": 5}),
    reaction("Pair", "2 P", "D", "d * P * (P - 1) / 2"), reaction("Part", "D", "2 P", "piecewise(v, D > 3, 0) * D"),
    event("full", "D > 30", {"D": "10", "v": "v / 2"}, priority="1", persistent=False), event("late", "time >= v && P > 2", {"P": "P + 3", "cell": "1"}),
    event("delayed", "time > 2.5", {"D": "0"}, delay="0.5", from_trigger=False, initial_value=False),
)  # fmt: skip
DOCUMENTS = [birth_death(), LEVEL_2, RICH]
VALUES = ["-1", "0", "1e400", "NaN", "INF", "-INF", "", "1.5", "true", "false", "X", "P", "k", "time", "cell", "9" * 400, "é", "&lt;", "3", "2", "D", "cell2", "v", "w", "Make", "1e-320", "0x1"]
PIECES = [
    rule("v", "1", kind="rate"), rule(None, "v", kind="algebraic"), rule("v", "w"), initial("v", "v"), math("delay(P, 1)"), math("time"), math("P"), "<math/>",
    "<apply><plus/></apply>", "<apply/>", "<ci>P</ci>", "<cn>7</cn>", "<cn type='rational'>1<sep/>0</cn>", "<piecewise/>", "<lambda><cn>1</cn></lambda>",
    event("e", "P > 1", {"P": "P + 1"}, delay="1"), event("e", "time > P", {"nobody": "1"}), species("P", 1), parameter("P", 1), reaction("R", "P", "", "P"),
    "<listOfReactions/>", "<notes/>", "<annotation><a/></annotation>", "<apply><csymbol/></apply>", "<bvar/>", "<vector/>",
]  # fmt: skip


@st.composite
def changed_documents(draw):
    """A good document with a few of its elements removed, repeated, moved, exchanged for others, or with other attributes and texts."""
    root = ElementTree.fromstring(draw(st.sampled_from(DOCUMENTS)))
    for _ in range(draw(st.integers(1, 5))):
        places = [(parent, i) for parent in root.iter() for i in range(len(parent))]
        if not places:
            break
        (parent, i), (other, j) = draw(st.sampled_from(places)), draw(st.sampled_from(places))
        child, kind = parent[i], draw(st.sampled_from(["remove", "repeat", "move", "attribute", "attribute", "text", "piece", "exchange"]))
        if kind == "remove":
            parent.remove(child)
        elif kind == "repeat":
            parent.insert(i, copy.deepcopy(child))
        elif kind == "move" and other not in list(child.iter()):
            other.insert(j, copy.deepcopy(child))
        elif kind == "attribute" and child.attrib:
            child.attrib[draw(st.sampled_from(sorted(child.attrib)))] = draw(st.sampled_from(VALUES))
        elif kind == "text" and (child.text or "").strip():
            child.text = draw(st.sampled_from(VALUES))
        elif kind == "exchange":
            child.tag, other[j].tag = other[j].tag, child.tag
        else:
            parent.insert(i, ElementTree.fromstring(f'<a xmlns="{root.tag[1:].partition("}")[0]}">{draw(st.sampled_from(PIECES))}</a>')[0])
    return ElementTree.tostring(root, encoding="unicode")


@st.composite
def broken_texts(draw):
    """A good document with a few pieces of its text cut, repeated or exchanged, whatever they are."""
    text = draw(st.sampled_from(DOCUMENTS))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.integers(0, 60))
        text = text[:start] + draw(st.sampled_from(["", text[start:end] * 2, *VALUES, *PIECES])) + text[end:]
    return text


NAMES = st.sampled_from(["X", "k", "v", "time", "cell", "nobody", "1", "0", "2.5", "-1", "1e300", "pi", "true"])
FUNCTIONS = st.sampled_from(
    ["sin", "exp", "ln", "sqrt", "floor", "factorial", "abs", "not", "delay", "rateOf", "min", "max", "piecewise", "f", "nobody", "root", "log", "and", "xor", "quotient", "lt"]
)
FORMULAS = st.recursive(
    NAMES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "^", "<", ">=", "==", "!=", "&&", "||", "%"]), inner).map(lambda p: f"({p[0]}) {p[1]} ({p[2]})"),
        st.tuples(FUNCTIONS, st.lists(inner, max_size=4)).map(lambda p: f"{p[0]}({', '.join(p[1])})"),
    ),
    max_leaves=12,
)


def read_or_refuse(call):
    """What is read can be shown, written and evaluated; else it is an error of the library."""
    try:
        model = call()
    except sbml.SbmlError as error:
        assert len(str(error)) > 10
        return
    assert str(model) and model._repr_latex_() and hash(model.network) == hash(model.network)
    values = {name: np.asarray(value, float) for name, value in model.parameters.items()}
    counts = {name: np.asarray(1.0) for name in model.network.species}
    for propensity in model.propensities.values():
        value_of(propensity.expression, lambda leaf: {**values, **counts}.get(leaf.value, np.asarray(0.0)))


@FUZZ
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300), st.text("<>/=\"' abxmlsbml&;![]-?", max_size=200).map(lambda t: "<sbml>" + t)))
def test_any_bytes_and_any_text(source):
    read_or_refuse(lambda: sbml.read(source))


@FUZZ
@given(st.one_of(changed_documents(), changed_documents(), broken_texts()))
def test_documents_with_faults(text):
    read_or_refuse(lambda: sbml.read(text))


@FUZZ
@given(FORMULAS, FORMULAS, FORMULAS, FORMULAS)
def test_any_formula_anywhere(law, trigger, value, assigned):
    """In a kinetic law, a trigger, an event's assignment, and a rule or an initial assignment or a stoichiometry."""
    try:
        place = {0: rule, 1: initial}[len(law) % 2]("v", assigned)
        text = document(
            species("X", 3), parameter("k", 1), parameter("v", 1, constant=False), function("f", ("a",), "a + 1"), place, reaction("R", "X", "", law),
            event("e", trigger, {"X": value}, priority="v", initial_value=len(law) % 3 == 0), version=2,
        )  # fmt: skip
    except AssertionError:  # no formula for libsbml either
        return
    read_or_refuse(lambda: sbml.read(text))


STATEMENTS = [
    "A + B => C; k*A*B", "C -> A; k2*C/(1 + C)", "R1: C => ; k*C", "k = 0.1", "k2 := 2*k", "A = 10", "B = 12", "C = 0", "at (time > 3): A = 5", "2 A => ; k*A*(A-1)",
    "at C > 4, t0=false: C = 1", "E1: at 2 after time > k: B = 3, priority = 1", "k' = 1", "compartment v = 2", "A in v", "const B", "species $D = 3", "D => A; k*D",
    "function f(x) x^2 end", "B => C; f(B)", "k2 = piecewise(1, A > 3, 2)", "A -> B; k*A - k2*B", "assert A > 0", "A = 2.5", "B => ; k*time", "import 'x'", "unit u = mole",
    "model m()", "end", "substanceOnly species S = 4", "S => A; k*S", "A := B + 1", "0 = A + B", "k has u", "A => A + B; k*A", "delete A", "p: m()", "A is B", "DNA G; G = 3",
]  # fmt: skip
TOKENS = ["=>", "->", ";", "(", ")", "k", "A", "at", "end", ":=", "'=", "\n", "$", "1e999", "in", '"', "//", "2", "é", "\0", "\ud800"]


@settings(FUZZ, max_examples=max(15, EXAMPLES // 10))  # each in a process of its own
@given(st.one_of(st.lists(st.sampled_from(STATEMENTS), max_size=14).map("; ".join), st.lists(st.sampled_from(STATEMENTS + TOKENS), max_size=12).map(" ".join)))
def test_any_antimony(source):
    pytest.importorskip("antimony")
    read_or_refuse(lambda: sbml.read_antimony(source))


def test_texts_that_crash_antimony_are_refused():
    """A module that contains itself brings the translator down; a long sum takes it minutes."""
    pytest.importorskip("antimony")
    with pytest.raises(sbml.SbmlError, match="crashed|cannot read"):
        sbml.read_antimony("model m(); A => B; 1; p: m(); A -> B; k*A")
    for law in ("(" * 2000 + "A" + ")" * 2000, " + ".join(["A"] * 2_000), "-" * 2000 + "A"):
        read_or_refuse(lambda law=law: sbml.read_antimony(f"A => B; {law}; A = 1; B = 0"))


def test_antimony_that_hangs_is_refused(monkeypatch):
    pytest.importorskip("antimony")
    monkeypatch.setattr("ssagrad.sbml.antimony_text.MOST_SECONDS", 0.01)
    with pytest.raises(sbml.SbmlError, match="took more than"):
        sbml.read_antimony("A => B; k*A; k = 1; A = 1; B = 0")
