"""Gradient estimators: ways to make an ensemble of exact paths carry a derivative in the parameters.

**The contract.** An estimator is called like `simulate` and returns an `Ensemble` with the same values, through which JAX can
differentiate: any loss made of ensemble statistics can be handed to `jax.grad`, `jax.value_and_grad`, `jax.jacfwd` or optax,

    jax.grad(lambda p: ((polyak_smoothing(key, network, p, start, times, …).mean("I") - data) ** 2).mean())(parameters)

The derivative sits in the weights or in the counts; rows may be added whose weight is 0 and whose derivative is not. Only first
derivatives are estimated. One estimator per file, named like the method.
"""

from ssagrad.estimators.alternative_path import alternative_path
from ssagrad.estimators.comparison import compare, gain, show
from ssagrad.estimators.coupled_difference import coupled_difference
from ssagrad.estimators.dynkin_controls import dynkin_controls
from ssagrad.estimators.forked_path import forked_path
from ssagrad.estimators.gumbel_softmax import gumbel_softmax
from ssagrad.estimators.propensity_straight_through import propensity_straight_through
from ssagrad.estimators.score_function import score_function
from ssagrad.estimators.smoothing import polyak_smoothing, reinforce, rloo

__all__ = [
    "alternative_path",
    "compare",
    "coupled_difference",
    "dynkin_controls",
    "forked_path",
    "gain",
    "gumbel_softmax",
    "polyak_smoothing",
    "propensity_straight_through",
    "reinforce",
    "rloo",
    "score_function",
    "show",
]
