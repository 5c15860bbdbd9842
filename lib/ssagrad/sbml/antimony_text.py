"""Antimony to SBML and back, in a process of its own: the translator is C++ that some faulty texts bring down."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

from ssagrad.sbml.expressions import SbmlError

MOST_CHARACTERS, MOST_SECONDS = 2_000_000, 60.0
_WORKER = """
import json, os, sys
import antimony
kind, text = json.loads(sys.stdin.read())
sys.stdout.flush()
answer, sink = os.dup(1), os.open(os.devnull, os.O_WRONLY)
os.dup2(sink, 1)
try:
    failed = (antimony.loadAntimonyString if kind == "antimony" else antimony.loadSBMLString)(text) < 0
    wanted = antimony.getSBMLString if kind == "antimony" else antimony.getAntimonyString
    found = [failed, str(antimony.getLastError()) if failed else wanted(antimony.getMainModuleName())]
except UnicodeError as error:
    found = [True, str(error)]
with open(answer, "w") as pipe:
    pipe.write(json.dumps(found))
"""


def from_antimony(text: str) -> str:
    """SBML text of the main module of a model in Antimony.

    Raises:
        SbmlError: with the line and the reason that Antimony gives, or that it crashed or took too long. ImportError: what to install.
    """
    if not isinstance(text, str):
        raise SbmlError(f"expected a model as Antimony text, received {type(text).__name__}")
    if len(text) > MOST_CHARACTERS or "\0" in text:
        raise SbmlError(f"expected at most {MOST_CHARACTERS:,} characters of Antimony text without the character 0, received {len(text):,}")
    return _translate("antimony", text)


def to_antimony(text: str) -> str:
    """A document of SBML as Antimony.

    Raises:
        SbmlError, ImportError: as `from_antimony`.
    """
    return _translate("sbml", text)


def _translate(kind: str, text: str) -> str:
    if importlib.util.find_spec("antimony") is None:
        raise ImportError("reading and writing Antimony needs the package antimony: pip install 'ssagrad[sbml]'")
    try:
        command = [sys.executable, "-c", _WORKER]
        done = subprocess.run(command, input=json.dumps([kind, text]), capture_output=True, text=True, timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        raise SbmlError(f"Antimony took more than {MOST_SECONDS:g} s; write the model in shorter formulas, or as SBML") from None
    if done.returncode:
        how = f"crashed (signal {-done.returncode})" if done.returncode < 0 else f"failed: {done.stderr[-300:]}"
        raise SbmlError(f"Antimony {how} on this text; does a module contain itself?")
    failed, found = json.loads(done.stdout)
    if failed:
        raise SbmlError(f"Antimony cannot read the model: {' '.join(found.split())}")
    return found
