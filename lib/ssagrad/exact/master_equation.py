"""The master equation on a finite set of states: the whole distribution of any small network, with the error known.

    master = MasterEquation.build(network, {"X": 10}, bounds={"X": 200})
    law = master.solve(parameters, times)
    law.mean("X"), law.variance(lambda x: x["X"] ** 2), law.marginal("X")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import csr_array, eye_array
from scipy.special import gammaln

from ssagrad.ensemble import Observable
from ssagrad.exact.closed_forms import check_times
from ssagrad.exact.linear_moments import state_rates
from ssagrad.network import Network, NetworkError


class TruncationError(RuntimeError):
    """The states that were kept do not hold enough of the probability, or are too many; the message has the numbers."""


@dataclass(frozen=True, eq=False)
class MasterEquation:
    """The master equation dp/dt = Σ_r a_r(θ)·pattern_r p on a finite set of states; what leaves the set is lost.

    Finite state projection: the probability kept in the set is a lower bound of the true one, and the lost mass bounds the error.

    Attributes:
        network: species and reactions.
        states: counts of each kept state [N, S]; the first is the initial state.
        targets: index of the state that each reaction leads to [N, R]; −1 outside the set, or where reactants are missing.
        bounds: largest counts that were asked for.

    Reference: Munsky and Khammash 2006, doi:10.1063/1.2145882.
    """

    network: Network
    states: np.ndarray
    targets: np.ndarray
    bounds: dict[str, int]

    @classmethod
    def build(
        cls, network: Network, initial_counts: Any, *, bounds: Mapping[str, int] | None = None, max_states: int = 1_000_000
    ) -> MasterEquation:
        """Enumerates the states that can be reached from the initial counts without exceeding a bound.

        Args:
            network: species and reactions.
            initial_counts: a mapping from species to molecules, or [S].
            bounds: largest count kept, by species; a species that a conservation law bounds needs none.
            max_states: refuse larger sets.

        Raises:
            NetworkError: an unknown species, or an initial count above its bound. TruncationError: too many states.
        """
        bounds = dict(bounds or {})
        start = np.asarray(network.counts_from(initial_counts))
        if start.ndim != 1:
            raise NetworkError(f"expected one initial state [{len(network.species)}], received shape {start.shape}")
        for name, largest in bounds.items():
            if name not in network.species:
                raise NetworkError(f"unknown species '{name}' in the bounds; the network has {list(network.species)}")
            if start[network.species.index(name)] > largest:
                raise NetworkError(f"initial count of '{name}' is above its bound {largest}")
        states, targets = _reachable(network, tuple(start.astype(int).tolist()), bounds, max_states)
        return cls(network, states, targets, bounds)

    def generator(self, parameters: Any) -> csr_array:
        """Matrix Q [N, N] of dp/dt = Q p: column = state that is left, row = state that is reached."""
        return _generator(state_rates(self.network, parameters, self.states), self.targets)

    def solve(self, parameters: Any, times: Any, *, tolerance: float = 1e-9) -> Distribution:
        """The distribution at each time, by uniformisation (error below 1e-12; time ~ largest total propensity × last time × N).

        Raises:
            TruncationError: more probability than `tolerance` left the set of states.

        Reference: Jensen 1953, doi:10.1080/03461238.1953.10419459.
        """
        times = check_times(times)
        rates = state_rates(self.network, parameters, self.states)
        probability, rows = np.zeros(len(self.states)), []
        probability[0] = 1.0
        fastest = rates.sum(1).max()
        jump = eye_array(len(self.states), format="csr") + _generator(rates, self.targets) / max(fastest, 1e-300)
        for interval in np.diff(times, prepend=0.0):
            probability = _uniformise(jump, probability, fastest * interval)
            rows.append(probability)
        lost = 1 - np.sum(rows, axis=1)
        if lost[-1] > tolerance:
            raise TruncationError(
                f"{lost[-1]:.2g} of the probability left the {len(self.states)} states by t = {times[-1]:g} (tolerance {tolerance:g}); "
                f"raise the bounds {self.bounds}, or the tolerance if that error is small enough"
            )
        return Distribution(self.network.species, times, self.states, np.array(rows), lost)


@dataclass(frozen=True, eq=False)
class Distribution:
    """Probabilities of states at each time. An observable is what `Ensemble` takes: a species, a function of counts by name, or nothing.

    Attributes:
        species: their names. times: [T]. states: counts [N, S]. probabilities: [T, N]. lost: probability outside the states [T].
    """

    species: tuple[str, ...]
    times: np.ndarray
    states: np.ndarray
    probabilities: np.ndarray
    lost: np.ndarray

    def mean(self, observable: Observable = None) -> np.ndarray:
        """Expectation Σ p f of the observable at each time [T], or of all species [T, S]."""
        return self.probabilities @ self._values(observable)

    def variance(self, observable: Observable = None) -> np.ndarray:
        """Variance of the observable at each time [T], or of all species [T, S]."""
        values = self._values(observable)
        centre = values.mean(0)  # any number; it keeps the digits when counts are large
        return self.probabilities @ (values - centre) ** 2 - (self.probabilities @ (values - centre)) ** 2

    def marginal(self, species: str) -> np.ndarray:
        """Probabilities [T, K] of 0 … K − 1 molecules of one species."""
        counts = self._values(species).astype(int)
        return np.stack([np.bincount(counts, weights) for weights in self.probabilities])

    def _values(self, observable: Observable) -> np.ndarray:
        if observable is None:
            return self.states.astype(float)
        if callable(observable):
            with jax.enable_x64(True):
                columns = {name: jnp.asarray(self.states[:, s], float) for s, name in enumerate(self.species)}
                return np.asarray(jax.vmap(observable)(columns), float)
        if observable not in self.species:
            raise NetworkError(f"unknown species '{observable}'; the network has {list(self.species)}")
        return self.states[:, self.species.index(observable)].astype(float)


def _reachable(network: Network, start: tuple[int, ...], bounds: dict[str, int], max_states: int) -> tuple[np.ndarray, np.ndarray]:
    """States [N, S], found from the first on, and the index that each reaction leads to [N, R]."""
    upper = [bounds.get(name, np.inf) for name in network.species]
    changes = [[int(v) for v in row] for row in network.stoichiometry]
    index, states, targets = {start: 0}, [start], []
    for state in states:  # grows on the way
        row = []
        for reaction, change in zip(network.reactions, changes, strict=True):
            target = tuple(x + v for x, v in zip(state, change, strict=True))
            possible = all(state[s] >= molecules for s, molecules in reaction.reactants)
            if not possible or any(x > largest for x, largest in zip(target, upper, strict=True)):
                row.append(-1)
                continue
            if target not in index:
                if len(states) >= max_states:
                    free = [name for name in network.species if name not in bounds]
                    raise TruncationError(f"more than {max_states} states can be reached with bounds {bounds}; species without a bound: {free}")
                index[target] = len(states)
                states.append(target)
            row.append(index[target])
        targets.append(row)
    return np.array(states), np.array(targets)


def _generator(rates: np.ndarray, targets: np.ndarray) -> csr_array:
    """Σ_r a_r · pattern_r: reaction r takes a_r from each state and gives it to the target, if that is kept."""
    source, reaction = np.nonzero(targets >= 0)
    num_states = len(rates)
    rows = np.concatenate([targets[source, reaction], np.arange(num_states)])
    columns = np.concatenate([source, np.arange(num_states)])
    values = np.concatenate([rates[source, reaction], -rates.sum(1)])
    return csr_array((values, (rows, columns)), shape=(num_states, num_states))


def _uniformise(jump: csr_array, probability: np.ndarray, mean_jumps: float) -> np.ndarray:
    """Σ_k Poisson(k; mean_jumps) jump^k probability, over all k within nine standard deviations and forty of the mean."""
    if mean_jumps == 0:
        return probability
    half = 9 * np.sqrt(mean_jumps) + 40
    k = np.arange(max(0, int(mean_jumps - half)), int(mean_jumps + half) + 1)
    weights = np.exp(k * np.log(mean_jumps) - mean_jumps - gammaln(k + 1))
    for _ in range(k[0]):
        probability = jump @ probability
    total = np.zeros_like(probability)
    for weight in weights / weights.sum():
        total += weight * probability
        probability = jump @ probability
    return total
