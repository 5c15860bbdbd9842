"""A closure in the dual coordinates of a Boltzmann law, its moments, that is learned from many conditions and holds for others.

The state is what a pair law keeps: densities of prey and hunters and six correlations c = pairs / (pairs of independent sites), of each sort at each
distance. Means obey their exact law, and the correlations one that is learned, linear in the rates as the master equation is:

    dP/dt = k₁ P − r ⟨PH⟩,   dH/dt = −k₂ H + r ⟨PH⟩,   d ln c/dt = k₁ g₁(x) + k₂ g₂(x) + π g₃(x) + g₄(x),   x = (densities, ln c),   r = π/2

with ⟨PH⟩ = 4 c_PH P H / N for neighbours, birth rate k₁, death rate k₂, predation probability π, and g a network of one hidden layer. Rates are
arguments: the closure can be differentiated in them.

The law of means is that of Ernst et al. 2019, arXiv:1905.12122, whose closure is a table along one path; this one is the project's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ssagrad.boltzmann.moments import product_moments

_PAIRS = slice(2, 8)  # among the moments
_LARGEST = 3.0  # |ln c| stays below


class Condition(NamedTuple):
    """Rates (birth, death, predation) [3], and mean moments of runs at times 0, 1, … [T, 8], in the order of `moments.NAMES`."""

    rates: np.ndarray
    moments: np.ndarray


def coordinates(moments: Any, num_sites: int) -> np.ndarray:
    """The state (P/N, H/N, six ln c in the order of `moments.NAMES`) of mean moments [..., 8]: [..., 8]; less than half a pair counts as half."""
    moments = np.asarray(moments, float)
    independent = np.maximum(product_moments(moments[..., 0], moments[..., 1], num_sites)[..., _PAIRS], 0.5)
    logs = np.log(np.maximum(moments[..., _PAIRS], 0.5) / independent)
    return np.concatenate([moments[..., :2] / num_sites, np.clip(logs, -_LARGEST, _LARGEST)], axis=-1)


def learn_pair_closure(
    key: jax.Array, conditions: Sequence[Condition], *, num_sites: int, num_steps: int = 3000, windows: tuple[int, ...] = (10, 40), hidden: int = 32,
    rate: float = 3e-3, batch: int = 64, progress: str | None = None
) -> Any:  # fmt: skip
    """Weights of g, by Adam on windows of the data: from a state of the data, integrated on, to the states that follow.

    The loss is the mean square of differences in densities, each over its root mean square, and in ln c, weighted by how many pairs there are.

    Args:
        windows: lengths [time], each for an equal share of the steps; later ones see errors that build up.
        hidden: units of the network. rate: of Adam, falling to 0 by a cosine. batch: windows a step.

    Raises:
        ValueError: no conditions, of different lengths, or shorter than the longest window.
    """
    lengths = {len(one.moments) for one in conditions}
    if len(lengths) != 1 or min(lengths) <= max(windows):
        raise ValueError(f"expected conditions of one length, longer than the windows {windows}, received lengths {sorted(lengths)}")
    states = np.stack([coordinates(one.moments, num_sites) for one in conditions])
    pairs = np.stack([one.moments[:, _PAIRS] for one in conditions])
    spread = np.sqrt((states[..., :2] ** 2).mean((0, 1)))
    weights = np.concatenate([np.broadcast_to(1 / spread, states[..., :2].shape), np.sqrt(pairs / (pairs + 10.0))], axis=-1)
    data = [jnp.asarray(array, jnp.float32) for array in (states, weights, np.stack([one.rates for one in conditions]))]
    first, second, third = jax.random.split(key, 3)
    inner, outer = jax.random.normal(first, (8, hidden)) / 2, 0.01 * jax.random.normal(second, (hidden, 24))
    network = {"in": inner, "bias": jnp.zeros(hidden), "out": outer, "base": jnp.zeros(24)}
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(rate, num_steps)))
    state = optimizer.init(network)
    for number in _bar(range(num_steps), progress):
        window = windows[number * len(windows) // num_steps]
        network, state, _ = _step(optimizer, window, batch, network, state, jax.random.fold_in(third, number), *data)
    return network


@partial(jax.jit, static_argnums=(0, 1, 2))
def _step(optimizer, window, batch, network, state, key, states, weights, rates):
    sizes = len(states), states.shape[1] - window
    which, when = (jax.random.randint(one, (batch,), 0, size) for one, size in zip(jax.random.split(key), sizes, strict=True))
    rows = when[:, None] + jnp.arange(window + 1)[None]
    wanted, weight = states[which[:, None], rows], weights[which[:, None], rows]

    def loss(network):
        found = jax.vmap(lambda begin, rates: _path(network, begin, rates, window))(wanted[:, 0], rates[which])
        return (((found - wanted) * weight) ** 2).mean()

    value, slope = jax.value_and_grad(loss)(network)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
        updates, state = optimizer.update(slope, state)
    return optax.apply_updates(network, updates), state, value


def predicted_moments(network: Any, begin: jax.Array, rates: jax.Array, *, num_steps: int, num_sites: int) -> jax.Array:
    """The eight moments at times 0 … num_steps, [num_steps + 1, 8] in the order of `moments.NAMES`; differentiable in the rates.

    Args:
        network: of `learn_pair_closure`. begin: the state of `coordinates` [8]. rates: (birth, death, predation) [3].
    """
    path = _path(network, jnp.asarray(begin, jnp.float32), jnp.asarray(rates, jnp.float32), num_steps)
    prey, hunters = path[:, 0] * num_sites, path[:, 1] * num_sites
    correlations = jnp.exp(path[:, 2:])
    squares = jnp.stack([prey * prey, hunters * hunters, 2 * prey * hunters], axis=1) / num_sites
    independent = jnp.concatenate([2 * squares, 3 * squares], axis=1)  # two neighbours, three next ones
    return jnp.concatenate([jnp.stack([prey, hunters], axis=1), correlations * independent], axis=1)


def _path(network, begin, rates, num_steps):
    """States [num_steps + 1, 8], by Heun steps of one unit of time."""

    def one(state, _):
        first = _slope(network, state, rates)
        after = state + (first + _slope(network, _kept(state + first), rates)) / 2
        return (after := _kept(after)), after

    return jnp.concatenate([begin[None], jax.lax.scan(one, begin, length=num_steps)[1]])


def _kept(state):
    return jnp.concatenate([jnp.clip(state[:2], 1e-4, 1.0), jnp.clip(state[2:], -_LARGEST, _LARGEST)])


def _slope(network, state, rates):
    prey, hunters = state[:2]
    met = rates[2] / 2 * 4 * jnp.exp(state[4]) * prey * hunters
    means = jnp.stack([rates[0] * prey - met, met - rates[1] * hunters])
    inputs = jnp.concatenate([jnp.log(state[:2]) / 2 + 1, state[2:]])
    outputs = (jnp.tanh(inputs @ network["in"] + network["bias"]) @ network["out"] + network["base"]).reshape(4, 6)
    scales = jnp.concatenate([rates, jnp.full(1, 0.1, rates.dtype)])
    return jnp.concatenate([means, scales @ outputs])


def score_gradient(values: np.ndarray, scores: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """d⟨values⟩/d ln rates by the score function, and standard errors: two arrays [T, K, 3].

    E[(f − mean of the other runs) S], each observation with the score up to its own time. **Unbiased**; the variance grows with the number of events.

    Args:
        values: moments of runs [n, T, K]. scores: of `lattice.Runs` [n, T, 3]. rates: [3].
    """
    number = len(values)
    centred = (values - values.mean(0)) * number / (number - 1)
    samples = centred[..., None] * (scores * np.asarray(rates))[:, :, None, :]
    return samples.mean(0), samples.std(0, ddof=1) / np.sqrt(number)


def _bar(steps: range, label: str | None):
    if label is None:
        return steps
    from tqdm import tqdm

    return tqdm(steps, desc=label, unit="step")


