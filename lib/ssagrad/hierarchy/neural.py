"""The same wells with learned right-hand sides ("black box"): each state is produced and lost at rates that a small network gives.

    ds/dt = σ(W_a h + b_a) − σ(W_d h + b_d) s,   h = tanh(W [s, c] + b),   c: latents, treatments and components of the well, constant in time

s has four states that are observed (x, and three per cell) and two that are not; four more states v, with a network of their own that sees all ten,
are the *variances* of the four signals (start 1e-5). Reference: Roeder et al. 2019, arXiv:1905.12090. A patent, US 11,030,275, claims learned right-hand
sides inside variational autoencoders. The public code reads v as precisions although it starts them as variances, which caps its likelihood.
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.hierarchy.integrate import Prediction, modified_euler
from ssagrad.hierarchy.levels import Latent, levels_of
from ssagrad.hierarchy.receiver import MASKS, NUM_GROUPS, START
from ssagrad.hierarchy.system import System

NUM_STATES, NUM_NOISES = 6, 4  # four observed and two latent; a variance for each signal
NOISE_START, LEAST_VARIANCE, LATENT_START = 1e-5, 1e-8, 1e-3
_LOCALS, _GROUPS, _GLOBALS = 5, 2, 5


def hierarchical(*, hidden: int = 25, hidden_noise: int = 20) -> System:
    """The black box with 5 global, 2 group and 5 local latents, all standard normal a priori."""
    numbers = {"global": _GLOBALS, "group": _GROUPS, "local": _LOCALS}
    latents = [Latent(f"{letter}{i + 1}", level, "normal", 0, 1) for letter, (level, n) in zip("xyz", numbers.items(), strict=True) for i in range(n)]
    constants = sum(numbers.values()) + 2 + NUM_GROUPS
    return System("black box", levels_of(latents), partial(_initial_weights, constants, hidden, hidden_noise, _GROUPS), MASKS, partial(_solve, _GLOBALS, _GROUPS))


def local_only(*, hidden: int = 50, hidden_noise: int = 25) -> System:
    """The black box without a hierarchy: 5 local latents only."""
    latents = [Latent(f"z{i + 1}", "local", "normal", 0, 1) for i in range(_LOCALS)]
    constants = _LOCALS + 2 + NUM_GROUPS
    return System("black box, local latents only", levels_of(latents), partial(_initial_weights, constants, hidden, hidden_noise, 0), (), partial(_solve, 0, 0))


def _initial_weights(constants, hidden, hidden_noise, num_groups, key):
    keys = jax.random.split(key, 5)
    weights = {
        "states": _dense(keys[0], hidden, NUM_STATES + constants),
        "state_rates": _dense(keys[1], 2 * NUM_STATES, hidden),
        "noises": _dense(keys[2], hidden_noise, NUM_STATES + NUM_NOISES + constants),
        "noise_rates": _dense(keys[3], 2 * NUM_NOISES, hidden_noise),
    }
    return weights | ({"offset": _dense(keys[4], num_groups, NUM_GROUPS)} if num_groups else {})


def _dense(key, rows, columns):
    """Weights and bias, uniform within ± 1/√columns."""
    width = 1 / np.sqrt(columns)
    one, two = jax.random.split(key)
    return {
        "w": jax.random.uniform(one, (rows, columns), jnp.float32, -width, width),
        "b": jax.random.uniform(two, (rows,), jnp.float32, -width, width),
    }


def _affine(layer, inputs):
    return layer["w"] @ inputs + layer["b"][:, None]


def _solve(num_globals, num_groups, weights, u, treatments, groups, times) -> Prediction:
    """Both networks as one: hidden units stacked, what is constant in time multiplied once."""
    if num_groups:
        offset = _affine(weights["offset"], groups)
        u = u.at[num_globals : num_globals + num_groups].add(offset)
    constants = jnp.concatenate([u, treatments, groups])
    states, noises, rates, noise_rates = (weights[key] for key in ("states", "noises", "state_rates", "noise_rates"))
    varying, hidden = NUM_STATES + NUM_NOISES, len(states["b"])
    first = jnp.concatenate([jnp.pad(states["w"][:, :NUM_STATES], ((0, 0), (0, NUM_NOISES))), noises["w"][:, :varying]])
    ahead = jnp.concatenate([states["w"][:, NUM_STATES:], noises["w"][:, varying:]]) @ constants + jnp.concatenate([states["b"], noises["b"]])[:, None]
    own, its = jnp.pad(rates["w"], ((0, 0), (0, len(noises["b"])))), jnp.pad(noise_rates["w"], ((0, 0), (hidden, 0)))
    interleave = lambda a, b: jnp.concatenate([a[:NUM_STATES], b[:NUM_NOISES], a[NUM_STATES:], b[NUM_NOISES:]])
    second, shift = interleave(own, its), interleave(rates["b"], noise_rates["b"])[:, None]

    def derivative(state, drive):
        del drive
        up_down = 0.5 + 0.5 * jnp.tanh(0.5 * (second @ jnp.tanh(first @ state + ahead) + shift))  # σ, by the faster function
        return up_down[:varying] - up_down[varying:] * state

    start = np.array([START, 0, 0, 0, LATENT_START, LATENT_START] + [NOISE_START] * NUM_NOISES, np.float32)
    grid = jnp.asarray(times, jnp.float32)
    path = modified_euler(derivative, jnp.broadcast_to(jnp.asarray(start)[:, None], (len(start), u.shape[1])), None, grid)
    x = path[:, :1]
    mean = jnp.concatenate([x, x * path[:, 1:4]], axis=1)
    return Prediction(mean, jnp.maximum(path[:, NUM_STATES:], LEAST_VARIANCE))
