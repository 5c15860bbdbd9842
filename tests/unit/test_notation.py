"""Reaction text: what is read, what is refused and with which words, and the LaTeX that comes out."""

import pytest

from ssagrad import NetworkError
from ssagrad.notation import Channel, name_latex, rate_text, read_reactions, side_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("S + I -> 2 I @ infection", Channel("infection", {"S": 1, "I": 1}, {"I": 2}, "infection", 1.0)),
        ("0 -> X @ birth", Channel("birth", {}, {"X": 1}, "birth", 1.0)),
        ("∅ -> X @ birth", Channel("birth", {}, {"X": 1}, "birth", 1.0)),
        ("X -> @ death", Channel("death", {"X": 1}, {}, "death", 1.0)),
        ("X -> 0 @ 0.1", Channel("0.1", {"X": 1}, {}, None, 0.1)),
        ("X -> 0 @ 2.5e-3", Channel("2.5e-3", {"X": 1}, {}, None, 0.0025)),
        ("X -> 0 @ 2 * k_off", Channel("k_off", {"X": 1}, {}, "k_off", 2.0)),
        ("X -> 0 @ 2 k_off", Channel("k_off", {"X": 1}, {}, "k_off", 2.0)),
        ("X + X -> Y @ k", Channel("k", {"X": 2}, {"Y": 1}, "k", 1.0)),
        ("2*X -> Y @ k", Channel("k", {"X": 2}, {"Y": 1}, "k", 1.0)),
        ("2X -> Y @ k  # a pair", Channel("k", {"X": 2}, {"Y": 1}, "k", 1.0)),
    ],
)
def test_one_reaction_is_read(text, expected):
    """Species, molecules, rate and factor of one reaction."""
    assert read_reactions(text) == [expected]


def test_a_reversible_reaction_is_two_channels():
    """`<->` needs two rates and gives the forward and then the backward channel."""
    forward, backward = read_reactions("A + B <-> C @ on, off")
    assert forward == Channel("on", {"A": 1, "B": 1}, {"C": 1}, "on", 1.0)
    assert backward == Channel("off", {"C": 1}, {"A": 1, "B": 1}, "off", 1.0)


def test_semicolons_line_ends_and_comments_separate_reactions():
    """Reactions stand in the order of the text; empty statements and comments do not count."""
    channels = read_reactions("A -> B @ a; B -> A @ b\n\n# nothing here\nA -> 0 @ c;")
    assert [channel.label for channel in channels] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A -> B C @ k", r"reaction 'A -> B C @ k': cannot read 'B C'"),
        ("A-B -> C @ k", r"reaction 'A-B -> C @ k': cannot read 'A-B'"),
        ("A* -> B @ k", r"cannot read 'A\*'"),
        ("A + -> B @ k", r"cannot read ''"),
        ("0 X -> B @ k", r"cannot read '0 X'"),
        ("0.5 X -> B @ k", r"cannot read '0.5 X'"),
        ("-2 X -> B @ k", r"cannot read '-2 X'"),
        ("1X2Y -> B @ k+", r"reaction '1X2Y -> B @ k\+': cannot read the rate 'k\+'"),
        ("A B @ k", r"reaction 'A B @ k': expected one arrow '->' or '<->'"),
        ("A => B @ k", r"expected one arrow"),
        ("A -> B -> C @ k", r"expected one arrow"),
        ("A -> B", r"reaction 'A -> B': expected one rate after '@'"),
        ("A -> B @ k @ l", r"expected one rate after '@'"),
        ("A -> B @", r"cannot read the rate ''"),
        ("A -> B @ -1", r"cannot read the rate '-1'"),
        ("A -> B @ nan?", r"cannot read the rate 'nan\?'"),
        ("A -> B @ 1e400", r"reaction 'A -> B @ 1e400': .*1e400"),
        ("A -> B @ k, l", r"expected one rate, received 'k, l'"),
        ("A <-> B @ k", r"expected two rates 'forward, backward', received 'k'"),
        ("", r"expected at least one reaction such as 'A \+ B -> C @ k', received ''"),
        (" ; # only a comment", r"expected at least one reaction"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(text, words):
    """The error names the reaction and the token."""
    with pytest.raises(NetworkError, match=words):
        read_reactions(text)


def test_text_and_latex():
    """Sides, rates and names as a chemist writes them."""
    assert side_text([("X", 2), ("Y", 1)]) == "2 X + Y"
    assert side_text([]) == "0"
    assert rate_text("k", 2.0) == "2 * k"
    assert rate_text(None, 0.1) == "0.1"
    assert rate_text(None, 1.0) == "1"
    assert [name_latex(name) for name in ("k", "k_on", "P1", "gamma", "mRNA", "G1_0")] == [
        "k",
        r"k_{\mathrm{on}}",
        r"P_{\mathrm{1}}",
        r"\gamma",
        r"\mathrm{mRNA}",
        r"\mathrm{G1}_{\mathrm{0}}",
    ]


@pytest.mark.parametrize(("text", "rate", "factor"), [("1e5", None, 1e5), (".5", None, 0.5), ("2 * k", "k", 2.0), ("2k", "k", 2.0), ("1e-3 k", "k", 1e-3)])
def test_numbers_in_rates(text, rate, factor):
    """A number is read whole before a name is looked for."""
    (channel,) = read_reactions(f"A -> B @ {text}")
    assert (channel.rate, channel.factor) == (rate, factor)


def test_a_factor_without_a_name_is_refused():
    with pytest.raises(NetworkError, match=r"cannot read the rate '2 \*'"):
        read_reactions("A -> B @ 2 *")
