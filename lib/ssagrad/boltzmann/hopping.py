"""Random walkers that exclude one another: in random order, each tries one hop, and reacts with whom it meets.

Exact in law, with no parallel update: in every step all molecules of a run come one after the other, in an order drawn anew. The loop over molecules
is in Python and takes all runs at once, so that a step of a hundred runs costs about as much as that of one.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

SPECIES = 3  # the bits of a site that say which species it holds, 0 for none
MOVED = 4  # the bit of a molecule that has had its turn
_MOST_SITES, _MOST_RUNS = 2**22, 2**12


def generator(key: jax.Array) -> np.random.Generator:
    """NumPy's random stream for what is simulated outside of JAX, seeded by a JAX key."""
    return np.random.Generator(np.random.SFC64(np.asarray(jax.random.key_data(key)).tolist()))


def square_neighbours(side: int) -> np.ndarray:
    """Sites up, down, left and right of each site [side², 4] of a periodic square lattice, in row-major order."""
    sites = np.arange(side * side).reshape(side, side)
    return np.stack([np.roll(sites, shift, axis).ravel() for axis in (0, 1) for shift in (1, -1)], axis=1)


def ring_neighbours(length: int) -> np.ndarray:
    """Sites left and right of each site [length, 2] of a ring."""
    sites = np.arange(length)
    return np.stack([np.roll(sites, 1), np.roll(sites, -1)], axis=1)


def outcome_tables(reactions: dict[tuple[int, int], tuple[int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What becomes of a mover and of the site that it tries, by code 64 accepted + 8 mover + site, and which codes are refused encounters.

    Args:
        reactions: {(mover, met): (left behind, put in the place of the met)}, species 1 to 3, 0 for empty.
    """
    mover, site, refused = (np.zeros((2, 8, 8), np.uint8) for _ in range(3))
    for accepted in range(2):
        for x in range(8):
            for y in range(8):
                met = reactions.get((x, y & SPECIES)) if x else None
                left, right, react = x, y, met is not None and accepted
                if 0 < x < MOVED and y == 0:
                    left, right = 0, x | MOVED
                elif react:
                    left, right = (one | MOVED if one else 0 for one in met)
                mover[accepted, x, y], site[accepted, x, y], refused[accepted, x, y] = left, right, met is not None and not accepted
    return mover.ravel(), site.ravel(), refused.ravel()


def hop(rng: np.random.Generator, sites: np.ndarray, neighbours: np.ndarray, tables: Any, probability: float) -> np.ndarray:
    """One hop attempt of every molecule, in place; returns the number of encounters that did not react [R].

    A molecule picks one of its neighbouring sites: if that is empty, it moves there; if not, the two react with the given probability where they
    have a reaction, and else stay. What has moved or reacted has had its turn.

    Args:
        sites: uint8 [R, S], species of each site. neighbours: [S, D]. tables: of `outcome_tables`.

    Raises:
        ValueError: more sites or runs than a sort key has bits for.
    """
    num_runs, num_sites = sites.shape
    if sites.size >= _MOST_SITES or num_runs >= _MOST_RUNS:
        raise ValueError(f"expected fewer than {_MOST_SITES} sites and {_MOST_RUNS} runs in all, received {sites.size} and {num_runs}: use batches")
    flat = sites.reshape(-1)
    places, columns, sizes = _turns(rng, flat, num_runs, num_sites)
    site = places % num_sites
    targets = places - site + neighbours[site, rng.integers(0, neighbours.shape[1], places.shape, dtype=np.uint8)]
    accepted = (rng.random(places.shape, np.float32) < probability).astype(np.uint8) << np.uint8(6)
    mover_becomes, site_becomes, is_refused = tables
    refused = np.zeros(num_runs, np.int64)
    for place, target, accept, size in zip(places, targets, accepted, sizes, strict=True):
        place, target = place[:size], target[:size]
        code = (flat[place] << 3) + flat[target] + accept[:size]
        flat[place], flat[target] = mover_becomes[code], site_becomes[code]
        refused[:size] += is_refused[code]
    flat &= SPECIES
    found = np.empty_like(refused)
    found[columns] = refused
    return found


def _turns(rng: np.random.Generator, flat: np.ndarray, num_runs: int, num_sites: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Places of the molecules in random order [most molecules, R], which run each column is (the fullest first), and how many have a k-th turn."""
    occupied = np.flatnonzero(flat).astype(np.uint64)
    run = occupied // num_sites
    order = (run << np.uint64(52)) | (rng.integers(0, 2**30, len(run), dtype=np.uint64) << np.uint64(22)) | occupied
    order.sort()
    places, run = (order & np.uint64(_MOST_SITES - 1)).astype(np.int64), (order >> np.uint64(52)).astype(np.int64)
    counts = np.bincount(run, minlength=num_runs)
    columns = np.argsort(-counts, kind="stable")
    turn = np.arange(len(run)) - (np.cumsum(counts) - counts)[run]
    table = np.zeros((counts.max(initial=0), num_runs), np.int64)
    table[turn, np.argsort(columns)[run]] = places
    sizes = (counts[columns] > np.arange(len(table))[:, None]).sum(1)
    return table, columns, sizes
