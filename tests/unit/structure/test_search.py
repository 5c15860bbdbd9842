"""The search over subsets finds what was planted, by a criterion that can be computed by hand, and ends where more reactions bring nothing."""

from functools import cache
from math import comb, log

import numpy as np
import pytest

from ssagrad.structure.quasi_likelihood import Surrogate
from ssagrad.structure.search import criterion, search_subsets

K, SPECIES, CANDIDATES = 60, 2, 14
PLANTED = {2: 0.8, 7: 2.0}


def planted(rates=PLANTED, number=CANDIDATES):
    """Increments of a few candidates among others, with Gaussian noise of their own covariance."""
    generator = np.random.default_rng(1)
    integrals = 20 * generator.gamma(1.0, 1.0, size=(K, number))
    impacts = np.broadcast_to(generator.choice([-2.0, -1.0, 1.0, 2.0], size=(number, SPECIES)), (K, number, SPECIES))
    left = np.broadcast_to(0.05 * np.eye(SPECIES), (K, SPECIES, SPECIES))
    chosen = list(rates)
    flows = np.array(list(rates.values())) * integrals[:, chosen]
    covariances = left + np.einsum("ki,kix,kiy->kxy", flows, impacts[:, chosen], impacts[:, chosen])
    noise = np.einsum("kxy,ky->kx", np.linalg.cholesky(covariances), generator.normal(size=(K, SPECIES)))
    return Surrogate(np.einsum("ki,kix->kx", flows, impacts[:, chosen]) + noise, integrals, impacts, left, 1.0)


@cache
def levels(most=6, beam=10):
    return search_subsets(planted(), most=most, beam=beam)


def test_a_planted_model_has_the_best_criterion_of_all_sizes():
    """Both of the 14 candidates, and rates within a few standard errors, which are about 1/√(transitions · events)."""
    best = min((model for level in levels() for model in level), key=lambda model: model.criterion)
    assert best.chosen == tuple(PLANTED)
    assert np.allclose(best.rates, list(PLANTED.values()), rtol=4 / np.sqrt(K))


def test_a_level_holds_models_of_its_size_each_once():
    """In ascending order of candidates, no more than the beam, in falling likelihood with variance left over."""
    for size, level in enumerate(levels(), start=1):
        assert 1 <= len(level) <= 10 and len({model.chosen for model in level}) == len(level)
        for model in level:
            assert len(model.chosen) == len(model.rates) == size and list(model.chosen) == sorted(set(model.chosen))
            assert len(model.loose_rates) == size + SPECIES and min(model.rates) >= 0
            assert model.criterion == criterion(model.log_likelihood, size, CANDIDATES, K)
        likelihoods = [model.loose_log_likelihood for model in level]
        assert likelihoods == sorted(likelihoods, reverse=True)
    assert len(levels()[0]) == 10  # every candidate is tried alone


def test_the_search_ends_two_sizes_after_the_best():
    """Two reactions are there; three and four bring nothing; five are not looked at."""
    assert len(levels()) == 4
    best = [min(model.criterion for model in level) for level in levels()]
    assert np.argmin(best) == 1


def test_the_search_looks_at_no_more_reactions_than_it_may():
    assert [len(level[0].chosen) for level in search_subsets(planted(), most=2, beam=10)] == [1, 2]


def test_a_library_of_one_candidate_has_one_model():
    surrogate = planted({0: 1.5}, number=1)
    ((model,),) = search_subsets(surrogate, most=6, beam=10)
    assert model.chosen == (0,) and np.isclose(model.rates[0], 1.5, rtol=4 / np.sqrt(K))


def test_a_candidate_that_can_never_fire_is_in_no_model():
    surrogate = planted()
    surrogate.integrals[:, 4] = 0
    assert all(4 not in model.chosen for level in search_subsets(surrogate, most=2, beam=10) for model in level)


@pytest.mark.parametrize("size, choices", [(1, 90), (2, 4005), (3, 117480)])
def test_the_criterion_counts_reactions_and_models(size, choices):
    """−2 ℓ + s ln K + 2 ln (L choose s), with the number of pairs, triples, ... of 90 candidates."""
    assert comb(90, size) == choices
    assert np.isclose(criterion(-123.4, size, 90, 100), 246.8 + size * log(100) + 2 * log(choices), rtol=1e-12)


def test_a_whole_library_leaves_no_choice():
    assert np.isclose(criterion(0.0, 7, 7, 50), 7 * log(50), rtol=1e-12)
