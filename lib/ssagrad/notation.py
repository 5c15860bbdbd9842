"""How reactions are written: the text that people type, and the LaTeX that a notebook shows."""

from __future__ import annotations

import re
from typing import NamedTuple

_TERM = re.compile(r"(?:(\d+)\s*\*?\s*)?([A-Za-z_]\w*)\Z")
_NUMBER = r"(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?)"
_RATE = re.compile(rf"(?:{_NUMBER}\Z|{_NUMBER}\s*\*?\s*(?=[A-Za-z_]))?([A-Za-z_]\w*)?\Z")
_NOTHING = {"0", "∅", ""}


class NetworkError(ValueError):
    """The network, its parameters or its initial counts cannot be used as given; the message says where and why."""


class Channel(NamedTuple):
    """One reaction as read: molecules by species on both sides, and `factor × rate` (`rate` None: a plain number)."""

    label: str
    reactants: dict[str, int]
    products: dict[str, int]
    rate: str | None
    factor: float


def read_reactions(text: str) -> list[Channel]:
    """Channels of a text such as `"S + I -> 2 I @ infection; A + B <-> C @ on, off  # comment"`.

    Raises:
        NetworkError: with the reaction and the token that cannot be read.
    """
    lines = (line.split("#")[0] for line in text.splitlines())
    statements = [part.strip() for line in lines for part in line.split(";") if part.strip()]
    channels = [channel for statement in statements for channel in _read_statement(statement)]
    if not channels:
        raise NetworkError(f"expected at least one reaction such as 'A + B -> C @ k', received {text!r}")
    return channels


def _read_statement(statement: str) -> list[Channel]:
    """The channel of `left -> right @ rate`, or the two channels of `left <-> right @ forward, backward`."""
    reaction, at, rate_text = statement.partition("@")
    arrow = "<->" if "<->" in reaction else "->"
    if reaction.count("->") != 1:
        raise NetworkError(f"reaction '{statement}': expected one arrow '->' or '<->', as in 'A + B -> C @ k'")
    if not at or "@" in rate_text:
        raise NetworkError(f"reaction '{statement}': expected one rate after '@', as in 'A + B -> C @ k'")
    left, right = (_read_side(side, statement) for side in reaction.split(arrow))
    rates = [_read_rate(rate.strip(), statement) for rate in rate_text.split(",")]
    if len(rates) != (2 if arrow == "<->" else 1):
        expected = "two rates 'forward, backward'" if arrow == "<->" else "one rate"
        raise NetworkError(f"reaction '{statement}': expected {expected}, received '{rate_text.strip()}'")
    return [Channel(label, *sides, rate, factor) for (label, rate, factor), sides in zip(rates, [(left, right), (right, left)])]


def _read_side(side: str, statement: str) -> dict[str, int]:
    if side.strip() in _NOTHING:
        return {}
    molecules: dict[str, int] = {}
    for term in side.split("+"):
        match = _TERM.match(term.strip())
        if not match or match.group(1) == "0":
            expected = "expected a species such as 'X', '2 X', or '0' for nothing"
            raise NetworkError(f"reaction '{statement}': cannot read '{term.strip()}'; {expected}")
        molecules[match.group(2)] = molecules.get(match.group(2), 0) + int(match.group(1) or 1)
    return molecules


def _read_rate(text: str, statement: str) -> tuple[str, str | None, float]:
    match = _RATE.match(text)
    if not text or not match:
        expected = "expected a parameter 'k', a number '0.1', or both as '2 * k'"
        raise NetworkError(f"reaction '{statement}': cannot read the rate '{text}'; {expected}")
    alone, factor, name = match.groups()
    number = alone or factor
    if not 0 < float(number or 1) < float("inf"):
        raise NetworkError(f"reaction '{statement}': expected a finite positive number in the rate, received '{number}'")
    return name or text, name, float(number or 1)


def side_text(side: list[tuple[str, int]]) -> str:
    """`2 X + Y` from [("X", 2), ("Y", 1)]; `0` for an empty side."""
    return " + ".join(f"{molecules} {name}" if molecules > 1 else name for name, molecules in side) or "0"


def rate_text(rate: str | None, factor: float) -> str:
    """`k`, `0.1` or `2 * k`."""
    number = f"{factor:g}" if factor != 1 or rate is None else ""
    return " * ".join(part for part in (number, rate) if part)


def reaction_latex(left: list[tuple[str, int]], right: list[tuple[str, int]], rate: str | None, factor: float, is_function: bool) -> str:
    """One row `left &→ right` of an aligned block, the rate over the arrow."""
    sides = (
        " + ".join((f"{molecules}\\," if molecules > 1 else "") + name_latex(name) for name, molecules in side) or r"\varnothing"
        for side in (left, right)
    )
    number = f"{factor:g}" if factor != 1 or rate is None else ""
    symbol = r"\,".join(part for part in (number, name_latex(rate) if rate else "") if part) + (r"(x)" if is_function else "")
    return rf"&\xrightarrow{{\;{symbol}\;}}".join(f" {side} " for side in sides)


def name_latex(name: str) -> str:
    """`k_on` as k with index "on", `P1` as P with index 1, words upright."""
    stem, _, index = name.partition("_")
    if not index and (match := re.match(r"([A-Za-z]+)(\d+)\Z", name)):
        stem, index = match.groups()
    greek = {"alpha", "beta", "gamma", "delta", "mu", "nu", "lambda", "kappa", "sigma", "tau", "rho", "theta"}
    stem = rf"\{stem}" if stem in greek else stem if len(stem) == 1 else rf"\mathrm{{{stem}}}"
    return stem + (rf"_{{\mathrm{{{index.replace('_', ',')}}}}}" if index else "")
