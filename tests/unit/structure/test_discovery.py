"""`discover` on a chain of two decays: the truth from a library of six, the same for equal keys, and a result that can be read and simulated."""

from functools import cache

import jax
import numpy as np
import pytest
from support import LIMIT

from ssagrad import Network, NetworkError, simulate
from ssagrad.structure import Discovery, discover, enumerate_reactions

TRUE = "A -> B @ first; B -> 0 @ second"
RATES = {"A -> B": 1.0, "B -> 0": 0.6}
TIMES = np.linspace(0.0, 3.0, 16)
LIBRARY = enumerate_reactions("AB", most_reactants=1, most_products=1)
SMALL = {"most_reactions": 2, "num_finalists": 4, "beam": 8}


def observed(text=TRUE, parameters=(("first", 1.0), ("second", 0.6)), start=(("A", 400),), seed=1):
    """One path of a network, by species."""
    network = Network.from_text(text, species=("A", "B"))
    paths = simulate(jax.random.key(seed), network, dict(parameters), dict(start), TIMES, num_paths=1)
    return {name: np.asarray(paths.counts[0, :, s], float) for s, name in enumerate(network.species)}


@cache
def found(seed=2):
    return discover(observed(), TIMES, candidates=LIBRARY, key=jax.random.key(seed), **SMALL)


def test_the_truth_is_found_with_rates_within_their_errors():
    best = found().best
    assert set(best.reactions) == set(RATES)
    for text, rate, error in zip(best.reactions, best.rates, best.standard_errors, strict=True):
        assert abs(rate / RATES[text] - 1) < LIMIT * error
        assert 1 / np.sqrt(2 * 400) < error < 3 / np.sqrt(400)  # about 400 events of each reaction


def test_models_are_ranked_by_score_and_those_near_the_best_are_undecided():
    scores = np.array([model.score for model in found().models])
    assert np.array_equal(scores, np.sort(scores)) and found().best is found().models[0]
    assert found().undecided == (scores - scores[0] < 6).sum() >= 1
    assert 2 <= found().rounds <= 4 and found().events > 0
    assert len({frozenset(model.reactions) for model in found().models}) == len(scores) <= SMALL["num_finalists"]


def test_the_misfit_of_the_truth_is_one():
    """Mean of 15 transitions of 2 species: a chi-square of 30 over 30, and its scatter."""
    assert abs(found().best.misfit - 1) < LIMIT * np.sqrt(2 / 30)


def test_equal_keys_find_the_same_and_other_keys_the_same_model():
    again = discover(observed(), TIMES, candidates=LIBRARY, key=jax.random.key(2), **SMALL)
    assert again == found()
    assert set(found(3).best.reactions) == set(RATES) and found(3).best.rates != found().best.rates


def test_the_order_of_columns_changes_nothing():
    data = observed()
    array = np.stack([data["B"], data["A"]], axis=1)
    swapped = discover(array, TIMES, species=("B", "A"), candidates=LIBRARY, key=jax.random.key(2), **SMALL)
    assert swapped == found()


def test_the_model_found_can_be_simulated():
    best = found().best
    assert best.network().species == ("A", "B") and set(best.parameters().values()) == set(best.rates)
    paths = simulate(jax.random.key(4), best.network(), best.parameters(), {"A": 400}, [0.5], num_paths=400)
    rate = dict(zip(best.reactions, best.rates, strict=True))["A -> B"]
    remaining = np.exp(-rate * 0.5)
    error = np.sqrt(400 * remaining * (1 - remaining) / 400)
    assert abs(np.asarray(paths.counts)[:, 0, 0].mean() - 400 * remaining) < LIMIT * error


def test_the_result_reads_as_a_table():
    text = repr(found())
    assert text == repr(found().table()) and "reactions @ rates" in text and "A -> B @ " in text and "score − best" in text
    assert text.splitlines()[1].startswith("1 ") and "yes" in text.splitlines()[1]
    assert "<table" in found()._repr_html_() and isinstance(found(), Discovery)
    assert str(found().best).count(" @ ") == len(found().best.reactions)


def test_data_from_outside_the_library_have_a_misfit_far_above_that_of_the_truth():
    """Molecules that meet, A + B -> 2 B, among candidates of first order: more than twice the largest that the truth could leave by chance."""
    data = observed("A + B -> 2 B @ k", (("k", 0.02),), (("A", 390), ("B", 10)))
    outside = discover(data, TIMES, candidates=LIBRARY, key=jax.random.key(2), **SMALL)
    largest = 1 + LIMIT * np.sqrt(2 / 30)
    assert min(model.misfit for model in outside.models) > 2 * largest and found().best.misfit < largest


def test_one_species_one_reaction_and_the_library_that_stands_for_none():
    """All reactions of up to two molecules on each side are candidates unless others are named: X -> 0 among six, and one reaction at most."""
    paths = simulate(jax.random.key(5), Network.from_text("X -> 0 @ k"), {"k": 1.0}, {"X": 300}, TIMES, num_paths=1)
    counts = np.asarray(paths.counts[0, :, 0], float)
    result = discover({"X": counts}, TIMES, most_reactions=1, num_finalists=9)
    assert sorted(model.reactions for model in result.models) == sorted((text,) for text in enumerate_reactions("X").texts())
    assert result.best.reactions == ("X -> 0",) and result.undecided == 1
    assert abs(result.best.rates[0] - 1) < LIMIT * result.best.standard_errors[0]
    assert result.best.standard_errors[0] == pytest.approx(1 / np.sqrt(300), rel=0.3)


def test_names_that_no_reaction_can_be_written_with_are_refused():
    with pytest.raises(NetworkError, match="cannot read"):
        discover({"A B": [3, 2, 1]}, [0, 1, 2])
