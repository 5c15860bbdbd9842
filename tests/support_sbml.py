"""Small SBML documents of our own, written in one line each: what the tests of `ssagrad.sbml` read."""

import re

import libsbml


def math(formula):
    """MathML of a formula in infix notation."""
    tree = libsbml.parseL3Formula(formula)
    assert tree is not None, libsbml.getLastParseL3Error()
    return re.sub(r"<\?xml.*?\?>", "", libsbml.writeMathMLToString(tree)).strip()


def species(name, amount=None, *, concentration=None, counts=True, boundary=False, constant=False, compartment="cell"):
    """A species; `counts` means that its symbol is an amount."""
    initial = f'initialAmount="{amount}"' if amount is not None else f'initialConcentration="{concentration}"' if concentration is not None else ""
    flags = f'hasOnlySubstanceUnits="{_yes(counts)}" boundaryCondition="{_yes(boundary)}" constant="{_yes(constant)}"'
    return f'<species id="{name}" compartment="{compartment}" {initial} {flags}/>'


def parameter(name, value=None, *, constant=True):
    """A global parameter."""
    given = "" if value is None else f'value="{value}"'
    return f'<parameter id="{name}" {given} constant="{_yes(constant)}"/>'


def compartment(name, size=None, *, constant=True):
    """A compartment of three dimensions."""
    given = "" if size is None else f'size="{size}"'
    return f'<compartment id="{name}" spatialDimensions="3" {given} constant="{_yes(constant)}"/>'


def reaction(name, left, right, law, *, local=None, reversible=False, modifiers=(), fast=False):
    """A reaction from mappings of species to molecules, or texts such as "A + 2 B"."""
    sides = [("listOfReactants", _side(left)), ("listOfProducts", _side(right))]
    inner = "".join(f"<{tag}>{''.join(_reference(*pair) for pair in side.items())}</{tag}>" for tag, side in sides if side)
    used = set(re.findall(r"[A-Za-z_]\w*", law or "")) & set(modifiers)
    inner += f"<listOfModifiers>{''.join(f'<modifierSpeciesReference species={chr(34)}{m}{chr(34)}/>' for m in sorted(used))}</listOfModifiers>" if used else ""
    values = "".join(f'<localParameter id="{k}" value="{v}"/>' for k, v in (local or {}).items())
    values = f"<listOfLocalParameters>{values}</listOfLocalParameters>" if values else ""
    inner += f"<kineticLaw>{math(law)}{values}</kineticLaw>" if law else ""
    return f'<reaction id="{name}" reversible="{_yes(reversible)}" fast="{_yes(fast)}">{inner}</reaction>'


def rule(name, formula, *, kind="assignment"):
    """An assignment rule, or a rate rule, or (name None) an algebraic one."""
    variable = f' variable="{name}"' if name else ""
    return f"<{kind}Rule{variable}>{math(formula)}</{kind}Rule>"


def initial(name, formula):
    """An initial assignment."""
    return f'<initialAssignment symbol="{name}">{math(formula)}</initialAssignment>'


def function(name, arguments, formula):
    """A function definition."""
    return f'<functionDefinition id="{name}">{math("lambda(" + ", ".join((*arguments, formula)) + ")")}</functionDefinition>'


def event(name, trigger, assignments, *, delay=None, priority=None, initial_value=True, persistent=True, from_trigger=True):
    """An event."""
    inner = f'<trigger initialValue="{_yes(initial_value)}" persistent="{_yes(persistent)}">{math(trigger)}</trigger>'
    inner += f"<priority>{math(priority)}</priority>" if priority else ""
    inner += f"<delay>{math(delay)}</delay>" if delay else ""
    done = "".join(f'<eventAssignment variable="{k}">{math(v)}</eventAssignment>' for k, v in assignments.items())
    return f'<event id="{name}" useValuesFromTriggerTime="{_yes(from_trigger)}">{inner}<listOfEventAssignments>{done}</listOfEventAssignments></event>'


_LISTS = {
    "functionDefinition": "listOfFunctionDefinitions",
    "compartment": "listOfCompartments",
    "species": "listOfSpecies",
    "parameter": "listOfParameters",
    "initialAssignment": "listOfInitialAssignments",
    "Rule": "listOfRules",
    "constraint": "listOfConstraints",
    "reaction": "listOfReactions",
    "event": "listOfEvents",
}


def document(*elements, attributes="", version=1):
    """A document of level 3 with these elements, and a compartment `cell` of size 1 unless there is another one called so."""
    if not any('<compartment id="cell"' in element for element in elements):
        elements = (compartment("cell", 1), *elements)
    elements = elements if version < 2 else tuple(element.replace(' fast="false"', "") for element in elements)
    lists = []
    for kind, tag in _LISTS.items():
        inner = "".join(e for e in elements if re.match(rf"<{kind}\b|<\w+{kind}\b", e))
        lists.append(f"<{tag}>{inner}</{tag}>" if inner else "")
    start = f'<sbml xmlns="http://www.sbml.org/sbml/level3/version{version}/core" level="3" version="{version}"{attributes}>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{start}<model id="example">{"".join(lists)}</model></sbml>'


def birth_death(**values):
    """X divides and dies: the plainest document."""
    rates = {"Lambda": 0.1, "Mu": 0.11, "X": 100} | values
    birth, death = reaction("Birth", "X", "2 X", "Lambda * X"), reaction("Death", "X", "", "Mu * X")
    return document(species("X", rates["X"]), parameter("Lambda", rates["Lambda"]), parameter("Mu", rates["Mu"]), birth, death)


def still(*elements, end="X"):
    """A document in which only events do anything: its one reaction has the rate constant 0."""
    return document(parameter("zero", 0), reaction("Nothing", end, "", f"zero * {end}"), *elements)


def _reference(name, molecules):
    return f'<speciesReference species="{name}" stoichiometry="{molecules}" constant="true"/>'


def _side(side):
    if isinstance(side, dict):
        return side
    terms = [term.split() for term in side.split("+") if term.strip()]
    return {parts[-1]: parts[0] if len(parts) > 1 else 1 for parts in terms}


def _yes(flag):
    return "true" if flag else "false"
