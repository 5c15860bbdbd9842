"""The rules of the house: imports point downward, modules stay short, public things say what they are."""

import ast
import re
import subprocess
import sys
from functools import cache

import pytest

from ssagrad.publish import project_root

ROOT = project_root(__file__)
LIB = ROOT / "lib" / "ssagrad"
# Each layer may reach lower ones only, directly or through modules that are named nowhere here.
LAYERS = [
    ["notation", "random", "statistics", "plots", "tables", "checkpoint", "descents", "observations"],
    ["publish"],
    ["executors", "network"],
    ["models", "ensemble"],
    ["simulate", "exact"],
    ["score", "sbml"],
    ["coupling", "straight_through"],
    ["backpropagation", "filtering", "lyapunov"],
    ["estimators"],
    ["fitting", "matching", "structure"],
    ["hierarchy", "boltzmann", "calibration"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
LEAVES = {"plots", "publish", "tables", "statistics", "pipeline.digest"}  # these and what is in them reach no other module but leaves
ONLY_IN = {
    "papermill": ["pipeline.execute"],
    "jupytext": ["pipeline.sources"],
    "nbconvert": ["pipeline.pages"],
    "seaborn": ["plots"],
    "matplotlib": ["plots"],
    "optax": ["fitting", "hierarchy", "boltzmann", "calibration"],
    "pathlib": ["publish", "pipeline", "__main__"],
    "shutil": ["pipeline"],
    "libsbml": ["sbml"],
}
MOST_MODULE_LINES, MOST_FUNCTION_LINES = 300, 50
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def modules():
    """All modules of the library by dotted name below it, parsed."""
    found = {}
    for path in sorted(LIB.rglob("*.py")):
        parts = path.relative_to(LIB).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text("utf-8"))
    return found


def imports(tree, known):
    """The modules of the library, and the outer packages, that a module imports."""
    inner, outer = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports name the whole module"
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name.removeprefix("ssagrad.") in known else node.module for name in below]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "ssagrad":
                inner.add(name.removeprefix("ssagrad").removeprefix("."))
            else:
                outer.add(name.split(".")[0])
    return inner, outer


def is_leaf(name):
    return bool({name, name.split(".")[0]} & LEAVES)


def downward_violations(graph):
    """Pairs (module, module it reaches) that break the order; `graph` maps module to the modules that it imports."""
    for start in graph:
        reached, waiting = set(), [start]
        while waiting:
            for name in graph.get(waiting.pop(), ()):
                if name not in reached:
                    reached.add(name)
                    waiting.append(name)
        if start in reached:
            yield start, start
        for other in reached:
            mine, its = start.split(".")[0], other.split(".")[0]
            upward = mine in RANK and its in RANK and mine != its and RANK[its] >= RANK[mine]
            if upward or (is_leaf(start) and not is_leaf(other)) or (mine == its == "estimators" and other != "estimators" != start):
                yield start, other


def test_imports_point_downward():
    """A module reaches only what is below it; leaves reach leaves; estimators do not reach one another."""
    graph = {name: imports(tree, modules())[0] - {""} for name, tree in modules().items() if name}
    assert sorted(downward_violations(graph)) == []


@pytest.mark.parametrize(
    "graph",
    [
        {"network": {"simulate"}},
        {"network": {"helper"}, "helper": {"simulate"}},
        {"fitting": {"structure"}},
        {"helper": {"other"}, "other": {"helper"}},
        {"plots": {"network"}},
        {"estimators.score": {"estimators.paths"}},
    ],
)
def test_an_upward_import_is_found(graph):
    """Directly, through a helper, sideways, in a circle, from a leaf, between estimators."""
    assert list(downward_violations(graph))


def test_outer_packages_are_imported_where_they_belong():
    """papermill, jupytext, seaborn and optax each have one home; file paths have three."""
    for name, tree in modules().items():
        for package in imports(tree, modules())[1] & ONLY_IN.keys():
            homes = ONLY_IN[package]
            assert any(name == home or name.startswith(f"{home}.") for home in homes), f"{name} imports {package}; its home is {homes}"


def test_the_library_imports_without_extras():
    """`import ssagrad` needs numpy, jax and optax only."""
    code = "import sys, ssagrad; print(sorted({'seaborn', 'matplotlib', 'pandas', 'papermill', 'jupytext', 'IPython'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_modules_and_functions_are_short():
    """Nothing asks to be split: 300 lines a module, 50 a function without its docstring."""
    for path in LIB.rglob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) <= MOST_MODULE_LINES, f"{path.name} is too long"
    for name, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (body[-1].end_lineno - body[0].lineno + 1) if body else 0
                assert lines <= MOST_FUNCTION_LINES, f"{name}.{node.name} has {lines} lines"


def test_no_module_is_a_drawer():
    """A name says what is inside."""
    stems = {path.stem for folder in ("lib", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")}
    assert not stems & {"utils", "util", "helpers", "helper", "common", "misc"}


def test_public_things_have_docstrings():
    """Every module, public class, function and method says what it is."""
    missing = []
    for name, tree in modules().items():
        missing += [name] * (ast.get_docstring(tree) is None)
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for node in [*tree.body, *(inner for owner in classes for inner in owner.body)]:
            if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_") and ast.get_docstring(node) is None:
                missing.append(f"{name}.{node.name}")
    assert missing == []


def files():
    """The files of the project as git would see them, also where there is no git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.splitlines()]
    skipped = {".venv", ".cache", ".runs", "__pycache__", "quick", "custom", "shared"}
    return [path for path in ROOT.rglob("*") if not skipped & set(path.relative_to(ROOT).parts)]


def test_no_file_names_a_machine_or_a_registry():
    """Paths of one machine and hosts of package indexes belong in nobody's clone."""
    forbidden = re.compile(r"/(home|Users|root)/\w|(?<![\w.])/(work|opt)/\w|pypi\.(org|python)|python[h]osted|anaconda\.(org|com)")
    found = []
    for path in files():
        if path.is_file() and path.suffix not in {".png", ".pdf", ".npz"}:
            text = path.read_text("utf-8", errors="ignore")
            found += [f"{path.relative_to(ROOT)}: {match.group()}" for match in forbidden.finditer(text)]
    assert found == []
