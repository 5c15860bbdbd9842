"""The reactions of the epidemic that the paper learns, with their rates: from one path and from the mean of 200, among 36 candidates."""

import jax
import numpy as np
import pytest
from support import LIMIT

from ssagrad import Network, simulate
from ssagrad.structure import discover, enumerate_reactions

RATES = {"S + I -> 2 I": 0.02, "I -> R": 5.0}
TIMES = np.linspace(0.0, 1.0, 101)
NETWORK = Network.from_text("S + I -> 2 I @ k1; I -> R @ k2")


@pytest.mark.parametrize("number", [1, 200])
def test_both_reactions_are_found_with_rates_within_their_errors(number, monkeypatch):
    """No third reaction in the first place, and the errors are those of 2000 infections and recoveries in every path."""
    monkeypatch.setattr("ssagrad.structure.discovery._COPIES", 9600)  # a quarter of the usual, for speed
    paths = simulate(jax.random.key(10 + number), NETWORK, {"k1": 0.02, "k2": 5.0}, {"S": 1980, "I": 20}, TIMES, num_paths=number)
    means = np.asarray(paths.counts, float).mean(0)
    library = enumerate_reactions(NETWORK.species, conserves_molecules=True)
    assert library.size == 36
    found = discover(
        means, TIMES, species=NETWORK.species, candidates=library, averaged=number, most_reactions=3, num_finalists=3, beam=10, key=jax.random.key(3)
    )
    best = found.best
    assert set(best.reactions) == set(RATES)
    for text, rate, error in zip(best.reactions, best.rates, best.standard_errors, strict=True):
        assert 0.8 / np.sqrt(2000 * number) < error < 1.5 / np.sqrt(1900 * number)
        assert abs(rate / RATES[text] - 1) < LIMIT * error
