"""The reduced dynamics dθ/dt = F(θ): Euler integration along a grid of coefficients, and the gradient of an objective in them.

The objective is S = ∫ KL(data ‖ model) dt, whose derivative in a parameter at one time is a difference of moments, Δμ = ⟨·⟩_model − ⟨·⟩_data. So
Σ_t dt stop_gradient(Δμ_t) · θ_t has the gradient of S, and reverse-mode differentiation through the Euler recursion is the adjoint equation of the
paper (its centred form changes the variables of that equation, not the gradient).

Reference: Ernst et al. 2019, arXiv:1905.12122, supplement (reduced dynamics, adjoint).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.boltzmann.basis import GrowingGrid, hermite_weights


class Trajectory:
    """θ(t) at t = 0, 1, … by Euler steps of one unit of time, and the cells that it goes through.

    Args:
        grid: F, P functions. arguments: which of the P parameters F depends on [d]. start: θ(0) [P].
    """

    def __init__(self, grid: GrowingGrid, arguments: tuple[int, ...], start: np.ndarray):
        self.grid, self.arguments = grid, list(arguments)
        self.theta = np.asarray(start, float)[None]
        self.rows = np.zeros((0, 2**grid.size), np.int64)
        self.corners = np.zeros((0, grid.size))

    def extend(self, num_steps: int) -> None:
        """Integrates until step `num_steps`."""
        theta, rows, corners = list(self.theta), list(self.rows), list(self.corners)
        for _ in range(len(rows), num_steps):
            point = theta[-1][self.arguments]
            corner, row = self.grid.cell_at(point)
            theta.append(theta[-1] + self.grid.values(point))
            rows.append(row)
            corners.append(corner)
        self.rows, self.corners = np.array(rows).reshape(-1, 2**self.grid.size), np.array(corners).reshape(-1, self.grid.size)
        self.theta = np.array(theta)

    def update(self, begin: int, change: np.ndarray) -> None:
        """Adds to the coefficients of the cells at steps `begin` on, [K, 2^d, 2^d, P], and forgets the trajectory from where that changes it."""
        rows = self.rows[begin : begin + len(change)]
        self.grid.add(rows, change)
        touched = np.zeros(len(self.grid.places), bool)
        touched[rows] = True
        first = int(touched[self.rows].any(1).argmax())
        self.theta, self.rows, self.corners = self.theta[: first + 1], self.rows[:first], self.corners[:first]

    def gradient(self, begin: int, pulls: np.ndarray) -> np.ndarray:
        """Derivative of Σ_k Δμ_k · θ_k over a window in the coefficients of the cells at its steps [K, 2^d, 2^d, P].

        θ at the beginning of the window is held. Terms of a vertex that serves several steps stay apart: their sum is the derivative.

        Args:
            begin: first step of the window. pulls: Δμ at its K + 1 times [K + 1, P].
        """
        window = slice(begin, begin + len(pulls) - 1)
        blocks = self.grid.coefficients[self.rows[window]]
        arrays = blocks, self.corners[window], self.theta[begin], np.asarray(pulls)
        arrays = (jnp.asarray(array, jnp.float32) for array in arrays)
        return np.asarray(_window_gradient(*arrays, jnp.asarray(self.arguments), self.grid.cell))


@partial(jax.jit, static_argnames="cell")
@jax.grad
def _window_gradient(blocks, corners, start, pulls, arguments, cell):
    def step(theta, place):
        block, corner = place
        weights = hermite_weights((theta[arguments] - corner) / cell)
        after = theta + jnp.einsum("vf,vfp->p", weights, block)
        return after, after

    path = jax.lax.scan(step, start, (blocks, corners))[1]
    return (jax.lax.stop_gradient(pulls[1:]) * path).sum()
