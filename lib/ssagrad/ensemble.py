"""The one contract: an ensemble of weighted paths, whose statistics are what losses are made of.

The expectation of f at time k is Σ_i w_ik f(x_ik) / Σ_i w_ik. A plain simulation has weights 1 and no derivative; a gradient estimator
is a way to make counts or weights carry one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp

from ssagrad.network import NetworkError
from ssagrad.statistics import standard_error, unbiased_factor

Observable = str | Callable[[dict[str, jax.Array]], jax.Array] | None


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class Ensemble:
    """Paths observed at given times: a pytree, whose statistics can be differentiated if an estimator made it.

    An observable is the name of a species; a function of a mapping from species to counts, `lambda x: x["S"] + x["I"]`, called with
    scalars and returning a scalar or an array [K]; or nothing, which means all species.

    Attributes:
        times: observation times [T].
        counts: molecules of each species [n, T, S].
        weights: weight of each path at each time [n, T].
        num_events: reactions fired until the last time [n].
        exhausted: whether the path was stopped by max_events [n].
        start_time: the time of the initial counts.
        time_integrals: ∫ x ds from the start to each time [n, T, S], if recorded.
        event_counts: firings of each reaction up to each time [n, T, R], if recorded.
        species, reactions: their names.
        num_samples: independent samples among the rows, if an estimator added rows: row i, num_samples + i, … belong together.
        is_exact: the rows are states and the weights their exact probabilities, so that nothing here has a sampling error.
        controls: what reduces the variance of expectations and of their derivatives (`ssagrad.controls`), if the estimator has it.
        is_normalised: the derivative of Σ w counts in means (which subtracts the mean as a baseline).
    """

    times: jax.Array
    counts: jax.Array
    weights: jax.Array
    num_events: jax.Array
    exhausted: jax.Array
    start_time: jax.Array | float = 0.0
    time_integrals: jax.Array | None = None
    event_counts: jax.Array | None = None
    species: tuple[str, ...] = field(default=(), metadata={"static": True})
    reactions: tuple[str, ...] = field(default=(), metadata={"static": True})
    controls: Any = None
    num_samples: int | None = field(default=None, metadata={"static": True})
    is_exact: bool = field(default=False, metadata={"static": True})
    is_normalised: bool = field(default=True, metadata={"static": True})

    @property
    def num_paths(self) -> int:
        """Number of rows n (an estimator may have added rows whose weight is 0)."""
        return self.counts.shape[0]

    def samples(self, observable: Observable = None) -> jax.Array:
        """Values of the observable on each path at each time [n, T] (all species: [n, T, S]; array-valued: [n, T, K])."""
        if observable is None:
            return self.counts
        if callable(observable):
            by_name = dict(zip(self.species, jnp.moveaxis(self.counts, -1, 0), strict=True))
            return jax.vmap(jax.vmap(observable))(by_name)
        return self.counts[..., self._index(observable)]

    def expectation(self, values: jax.Array) -> jax.Array:
        """Weighted mean over the paths of any values computed from them: [n, T, ...] → [T, ...], or one value per path, [n] → scalar."""
        if self.controls is not None:
            return self.terms(values).mean(0)
        weights, total = self._aligned_weights(values)
        if values.ndim <= 2:
            return (weights * values).sum(0) / total
        # a dot product, because XLA's CPU backend gets derivatives of the sum of a broadcast product wrong, as in `score.add_to_weights`
        sums = jnp.einsum("nt,ntk->tk", self.weights, values.reshape(*values.shape[:2], -1), precision="highest")
        return sums.reshape(values.shape[1:]) / total

    def terms(self, values: jax.Array) -> jax.Array:
        """One term per independent sample, whose mean is `expectation(values)`: [n, T, ...] or [n].

        Their derivatives are independent samples of the gradient, `jax.jacfwd(lambda p: estimator(…, p, …).terms(…))(p)`: what every
        variance and standard error of a gradient is computed from.
        """
        if self.controls is not None:
            by_time = values if values.ndim > 1 else values[:, None]
            by_time = by_time if jnp.issubdtype(by_time.dtype, jnp.floating) else by_time.astype(self.counts.dtype)
            rows = slice(None) if values.ndim > 1 else slice(-1, None)
            found = self.controls.terms(by_time, self.counts[:, rows], self.times[rows].astype(self.counts.dtype))
            return found if values.ndim > 1 else found[:, 0]
        weights, total = self._aligned_weights(values)
        centre = jax.lax.stop_gradient(self.expectation(values)) * float(self.is_normalised)
        num_samples = self.num_samples or self.num_paths
        shares = (num_samples * weights / total[None] * (values - centre[None])).reshape(-1, num_samples, *values.shape[1:])
        return shares.sum(0) + centre[None]

    def mean(self, observable: Observable = None) -> jax.Array:
        """Expectation of the observable at each time [T] or [T, S]: Σ w f / Σ w."""
        return self.expectation(self.samples(observable))

    def variance(self, observable: Observable = None) -> jax.Array:
        """Variance of the observable at each time [T] or [T, S], with the factor n/(n − 1)."""
        squares = self._centred(self.samples(observable)) ** 2
        factor = self._unbiased()
        return self.expectation(squares) * factor.reshape(-1, *(1,) * (squares.ndim - 2))

    def covariance(self) -> jax.Array:
        """Covariance matrix of the species at each time [T, S, S]."""
        deviations = self._centred(self.counts)
        products = deviations[..., :, None] * deviations[..., None, :]
        return self.expectation(products) * self._unbiased()[:, None, None]

    def standard_error(self, observable: Observable = None) -> jax.Array:
        """Standard error of `mean` [T] or [T, S]."""
        samples = self.samples(observable)
        if self.controls is not None:
            return standard_error(self.terms(samples))
        return jnp.zeros_like(samples[0]) if self.is_exact else standard_error(samples, self.weights)

    def quantile(self, probability: Any, observable: Observable = None) -> jax.Array:
        """Quantiles over the paths that have a weight at each time, [..., T] or [..., T, S]; their weights have to be equal."""
        if self.is_exact:
            raise ValueError("the rows of an exact law are states, not paths: take quantiles of MasterEquation.solve(…).marginal(species)")
        values = self.samples(observable)
        weights = self.weights.reshape(*self.weights.shape, *(1,) * (values.ndim - 2))
        present = jnp.where(weights != 0, values, jnp.nan)
        return jnp.nanquantile(present, jnp.asarray(probability, values.dtype), axis=0)

    def time_average(self, species: str | None = None) -> jax.Array:
        """Mean over paths of the average of the counts from the start to each time [T] or [T, S]; needs record=("time_integrals",)."""
        return self.time_average_terms(species).mean(0)

    def time_average_terms(self, species: str | None = None) -> jax.Array:
        """Independent terms whose mean is `time_average` [n, T] or [n, T, S], as `terms`."""
        if self.time_integrals is None:
            raise ValueError('time averages need the integrals: call simulate(..., record=("time_integrals",))')
        elapsed = (self.times - self.start_time)[None, :, None].astype(self.counts.dtype)
        averages = jnp.where(elapsed > 0, self.time_integrals / jnp.where(elapsed > 0, elapsed, 1), self.counts)
        if self.controls is not None:
            integrals = self.controls.integral_terms(self.time_integrals, self.times.astype(self.counts.dtype))
            terms = jnp.where(elapsed > 0, integrals / jnp.where(elapsed > 0, elapsed, 1), self.terms(self.counts))
            return terms if species is None else terms[..., self._index(species)]
        return self.terms(averages if species is None else averages[..., self._index(species)])

    def plot(self, species: str | tuple[str, ...] | None = None, **options: Any) -> Any:
        """Mean, 90 % range of the paths and a few single paths against time; see `ssagrad.plots.ensemble`."""
        from ssagrad import plots

        if self.is_exact:
            raise ValueError("the rows of an exact law are states, not paths: plot its mean and standard deviation instead")
        names = self.species if species is None else (species,) if isinstance(species, str) else tuple(species)
        return plots.ensemble(self.times, {name: self.samples(name)[self.weights[:, -1] != 0] for name in names}, **options)

    def replace(self, **fields: jax.Array) -> Ensemble:
        """The same ensemble with some fields exchanged."""
        return replace(self, **fields)

    def at(self, index: Any) -> Ensemble:
        """The ensemble at some of its times: `index` is an array of positions among them."""
        index = jnp.asarray(index)
        chosen = {name: getattr(self, name)[:, index] for name in ("counts", "weights", "time_integrals", "event_counts") if getattr(self, name) is not None}
        return replace(self, times=self.times[index], **chosen)

    def _aligned_weights(self, values: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Weights with the axes of values [n, ...] and their sum."""
        weights = self.weights[:, -1] if values.ndim == 1 else self.weights
        total = weights.sum(0)
        total = total if self.is_normalised else jax.lax.stop_gradient(total)
        trailing = (1,) * (values.ndim - weights.ndim)
        return weights.reshape(*weights.shape, *trailing), total.reshape(*total.shape, *trailing)

    def _centred(self, values: jax.Array) -> jax.Array:
        """Deviations from the mean; around it, the derivative of the mean square in the mean is 0, and is left to no sampling error."""
        centre = self.expectation(values)
        return values - (centre if self.controls is None else jax.lax.stop_gradient(centre))[None]

    def _unbiased(self) -> jax.Array:
        """The factor n/(n − 1) [T] of a variance around a mean that comes from the same paths (1 for one that does not)."""
        if self.is_exact or (self.controls is not None and not self.controls.has_plain_means):
            return jnp.ones_like(self.weights[0])
        if self.num_paths < 2:
            raise ValueError(f"a variance needs at least 2 paths, received {self.num_paths}")
        return unbiased_factor(jax.lax.stop_gradient(self.weights)).astype(self.counts.dtype)

    def _index(self, name: str) -> int:
        if name not in self.species:
            raise NetworkError(f"unknown species '{name}'; the ensemble has {list(self.species)}")
        return self.species.index(name)
