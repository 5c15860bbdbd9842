"""The score function (likelihood ratio, Girsanov): weight every path by the derivative of the logarithm of its probability.

References: Glynn 1990, "Likelihood ratio gradient estimation for stochastic systems", doi:10.1145/84537.84552; Plyasunov and Arkin
2007, doi:10.1016/j.jcp.2006.06.047; Burger et al. 2026, arXiv:2604.02121.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.ensemble import Ensemble
from ssagrad.network import Network
from ssagrad.score import add_to_weights, flat_shift, scalars_of, score_accumulator, score_scale
from ssagrad.simulate import simulate_with

_BASELINES = ("none", "mean", "leave_one_out")


def score_function(
    key: jax.Array,
    network: Network,
    parameters: Any,
    initial_counts: Any,
    times: Any,
    *,
    num_paths: int,
    baseline: str = "leave_one_out",
    window: float | None = None,
    **options: Any,
) -> Ensemble:
    """Exact paths, each weighted by its score: the gradient of all parameters from one simulation.

        ∂E f(x(t)) = E[(f(x(t)) − b) S(t)],   S(t) = Σ_{events before t} ∂ ln a_r − ∫_0^t Σ_r ∂a_r ds

    An observation at t is weighted by the score up to t alone (later score has mean zero), and that includes the unfinished waiting time.

    **Requires** positive rate constants, and that the parameters change propensities only. Nothing of the observable.
    **Bias / variance**: unbiased (`baseline="mean"`: too small by the factor 1 − 1/n); variance about Var f × the number of events that a
    parameter drives, so it grows linearly in time. With a window it is biased by what the score before the window still explains, and
    its variance stops growing.

    Args:
        parameters: pytree θ of float scalars or arrays; the derivative is taken in these.
        num_paths: n.
        baseline: b, for any observable: "leave_one_out" (mean of the other paths), "mean" (of all paths), or "none" (0).
        window: use only the score of the time (or number of events) `window` before each observation.
        options: passed on to `simulate`.

    Returns:
        The ensemble of `simulate` with the same key, with a derivative in its weights [n, T].

    Raises:
        ValueError: a rate constant that is 0, an unknown baseline, a window that is not positive.
    """
    if baseline not in _BASELINES:
        raise ValueError(f"expected baseline among {list(_BASELINES)}, received '{baseline}'")
    if baseline == "leave_one_out" and num_paths < 2:
        raise ValueError(f"baseline='leave_one_out' needs at least 2 paths, received {num_paths}")
    per_path = options.get("parameters_per_path", False)
    scalars = scalars_of(parameters, per_path=per_path)
    accumulator = score_accumulator(network, scalars)
    centre = jax.lax.stop_gradient(parameters)
    grid, now, before = (times, slice(None), None) if window is None else _window_grid(times, window, options.get("start_time", 0.0))
    paths, (scores,) = simulate_with((accumulator,), key, network, centre, initial_counts, grid, num_paths=num_paths, **options)
    if window is not None:
        since_start = jnp.concatenate([jnp.zeros_like(scores[:, :1]), scores], axis=1)
        paths, scores = paths.at(now), scores[:, now] - since_start[:, before]
    scores = scores * score_scale(network, centre, scalars, per_path=per_path).astype(scores.dtype)
    if baseline == "leave_one_out":
        scores = scores * (num_paths / (num_paths - 1))
    shift = flat_shift(parameters, scores.dtype, per_path=per_path)
    return replace(paths, weights=add_to_weights(paths.weights, scores, shift), is_normalised=baseline != "none")


def _window_grid(times: Any, window: float, start: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times to observe, where the wanted ones are among them, and where the windows open (position + 1; 0: at the start)."""
    if not window > 0:
        raise ValueError(f"expected a window > 0 (in the units of the times), received {window}")
    wanted = np.asarray(times, np.float64).reshape(-1)
    opens = np.maximum(wanted - window, start)
    grid = np.unique(np.concatenate([wanted, opens]))
    before = np.where(opens > start, np.searchsorted(grid, opens) + 1, 0)
    return grid, np.searchsorted(grid, wanted), before
