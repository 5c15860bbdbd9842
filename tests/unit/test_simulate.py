"""What `simulate` takes, returns and refuses, in and out of jit."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import Ensemble, Network, NetworkError, SimulationError, exact, simulate
from ssagrad.simulate import simulate as simulate_of_module

SIR = Network.from_text("S + I -> 2 I @ infection; I -> R @ recovery")
RATES = {"infection": 0.02, "recovery": 1.0}
START = {"S": 90, "I": 10}
TURNOVER = Network.from_text("0 -> X @ k; X -> 0 @ d")


class Rates(NamedTuple):
    infection: float
    recovery: float


def run(network=SIR, parameters=None, initial_counts=None, times=(0.0, 0.5, 3.0), *, seed=31, num_paths=50, **options):
    parameters = RATES if parameters is None else parameters
    initial_counts = START if initial_counts is None else initial_counts
    return simulate(jax.random.key(seed), network, parameters, initial_counts, times, num_paths=num_paths, **options)


def test_what_comes_out():
    """Shapes, types, names, conservation; the state at the start time is the initial state."""
    paths = run()
    assert isinstance(paths, Ensemble)
    assert paths.counts.shape == (50, 3, 3)
    assert paths.counts.dtype == jnp.float32
    assert np.all(np.asarray(paths.counts[:, 0]) == [90, 10, 0])
    assert np.all(np.asarray(paths.counts.sum(-1)) == 100)
    assert np.all(np.asarray(paths.weights) == 1)
    assert paths.species == ("S", "I", "R")
    assert paths.reactions == ("infection", "recovery")
    assert paths.times.tolist() == [0.0, 0.5, 3.0]
    assert not paths.exhausted.any()
    assert paths.time_integrals is None
    assert paths.event_counts is None
    assert simulate is simulate_of_module


def test_the_same_key_gives_the_same_paths():
    """Equal keys, equal paths; other keys, other paths; and both kinds of key."""
    again = run()
    assert np.array_equal(run().counts, again.counts)
    assert not np.array_equal(run(seed=32).counts, again.counts)
    old_style = simulate(jax.random.PRNGKey(31), SIR, RATES, START, [0.0, 0.5, 3.0], num_paths=50)
    assert np.array_equal(old_style.counts, again.counts)


def test_a_path_depends_on_the_key_and_its_place_alone():
    """The first paths are the same whatever the number of paths and of threads (chunks included)."""
    few = run(num_paths=7, num_threads=1)
    for num_paths, num_threads in ((7, 2), (50, 1), (5000, 2), (5000, 1)):
        more = run(num_paths=num_paths, num_threads=num_threads)
        assert more.counts.shape[0] == num_paths
        assert np.array_equal(few.counts, more.counts[:7])
        assert np.array_equal(few.num_events, more.num_events[:7])


def test_a_key_per_path_makes_common_random_numbers():
    """Paths with equal keys are equal; a path can be simulated again alone from its key."""
    keys = jax.random.split(jax.random.key(33), 3)
    paths = simulate(keys[jnp.array([0, 1, 0, 2])], SIR, RATES, START, [1.0], num_paths=4)
    assert np.array_equal(paths.counts[0], paths.counts[2])
    assert not np.array_equal(paths.counts[0], paths.counts[1])
    alone = simulate(jax.random.clone(keys)[2:], SIR, RATES, START, [1.0], num_paths=1)
    assert np.array_equal(alone.counts[0], paths.counts[3])


def test_jit_changes_nothing():
    """The same numbers inside and outside of jit, with an ensemble as result; network, counts, times may be arguments."""

    @jax.jit
    def compiled(key, network, parameters, counts, times):
        return simulate(key, network, parameters, counts, times, num_paths=50, record=("time_integrals", "event_counts"))

    inside = compiled(jax.random.key(31), SIR, RATES, jnp.array([90.0, 10.0, 0.0]), jnp.array([0.0, 0.5, 3.0]))
    outside = run(record=("time_integrals", "event_counts"))
    assert jax.tree.structure(inside) == jax.tree.structure(outside)
    assert np.array_equal(inside.counts, outside.counts)
    assert np.array_equal(inside.event_counts, outside.event_counts)
    assert np.allclose(inside.time_integrals, outside.time_integrals, rtol=1e-6, atol=0)


def test_what_fails_inside_jit_is_nan():
    """Nothing can be raised inside jit: a negative rate, an impossible propensity and missing events give NaN."""
    negative = jax.jit(lambda k: simulate(jax.random.key(1), TURNOVER, {"k": 1.0, "d": k}, {"X": 5}, [1.0], num_paths=4).counts)(-1.0)
    assert np.isnan(negative).all()
    exhausted = jax.jit(lambda k: simulate(jax.random.key(1), TURNOVER, {"k": k, "d": 0.0}, {"X": 5}, [0.0, 1.0], num_paths=4, max_events=8))(1e3)
    assert np.all(np.asarray(exhausted.counts[:, 0, 0]) == 5)
    assert np.isnan(exhausted.counts[:, 1]).all()
    assert exhausted.exhausted.all()


def test_a_function_of_any_pytree_of_parameters():
    """Objects with attributes serve mass action; functions take any pytree, integers included."""
    rates = Rates(**RATES)
    assert np.array_equal(run(parameters=rates).counts, run().counts)
    network = Network.from_text("0 -> X @ f", propensities={"f": lambda x, p: p[0] + p[1]["more"].sum() + 0 * x["X"]})
    paths = run(network, (1, {"more": np.array([2.0, 3.0])}), {}, [100.0])
    assert abs(float(paths.mean("X")[0]) - 600) < 4 * np.sqrt(600 / 50)


def test_parameters_per_path():
    """With parameters_per_path, path i is the path i of a simulation with the i-th parameters."""
    infection = np.array([0.0, 0.01, 0.1], np.float32)
    paths = run(parameters={"infection": infection, "recovery": np.ones(3, np.float32)}, num_paths=3, parameters_per_path=True)
    for i in range(3):
        alone = run(parameters={"infection": infection[i], "recovery": 1.0}, num_paths=3)
        assert np.array_equal(paths.counts[i], alone.counts[i])
    with pytest.raises(NetworkError, match=r"parameter \['recovery'\]: expected a leading axis of 3 paths \(parameters_per_path\), received shape \(\)"):
        run(parameters={"infection": infection, "recovery": 1.0}, num_paths=3, parameters_per_path=True)
    with pytest.raises(NetworkError, match=r"rate constant 'infection': expected a scalar \(or parameters_per_path=True\), received shape \(3,\)"):
        run(parameters={"infection": infection, "recovery": 1.0}, num_paths=3)


def test_initial_counts_per_path():
    """Initial counts may differ from path to path, by name or as an array."""
    infectious = np.array([0, 5, 10])
    by_name = run(initial_counts={"S": 90, "I": infectious}, num_paths=3)
    by_array = run(initial_counts=np.stack([np.full(3, 90), infectious, np.zeros(3, int)], axis=1), num_paths=3)
    assert np.array_equal(by_name.counts, by_array.counts)
    assert by_name.counts[:, 0, 1].tolist() == [0, 5, 10]
    assert int(by_name.num_events[0]) == 0
    with pytest.raises(NetworkError, match=r"expected initial counts for 4 paths, received 3"):
        run(initial_counts={"S": 90, "I": infectious}, num_paths=4)


def test_event_counts_are_state_changes():
    """Initial counts plus stoichiometry times event counts are the counts, at every time of every path."""
    paths = run(record=("event_counts",))
    change = np.asarray(paths.event_counts) @ SIR.stoichiometry
    assert np.array_equal(np.asarray(paths.counts) - np.array([90, 10, 0]), change)
    assert np.array_equal(paths.event_counts[:, -1].sum(-1), paths.num_events)


def test_time_integrals_have_their_closed_form():
    """E ∫ x ds of immigration–death is the integral of the mean, m t + (x₀ − m)(1 − e^{−dt})/d; in any order of records."""
    times = np.array([0.5, 2.0, 6.0])
    paths = run(TURNOVER, {"k": 10.0, "d": 1.0}, {"X": 2}, times, num_paths=4000, record=("event_counts", "time_integrals"))
    expected = 10 * times + (2 - 10) * -np.expm1(-times)
    samples = np.asarray(paths.time_integrals[..., 0], float)
    assert np.all(np.abs(samples.mean(0) - expected) < 4 * samples.std(0) / np.sqrt(4000))
    assert np.allclose(paths.time_average("X"), samples.mean(0) / times, rtol=1e-5, atol=0)


def test_recording_does_not_change_the_paths():
    """The counts are the same with and without accumulators."""
    assert np.array_equal(run().counts, run(record=("time_integrals", "event_counts")).counts)


def test_out_of_events():
    """max_events (looked at every 8 events): raise with path, time and counts; or freeze; or NaN; enough of them change nothing."""
    births = Network.from_text("0 -> X @ k")
    options = {"max_events": 40, "times": [0.0, 0.1, 10.0], "initial_counts": {}, "parameters": {"k": 100.0}}
    with pytest.raises(SimulationError, match=r"50 of 50 paths failed; path 0 ran out of events \(max_events\).* 4\d events far, after t = 0.1, counts {'X': 4\d.0}"):
        run(births, **options)
    frozen = run(births, **options, on_exhausted="freeze")
    assert frozen.exhausted.all()
    assert np.array_equal(frozen.counts[:, 2, 0], np.asarray(frozen.num_events, np.float32))
    assert 40 <= int(frozen.num_events.min()) <= int(frozen.num_events.max()) < 48
    missing = run(births, **options, on_exhausted="nan")
    assert np.array_equal(missing.counts[:, :2], frozen.counts[:, :2])
    assert np.isnan(missing.counts[:, 2]).all()
    assert np.array_equal(run(max_events=300).counts, run().counts)


def test_large_counts_are_refused():
    """Counts that float32 cannot hold are refused at the start and on the way."""
    with pytest.raises(NetworkError, match=r"initial count.*16777216"):
        run(TURNOVER, {"k": 1.0, "d": 0.0}, {"X": 2**24 + 2}, [1.0])
    births = Network.from_text("0 -> 10 X @ k")
    with pytest.raises(SimulationError, match=r"path 0 reached counts that this precision cannot hold exactly"):
        run(births, {"k": 1e4}, {"X": 2**24 - 5000}, [1.0], num_paths=2)


def test_double_precision():
    """In float64, counts beyond 2²⁴ are exact; without 64-bit JAX double is refused."""
    with pytest.raises(ValueError, match="precision='double' needs 64-bit JAX"):
        run(precision="double")
    with jax.enable_x64(True):
        paths = run(Network.from_text("0 -> X @ k"), {"k": 100.0}, {"X": 2**30 + 1}, [1.0], precision="double", record=("event_counts",))
        assert paths.counts.dtype == jnp.float64
        assert np.array_equal(paths.counts[:, 0, 0] - (2.0**30 + 1), paths.event_counts[:, 0, 0])
        single = run(precision="single")
    assert np.array_equal(single.counts, run().counts)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda x, p: 3.0 - x["X"], "propensity that is negative, infinite, NaN"),
        (lambda x, p: jnp.sqrt(2.5 - x["X"]), "NaN"),
        (lambda x, p: 1 / (x["X"] - 2), "reaction 0 -> X @ f"),
    ],
)
def test_an_impossible_propensity_is_blamed(value, words):
    """A function that turns negative, NaN or infinite on the way stops the simulation, which names its reaction and the counts."""
    network = Network.from_text("0 -> X @ f; 0 -> Y @ k", propensities={"f": value})
    start = {"X": 2} if words.startswith("reaction") else {}
    if words.startswith("propensity"):
        network = Network.from_text("0 -> 2 X @ f; 0 -> Y @ k", propensities={"f": value})
    with pytest.raises(SimulationError, match=words) as error:
        run(network, {"k": 5.0}, start, [100.0])
    assert "X @ f" in str(error.value)
    assert "Y @ k" not in str(error.value)


def test_a_propensity_without_reactants_is_blamed():
    """A positive propensity where molecules are missing would make a negative count: refused, with the reaction."""
    network = Network.from_text("X -> 0 @ f", propensities={"f": lambda x, p: p["k"]})
    with pytest.raises(SimulationError, match=r"positive although reactants are missing: reaction X -> 0 @ f.*counts {'X': 0.0}"):
        run(network, {"k": 2.0}, {"X": 3}, [100.0])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"times": [1.0, 1.0]}, NetworkError, r"expected increasing observation times, received 1 and then 1 \(positions 0, 1\)"),
        ({"times": [1.0, 2.0, 1.5]}, NetworkError, r"received 2 and then 1.5 \(positions 1, 2\)"),
        ({"times": [-1.0]}, NetworkError, r"expected observation times from start_time=0 on, received -1 first"),
        ({"times": [1.0], "start_time": 2.0}, NetworkError, r"expected observation times from start_time=2 on, received 1 first"),
        ({"start_time": float("nan")}, NetworkError, r"start_time"),
        ({"times": []}, NetworkError, r"expected finite observation times \[T\], received shape \(0,\)"),
        ({"times": [[1.0]]}, NetworkError, r"received shape \(1, 1\)"),
        ({"times": [float("nan")]}, NetworkError, r"expected finite observation times"),
        ({"times": [float("inf")]}, NetworkError, r"expected finite observation times"),
        ({"num_paths": 0}, ValueError, r"expected num_paths to be a whole number ≥ 1, received 0"),
        ({"num_paths": 2.5}, ValueError, r"expected num_paths to be a whole number ≥ 1, received 2.5"),
        ({"record": "event_counts"}, ValueError, r"expected record as a tuple of names"),
        ({"record": ("events",)}, ValueError, r"expected record among .*, received 'events'"),
        ({"on_exhausted": "stop"}, ValueError, r"expected on_exhausted among .*, received 'stop'"),
        ({"precision": "half"}, ValueError, r"expected precision among .*, received 'half'"),
        ({"max_events": 0}, ValueError, r"max_events"),
        ({"initial_counts": {"J": 1}}, NetworkError, r"unknown species \['J'\]"),
        ({"parameters": {"infection": -1.0, "recovery": 1.0}}, NetworkError, r"reaction 'S \+ I -> 2 I @ infection': expected a finite rate"),
        ({"parameters": {"infection": 1.0}}, NetworkError, r"no parameter 'recovery' among \['infection'\]"),
    ],
)
def test_impossible_input_is_refused(options, error, words):
    """The error says what was expected and what came."""
    with pytest.raises(error, match=words):
        run(**options)


def test_one_time_and_a_later_start():
    """A single number is one observation time; the start time is where the initial counts hold."""
    assert run(times=1.0).counts.shape == (50, 1, 3)
    late = run(times=[5.0, 5.5, 8.0], start_time=5.0)
    assert np.array_equal(late.counts, run(times=[0.0, 0.5, 3.0]).counts)


def test_a_plain_simulation_has_no_derivative():
    """Counts jump: differentiating a plain simulation is refused, with a word on what to do, instead of giving 0."""

    def mean(k):
        return simulate(jax.random.key(5), TURNOVER, {"k": k, "d": 1.0}, {"X": 0}, [1.0], num_paths=20).mean("X")[0]

    with pytest.raises(TypeError, match=r"simulate\(\) has no derivative"):
        jax.grad(mean)(10.0)
    with pytest.raises(TypeError, match=r"simulate\(\) has no derivative"):
        jax.jit(jax.grad(mean))(10.0)


def test_the_law_is_right():
    """A first look (the claims are in tests/statistical): mean and variance of immigration–death."""
    paths = run(TURNOVER, {"k": 10.0, "d": 1.0}, {"X": 0}, [1.0, 3.0], num_paths=5000)
    law = exact.birth_death([1.0, 3.0], immigration=10.0, death=1.0)
    assert np.all(np.abs(paths.mean("X") - law.mean) < 4 * np.sqrt(law.variance / 5000))


@pytest.mark.parametrize("options", [{}, {"record": ("event_counts",)}, {"parameters_per_path": True}])
def test_parameters_that_no_rate_reads_do_no_harm(options):
    """A shared dictionary of parameters may hold more than this network needs: same paths, also inside jit and vmap."""
    size = 8 if options.get("parameters_per_path") else None
    values = {name: np.full(size, value) if size else value for name, value in {"death": 1.0, "unused": 3.0}.items()}
    network = Network.from_text("X -> 0 @ death")

    def counts(parameters):
        return simulate(jax.random.key(5), network, parameters, {"X": 9}, [0.5, 1.0], num_paths=8, **options).counts

    plain = counts({"death": values["death"]})
    assert np.array_equal(counts(values), plain)
    assert np.array_equal(jax.jit(counts)(values), plain)
    assert np.array_equal(jax.vmap(counts)(jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32)[None], values))[0], plain)


def test_a_network_of_plain_numbers_ignores_parameters():
    assert run(Network.from_text("X -> 0 @ 0.1"), {"k": 1.0}, {"X": 5}, [1.0], num_paths=4).counts.shape == (4, 1, 1)


def test_impossible_values_inside_jit_give_nan():
    """Where nothing can be raised, a fractional or negative count, or times that do not increase, give NaN and no numbers."""
    network = Network.from_text("X -> 0 @ 1")

    @jax.jit
    def counts(start, times):
        return simulate(jax.random.key(1), network, {}, {"X": start}, times, num_paths=4).counts

    times = jnp.array([0.5, 1.0])
    assert np.isfinite(counts(jnp.float32(3), times)).all()
    for start in (2.5, -5.0):
        assert np.isnan(counts(jnp.float32(start), times)).all()
    for wrong in ([1.0, 0.5], [-1.0, 0.5]):
        assert np.isnan(counts(jnp.float32(3), jnp.array(wrong))).all()
