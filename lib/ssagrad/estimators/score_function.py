"""The score function (likelihood ratio, Girsanov): weight every path by the derivative of the logarithm of its probability.

References: Glynn 1990, "Likelihood ratio gradient estimation for stochastic systems", doi:10.1145/84537.84552; Plyasunov and Arkin
2007, doi:10.1016/j.jcp.2006.06.047; Burger et al. 2026, arXiv:2604.02121.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.ensemble import Ensemble
from ssagrad.network import Network
from ssagrad.score import add_to_weights, flat_shift, outside_gradients, scalars_of, score_accumulator, score_scale, scores_at
from ssagrad.simulate import simulate_with

_BASELINES = ("none", "mean", "leave_one_out", "optimal")
_OF_OTHER_PATHS = ("leave_one_out", "optimal")


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False)
class OptimalBaseline:
    """b = E[f S²] / E[S²] from the other paths: each path's own term of the gradient, which the weights hold for all paths together only.

    Attributes: scores [n, T, P] at times [T]; shift: θ − stop_gradient(θ) [P] or [n, P].
    """

    scores: jax.Array
    times: jax.Array
    shift: jax.Array
    has_plain_means: ClassVar[bool] = True

    @jax.jit
    def terms(self, values: jax.Array, counts: jax.Array, times: jax.Array) -> jax.Array:
        """Values [n, T, ...] that carry Σ_p S_p (f − b_p) dθ_p as their derivative."""
        scores = scores_at(self.scores, self.times, times)[..., None]
        fixed = jax.lax.stop_gradient(values.reshape(*values.shape[:2], 1, -1))
        deviations = fixed - fixed.mean(0)[None]  # smaller numbers, less rounding: b follows a shift of f
        squares = scores**2
        products = squares * deviations
        baselines = _ratio(products.sum(0)[None] - products, squares.sum(0)[None] - squares)
        slopes = scores * (deviations - baselines)
        axes = "ntpk,p->ntk" if self.shift.ndim == 1 else "ntpk,np->ntk"
        return values + jnp.einsum(axes, slopes, self.shift, precision="highest").reshape(values.shape)

    def integral_terms(self, integrals: jax.Array, times: jax.Array) -> jax.Array:
        """The same for time integrals [n, T, S]."""
        return self.terms(integrals, integrals, times)


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
    parameter drives, so it grows linearly in time. Without a baseline E f² takes the place of Var f. Of all constants b = E[f S²]/E[S²] has
    the least variance, for each observable, time and parameter its own: below that of the mean by (b − E f)² E[S²], which is little where f and
    S² are nearly uncorrelated (1 % for an immigration–death process) and much where f is skewed with the score. With a window it is biased
    by what the score before the window still explains, and its variance stops growing.

    Args:
        parameters: pytree θ of float scalars or arrays; the derivative is taken in these.
        num_paths: n.
        baseline: b, for any observable: "leave_one_out" (mean of the other paths), "mean" (of all paths), "optimal" (E[f S²]/E[S²] from the
            other paths), or "none" (0).
        window: use only the score of the time (or number of events) `window` before each observation.
        options: passed on to `simulate`.

    Returns:
        The ensemble of `simulate` with the same key, with a derivative in its weights [n, T].

    Raises:
        ValueError: a rate constant that is 0, an unknown baseline, one of other paths where there is one path, a window that is not positive.
    """
    if baseline not in _BASELINES:
        raise ValueError(f"expected baseline among {list(_BASELINES)}, received '{baseline}'")
    if baseline in _OF_OTHER_PATHS and num_paths < 2:
        raise ValueError(f"baseline='{baseline}' is of the other paths and needs at least 2, received num_paths={num_paths}")
    per_path = options.get("parameters_per_path", False)
    scalars = scalars_of(parameters, per_path=per_path)
    accumulator = score_accumulator(network, scalars)
    centre = jax.lax.stop_gradient(parameters)
    grid, now, before = (times, slice(None), None) if window is None else _window_grid(times, window, options.get("start_time", 0.0))
    with outside_gradients(key, centre, initial_counts, times, options):
        paths, (scores,) = simulate_with((accumulator,), key, network, centre, initial_counts, grid, num_paths=num_paths, **options)
        if window is not None:
            since_start = jnp.concatenate([jnp.zeros_like(scores[:, :1]), scores], axis=1)
            paths, scores = paths.at(now), scores[:, now] - since_start[:, before]
        scale = score_scale(network, centre, scalars, per_path=per_path)
    weights, scores, shift = _weigh(paths.weights, scores, scale, parameters, baseline=baseline, per_path=per_path)
    controls = OptimalBaseline(scores, paths.times, shift) if baseline == "optimal" else None
    return replace(paths, weights=weights, controls=controls, is_normalised=baseline != "none")


@partial(jax.jit, static_argnames=("baseline", "per_path"))
def _weigh(
    weights: jax.Array, scores: jax.Array, scale: jax.Array, parameters: Any, *, baseline: str, per_path: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Weights [n, T] with a derivative, scores [n, T, P] in their unit, and θ − stop_gradient(θ).

    With b_i = Σ_{j≠i} f_j S_j² / Σ_{j≠i} S_j², the sum Σ_i S_i (f_i − b_i) is linear in f: path j has the weight
    S_j − S_j² Σ_{i≠j} S_i / Σ_{k≠i} S_k².
    """
    scores = scores * scale.astype(scores.dtype).reshape(-1, 1, scores.shape[-1])
    if baseline == "leave_one_out":
        slopes = scores * (len(scores) / (len(scores) - 1))
    elif baseline == "optimal":
        squares = scores**2
        shares = _ratio(scores, squares.sum(0)[None] - squares)
        slopes = scores - squares * (shares.sum(0)[None] - shares)
    else:
        slopes = scores
    shift = flat_shift(parameters, scores.dtype, per_path=per_path)
    return add_to_weights(weights, slopes, shift), scores, shift


def _ratio(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """0 where the denominator is 0: no path has a score yet."""
    return jnp.where(denominator > 0, numerator / jnp.where(denominator > 0, denominator, 1), 0)


def _window_grid(times: Any, window: float, start: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times to observe, where the wanted ones are among them, and where the windows open (position + 1; 0: at the start)."""
    if not window > 0:
        raise ValueError(f"expected a window > 0 (in the units of the times), received {window}")
    wanted = np.asarray(times, np.float64).reshape(-1)
    opens = np.maximum(wanted - window, start)
    grid = np.unique(np.concatenate([wanted, opens]))
    before = np.where(opens > start, np.searchsorted(grid, opens) + 1, 0)
    return grid, np.searchsorted(grid, wanted), before
