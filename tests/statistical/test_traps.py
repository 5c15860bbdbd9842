"""The traps that other simulators fell into, each as a claim: late times, full intervals, frozen paths, large counts, rare reactions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import assert_mean, z_scores

from ssagrad import Network, SimulationError, models, simulate


def test_late_and_fast_events_are_neither_lost_nor_invented():
    """10⁵ events per unit time near t = 1000, for 2 units: 200,000 events on average (absolute time in float32 fires 686,486)."""
    births = Network.from_text("0 -> X @ k")
    paths = simulate(jax.random.key(401), births, {"k": 1e5}, {"X": 0}, [1001.0, 1002.0], start_time=1000.0, num_paths=128)
    assert_mean(paths.counts[:, :, 0], [1e5, 2e5], largest_standard_error=50.0, exact_variance=[1e5, 2e5])


def test_an_interval_may_hold_a_million_events():
    """10⁶ births in one interval are Poisson: mean and variance 10⁶; a clock without its rounding errors would drift by more."""
    births = Network.from_text("0 -> X @ k")
    paths = simulate(jax.random.key(402), births, {"k": 1e6}, {"X": 0}, [1.0], num_paths=128)
    assert_mean(paths.counts[:, 0, 0], 1e6, largest_standard_error=110.0, exact_variance=1e6)
    assert_mean((np.asarray(paths.counts[:, 0, 0], float) - 1e6) ** 2, 1e6, largest_standard_error=1.6e5)


def test_time_integrals_survive_a_million_events():
    """∫ x ds of a constant species is the elapsed time to 10⁻⁵, whatever the number of events on the way."""
    network = Network.from_text("X -> X @ k")
    paths = simulate(jax.random.key(403), network, {"k": 1e6}, {"X": 1}, [0.5, 1.0], num_paths=16, record=("time_integrals",))
    assert np.abs(np.asarray(paths.time_integrals[:, :, 0]) - np.array([0.5, 1.0])).max() < 1e-5


def test_event_counts_beyond_24_bits_are_refused_or_right():
    """More firings than float32 can count (2²⁴) are refused, or counted right: never capped silently at 16,777,216."""
    network = Network.from_text("X -> X @ k")
    try:
        paths = simulate(jax.random.key(404), network, {"k": 1.8e7}, {"X": 1}, [1.0], num_paths=1, record=("event_counts",))
    except SimulationError:
        return
    assert abs(float(paths.event_counts[0, 0, 0]) - 1.8e7) < 4 * np.sqrt(1.8e7)


def test_populations_beyond_24_bits_are_refused():
    """A population that explodes past 2²⁴ is refused with its path and counts, not held at 16,777,216."""
    network = Network.from_text("X -> 2 X @ k")
    with pytest.raises(SimulationError, match="counts that this precision cannot hold exactly"):
        simulate(jax.random.key(405), network, {"k": 1.0}, {"X": 2**24 - 200}, [1.0], num_paths=2)


def test_large_populations_below_24_bits_are_exact():
    """Counts just below 2²⁴ change by whole molecules: deaths counted one by one equal the molecules that are gone."""
    network = Network.from_text("X -> 0 @ k")
    start = 2**24 - 200
    paths = simulate(jax.random.key(406), network, {"k": 1e-3}, {"X": start}, [1.0], num_paths=16)
    deaths = start - np.asarray(paths.counts[:, 0, 0], np.int64)
    assert np.array_equal(deaths, np.asarray(paths.num_events))
    share = -np.expm1(-1e-3)
    assert_mean(deaths, start * share, largest_standard_error=60.0, exact_variance=start * share * (1 - share))


def test_no_epidemic_freezes():
    """Of 30,000 epidemics of paper 1, each followed to its end, none stops with infectious individuals left."""
    model = models.sir()
    paths = simulate(jax.random.key(407), *model[:3], [20.0], num_paths=30_000)
    assert np.all(np.asarray(paths.samples("I")) == 0)
    assert not np.any(paths.exhausted)


def test_rare_reactions_fire_at_their_rate():
    """A reaction with a millionth of the total propensity fires at its rate; one with propensity 0 never does."""
    network = Network.from_text("X -> X @ often; 0 -> Y @ rarely; 0 -> Z @ never; X -> X @ often_too")
    parameters = {"often": 5e4, "rarely": 0.1, "never": 0.0, "often_too": 5e4}
    paths = simulate(jax.random.key(408), network, parameters, {"X": 1}, [1.0], num_paths=2_000, num_threads=2)
    assert_mean(paths.samples("Y")[:, 0], 0.1, largest_standard_error=0.008, exact_variance=0.1)
    assert np.all(np.asarray(paths.samples("Z")) == 0)


def test_an_absorbed_path_stays_absorbed_for_ever():
    """A million observations of absorbed paths draw no impossible number: the states stay, and nothing is raised."""
    network = Network.from_text("2 X -> 0 @ k")
    times = np.arange(1.0, 2001.0)
    paths = simulate(jax.random.key(409), network, {"k": 10.0}, {"X": 20}, times, num_paths=2_000, record=("event_counts",))
    assert np.all(np.asarray(paths.counts[:, 10:, 0]) == 0)
    assert np.all(np.asarray(paths.event_counts[:, 10:, 0]) == 10)


def test_common_random_numbers_make_differences_small():
    """The same keys at two nearby rates give strongly correlated paths; different keys do not."""
    model = models.immigration_death()
    keys = jax.random.split(jax.random.key(410), 2_000)
    other_keys = jax.random.split(jax.random.key(411), 2_000)

    def final(keys, death):
        return np.asarray(simulate(keys, model.network, model.parameters | {"death": death}, {"X": 0}, [20.0], num_paths=2_000).counts[:, 0, 0])

    common = final(keys, 0.1) - final(jax.random.clone(keys), 0.101)
    fresh = final(jax.random.clone(keys), 0.1) - final(other_keys, 0.101)
    assert common.var() < 0.2 * fresh.var()
    assert abs(z_scores(fresh, 10 * (1 - np.exp(-2.0)) - (1 - np.exp(-2.02)) / 0.101)) < 4


def test_the_law_does_not_depend_on_the_start_time():
    """The law depends on time differences only: from 0 and from 10⁶ the same keys give the same paths."""
    model = models.birth_death()
    early = simulate(jax.random.key(412), *model[:3], [1.0, 3.0], num_paths=64)
    late = simulate(jax.random.key(412), *model[:3], [1e6 + 1.0, 1e6 + 3.0], start_time=1e6, num_paths=64)
    assert jnp.array_equal(early.counts, late.counts)
