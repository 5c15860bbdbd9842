"""What docstrings show is true: examples with >>> run, imports in examples work, and the map of `help(ssagrad)` leads to things that exist."""

import ast
import doctest
import importlib
import pkgutil
import re

import pytest

import ssagrad
from ssagrad.publish import project_root

LIB = project_root(__file__) / "lib" / "ssagrad"
SOURCES = {path: path.read_text("utf-8") for path in sorted(LIB.rglob("*.py"))}
NAMES = {path: ".".join(path.relative_to(LIB.parent).with_suffix("").parts).removesuffix(".__init__") for path in SOURCES}
WITH_EXAMPLES = [NAMES[path] for path, text in SOURCES.items() if ">>> " in text]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_run_and_give_what_they_say(name):
    """Every example of every module, in the settings of the tests."""
    found = doctest.testmod(importlib.import_module(name))
    assert found.failed == 0 and found.attempted > 0


def test_a_wrong_example_is_found():
    """Negative control: an example that says another number fails."""
    example = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    assert doctest.DocTestRunner(verbose=False).run(example, out=lambda text: None).failed == 1


def shown_imports(text):
    """Lines `from ssagrad... import ...` in the docstrings of a module."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
    docstrings = (ast.get_docstring(node) or "" for node in ast.walk(ast.parse(text)) if isinstance(node, owners))
    return [line for docstring in docstrings for line in re.findall(r"^ *(?:>>> )?(from ssagrad[\w.]* import \w+(?:, \w+)*)", docstring, re.MULTILINE)]


def test_imports_that_docstrings_show_work():
    """`from ssagrad.x import y` in an example gives y."""
    lines = {line for text in SOURCES.values() for line in shown_imports(text)}
    assert len(lines) >= 5
    for line in lines:
        exec(line, {})
    with pytest.raises(ImportError):
        exec(shown_imports('"""Says.\n\n    from ssagrad import nowhere\n"""')[0], {})


def test_the_map_leads_to_what_exists():
    """`help(ssagrad)` shows it; each name in backticks is a module or something in it."""
    named = re.findall(r"`([A-Za-z_]+(?:\.[a-z_A-Z]+)*)`", ssagrad.__doc__)
    for name in set(named) - {"plot", "Network.from_sbml"}:
        assert pkgutil.resolve_name(f"ssagrad.{name}" if "." not in name else _place(name)) is not None, name
    assert {"sbml.read", "calibration.fit", "executors.run", "estimators.dynkin_controls", "structure.discover"} <= set(named)


def _place(name):
    """`sbml.read` as `ssagrad.sbml:read`, `Network.from_text` as `ssagrad:Network.from_text`."""
    head, rest = name.split(".", 1)
    return f"ssagrad:{name}" if head[0].isupper() else f"ssagrad.{head}:{rest}"
