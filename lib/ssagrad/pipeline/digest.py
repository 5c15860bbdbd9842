"""What a report was made from, as short hashes: the notebook's code cells, its parameters, and the library code it uses.

Only what can change a result counts. Docstrings, comments and layout are left out, and of every module only the
definitions that the notebook reaches, followed by name through imports, are taken: a new plot or a new model leaves the
reports that do not use it fresh. A definition counts whole. What runs at import time outside definitions counts too, and so
does a function whose decorator names a definition in use (`@f.defjvp`). Where a name cannot be followed, its whole module
counts. `publish`, `tables` and `pipeline` are left out: they save results and compute none.
"""

import ast
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

LEFT_OUT = ("publish", "tables", "pipeline", "__main__")
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
LAYOUT = ("ctx", "kind", "type_comment", "type_ignores")  # fields of syntax nodes that say nothing about results
LOOSE = ""  # stands for the statements of a module that define nothing and run at import


class Module(NamedTuple):
    """One module, taken apart."""

    name: str  # dotted, as imported
    definitions: dict  # name -> the top-level statements that make it; LOOSE -> all others
    imports: dict  # local name -> (module of this package, name in it or None for the module itself)


def made_from(code_cells, parameters, *, package):
    """Hashes by ingredient: `cells`, `parameters`, and one per module of the package that the cells use.

    Args:
        code_cells: sources of the code cells, without the parameters cell.
        parameters: the values the notebook runs with, by name.
        package: folder of the package whose code is followed, for example `lib/ssagrad`.

    Returns:
        A dict of short hashes; equal dicts mean equal results, on the same machine with the same versions.
    """
    package = Path(package)
    cells = [statement for cell in code_cells for statement in without_docstrings(ast.parse(cell)).body]
    imports = package_imports(ast.Module(body=cells, type_ignores=[]), "", package.name)
    read_module.cache_clear()
    used = reached(Module("", {LOOSE: cells}, imports), package)
    hashes = {"cells": short_hash([canonical(cell) for cell in cells]), "parameters": short_hash(parameters)}
    for module in sorted({module for module, _ in used}):
        hashes[module] = short_hash({name: text for (owner, name), text in used.items() if owner == module})
    return hashes


def changed(old, new):
    """In words, the ingredients that differ between two results of `made_from`."""
    words = {"cells": "its code cells", "parameters": "its parameters"}
    return [words.get(key, key) for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]


def reached(start, package):
    """All code of the package that a module (here the notebook) uses: {(module, name): canonical text}."""
    found = {}
    waiting = [(start, statement) for group in start.definitions.values() for statement in group]
    while waiting:
        module, statement = waiting.pop()
        for chain in name_chains(statement):
            for owner, name in follow(package, module, chain):
                if (owner, name) in found or f"{owner}.".split(".")[1] in LEFT_OUT:
                    continue
                source = read_module(package, owner)
                statements = source.definitions[name]
                found[owner, name] = [canonical(node) for node in statements]
                waiting += [(source, node) for node in statements]
    return found


def follow(package, module, chain):
    """The code that a chain of names used in a module, such as `exact.mean`, stands for; empty if not of the package."""
    head, *rest = chain
    found = {(module.name, head), (module.name, LOOSE)} if head in module.definitions else set()
    if head in module.imports:
        owner, name = module.imports[head]
        found |= look_up(package, owner, [name, *rest] if name else rest)
    return found


def look_up(package, owner, chain):
    """The code that `owner.chain` stands for, seen from outside the module `owner`."""
    module = read_module(package, owner)
    if not chain:
        return everything(package, module)
    head, *rest = chain
    if head in module.definitions:
        return {(owner, head), (owner, LOOSE)}
    if module.imports.get(head, (owner, head)) != (owner, head):
        return follow(package, module, chain)
    if module_file(package, f"{owner}.{head}"):
        return look_up(package, f"{owner}.{head}", rest)
    elsewhere = [read_module(package, name) for name in module_names(package)]  # for example a lazy export
    found = {(other.name, head) for other in elsewhere if head in other.definitions}
    return found or everything(package, module)


def everything(package, module):
    """All definitions of a module and, where it is the face of a package, of what it exports."""
    found = {(module.name, name) for name in module.definitions}
    if is_package(package, module.name):
        for name, target in module.imports.items():
            if target not in ((module.name, name), (module.name, None)):
                found |= follow(package, module, [name])
    return found


@cache
def read_module(package, name):
    """Parse a module of the package, once per digest."""
    path = module_file(package, name)
    tree = without_docstrings(ast.parse(path.read_text("utf-8") if path else ""))
    return take_apart(tree, name, package.name, is_package=is_package(package, name))


def module_file(package, name):
    """The file of a dotted module name; None where there is none."""
    base = package.parent.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def is_package(package, name):
    """Whether a dotted name is a folder of modules."""
    return package.parent.joinpath(*name.split("."), "__init__.py").is_file()


def module_names(package):
    """Dotted names of all modules of the package."""
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def take_apart(tree, name, package_name, *, is_package=False):
    """Sort the top-level statements of a module by the name that they define."""
    definitions = {LOOSE: []}
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        for defined in defined_names(node) or [LOOSE]:
            definitions.setdefault(defined, []).append(node)
    for node in tree.body:  # a function registered with a definition of this module belongs to it too
        for decorator in node.decorator_list if isinstance(node, DEFINITIONS) else []:
            for chain in name_chains(decorator):
                if chain[0] in definitions and chain[0] != node.name:
                    definitions[chain[0]].append(node)
    here = name if is_package else name.rpartition(".")[0]
    return Module(name, definitions, package_imports(tree, here, package_name))


def package_imports(tree, here, package_name):
    """Local names bound by imports from the package, at any depth of the tree; `here` resolves relative ones."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                target = alias.name if alias.asname else alias.name.split(".")[0]
                found[alias.asname or target] = (target, None)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here.split(".")[: len(here.split(".")) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found |= {alias.asname or alias.name: (module, alias.name) for alias in node.names}
    return {local: target for local, target in found.items() if target[0].split(".")[0] == package_name}


def defined_names(node):
    """The names that a top-level statement defines; none where it is not a plain definition."""
    if isinstance(node, DEFINITIONS):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    if not isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        return []
    parts = [part for target in targets for part in getattr(target, "elts", [target])]
    return [part.id for part in parts] if all(isinstance(part, ast.Name) for part in parts) else []


def name_chains(node):
    """Every name used below a node, with the attributes that follow it: `a.b(c)` gives [a, b] and [c]."""
    chain, inner = [], node
    while isinstance(inner, ast.Attribute):
        chain.insert(0, inner.attr)
        inner = inner.value
    if isinstance(inner, ast.Name):
        yield [inner.id, *chain]
        return
    for child in ast.iter_child_nodes(inner):
        yield from name_chains(child)


def without_docstrings(tree):
    """The tree with the docstrings of modules, classes and functions taken out."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, *DEFINITIONS)) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or ([] if isinstance(node, ast.Module) else [ast.Pass()])
    return tree


def canonical(node):
    """A syntax tree as plain lists, the same for every version of Python; empty fields are left out."""
    if isinstance(node, ast.AST):
        fields = [[name, canonical(value)] for name, value in ast.iter_fields(node) if name not in LAYOUT]
        return [type(node).__name__, *(field for field in fields if field[1] not in (None, []))]
    if isinstance(node, list):
        return [canonical(entry) for entry in node]
    return repr(node) if node is not None else None


def short_hash(value):
    """Sixteen digits that stand for a plain value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
