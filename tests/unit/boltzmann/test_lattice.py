"""The lattice simulator: laws of its parts, both selections, survivors, scores with mean 0, mistakes."""

import jax
import numpy as np
import pytest

from ssagrad.boltzmann.hopping import generator
from ssagrad.boltzmann.lattice import HUNTER, PREY, Rates, _pick, lattice_runs, surviving_runs


def counts(runs):
    return np.stack([(runs.sites == kind).sum((2, 3)) for kind in (PREY, HUNTER)], axis=-1)


def test_runs_begin_with_the_given_numbers_and_repeat_bit_for_bit():
    options = {"num_runs": 6, "num_steps": 8, "side": 12, "initial": (20, 10)}
    one, other = lattice_runs(jax.random.key(0), **options), lattice_runs(jax.random.key(0), **options)
    assert one.sites.shape == (6, 9, 12, 12) and one.sites.dtype == np.int8 and one.scores.shape == (6, 9, 3)
    assert (counts(one)[:, 0] == [20, 10]).all() and set(np.unique(one.sites)) == {0, 1, 2}
    assert np.array_equal(one.sites, other.sites) and np.array_equal(one.scores, other.scores)


def test_without_rates_nothing_but_places_change():
    runs = lattice_runs(jax.random.key(1), num_runs=4, num_steps=10, side=10, initial=(30, 30), rates=Rates(0.0, 0.0, 0.0))
    assert (counts(runs) == [30, 30]).all() and (runs.sites[:, 0] != runs.sites[:, 5]).any()


def test_hunters_alone_die_exponentially():
    """Means of 400 runs at t = 1 … 10 are within 4 standard errors of 50 e^{−0.2 t}."""
    runs = lattice_runs(jax.random.key(2), num_runs=400, num_steps=10, side=10, initial=(0, 50), rates=Rates(0.0, 0.2, 0.0))
    hunters, share = counts(runs)[..., 1], np.exp(-0.2 * np.arange(11))
    error = np.sqrt(50 * share * (1 - share) / 400)
    assert (np.abs(hunters.mean(0) - 50 * share)[1:] < 4 * error[1:]).all()


def test_row_first_is_uniform_over_rows_and_uniform_is_uniform_over_sites():
    """Row 0 has one hit, row 1 has three: row 0 is drawn with probability 1/2, or 1/4."""
    hits = np.zeros((20_000, 4, 4), bool)
    hits[:, 0, 2] = hits[:, 1, :3] = True
    for row_first, share in ((True, 0.5), (False, 0.25)):
        found, row, column = _pick(generator(jax.random.key(3)), hits, row_first)
        assert found.all() and hits[np.arange(len(hits)), row, column].all()
        assert abs((row == 0).mean() - share) < 4 * np.sqrt(share * (1 - share) / len(hits))
    assert not _pick(generator(jax.random.key(4)), np.zeros((2, 3, 3), bool), True)[0].any()


def test_a_full_lattice_has_no_room_for_a_birth():
    runs = lattice_runs(jax.random.key(5), num_runs=2, num_steps=3, side=4, initial=(16, 0), rates=Rates(5.0, 0.0, 0.0))
    assert (counts(runs) == [16, 0]).all()


def test_scores_have_mean_zero():
    """Three scores at four times, 600 runs, all within 4 standard errors; predation happens and is refused."""
    runs = lattice_runs(jax.random.key(6), num_runs=600, num_steps=4, side=12, initial=(40, 40))
    scores = runs.scores[:, 1:]
    assert (np.abs(scores.mean(0)) < 4 * scores.std(0) / np.sqrt(600)).all() and (scores.std(0) > 0).all() and not runs.scores[:, 0].any()


def test_survivors_have_both_species_and_say_of_how_many():
    runs = surviving_runs(jax.random.key(7), num_runs=5, batch=8, num_steps=40, side=10, initial=(10, 6))
    assert len(runs.sites) == 5 and runs.survived.all() and runs.num_simulated % 8 == 0
    with pytest.raises(RuntimeError, match="too small"):
        surviving_runs(jax.random.key(8), num_runs=1, batch=2, num_steps=20, side=5, initial=(5, 5), rates=Rates(0.0, 5.0, 0.0))


@pytest.mark.parametrize(
    "change, message",
    [({"selection": "column"}, "'column'"), ({"rates": Rates(predation=1.5)}, "predation ≤ 1"), ({"initial": (90, 20)}, "at most 100 molecules")],
)
def test_a_mistake_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        lattice_runs(jax.random.key(9), **({"num_runs": 1, "num_steps": 1, "side": 10} | change))
