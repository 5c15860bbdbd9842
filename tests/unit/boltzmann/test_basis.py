"""Cubic Hermite elements: partition of values and slopes, continuity across cells, growth."""

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.boltzmann.basis import GrowingGrid, hermite_weights


def test_in_one_dimension_the_functions_are_those_of_the_textbook():
    x = 0.3
    expected = [[1 - 3 * x**2 + 2 * x**3, x - 2 * x**2 + x**3], [3 * x**2 - 2 * x**3, x**3 - x**2]]
    assert np.allclose(hermite_weights(np.array([x])), expected) and np.allclose(hermite_weights(jnp.array([x])), expected)


def test_values_at_a_vertex_and_slopes_across_it():
    """At the left end only the left value counts, and the slope there is the left slope coefficient."""
    weights = hermite_weights(np.zeros(3))
    assert weights.shape == (8, 8) and weights[0, 0] == 1 and np.abs(weights).sum() == 1
    slope = jax.jacfwd(hermite_weights)(jnp.zeros(1))[..., 0]
    assert slope.tolist() == [[0, 1], [0, 0]]


def test_the_squares_sum_to_one_at_a_vertex_and_to_little_in_a_centre():
    """What makes the effective step of gradient descent differ by 50 between places, in six dimensions."""
    assert np.isclose((hermite_weights(np.full(6, 0.5)) ** 2).sum(), (0.5 + 2 / 64) ** 6)
    assert (hermite_weights(np.ones(6)) ** 2).sum() == 1


def test_a_grid_reproduces_a_function_with_its_values_and_slopes():
    """f = x²y in two dimensions is in the span: coefficients are f, f_x h, f_y h, f_xy h² at the vertices (function index: value, slope)."""
    grid = GrowingGrid(np.array([0.5, 0.5]), 0.4, 1)
    points = np.random.default_rng(0).uniform(0, 1.5, (40, 2))
    for point in points:
        grid.cell_at(point)
    x, y = (grid.origin + grid.places * 0.4).T
    table = np.stack([x**2 * y, 0.4 * x**2, 0.4 * 2 * x * y, 0.4**2 * 2 * x], axis=1)
    grid.add(np.arange(len(x)), table[..., None])
    assert np.allclose([grid.values(point)[0] for point in points], points[:, 0] ** 2 * points[:, 1], atol=1e-5)


def test_neighbouring_cells_share_their_vertices():
    grid = GrowingGrid(np.zeros(2), 0.1, 1)
    _, rows = grid.cell_at(np.zeros(2))
    assert len(grid.places) == 4 and np.allclose(grid.cell_at(np.zeros(2))[0], -0.05)
    _, others = grid.cell_at(np.array([0.1, 0.0]))
    assert len(grid.places) == 6 and len(set(rows) & set(others)) == 2 and grid.coefficients.shape == (6, 4, 1)


def test_a_restored_grid_has_the_same_values():
    grid, other = GrowingGrid(np.zeros(2), 0.1, 3), GrowingGrid(np.zeros(2), 0.1, 3)
    _, rows = grid.cell_at(np.zeros(2))
    grid.add(rows, np.random.default_rng(1).normal(size=(4, 4, 3)))
    other.restore(grid.places, grid.coefficients)
    point = np.array([0.02, -0.03])
    assert np.array_equal(grid.values(point), other.values(point)) and len(other.places) == 4
