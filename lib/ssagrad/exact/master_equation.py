"""The master equation on a finite set of states: the whole law of any small network and its exact derivative, with the error known.

    master = MasterEquation.build(network, {"X": 10}, bounds={"X": 200})
    law = master.solve(parameters, times)                       # float64, NumPy
    law.mean("X"), law.variance(lambda x: x["X"] ** 2), law.marginal("X")
    master.gradient(parameters, times, "X")                     # float64, NumPy: d mean / d parameter
    jax.grad(lambda p: loss(master.ensemble(p, times).mean("X")))(parameters)

All three take `num_events=` instead of times (the law of the jump chain), `average=True`, and np.inf for the stationary law.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import csr_array

from ssagrad.ensemble import Ensemble, Observable
from ssagrad.exact.chain import Chain, at_rest, closed_classes, generator, over_events, over_time
from ssagrad.exact.closed_forms import check_times
from ssagrad.exact.differentiable import first_order
from ssagrad.exact.distribution import Distribution
from ssagrad.exact.states import TruncationError, check_rates, describe, rates_and_slopes, reachable, state_rates, traced_rates
from ssagrad.network import Network, NetworkError


@dataclass(frozen=True, eq=False)
class MasterEquation:
    """The master equation dp/dt = Σ_r a_r(θ)·pattern_r p on a finite set of states; what leaves the set is lost.

    Finite state projection: the probability kept in the set is a lower bound of the true one, and the lost mass bounds the error.
    Its derivative is the exact derivative of the truncated law: with p ← A p goes dp ← A dp + dA p (forward sensitivities).

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
        states, targets = reachable(network, start, bounds, max_states)
        return cls(network, states, targets, bounds)

    def generator(self, parameters: Any) -> csr_array:
        """Matrix Q [N, N] of dp/dt = Q p: column = state that is left, row = state that is reached."""
        return generator(state_rates(self.network, parameters, self.states), self.targets)

    def solve(
        self, parameters: Any, times: Any = None, *, num_events: Any = None, average: bool = False, tolerance: float = 1e-9
    ) -> Distribution:
        """The law at each time, or after each number of events, in float64 (error below 1e-12).

        Physical time by uniformisation; the jump chain by its transition matrix, p_a = a_r/a₀, where absorbing states stay; the
        stationary law by sparse LU, with transitions beyond the bounds left out. The state after N events need not converge: where
        every event changes a parity it has period 2. Average over events then, or over num_events=[N, N + 1].

        Time ~ N × (largest total propensity × last time, or last number of events); a stationary law of 10⁵ states takes seconds.

        Args:
            times: [T], from 0 on, not decreasing; the last may be np.inf, the stationary law.
            num_events: [T] whole numbers instead of times; np.inf is the long-run average over events, π_e ∝ π a₀.
            average: the law at a time drawn uniformly from [0, t], or after a number of events drawn uniformly from 1 … N: means
                are then averages over time, or over events.
            tolerance: largest probability that may be lost, or, in a stationary law, be in states that a bound cuts off from others.

        Raises:
            TruncationError: more probability than `tolerance` is lost. NetworkError: bad times or parameters; or a stationary law that
            is not unique, since there are several sets of states, such as absorbing ones, that are never left.

        References: Jensen 1953, doi:10.1080/03461238.1953.10419459; Heidelberger and Goyal 1988, "Sensitivity analysis of continuous
        time Markov chains using uniformization".
        """
        clock = _Clock._read(times, num_events, average)
        rates, slopes = rates_and_slopes(self.network, parameters, self.states, slopes=False)
        law = self._law(rates, slopes, np.zeros(0), clock, tolerance)
        return Distribution(self.network.species, clock.values, self.states, law[:, 0], self._lost(law, rates, clock)[:, 0])

    def gradient(
        self,
        parameters: Any,
        times: Any = None,
        observable: Observable = None,
        *,
        num_events: Any = None,
        average: bool = False,
        tolerance: float = 1e-9,
    ) -> Any:
        """Derivative Σ (∂p/∂θ) f of the mean of an observable in every parameter, in float64: the truth for gradient estimators.

        That of the observable 1 is minus the derivative of the lost mass; an observable may return an array [K]: with that of
        (x, x²), ∂Var x = ∂⟨x²⟩ − 2⟨x⟩ ∂⟨x⟩. Time ~ that of `solve` × (1 + M), M numbers that the reactions read.

        Args: as `solve`, and the observable: a species, a function of counts by name, or nothing, which means all species.

        Returns:
            A pytree like `parameters`, of NumPy arrays [T, *shape of the parameter], or [T, S or K, *shape of the parameter].

        Raises:
            As `solve`. TruncationError also where the lost mass is small, but depends on the parameters: |θ Σ ∂p/∂θ| above
            tolerance · (1 + Σ |θ ∂p/∂θ|).
        """
        clock = _Clock._read(times, num_events, average)
        rates, slopes = rates_and_slopes(self.network, parameters, self.states)
        leaves, structure = jax.tree.flatten(parameters)
        leaves = [np.asarray(leaf, float) for leaf in leaves]
        theta = np.concatenate([np.zeros(0), *(leaf.ravel() for leaf in leaves)])
        law = self._law(rates, slopes, theta, clock, tolerance)[:, 1:]
        values = Distribution(self.network.species, clock.values, self.states, law, law).values(observable)
        slopes = np.moveaxis(law @ values, 1, -1)  # [T, (S or K), M]
        parts = np.split(slopes, np.cumsum([leaf.size for leaf in leaves])[:-1], axis=-1)
        return structure.unflatten([part.reshape(*part.shape[:-1], *leaf.shape) for part, leaf in zip(parts, leaves, strict=False)])

    def ensemble(
        self, parameters: Any, times: Any = None, *, num_events: Any = None, average: bool = False, tolerance: float = 1e-9
    ) -> Ensemble:
        """The exact law as a differentiable weighted ensemble: rows are states, weights are probabilities, Σ w f / Σ w the exact mean.

        Works under grad, jacfwd, jit and vmap; the computation is in float64 NumPy (a callback, where parameters are traced) and
        only the result takes the precision of JAX.

        **Requires** as `solve`; times, initial state and tolerance are constants.
        **Bias / variance**: none. First derivatives only: a second one raises NotImplementedError.

        Args: as `solve`. Derivatives are in all floating-point leaves of `parameters`.

        Returns:
            Ensemble of N rows: counts [N, T, S], weights [N, T], which carry the derivative, and `times` [T] (or numbers of events).

        Raises:
            As `gradient`; inside `jax.jit` JAX wraps the error in its own and keeps the words.
        """
        clock = _Clock._read(times, num_events, average)
        self.network.check_parameters(parameters)

        def rates(parameters, slopes):
            return traced_rates(self.network, parameters, self.states, slopes=slopes)

        def law(theta, rates, slopes):
            check_rates(self.network, self.states, rates, slopes)
            return self._law(rates, slopes, theta, clock, tolerance).transpose(2, 0, 1)

        weights = first_order(rates, law, parameters, (len(self.states), len(clock.values)))
        counts = jnp.broadcast_to(jnp.asarray(self.states, weights.dtype)[:, None], (*weights.shape, len(self.network.species)))
        none = jnp.zeros(len(self.states), bool)
        return Ensemble(
            jnp.asarray(clock.values, weights.dtype),
            counts,
            weights,
            none.astype(int),
            none,
            species=self.network.species,
            reactions=self.network.reaction_names,
            is_exact=True,
        )

    def _law(self, rates: np.ndarray, slopes: np.ndarray, theta: np.ndarray, clock: _Clock, tolerance: float) -> np.ndarray:
        """Probabilities and their derivatives in θ [M], [T, 1 + M, N]; raises if too much is lost."""
        read = slopes.any(axis=(1, 2))
        chain = Chain(rates, slopes[read], self.targets)
        found = (over_events if clock.events else over_time)(chain, clock.finite, average=clock.average)
        if clock.rests:
            rest = at_rest(chain, self._closed_class(chain), events=clock.events)
            found = np.concatenate([found.reshape(-1, *rest.shape), *[rest[None]] * clock.rests])
        law = found
        if not read.all():  # what no reaction reads has the derivative 0
            law = np.zeros((len(found), 1 + len(slopes), len(rates)))
            law[:, np.append(True, read)] = found
        self._refuse_lost(law, rates, theta, clock, tolerance)
        return law

    def _lost(self, law: np.ndarray, rates: np.ndarray, clock: _Clock) -> np.ndarray:
        """Lost mass, or mass at the bounds, and its derivatives [T, 1 + M]."""
        at_bounds = ((self.targets < 0) & (rates > 0)).any(1)
        lost = -law.sum(2)
        lost[:, 0] += 1
        lost[len(clock.finite) :] = law[len(clock.finite) :][:, :, at_bounds].sum(2)
        return lost

    def _refuse_lost(self, law: np.ndarray, rates: np.ndarray, theta: np.ndarray, clock: _Clock, tolerance: float) -> None:
        lost = self._lost(law, rates, clock)
        scale = np.where(theta == 0, 1.0, np.abs(theta))
        slopes, kept = np.abs(scale * lost[:, 1:]), scale * np.array([np.abs(row[1:]).sum(1) for row in law])
        advice = f"raise the bounds {self.bounds}, or the tolerance if that error is small enough"

        def what(row):
            value, states = clock.values[row], f"the {len(self.states)} states"
            if value == np.inf:
                return f"is in those of {states} that the bounds cut off from others, at rest"
            return f"left {states} by {value:g} events" if clock.events else f"left {states} by t = {value:g}"

        worst = np.argmax(lost[:, 0])
        if not lost[worst, 0] <= tolerance:
            raise TruncationError(f"{lost[worst, 0]:.2g} of the probability {what(worst)} (tolerance {tolerance:g}); {advice}")
        if not (slopes <= tolerance * (1 + kept)).all():
            worst, number = np.unravel_index(np.argmax(slopes / (1 + kept)), slopes.shape)
            raise TruncationError(
                f"the probability that {what(worst)} changes by {slopes[worst, number]:.2g} per logarithm of parameter number {number} "
                f"(tolerance {tolerance:g} of {1 + kept[worst, number]:.3g}); {advice}"
            )

    def _closed_class(self, chain: Chain) -> np.ndarray:
        classes = closed_classes(chain)
        if len(classes) > 1:
            kinds = ["absorbing" if len(members) == 1 else f"{len(members)} states" for members in classes]
            some = [f"{describe(self.network, self.states[members[0]])} ({kind})" for members, kind in zip(classes[:3], kinds, strict=False)]
            raise NetworkError(
                f"the stationary law is not unique: expected one set of states that is never left, found {len(classes)}, such as those "
                f"with {', '.join(some)}; ask for a finite time, or add a reaction that connects them"
            )
        return classes[0]


class _Clock(NamedTuple):
    """When a law is asked for: values [T] of time or of events, of which the first `finite` are finite; whether it is averaged."""

    values: np.ndarray
    finite: np.ndarray
    events: bool
    average: bool

    @property
    def rests(self) -> int:
        """Number of values that are infinite."""
        return len(self.values) - len(self.finite)

    @classmethod
    def _read(cls, times: Any, num_events: Any, average: bool) -> _Clock:
        if (times is None) == (num_events is None):
            raise NetworkError("expected either times or num_events, received " + ("both" if times is not None else "neither"))
        values = np.atleast_1d(np.asarray(num_events if times is None else times, float))
        finite = check_times(values[: len(values) - np.sum(values == np.inf)])
        if times is None and np.any(finite != np.round(finite)):
            raise NetworkError(f"expected whole numbers of events, received {finite}")
        return cls(values, finite, times is None, average)
