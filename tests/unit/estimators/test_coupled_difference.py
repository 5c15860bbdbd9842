"""Coupled differences: steps and rows, and input that is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import Network, NetworkError
from ssagrad.estimators import coupled_difference

NETWORK = Network.from_text("0 -> X @ birth; X -> 0 @ death")
THETA = {"birth": 10.0, "death": 2.0}


def slopes(**options):
    def weights(theta):
        return coupled_difference(jax.random.key(1), NETWORK, theta, {}, [1.0], num_paths=3, **options).weights[:, 0]

    return jax.jacfwd(weights)(THETA)


@pytest.mark.parametrize(
    ("options", "birth", "death"),
    [
        ({"step": 0.1}, 1.0, 0.2),
        ({"step": 0.1, "relative": False}, 0.1, 0.1),
        ({"step": {"birth": 0.1, "death": 0.5}}, 1.0, 1.0),
        ({"step": 0.1, "coupling": "common"}, 1.0, 0.2),
    ],
)
def test_weights_are_one_over_two_steps(options, birth, death):
    """Rows: 3 plain, 3 at birth + h, 3 at death + h, 3 at birth − h, 3 at death − h."""
    found = slopes(**options)
    zero = np.zeros(3)
    assert np.allclose(found["birth"], np.concatenate([zero, zero + 0.5 / birth, zero, zero - 0.5 / birth, zero]), rtol=1e-5)
    assert np.allclose(found["death"], np.concatenate([zero, zero, zero + 0.5 / death, zero, zero - 0.5 / death]), rtol=1e-5)


@pytest.mark.parametrize("coupling", ["split", "common"])
def test_a_tiny_step_changes_no_path(coupling):
    """Both couplings keep a pair together for as long as they can."""
    paths = coupled_difference(jax.random.key(2), NETWORK, THETA, {}, [1.0, 2.0], num_paths=50, step=1e-6, coupling=coupling)
    ahead, behind = np.split(np.asarray(paths.counts[50:]), 2)
    assert np.array_equal(ahead, behind)


def test_array_parameters():
    """One pair for each element."""
    network = Network.from_text("0 -> X @ birth", propensities={"birth": lambda counts, rates: rates.sum()})
    mean = lambda rates: coupled_difference(jax.random.key(3), network, rates, {}, [1.0], num_paths=500, step=0.5).mean("X")[0]  # noqa: E731
    assert np.allclose(jax.grad(mean)(jnp.array([3.0, 8.0])), [1, 1], atol=0.2)


@pytest.mark.parametrize(
    ("theta", "options", "error", "message"),
    [
        (THETA, {"step": 0.0}, ValueError, "expected steps > 0 and < 1"),
        (THETA, {"step": 1.0}, ValueError, "expected steps > 0 and < 1"),
        (THETA, {"step": 3.0, "relative": False}, NetworkError, "'death' ≥ 0, received"),
        (THETA | {"death": 0.0}, {}, ValueError, "received 0 for .'death'.; use relative=False"),
        (THETA, {"coupling": "none"}, ValueError, "expected coupling among"),
        (THETA, {"parameters_per_path": True}, ValueError, "supports parameters_per_path=False only"),
    ],
)
def test_bad_input_is_refused(theta, options, error, message):
    """With what was expected and what came."""
    with pytest.raises(error, match=message):
        coupled_difference(jax.random.key(0), NETWORK, theta, {}, [1.0], num_paths=4, **options)
