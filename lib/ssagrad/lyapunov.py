"""When straight-through tangents explode: growth per event of the tangent D_{i+1} = J_i D_i + b_i, typical and in mean square.

Below a critical temperature the product of the random J_i grows: the typical exponent λ = E ln|J| says how a typical tangent grows, the
second-moment exponent Λ₂ how the variance does. Λ₂ ≥ 2 λ; between their zeros typical tangents decay while the variance diverges, and samples
of it are ruled by rare spikes.

Reference: Burger et al. 2026, arXiv:2604.02121, who describe the regimes of Gumbel-Softmax gradients by a Lyapunov exponent. Whether theirs
is one of these two is not known.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.network import Network
from ssagrad.score import scalars_of
from ssagrad.simulate import simulate_with
from ssagrad.straight_through import tangents_accumulator


class Exponents(NamedTuple):
    """Growth per event: of a typical tangent (λ), and of its mean square (Λ₂)."""

    typical: float
    second_moment: float


class Growth(NamedTuple):
    """What pilot paths say about the tangents, for each species and parameter [S, P].

    second_moment: slope of ln E[D²] per event over the second half of the pilot; standard_error: of that slope, from groups of paths.
    explodes: some slope is positive by more than two standard errors, or a tangent overflowed.
    """

    second_moment: np.ndarray
    standard_error: np.ndarray
    explodes: bool


def association_exponents(temperature: float, affinity: float, num_a: int, num_b: int) -> Exponents:
    """Exponents of the Gumbel-Softmax tangent of A + B <-> C in its jump chain, by quadrature.

        J = 1 − 2 y (1 − y) h(n) / τ,   y = σ((ln(a_on/a_off) + L)/τ),   h = 1/(N_A − n) + 1/(N_B − n) + 1/n,   L logistic

    for n complexes, 0 < n < min(N_A, N_B); J = 1 at both ends. λ is the mean of ln|J| over the stationary jump chain, Λ₂ the logarithm of the
    spectral radius of the matrix E[J²; n → n'].

    **Requires** float64 from NumPy only. **Bias / variance**: none but the quadrature's (ln|J| has integrable singularities; λ is good to 1e-3).

    Args:
        temperature: τ > 0.
        affinity: K = k_on / k_off.
        num_a, num_b: molecules of A and B, free and bound together.

    Raises:
        ValueError: a temperature or an affinity that is not positive, no molecules.
    """
    if not (temperature > 0 and affinity > 0 and min(num_a, num_b) >= 1):
        raise ValueError(f"expected temperature, affinity > 0 and molecules of A and B, received {temperature}, {affinity}, {num_a}, {num_b}")
    n = np.arange(min(num_a, num_b) + 1.0)
    binding, release = affinity * (num_a - n) * (num_b - n), n
    up = binding / (binding + release)
    size = len(n)
    chance = np.diag(up[:-1], 1) + np.diag(1 - up[1:], -1)
    weight = np.linalg.lstsq(np.vstack([chance.T - np.eye(size), np.ones(size)]), np.append(np.zeros(size), 1), rcond=None)[0]
    inner = n[1:-1]
    slope = 1 / (num_a - inner) + 1 / (num_b - inner) + 1 / inner
    score = np.log(binding[1:-1] / release[1:-1])
    squares, logarithm = chance.copy(), 0.0
    for i, (u, h) in enumerate(zip(score, slope, strict=True), start=1):
        y, mass = _soft_choices(u, temperature)
        factor = 1 - 2 * y * (1 - y) * h / temperature
        logarithm += weight[i] * float(mass @ np.log(np.maximum(np.abs(factor), 1e-300)))
        squares[i, i + 1] = mass @ (factor**2 * (y > 0.5))
        squares[i, i - 1] = mass @ (factor**2 * (y < 0.5))
    return Exponents(logarithm, float(np.log(np.max(np.abs(np.linalg.eigvals(squares))))))


def _soft_choices(score: float, temperature: float, num_points: int = 8_000) -> tuple[np.ndarray, np.ndarray]:
    """Values of y and their probabilities: midpoints in the logit of y, where the logistic noise is smooth."""
    logit = (np.arange(num_points) + 0.5) / num_points * 80 - 40
    noise = temperature * logit - score
    density = temperature / (2 * np.cosh(noise / 2)) ** 2
    mass = density * (80 / num_points)
    y = 1 / (1 + np.exp(-logit))
    left, right = 1 / (1 + np.exp(score + 40 * temperature)), 1 / (1 + np.exp(40 * temperature - score))
    return np.concatenate([[0.0], y, [1.0]]), np.concatenate([[left], mass, [right]])


def critical_temperature(exponent: str, affinity: float, num_a: int, num_b: int) -> float:
    """The largest temperature in (0.01, 1) at which an exponent of `association_exponents` is 0; NaN if it is negative in all of it.

    Args:
        exponent: "typical" (λ) or "second_moment" (Λ₂).
    """
    if exponent not in Exponents._fields:
        raise ValueError(f"expected exponent among {list(Exponents._fields)}, received '{exponent}'")

    def value(temperature):
        return getattr(association_exponents(temperature, affinity, num_a, num_b), exponent)

    high = 1.0
    while value(low := high / 1.2) < 0:
        high = low
        if low < 0.01:
            return float("nan")
    while high - low > 1e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if value(middle) > 0 else (low, middle)
    return (low + high) / 2


def tangent_growth(
    key: jax.Array,
    network: Network,
    parameters: Any,
    initial_counts: Any,
    *,
    temperature: float | None,
    num_events: int,
    num_paths: int = 1000,
    **options: Any,
) -> Growth:
    """Growth of the mean square tangent with the number of events, from pilot paths of any network, and whether it is an explosion.

    ln E[D²] is read at 20 numbers of events in the second half of the pilot and fitted by a line, in 8 groups of paths for its standard error.

    **Requires** paths that are not absorbed. **Bias / variance**: a sample mean square misses rare spikes, so a positive slope comes out too small;
    no explosion in the pilot does not prove that a longer path has none.

    Args:
        temperature: of Gumbel-Softmax; None for normalised propensities.
        num_events: length of the pilot, as long as the paths that the gradient is wanted for.
        options: passed on to `simulate`.
    """
    times = np.unique(np.linspace(num_events // 2, num_events, 20).astype(int))
    scalars = scalars_of(parameters)
    accumulator = tangents_accumulator(network, scalars, temperature, True, True)
    options |= {"num_paths": num_paths, "clock": "events"}
    _, (columns,) = simulate_with((accumulator,), key, network, jax.lax.stop_gradient(parameters), initial_counts, times, **options)
    shape = (len(network.species), len(scalars.names))
    tangents = np.asarray(columns[..., : shape[0] * shape[1]], np.float64).reshape(num_paths, len(times), *shape)
    groups = np.array_split(tangents, 8)
    largest = np.max(np.abs(tangents), initial=0)
    with np.errstate(invalid="ignore", over="ignore"):
        logs = np.stack([np.log(np.maximum((group**2).mean(0), 1e-300)) for group in groups])
    steps = times - times.mean()
    slopes = np.einsum("t,gtsp->gsp", steps, logs) / (steps @ steps)
    mean, error = slopes.mean(0), slopes.std(0, ddof=1) / np.sqrt(len(groups))
    explodes = not np.isfinite(largest) or bool(np.any((mean > 2 * error) & (mean * num_events > 1)))
    return Growth(mean, error, explodes)
