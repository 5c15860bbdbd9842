"""What models expect of the transitions between observations, by exact simulation: means, covariances and their derivatives in the rates.

Every transition of every model starts copies of paths at the observed state; one batch simulates all of them, each path with its own network. With
the events N_i and the combinations of reactants c_i, the martingales M_i = N_i − r_i ∫c_i dt split the increment of a path into
F = Σ_i r_i Δ_i ∫c_i dt and M = Σ_i Δ_i M_i, whose mean is zero and whose covariance is Q = Σ_i r_i E∫c_i dt Δ_i Δ_iᵀ. Hence

    mean of the increments     E F                   (Dynkin controls of degree 1: the scatter of events drops out, without bias)
    its derivative in r_i      E∫c_i dt (1 + A) Δ_i  (M_i is the score of ln r_i, and A M is the part of F that is linear in M: to first order)
    covariance                 (1 + A) Q (1 + A)ᵀ + Cov(F − A M)

so the derivatives in the rates of all candidates, also of those that a model does not have, come from one simulation of that model.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import jax
import numpy as np

from ssagrad.kernel import EVENT_COUNTS, Accumulator
from ssagrad.network import Network
from ssagrad.simulate import simulate, simulate_with
from ssagrad.structure.candidates import Library
from ssagrad.structure.observed import Transitions
from ssagrad.structure.quasi_likelihood import DISCRETENESS, Surrogate
from ssagrad.structure.tabulated import tabulated_network

_MOST_EVENTS = 20_000  # of one transition, where a model explodes


class Simulated(NamedTuple):
    """Moments of the increments of single paths, for B models of s reactions.

    rates: [B, s]. means: [B, K, S]. covariances: [B, K, S, S]. integrals: G of the model's own reactions [B, K, s]. impacts: w = (1 + A) Δ
        [B, K, s, S].
    propagators: 1 + A [B, K, S, S]. left: Cov(F − A M) [B, K, S, S]. mean_errors: covariance of the error of the means [B, K, S, S].
    side_integrals: G of the library's left sides [B, K, C]. events: simulated [B]. capped: share of the paths that were cut off [B].
    """

    rates: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    integrals: np.ndarray
    impacts: np.ndarray
    propagators: np.ndarray
    left: np.ndarray
    mean_errors: np.ndarray
    side_integrals: np.ndarray
    events: np.ndarray
    capped: np.ndarray


def simulate_models(key: jax.Array, library: Library, chosen: np.ndarray, rates: np.ndarray, durations: np.ndarray, starts: np.ndarray) -> Simulated:
    """Simulates B models over K transitions, from P copies of the state at the start of each; all models from the same random numbers.

    A path that explodes is cut off at 20,000 events, which makes its model as bad as it is.

    Args:
        chosen: candidates of each model [B, s]. rates: [B, s]; 0 for an entry that is not used. durations: [K].
        starts: whole numbers [K, P, S].
    """
    (models, size), (number, copies, num_species) = chosen.shape, starts.shape
    sides, common = left_sides(library), np.asarray(jax.random.key_data(jax.random.split(key, number * copies)))
    tables = {"reactants": library.reactants[chosen], "products": library.products[chosen], "rates": rates}
    ends, (fired, integrals) = simulate_with(
        (EVENT_COUNTS, _side_integrals(tuple(map(tuple, sides.tolist())))),
        jax.random.wrap_key_data(np.tile(common, (models, 1))),
        tabulated_network(library.species, size),
        {name: np.repeat(np.asarray(table, np.float32), number * copies, axis=0) for name, table in tables.items()},
        np.tile(starts.reshape(-1, num_species), (models, 1)),
        [1.0],
        num_paths=models * number * copies,
        intervals=np.tile(np.repeat(durations, copies), models)[:, None].astype(np.float32),
        parameters_per_path=True,
        max_events=_MOST_EVENTS,
        on_exhausted="freeze",
    )
    fired, integrals = (np.asarray(part, float).reshape(models, number, copies, -1) for part in (fired, integrals))
    own = np.take_along_axis(integrals, _side_of(library)[chosen][:, None, None], axis=-1)
    steady = np.moveaxis(library.combinations(starts)[..., chosen], 2, 0) * durations[:, None, None]
    events, capped = (np.asarray(part, float).reshape(models, -1) for part in (ends.num_events, ends.exhausted))
    moments = _moments(fired, own, steady, rates, library.changes[chosen].astype(float))
    return Simulated(rates, *moments, side_integrals=integrals.mean(2), events=events.sum(-1), capped=capped.mean(-1))


def surrogate_near(simulated: Simulated, model: int, library: Library, transitions: Transitions) -> Surrogate:
    """The increments as functions of the rates of all candidates, linear around one of the simulated models."""
    integrals = simulated.side_integrals[model][:, _side_of(library)]
    impacts = np.einsum("kxy,ly->klx", simulated.propagators[model], library.changes)
    moved = np.einsum("s,ks,ksx->kx", simulated.rates[model], simulated.integrals[model], simulated.impacts[model])
    return Surrogate(
        targets=transitions.ends - transitions.starts - simulated.means[model] + moved,
        integrals=integrals,
        impacts=impacts,
        left=simulated.left[model] / transitions.averaged + np.diag(transitions.extra),
        scale=1 / transitions.averaged,
    )


def clouds_around_means(key: jax.Array, network: Network, parameters: Mapping[str, float], means: np.ndarray, times: np.ndarray, copies: int) -> np.ndarray:
    """States at the start of each transition [T − 1, copies, S]: paths of a model, moved to the observed means [T, S], in whole numbers.

    The propensity of two molecules that meet has the mean of a product, which is not the product of means; the paths bring the covariances.
    """
    path_key, first_key, rounding_key = jax.random.split(key, 3)
    first = np.floor(means[0] + np.asarray(jax.random.uniform(first_key, (copies, means.shape[1]))))
    paths = simulate(
        path_key, network, parameters, first, times, num_paths=copies, start_time=float(times[0]), max_events=50 * _MOST_EVENTS, on_exhausted="freeze"
    )
    counts = np.asarray(paths.counts, float)
    moved = counts - counts.mean(0) + means
    rounded = np.floor(moved + np.asarray(jax.random.uniform(rounding_key, moved.shape)))
    return np.moveaxis(np.maximum(rounded, 0), 0, 1)[:-1]


def left_sides(library: Library) -> np.ndarray:
    """The distinct left sides of the candidates [C, S]; their combinations are all that propensities are made of."""
    return np.unique(library.reactants, axis=0)


def _side_of(library: Library) -> np.ndarray:
    """Which left side each candidate has [L]."""
    position = {tuple(side): c for c, side in enumerate(left_sides(library).tolist())}
    return np.array([position[tuple(side)] for side in library.reactants.tolist()])


@cache
def _side_integrals(sides: tuple[tuple[int, ...], ...]) -> Accumulator:
    """∫ of the combinations of each left side."""

    def increments(values, step):
        found = []
        for side in sides:
            ways = step.duration
            for count, molecules in zip(step.counts, side, strict=True):
                ways = ways * (count if molecules == 1 else count * (count - 1) / 2 if molecules == 2 else 1)
            found.append(ways)
        return tuple(found)

    return Accumulator(size=lambda network: len(sides), increments=increments)


def _moments(fired: np.ndarray, integrals: np.ndarray, steady: np.ndarray, rates: np.ndarray, changes: np.ndarray) -> tuple[np.ndarray, ...]:
    """From events and ∫c [B, K, P, s] of each copy, ∫c if the state stayed as it was, rates [B, s] and changes [B, s, S]: what `Simulated` holds."""
    per_copy, copies = rates[:, None, None], fired.shape[2]
    drift = np.einsum("bkps,bsx->bkpx", per_copy * (integrals - steady), changes)  # where a copy started is no news
    drift -= drift.mean(2, keepdims=True)
    moved = np.einsum("bkps,bsx->bkpx", fired - per_copy * integrals, changes)
    own = integrals.mean(2)
    flows = rates[:, None] * own
    identity = np.eye(changes.shape[-1])
    scatter = np.einsum("bks,bsx,bsy->bkxy", flows, changes, changes)
    linear = np.einsum("bkpx,bkpy->bkxy", drift, moved) / copies @ np.linalg.inv(scatter + DISCRETENESS * identity)
    rest = drift - np.einsum("bkxy,bkpy->bkpx", linear, moved)
    left = np.einsum("bkpx,bkpy->bkxy", rest, rest) / copies
    propagators = identity + linear
    covariances = propagators @ scatter @ np.swapaxes(propagators, -1, -2) + left
    impacts = np.einsum("bkxy,bsy->bksx", propagators, changes)
    means = np.einsum("bks,bsx->bkx", flows, changes)
    return means, covariances, own, impacts, propagators, left, np.einsum("bkpx,bkpy->bkxy", drift, drift) / copies**2
