"""Classical closures of the well-mixed Lotka–Volterra system: mean field, and second-order moments with a normal or log-normal guess at third ones.

    P → 2 P (birth),  P + H → 2 H (predation · P · H),  H → 0 (death)

The exact equations of the moments ⟨P⟩, ⟨H⟩, ⟨PP⟩, ⟨PH⟩, ⟨HH⟩ contain ⟨PPH⟩ and ⟨PHH⟩, and so on for ever; a closure says what those are. It has no
error bar of its own: only an exact simulation (`ssagrad.simulate`) tells where it breaks.

Reference: Kuehn 2016, "Moment closure: a brief review", doi:10.1007/978-3-319-28028-8_13.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

CLOSURES = ("mean field", "normal", "log-normal")


def closed_moments(closure: str, parameters: Mapping[str, Any], initial: tuple[float, float], times: np.ndarray, *, substeps: int = 10) -> jax.Array:
    """Mean prey and hunters at evenly spaced times from 0 on, [T, 2], by Runge–Kutta steps of fourth order.

    **Bias**: "mean field" leaves fluctuations out, the others all cumulants above the second ("normal"), or take them from a log-normal law; all
    fail where one species nearly dies out. Values may grow beyond bounds there, or be NaN. Differentiable in the parameters.

    Args:
        closure: one of CLOSURES. parameters: "birth" and "death" [1/time], "predation" [1/(molecule · time)], as in `models.lotka_volterra`.
        initial: prey and hunters at time 0, known exactly. substeps: of the integration between two times.

    Raises:
        ValueError: an unknown closure, times that are not evenly spaced from 0 on.
    """
    times = np.asarray(times, float)
    if closure not in CLOSURES:
        raise ValueError(f"expected a closure among {CLOSURES}, received '{closure}'")
    if times[0] != 0 or not np.allclose(np.diff(times), times[1]):
        raise ValueError(f"expected evenly spaced times from 0 on, received {times[:3]} …")
    prey, hunters = map(float, initial)
    first = [prey, hunters] if closure == "mean field" else [prey, hunters, prey * prey, prey * hunters, hunters * hunters]
    step = float(times[1]) / substeps

    def slope(state):
        return _slope(closure, parameters, state)

    def one(state, _):
        k1 = slope(state)
        k2 = slope(state + step / 2 * k1)
        k3 = slope(state + step / 2 * k2)
        state = state + step / 6 * (k1 + 2 * k2 + 2 * k3 + slope(state + step * k3))
        return state, state[:2]

    start = jnp.asarray(first, jnp.float32)
    path = jax.lax.scan(one, start, length=(len(times) - 1) * substeps)[1]
    return jnp.concatenate([start[None, :2], path[substeps - 1 :: substeps]])


def breaking_time(times: np.ndarray, found: np.ndarray, exact: np.ndarray, *, tolerance: float = 0.05) -> float:
    """The first time at which a curve [T] is further from the exact one than the tolerance times its value (or not a number); infinity if never."""
    away = ~(np.abs(np.asarray(found) - exact) <= tolerance * np.abs(exact))
    return float(times[away.argmax()]) if away.any() else float("inf")


def _slope(closure: str, parameters: Mapping[str, Any], state: jax.Array) -> jax.Array:
    birth, predation, death = (parameters[name] for name in ("birth", "predation", "death"))
    prey, hunters = state[:2]
    if closure == "mean field":
        met = prey * hunters
        return jnp.stack([birth * prey - predation * met, predation * met - death * hunters])
    pp, ph, hh = state[2:]
    if closure == "normal":
        pph = 2 * prey * ph + hunters * pp - 2 * prey**2 * hunters
        phh = 2 * hunters * ph + prey * hh - 2 * prey * hunters**2
    else:
        pph = pp * ph**2 / (prey**2 * hunters)
        phh = hh * ph**2 / (prey * hunters**2)
    means = [birth * prey - predation * ph, predation * ph - death * hunters]
    of_pp = birth * (2 * pp + prey) + predation * (ph - 2 * pph)
    of_ph = (birth - death) * ph + predation * (pph - phh - ph)
    of_hh = death * (hunters - 2 * hh) + predation * (2 * phh + ph)
    return jnp.stack([*means, of_pp, of_ph, of_hh])
