"""The method of simulated moments: Gauss–Newton steps on the means of observables, and the error bars of what comes out.

With d the means of N observed paths (of all observables at all times), C their covariance from path to path, and m(θ) and J the simulated means
and their derivative in ln θ, one step of

    Q(θ) = (m(θ) − d)ᵀ C⁻¹ (m(θ) − d),    ln θ += −(Jᵀ C⁻¹ J)⁻¹ Jᵀ C⁻¹ (m(θ) − d)

removes most of the error, where gradient descent takes hundreds. It needs all derivatives of all means at once, which is what an unbiased estimator
gives for the price of one simulation.

J and m come from the same paths, so that Jᵀ C⁻¹ m has a bias that grows with the number of means. Paths are therefore averaged in blocks, and only
products of different blocks are taken. Small matrices are NumPy's, in double precision: means at neighbouring times are nearly collinear.

References: McFadden 1989, "A method of simulated moments", doi:10.2307/1913621; Hansen 1982, doi:10.2307/1912775 (the covariance).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.ensemble import Ensemble

_DAMPING = 0.01  # of Levenberg and Marquardt: share of the diagonal of JᵀC⁻¹J that is added to it
_BLOCKS = 8  # of paths in each step, of which the pairs are multiplied and the scatter is an error bar


class Matches(NamedTuple):
    """History of M fits of K steps, in NumPy arrays; P scalar parameters in the order of the pytree's leaves.

    parameters: θ before each step and after the last, leaves [M, K + 1].
    estimates: where one undamped step leads to from the average of the last iterates, with their averaged means and derivatives, leaves [M].
    covariances: of the logarithms of the estimates, from both the scatter of the data and that of the simulation [M, P, P]; inf where the data
        do not determine all parameters, nan where the fit failed.
    misfits: Q over the number of means compared, before each step [M, K]; about 1/N + 1/n at a model that is right, where n paths are
        simulated, and less with controls.
    events: reactions simulated in each step [M, K], of the paths that the ensemble holds (not of pilots).
    failed_at: the step whose means or derivatives were not finite, at which the fit stayed where it was [M]; -1 where there was none.
    """

    parameters: Any
    estimates: Any
    covariances: np.ndarray
    misfits: np.ndarray
    events: np.ndarray
    failed_at: np.ndarray

    def standard_errors(self) -> Any:
        """Standard errors of ln θ (relative errors of θ), leaves [M]."""
        return jax.tree.structure(self.estimates).unflatten(np.sqrt(np.diagonal(self.covariances, axis1=1, axis2=2)).T)


def match_moments(
    key: jax.Array,
    ensemble: Callable[[Any, jax.Array], Ensemble],
    starts: Any,
    observed: Mapping[str, Any],
    *,
    observable: Callable[[Mapping[str, jax.Array]], jax.Array] | None = None,
    horizons: Sequence[float] = (0.25,) * 4 + (0.5,) * 3 + (1.0,) * 5,
    num_averaged: int = 4,
    largest_step: float = 0.5,
    factor: float = 100.0,
    progress: str | None = None,
) -> Matches:
    """Fits positive parameters to the means of replicate paths, from M starts at once.

        def ensemble(rates, key):
            return dynkin_controls(key, network, rates, {"P": 0}, times, num_paths=256, degree=2)
        fit = match_moments(key, ensemble, {"k": np.array([0.5, 2.0])}, {"P": counts})
        fit.estimates["k"], fit.standard_errors()["k"]

    The first steps look at early times only, where a wrong period has not yet led into a wrong minimum (a horizon curriculum). Steps are damped a
    little and no parameter changes by more than the factor exp(largest_step) in one. (All steps simulate, and cost, the whole time.) Error bars of
    another fit come from a start at its end with horizons=(1.0,) * 4. Where the means hardly depend on a parameter, a start with noisy derivatives
    stays lost (see the last misfits); more strata of `dynkin_controls` help it where rates are fast. Error bars need many observed paths.

    Args:
        key: step k of start i has the key fold_in(fold_in(key, k), i).
        ensemble: from parameters θ and a key to an ensemble of an unbiased estimator at the T observation times.
        starts: pytree of positive numbers θ, every leaf [M].
        observed: species → molecules on N paths at the T times, [N, T] for all starts, or [M, N, T] for each its own.
        observable: function of a mapping from the observed species to counts, scalars in and an array [K] out; default: these counts. Squares
            and products of counts add variances and covariances.
        horizons: for each of the K steps, the share of the time (from the ensemble's start to its last observation) that it looks at.
        num_averaged: last steps (at the full horizon) that are averaged.
        largest_step: of ln θ in one step.
        factor: how far θ may go from its start in all, up or down.
        progress: label of a bar over steps (needs tqdm).

    Raises:
        ValueError: starts or data that are not finite, do not vary or do not fit to the ensemble; options that cannot be meant.
    """
    horizons = _check(horizons, num_averaged, largest_step, factor)
    logs, structure = _check_starts(starts)
    target = _check_data(observed, len(logs), observable or partial(_stacked, names=tuple(observed)))
    simulated = _program(ensemble, observable, tuple(observed), structure, target.means.shape[-1])
    history, systems, weights, failed_at = [logs], [], {}, np.full(len(logs), -1)
    if progress is not None:
        from tqdm import tqdm

        horizons = tqdm(horizons, desc=progress, unit="step")
    for number, horizon in enumerate(horizons):
        found = jax.tree.map(np.asarray, simulated(jax.random.fold_in(key, number), history[-1].astype(jnp.result_type(float))))
        if horizon not in weights:
            weights[horizon] = _weights(target, found[2][0], horizon)
        systems.append(_system(found, target, weights[horizon]))
        failed_at[np.isnan(systems[-1].misfit) & (failed_at < 0)] = number
        change = np.where((failed_at < 0)[:, None], np.clip(systems[-1].change, -largest_step, largest_step), 0)
        history.append(np.clip(history[-1] + change, logs - np.log(factor), logs + np.log(factor)))
    step, covariances = _last_step(systems[-num_averaged:], target, weights[1.0])
    estimates = np.mean(history[-num_averaged - 1 : -1], axis=0) + np.clip(step, -largest_step, largest_step)
    estimates[failed_at >= 0], covariances[failed_at >= 0] = history[-1][failed_at >= 0], np.nan
    parameters, estimates = (structure.unflatten(np.moveaxis(np.exp(part), -1, 0)) for part in (np.stack(history, axis=1), estimates))
    misfits, events = (np.stack([getattr(one, name) for one in systems], axis=1) for name in ("misfit", "events"))
    return Matches(parameters, estimates, covariances, misfits, events, failed_at)


class _Target(NamedTuple):
    """What each of M fits aims at, or all of them (leading axis 1)."""

    means: np.ndarray  # d [M, D]
    per_deviation: np.ndarray  # 1/s of the standard deviations [M, D], 0 for what does not vary
    scaled: np.ndarray  # (values − d)/s of each path [M, N, D]


def _program(ensemble: Callable, observable: Callable | None, names: tuple[str, ...], structure: Any, size: int) -> Callable:
    function = observable or partial(_stacked, names=names)

    @jax.jit
    def simulated(key, logs):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(logs), dtype=jnp.uint32))
        return jax.vmap(lambda key, log: _simulated(lambda theta: ensemble(structure.unflatten(theta), key), log, function, size))(keys, logs)

    return simulated


def _stacked(counts: Mapping[str, jax.Array], names: tuple[str, ...]) -> jax.Array:
    if missing := [name for name in names if name not in counts]:
        raise ValueError(f"expected observed species among {list(counts)} of the ensemble, received {missing}")
    return jnp.stack([counts[name] for name in names])


class _System(NamedTuple):
    """A linear system in ln θ, with W = C⁻¹ and all in units of the observed standard deviations."""

    residuals: np.ndarray  # r = m − d of each block of paths [M, B, D]
    slopes: np.ndarray  # J [M, B, D, P]
    change: np.ndarray  # the damped step [M, P]
    misfit: np.ndarray  # [M], nan where a mean or a slope is not finite
    events: np.ndarray  # [M]


def _simulated(ensemble: Callable, logs: jax.Array, function: Callable, size: int) -> tuple[jax.Array, ...]:
    """At ln θ [P]: means of B blocks [B, D] and their derivatives [B, D, P], the start and the T times, and the number of reactions."""

    def means(logs):
        paths = ensemble(list(jnp.exp(logs)))
        terms = paths.terms(paths.samples(function).astype(paths.counts.dtype))
        if terms[0].size != size:
            raise ValueError(f"expected {size} simulated means, as observed, received {terms.shape[1:]}; is the ensemble at the times of the data?")
        if len(terms) < 2:
            raise ValueError("expected an ensemble of at least 2 independent terms, whose scatter is an error bar, received 1 (num_paths=1?)")
        limits = np.linspace(0, len(terms), min(_BLOCKS, len(terms)) + 1).astype(int)
        blocks = [terms[first:end] for first, end in zip(limits[:-1], limits[1:], strict=True)]
        blocks = [terms, terms] if paths.is_exact else blocks  # rows of an exact law are shares of one mean
        found = jnp.stack([block.mean(0).reshape(-1) for block in blocks])
        start = jnp.asarray(paths.start_time, paths.times.dtype)
        return found, (found, jnp.concatenate([start[None], paths.times]), paths.num_events.astype(logs.dtype).sum())

    slopes, (found, clock, events) = jax.jacfwd(means, has_aux=True)(logs)
    return found, slopes, clock, events


def _weights(target: _Target, clock: np.ndarray, horizon: float) -> tuple[np.ndarray, np.ndarray]:
    """W [M, D, D] in standard deviations, 0 for means that do not vary or lie later than the horizon; share κ of each path in correlations [M]."""
    start, times, number = clock[0].astype(float), clock[1:].astype(float), target.scaled.shape[1]
    within = times <= start + horizon * (times[-1] - start) + 1e-6 * np.abs(times[-1])
    seen = (target.per_deviation > 0) & np.repeat(within, target.means.shape[-1] // len(times))
    if not seen.any(-1).all():
        raise ValueError(f"expected data that vary from path to path within every horizon, received none that do at horizon {horizon:g}")
    kept = (number / (number + seen.sum(-1)))[:, None, None]  # few paths know little of their correlations
    both, identity = seen[:, :, None] & seen[:, None], np.eye(seen.shape[-1])
    correlations = np.swapaxes(target.scaled, 1, 2) @ target.scaled / (number - 1)
    inverse = np.linalg.inv(np.where(both, kept * correlations + (1 - kept) * identity, identity))
    return np.where(both, inverse, 0), kept[:, 0, 0] / (number - 1)


def _system(found: tuple[np.ndarray, ...], target: _Target, weights: tuple[np.ndarray, np.ndarray]) -> _System:
    """From what `_simulated` returns for all starts."""
    means, slopes, _, events = found
    finite = np.isfinite(means).all((1, 2)) & np.isfinite(slopes).all((1, 2, 3))
    residuals = (np.where(finite[:, None, None], means, 0) - target.means[:, None]) * target.per_deviation[:, None]
    slopes = np.where(finite[:, None, None, None], slopes, 0) * target.per_deviation[:, None, :, None]
    weight, mean, slope = weights[0], residuals.mean(1)[..., None], slopes.mean(1)
    misfit = (np.swapaxes(mean, 1, 2) @ weight @ mean)[:, 0, 0] / (np.diagonal(weight, axis1=1, axis2=2) > 0).sum(-1)
    curvature = np.swapaxes(slope, 1, 2) @ weight @ slope  # the noise of J makes it too large, which is one more damping
    diagonal = np.diagonal(curvature, axis1=1, axis2=2)
    ridge = np.where(diagonal > 0, _DAMPING * diagonal, 1)  # 1 for a parameter on which no mean depends: it stays as it is
    change = -np.linalg.solve(curvature + np.eye(slope.shape[-1]) * ridge[:, None], _across(slopes, weight, residuals[..., None]))
    return _System(residuals, slopes, change[..., 0], np.where(finite, misfit, np.nan), events.astype(float))


def _across(left: np.ndarray, weight: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The mean of leftᵀ W right [M, P, Q] over pairs of different blocks of left [M, B, D, P] and right [M, B, D, Q]."""
    number, left = left.shape[1], np.swapaxes(left, 2, 3) @ weight[:, None]
    return (number**2 * (left.mean(1) @ right.mean(1)) - (left @ right).sum(1)) / (number * (number - 1))


def _last_step(systems: list[_System], target: _Target, weights: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The step in ln θ [M, P] from the average of some iterates that all their blocks together suggest, and its covariance [M, P, P]."""
    weight = weights[0]
    residuals, slopes = (np.concatenate([getattr(one, name) for one in systems], axis=1) for name in ("residuals", "slopes"))
    curvature, pull, slope = _across(slopes, weight, slopes), _across(slopes, weight, residuals[..., None]), slopes.mean(1)
    with_noise = np.swapaxes(slope, 1, 2) @ weight @ slope  # larger and never singular: a short step where noise is most of a direction
    smallest = np.linalg.eigvals(np.linalg.pinv(with_noise, hermitian=True) @ curvature).real.min(-1)
    curvature = np.where((smallest < 0.5)[:, None, None], with_noise, curvature)
    spectrum = np.linalg.eigvalsh(curvature)[..., None]
    known = spectrum[:, :1] > 1e-12 * spectrum[:, -1:]
    inverse = np.linalg.inv(np.where(known, curvature, np.eye(curvature.shape[-1])))
    step = -inverse @ pull
    remaining = residuals.mean(1)[..., None] + slope @ step
    by_slopes = _scatter((np.swapaxes(slopes, 2, 3) @ (weight @ remaining)[:, None])[..., 0], len(systems))
    means = _scatter(residuals, len(systems)) + _data_scatter(target.scaled, weights, slope, inverse)
    covariances = inverse @ (_across(slopes, weight @ means @ weight, slopes) + by_slopes) @ inverse
    known &= (np.linalg.eigvalsh(covariances)[:, :1] >= 0)[..., None]
    return np.where(known, step, 0)[..., 0], np.where(known, covariances, np.inf)


def _scatter(blocks: np.ndarray, num_steps: int) -> np.ndarray:
    """Covariance [M, D, D] of the mean of blocks [M, B, D], which are compared within each step: between steps θ differs."""
    blocks = blocks.reshape(len(blocks), num_steps, -1, blocks.shape[-1])
    freedom, total = num_steps * (blocks.shape[2] - 1), num_steps * blocks.shape[2]
    blocks = (blocks - blocks.mean(2, keepdims=True)).reshape(len(blocks), -1, blocks.shape[-1])
    return np.swapaxes(blocks, 1, 2) @ blocks / (freedom * total)


def _data_scatter(scaled: np.ndarray, weights: tuple[np.ndarray, np.ndarray], slope: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Covariance [M, D, D] of the observed means, as the weights of other data would meet it.

    Weights fit the paths x that they come from: with W made without a path (Sherman and Morrison), its move of ln θ, (JᵀWJ)⁻¹JᵀWx, is longer by
    the factor 1/(1 − κ (xᵀWx − uᵀ(JᵀWJ)⁻¹u)), where u = JᵀWx and κ is the path's share of the correlations.
    """
    weight, share = weights
    pulls = scaled @ (weight @ slope)
    leverage = ((scaled @ weight) * scaled).sum(-1) - ((pulls @ inverse) * pulls).sum(-1)
    longer = scaled / (1 - share[:, None] * np.maximum(leverage, 0))[..., None]
    return np.swapaxes(longer, 1, 2) @ longer / (scaled.shape[1] * (scaled.shape[1] - 1))


def _check(horizons: Sequence[float], num_averaged: int, largest_step: float, factor: float) -> np.ndarray:
    horizons = np.asarray(horizons, float)
    if horizons.ndim != 1 or not horizons.size or not ((horizons > 0) & (horizons <= 1)).all():
        raise ValueError(f"expected horizons, shares of the time in (0, 1], one for each step, received {horizons}")
    if num_averaged not in range(1, len(horizons) + 1) or (horizons[-int(num_averaged) :] < 1).any():
        raise ValueError(f"expected the last num_averaged={num_averaged} of the steps at the full horizon 1, received horizons {horizons}")
    if not largest_step > 0 or not factor > 1:
        raise ValueError(f"expected largest_step > 0 and factor > 1, received {largest_step} and {factor}")
    return horizons


def _check_starts(starts: Any) -> tuple[np.ndarray, Any]:
    """ln θ [M, P], and the structure of the pytree."""
    leaves, structure = jax.tree.flatten(jax.tree.map(lambda leaf: np.asarray(leaf, float), starts))
    shapes = {leaf.shape for leaf in leaves}
    if len(shapes) != 1 or len(leaves[0].shape) != 1 or not leaves[0].size:
        raise ValueError(f"expected starts as a pytree of arrays [M], all of one length, received shapes {jax.tree.map(np.shape, starts)}")
    if not all((np.isfinite(leaf) & (leaf > 0)).all() for leaf in leaves):
        raise ValueError(f"expected positive, finite starts, received {starts}; are they logarithms?")
    return np.log(np.stack(leaves, axis=1)), structure


def _check_data(observed: Mapping[str, Any], num_starts: int, function: Callable) -> _Target:
    """Moments of the observable on the data."""
    if not isinstance(observed, Mapping) or not observed:
        raise ValueError(f"expected observed as a mapping from species to counts [N, T], received {observed}")
    data = {name: np.asarray(values, np.float32) for name, values in observed.items()}
    shapes = {name: values.shape for name, values in data.items()}
    shape = next(iter(shapes.values()))
    if len(set(shapes.values())) != 1 or len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] != num_starts):
        raise ValueError(f"expected counts [N, T], or [{num_starts}, N, T] (own data for each start), alike for all species, received {shapes}")
    if shape[-2] < 2:
        raise ValueError(f"expected at least 2 observed paths, whose scatter weighs the means, received {shape[-2]}; see ssagrad.filtering for one")
    for name, values in data.items():
        if not (finite := np.isfinite(values)).all():
            raise ValueError(f"expected finite counts of '{name}', received {values[~finite][0]} at {np.argwhere(~finite)[0]}")
    try:
        values = jax.jit(jax.vmap(function))({name: values.reshape(-1) for name, values in data.items()})
    except KeyError as error:
        raise ValueError(f"expected an observable of the observed species {list(data)} alone, received one of {error}") from error
    values = np.asarray(values, float).reshape(-1, shape[-2], shape[-1] * (values.size // values.shape[0]))
    means, spread = values.mean(1), values.std(1, ddof=1)
    varies = spread > 1e-6 * np.abs(means)
    per_deviation = np.where(varies, 1 / np.where(varies, spread, 1), 0)
    return _Target(means, per_deviation, (values - means[:, None]) * per_deviation[:, None])
