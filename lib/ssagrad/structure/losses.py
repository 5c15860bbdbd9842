"""Losses of networks that may explode: paths stop after so many events, and no single one counts for more than a limit.

Libraries hold reactions such as `0 -> X` and `X -> 2 X`, and a descent may visit rates at which a path would never end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.ensemble import Ensemble
from ssagrad.simulate import simulate
from ssagrad.structure.formulations import Formulation

MOST_EVENTS = 20_000
LARGEST_LOSS = 5.0


class CrispLosses(NamedTuple):
    """Mean loss of single paths of each model, its standard error, and the share of paths that were stopped, each [...]."""

    mean: np.ndarray
    standard_error: np.ndarray
    stopped: np.ndarray


def capped_loss(
    estimator: Callable[..., Ensemble],
    formulation: Formulation,
    initial_counts: Any,
    times: Any,
    *,
    distance: Callable[[jax.Array], jax.Array],
    num_paths: int,
    sigma: float,
    most_events: int = MOST_EVENTS,
    largest: float = LARGEST_LOSS,
) -> Callable[..., tuple[jax.Array, dict[str, jax.Array]]]:
    """The expected loss of single paths as a function of (z, key, unit = 1), with gradients from smoothing over z: what `fitting.descend` takes.

    The model is that of θ = unit · z. With `each=units` of `descend`, every start has a unit of its own, so that descents with different
    smoothing (in θ: σ · unit) run in one batch; steps of the optimiser are in z.

    It records the simulated "events" and the share of paths "stopped" after `most_events`, which stay where they are from then on.

    **Bias**: as the estimator; a path that was stopped or whose loss was cut is another observable, not an error.

    Args:
        estimator: of `estimators.smoothing`: `polyak_smoothing`, `reinforce` or `rloo`. num_paths, sigma: its options.
        distance: from counts [n, T, S] to one loss for each path [n], such as `fitting.relative_distance`.
        most_events: of a path. largest: loss of a path, also of one that cannot be simulated (NaN).
    """

    def loss(z, key, unit=1.0):
        options = {"num_paths": num_paths, "sigma": sigma, "max_events": most_events, "on_exhausted": "freeze"}
        options["decode"] = lambda z: formulation.decode(jax.tree.map(lambda leaf: unit * leaf, z))
        paths = estimator(key, formulation.network, z, initial_counts, times, **options)
        values = _cut(distance(paths.counts), largest)
        dtype = values.dtype
        return paths.expectation(values), {"events": paths.num_events.astype(dtype).sum(), "stopped": paths.exhausted.astype(dtype).mean()}

    return loss


def crisp_losses(
    key: jax.Array,
    formulation: Formulation,
    parameters: Any,
    initial_counts: Any,
    times: Any,
    *,
    distance: Callable[[jax.Array], jax.Array],
    num_paths: int,
    most_events: int = MOST_EVENTS,
    largest: float = LARGEST_LOSS,
) -> CrispLosses:
    """The same loss without smoothing: of the very models that θ decodes to, each from `num_paths` fresh paths.

    Args:
        parameters: θ of any number of models, leaves [..., shape of one], such as the history of descents [M, K, ...]. The rest as `capped_loss`.

    Raises:
        ValueError: fewer than 2 paths.
    """
    if num_paths < 2:
        raise ValueError(f"expected num_paths ≥ 2 (for a standard error), received {num_paths}")
    one = formulation.draw(np.random.default_rng(0), 1)
    flat = {name: np.asarray(parameters[name], np.float32).reshape(-1, *leaf.shape[1:]) for name, leaf in one.items()}
    name, leaf = next(iter(one.items()))
    axes = np.shape(parameters[name])[: np.ndim(parameters[name]) - leaf.ndim + 1]
    decoded = jax.tree.map(lambda leaf: np.repeat(np.asarray(leaf), num_paths, axis=0), jax.jit(jax.vmap(formulation.decode))(flat))
    total = len(flat[name]) * num_paths
    settings = {"parameters_per_path": True, "max_events": most_events, "on_exhausted": "freeze"}
    paths = simulate(key, formulation.network, decoded, initial_counts, times, num_paths=total, **settings)
    losses = np.asarray(_cut(distance(paths.counts), largest), float).reshape(*axes, num_paths)
    stopped = np.asarray(paths.exhausted).reshape(*axes, num_paths)
    return CrispLosses(losses.mean(-1), losses.std(-1, ddof=1) / num_paths**0.5, stopped.mean(-1))


def _cut(losses: jax.Array, largest: float) -> jax.Array:
    return jnp.where(losses < largest, losses, largest)
