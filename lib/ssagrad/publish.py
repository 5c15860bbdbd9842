"""Figures, numbers and claims of one notebook, saved where the profile says.

A notebook makes one `Report`, hands it every figure, value and claim, and ends with `report.verdict()`:

    report = publish.Report("20_sir_surface", profile=profile, seed=seed, parameters=dict(num_paths=num_paths))
    report.figure(fig, "surface", caption="Mean loss over both rates.", alt="A valley that runs along the diagonal.")
    report.value("loss_at_truth", loss, standard_error=error, unit="1")
    report.claim("sir.log-scale-arrives", source="Kreikemeyer 2024, Sec. 5.1", says="...", measured=distance,
                 standard_error=error, criterion="distance < 0.1", holds=distance < 0.1)
    report.numbers()    # a table with digits, for the reader
    report.verdict()    # a table without digits, for the tests; writes the report

Profile `paper` writes `figures/` and `reports/` of the project, `quick` their `quick/` folders. A runner redirects both
through the environment variable SSAGRAD_OUTPUT. The same run gives the same bytes: no dates, no ids, keys sorted.
This module takes plain values and arrays only; it computes nothing and imports neither JAX nor matplotlib.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import struct
import sys
import tempfile
from base64 import b64encode
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssagrad.tables import Table, measurement, verdict_word

OUTPUT_VARIABLE = "SSAGRAD_OUTPUT"
PROFILES = ("quick", "paper")
KINDS = ("paper", "beyond", "our reading")
RECORDED_VERSIONS = ("ssagrad", "jax", "jaxlib", "numpy", "optax", "matplotlib", "seaborn")
RESOLUTION = 160  # dots per inch of a saved PNG; shown at 96 per inch
NAME = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
CLAIM_ID = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")


class Folders(NamedTuple):
    """Where figures and reports go."""

    figures: Path
    reports: Path


class ShownFigure(NamedTuple):
    """A saved figure that shows itself, with alternative text and caption, when it ends a cell."""

    png: bytes
    caption: str
    alt: str

    def _ipython_display_(self):
        from IPython.display import display

        width = struct.unpack(">I", self.png[16:20])[0]
        data = {"image/png": b64encode(self.png).decode(), "text/plain": self.alt}
        display(data, metadata={"image/png": {"alt": self.alt, "width": width * 96 // RESOLUTION}}, raw=True)
        display({"text/markdown": f"**Figure.** {self.caption}", "text/plain": self.caption}, raw=True)


class Report:
    """The record of one notebook: its figures, values and claims.

    Args:
        stem: name of the notebook without ending, for example "20_sir_surface".
        profile: "quick" or "paper": where the results go.
        seed: the integer that all random keys of the notebook come from.
        parameters: the notebook's other parameters, by name; plain values.

    Raises:
        ValueError: an unknown profile, a stem that is no file name, a parameter that is not a plain finite value.
    """

    def __init__(self, stem, *, profile, seed, parameters):
        if not NAME.fullmatch(stem):
            raise ValueError(f"stem: expected small letters, digits and single _ or -, got {stem!r}")
        self.stem, self.profile, self.seed = stem, profile, seed
        self.parameters = _plain("parameters", dict(parameters))
        self.figures, self.values, self.claims = {}, {}, {}
        self.folders = output_folders(profile)

    def figure(self, fig, name, *, caption, alt):
        """Save a matplotlib figure as PNG (and PDF in the paper profile), close it, and return what shows it once."""
        _check_new("figure", name, self.figures, NAME)
        _check_text(f"figure {name!r}", caption=caption, alt=alt)
        if not getattr(fig, "axes", None):
            raise ValueError(f"figure {name!r}: expected a matplotlib figure with axes, got {type(fig).__name__}")
        path = self.folders.figures / f"{self.stem}_{name}.png"
        png = _save_figure(fig, path, dpi=RESOLUTION, metadata={"Software": None})
        entry = {"file": path.name, "caption": caption, "alt": alt, "sha256": hashlib.sha256(png).hexdigest()}
        if self.profile == "paper":
            no_dates = {"CreationDate": None, "Producer": None, "Creator": None}
            _save_figure(fig, path.with_suffix(".pdf"), metadata=no_dates)
            entry["vector"] = path.with_suffix(".pdf").name
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close(fig)
        self.figures[name] = entry
        return ShownFigure(png, caption, alt)

    def value(self, name, value, *, standard_error=None, unit):
        """Record one number with its unit ("1" if it has none) and, where it is an estimate, its standard error."""
        _check_new("value", name, self.values, CLAIM_ID)
        _check_text(f"value {name!r}", unit=unit)
        error = _standard_error(f"value {name!r}", standard_error)
        self.values[name] = {"value": _number(f"value {name!r}", value), "standard_error": error, "unit": unit}

    def claim(self, id, *, source, says, measured, standard_error=None, criterion, holds, kind="paper", unit="1"):
        """Record what a source says, what was measured, and whether the criterion holds.

        Args:
            id: unique in the project, for example "sir.log-scale-arrives".
            source: paper with figure, table or section; "this project" for claims of our own.
            says: the claim, a sentence that could be false.
            measured: a finite number, or a few words where no single number says it.
            standard_error: of the number; None where it is not an estimate.
            criterion: in words or a formula, what `holds` was computed from.
            holds: True or False.
            kind: "paper", "beyond" (more than the source shows) or "our reading" (the source leaves it open).
            unit: of the measured number.

        Raises:
            ValueError: a duplicate id, an unknown kind, an empty text, a number that is not finite.
            TypeError: `holds` is not a single boolean.
        """
        label = f"claim {id!r}"
        _check_new("claim", id, self.claims, CLAIM_ID)
        _check_text(label, source=source, says=says, criterion=criterion, unit=unit)
        if kind not in KINDS:
            raise ValueError(f"{label}: expected a kind among {', '.join(KINDS)}, got {kind!r}")
        if isinstance(measured, str):
            _check_text(label, measured=measured)
            if standard_error is not None:
                raise ValueError(f"{label}: a standard error belongs to a measured number, got {measured!r}")
        else:
            measured = _number(label, measured)
        if np.shape(holds) or np.asarray(holds).dtype != bool:
            raise TypeError(f"{label}: expected holds to be one True or False, got {holds!r}")
        self.claims[id] = {
            "id": id, "source": source, "says": says, "measured": measured, "unit": unit,
            "standard_error": _standard_error(label, standard_error), "criterion": criterion,
            "kind": kind, "holds": bool(holds), "verdict": verdict_word(kind, bool(holds)),
        }  # fmt: skip

    def numbers(self):
        """A table of every value and every claim's measurement so far, with standard errors."""
        rows = [(name, measurement(v["value"], v["standard_error"], v["unit"]), "") for name, v in self.values.items()]
        claims = self.claims.values()
        rows += [(c["id"], measurement(c["measured"], c["standard_error"], c["unit"]), c["criterion"]) for c in claims]
        return Table(("what", "measured", "criterion"), rows)

    def verdict(self):
        """Write `<stem>.json` and return the table of claims: id, what is said, True or False."""
        if not self.claims:
            raise ValueError(f"report {self.stem!r} has no claim: a notebook states at least one")
        claims = list(self.claims.values())
        record = {
            "stem": self.stem, "profile": self.profile, "seed": _plain("seed", self.seed),
            "parameters": self.parameters, "device": device(), "versions": versions(),
            "figures": list(self.figures.values()), "values": self.values, "claims": claims,
        }  # fmt: skip
        write_json(self.folders.reports / f"{self.stem}.json", record)
        return Table(("claim", "says", "holds"), [(c["id"], c["says"], str(c["holds"])) for c in claims])


def project_root(start=None):
    """The nearest folder, upwards from `start` (the working folder) or else from this file, that is a project.

    A project has a `pyproject.toml` beside a folder `notebooks`. Returns None where there is none.
    """
    for origin in (Path(start or Path.cwd()).resolve(), Path(__file__).resolve().parent):
        for folder in (origin, *origin.parents):
            if (folder / "pyproject.toml").is_file() and (folder / "notebooks").is_dir():
                return folder
    return None


def output_folders(profile):
    """Where a profile's figures and reports go: SSAGRAD_OUTPUT if set, else the project, else the working folder."""
    if profile not in PROFILES:
        raise ValueError(f"profile: expected one of {', '.join(PROFILES)}, got {profile!r}")
    if os.environ.get(OUTPUT_VARIABLE):
        root = Path(os.environ[OUTPUT_VARIABLE])
        return Folders(root / "figures", root / "reports")
    root = project_root()
    if root is None:
        root = Path.cwd()
        print(f"No project found (pyproject.toml beside notebooks/): figures/ and reports/ go below {root.name}/.")
    below = "" if profile == "paper" else profile
    return Folders(root / "figures" / below, root / "reports" / below)


def device():
    """The kind and number of devices JAX computes on, if it was imported."""
    jax = sys.modules.get("jax")
    if jax is None:
        return {"machine": platform.machine()}
    devices = jax.devices()
    return {"machine": platform.machine(), "kind": devices[0].device_kind, "count": len(devices)}


def versions():
    """Versions of Python and of the packages that numbers depend on, as far as installed."""
    found = {"python": platform.python_version()}
    for name in RECORDED_VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def write_bytes(path, data):
    """Write a file whole or not at all."""
    with part_of(path) as part:
        part.write_bytes(data)


def write_json(path, record):
    """Write strict JSON with sorted keys: the same record gives the same bytes."""
    text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_bytes(path, f"{text}\n".encode())


@contextmanager
def part_of(path):
    """A path that no other writer has, on whatever machine; what is written there takes the place of `path` at the end, or goes if that fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=".part") as folder:
            yield Path(folder) / path.name
            os.replace(Path(folder) / path.name, path)
    except OSError as error:
        if error.filename is None or path.name in str(error.filename):  # a full disk says no name, others that of the file beside it
            error.filename = str(path)
        raise


def _save_figure(fig, path, **options):
    with part_of(path) as part:
        fig.savefig(part, format=path.suffix[1:], bbox_inches="tight", **options)
        return part.read_bytes()


def _check_new(what, name, known, pattern):
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise ValueError(f"{what}: expected a name of small letters, digits and single separators, got {name!r}")
    if name in known:
        raise ValueError(f"{what} {name!r} was given before: each name is used once in a report")


def _check_text(label, **texts):
    for key, text in texts.items():
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"{label}: expected {key} to be a text, got {text!r}")


def _number(label, value):
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "iuf":
        raise ValueError(f"{label}: expected one number, got {value!r}")
    if not np.isfinite(array).all():
        raise ValueError(f"{label}: expected a finite number, got {value!r}; an estimate without samples gives this")
    if array.dtype.kind in "iu":
        return int(array.reshape(()))
    return float(str(array.reshape(())[()]))  # the shortest digits of the number's own precision


def _standard_error(label, error):
    if error is None:
        return None
    error = float(_number(f"standard error of {label}", error))
    if error < 0:
        raise ValueError(f"standard error of {label}: expected a number ≥ 0, got {error}")
    return error


def _plain(label, value):
    if isinstance(value, dict):
        return {str(key): _plain(f"{label}[{key!r}]", entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(f"{label}[{index}]", entry) for index, entry in enumerate(value)]
    if value is None or isinstance(value, (str, bool)):
        return value
    return _number(label, value)
