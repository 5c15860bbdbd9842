"""The inner loop, driven directly: extreme random bits, absorbing states, status codes, and events worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import Network
from ssagrad.kernel import COMPLETE, EVENT_COUNTS, EXHAUSTED, INVALID, OVERFLOW, TIME_INTEGRALS, run_lanes
from ssagrad.random import next_exponential, next_uniform, seed_streams

WORD = 0xFFFFFFFF
LANES = 16


def run(network, parameters, counts, times, *, streams=None, max_events=10_000, accumulators=(), freeze=False):
    """`run_lanes` with the same counts in every lane; `times` from 0."""
    streams = seed_streams(jax.random.key(21), LANES) if streams is None else streams
    return run_lanes(
        streams,
        jnp.tile(jnp.array(counts, jnp.float32)[:, None], (1, LANES)),
        parameters,
        jnp.diff(jnp.array(times, jnp.float32), prepend=0.0),
        jnp.int32(max_events),
        network=network,
        accumulators=accumulators,
        per_path=False,
        freeze=freeze,
    )


def streams_that_give(bits):
    """Lanes whose next output is `bits` (s0 = 0, s3 = bits rotated back by 7)."""
    state = (0, 0x9E3779B9, 0x7F4A7C15, ((bits << 25) | (bits >> 7)) & WORD)
    return jnp.tile(jnp.array(state, jnp.uint32)[:, None], (1, LANES))


def by_hand(streams, network, parameters, counts, horizon):
    """Gillespie's method event by event in Python floats, from the same random numbers: state and events at the horizon."""
    stream, counts, clock, num_events = tuple(streams[:, :1]), list(counts), float(horizon), 0
    while True:
        stream, exponential = next_exponential(stream, jnp.float32)
        stream, uniform = next_uniform(stream, jnp.float32)
        propensities = [float(a) for a in network.propensities(jnp.array(counts, jnp.float32), parameters)]
        if sum(propensities) == 0 or float(exponential[0]) / sum(propensities) >= clock:
            return counts, num_events
        clock -= float(exponential[0]) / sum(propensities)
        reaction = int(np.searchsorted(np.cumsum(propensities), float(uniform[0]) * sum(propensities), side="right"))
        counts = [x + int(v) for x, v in zip(counts, network.stoichiometry[reaction], strict=True)]
        num_events += 1


def test_events_agree_with_a_calculation_by_hand():
    """The state of each lane is what the direct method gives, event by event, for the same random numbers."""
    network = Network.from_text("S + I -> 2 I @ infection; I -> R @ recovery; R -> S @ loss")
    parameters = {"infection": 0.2, "recovery": 1.0, "loss": 0.5}
    recorded = run(network, parameters, [8, 3, 0], [0.75])
    for lane in range(4):
        counts, num_events = by_hand(seed_streams(jax.random.key(21), LANES)[:, lane:], network, parameters, [8, 3, 0], 0.75)
        assert recorded.columns[lane, 0].tolist() == counts
        assert int(recorded.num_events[lane]) == num_events


@pytest.mark.parametrize("bits", [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFF7F, 0xFFFFFF80, WORD])
@pytest.mark.parametrize(("text", "count"), [("X -> 0 @ k", 0), ("2 X -> 0 @ k", 0), ("2 X -> 0 @ k", 1), ("3 X -> 0 @ k", 1)])
def test_no_random_number_moves_or_breaks_an_absorbed_path(bits, text, count):
    """Without reactants nothing happens, whichever bits the stream starts with (a waiting time of 0/0 must not be formed)."""
    recorded = run(Network.from_text(text), {"k": 1.0}, [count], [1.0, 2.0, 3.0], streams=streams_that_give(bits))
    assert np.all(np.asarray(recorded.status) == COMPLETE)
    assert np.all(np.asarray(recorded.columns) == count)
    assert np.all(np.asarray(recorded.num_events) == 0)


@pytest.mark.parametrize("bits", [0, 1, 0xFFFFFF80, WORD])
def test_no_random_number_freezes_a_path(bits):
    """A path goes on after the most extreme waiting time: the smallest uniform number is not 0."""
    recorded = run(Network.from_text("0 -> X @ k"), {"k": 100.0}, [0], [10.0], streams=streams_that_give(bits))
    assert np.all(np.asarray(recorded.status) == COMPLETE)
    assert np.all(np.abs(np.asarray(recorded.columns[:, 0, 0]) - 1000) < 200)


@pytest.mark.parametrize("bits", [0, WORD])
def test_reactions_of_propensity_zero_never_fire(bits):
    """At both ends of the uniform number, reactions of propensity 0 (first, middle, last) are passed over."""
    network = Network.from_text("0 -> A @ never; 0 -> B @ k; 0 -> C @ never; 0 -> D @ k; 0 -> E @ never")
    second = np.array(streams_that_give(WORD))  # the second output of the stream chooses the reaction
    second[1] = 0
    for streams in (streams_that_give(bits), jnp.asarray(second)):
        recorded = run(network, {"never": 0.0, "k": 50.0}, [0] * 5, [20.0], streams=streams)
        counts = np.asarray(recorded.columns[:, 0])
        assert np.all(counts[:, [0, 2, 4]] == 0)
        assert np.all(counts[:, [1, 3]] > 800)


def test_absorbing_states_end_a_path_at_once():
    """When all have died a path is done: every later time shows 0 and the events are the deaths."""
    recorded = run(Network.from_text("X -> 0 @ k"), {"k": 1.0}, [30], [0.0, 1.0, 40.0, 1e30])
    assert np.all(np.asarray(recorded.columns[:, 0, 0]) == 30)
    assert np.all(np.asarray(recorded.columns[:, 2:, 0]) == 0)
    assert recorded.num_events.tolist() == [30] * LANES
    assert np.all(np.asarray(recorded.status) == COMPLETE)


@pytest.mark.parametrize(("freeze", "after"), [(True, 80.0), (False, np.nan)])
def test_a_path_without_events_left_is_marked(freeze, after):
    """Out of events: status, the times reached, and the last state or NaN for the times that were not."""
    recorded = run(Network.from_text("0 -> X @ k"), {"k": 100.0}, [0], [0.0, 100.0], max_events=80, freeze=freeze)
    assert np.all(np.asarray(recorded.status) == EXHAUSTED)
    assert recorded.num_events.tolist() == [80] * LANES
    assert recorded.num_observed.tolist() == [1] * LANES
    assert np.all(np.asarray(recorded.columns[:, 0, 0]) == 0)
    assert np.array_equal(recorded.columns[:, 1, 0], np.full(LANES, after), equal_nan=True)
    assert np.all(np.asarray(recorded.final_counts) == 80)


def test_large_counts_and_impossible_propensities_are_marked():
    """Status of a population that grows past 2²⁴, and of a propensity that is NaN in the middle of a path."""
    recorded = run(Network.from_text("0 -> 100 X @ k"), {"k": 100.0}, [2**24 - 5000], [10.0])
    assert np.all(np.asarray(recorded.status) == OVERFLOW)
    assert np.isnan(recorded.columns).all()
    network = Network.from_text("0 -> X @ f; X -> X @ g", propensities={"f": lambda x, p: 5.5 - x["X"], "g": lambda x, p: 7.0})
    recorded = run(network, {}, [0], [100.0])
    assert np.all(np.asarray(recorded.status) == INVALID)


def test_propensities_that_overflow_are_marked():
    """Finite rates and counts whose product is beyond float32 are an error, not events without waiting times that never end."""
    recorded = run(Network.from_text("X -> X @ k"), {"k": 1e37}, [1e4], [1.0], max_events=100)
    assert np.all(np.asarray(recorded.status) == INVALID)


def test_accumulators():
    """∫ x ds and the firings of each reaction, against the states themselves."""
    network = Network.from_text("A -> B @ k; B -> A @ k; 0 -> C @ k")
    recorded = run(network, {"k": 2.0}, [3, 1, 0], [0.5, 1.0, 4.0], accumulators=(TIME_INTEGRALS, EVENT_COUNTS))
    columns = np.asarray(recorded.columns)
    counts, integrals, events = columns[..., :3], columns[..., 3:6], columns[..., 6:]
    assert np.array_equal(counts - np.array([3, 1, 0]), events @ network.stoichiometry)
    assert np.allclose(integrals[..., 0] + integrals[..., 1], 4 * np.array([0.5, 1.0, 4.0]), rtol=1e-5, atol=0)
    assert np.all(np.diff(integrals, axis=1) >= 0)
    assert events[:, -1].sum(-1).tolist() == recorded.num_events.tolist()


def test_integrals_of_an_absorbed_path_go_on():
    """After the last event time still passes: ∫ x ds of what stays."""
    network = Network.from_text("A -> B @ k")
    recorded = run(network, {"k": 50.0}, [1, 2], [1.0, 11.0], accumulators=(TIME_INTEGRALS,))
    later = np.asarray(recorded.columns[:, 1] - recorded.columns[:, 0])
    assert np.allclose(later[:, 3], 30.0, rtol=1e-5, atol=0)
