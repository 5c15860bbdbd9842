"""Modes at guards, ties between sites, devices against other sites, and single changes of the published inference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import hierarchy
from ssagrad.hierarchy import ablation, levels, newton, receiver, study, synthetic
from ssagrad.hierarchy.integrate import Prediction
from ssagrad.hierarchy.plate_reader import Experiment
from ssagrad.hierarchy.system import System

TIMES = np.linspace(0, 1, 16).astype(np.float32)
LINE = levels.levels_of([levels.Latent(name, level, "normal", 0, 1.0) for name, level in (("slope", "global"), ("idle", "group"), ("height", "local"))])


def _solve(weights, u, treatments, components, times):
    """A line whose slope is followed up to 1 only."""
    del weights, treatments, components
    line = u[2][None] + jnp.minimum(u[0], 1.0)[None] * jnp.asarray(times)[:, None]
    return Prediction(jnp.stack([line] * 4, axis=1), jnp.full((1, 4, u.shape[1]), 0.04, jnp.float32))


GUARDED = System("guarded line", LINE, lambda key: {}, ((True,),), _solve, (("slope", -np.inf, 1.0),))


def wells(slope, num_wells=6):
    signals = np.repeat((slope * TIMES)[None, None], 4, axis=1).repeat(num_wells, axis=0).astype(np.float32)
    nothing = np.zeros((num_wells, 2), np.float32)
    return Experiment(TIMES, signals, nothing, np.zeros(num_wells, int), np.ones((num_wells, 1), np.float32), np.ones(4, np.float32), ("a",), ("a",))


def mode(slope, **options):
    blank = hierarchy.SharedPosterior(jax.random.key(0), LINE, GUARDED.masks, 4, 16)
    return newton.joint_mode(GUARDED, {}, blank, wells(slope), **options)


def test_a_mode_at_a_guard_is_found_and_converged():
    """Data with slope 2 push against the guard at 1: the shared number ends there, the local ones at their own mode, from one start."""
    found = mode(2.0, steps=40)
    assert found.converged and found.starts == 1
    np.testing.assert_allclose(float(found.posterior.mean[0]), 1.0, atol=0.03)
    rest = (2 * TIMES - TIMES).sum() * 4 / 0.04 / (1 + 64 / 0.04)
    np.testing.assert_allclose(found.local[:, 0], rest, atol=5e-3)


def test_a_mode_that_did_not_converge_says_so_and_is_started_again():
    """One step is not enough, from either start; no step at all is refused."""
    found = mode(-2.9, steps=1)
    assert not found.converged and found.starts == 2
    with pytest.raises(ValueError, match="at least one step and one start, received 0 and 2"):
        mode(0.0, steps=0)


def test_guards_of_the_mechanism_are_those_of_its_equation():
    """Beyond each guard the prediction no longer changes; a little inside it does."""
    system = receiver.constant_expression()
    start, weights = np.array(system.levels.locations), system.initial_weights(jax.random.key(1))
    treatments, components = jnp.full((2, 1), 3.0), jnp.zeros((7, 1)).at[0].set(1).at[3].set(1)
    predict = lambda u: np.asarray(system.solve(weights, jnp.asarray(u)[:, None], treatments, components, TIMES * 10).mean)
    for name in ("nR", "nS", "dR", "dS", "drfp", "dyfp", "dcfp"):
        _, _, most = next(guard for guard in system.guards if guard[0] == name)
        at, beyond, inside = start.copy(), start.copy(), start.copy()
        i = system.levels.index(name)
        at[i], beyond[i], inside[i] = most, most + 0.2, most - 0.2
        np.testing.assert_allclose(predict(at), predict(beyond), rtol=1e-5, atol=1e-7)
        assert not np.array_equal(predict(at), predict(inside))


def test_sites_within_their_errors_are_tied():
    """Two runs that differ by chance give one order with a tie; sites far apart stay in order; one run counts its posterior errors."""
    strengths = {"aR": {"a": ([0.0, 0.1], [0.05, 0.05]), "b": ([0.1, 0.0], [0.05, 0.05]), "c": ([2.0, 2.1], [0.05, 0.05])}}
    assert study.orders(strengths) in ({"aR": {"a ≈ b < c"}}, {"aR": {"b ≈ a < c"}})
    assert study.orders({"aS": {"x": ([1.0], [0.01]), "y": ([0.5], [0.01])}}) == {"aS": {"y < x"}}
    assert study.orders({"aS": {"x": ([1.0], [0.4]), "y": ([0.5], [0.4])}}) == {"aS": {"y ≈ x"}}


def test_a_device_is_held_against_other_sites():
    """The best of the others decides: higher for bounds, lower for errors."""
    one = study.LeftOut(None, None, 0.10, {"x": 0.2, "y": 0.05}, 10.0, {"x": 9.0, "y": 8.0}, 1.0, True)
    assert study.against_other_sites({"d": one}) == {"measured": "best in 1 of 1; bounds; d: 10, others 8 to 9", "holds": True}
    assert study.against_other_sites({"d": one}, seen=False) == {"measured": "best in 0 of 1; errors; d: 0.100, others 0.050 to 0.200", "holds": False}


def test_changes_have_names():
    """An unknown change is refused with those that there are."""
    data = synthetic.double_receivers(jax.random.key(2), receiver.constant_expression(), wells_per_device=2, num_times=20).experiment
    with pytest.raises(ValueError, match="expected changes among .*growth-rate.* received .*'magic'"):
        ablation.white_box_changes(jax.random.key(3), data, data, schedule=hierarchy.Schedule(), draws=2, changes=["magic"])


def test_a_change_is_trained_and_timed():
    """One draw of what is shared: finite bounds of all wells, positive times, nothing said about refinement."""
    data = synthetic.double_receivers(jax.random.key(4), receiver.constant_expression(), wells_per_device=2, num_times=20).experiment
    schedule = hierarchy.Schedule(epochs=1, batch=6, draws=2)
    found = ablation.white_box_changes(jax.random.key(5), data, data, schedule=schedule, draws=3, changes=["one draw of what is shared"])
    (variant,) = found.values()
    assert np.isfinite(variant.evaluation.bounds).all() and variant.training > 0 and variant.seconds > 0
    assert variant.evaluation.not_converged == 0 and variant.evaluation.bounds.shape == (12,)
