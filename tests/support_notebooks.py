"""What a notebook must look like, as functions that return sentences: one per violation, none for a good notebook."""

import ast
import re

from ssagrad.pipeline.sources import is_parameters, is_verdict

MOST_CELLS, MOST_CODE_LINES, SCREEN = 24, 120, 45
PATH_MODULES = {"os", "pathlib", "shutil", "glob", "tempfile", "io", "subprocess", "warnings"}
FILE_CALLS = {"open", "savefig", "save", "savez", "savetxt", "load", "loadtxt", "to_csv", "read_csv", "filterwarnings", "simplefilter"}


def template_violations(source):
    """Everything in a notebook (a `sources.Source`) that breaks the template."""
    cells = source.notebook.cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    trees = []
    for number, cell in enumerate(code, 1):
        try:
            trees.append(ast.parse(cell.source))
        except SyntaxError:
            return [f"code cell {number} is not plain Python"]
    found = [*size_violations(cells, code), *frame_violations(source, code)]
    for number, tree in enumerate(trees, 1):
        found += [f"code cell {number}: {what}" for what in statement_violations(tree)]
    importing = [number for number, tree in enumerate(trees, 1) if any(is_import(node) for node in ast.walk(tree))]
    if len(importing) != 1:
        found.append(f"imports belong in one cell, found them in code cells {importing}")
    return [*found, *state_violations(trees)]


def size_violations(cells, code):
    """Too many cells, too much code, a cell longer than a screen."""
    if len(cells) > MOST_CELLS:
        yield f"{len(cells)} cells, at most {MOST_CELLS}"
    lines = sum(bool(line.strip()) for cell in code for line in cell.source.splitlines())
    if lines > MOST_CODE_LINES:
        yield f"{lines} lines of code, at most {MOST_CODE_LINES}"
    for number, cell in enumerate(cells, 1):
        if len(cell.source.splitlines()) > SCREEN:
            yield f"cell {number} has {len(cell.source.splitlines())} lines, at most {SCREEN}"


def frame_violations(source, code):
    """Title, runtime, parameters, verdict and limits: the frame that every notebook has."""
    prose = [cell.source for cell in source.notebook.cells if cell.cell_type == "markdown"]
    if source.notebook.cells[0].cell_type != "markdown" or not prose[0].startswith("# "):
        yield "the first cell is no title"
    opening = " ".join(prose[:2]).lower()
    if not ("quick" in opening and "paper" in opening):
        yield "the opening does not say how long the quick and the paper profile take"
    if source.defaults.get("profile") != "quick" or not isinstance(source.defaults.get("seed"), int):
        yield 'the parameters cell does not have profile = "quick" and a whole-number seed'
    if len(code) > 1 and not is_parameters(code[1]):
        yield "the parameters cell does not follow the imports"
    if not is_verdict(code[-1]) or sum(is_verdict(cell) for cell in code) != 1:
        yield "the last code cell, and no other, ends with report.verdict()"
    if not re.match(r"#+ .*(limits|does not show)", prose[-1], re.IGNORECASE):
        yield "the last cell is not a section on limits"
    elif source.notebook.cells[-1].cell_type != "markdown":
        yield "something follows the section on limits"


def statement_violations(tree):
    """Definitions, paths, files and warnings in a cell."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield f"defines {node.name}; definitions belong in the library"
        for name in imported_modules(node):
            if name.split(".")[0] in PATH_MODULES:
                yield f"imports {name}; paths and warnings belong in the library"
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", None))
            if name in FILE_CALLS:
                yield f"calls {name}(); files are touched by ssagrad.publish only"


def state_violations(trees):
    """Names that one cell takes from another and changes, or that two cells bind and a third reads."""
    bound = [bound_names(tree) for tree in trees]
    outside = [outside_reads(tree) for tree in trees]
    for name in sorted(set().union(*bound)):
        owners = [number for number, names in enumerate(bound, 1) if name in names]
        readers = [number for number, names in enumerate(outside, 1) if name in names]
        if len(owners) > 1 and readers:
            yield f"{name} is bound in code cells {owners} and read from outside in {readers}: which one is meant?"
    for number, tree in enumerate(trees, 1):
        for node in ast.walk(tree):
            target = changed_name(node)
            if target and target in outside[number - 1]:
                yield f"code cell {number} changes {target}, which another cell made"


def is_import(node):
    """Whether a statement is an import."""
    return isinstance(node, (ast.Import, ast.ImportFrom))


def imported_modules(node):
    """The modules that an import statement names."""
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


def changed_name(node):
    """The name behind `name[i] = ...`, `name.x = ...` or `name += ...`; None for other nodes."""
    if isinstance(node, ast.AugAssign):
        node = node.target
        while isinstance(node, (ast.Subscript, ast.Attribute)):
            node = node.value
        return getattr(node, "id", None)
    if isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, ast.Store):
        while isinstance(node, (ast.Subscript, ast.Attribute)):
            node = node.value
        return getattr(node, "id", None)
    return None


def bound_names(tree):
    """Names that a cell binds, loop variables included, those inside comprehensions and lambdas not."""
    return {node.id for node in own_nodes(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def own_nodes(node):
    """All nodes below a node, without the insides of comprehensions and lambdas."""
    yield node
    if not isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda)):
        for child in ast.iter_child_nodes(node):
            yield from own_nodes(child)


def outside_reads(tree):
    """Names that a cell reads, or changes in place, before it binds them itself."""
    seen, found = set(), set()
    for statement in tree.body:
        names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
        loop = {node.id for node in names if isinstance(node.ctx, ast.Store) and not isinstance(statement, (ast.Assign, ast.AugAssign))}
        found |= {node.id for node in names if isinstance(node.ctx, ast.Load)} - seen - loop
        if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            found |= {statement.target.id} - seen
        seen |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return found
