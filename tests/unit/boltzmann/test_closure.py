"""Integration of θ along the grid, and the gradient through it, against finite differences."""

import numpy as np

from ssagrad.boltzmann.basis import GrowingGrid
from ssagrad.boltzmann.closure import Trajectory


def trajectory(seed=0, num_steps=12):
    """Three parameters, F of the first two, with random coefficients along a path that crosses cells."""
    rng = np.random.default_rng(seed)
    grid = GrowingGrid(np.zeros(2), 0.1, 3)
    for x in np.arange(-2, 8) / 10:
        for y in np.arange(-2, 8) / 10:
            grid.cell_at(np.array([x, y]) + 0.01)
    grid.add(np.arange(len(grid.places)), 0.05 + 0.03 * rng.normal(size=grid.coefficients.shape))
    path = Trajectory(grid, (0, 1), np.array([0.0, 0.0, 1.0]))
    path.extend(num_steps)
    return path


def test_theta_follows_the_euler_rule():
    path = trajectory()
    assert path.theta.shape == (13, 3)
    for now, after in zip(path.theta[:-1], path.theta[1:], strict=True):
        assert np.allclose(after, now + path.grid.values(now[:2]))


def test_the_gradient_is_that_of_finite_differences():
    """In every coefficient of a window of steps 4 … 9; a vertex that serves several cells adds up their terms."""
    pulls = np.random.default_rng(1).normal(size=(6, 3))
    path = trajectory()
    grid, rows = path.grid, path.rows[4:9]
    gradient = np.zeros(grid.coefficients.shape)
    np.add.at(gradient, rows, path.gradient(4, pulls))
    beginning = path.theta[4]
    for row in np.unique(rows)[::3]:
        for place in np.ndindex(4, 3):
            ends = []
            for sign in (1, -1):
                changed = GrowingGrid(np.zeros(2), 0.1, 3)
                changed.restore(grid.places, grid.coefficients)
                changed.coefficients[(row, *place)] += sign * 1e-3
                other = Trajectory(changed, (0, 1), beginning)
                other.extend(5)
                ends.append((other.theta * pulls).sum())
            assert abs((ends[0] - ends[1]) / 2e-3 - gradient[(row, *place)]) < 2e-3 * max(1, abs(gradient[(row, *place)]))


def test_an_update_forgets_no_more_than_it_changes():
    """After an update, the path that is integrated on is the one that is integrated from the start."""
    path = trajectory()
    change = 0.01 * np.random.default_rng(2).normal(size=(4, 4, 4, 3))
    path.update(6, change)
    kept = len(path.theta) - 1
    path.extend(12)
    other = Trajectory(path.grid, (0, 1), path.theta[0])
    other.extend(12)
    assert 0 < kept <= 6 and np.allclose(path.theta, other.theta)
