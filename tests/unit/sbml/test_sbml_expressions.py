"""Every operator of SBML's mathematics has the value that Python's own mathematics gives it, in NumPy and in JAX, and the right derivative."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support_sbml import document, parameter, reaction, species

from ssagrad.sbml.document import read_document
from ssagrad.sbml.expressions import Expression, evaluate, number, value_of
from ssagrad.sbml.source import parse
from ssagrad.sbml.writing import formula_latex, formula_text

X, Y = 2.0, 0.75
# formula in infix notation: its value at x = 2, y = 0.75
VALUES = {
    "x + y + 1": 3.75,
    "x - y - 1": 0.25,
    "x - (y - 1)": 2.25,
    "-x + y": -1.25,
    "-(x + y)": -2.75,
    "x * y * 2": 3.0,
    "x / y / 2": X / Y / 2,
    "x / (y / 2)": X / (Y / 2),
    "x^3": 8.0,
    "x^-2": 0.25,
    "x^y": X**Y,
    "-x^2": -4.0,
    "(-x)^3": -8.0,
    "x^(y^2)": X ** (Y**2),
    "(x^y)^2": (X**Y) ** 2,
    "sqrt(x)": math.sqrt(X),
    "root(3, x)": X ** (1 / 3),
    "exp(y)": math.exp(Y),
    "ln(x)": math.log(X),
    "log10(x)": math.log10(X),
    "log(3, x)": math.log(X) / math.log(3),
    "abs(y - x)": 1.25,
    "floor(-y)": -1.0,
    "ceil(y)": 1.0,
    "factorial(x + 1)": 6.0,
    "min(x, y, 1)": 0.75,
    "max(x, y, 3)": 3.0,
    "quotient(-7, x)": -3.0,
    "rem(-7, x)": -1.0,
    "sin(y) + cos(y) + tan(y)": math.sin(Y) + math.cos(Y) + math.tan(Y),
    "sec(y) + csc(y) + cot(y)": 1 / math.cos(Y) + 1 / math.sin(Y) + 1 / math.tan(Y),
    "sinh(y) + cosh(y) + tanh(y)": math.sinh(Y) + math.cosh(Y) + math.tanh(Y),
    "sech(y) + csch(y) + coth(y)": 1 / math.cosh(Y) + 1 / math.sinh(Y) + 1 / math.tanh(Y),
    "arcsin(y) + arccos(y) + arctan(y)": math.asin(Y) + math.acos(Y) + math.atan(Y),
    "arcsec(x) + arccsc(x) + arccot(x)": math.acos(1 / X) + math.asin(1 / X) + math.atan(1 / X),
    "arcsinh(y) + arccosh(x) + arctanh(y)": math.asinh(Y) + math.acosh(X) + math.atanh(Y),
    "arcsech(y) + arccsch(x) + arccoth(x)": math.acosh(1 / Y) + math.asinh(1 / X) + math.atanh(1 / X),
    "pi * exponentiale": math.pi * math.e,
    "avogadro / 6.02214179e23": 1.0,
    "1e-3 * 1/4": 0.00025,
    "piecewise(1, x > y, 2)": 1.0,
    "piecewise(1, x < y, 2, x == 2, 3)": 2.0,
    "piecewise(1, x < y, 2, x != 2, 3)": 3.0,
    "piecewise(1, x >= 2 && y <= 1, 2)": 1.0,
    "piecewise(1, x < 2 || y > 1, 2)": 2.0,
    "piecewise(1, !(x < 2), 2)": 1.0,
    "piecewise(1, xor(x > 1, y > 0), 2)": 2.0,
    "piecewise(1, implies(x > 1, y > 1), 2)": 2.0,
    "piecewise(1, true, 2) + piecewise(1, false, 2)": 3.0,
    "(x > y) + 1": 2.0,
    "piecewise(1, lt(y, 1, x), 2)": 1.0,
    "piecewise(1, lt(y, x, 1), 2)": 2.0,
    "piecewise(1, x, 2) + piecewise(1, x - 2, 2)": 3.0,
}


def law(formula):
    """The formula as it is read from a document, with the symbols x and y."""
    text = document(species("x", 2), parameter("y", Y), reaction("R", "", "x", formula, modifiers=("x",)), version=2)
    (only,) = read_document(parse(text).getModel()).reactions
    return only.law


@pytest.mark.parametrize("formula", VALUES)
def test_the_value_in_numpy_and_in_jax_and_after_writing_and_reading(formula):
    expression = law(f"y * 0 + ({formula})")
    values = {"x": X, "y": Y}
    assert float(value_of(expression, lambda leaf: values[leaf.value])) == pytest.approx(VALUES[formula], rel=1e-12)
    in_jax = jax.jit(lambda x, y: jnp.asarray(evaluate(expression, lambda leaf: {"x": x, "y": y}[leaf.value])))
    assert float(in_jax(X, Y)) == pytest.approx(VALUES[formula], rel=1e-5)
    again = law(formula_text(expression))
    assert float(value_of(again, lambda leaf: values[leaf.value])) == pytest.approx(VALUES[formula], rel=1e-12)
    assert formula_latex(expression).count("{") == formula_latex(expression).count("}")


@pytest.mark.parametrize("formula", ["x^y", "y * x / (1 + x)", "piecewise(y / x, x > 0, 0)", "piecewise(ln(y * x), x > 0, y)", "y^3 / (y^3 + x^3)", "exp(-y * x)"])
@pytest.mark.parametrize("x", [0.0, 3.0])
def test_derivatives_in_parameters_are_finite_also_where_a_piece_is_not_taken(formula, x):
    expression = law(f"y * 0 + ({formula})")
    value = lambda y: jnp.asarray(evaluate(expression, lambda leaf: {"x": jnp.float32(x), "y": y}[leaf.value]))
    found = float(jax.grad(value)(jnp.float32(Y)))
    exact = lambda y: float(value_of(expression, lambda leaf: {"x": x, "y": y}[leaf.value]))
    assert found == pytest.approx((exact(Y + 1e-6) - exact(Y - 1e-6)) / 2e-6, rel=1e-3, abs=1e-5)


def test_impossible_operations_are_not_numbers_and_no_errors():
    for formula in ("1 / 0", "0 / 0", "ln(0 - 1)", "sqrt(0 - 1)", "0^-1", "arcsin(2)", "factorial(0 - 5)", "log(1, 2)", "piecewise(1, x > 5)"):
        expression = law(f"x * y * 0 + ({formula})")
        assert not np.isfinite(value_of(expression, lambda leaf: 2.0))
        assert not np.isfinite(float(jnp.asarray(evaluate(expression, lambda leaf: jnp.float32(2.0)))))


def test_text_has_the_brackets_that_it_needs_and_no_others():
    for text in ("x * (y + 1)", "x - (y - 1)", "x - y - 1", "x / (y * 2)", "x^(-y)", "(x + y)^2", "(-x) * y", "2 * exp(-(x + y))", "x / y * 2"):
        assert formula_text(law(text)) in (text, text.replace("(-y)", "-y"))


def test_numbers_are_written_to_the_last_digit():
    for value in (0.1, 1e-30, 1 / 3, 6.02214179e23, 5.0, 123456789.0):
        assert float(formula_text(number(value))) == value


def test_expressions_compare_and_hash_by_value():
    assert law("x * y + 1") == law("x * y + 1") and hash(law("x * y + 1")) == hash(law("x * y + 1"))
    assert law("x * y + 1") != law("x * y + 2") and isinstance(law("x + 1"), Expression)
