"""Response surfaces: order of the axes, agreement with known expectations, and what common random numbers change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import z_limit

from ssagrad import Network
from ssagrad.surface import response_surface

NETWORK = Network.from_text("0 -> X @ birth; 0 -> Y @ other")
GRID = {"birth": [1.0, 2.0, 4.0], "other": [0.0, 8.0]}


def surface(**options):
    options = {"loss": lambda counts: counts[:, -1].sum(-1), "num_replications": 400} | options
    return response_surface(jax.random.key(2), NETWORK, GRID, {}, [3.0], **options)


def test_mean_loss_at_every_point_of_the_grid():
    """With the total count at t = 3 as loss, the exact surface is 3 (birth + other)."""
    result = surface()
    exact = 3 * (np.array(GRID["birth"])[:, None] + np.array(GRID["other"])[None])
    assert result.mean.shape == (3, 2)
    assert np.all(np.abs(result.mean - exact) < z_limit(6) * result.standard_error)
    assert np.all(result.standard_error < 1.2 * np.sqrt(exact / 400))


def test_decode_and_progress():
    rows = []
    result = surface(decode=lambda p: {name: 2 * value for name, value in p.items()}, progress=lambda r: (rows.append(i) or i for i in r))
    assert rows == [0, 1, 2]
    assert np.all(np.abs(result.mean[:, 0] - 6 * np.array(GRID["birth"])) < z_limit(3) * result.standard_error[:, 0])


def test_common_random_numbers_are_common():
    """Equal parameters at two grid points: equal losses with common random numbers, different ones without."""
    twice = {"birth": [2.0, 2.0], "other": [1.0, 1.0]}
    options = {"loss": lambda counts: counts[:, -1, 0], "num_replications": 50}
    common, fresh = (
        response_surface(jax.random.key(0), NETWORK, twice, {}, [3.0], common_random_numbers=choice, **options).mean for choice in (True, False)
    )
    assert len(np.unique(common)) == 1
    assert len(np.unique(fresh)) == 4


def test_needs_two_parameters():
    with pytest.raises(ValueError, match=r"two parameters, received \['birth'\]"):
        response_surface(jax.random.key(0), NETWORK, {"birth": jnp.ones(2)}, {}, [1.0], loss=lambda c: c, num_replications=2)
