"""Where the files of an experiment are, and how they come there: verified by checksum, never part of this project.

The plate-reader data were released by Microsoft under the MIT licence with Roeder et al. 2019 (arXiv:1905.12090); the devices are those of Grant et al.
2016 (doi:10.15252/msb.20156590).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from ssagrad.hierarchy.plate_reader import FILES
from ssagrad.publish import project_root, write_bytes

VARIABLE = "SSAGRAD_DATA"
NAME = "vi-hds"
ORIGIN = "https://raw.githubusercontent.com/microsoft/vi-hds/007b40a/data/"
CHECKSUMS = {
    "proc140916.csv": "f0b5304db0fbcaddd32d54257964b5b3136687c272028a677a057e7db5d6d3b0",
    "proc140930.csv": "f38530f862f3b82f86a867b0185ba9881695e17b4fca352e66af614dffb9b698",
    "proc141006.csv": "d8a7694b9d3b6535fb9c3a5d510f1b9e57eb40cc700f801fa04e7b9572a87d78",
    "proc141021.csv": "ea89cfee94d7f3e9b0fb2571c912a28ea2375c697dfe3b0eab67af75100b80e5",
    "proc141023.csv": "a5bf53b54bc0d894fd94f4a251a558a7c0d5398f020508d9551dafffc0ad81a5",
    "proc141028.csv": "2888ca87df776851d0a98e92a56d78be621c88681e24d826017bab10491d13aa",
}
LICENCE = "LICENSE.txt"  # of the data; stays with the files
LICENCE_ORIGIN = "https://raw.githubusercontent.com/microsoft/vi-hds/007b40a/LICENSE"
LICENCE_CHECKSUM = "9906940f61b1f0b533fa7d99baf55178b2808fbe113ea51dfbfad8572ccd5f2b"
BRING = "python -m ssagrad data vi-hds"


class DataError(Exception):
    """Files that are missing or are not those that were expected."""


def folder() -> str:
    """The folder with the files: `$SSAGRAD_DATA/vi-hds` if the variable is set, else `data/vi-hds` of the project, else of the working folder."""
    parent = os.environ.get(VARIABLE) or os.path.join(str(project_root() or os.curdir), "data")
    return os.path.join(parent, NAME)


def located(name: str) -> str:
    """The folder of the data set `name`, "vi-hds" or a path, after its files were verified.

    Raises:
        DataError: a file that is missing or differs; the message names the command that brings the files.
    """
    place = folder() if name == NAME else name
    wrong = unverified(place)
    if wrong:
        raise DataError(
            f"expected the plate-reader files in {place}, received {'; '.join(f'{file}: {what}' for file, what in wrong.items())}. "
            f"Bring them with `{BRING}` (from a copy that you have: `{BRING} --from FOLDER`), or set {VARIABLE} to the folder that holds {NAME}"
        )
    return place


def unverified(place: str | os.PathLike, checksums: Mapping[str, str] = CHECKSUMS) -> dict[str, str]:
    """The files that are missing in a folder, or whose SHA-256 differs, and what is wrong with each."""
    found = {}
    for name, expected in checksums.items():
        path = os.path.join(os.fspath(place), name)
        if not os.path.exists(path):
            found[name] = "missing"
            continue
        with open(path, "rb") as file:
            if hashlib.sha256(file.read()).hexdigest() != expected:
                found[name] = "its checksum differs"
    return found


def bring(*, source: str | None = None, to: str | None = None, checksums: Mapping[str, str] = CHECKSUMS) -> str:
    """Brings the files: from a folder, or (with pooch) from the public repository; verifies each and writes it whole or not at all.

    The licence of the data comes with them: LICENSE.txt of the source folder where it has one, or that of the public repository; a copy at another
    address is taken without. A new parent folder inside the project gets a `.gitignore`, so that data are never committed.

    Args:
        source: a folder or an address that holds the files; None: the public repository. to: where they go; None: where `folder` looks.

    Returns:
        The folder.

    Raises:
        DataError: files that are missing at the source or differ. ImportError: pooch is needed and missing.
    """
    to = folder() if to is None else os.fspath(to)
    local = source is not None and not source.startswith(("http://", "https://"))
    if local and (wrong := unverified(source, checksums)):
        raise DataError(f"expected {list(checksums)} in {source}, received {'; '.join(f'{file}: {what}' for file, what in wrong.items())}")
    os.makedirs(to, exist_ok=True)
    _ignore_in_git(os.path.dirname(os.path.abspath(to)))
    if local:
        licence = [LICENCE] if os.path.exists(os.path.join(source, LICENCE)) else []
        for name in [*licence, *checksums]:
            with open(os.path.join(source, name), "rb") as file:
                write_bytes(os.path.join(to, name), file.read())
        return to
    if source is None:
        _download(LICENCE_ORIGIN, to, LICENCE, LICENCE_CHECKSUM)
    for name, checksum in checksums.items():
        _download((source or ORIGIN).rstrip("/") + "/" + name, to, name, checksum)
    return to


def _download(address: str, to: str, name: str, checksum: str) -> None:
    try:
        import pooch
    except ImportError as error:
        raise ImportError("downloads need pooch: pip install 'ssagrad[hierarchy]'; or name a folder with the files: --from FOLDER") from error
    try:
        pooch.retrieve(address, known_hash=f"sha256:{checksum}", fname=name, path=to, progressbar=False)
    except Exception as error:
        advice = f"without a connection, copy the files and use `{BRING} --from FOLDER`"
        raise DataError(f"expected {name} at {address}, received {error}; {advice}") from error


def _ignore_in_git(parent: str) -> None:
    root = project_root()
    ignore = os.path.join(parent, ".gitignore")
    if root is not None and os.path.dirname(parent) == str(root) and os.path.basename(parent) == "data" and not os.path.exists(ignore):
        write_bytes(ignore, b"# data are brought by `python -m ssagrad data`, and belong to nobody's commit\n*\n")


assert set(CHECKSUMS) == set(FILES)
