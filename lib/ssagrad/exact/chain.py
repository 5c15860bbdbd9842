"""Laws of a Markov chain on finitely many states, and their derivatives in the parameters: plain linear algebra in NumPy and SciPy.

Every law is an array [1 + M, N]: the probabilities, then their derivatives in M parameters, which are carried along exactly (forward
sensitivities): where p moves by p ← A p, its derivative moves by dp ← A dp + dA p.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, diags_array, eye_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu

SYMMETRIC = {"SymmetricMode": True}
Step = Callable[[np.ndarray], np.ndarray]


class Chain(NamedTuple):
    """Propensities [N, R] of the states, their derivatives [M, N, R], and the state [N, R] that each reaction leads to (−1: none)."""

    rates: np.ndarray
    slopes: np.ndarray
    targets: np.ndarray


def generator(rates: np.ndarray, targets: np.ndarray) -> csr_array:
    """Σ_r a_r · pattern_r [N, N] for rates [N, R]: reaction r takes a_r from each state and gives it to the target, if that is kept.

    Column = state that is left, row = state that is reached.
    """
    source, reaction = np.nonzero(rates)
    values, target, source = rates[source, reaction], targets[source, reaction].astype(np.int32), source.astype(np.int32)
    kept = target >= 0
    places = np.concatenate([target[kept], source]), np.concatenate([source[kept], source])
    return csr_array((np.concatenate([values[kept], -values]), places), shape=(len(rates), len(rates)))


def over_time(chain: Chain, times: np.ndarray, *, average: bool) -> np.ndarray:
    """Laws [T, 1 + M, N] at each time, or at a time drawn uniformly from the start to it, from state 0, by uniformisation.

        p(t) = Σ_k Poisson(k; q t) (1 + Q/q)^k p(0),   ∫_0^t p ds = Σ_k P(Poisson(q t) > k)/q (1 + Q/q)^k p(0)

    with the largest total propensity q, which is held fixed in the derivative (the law does not depend on it).
    """
    fastest = chain.rates.sum(1).max() or 1.0
    step = _step(chain.rates / fastest, chain.slopes / fastest, chain.targets)
    law, rows = _start(chain), []
    integral = np.zeros_like(law)
    for interval, time in zip(np.diff(times, prepend=0.0), times, strict=True):
        law, added = _uniformise(step, law, fastest * interval, average)
        integral += added / fastest
        rows.append(integral / time if average and time > 0 else law)
    return np.array(rows)


def over_events(chain: Chain, num_events: np.ndarray, *, average: bool) -> np.ndarray:
    """Laws [T, 1 + M, N] after each number of events, or after a number drawn uniformly from 1 to it; absorbing states stay."""
    step = _step(*_chances(chain), chain.targets)
    law, rows = _start(chain), []
    total, fired = np.zeros_like(law), 0
    for events in num_events.astype(int):
        for _ in range(events - fired):
            law = step(law)
            total += law
        fired = events
        rows.append(total / events if average and events > 0 else law)
    return np.array(rows)


def closed_classes(chain: Chain) -> list[np.ndarray]:
    """Sets of states, by index, that the chain can wander in for ever: strongly connected, without a way out. At bounds it is reflected."""
    source, reaction = np.nonzero((chain.targets >= 0) & (chain.rates > 0))
    target, num_states = chain.targets[source, reaction], len(chain.rates)
    graph = csr_array((np.ones(len(source)), (source, target)), shape=(num_states, num_states))
    num_classes, label = connected_components(graph, connection="strong")
    closed = np.full(num_classes, True)
    closed[label[source[label[source] != label[target]]]] = False
    return [np.flatnonzero(label == c) for c in np.flatnonzero(closed)]


def at_rest(chain: Chain, members: np.ndarray, *, events: bool) -> np.ndarray:
    """Stationary law [1 + M, N] of a chain whose only closed class is `members`, reflected at the bounds, by sparse LU.

        Q π = 0, Σ π = 1;   Q dπ = −dQ π, Σ dπ = 0;   of the jump chain π_e ∝ π a₀, with the total propensity a₀.
    """
    kept = chain.targets >= 0
    rates, slopes = np.where(kept, chain.rates, 0.0), np.where(kept, chain.slopes, 0.0)
    matrix, (num_slopes, num_states, _) = generator(rates, chain.targets), slopes.shape
    law = np.zeros((1 + num_slopes, num_states))
    if num_states == 1:
        law[0] = 1.0
        return law
    anchor = members[0]
    for slack in (1e-12, 0.0, 0.0, 0.0):  # relative to the probability of one state: first roughly, then to that of a likely one
        others = np.delete(np.arange(num_states), anchor)
        part = matrix[others][:, others]
        part = splu((part + slack * diags_array(part.diagonal())).tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=SYMMETRIC)
        law[0, anchor] = 1.0
        law[0, others] = part.solve(-matrix[others][:, [anchor]].toarray()[:, 0])
        if not slack and law[0].max() < 1e6:
            break
        anchor = np.argmax(law[0])
    law[0] /= law[0].sum()
    for row, slope in zip(law[1:], slopes, strict=True):
        row[others] = part.solve(-(generator(slope, chain.targets) @ law[0])[others])
    if events and rates[members].any():
        weighted = law * rates.sum(1)
        weighted[1:] += law[0] * slopes.sum(2)
        law = weighted / weighted[0].sum()
    law[1:] -= law[0] * law[1:].sum(1, keepdims=True)
    return law


def _chances(chain: Chain) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [N, R] of the next reaction, a_r/a₀, and their derivatives [M, N, R]; zero in absorbing states."""
    total = chain.rates.sum(1, keepdims=True)
    scale = np.where(total > 0, 1 / np.where(total > 0, total, 1), 0.0)
    chances = chain.rates * scale
    return chances, (chain.slopes - chances * chain.slopes.sum(2, keepdims=True)) * scale


def _start(chain: Chain) -> np.ndarray:
    law = np.zeros((1 + len(chain.slopes), len(chain.rates)))
    law[0, 0] = 1.0
    return law


def _step(chances: np.ndarray, slopes: np.ndarray, targets: np.ndarray) -> Step:
    """One jump of a law [1 + M, N]: with the chances [N, R] to the targets, with the rest it stays."""
    jump = eye_array(len(chances), format="csr") + generator(chances, targets)
    pushes = [generator(slope, targets) for slope in slopes]

    def step(law):
        after = np.stack([jump @ row for row in law])
        for row, push in zip(after[1:], pushes, strict=True):
            row += push @ law[0]
        return after

    return step


def _uniformise(step: Step, law: np.ndarray, mean_jumps: float, integral: bool) -> tuple[np.ndarray, np.ndarray]:
    """Σ_k P(K = k) step^k law and, if asked for, Σ_k P(K > k) step^k law, with K Poisson of that mean."""
    later, sooner = np.zeros_like(law), np.zeros_like(law)
    if mean_jumps == 0:
        return law, sooner
    first, weights = _poisson(mean_jumps)
    beyond = np.concatenate([np.ones(first), np.append(np.cumsum(weights[:0:-1])[::-1], 0.0)])
    for k, more in enumerate(beyond):
        if k >= first:
            later += weights[k - first] * law
        if integral and more > 0:
            sooner += more * law
        if k < len(beyond) - 1:
            law = step(law)
    return later, sooner


def _poisson(mean: float) -> tuple[int, np.ndarray]:
    """The first k that matters and the probabilities from there on, those below 1e-20 of the largest left out."""
    half = 10 * np.sqrt(mean) + 60
    k = np.arange(max(0, int(mean - half)), int(mean + half) + 1)
    logarithms = np.cumsum(np.append(0.0, np.log(mean / k[1:])))
    weights = np.exp(logarithms - logarithms.max())
    matters = np.flatnonzero(weights > 1e-20)
    weights = weights[matters[0] : matters[-1] + 1]
    return int(k[matters[0]]), weights / weights.sum()
