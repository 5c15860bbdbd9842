"""The likelihood of sparse, noisy, partly observed data of one path, and its gradient: a bootstrap particle filter of exact paths.

    def loss(rates):
        return -log_likelihood(key, network, rates, {"X": 0}, times, {"X": values}, noise=gaussian_noise(3.0), num_particles=1000)
    jax.value_and_grad(loss)(rates)

n particles run from one observation to the next, are weighed by the density of what was observed there, and are drawn again by their
weights. Each carries the score of its whole past, whose mean given the data is the gradient (Fisher's identity).

References: Gordon, Salmond and Smith 1993, doi:10.1049/ip-f-2.1993.0015; Poyiadjis, Doucet and Singh 2011, "Particle approximations of
the score and observed information matrix", doi:10.1093/biomet/asq062; Golightly and Wilkinson 2011, doi:10.1098/rsfs.2011.0047.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.scipy.special import logsumexp

from ssagrad.kernel import Accumulator, Step
from ssagrad.network import Network, NetworkError
from ssagrad.score import Scalars, scalars_of, score_accumulator, score_scale
from ssagrad.simulate import SimulationError, check_times, simulate_with


class Filtered(NamedTuple):
    """What a filter says of data at T times; P scalar parameters in the order of `score.scalars_of(parameters).names`.

    log_likelihood: Σ_k ln mean_i w_ik, a scalar that carries a derivative.
    score: its derivative in the parameters [P].
    information: minus its second derivative, the observed information [P, P] (Louis' identity).
    log_increments: ln p(y_k | y_1 … y_{k−1}) [T], whose sum is log_likelihood.
    effective_sample_sizes: 1/Σ_i W_ik² [T], from 1 (one particle carries all the weight) to n.
    filtered_means: E[x(t_k) | y_1 … y_k], molecules of all species [T, S].
    smoothed_paths: draws from the law of the path given all data, molecules at the observation times [m, T, S].
    """

    log_likelihood: jax.Array
    score: jax.Array
    information: jax.Array | None
    log_increments: jax.Array
    effective_sample_sizes: jax.Array
    filtered_means: jax.Array
    smoothed_paths: jax.Array | None


@cache  # equal noises share a compiled filter
def gaussian_noise(sigma: float | str) -> Callable:
    """Independent normal errors, their standard deviation in molecules: a number > 0, or the name of a parameter that is to be inferred."""
    if not isinstance(sigma, str) and not 0 < sigma < math.inf:
        raise ValueError(f"expected sigma as a number > 0, in molecules, or the name of a parameter, received {sigma}")

    def log_densities(observed: jax.Array, counts: jax.Array, parameters: Any) -> jax.Array:
        deviation = jnp.asarray(parameters[sigma] if isinstance(sigma, str) else sigma, counts.dtype)
        return -0.5 * ((observed - counts) / deviation) ** 2 - jnp.log(deviation) - 0.5 * math.log(2 * math.pi)

    return log_densities


def log_likelihood(
    key: jax.Array, network: Network, parameters: Any, initial_counts: Any, times: Any, observed: Any, *, noise: Callable, num_particles: int,
    **options: Any,
) -> jax.Array:  # fmt: skip
    """The logarithm of an unbiased estimate of the likelihood of the data; by `jax.grad` or `jax.jacfwd` its gradient in all parameters.

        ln L̂ = Σ_k ln (1/n) Σ_i g(y_k | x_ik),   ∇ ln L̂ = Σ_i W_iT S_i,   S_i = score of particle i and its ancestors + Σ_k ∂ ln g

    Particles are drawn again, systematically, after every observation: only below an effective sample size of n/2 was no better.

    **Requires** positive rate constants, initial counts without parameters, and errors independent given the path. Particles do not look
    ahead: data that are precise beside the scatter between two observations need many of them.
    **Bias / variance**: L̂ and L̂ ∇ ln L̂ are unbiased for L and ∇L. Logarithm and ratio have a bias of order 1/n: E ln L̂ ≈ ln L − Var(ln L̂)/2.
    Var ln L̂ grows linearly in T; that of the gradient quadratically, as ever fewer ancestors are left of early times: immigration–death,
    n = 200, in ln immigration 0.4, 1.2, 11 and 34 at T = 8, 16, 32 and 64. Both fall as 1/n. First derivatives only.

    Args:
        key, network, initial_counts, times: as `simulate`, for num_particles paths. Several data sets: `jax.vmap` over keys and data.
        parameters: pytree θ of float scalars or arrays; the derivative is taken in these.
        observed: a mapping from species to values [T]; or [T, K] with `species`. NaN is a missing value.
        noise: (observed [K], counts [K], parameters) → log densities [K] of the observed values given the molecules of their species, such as
            `gaussian_noise(3.0)`. Define it once: every new function is compiled anew.
        num_particles: n.
        options: species, the names of an array's columns (default: all); start_time, precision, max_events as in `simulate`.

    Returns:
        A scalar. Inside `jax.jit`: −inf, with the gradient NaN, where no particle can have made the data; NaN where a particle failed.

    Raises:
        NetworkError: impossible times, counts, parameters or data. ValueError: other arguments. SimulationError, outside `jax.jit`: no
        particle can have made an observation, or one failed. NotImplementedError: a derivative in anything but the parameters, or a second one.
    """
    return _filter(key, network, parameters, initial_counts, times, observed, noise, (num_particles,), **options).log_likelihood


def filtered(
    key: jax.Array, network: Network, parameters: Any, initial_counts: Any, times: Any, observed: Any, *, noise: Callable, num_particles: int,
    num_smoothed: int = 20, **options: Any,
) -> Filtered:  # fmt: skip
    """`log_likelihood` with all that its filter knows: how well it works, the observed information, filtered means and smoothed paths.

    Louis' identity, with the second derivative H of the log density of path and noise:

        −∇² ln L = −E[H | y] − Cov[S | y],   H = Σ_events ∂² ln a − ∫ Σ_r ∂²a_r ds + Σ_k ∂² ln g

    In ln θ the information is θ_p θ_q I_pq − δ_pq θ_p S_p.

    **Bias / variance**: consistent, bias of order 1/n. It is a small difference of large numbers, and where few ancestors are left of early
    times their covariance comes out too small, the information too large: immigration–death, n = 200, in ln immigration at T = 8 on average
    10.4 (exact 10.2; one run ± 3.5), at T = 64 161 (exact 131, ± 61). A repressilator of 1,600 events, T = 20, n = 1000: 220 ± 520, often not
    positive definite. Follow the score with small steps there (Adam, in ln θ), not Newton's.

    Args: as `log_likelihood`, and
        num_smoothed: number of smoothed paths, m ≥ 1; they share their early part where few ancestors are left.

    Raises: as `log_likelihood`. Reference: Louis 1982, doi:10.1111/j.2517-6161.1982.tb01203.x.
    """
    return _filter(key, network, parameters, initial_counts, times, observed, noise, (num_particles, num_smoothed), **options)


class _Settings(NamedTuple):
    """What a filter is compiled for; columns: positions of the observed species. num_smoothed = 0 means the likelihood alone."""

    network: Network
    noise: Callable
    scalars: Scalars
    columns: tuple[int, ...]
    precision: str
    max_events: int | None
    num_particles: int
    num_smoothed: int = 0


def _filter(
    key: jax.Array, network: Network, parameters: Any, initial_counts: Any, times: Any, observed: Any, noise: Callable, sizes: tuple[int, ...], *,
    species: Any = None, start_time: float = 0.0, precision: str = "single", max_events: int | None = None,
) -> Filtered:  # fmt: skip
    for name, size in zip(("num_particles", "num_smoothed"), sizes, strict=False):
        if size != int(size) or size < 1:
            raise ValueError(f"expected {name} to be a whole number ≥ 1, received {size}")
    if not callable(noise):
        raise ValueError(f"expected noise as a function such as gaussian_noise(3.0), received {noise!r}")
    network.check_parameters(parameters)
    times, intervals = check_times(times, start_time)
    columns, observed = _check_data(network, observed, species, len(times))
    dtype, scalars = jnp.float64 if precision == "double" else jnp.float32, scalars_of(parameters)
    theta = jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(dtype), parameters)
    centre = jax.lax.stop_gradient(theta)
    counts = jnp.asarray(network.counts_from(initial_counts)).astype(dtype)
    if counts.shape[:-1] not in ((), sizes[:1]):
        raise NetworkError(f"expected initial counts of {sizes[0]} particles, received shape {counts.shape}")
    settings = _Settings(network, noise, scalars, columns, precision, max_events, *sizes)
    counts, *data = _constant((counts, jnp.asarray(intervals).astype(dtype), observed.astype(dtype)))
    found = _run(key, centre, score_scale(network, centre, scalars).astype(dtype), counts, tuple(data), settings=settings)
    _raise_failures(found.log_increments, times, sizes[0])
    return found._replace(log_likelihood=_with_score(ravel_pytree(theta)[0], found.log_likelihood, found.score))


@partial(jax.jit, static_argnames="settings")
def _run(key: jax.Array, parameters: Any, scale: jax.Array, counts: jax.Array, data: tuple[jax.Array, ...], *, settings: _Settings) -> Filtered:
    n, size, dtype = settings.num_particles, len(scale), counts.dtype
    sums = jnp.zeros((n, size + size**2 * (settings.num_smoothed > 0)), dtype)
    start = (key, jnp.broadcast_to(counts, (n, counts.shape[-1])), jnp.full(n, 1 / n, dtype), sums)
    step = partial(_advance, parameters=parameters, scale=scale, settings=settings)
    (key, _, weights, sums), (increments, sizes, means, *history) = jax.lax.scan(step, start, data)
    total = increments.sum()
    mean = jnp.where(jnp.isfinite(total), jnp.matmul(weights, sums, precision="highest"), jnp.nan)  # of score and H
    found = Filtered(total, mean[:size], None, increments, sizes, means, None)
    if not history:
        return found
    covariance = jnp.einsum("n,np,nq->pq", weights, *[sums[:, :size] - mean[None, :size]] * 2, precision="highest")
    last = _systematic(key, weights, settings.num_smoothed)
    paths = jax.lax.scan(lambda chosen, at: (at[1][chosen], at[0][chosen]), last, tuple(history), reverse=True)[1]
    return found._replace(information=-mean[size:].reshape(size, size) - covariance, smoothed_paths=jnp.moveaxis(paths, 0, 1))


def _advance(particles: tuple, step: tuple, *, parameters: Any, scale: jax.Array, settings: _Settings) -> tuple[tuple, tuple]:
    """Draw by the weights, simulate to the next observation, weigh.

    Particles: a key; counts [n, S]; normalised weights [n]; sums [n, C], which are the score [n, P] and, if wanted, H [n, P²].
    """
    (key, counts, weights, sums), (interval, observed) = particles, step
    n = settings.num_particles
    key, draw, move = jax.random.split(key, 3)
    ancestors = _systematic(draw, weights, n)
    wanted = (score_accumulator, _curvature_accumulator)[: 1 + (settings.num_smoothed > 0)]
    accumulators = tuple(accumulator(settings.network, settings.scalars) for accumulator in wanted)
    paths, gained = simulate_with(
        accumulators, move, settings.network, parameters, counts[ancestors], np.ones(1), num_paths=n,
        intervals=jnp.broadcast_to(interval, (n, 1)), precision=settings.precision, max_events=settings.max_events,
    )  # fmt: skip
    counts = paths.counts[:, 0]
    log_densities, derivatives = _densities(observed, counts, parameters, settings)
    scales = jnp.concatenate([scale, jnp.ones(sums.shape[1] - len(scale), scale.dtype)])
    sums = sums[ancestors] + jnp.concatenate(gained, axis=-1)[:, 0] * scales[None] + derivatives
    total = logsumexp(log_densities)
    weights = jnp.where(total == -jnp.inf, 1 / n, jnp.exp(log_densities - total))
    seen = (total - math.log(n), 1 / (weights**2).sum(), jnp.matmul(weights, counts, precision="highest"))
    return (key, counts, weights, sums), (*seen, counts, ancestors) if settings.num_smoothed else seen


def _densities(observed: jax.Array, counts: jax.Array, parameters: Any, settings: _Settings) -> tuple[jax.Array, jax.Array]:
    """Log densities of what was observed [n] and their derivatives [n, C] in the parameters, first ones and, if wanted, second ones."""
    theta, structure = ravel_pytree(parameters)
    missing = jnp.isnan(observed)

    def of_one(theta, counts):
        there = jnp.stack([counts[s] for s in settings.columns])
        each = jnp.asarray(settings.noise(jnp.where(missing, there, observed), there, structure(theta)))
        if each.shape != there.shape:
            raise ValueError(f"expected from noise one log density for each of {len(there)} observed values, received shape {each.shape}")
        return jnp.where(missing, 0, each).sum()

    wanted = (of_one, jax.jacfwd(of_one), *[jax.jacfwd(jax.jacfwd(of_one))] * (settings.num_smoothed > 0))
    values, derivatives, *second = (jax.vmap(function, in_axes=(None, 0))(theta, counts) for function in wanted)
    derivatives = jnp.concatenate([derivatives, *(curvature.reshape(len(counts), -1) for curvature in second)], axis=1)
    derivatives = jnp.where((values > -jnp.inf)[:, None], derivatives, 0)  # what is impossible has the weight 0
    return jnp.where(jnp.isnan(counts).any(1), jnp.nan, values), derivatives


def _systematic(key: jax.Array, weights: jax.Array, number: int) -> jax.Array:
    """Positions [number], in order: i comes number × W_i times in the mean, never a whole time more or less (doi:10.1080/10618600.1996.10474692)."""
    cumulative = jnp.cumsum(weights)
    places = (jnp.arange(number, dtype=weights.dtype) + jax.random.uniform(key, dtype=weights.dtype)) / number * cumulative[-1]
    below = jnp.nextafter(cumulative[-1], jnp.zeros_like(cumulative[-1]))  # rounding must not lead past the last particle that has a weight
    return jnp.minimum(jnp.searchsorted(cumulative, jnp.minimum(places, below), side="right"), len(weights) - 1).astype(jnp.int32)


@cache
def _curvature_accumulator(network: Network, scalars: Scalars) -> Accumulator:
    """Sums up the second derivative of a path's log density in the parameters [P²]."""

    def of_one_path(counts: tuple, parameters: Any, reaction: jax.Array, duration: jax.Array) -> jax.Array:
        theta, structure = ravel_pytree(parameters)

        def log_density(theta):  # Σ_r [r fires] ln a_r − duration · a_r
            return sum(jnp.log(jnp.where(reaction == r, a, 1)) - duration * a for r, a in enumerate(network.rates(counts, structure(theta))))

        return jax.jacfwd(jax.jacfwd(log_density))(theta).ravel()

    def increments(values: tuple, step: Step) -> tuple:
        of_all = jax.vmap(of_one_path, in_axes=(0, 0 if step.per_path else None, 0, 0), out_axes=1)
        return tuple(of_all(step.counts, step.parameters, jnp.round(step.reaction), step.duration))

    return Accumulator(size=lambda _: len(scalars.names) ** 2, increments=increments, compensated=False)


def _check_data(network: Network, observed: Any, species: Any, num_times: int) -> tuple[tuple[int, ...], jax.Array]:
    """Positions of the observed species, and data [T, K]."""
    if isinstance(observed, Mapping) and species is None:
        species, columns = tuple(observed), list(observed.values())
        arrays = jnp if any(isinstance(value, jax.core.Tracer) for value in columns) else np
        if any(np.shape(value) != (num_times,) for value in columns):
            raise NetworkError(f"expected {num_times} observed values of each species, received shapes {[np.shape(value) for value in columns]}")
        observed = arrays.stack([arrays.asarray(value) for value in columns], axis=-1) if columns else None
    species = network.species if species is None else (species,) if isinstance(species, str) else tuple(species)
    if not species or len(set(species)) < len(species) or not set(species) <= set(network.species):
        raise NetworkError(f"expected observed species among {list(network.species)}, each once and at least one, received {list(species)}")
    if np.shape(observed) != (num_times, len(species)):
        raise NetworkError(f"expected observed [{num_times}, {len(species)}], times and species {list(species)}, received shape {np.shape(observed)}")
    return tuple(network.species.index(name) for name in species), jnp.asarray(observed)


def _raise_failures(increments: jax.Array, times: Any, num_particles: int) -> None:
    """Raises SimulationError for the first observation without a likelihood (where the values are known)."""
    if isinstance(increments, jax.core.Tracer) or np.isfinite(increments).all():
        return
    k = int(np.argmin(np.isfinite(increments)))
    impossible = f"density 0 from all {num_particles}; are the parameters far off, the noise too small, or the particles too few?"
    failed = "NaN: a path failed (counts too large, out of events, an impossible propensity: simulate() says which), or the noise did"
    received = impossible if increments[k] == -np.inf else failed
    raise SimulationError(f"observation {k} (t = {float(times[k]):g}): expected a particle that can have made it, received {received}")


@jax.custom_jvp
def _with_score(theta: jax.Array, value: jax.Array, score: jax.Array) -> jax.Array:
    """The value, whose derivative in theta [P] is the score [P]."""
    return value


@_with_score.defjvp
def _first_derivative(primals: tuple, tangents: tuple) -> tuple:
    theta, value, score = primals
    return value, jnp.matmul(_constant((score, theta))[0], tangents[0], precision="highest")


@jax.custom_jvp
def _constant(values: Any) -> Any:
    return values


@_constant.defjvp
def _refuse_derivative(primals: tuple, tangents: tuple) -> None:
    raise NotImplementedError("the filter has first derivatives in the parameters alone; filtered(...).information estimates minus the second")
