"""Straight-through estimators: one event by hand, the contract, both modes, windows and errors. Claims about bias: tests/statistical."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import Network, NetworkError, SimulationError, models, simulate
from ssagrad.estimators import gumbel_softmax, propensity_straight_through
from ssagrad.straight_through import windows_around

BIRTH_DEATH = Network.from_text("0 -> X @ birth; X -> 0 @ death")
RATES = {"birth": jnp.float32(3.0), "death": jnp.float32(0.5)}
BOTH = pytest.mark.parametrize("estimator", [gumbel_softmax, propensity_straight_through])
MODES = pytest.mark.parametrize("mode", [{"mode": "forward"}, {"mode": "reverse", "max_events": 60}])


def ensemble(estimator, parameters, *, key=0, num_paths=32, start=4, times=(1.0, 2.0), **options):
    if options.get("clock") != "events":
        options = {"cutoff": 0.5} | options
    if estimator is gumbel_softmax:
        options = {"temperature": 0.5} | options
    return estimator(jax.random.key(key), BIRTH_DEATH, parameters, {"X": start}, np.array(times), num_paths=num_paths, **options)


@MODES
def test_two_events_agree_with_a_calculation_by_hand(mode):
    """In the jump chain, propensities' tangents have no noise: D₁ = d(p_birth − p_death) at 4, D₂ adds the same at the next state, moved by D₁."""

    def by_hand(birth, death, after):
        def drift(x):
            return (birth - death * x) / (birth + death * x)

        first = drift(jnp.float32(4.0))
        return first + drift(after + first - jax.lax.stop_gradient(first))  # only its derivative is used

    def counts(birth):
        paths = ensemble(propensity_straight_through, {"birth": birth, "death": jnp.float32(0.5)}, times=(1, 2), clock="events", **mode)
        return paths.counts[:, :, 0]

    gradient, values = jax.jacfwd(counts)(jnp.float32(3.0)), np.asarray(counts(jnp.float32(3.0)))
    assert set(values[:, 0]) == {3.0, 5.0}
    for path in range(4):
        expected = jax.grad(by_hand)(jnp.float32(3.0), jnp.float32(0.5), jnp.float32(values[path, 0]))
        assert np.isclose(gradient[path, 1], expected, rtol=1e-5)


@MODES
def test_the_mean_waiting_time_is_differentiated(mode):
    """∫ x ds over one event of the jump chain is 4/a₀ in every path; its derivative in `birth` is −4/a₀²."""

    def integrals(birth):
        paths = ensemble(propensity_straight_through, RATES | {"birth": birth}, times=(1,), clock="events", record=("time_integrals",), **mode)
        return paths.time_integrals[:, 0, 0]

    assert np.allclose(integrals(jnp.float32(3.0)), 4 / 5, rtol=1e-5)
    assert np.allclose(jax.jacfwd(integrals)(jnp.float32(3.0)), -4 / 25, rtol=1e-5)


def test_values_are_those_of_exact_paths():
    """Without noise of its own an estimator returns what `simulate` returns for the same key and the same grid of times."""
    paths = ensemble(propensity_straight_through, RATES, record=("time_integrals",))
    grid = np.array([0.75, 1.0, 1.25, 1.75, 2.0, 2.25])
    plain = simulate(jax.random.key(0), BIRTH_DEATH, RATES, {"X": 4}, grid, num_paths=32, record=("time_integrals",))
    assert np.array_equal(paths.counts, plain.counts[:, jnp.array([1, 4])])
    assert np.array_equal(paths.time_integrals, plain.time_integrals[:, jnp.array([1, 4])])
    assert np.array_equal(paths.times, [1.0, 2.0])


@MODES
def test_every_way_to_differentiate_gives_the_same(mode):
    """grad, jacfwd, grad inside jit, and the mean of the per-path terms agree on a nonlinear loss."""

    def loss(parameters):
        return ((ensemble(gumbel_softmax, parameters, **mode).mean("X") - 3.0) ** 2).sum()

    reference = jax.grad(loss)(RATES)
    for other in (jax.jacfwd(loss)(RATES), jax.jit(jax.grad(loss))(RATES)):
        assert all(np.isclose(reference[name], other[name], rtol=2e-4) for name in RATES)
    means = np.asarray(ensemble(gumbel_softmax, RATES, **mode).mean("X"))
    terms = jax.jacfwd(lambda p: (lambda e: e.terms(e.samples("X")))(ensemble(gumbel_softmax, p, **mode)))(RATES)
    for name in RATES:
        assert np.isclose(reference[name], np.sum(2 * (means - 3.0) * np.asarray(terms[name]).mean(0)), rtol=2e-4)


@MODES
def test_estimates_can_be_mapped(mode):
    """vmap over parameters is one estimate after the other."""

    def gradient(birth):
        return jax.grad(lambda b: ensemble(gumbel_softmax, RATES | {"birth": b}, **mode).mean("X").sum())(birth)

    births = jnp.array([2.0, 3.0])
    assert np.allclose(jax.vmap(gradient)(births), [gradient(b) for b in births], rtol=2e-4)


@MODES
def test_parameters_of_each_path_have_their_own_derivative(mode):
    """With parameters_per_path, the derivatives in the rows are those of each path in shared parameters of the same value."""
    per_path = jax.tree.map(lambda value: jnp.full(8, value), RATES)
    of_rows = jax.grad(lambda p: ensemble(gumbel_softmax, p, num_paths=8, parameters_per_path=True, **mode).samples("X").sum())(per_path)
    of_all = jax.jacfwd(lambda p: ensemble(gumbel_softmax, p, num_paths=8, **mode).samples("X").sum(1))(RATES)
    assert all(np.allclose(of_rows[name], of_all[name], rtol=1e-4, atol=1e-5) for name in RATES)


@BOTH
@MODES
@pytest.mark.parametrize("model", [models.dimerisation(), models.hill_repressilator()])
def test_derivatives_are_finite_at_the_boundary(estimator, mode, model):
    """Where reactants run out, and from which no reaction leads away, nothing is NaN; at the start nothing has a derivative yet."""
    options = {"temperature": 0.5} if estimator is gumbel_softmax else {}
    few = {name: 1 for name in model.initial_counts}

    def counts(parameters):
        return estimator(jax.random.key(1), model.network, parameters, few, np.array([0.0, 0.2]), num_paths=8, cutoff=0.1, **options, **mode).counts

    jacobian = jax.jacfwd(counts)(jax.tree.map(jnp.float32, model.parameters))
    assert all(np.isfinite(leaf).all() and not np.any(leaf[:, 0]) for leaf in jacobian.values())


def test_windows_have_their_time_in_the_middle():
    """Width 1 around 0.25 and 2, start 0: [0, 0.5] and [1.5, 2.5]; edges that coincide are one; a time at the start has no window."""
    windows = windows_around([0.0, 0.25, 2.0, 3.0], 1.0, 0.0)
    edges = np.concatenate([[0.0], windows.grid])
    assert np.array_equal(windows.grid, [0.0, 0.25, 0.5, 1.5, 2.0, 2.5, 3.0, 3.5])
    assert np.array_equal(edges[windows.opens], [0.0, 0.0, 1.5, 2.5])
    assert np.array_equal(edges[windows.closes], [0.0, 0.5, 2.5, 3.5])
    assert np.array_equal(windows.widths, [1.0, 0.5, 1.0, 1.0])
    assert np.array_equal(windows.grid[windows.now], [0.0, 0.25, 2.0, 3.0])


def test_a_path_that_needs_more_events_is_reported():
    """Reverse mode raises with the numbers; with on_exhausted="nan" and inside jit the path is NaN and flagged."""
    with pytest.raises(SimulationError, match=r"32 of 32 paths .* max_events=3"):
        ensemble(gumbel_softmax, RATES, mode="reverse", max_events=3)
    flagged = ensemble(gumbel_softmax, RATES, mode="reverse", max_events=12, on_exhausted="nan")
    for paths in (flagged, jax.jit(lambda p: ensemble(gumbel_softmax, p, mode="reverse", max_events=12))(RATES)):
        assert 0 < np.sum(paths.exhausted) < 32
        assert np.array_equal(np.isnan(paths.counts[:, -1, 0]), paths.exhausted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature > 0, received 0.0"),
        ({"temperature": None}, "temperature > 0, received None"),
        ({"cutoff": None}, "cutoff > 0, the width"),
        ({"cutoff": -1.0}, "cutoff > 0, the width"),
        ({"clock": "events", "cutoff": 1.0}, "needs no cutoff"),
        ({"mode": "backward"}, "mode among"),
        ({"mode": "reverse"}, "give it max_events"),
        ({"mode": "reverse", "max_events": 9, "on_exhausted": "freeze"}, "on_exhausted among"),
        ({"record": ("event_counts",)}, "event_counts carry no derivative"),
    ],
)
def test_impossible_options_are_refused(options, message):
    """Each with what was expected."""
    with pytest.raises(ValueError, match=message):
        ensemble(gumbel_softmax, RATES, **options)


@MODES
def test_times_are_checked(mode):
    """As `simulate` checks them, before a window is laid around them."""
    with pytest.raises(NetworkError, match="increasing"):
        ensemble(gumbel_softmax, RATES, times=(2.0, 1.0), **mode)
