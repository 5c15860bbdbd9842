"""Descents: they arrive where calculus says, from all starts at once, each with its own numbers, and say so when they cannot."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssagrad import models, simulate
from ssagrad.estimators import score_function
from ssagrad.fitting import Plateau, descend, means_loss, relative_distance

SGD = optax.sgd(0.1)


def bowl(parameters, key):
    return (parameters["x"] - 3.0) ** 2 + parameters["y"].sum() ** 2 + 0.0 * jax.random.normal(key)


def noisy_bowl(x, key):
    """A slope that is known up to noise: the path of x shows every number that was drawn."""
    noise = jax.random.normal(key)
    return (x - 3.0 + noise) ** 2, {"noise": noise}


def same(one, other):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_descends_from_several_starts_to_the_minimum():
    starts = {"x": np.array([0.0, 10.0]), "y": np.array([[1.0, 2.0], [3.0, -1.0]])}
    descents = descend(jax.random.key(0), bowl, starts, optimizer=SGD, num_steps=80)
    assert descents.losses.shape == (2, 80) and descents.parameters["y"].shape == (2, 81, 2)
    assert np.array_equal(descents.parameters["x"][:, 0], [0.0, 10.0])
    assert np.allclose(descents.parameters["x"][:, -1], 3.0, atol=1e-4)
    assert np.allclose(descents.losses[:, 0], [9 + 9, 49 + 4])
    assert list(descents.num_steps) == [80, 80] and list(descents.failed_at) == [-1, -1] and not descents.clipped.any()


def test_results_are_numpy_arrays():
    descents = descend(jax.random.key(0), noisy_bowl, np.zeros(2), optimizer=SGD, num_steps=3)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(descents))


def test_one_step_is_the_optimisers_step():
    """Plain gradient descent with rate 0.1 from x = 0: x − 0.1 · 2 (x − 3) = 0.6, and the gradient is −6."""
    descents = descend(jax.random.key(0), bowl, {"x": np.zeros(1), "y": np.zeros((1, 2))}, optimizer=SGD, num_steps=1)
    assert np.allclose(descents.parameters["x"][0], [0.0, 0.6])
    assert np.allclose(descents.gradient_norms, 6.0)


def test_a_schedule_of_optax_sets_the_rate_of_each_step():
    """With slope 1 and the rates 0.1 for two steps and 0.01 from then on, across the border of a chunk."""
    rate = optax.piecewise_constant_schedule(0.1, {2: 0.1})
    descents = descend(jax.random.key(0), lambda x, _: x, np.zeros(1), optimizer=optax.sgd(rate), num_steps=5, steps_per_chunk=3)
    assert np.allclose(np.diff(descents.parameters[0]), [-0.1, -0.1, -0.01, -0.01, -0.01])


def test_every_start_and_every_step_has_its_own_key():
    noise = descend(jax.random.key(0), noisy_bowl, np.zeros(3), optimizer=SGD, num_steps=25).records["noise"]
    assert len(np.unique(noise)) == noise.size == 75


def test_the_numbers_of_a_start_do_not_depend_on_those_beside_it():
    """Keys: exactly. The descent: up to rounding, which depends on the size of the batch."""
    settings = {"optimizer": optax.adam(0.1), "num_steps": 12}
    three = descend(jax.random.key(0), noisy_bowl, np.array([0.0, 10.0, -5.0]), **settings)
    two = descend(jax.random.key(0), noisy_bowl, np.array([0.0, 10.0]), **settings)
    assert np.array_equal(two.records["noise"], three.records["noise"][:2])
    assert np.allclose(two.parameters, three.parameters[:2], rtol=1e-6)


@pytest.mark.parametrize("steps_per_chunk", [1, 5, 7, 100])
def test_chunks_do_not_alter_a_bit(steps_per_chunk):
    fits = [
        descend(jax.random.key(0), noisy_bowl, np.array([0.0, 10.0]), optimizer=optax.adam(0.1), num_steps=23, clip=5.0, steps_per_chunk=steps)
        for steps in (10, steps_per_chunk)
    ]
    assert same(*fits)


def test_parameters_stay_within_bounds():
    """Numbers or pytrees; the minimum at x = 3 is outside, y ends at its own lower bounds."""
    starts = {"x": np.array([0.0, 1.0]), "y": np.ones((2, 2))}
    bounds = ({"x": -1.0, "y": np.array([0.5, 0.25])}, 2.0)
    x, y = descend(jax.random.key(0), bowl, starts, optimizer=SGD, num_steps=30, bounds=bounds).parameters.values()
    assert x.max() == 2 and (x[:, -1] == 2).all() and y.min() == 0.25 and (y[:, -1] == [0.5, 0.25]).all()


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (3.0, 1.0), ({"z": 0.0}, 5.0), (np.zeros(3), 5.0), 3.0])
def test_bounds_that_do_not_hold_the_starts_are_refused(bounds):
    with pytest.raises(ValueError, match="expected .*bounds"):
        descend(jax.random.key(0), noisy_bowl, np.array([0.5, 2.0]), optimizer=SGD, num_steps=1, bounds=bounds)


def test_long_gradients_are_scaled_down_and_reported():
    """The gradient (−6, 8) at the first start has norm 10: clipped to 5 it is (−3, 4). At the second it is (−2, 0), and is left alone."""
    starts = {"x": np.array([0.0, 2.0]), "y": np.array([4.0, 0.0])}
    loss = lambda p, _: (p["x"] - 3.0) ** 2 + p["y"] ** 2  # noqa: E731
    descents = descend(jax.random.key(0), loss, starts, optimizer=SGD, num_steps=1, clip=5.0)
    assert np.allclose(descents.gradient_norms[:, 0], [10.0, 2.0]) and descents.clipped[:, 0].tolist() == [True, False]
    assert np.allclose(descents.parameters["x"][:, 1], [0.3, 2.2]) and np.allclose(descents.parameters["y"][:, 1], [3.6, 0.0])


def test_a_gradient_whose_square_overflows_is_clipped_and_no_failure():
    descents = descend(jax.random.key(0), lambda x, _: 1e25 * x, np.zeros(1), optimizer=SGD, num_steps=2, clip=1.0)
    assert np.allclose(descents.parameters, [[0.0, -0.1, -0.2]]) and np.allclose(descents.gradient_norms, 1e25)


def test_a_plateau_freezes_its_run_and_no_other():
    """The run that starts at the minimum stops after 2 · 4 steps, within the first chunk; the other goes on as it does without a stop."""
    starts, settings = np.array([3.0, 40.0]), {"optimizer": SGD, "num_steps": 20}
    loss = lambda x, key: (x - 3.0) ** 2 + 0.0 * jax.random.normal(key)  # noqa: E731
    stopped = descend(jax.random.key(0), loss, starts, stop=Plateau(patience=4, tolerance=0.1), **settings)
    free = descend(jax.random.key(0), loss, starts, **settings)
    assert stopped.num_steps.tolist() == [8, 20] and (stopped.failed_at == -1).all()
    assert (stopped.parameters[0, 8:] == stopped.parameters[0, 8]).all()
    assert np.isfinite(stopped.losses[0, :8]).all() and np.isnan(stopped.losses[0, 8:]).all() and np.isnan(stopped.gradient_norms[0, 8:]).all()
    assert np.allclose(stopped.losses[1], free.losses[1], rtol=1e-6) and np.allclose(stopped.parameters[1], free.parameters[1], rtol=1e-6)


def test_frozen_runs_cost_nothing_from_the_next_chunk_on():
    """Of five runs four stop at step 2. Computed are 5 · 4 steps in the first chunk, and then one run for the other 16."""
    counted = []

    def loss(x, key):
        jax.debug.callback(lambda _: counted.append(1), x)
        return x**2

    starts = np.array([0.0, 0.0, 50.0, 0.0, 0.0])
    descents = descend(jax.random.key(0), loss, starts, optimizer=SGD, num_steps=20, steps_per_chunk=4, stop=Plateau(1, 0.01))
    jax.effects_barrier()
    assert descents.num_steps.tolist() == [2, 2, 20, 2, 2] and len(counted) == 5 * 4 + 16


def test_nothing_runs_beyond_the_last_step():
    counted = []

    def loss(x, key):
        jax.debug.callback(lambda _: counted.append(1), x)
        return x**2

    descend(jax.random.key(0), loss, np.ones(2), optimizer=SGD, num_steps=13, steps_per_chunk=10)
    jax.effects_barrier()
    assert len(counted) == 26


def test_a_loss_that_is_not_finite_is_named():
    with pytest.raises(FloatingPointError, match=r"start 1, step 0: the loss nan .* parameters -1\.0"):
        descend(jax.random.key(0), lambda x, _: jnp.log(x), np.array([1.0, -1.0], np.float32), optimizer=SGD, num_steps=2)


def test_a_failed_run_is_frozen_alone():
    """From x = 0.35 the steps of 0.1 / x lead to a logarithm of a negative number; from 5 they do not. Its last parameters are finite."""
    starts, settings = np.array([0.35, 5.0]), {"optimizer": SGD, "num_steps": 15, "on_failure": "freeze"}
    descents = descend(jax.random.key(0), lambda x, _: jnp.log(x), starts, **settings)
    alone = descend(jax.random.key(0), lambda x, _: jnp.log(x), starts[1:], **settings)
    assert descents.failed_at[0] == descents.num_steps[0] > 0 and descents.failed_at[1] == -1 and descents.num_steps[1] == 15
    step = descents.failed_at[0]
    assert np.isfinite(descents.parameters).all() and (descents.parameters[0, step:] == descents.parameters[0, step]).all()
    assert np.isfinite(descents.losses[0, :step]).all() and np.isnan(descents.losses[0, step:]).all()
    assert np.allclose(descents.parameters[1], alone.parameters[0], rtol=1e-6)


def test_a_gradient_that_is_not_finite_is_a_failure():
    """√x has a value at 0 and no slope."""
    descents = descend(jax.random.key(0), lambda x, _: jnp.sqrt(x), np.array([0.0, 4.0]), optimizer=SGD, num_steps=3, on_failure="freeze")
    assert descents.failed_at.tolist() == [0, -1] and descents.losses[0, 0] == 0 and (descents.parameters[0] == 0).all()


def test_each_start_has_its_own_data():
    data = {"target": np.array([1.0, -2.0, 4.0], np.float32), "weight": np.array([1, 2, 1])}
    loss = lambda x, key, row: row["weight"].astype(x.dtype) * (x - row["target"]) ** 2  # noqa: E731
    descents = descend(jax.random.key(0), loss, np.zeros(3), optimizer=SGD, num_steps=60, each=data)
    assert np.allclose(descents.parameters[:, -1], data["target"], atol=1e-4) and np.allclose(descents.losses[:, 0], [1, 8, 16])


def test_a_fit_by_the_score_function_finds_the_level_and_records_events():
    """Ten molecules are wanted at t = 30, where the mean is 9.5 immigration: found from both sides, within two standard errors of one step.

    The curvature in the logarithm is 2 · 10² and the slope's deviation about 2 · 10 · √(10/64) = 8, so steps of 0.001 leave a relative
    scatter of √(0.001 · 64 / 400) = 1.3 %, a third of that standard error.
    """
    model = models.immigration_death()

    def loss(log_immigration, key, level):
        rates = {"immigration": jnp.exp(log_immigration), "death": 0.1}
        paths = score_function(key, model.network, rates, model.initial_counts, [30.0], num_paths=64)
        return ((paths.mean("X") - level) ** 2).mean(), {"events": paths.num_events.sum()}

    settings = {"optimizer": optax.sgd(0.001), "clip": 200.0, "num_steps": 60, "each": np.array([10.0, 10.0], np.float32)}
    descents = descend(jax.random.key(0), loss, np.log([0.3, 3.0]), **settings)
    assert descents.clipped[1, 0] and not descents.clipped[:, -10:].any()
    fitted = np.exp(descents.averaged()) * 10 * (1 - np.exp(-3))
    assert np.abs(fitted - 10).max() < 2 * np.sqrt(10 / 64)
    events = descents.records["events"]
    assert events.shape == (2, 60) and (events == np.round(events)).all() and events[0, 0] < events[1, 0]


def test_the_bar_tells_loss_and_running_runs(capsys):
    descend(jax.random.key(0), noisy_bowl, np.zeros(2), optimizer=SGD, num_steps=4, progress="my fit")
    told = capsys.readouterr().err
    assert "my fit" in told and "4/4" in told and "loss=" in told and "running=2" in told


def test_starts_without_a_common_axis_are_refused():
    for starts in ({"x": 1.0, "y": np.zeros((1, 2))}, {"x": np.zeros(3), "y": np.zeros((2, 2))}, {"x": np.zeros(0), "y": np.zeros((0, 2))}):
        with pytest.raises(ValueError, match="same leading axis of starts, received shapes"):
            descend(jax.random.key(0), bowl, starts, optimizer=SGD, num_steps=1)
    with pytest.raises(ValueError, match="each with a leading axis of 2 starts"):
        descend(jax.random.key(0), bowl, np.zeros(2), optimizer=SGD, num_steps=1, each=np.zeros(3))
    with pytest.raises(ValueError, match="expected finite starts"):
        descend(jax.random.key(0), bowl, np.array([0.0, -np.inf]), optimizer=SGD, num_steps=1)


@pytest.mark.parametrize(
    "options",
    [{"num_steps": 0}, {"steps_per_chunk": 0}, {"clip": 0.0}, {"stop": Plateau(0, 0.1)}, {"stop": Plateau(3, -1.0)}, {"on_failure": "ignore"}],
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match="expected .*, received"):
        descend(jax.random.key(0), noisy_bowl, np.zeros(1), **{"optimizer": SGD, "num_steps": 1} | options)


def test_an_optimiser_that_draws_is_refused():
    """Its key would be the same for all starts."""
    with pytest.raises(ValueError, match="random key, such as optax.add_noise"):
        descend(jax.random.key(0), noisy_bowl, np.zeros(2), optimizer=optax.add_noise(0.1, 0.5, jax.random.key(1)), num_steps=1)


@pytest.mark.parametrize("returned", [lambda x: x[None], lambda x: (x, {"many": x[None]}), lambda x: (x, x)])
def test_a_loss_that_is_no_scalar_is_refused(returned):
    with pytest.raises(ValueError, match="expected the loss to return a scalar"):
        descend(jax.random.key(0), lambda x, _: returned(x), np.zeros(1), optimizer=SGD, num_steps=1)


def test_relative_distance_by_hand():
    """Two times, two species, maxima 4 and 2: (1/4 + 0 + 2/4 + 1/2) / 4 = 0.3125."""
    target = jnp.array([[4.0, 1.0], [2.0, 2.0]])
    counts = jnp.array([[[3.0, 1.0], [4.0, 1.0]]])
    assert np.allclose(relative_distance(counts, target), [0.3125])


def test_means_loss_is_the_squared_distance_of_means_and_records_events():
    """At logarithms of the parameters, over the scale."""
    network, rates, start, times, _ = models.immigration_death()

    def ensemble(parameters, key):
        return score_function(key, network, parameters, start, times[1:4], num_paths=50)

    logs = {name: jnp.log(value) for name, value in rates.items()}
    value, records = means_loss(ensemble, jnp.full((3, 1), 2.0), scale=4.0)(logs, jax.random.key(3))
    paths = simulate(jax.random.key(3), network, jax.tree.map(jnp.exp, logs), start, times[1:4], num_paths=50)
    np.testing.assert_allclose(value, ((np.asarray(paths.mean()) - 2) ** 2).mean() / 4, rtol=1e-5)
    assert float(records["events"]) == float(paths.num_events.sum())
