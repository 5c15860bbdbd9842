"""From a path or text to a document of libsbml that is valid, or to an error that says what is wrong."""

from __future__ import annotations

import os
from typing import Any
from xml.parsers import expat

from ssagrad.sbml.antimony_text import from_antimony
from ssagrad.sbml.expressions import SbmlError

ANTIMONY = (".ant", ".antimony")  # endings of files
MOST_BYTES, MOST_NESTING = 20_000_000, 250
_NEEDED = {"l3v2extendedmath"}  # packages that may be required of a reader: this one only adds operators


def import_libsbml() -> Any:
    """The module libsbml; an error that names what to install where it is missing."""
    try:
        import libsbml
    except ImportError as missing:
        raise ImportError("reading SBML needs python-libsbml: pip install 'ssagrad[sbml]'") from missing
    return libsbml


def load(source: str | bytes | os.PathLike) -> str:
    """Text of a document: what `source` says if it looks like XML, else the content of the file that it names, from Antimony if it is called .ant.

    Raises:
        SbmlError: no such file, not UTF-8, more than 20 MB, not well-formed, a document type definition, or elements nested more than 250 deep.
    """
    if isinstance(source, str | bytes):
        start = source.lstrip()[:1] if isinstance(source, str) else source.removeprefix(b"\xef\xbb\xbf").lstrip()[:1].decode("latin-1")
        content = source if start in ("<", "") or isinstance(source, bytes) else _content(source)
    elif isinstance(source, os.PathLike):
        content = _content(source)
    else:
        raise SbmlError(f"expected the path of an SBML file or its text, received {type(source).__name__}")
    try:
        data = content.encode("utf-8") if isinstance(content, str) else content
        text = data.decode("utf-8-sig").removeprefix("\ufeff").strip()
    except UnicodeError as error:
        raise SbmlError(f"expected a document in UTF-8, as SBML prescribes: {error}") from None
    if len(data) > MOST_BYTES:
        raise SbmlError(f"expected a document of at most {MOST_BYTES:,} bytes, received {len(data):,}")
    if content is not source and text[:1] != "<":
        text = _translated(os.fsdecode(source), text)
    _check_xml(text)
    return text


def _translated(path: str, text: str) -> str:
    """SBML from the content of a file that is none."""
    if path.lower().endswith(ANTIMONY):
        return from_antimony(text)
    shown = f"expected SBML, which begins with '<', in {os.path.basename(path)}, received {text[:40]!r}"
    raise SbmlError(f"{shown}; Antimony is read from files called .ant and by sbml.read_antimony, reactions such as 'A + B -> C @ k' by Network.from_text")


def _content(path: str | os.PathLike) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        shown = os.fspath(path)
        hint = "; a text in Antimony is read by sbml.read_antimony" if any(sign in str(shown) for sign in (";", "\n", "->", "=>")) else ""
        shown = shown if len(str(shown)) < 200 else f"{str(shown)[:200]}…"
        raise SbmlError(f"cannot read an SBML file at {shown!r}: {getattr(error, 'strerror', None) or error}; SBML text starts with '<'{hint}") from None


def _check_xml(text: str) -> None:
    """Well-formed, not too deep, no entities that could grow, and no package that changes what the document means."""
    parser, open_elements = expat.ParserCreate("utf-8"), []

    def start(name, attributes):
        if not open_elements and name.split(":")[-1] != "sbml":
            raise SbmlError(f"expected an SBML document, whose outermost element is 'sbml', received '{name}'")
        for attribute, value in attributes.items() if not open_elements else ():
            package, colon, kind = attribute.partition(":")
            if colon and kind == "required" and value.strip() not in ("false", "0") and package not in _NEEDED:
                raise SbmlError(f"the document requires the SBML package '{package}', which is not supported; export the model as SBML core")
        open_elements.append(name)
        if len(open_elements) > MOST_NESTING:
            raise SbmlError(f"line {parser.CurrentLineNumber}: elements are nested more than {MOST_NESTING} deep")

    def refuse(*_):
        raise SbmlError("the document has a document type definition (DOCTYPE), which SBML does not use; remove it")

    parser.StartElementHandler, parser.EndElementHandler = start, lambda name: open_elements.pop()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(text.encode("utf-8"), True)
    except expat.ExpatError as error:
        raise SbmlError(f"the document is not well-formed XML: {error}") from None


def parse(text: str) -> Any:
    """libsbml's document of a text that follows the schema, at level 2 or 3, with a model.

    Raises:
        SbmlError: with the line and the reason that libsbml gives.
    """
    libsbml = import_libsbml()
    document = libsbml.readSBMLFromString(text)
    _raise_errors(document, libsbml)
    if document.getLevel() < 2:
        raise SbmlError("SBML level 1 is not read: convert the document to level 2 or 3, for instance with libsbml's setLevelAndVersion(3, 2)")
    if document.getModel() is None:
        raise SbmlError("the document has no model")
    return document  # the model belongs to it


def validate(document: Any) -> None:
    """Everything else that SBML prescribes, but for units; SbmlError as `parse`. (Takes seconds where rules form a long chain: check that before.)"""
    libsbml = import_libsbml()
    for category in ("UNITS_CONSISTENCY", "MODELING_PRACTICE", "SBO_CONSISTENCY"):
        document.setConsistencyChecks(getattr(libsbml, f"LIBSBML_CAT_{category}"), False)
    document.checkConsistency()
    _raise_errors(document, libsbml)


def _raise_errors(document: Any, libsbml: Any) -> None:
    for i in range(document.getNumErrors()):
        error = document.getError(i)
        harmless = error.getErrorId() == libsbml.UndeclaredSpeciesRef  # a modifier that is not listed: the kinetic law reads it all the same
        if not harmless and error.getSeverity() in (libsbml.LIBSBML_SEV_ERROR, libsbml.LIBSBML_SEV_FATAL):
            lines = [line.strip() for line in error.getMessage().splitlines() if line.strip()]  # the rule, its reference, then what breaks it
            raise SbmlError(f"the document is not valid SBML: line {error.getLine()}: {error.getShortMessage()}: {' '.join(lines[-1:])}")
