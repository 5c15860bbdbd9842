"""Probabilities of finitely many states at several times, and the statistics that they give."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.ensemble import Observable
from ssagrad.network import NetworkError


@dataclass(frozen=True, eq=False)
class Distribution:
    """Probabilities of states at each time. An observable is what `Ensemble` takes: a species, a function of counts by name, or nothing.

    Attributes:
        species: their names. times: [T], or numbers of events. states: counts [N, S]. probabilities: [T, N].
        lost: probability outside the states [T]; of a stationary law, where nothing is lost, that of the states at the bounds.
    """

    species: tuple[str, ...]
    times: np.ndarray
    states: np.ndarray
    probabilities: np.ndarray
    lost: np.ndarray

    def mean(self, observable: Observable = None) -> np.ndarray:
        """Expectation Σ p f of the observable at each time [T], or of all species [T, S]."""
        return self.probabilities @ self.values(observable)

    def variance(self, observable: Observable = None) -> np.ndarray:
        """Variance of the observable at each time [T], or of all species [T, S]."""
        values = self.values(observable)
        centre = values.mean(0)  # any number; it keeps the digits when counts are large
        return self.probabilities @ (values - centre) ** 2 - (self.probabilities @ (values - centre)) ** 2

    def marginal(self, species: str) -> np.ndarray:
        """Probabilities [T, K] of 0 … K − 1 molecules of one species."""
        counts = self.values(species).astype(int)
        return np.stack([np.bincount(counts, weights) for weights in self.probabilities])

    def values(self, observable: Observable = None) -> np.ndarray:
        """The observable in each state [N] in float64, or all species [N, S], or an array-valued observable [N, K]."""
        if observable is None:
            return self.states.astype(float)
        if callable(observable):
            with jax.enable_x64(True):
                columns = {name: jnp.asarray(self.states[:, s], float) for s, name in enumerate(self.species)}
                return np.asarray(jax.vmap(observable)(columns), float)
        if observable not in self.species:
            raise NetworkError(f"unknown species '{observable}'; the network has {list(self.species)}")
        return self.states[:, self.species.index(observable)].astype(float)
