"""Training: rates that decay, checkpoints that go on, and what cannot be learned from."""

import jax
import numpy as np
import pytest

from ssagrad import hierarchy
from ssagrad.hierarchy import neural, receiver, synthetic, training

WHITE, BLACK = receiver.constant_expression(), neural.hierarchical(hidden=6, hidden_noise=5)
WELLS = synthetic.double_receivers(jax.random.key(0), WHITE, wells_per_device=2, num_times=20).experiment
SHORT = hierarchy.Schedule(epochs=4, batch=6, draws=4)


def leaves(trained):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(trained[:2])])


def test_training_raises_the_bound_and_goes_on_from_a_checkpoint(tmp_path):
    """Four epochs at once are two epochs and then the rest of four, number by number; another schedule is refused."""
    key, path = jax.random.key(1), tmp_path / "black.npz"
    whole = hierarchy.train(jax.random.clone(key), BLACK, WELLS, schedule=SHORT)
    with pytest.raises(KeyboardInterrupt):
        hierarchy.train(jax.random.clone(key), BLACK, WELLS, schedule=SHORT, checkpoint=path, every=2, evaluate=_stop_at_the_second())
    resumed = hierarchy.train(jax.random.clone(key), BLACK, WELLS, schedule=SHORT, checkpoint=path, every=2)
    np.testing.assert_array_equal(leaves(whole), leaves(resumed))
    assert whole.bounds[-1] > whole.bounds[0] and len(resumed.bounds) == 4
    with pytest.raises(ValueError, match="another computation"):
        hierarchy.train(jax.random.clone(key), BLACK, WELLS, schedule=SHORT._replace(draws=3), checkpoint=path)


def _stop_at_the_second():
    calls = []

    def evaluate(*trained):
        calls.append(trained)
        if len(calls) == 2:
            raise KeyboardInterrupt

    return evaluate


def test_rates_decay_at_milestones():
    """Three rates, constant between their milestones; the third starts where it should, in steps."""
    schedule = SHORT._replace(rates=(0.1, 0.01, 0.001), milestones=(2, 3))
    optimiser = training._optimiser(training._hashable(schedule), 5)
    trained = ({"mean": np.zeros(1, np.float32)}, {"w": np.zeros(1, np.float32)})
    state, sizes = optimiser.init(trained), []
    for _ in range(20):
        with jax.numpy_dtype_promotion("standard"):
            update, state = optimiser.update(jax.tree.map(np.ones_like, trained), state)
        sizes.append(abs(float(update[1]["w"][0])))
    np.testing.assert_allclose([sizes[4], sizes[9], sizes[12], sizes[18]], [0.1, 0.1, 0.01, 0.001], rtol=1e-3)


def test_pace_zero_keeps_a_part_as_it_is():
    """With the pace of shared numbers and weights at 0, only the encoder learns."""
    posterior = hierarchy.SharedPosterior(jax.random.key(2), BLACK.levels, BLACK.masks, 4, 20)
    weights = BLACK.initial_weights(jax.random.key(3))
    schedule = SHORT._replace(epochs=1, objective="shared", refinement=1, pace=(1, 0, 0), draws=2)
    trained = hierarchy.train(jax.random.key(4), BLACK, WELLS, schedule=schedule, start=(posterior, weights))
    np.testing.assert_array_equal(trained.posterior.mean, posterior.mean)
    np.testing.assert_array_equal(trained.weights["states"]["w"], weights["states"]["w"])
    assert not np.array_equal(trained.posterior.head, posterior.head)


def test_what_cannot_be_learned_from_is_refused():
    """Batches larger than the data, unknown gradients and objectives, signals that are not finite."""
    for changed, words in (({"batch": 99}, "batch of 1 to 12"), ({"gradient": "none"}, "gradient among"), ({"objective": "all"}, "objective among")):
        with pytest.raises(ValueError, match=words):
            hierarchy.train(jax.random.key(5), BLACK, WELLS, schedule=SHORT._replace(**changed))
    broken = WELLS._replace(signals=np.full_like(WELLS.signals, np.nan))
    with pytest.raises(ValueError, match="finite signals"):
        hierarchy.train(jax.random.key(6), BLACK, broken, schedule=SHORT)


def test_numbers_that_overflow_are_reported_with_their_epoch():
    """A rate that is absurd ends in an error that names the epoch."""
    with pytest.raises(FloatingPointError, match="epoch"):
        hierarchy.train(jax.random.key(7), BLACK, WELLS, schedule=SHORT._replace(rates=(1e30,), milestones=(), epochs=6))
