"""A digest changes with what can change a result, and with nothing else."""

import pytest

from ssagrad.pipeline.digest import changed, made_from

LIBRARY = {
    "__init__.py": "from toylib.network import Network\nfrom toylib import simulate\n",
    "network.py": "class Network:\n    size = 3\n",
    "random.py": "STATE = 128\n\n\ndef draw():\n    return STATE\n\n\ndef unused():\n    return 0\n",
    "simulate.py": "from toylib import random\n\n\ndef paths():\n    return random.draw()\n\n\n@paths.defjvp\ndef paths_jvp():\n    return 1\n",
    "plots.py": "from toylib.network import Network\n\n\ndef surface():\n    return 1\n\n\ndef curve():\n    return Network\n",
    "publish.py": "def save():\n    return 1\n",
}
CELLS = ["from toylib import plots, publish, simulate", "values = simulate.paths()\nplots.surface()\npublish.save()"]


@pytest.fixture
def library(tmp_path):
    """A small package on disk."""
    folder = tmp_path / "toylib"
    folder.mkdir()
    for name, text in LIBRARY.items():
        (folder / name).write_text(text)
    return folder


def digest(library, cells=CELLS, parameters=None):
    """What the toy notebook is made from."""
    return made_from(cells, parameters or {"n": 1}, package=library)


def test_only_used_modules_are_in(library):
    """plots.curve, and so the network, is not used; publish computes nothing."""
    assert set(digest(library)) == {"cells", "parameters", "toylib.plots", "toylib.random", "toylib.simulate"}


@pytest.mark.parametrize(
    ("name", "old", "new", "stale"),
    [
        ("random.py", "STATE = 128", "STATE = 64", ["toylib.random"]),
        ("random.py", "return STATE", "return STATE + 1", ["toylib.random"]),
        ("random.py", "return 0", "return 1", []),
        ("random.py", "def draw():", "def draw():\n    'Draw.'\n    # a comment", []),
        ("random.py", "STATE = 128", "print('at import')\nSTATE = 128", ["toylib.random"]),
        ("simulate.py", "return 1", "return 2", ["toylib.simulate"]),
        ("plots.py", "return 1", "return 2", ["toylib.plots"]),
        ("plots.py", "return Network", "return None", []),
        ("publish.py", "return 1", "return 2", []),
        ("network.py", "size = 3", "size = 4", []),
    ],
)
def test_an_edit_counts_where_it_is_reached(library, name, old, new, stale):
    """Constants, functions, registered functions and import-time code count; docstrings, comments and the unused do not."""
    before = digest(library)
    text = (library / name).read_text()
    assert old in text
    (library / name).write_text(text.replace(old, new, 1))
    assert changed(before, digest(library)) == stale


@pytest.mark.parametrize(
    "cells",
    [
        ["from toylib import Network", "Network.size"],
        ["import toylib", "toylib.Network.size"],
        ["import toylib.network as net", "net.Network"],
        ["from toylib.network import Network as N", "N()"],
        ["from toylib import network", "print(network)"],
        ["from toylib import plots", "print(plots)"],
        ["import toylib", "print(toylib)"],
    ],
)
def test_every_way_to_import_is_followed(library, cells):
    """A name, an attribute, an alias, a re-export, a whole module."""
    before = digest(library, cells)
    (library / "network.py").write_text("class Network:\n    size = 4\n")
    assert changed(before, digest(library, cells)) == ["toylib.network"]


def test_relative_and_lazy_imports_are_followed(library):
    """An import inside a function and one with a dot count too."""
    (library / "lazy.py").write_text("def go():\n    from .random import draw\n\n    return draw()\n")
    cells = ["from toylib.lazy import go", "go()"]
    before = digest(library, cells)
    (library / "random.py").write_text(LIBRARY["random.py"].replace("128", "64"))
    assert changed(before, digest(library, cells)) == ["toylib.random"]


def test_cells_and_parameters_count(library):
    """A comment in a cell does not; a value does."""
    before = digest(library)
    assert changed(before, digest(library, [*CELLS[:1], f"# why\n{CELLS[1]}  # so"])) == []
    assert changed(before, digest(library, [*CELLS, "1 + 1"])) == ["its code cells"]
    assert changed(before, digest(library, parameters={"n": 2})) == ["its parameters"]


def test_an_unknown_module_is_no_error(library):
    """The run will say so; the digest goes on."""
    assert "toylib.missing" not in digest(library, ["from toylib import missing", "missing.go()"])
