"""Models from files: SBML, or text with reactions, values and conditions.

The text format has one statement a line (or several, separated by `;`), and `#` begins a comment:

    S + I -> 2 I @ infection      # reactions, as in Network.from_text
    I -> R @ recovery
    infection = 0.02              # values of parameters
    recovery = 5
    S(0) = 1980                   # molecules at time 0; species that are not named start at 0
    I(0) = 20

    [crowded]                     # what is different under a condition of the data that has this name
    S(0) = 3960
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ssagrad.network import Network
from ssagrad.notation import NetworkError

_NAME = r"[A-Za-z_]\w*"
_VALUE = re.compile(rf"({_NAME})\s*(\(\s*0\s*\))?\s*=(.*)\Z", re.DOTALL)
_CONDITION = re.compile(r"\[([^\[\]]+)\]\Z")
_SBML = (".xml", ".sbml", ".ant", ".antimony")  # what `ssagrad.sbml.read` reads


class CalibrationError(ValueError):
    """A fit that cannot be done as asked; the message says what was expected, what came, and the likely cause."""


class ModelText(NamedTuple):
    """A network with values, and what is different under conditions.

    network: species and reactions. parameters: values by name. initial_counts: molecules by species.
    conditions: {name: ({parameter: value}, {species: molecules})}, what a condition changes.
    """

    network: Network
    parameters: dict[str, float]
    initial_counts: dict[str, float]
    conditions: dict[str, tuple[dict[str, float], dict[str, float]]]


def read_model(path: str | os.PathLike) -> Any:
    """A model from a file: SBML (`.xml`, `.sbml`) or Antimony (`.ant`), for which there are extras, or text as above under any other name.

    Returns:
        An object with `network`, `parameters` and `initial_counts`: `ModelText`, or what `ssagrad.sbml.read` returns.

    Raises:
        NetworkError: text that is no model. OSError: no such file. What `ssagrad.sbml.read` raises.
    """
    if os.fspath(path).lower().endswith(_SBML):
        from ssagrad import sbml

        return sbml.read(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except UnicodeError as error:
        raise NetworkError(f"model {os.path.basename(os.fspath(path))}: expected text in UTF-8, received what is none ({error})") from None
    return model_from_text(text)


def model_from_text(text: str) -> ModelText:
    """Reads a model in the format above.

        >>> model_from_text("0 -> X @ birth; X -> 0 @ 0.1; birth = 3; X(0) = 10").parameters
        {'birth': 3.0}

    Raises:
        NetworkError: with the line, and what is wrong with it.
    """
    reactions, sections, name = [], {"": ({}, {})}, ""
    for number, line in enumerate(text.splitlines(), 1):
        for statement in (part.strip() for part in line.split("#")[0].split(";")):
            where = f"line {number}, '{statement[:60]}'"
            if not statement:
                continue
            if section := _CONDITION.match(statement):
                name = section.group(1).strip()
                if name in sections:
                    raise NetworkError(f"{where}: expected each condition once, received '{name}' again")
                sections[name] = ({}, {})
            elif value := _VALUE.match(statement):
                _store(sections[name][bool(value.group(2))], value, where)
            elif name:
                raise NetworkError(f"{where}: expected values such as 'k = 0.1' or 'X(0) = 10' in the condition [{name}], received this")
            elif "->" in statement:
                reactions.append(statement)
            else:
                raise NetworkError(f"{where}: expected a reaction 'A + B -> C @ k', a value 'k = 0.1', molecules 'A(0) = 10' or a condition '[name]'")
    network = Network.from_text("\n".join(reactions))
    if not network.species:
        raise NetworkError(f"expected a model with at least one species, received reactions of nothing: {'; '.join(reactions)[:60]}")
    parameters, counts = sections.pop("")
    for label, (values, molecules) in {"": (parameters, counts), **sections}.items():
        _check(network, parameters, values, molecules, f"condition [{label}]" if label else "model")
    return ModelText(network, parameters, counts, sections)


def _store(values: dict[str, float], match: re.Match, where: str) -> None:
    name, number = match.group(1), match.group(3).strip()
    if name in values:
        raise NetworkError(f"{where}: expected each value once, received '{name}' again")
    try:
        values[name] = float(number)
    except ValueError:
        raise NetworkError(f"{where}: expected a number after '=', received '{number[:40]}'") from None


def _check(network: Network, parameters: Mapping, values: Mapping, molecules: Mapping, where: str) -> None:
    used = network.parameter_names
    if unused := [name for name in values if name not in used]:
        hint = f"; molecules are written '{unused[0]}(0) = 10'" if unused[0] in network.species else ""
        raise NetworkError(f"{where}: expected values of the parameters {list(used)}, received '{unused[0]}', which no reaction uses{hint}")
    if missing := [name for name in used if name not in {**parameters, **values}]:
        raise NetworkError(f"{where}: expected a value for every parameter, received none for '{missing[0]}'; write '{missing[0]} = 1' to begin with")
    network.check_parameters({**parameters, **values})
    network.counts_from(dict(molecules))
