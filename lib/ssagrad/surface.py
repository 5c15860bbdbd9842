"""Response surfaces: what a loss of simulated paths looks like over two parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ssagrad.network import Network
from ssagrad.simulate import simulate
from ssagrad.statistics import standard_error


class Surface(NamedTuple):
    """A loss over a grid of two parameters: mean over replications and its standard error [A, B], and the grid values [A], [B]."""

    mean: jax.Array
    standard_error: jax.Array
    rows: jax.Array
    columns: jax.Array


def response_surface(
    key: jax.Array,
    network: Network,
    grid: Mapping[str, Any],
    initial_counts: Any,
    times: Any,
    *,
    loss: Callable[[jax.Array], jax.Array],
    num_replications: int,
    common_random_numbers: bool = True,
    decode: Callable[[dict[str, jax.Array]], Any] = lambda parameters: parameters,
    progress: Callable[[Iterable], Iterable] = iter,
) -> Surface:
    """Mean loss of single paths at every point of a grid over two parameters.

    Args:
        grid: the two parameters and their values, {"infection": [A], "recovery": [B]}.
        loss: from counts [n, T, S] to one value per path [n].
        num_replications: paths per grid point.
        common_random_numbers: replication i uses the same random stream at every grid point (a smoother surface, the same law); else all
            streams differ.
        decode: from {name: [n]} to the parameters of the network, for instance powers of ten for a logarithmic grid.
        progress: wraps the loop over the rows of the grid, such as `tqdm.tqdm`.

    Returns:
        Surface with arrays [A, B], first parameter along the rows.

    Raises:
        ValueError: not two parameters.
    """
    if len(grid) != 2:
        raise ValueError(f"expected values of two parameters, received {list(grid)}")
    (row_name, rows), (column_name, columns) = ((name, jnp.asarray(values, jnp.float32)) for name, values in grid.items())
    num_paths = len(columns) * num_replications
    common_key, fresh_key = jax.random.split(key)
    replication_keys = jnp.tile(jax.random.split(common_key, num_replications), len(columns))
    column_values = jnp.repeat(columns, num_replications)
    means, errors = [], []
    for row in progress(range(len(rows))):
        keys = jax.random.clone(replication_keys) if common_random_numbers else jax.random.split(jax.random.fold_in(fresh_key, row), num_paths)
        parameters = decode({row_name: jnp.full(num_paths, rows[row]), column_name: column_values})
        paths = simulate(keys, network, parameters, initial_counts, times, num_paths=num_paths, parameters_per_path=True)
        values = loss(paths.counts).reshape(len(columns), num_replications).T
        means.append(values.mean(0))
        errors.append(standard_error(values))
    return Surface(jnp.stack(means), jnp.stack(errors), rows, columns)
