"""Gradients by ssagrad, called as a user calls it: score function, and Gumbel-Softmax straight-through in forward mode."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
from ssagrad.estimators import gumbel_softmax, score_function
from systems import System

from . import own


def prepare(system: System, method: str, observable: str, num_paths: int):
    """`run(seed)`: the gradient of the mean of one species at the horizon in all parameters, on the host."""
    network = own.build(system)
    estimator = {"score": score_function, "straight-through": partial(gumbel_softmax, temperature=1.0, cutoff=system.horizon / 50)}[method]
    times = np.array([system.horizon])

    def run(seed: int) -> dict:
        def mean(parameters):
            return estimator(jax.random.key(seed), network, parameters, system.start, times, num_paths=num_paths).mean(observable)[-1]

        return jax.tree.map(float, jax.grad(mean)(dict(system.parameters)))

    return run
