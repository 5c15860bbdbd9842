"""Laws in closed form: the linear birth–death process with immigration, and isomerisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ssagrad.network import NetworkError


class Law(NamedTuple):
    """Exact law of the count of one species at each time: mean [T], variance [T], probabilities [T, K] of 0 … K − 1 molecules."""

    mean: np.ndarray
    variance: np.ndarray
    probabilities: np.ndarray


def birth_death(times: Any, *, birth: float = 0.0, death: float = 0.0, immigration: float = 0.0, initial: int = 0) -> Law:
    """Law of the linear birth–death process with immigration: X -> 2 X @ birth, X -> 0 @ death, 0 -> X @ immigration.

    With δ = birth − death, u = (e^{δt} − 1)/δ, c = u/(1 + birth u), α = death c, β = birth c, the generating function E z^X is

        ((α + (1 − α − β) z) / (1 − β z))^initial · ((1 − β)/(1 − β z))^{immigration/birth},

    the second factor being exp(immigration c (z − 1)) without birth. Special cases: immigration–death (binomial + Poisson), pure birth
    (Yule; negative binomial), pure death (binomial). Probabilities come from the generating function on the unit circle, with an
    absolute error near 1e-15; K is chosen so that what lies beyond is smaller than that.

    Args:
        times: [T], from 0 on. birth, death: rate constants per molecule [1/time]. immigration: [1/time]. initial: molecules at time 0.

    References: Kendall 1948, doi:10.1214/aoms/1177730285; Bailey 1964, The Elements of Stochastic Processes.
    """
    times = check_times(times)
    _check_law((initial,), birth=birth, death=death, immigration=immigration)
    growth = birth - death
    u = times if growth == 0 else np.expm1(growth * times) / growth
    c = u / (1 + birth * u)
    alpha, beta = death * c, birth * c
    mean = (initial * (1 - alpha) + immigration * c) * (1 + birth * u)
    variance = (initial * (1 - alpha) * (alpha + beta) + immigration * c) * (1 + birth * u) ** 2

    def generating_function(z):
        a, b = alpha[:, None], beta[:, None]
        arrivals = -_log1p(b * (1 - z) / (1 - b)) / birth if birth > 0 else c[:, None] * (z - 1)
        return ((a + (1 - a - b) * z) / (1 - b * z)) ** initial * np.exp(immigration * arrivals)

    num_counts = initial + 2 + int(np.max(mean + 40 * (1 + np.sqrt(variance))))
    return Law(mean, variance, _invert(generating_function, num_counts))


def isomerisation(times: Any, *, forward: float, backward: float, initial: int, initial_other: int = 0) -> Law:
    """Law of the count of A in A <-> B @ forward, backward: a sum of two binomials, of those that began as A and as B.

    A molecule of A is an A again at time t with probability p = π + (1 − π) e^{−(forward + backward) t}, π = backward/(forward + backward),
    a molecule of B with q = π (1 − e^{−(forward + backward) t}).

    Args:
        times: [T], from 0 on. forward, backward: [1/time]. initial: molecules of A at time 0. initial_other: molecules of B at time 0.
    """
    times = check_times(times)
    _check_law((initial, initial_other), forward=forward, backward=backward)
    total = forward + backward
    share = backward / total if total > 0 else 1.0
    p, q = share + (1 - share) * np.exp(-total * times), -share * np.expm1(-total * times)

    def generating_function(z):
        return (1 + p[:, None] * (z - 1)) ** initial * (1 + q[:, None] * (z - 1)) ** initial_other

    mean, variance = initial * p + initial_other * q, initial * p * (1 - p) + initial_other * q * (1 - q)
    return Law(mean, variance, _invert(generating_function, initial + initial_other + 1))


def check_times(times: Any) -> np.ndarray:
    """Times [T] in float64, from 0 on and not decreasing; raises NetworkError otherwise."""
    times = np.atleast_1d(np.asarray(times, float))
    if times.ndim != 1 or not np.isfinite(times).all() or (np.diff(times, prepend=0.0) < 0).any():
        raise NetworkError(f"expected times [T] that start at 0 or later and do not decrease, received {times}")
    return times


def _check_law(initial: tuple[int, ...], **rates: float) -> None:
    for name, rate in rates.items():
        if not 0 <= rate < np.inf:
            raise NetworkError(f"expected a finite rate constant '{name}' ≥ 0, received {rate}")
    for count in initial:
        if count < 0 or count != int(count):
            raise NetworkError(f"expected a whole number ≥ 0 of molecules at time 0, received {count}")


def _invert(generating_function: Callable[[np.ndarray], np.ndarray], num_counts: int) -> np.ndarray:
    """Probabilities [T, K] of 0 … K − 1 from E z^X on the unit circle: their discrete Fourier transform."""
    circle = np.exp(-2j * np.pi * np.arange(num_counts // 2 + 1) / num_counts)
    return np.maximum(np.fft.irfft(generating_function(circle), num_counts, axis=-1), 0.0)


def _log1p(z: np.ndarray) -> np.ndarray:
    """log(1 + z) of complex numbers, precise for small z (NumPy's own is not)."""
    return np.log1p(2 * z.real + np.abs(z) ** 2) / 2 + 1j * np.arctan2(z.imag, 1 + z.real)
