"""Networks read from a table obey the law of the ordinary network, a different one on each path, and refuse what needs known changes."""

import jax
import numpy as np
import pytest

from ssagrad import SimulationError, models, simulate
from ssagrad.estimators import alternative_path, forked_path, gumbel_softmax, score_function
from ssagrad.network import NetworkError
from ssagrad.structure.candidates import library_of
from ssagrad.structure.tabulated import tabulated_network

SIR = models.sir()
TIMES = np.linspace(0, 1, 11)
TABLE = tabulated_network(("S", "I", "R"), 2)


def rows(text, rates, *, species="SIR"):
    """The parameters of one network."""
    library = library_of(text, species)
    return {"reactants": library.reactants.astype(float), "products": library.products.astype(float), "rates": np.asarray(rates)}


def stacked(*models):
    """One network per path."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *models)


def test_one_network_is_made_once():
    assert tabulated_network(("S", "I", "R"), 2) is TABLE
    assert TABLE.species == ("S", "I", "R") and TABLE.reaction_names == ("reaction 1", "reaction 2")


def test_propensities_are_those_of_mass_action():
    """No, one and two molecules of a species: 1, x, x (x − 1)/2."""
    table = tabulated_network(("S", "I", "R"), 4)
    parameters = rows("0 -> S; S -> I; 2 S -> I; 2 S + 2 I -> R", [2.0, 3.0, 4.0, 0.5])
    assert np.allclose(table.propensities(np.array([5.0, 3.0, 1.0]), parameters), [2, 15, 40, 15])
    assert np.array_equal(table.propensities(np.array([1.0, 1.0, 0.0]), parameters), [2, 3, 0, 0])


@pytest.mark.parametrize("text", ["S + I -> 2 I; I -> R", "2 S -> I; 0 -> R"])
def test_paths_are_those_of_the_ordinary_network(text):
    """Bit for bit with the same key: the law is the same because the paths are."""
    rates = [0.02, 5.0]
    ordinary = library_of(text, "SIR").network()
    expected = simulate(jax.random.key(1), ordinary, {"k1": rates[0], "k2": rates[1]}, SIR.initial_counts, TIMES, num_paths=20)
    found = simulate(jax.random.key(1), TABLE, rows(text, rates), SIR.initial_counts, TIMES, num_paths=20)
    assert np.array_equal(found.counts, expected.counts) and np.array_equal(found.num_events, expected.num_events)
    assert found.num_events.min() > 100


def test_a_different_network_on_each_path():
    """Path i of a batch of many networks is path i of its network alone."""
    texts = ["S + I -> 2 I; I -> R", "S -> R; 0 -> I", "2 S -> S + I; S + I -> R"]
    each = [rows(text, [0.02, 5.0]) for text in texts]
    mixed = simulate(jax.random.key(2), TABLE, stacked(*each), SIR.initial_counts, TIMES, num_paths=3, parameters_per_path=True)
    for i, alone in enumerate(each):
        paths = simulate(jax.random.key(2), TABLE, alone, SIR.initial_counts, TIMES, num_paths=3)
        assert np.array_equal(mixed.counts[i], paths.counts[i])
    assert len({counts.tobytes() for counts in np.asarray(mixed.counts)}) == 3


def test_rows_without_a_rate_or_a_change_change_nothing():
    """A rate of 0 never fires; a reaction without a change fires, and leaves the counts as they are."""
    table = tabulated_network(("S", "I", "R"), 3)
    silent = simulate(jax.random.key(3), table, rows("S + I -> 2 I; I -> R; S -> R", [0.02, 5, 0]), SIR.initial_counts, TIMES, num_paths=5)
    expected = simulate(jax.random.key(3), TABLE, rows("S + I -> 2 I; I -> R", [0.02, 5]), SIR.initial_counts, TIMES, num_paths=5)
    assert np.array_equal(silent.counts, expected.counts)
    idle = simulate(jax.random.key(4), tabulated_network(("S",), 1), rows("S -> S", [1.0], species="S"), {"S": 100}, TIMES, num_paths=2)
    assert np.all(idle.counts == 100) and idle.num_events.min() > 0


def test_an_explosion_is_stopped_and_flagged_alone():
    """X -> 2 X doubles until the budget is spent; the path beside it is finished."""
    table = tabulated_network(("X",), 1)
    both = stacked(rows("X -> 2 X", [50.0], species="X"), rows("X -> 0", [50.0], species="X"))
    options = {"num_paths": 2, "parameters_per_path": True, "max_events": 1000}
    paths = simulate(jax.random.key(5), table, both, {"X": 10}, TIMES, on_exhausted="freeze", **options)
    assert list(paths.exhausted) == [True, False]
    assert 1000 <= paths.num_events[0] < 1008 and paths.counts[0, -1, 0] == 10 + int(paths.num_events[0])
    assert paths.counts[1, -1, 0] == 0 and paths.num_events[1] == 10
    with pytest.raises(SimulationError, match="ran out of events"):
        simulate(jax.random.key(5), table, both, {"X": 10}, TIMES, **options)


def test_changes_that_are_not_known_beforehand_are_refused_by_name():
    with pytest.raises(NetworkError, match="changes that are known beforehand, received functions for .*'reaction 1'"):
        _ = TABLE.stoichiometry


@pytest.mark.parametrize("estimator", [alternative_path, forked_path, gumbel_softmax])
def test_estimators_that_follow_changes_say_that_they_cannot(estimator):
    options = {
        alternative_path: {"rate_bound": 1e6},
        forked_path: {},
        gumbel_softmax: {"temperature": 0.5, "cutoff": 0.1},
    }[estimator]
    with pytest.raises(NetworkError, match="changes that are known beforehand"):
        estimator(jax.random.key(6), TABLE, rows("S + I -> 2 I; I -> R", [0.02, 5.0]), SIR.initial_counts, TIMES, num_paths=4, **options)


def test_the_score_function_knows_rates_in_a_table():
    """It needs propensities only: its gradient in the rates is that of the ordinary network, path by path."""
    parameters = rows("S + I -> 2 I; I -> R", [0.02, 5.0])
    options = {"initial_counts": SIR.initial_counts, "times": TIMES, "num_paths": 64}

    def recovered(rates):
        return score_function(jax.random.key(7), TABLE, parameters | {"rates": rates}, **options).mean("R")[-1]

    def expected(rates):
        named = {"k1": rates[0], "k2": rates[1]}
        return score_function(jax.random.key(7), library_of("S + I -> 2 I; I -> R", "SIR").network(), named, **options).mean("R")[-1]

    rates = jax.numpy.asarray([0.02, 5.0])
    assert np.allclose(jax.grad(recovered)(rates), jax.grad(expected)(rates), rtol=1e-4)
