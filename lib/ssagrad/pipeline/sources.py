"""The notebooks as people write them: reading, parameters, and the .ipynb twins.

Only this module knows jupytext. `notebooks/NN_stem.py` is the source; `NN_stem.ipynb` is made from it, never the other way
by anything here. A twin has no outputs but one: the table of the verdict cell, which the tests compare with what they get.
"""

import ast
import difflib
import hashlib
import re
import tomllib
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbformat

from ssagrad.publish import write_bytes

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}


class PipelineError(Exception):
    """Something the user can put right; the message says what and how."""


class Source(NamedTuple):
    """One notebook, read from its .py file."""

    stem: str
    notebook: nbformat.NotebookNode
    defaults: dict  # the literals of the parameters cell, by name

    @property
    def title(self):
        """The text of the first heading."""
        found = re.search(r"^# +(.+)$", self.notebook.cells[0].source, re.MULTILINE) if self.notebook.cells else None
        return found.group(1).strip() if found else self.stem

    @property
    def code_cells(self):
        """The sources of all code cells but the parameters cell."""
        cells = [cell for cell in self.notebook.cells if cell.cell_type == "code" and not is_parameters(cell)]
        return [cell.source for cell in cells]


def is_parameters(cell):
    """Whether a cell carries the tag `parameters`, or the one of papermill's values for these."""
    return not {"parameters", "injected-parameters"}.isdisjoint(cell.metadata.get("tags", []))


def is_verdict(cell):
    """Whether a code cell ends with `report.verdict()`."""
    return cell.cell_type == "code" and re.search(r"\.verdict\(\)\s*$", cell.source) is not None


def stems(root):
    """The stems of all notebooks, in the order in which they run."""
    return sorted(path.stem for path in (root / "notebooks").glob("[0-9][0-9]_*.py"))


def read_source(root, stem):
    """Read `notebooks/<stem>.py`: cells with ids made from their content, and one way to write the metadata."""
    notebook = jupytext.read(root / "notebooks" / f"{stem}.py")
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    notebook.nbformat_minor = 5
    seen = {}
    for cell in notebook.cells:
        text = f"{cell.cell_type} {cell.source}"
        seen[text] = seen.get(text, 0) + 1
        cell.id = hashlib.sha256(f"{seen[text]} {text}".encode()).hexdigest()[:12]
        cell.metadata = nbformat.from_dict({"tags": cell.metadata.tags} if cell.metadata.get("tags") else {})
    return Source(stem, notebook, read_defaults(notebook, stem))


def read_defaults(notebook, stem):
    """The literal assignments of the cell tagged `parameters`, by name."""
    cells = [cell for cell in notebook.cells if is_parameters(cell)]
    if len(cells) != 1 or cells[0].cell_type != "code":
        raise PipelineError(f'{stem}: expected one code cell tagged "parameters", found {len(cells)}.')
    defaults = {}
    for statement in ast.parse(cells[0].source).body:
        try:
            (target,) = statement.targets
            defaults[target.id] = ast.literal_eval(statement.value)
        except (AttributeError, ValueError, TypeError):
            line = ast.unparse(statement)
            raise PipelineError(f"{stem}: the parameters cell holds plain `name = literal` lines, got: {line}") from None
    return defaults


def paper_parameters(root):
    """The paper-sized parameters of `notebooks/paper.toml`, by stem and name."""
    path = root / "notebooks" / "paper.toml"
    try:
        return tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    except tomllib.TOMLDecodeError as error:
        raise PipelineError(f"notebooks/paper.toml cannot be read: {error}.") from None


def known(name, names, *, what):
    """Return `name` if it is among `names`; else say so and name the nearest."""
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(names) or 'none'}."
    raise PipelineError(f"Unknown {what} {name!r}: {hint}")


def read_value(text, name, default):
    """Turn the text of `--set NAME=TEXT` into a value of the default's type."""
    if isinstance(default, str):
        quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
        return text[1:-1] if quoted else text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    return fitting_value(value, name, default)


def fitting_value(value, name, default):
    """The value in the type of the default: a whole float serves as an integer, an integer as a float."""
    kinds = {bool: "True or False", int: "a whole number", float: "a number", str: "a text", list: "a list"}
    wanted = kinds.get(type(default), f"a {type(default).__name__}")
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(default, bool) or default is None:
        fits = default is None or isinstance(value, bool)
    elif isinstance(default, int):
        fits = number and value == value and abs(value) != float("inf") and value == int(value)
        value = int(value) if fits else value
    elif isinstance(default, float):
        fits = number and value == value and abs(value) != float("inf")
        value = float(value) if fits else value
    elif isinstance(default, (list, tuple)):
        fits = isinstance(value, (list, tuple))
        example = next((entry for entry in default if isinstance(entry, float)), default[0] if default else None)
        value = [fitting_value(entry, name, example) for entry in value] if fits else value
    else:
        fits = isinstance(value, type(default))
    if not fits:
        raise PipelineError(f"Parameter {name} expects {wanted} (its default is {default!r}), got {value!r}.")
    return value


def make_twin(source, verdict_outputs=()):
    """The notebook's .ipynb: no outputs but those of the verdict cell, which get its place as execution count."""
    twin = nbformat.from_dict(source.notebook)
    position = 0
    for cell in twin.cells:
        if cell.cell_type != "code":
            continue
        position += 1
        cell.execution_count, cell.outputs = None, []
        if is_verdict(cell) and verdict_outputs:
            cell.execution_count = position
            outputs = [{**output, "execution_count": position} for output in verdict_outputs]
            cell.outputs = [nbformat.from_dict(output) for output in outputs]
    return twin


def stored_verdict(path, source):
    """The stored output tables of the verdict cell of an .ipynb; none if its code is another one or it was never run."""
    if not path.is_file():
        return []
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code" and not is_parameters(cell)]
    if [cell.source for cell in cells] != source.code_cells:
        return []
    outputs = [output for cell in cells if is_verdict(cell) for output in cell.outputs]
    return [{**output, "metadata": {}} for output in outputs if output.output_type == "execute_result"]


def twin_text(notebook):
    """The bytes of an .ipynb file as git should see them."""
    return nbformat.writes(notebook, version=4).rstrip("\n") + "\n"


def twin_differences(root, source):
    """What makes `notebooks/<stem>.ipynb` another notebook than its source; outputs do not count."""
    path = root / "notebooks" / f"{source.stem}.ipynb"
    if not path.is_file():
        return ["the .ipynb twin is missing"]
    parts = [
        [(cell.cell_type, cell.source, tuple(cell.metadata.get("tags", []))) for cell in notebook.cells]
        for notebook in (source.notebook, nbformat.read(path, as_version=4))
    ]
    if len(parts[0]) != len(parts[1]):
        return [f"the .py has {len(parts[0])} cells, the .ipynb {len(parts[1])}"]
    return [f"cell {index} differs" for index, pair in enumerate(zip(*parts), 1) if pair[0] != pair[1]]


def write_twin(root, source, verdict_outputs):
    """Write `notebooks/<stem>.ipynb` if it would change; returns whether it did."""
    path = root / "notebooks" / f"{source.stem}.ipynb"
    text = twin_text(make_twin(source, verdict_outputs))
    if path.is_file() and path.read_text("utf-8") == text:
        return False
    write_bytes(path, text.encode())
    return True
