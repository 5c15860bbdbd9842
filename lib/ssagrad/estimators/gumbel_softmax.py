"""Gumbel-Softmax straight-through: exact paths forward, a relaxed choice of the reaction and reparametrised waiting times in the derivative.

References: Jang, Gu and Poole 2017, "Categorical reparameterization with Gumbel-Softmax", arXiv:1611.01144; Bengio, Léonard and Courville
2013, arXiv:1308.3432 (straight-through); Burger et al. 2026, arXiv:2604.02121 (for stochastic simulation).
"""

from __future__ import annotations

from typing import Any

import jax

from ssagrad.backpropagation import reverse_paths
from ssagrad.ensemble import Ensemble
from ssagrad.network import Network
from ssagrad.straight_through import check_options, forward_paths


def gumbel_softmax(
    key: jax.Array,
    network: Network,
    parameters: Any,
    initial_counts: Any,
    times: Any,
    *,
    num_paths: int,
    temperature: float,
    cutoff: float | None = None,
    waiting_times: bool = True,
    mode: str = "forward",
    **options: Any,
) -> Ensemble:
    """Exact paths whose counts carry D, the derivative along a path in which the choice of each reaction is relaxed by a softmax.

        dy_r = y_r/τ (dℓ_r − Σ_s y_s dℓ_s),   y = softmax((ln a + g)/τ),   dℓ_r = (∂a_r + ∇a_r · D)/a_r
        D ← D + Σ_r ν_r dy_r at an event,   dt ← dt − h Σ_r (∂a_r + ∇a_r · D) / Σ_r a_r over a stay of length h

    with Gumbel noise g whose largest ln a_r + g_r is that of the reaction that fired. Counts at a fixed time jump where an event passes it, so they
    carry the derivative of their average over a window of width `cutoff` around that time (narrower near the start, so that the time is in its
    middle); `time_integrals` need no window. Values are those of exact paths (though not of `simulate` with the same key).

    **Requires** propensities that are differentiable functions of the counts: off whole numbers they go on as they are written (mass action:
    falling factorials), and the result depends on that. A reaction with zero propensity has no gradient.
    **Bias / variance**: biased. One choice at probability p = 1/2 is damped by 0.667 at τ = 1 (rare reactions are exaggerated: 2.80 at p = 0.99),
    and by less at lower τ; over many events the bias does not vanish with τ unless the future is linear in the counts; it can have the wrong sign for
    species of one molecule such as promoters. O(cutoff²/24) of the second derivative in time on top. The variance is low and does not grow with time
    at high τ, and below a critical temperature (`ssagrad.lyapunov`) it grows exponentially with the number of events; the part of the waiting times
    goes like 1/cutoff, so take a cutoff well above the typical time between events.

    Args:
        parameters: pytree θ of float scalars or arrays; the derivative is taken in these.
        num_paths: n.
        temperature: τ > 0.
        cutoff: width of the window [time]; with clock="events" none: there, counts carry D after so many events.
        waiting_times: False leaves dt out, which is wrong for anything observed at a time (shown in the reference).
        mode: "forward" carries one tangent for each scalar parameter along with the simulation: the faster way for few parameters. "reverse" goes
            back through a scan of `max_events` events (required), at a cost that hardly depends on the number of parameters: for many.
        options: passed on to `simulate`; "reverse" takes neither num_threads nor on_exhausted="freeze", and keeps time in plain floats.

    Returns:
        An ensemble like that of `simulate`, with a derivative in counts [n, T, S] and time_integrals (if recorded). An exploding tangent is ∞ or NaN.

    Raises:
        ValueError: temperature, cutoff or mode that are not as above; event_counts recorded, which would have no derivative.
    """
    if temperature is None:
        raise ValueError("expected a temperature > 0, received None (propensity_straight_through has none)")
    check_options(mode, temperature, cutoff, **options)
    paths = reverse_paths if mode == "reverse" else forward_paths
    relaxation = {"temperature": float(temperature), "cutoff": cutoff, "waiting_times": waiting_times}
    return paths(key, network, parameters, initial_counts, times, num_paths=num_paths, **relaxation, **options)
