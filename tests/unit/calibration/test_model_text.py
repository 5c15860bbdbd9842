"""Models in text: reactions, values, molecules, conditions; and what is no model."""

import doctest

import pytest

from ssagrad.calibration import CalibrationError, model_from_text, model_text, read_model
from ssagrad.notation import NetworkError

SIR = """
S + I -> 2 I @ infection     # a comment
I -> R @ recovery
infection = 0.02; recovery = 5
S(0) = 1980
I( 0 ) = 20
[crowded]
S(0) = 3960
[masks]
infection = 1e-2
"""


def test_a_model_with_conditions():
    """Reactions, values, molecules at time 0, and what conditions change."""
    model = model_from_text(SIR)
    assert model.network.species == ("S", "I", "R")
    assert model.parameters == {"infection": 0.02, "recovery": 5.0} and model.initial_counts == {"S": 1980, "I": 20}
    assert model.conditions == {"crowded": ({}, {"S": 3960}), "masks": ({"infection": 0.01}, {})}


def test_a_file_is_text_or_sbml_by_its_name(tmp_path):
    """`.xml` goes to the SBML reader, everything else is text; bytes that are no text are refused."""
    path = tmp_path / "model.txt"
    path.write_text(SIR, "utf-8")
    assert read_model(path).parameters["recovery"] == 5
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NetworkError, match="UTF-8"):
        read_model(path)
    with pytest.raises(FileNotFoundError):
        read_model(tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one reaction"),
        ("S -> I @ k\nk = fast", "line 2, 'k = fast': expected a number after '='"),
        ("S -> I @ k", "received none for 'k'; write 'k = 1'"),
        ("S -> I @ k; k = 1; k = 2", "expected each value once, received 'k' again"),
        ("S -> I @ k; k = 1; q = 2", "received 'q', which no reaction uses"),
        ("S -> I @ k; k = 1; S = 20", "received 'S', which no reaction uses; molecules are written 'S.0. = 10'"),
        ("S -> I @ k; k = -1", "expected a finite rate constant 'k' ≥ 0"),
        ("S -> I @ k; k = 1; S(0) = 1.5", "initial count of 'S': expected a whole number"),
        ("S -> I @ k; k = 1; Z(0) = 1", "unknown species .'Z'."),
        ("S -> I @ k; k = 1\n[a]\nI -> R @ 2", "line 3, 'I -> R @ 2': expected values .* in the condition .a."),
        ("S -> I @ k; k = 1\n[a]\n[a]", "each condition once"),
        ("S -> I @ k; k = 1; hello", "expected a reaction 'A \\+ B -> C @ k', a value"),
        ("S I @ k = 1", "expected a reaction"),
    ],
)
def test_what_is_no_model_is_refused_by_line(text, message):
    """Every statement that cannot be meant, with what would be."""
    with pytest.raises(NetworkError, match=message):
        model_from_text(text)


def test_errors_are_value_errors():
    """So that one `except` catches what a user's files can raise."""
    assert issubclass(CalibrationError, ValueError) and issubclass(NetworkError, ValueError)


def test_the_examples_run():
    """Those of the docstrings."""
    assert doctest.testmod(model_text).failed == 0
