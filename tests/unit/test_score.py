"""The unfinished waiting time of a path: by hand where at most one event can fire, and its law where events come at a constant rate."""

import jax
import numpy as np
from support import assert_continuous

from ssagrad import Network
from ssagrad.score import waiting_since_last_event
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
