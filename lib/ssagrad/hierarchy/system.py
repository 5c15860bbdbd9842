"""What a hierarchical model of wells is: latent levels, weights that are learned, and a solution of its differential equation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from ssagrad.hierarchy.levels import Levels


class System(NamedTuple):
    """A model of wells.

    name: in words. levels: its P latent parameters. initial_weights: (key) -> pytree of what is learned besides the posterior.
    masks: which components each group latent depends on, bool [Y, C]. solve: (weights, u [P, M], treatments [2, M], components [C, M], times [T]) -> Prediction for M lanes, each a draw for a well.
    guards: (latent, least, largest u) where `solve` stops following a latent, besides four prior standard deviations: beyond, only its prior speaks.
    """

    name: str
    levels: Levels
    initial_weights: Callable[[jax.Array], Any]
    masks: tuple[tuple[bool, ...], ...]
    solve: Callable[..., Any]
    guards: tuple[tuple[str, float, float], ...] = ()
