"""What scores share: the unfinished waiting time of a path, by hand and by its law, and what is computed outside of gradients."""

from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import get_opaque_trace_state
from support import assert_continuous

from ssagrad import Network, models
from ssagrad.estimators import dynkin_controls, forked_path, gumbel_softmax, score_function
from ssagrad.score import outside_gradients, waiting_since_last_event
from ssagrad.simulate import simulate_with


def waiting(key, text, rates, start, times, **options):
    """Counts of the first species [n, T] and time since the last event [n, T]."""
    paths, (waited,) = simulate_with((waiting_since_last_event(),), jax.random.key(key), Network.from_text(text), rates, start, times, **options)
    return np.asarray(paths.counts[..., 0]), np.asarray(waited[..., 0], float)


def test_waiting_starts_again_at_an_event():
    """One molecule that decays: it waits from 0 on until it decays, then from there on, also when nothing can fire any more."""
    times = np.array([0.5, 1.0, 2.0])
    counts, waited = waiting(1, "X -> 0 @ death", {"death": 1.0}, {"X": 1}, times, num_paths=200)
    alive = counts == 1
    np.testing.assert_allclose(waited[alive], np.broadcast_to(times, alive.shape)[alive], rtol=1e-6)
    passed = np.broadcast_to(np.diff(times), (200, 2))
    same = counts[:, 1:] == counts[:, :-1]
    np.testing.assert_allclose(np.diff(waited, axis=1)[same], passed[same], rtol=1e-5)
    assert (waited[:, 1:] < passed)[~same].all() and (~same).sum() > 50


def test_waiting_has_the_law_of_a_poisson_process():
    """Events at the rate 2: the time since the last one exceeds s with the probability exp(−2 s), and is t where there was none."""
    counts, waited = waiting(2, "0 -> X @ birth", {"birth": 2.0}, {}, [3.0], num_paths=4000)
    assert (waited[counts == 0] == 3.0).all()
    fired = waited[counts > 0]
    assert_continuous(fired, lambda s: (1 - np.exp(-2 * s)) / (1 - np.exp(-6)))


def test_known_values_are_computed_outside_of_gradients():
    """JAX sees nothing of them while it takes a derivative, and all of what is traced."""
    outside, seen = get_opaque_trace_state(), []

    def loss(x):
        for values in ((np.ones(2), {"rate": 1.0}), (np.ones(2), {"rate": x})):
            with outside_gradients(*values):
                seen.append(get_opaque_trace_state() == outside)
        return x**2 + jnp.sin(2.0)

    assert jax.grad(loss)(3.0) == 6
    assert seen == [True, False]


@pytest.mark.parametrize(
    "estimator, home, options",
    [
        (score_function, "estimators.score_function", {}),
        (gumbel_softmax, "straight_through", {"temperature": 1.0, "cutoff": 0.2}),
        (forked_path, "estimators.forked_path", {}),
        (dynkin_controls, "estimators.dynkin_controls", {}),
    ],
)
def test_estimators_simulate_outside_of_gradients(estimator, home, options, monkeypatch):
    module, outside, seen = import_module(f"ssagrad.{home}"), get_opaque_trace_state(), []

    def watched(*arguments, **options):
        seen.append(get_opaque_trace_state() == outside)
        return simulate_with(*arguments, **options)

    monkeypatch.setattr(module, "simulate_with", watched)
    model = models.immigration_death()

    def mean(rates):
        return estimator(jax.random.key(0), model.network, rates, {}, [1.0], num_paths=128, **options).mean("X")[-1]

    eager, compiled = jax.grad(mean)(model.parameters), jax.jit(jax.grad(mean))(model.parameters)
    assert seen == [True, False]
    for name in model.parameters:
        np.testing.assert_allclose(eager[name], compiled[name], rtol=1e-3)
