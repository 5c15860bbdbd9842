"""What cannot be simulated exactly is refused with the name of the element and a way out; nothing is skipped."""

import re

import pytest
from support_sbml import birth_death, compartment, document, event, function, initial, math, parameter, reaction, rule, species

from ssagrad import NetworkError, sbml

X, K, DEATH = species("X", 5), parameter("k", 1), reaction("Death", "X", "", "k * X")
VARIABLE = parameter("v", 1, constant=False)


def law(formula, **options):
    return document(X, K, VARIABLE, reaction("R", "X", "", formula, **options))


def with_event(*arguments, extra=(), **options):
    return document(X, K, DEATH, VARIABLE, *extra, event("e", *arguments, **options))


# what is refused: (document, name of the element that has to be in the message, what to do or why)
REFUSED = {
    "net rate": (document(X, species("Y", 3), K, reaction("R", "X", "Y", "k * X - 2 * k * Y", reversible=True)), "'R'", r"X → Y with the law k \* X"),
    "net rate in brackets": (document(X, species("Y", 3), K, reaction("R", "X", "Y", "cell * (k * X - Y)", reversible=True)), "'R'", "Y → X"),
    "net rate of unknown form": (document(X, species("Y", 3), K, reaction("R", "X", "Y", "k * sin(X)", reversible=True)), "'R'", "two reactions"),
    "fast": (law("k * X", fast=True), "'R'", "fast"),
    "no kinetic law": (law(None), "'R'", "no kinetic law"),
    "time in a law": (law("k * X * time"), "'R'", "depends on time"),
    "time in a rule": (document(X, VARIABLE, K, rule("v", "time"), DEATH), "'v'", "depends on time"),
    "time through a rule": (document(X, VARIABLE, K, rule("v", "time"), reaction("R", "X", "", "v * X")), "'R'", "depends on time"),
    "delayed value": (law("k * delay(X, 1)"), "'R'", "delay"),
    "rate rule": (document(X, VARIABLE, K, rule("v", "1", kind="rate"), DEATH), "'v'", "rate rule"),
    "algebraic rule": (document(X, VARIABLE, K, rule(None, "v - X", kind="algebraic"), DEATH), "algebraic", "assignment rule"),
    "constraint": (document(X, K, DEATH, f"<constraint>{math('X > 1')}</constraint>"), "constraint", "remove"),
    "half a molecule": (document(X, K, reaction("R", {"X": 0.5}, "", "k * X")), "'R'", "whole numbers"),
    "negative stoichiometry": (document(X, K, reaction("R", {"X": -1}, "", "k * X")), "'R'", "whole numbers"),
    "half a molecule at time 0": (document(species("X", 2.5), K, DEATH), "'X'", "whole number"),
    "a concentration that is none": (document(compartment("cell", 0.3), species("X", concentration=1), K, DEATH), "'X'", "Avogadro"),
    "negative amount": (document(species("X", -1), K, DEATH), "'X'", "whole number"),
    "no initial amount": (document(species("X"), K, DEATH), "'X'", "initial"),
    "no value": (document(X, parameter("k"), DEATH), "'k'", "no value"),
    "no size": (document(compartment("cell"), species("X", 5, counts=False), K, DEATH), "'cell'", "no size"),
    "no reactions": (document(X, K), "no reactions", "model"),
    "nothing to count": (document(species("X", 5, boundary=True), K, DEATH), "no reactions", "counted"),
    "rules in a circle": (document(X, VARIABLE, parameter("w", constant=False), rule("v", "w"), rule("w", "v"), DEATH), "'?v'?", ""),
    "unknown symbol": (law("k * nobody"), "nobody", ""),
    "unknown function": (law("k * nobody(X)"), "nobody", ""),
    "function that reads a symbol": (document(X, K, function("f", ("x",), "x * k"), reaction("R", "X", "", "f(X)")), "'k'|k", ""),
    "functions in a circle": (document(X, K, function("f", ("x",), "g(x)"), function("g", ("x",), "f(x)"), reaction("R", "X", "", "f(X)")), "f", ""),
    "function with other arguments": (document(X, K, function("f", ("x",), "x"), reaction("R", "X", "", "f(X, k)")), "f", "argument"),
    "delay of a trigger of counts": (with_event("X < 3", {"X": "5"}, delay="1"), "'e'", "delay"),
    "time in an assignment of a trigger of counts": (with_event("X < 3", {"v": "time"}), "'e'", "time"),
    "time in a priority of a trigger of counts": (with_event("X < 3", {"v": "1"}, priority="time"), "'e'", "time"),
    "time compared with a count": (with_event("time > X", {"X": "5"}), "'e'", "foreseen"),
    "square of time": (with_event("time^2 > 4", {"X": "5"}), "'e'", "foreseen"),
    "sine of time": (with_event("sin(time) > 0.5", {"X": "5"}), "'e'", "foreseen"),
    "time as a truth": (with_event("piecewise(time > 3, X > 2, false)", {"X": "5"}), "'e'", "comparison"),
    "time moved by counts": (with_event("time > v", {"X": "5"}, extra=(event("f", "X < 3", {"v": "2"}),)), r"\['v'\]", "different times"),
    "event on a boundary species in a volume that changes": (
        document(
            X, K, DEATH, compartment("cell", 1, constant=False), species("B", 5, boundary=True, counts=False), event("e", "time > 1", {"B": "1", "cell": "2"})
        ),
        "'B'",
        "constant size",
    ),
    "package": (document(X, K, DEATH, attributes=' xmlns:fbc="http://www.sbml.org/sbml/level3/version1/fbc/version2" fbc:required="true"'), "'fbc'", "core"),
    "level 1": (
        '<sbml xmlns="http://www.sbml.org/sbml/level1" level="1" version="2"><model name="m"><listOfCompartments><compartment name="c"/></listOfCompartments>'
        "</model></sbml>",
        "level 1",
        "convert",
    ),
    "another document": ("<html><body/></html>", "'html'", "SBML"),
    "not well-formed": (birth_death().replace("</model>", ""), "well-formed", "line"),
    "document type": (birth_death().replace("?>", '?><!DOCTYPE sbml [<!ENTITY a "b">]>', 1), "DOCTYPE", "remove"),
    "not UTF-8": (b"<sbml>\xff</sbml>", "UTF-8", ""),
    "nothing": ("", "well-formed", ""),
    "no model": ('<sbml xmlns="http://www.sbml.org/sbml/level3/version1/core" level="3" version="1"/>', "model", ""),
    "no such file": ("no/such/file.xml", "no/such/file.xml", "'<'"),
    "no text at all": (7, "int", "path"),
    "deep elements": ("<sbml>" + "<a>" * 400 + "</a>" * 400 + "</sbml>", "nested", "250"),
    "deep formula": (law("k * X").replace("<ci> X </ci>", "<apply><exp/>" * 120 + "<ci> X </ci>" + "</apply>" * 120), "nested", "100"),
    "a formula that grows": (
        document(
            X, K, *[function(f"f{i}", ("x",), f"f{i - 1}(x) + f{i - 1}(2 * x)" if i else "x") for i in range(30)], reaction("R", "X", "", "k * f29(X)")
        ),
        "operations",
        "several reactions",
    ),
    "too few arguments": (law("k * X").replace("<times/>", "<divide/>").replace("<ci> X </ci>", ""), "valid|argument", ""),
    "no number": (law("2 * X").replace("> 2 <", "> two <"), "valid|number", ""),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case):
    text, name, what = REFUSED[case]
    with pytest.raises(sbml.SbmlError, match=name) as error:
        sbml.read(text)
    assert what == "" or re.search(what, str(error.value)), str(error.value)
    assert isinstance(error.value, NetworkError) and len(str(error.value)) < 600


def test_too_many_bytes_are_refused(tmp_path):
    path = tmp_path / "large.xml"
    with open(path, "wb") as file:
        file.truncate(30_000_000)
    with pytest.raises(sbml.SbmlError, match="20,000,000 bytes"):
        sbml.read(path)


def test_a_circle_of_initial_assignments_is_refused():
    elements = [X, parameter("k"), parameter("j"), initial("k", "j"), initial("j", "k")]
    with pytest.raises(sbml.SbmlError, match="circle|cycle"):
        sbml.read(document(*elements, DEATH))


def test_a_long_chain_of_rules_is_followed_or_refused():
    """Each rule reads the one before it: fifty are fine, a thousand are an error and no crash."""
    for length, works in ((50, True), (1000, False)):
        names = [parameter(f"p{i}", constant=False) for i in range(length)]
        rules = [rule(f"p{i}", f"2 * p{i - 1}" if i else "X") for i in range(length)]
        text = document(X, *names, *rules, reaction("R", "X", "", f"p{length - 1}"))
        if works:
            assert sbml.read(text).network.reactions
        else:
            with pytest.raises(sbml.SbmlError, match="deep"):
                sbml.read(text)
