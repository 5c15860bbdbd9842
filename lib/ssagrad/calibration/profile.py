"""Profile intervals: how far a parameter can go, all others fitted anew, before the misfit has risen by more than chance allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.calibration.record import quantile
from ssagrad.calibration.targets import Targets

_REACH = np.log(1e4)  # of a parameter from its estimate, beyond which it is open
_STEPS, _SEARCH, _CLOSE = 12, 24, 1e-3  # of Gauss–Newton and of the search for an end, and how near t that comes


def profile_intervals(
    key: jax.Array, joint: Callable, names: Sequence[str], logs: np.ndarray, targets: Targets, covariance: np.ndarray
) -> dict[str, tuple[float, float]]:
    """95 % intervals by name: the θ_p at which min Q over all other parameters is at most Q(θ̂) + t² V_p/I_p.

    Q is the misfit in the inverse covariance of the observed means, t Student's quantile with one degree of freedom less than there are replicates,
    V_p the variance of ln θ_p in the covariance and I_p that which Q's curvature alone would give (the scatter of simulation, and weights from few
    replicates, make V_p larger). Where moments are linear in ln θ these are the intervals of the covariance; where they bend, the ends follow.
    Simulated moments take the same key everywhere. An end that is not reached within a factor 10⁴ is 0 or infinite.

    Args:
        joint: from parameters by name and a key to `experiments.Joint`. logs: ln θ̂ [P]. covariance: of ln θ̂ [P, P], infinite where open.

    References: Venzon and Moolgavkar 1988, doi:10.2307/2347496.
    """
    weight, seen = targets.weight()
    means, slopes = (_compared(function, seen) for function in (_moments(joint, key, names), jax.jacfwd(_moments(joint, key, names))))

    def misfit(logs, others):
        residuals = means(logs) - targets.means.ravel()[seen]
        if not len(others):
            return residuals @ weight @ residuals, None
        part = slopes(logs)[:, others]
        return residuals @ weight @ residuals, np.linalg.pinv(part.T @ weight @ part, hermitian=True) @ (part.T @ weight @ residuals)

    def lowest(logs, others):
        best = np.inf, logs
        for _ in range(_STEPS):
            value, change = misfit(logs, others)
            gain, best = best[0] - value, min(best, (value, logs), key=lambda pair: pair[0])
            if change is None or gain < 1e-3:
                break
            logs = logs.copy()
            logs[others] -= np.clip(change, -0.5, 0.5)
        return best

    every = np.arange(len(names))
    least, centre = lowest(np.array(logs, float), every)
    part = slopes(centre)
    curvature = np.diag(np.linalg.pinv(part.T @ weight @ part, hermitian=True))
    reach, found = quantile(targets.replicates - 1), {}
    for p, name in enumerate(names):
        wider = covariance[p, p] / curvature[p] if np.isfinite(covariance[p, p]) and curvature[p] > 0 else 1.0
        rises = [_rise(lowest, centre, p, side, least, every[every != p]) for side in (-1.0, 1.0)]
        first = np.sqrt(max(curvature[p], 1e-6))
        low, high = (_end(rise, reach * np.sqrt(max(wider, 1.0)), first) for rise in rises)
        found[name] = float(np.exp(centre[p] - low)), float(np.exp(centre[p] + high))
    return found


def _moments(joint: Callable, key: jax.Array, names: Sequence[str]) -> Callable[[jax.Array], jax.Array]:
    return lambda logs: joint({name: jnp.exp(logs[p]) for p, name in enumerate(names)}, key).values.mean(0).reshape(-1)


def _compared(function: Callable, seen: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    compiled = jax.jit(function)
    return lambda logs: np.asarray(compiled(jnp.asarray(logs, jnp.result_type(float))), float)[seen]


def _rise(lowest: Callable, centre: np.ndarray, p: int, side: float, least: float, others: np.ndarray) -> Callable[[float], float]:
    """√(Q − Q̂) at a distance of ln θ_p, nearly linear in it; each search begins where the last one ended."""
    start = [centre]

    def rise(distance):
        logs = start[0].copy()
        logs[p] = centre[p] + side * distance
        value, start[0] = lowest(logs, others)
        return np.sqrt(max(value - least, 0.0)) if np.isfinite(value) else np.inf

    return rise


def _end(rise: Callable[[float], float], level: float, first: float) -> float:
    """The distance at which the rise reaches a level; infinite beyond a fit's reach."""
    inside, outside, distance = (0.0, 0.0), None, min(level * first, _REACH)
    for _ in range(_SEARCH):
        value = rise(distance)
        if abs(value - level) < _CLOSE * level:
            return distance
        if value > level:
            outside = distance, value
        elif distance >= _REACH:
            return np.inf
        else:
            inside = distance, value
        if outside is None:
            distance = min(1.6 * distance, _REACH)
        else:
            share = (level - inside[1]) / (outside[1] - inside[1]) if np.isfinite(outside[1]) else 0.5
            distance = inside[0] + float(np.clip(share, 0.1, 0.9)) * (outside[0] - inside[0])
    return distance
