"""Hopping: every molecule has one turn, sites hold at most one, reactions do what their table says."""

import jax
import numpy as np
import pytest

from ssagrad.boltzmann.hopping import generator, hop, outcome_tables, ring_neighbours, square_neighbours

PREDATION = {(1, 2): (2, 2), (2, 1): (2, 2)}


def test_neighbours_are_mutual():
    for table in (square_neighbours(5), ring_neighbours(7)):
        for site, around in enumerate(table):
            assert all(site in table[one] for one in around) and len(set(around)) == len(around)


def test_without_reactions_numbers_are_conserved():
    rng = generator(jax.random.key(0))
    sites = rng.integers(0, 3, (30, 100), dtype=np.uint8)
    before = [(sites == kind).sum(1) for kind in (1, 2)]
    for _ in range(20):
        assert not hop(rng, sites, square_neighbours(10), outcome_tables({}), 1.0).any()
    assert all(np.array_equal((sites == kind).sum(1), number) for kind, number in zip((1, 2), before, strict=True))


def test_a_lone_molecule_moves_one_step_each_way_with_equal_chances():
    """Of 4000 runs, each of four neighbours gets a quarter within 4 standard errors; nobody stays."""
    sites = np.zeros((4_000, 25), np.uint8)
    sites[:, 12] = 1
    hop(generator(jax.random.key(1)), sites, square_neighbours(5), outcome_tables({}), 1.0)
    shares = (sites == 1).mean(0)[square_neighbours(5)[12]]
    assert (sites > 0).sum(1).max() == 1 and shares.sum() == 1.0
    assert np.abs(shares - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 4_000)


def test_two_molecules_on_two_sites_meet_for_certain():
    """On a ring of two sites, full: with probability 1 the first to move eats, or is eaten; then both are hunters. With 0, each refuses once."""
    sites = np.array([[1, 2]] * 50, np.uint8)
    hop(generator(jax.random.key(2)), sites, ring_neighbours(2), outcome_tables(PREDATION), 1.0)
    assert (sites == 2).all()
    sites = np.array([[1, 2]] * 50, np.uint8)
    refused = hop(generator(jax.random.key(3)), sites, ring_neighbours(2), outcome_tables(PREDATION), 0.0)
    assert (sites == [1, 2]).all() and (refused == 2).all()


def test_what_moved_into_an_annihilated_site_does_not_move_again():
    """Pairs that annihilate leave empty sites: over a step the number changes by an even number, and hops are by one site at most."""
    rng = generator(jax.random.key(4))
    sites = (rng.random((200, 60)) < 0.5).astype(np.uint8)
    before = sites.sum(1).astype(int)
    hop(rng, sites, ring_neighbours(60), outcome_tables({(1, 1): (0, 0)}), 0.5)
    assert ((before - sites.sum(1)) % 2 == 0).all() and (sites <= 1).all() and (sites.sum(1) < before).mean() > 0.9


def test_runs_do_not_touch_one_another():
    """An empty run stays empty beside a full one."""
    sites = np.zeros((3, 16), np.uint8)
    sites[1] = 1
    hop(generator(jax.random.key(5)), sites, square_neighbours(4), outcome_tables({}), 1.0)
    assert not sites[[0, 2]].any() and sites[1].all()


def test_too_many_sites_are_refused():
    with pytest.raises(ValueError, match="use batches"):
        hop(generator(jax.random.key(6)), np.zeros((4096, 2), np.uint8), ring_neighbours(2), outcome_tables({}), 1.0)
