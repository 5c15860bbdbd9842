"""Checkpoints: named arrays in one .npz file that is whole at every moment, and that only the computation which wrote it takes back."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

_FACTS = "facts"
_NOT_READABLE = (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


def describe(tree: Any) -> str:
    """A pytree of arrays of numbers as text: shapes and types by name, and a short hash of the values."""
    digest, shapes = hashlib.sha256(), []
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        values = np.asarray(leaf)
        shapes.append(f"{jax.tree_util.keystr(path)} {values.dtype}{list(values.shape)}".strip())
        digest.update(repr((shapes[-1], values.tobytes())).encode())
    return f"{', '.join(shapes)} (values {digest.hexdigest()[:8]})" if shapes else "none"


def save_checkpoint(path: str | os.PathLike, facts: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the arrays to a temporary file beside `path`, which then takes its place in one move.

    A process that is killed while it writes leaves a file `path.….part`, of no use and in nobody's way.

    Args:
        facts: what the computation is made of, as text by name; `load_checkpoint` compares them.
    """
    path, temporary = os.fspath(path), f"{os.fspath(path)}.{os.getpid()}.part"
    with open(temporary, "wb") as file:
        try:
            np.savez(file, **{_FACTS: json.dumps(dict(facts))}, **arrays)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            os.remove(temporary)
            raise
    os.replace(temporary, path)


def load_checkpoint(path: str | os.PathLike, facts: Mapping[str, str]) -> dict[str, np.ndarray] | None:
    """The arrays that were saved with the same facts; None where there is no file yet. No file is ever deleted.

    Raises:
        FileNotFoundError: the folder does not exist. ValueError: the file cannot be read, or its facts differ (the message names those that do).
    """
    path = os.fspath(path)
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"checkpoint {path}: expected an existing folder, received {folder}")
    if not os.path.exists(path):
        return None
    try:
        with open(path, "rb") as file:
            arrays = dict(np.load(file, allow_pickle=False))
            saved = json.loads(str(arrays.pop(_FACTS)))
    except _NOT_READABLE as error:
        raise ValueError(
            f"checkpoint {path}: expected a file written by save_checkpoint, received {os.path.getsize(path)} bytes that cannot be read ({error}); "
            "it was cut short by a copy or is another kind of file: remove it, or name another path"
        ) from error
    different = [name for name in sorted(saved.keys() | facts.keys()) if saved.get(name) != facts.get(name)]
    if different:
        differences = "; ".join(f"{name}: expected {facts.get(name)}, received {saved.get(name)}" for name in different)
        raise ValueError(f"checkpoint {path} is of another computation. {differences}. Name another path, or remove the file to begin again")
    return arrays
