"""Functions of several arguments on a grid that grows where it is visited: cubic Hermite finite elements, "Q3, C1".

In one dimension a cell has two vertices, each with a value and a slope function: 1 − 3x² + 2x³ and x − 2x² + x³ on the left, 3x² − 2x³ and x³ − x²
on the right, x in [0, 1] across the cell (slopes are per cell, not per unit of the argument). In d dimensions these are multiplied: 2^d vertices
with 2^d coefficients each. The function and its first derivatives are continuous.

Reference: the finite elements of Ernst et al. 2019, arXiv:1905.12122.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import jax.numpy as jnp
import numpy as np


def hermite_weights(x: Any) -> Any:
    """Values of the basis functions at x [d] within a cell: [2^d vertices, 2^d functions], vertices in the order of `itertools.product`.

    With a NumPy array in, NumPy out; else JAX, to be differentiated.
    """
    xp = np if isinstance(x, np.ndarray) else jnp
    square, cube = x**2, x**3
    left = xp.stack([1 - 3 * square + 2 * cube, x - 2 * square + cube], axis=-1)
    right = xp.stack([3 * square - 2 * cube, cube - square], axis=-1)
    factors = xp.stack([left, right], axis=1)  # [d, vertex, function]
    weights = factors[0]
    for factor in factors[1:]:
        weights = (weights[:, None, :, None] * factor[None, :, None, :]).reshape(2 * len(weights), -1)
    return weights


class GrowingGrid:
    """P functions of d arguments, 0 everywhere at first; a vertex is made when a cell that it belongs to is first visited.

    Args:
        start: a point [d], which becomes the centre of a cell. cell: size of the cells in every dimension. num_functions: P.
    """

    def __init__(self, start: np.ndarray, cell: float, num_functions: int):
        start = np.asarray(start, float)
        self.origin, self.cell, self.size = start - cell / 2, cell, len(start)
        self.places = np.zeros((0, self.size), np.int64)  # of the vertices, in cells from the origin
        self.coefficients = np.zeros((0, 2**self.size, num_functions), np.float32)  # of the vertices
        self._corners = np.array(list(product((0, 1), repeat=self.size)))
        self._row, self._cells = {}, {}

    def cell_at(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lower corner [d] of the cell that holds a point [d], and rows of its vertices in `coefficients` [2^d]."""
        place = np.floor((point - self.origin) / self.cell).astype(np.int64)
        rows = self._cells.get(tuple(place))
        if rows is None:
            around = list(map(tuple, place + self._corners))
            new = [vertex for vertex in around if vertex not in self._row]
            self._row |= {vertex: len(self.places) + number for number, vertex in enumerate(new)}
            self._grow(np.array(new, np.int64).reshape(-1, self.size))
            rows = self._cells[tuple(place)] = np.array([self._row[vertex] for vertex in around])
        return self.origin + place * self.cell, rows

    def values(self, point: np.ndarray) -> np.ndarray:
        """The functions at a point [d]: [P]."""
        corner, rows = self.cell_at(point)
        weights = hermite_weights((point - corner) / self.cell).astype(np.float32)
        return weights.reshape(-1) @ self.coefficients[rows].reshape(weights.size, -1)

    def add(self, rows: np.ndarray, change: np.ndarray) -> None:
        """Adds to coefficients: rows [...] may occur more than once, change is [..., 2^d, P]."""
        np.add.at(self.coefficients, rows, change)

    def restore(self, places: np.ndarray, coefficients: np.ndarray) -> None:
        """Takes the vertices and coefficients of another grid with the same cells."""
        self.places, self.coefficients, self._cells = places.copy(), coefficients.copy(), {}
        self._row = {tuple(place): number for number, place in enumerate(places)}

    def _grow(self, places: np.ndarray) -> None:
        self.places = np.concatenate([self.places, places])
        new = np.zeros((len(places), *self.coefficients.shape[1:]), np.float32)
        self.coefficients = np.concatenate([self.coefficients, new])
