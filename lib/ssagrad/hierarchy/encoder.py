"""The network that reads a well: from its four series to fifty features."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

try:
    import equinox as eqx
except ImportError as error:
    raise ImportError("hierarchical inference needs equinox: pip install 'ssagrad[hierarchy]'") from error

NUM_FEATURES = 50
_FILTERS, _WIDTH, _POOL = 10, 10, 5
SEES = ("differences", "everything")


class Encoder(eqx.Module):
    """Convolution over time (10 filters of width 10), mean over 5 neighbours, dense layer, tanh.

    sees: "differences", first differences of the series in time, as published; "everything": the series themselves too, and the treatments.
    """

    kernel: jax.Array  # [inputs · width, filters]
    shift: jax.Array
    dense: jax.Array  # [features, filters · times (+ treatments)]
    dense_shift: jax.Array
    sees: str = eqx.field(static=True)

    def __init__(self, key: jax.Array, num_signals: int, num_times: int, *, sees: str = "differences"):
        if sees not in SEES:
            raise ValueError(f"expected sees among {SEES}, received {sees!r}")
        one, two = jax.random.split(key)
        inputs = num_signals * (1 if sees == "differences" else 2)
        length = num_times - 1 - (_WIDTH - 1) - (_POOL - 1)
        if length < 1:
            raise ValueError(f"expected at least {_WIDTH + _POOL} times, received {num_times}")
        orthogonal = jax.nn.initializers.orthogonal()
        self.sees = sees
        self.kernel = orthogonal(one, (inputs * _WIDTH, _FILTERS), jnp.float32)
        self.shift = jnp.zeros(_FILTERS, jnp.float32)
        self.dense = orthogonal(two, (NUM_FEATURES, _FILTERS * length + (2 if sees == "everything" else 0)), jnp.float32)
        self.dense_shift = jnp.zeros(NUM_FEATURES, jnp.float32)

    def __call__(self, signals: jax.Array, treatments: jax.Array) -> jax.Array:
        """Features [B, 50] of series [B, signals, T] and treatments [B, 2]."""
        series = jnp.diff(signals, axis=2)
        if self.sees == "everything":
            series = jnp.concatenate([series, signals[:, :, 1:]], axis=1)
        steps = np.arange(series.shape[2] - _WIDTH + 1)
        windows = series[:, :, steps[:, None] + np.arange(_WIDTH)[None]]  # [B, inputs, steps, width]
        windows = jnp.moveaxis(windows, 1, 2).reshape(len(series), len(steps), -1)
        filtered = windows @ self.kernel + self.shift[None, None]
        pooled = sum(filtered[:, i : len(steps) - _POOL + 1 + i] for i in range(_POOL)) / _POOL
        flat = jnp.moveaxis(pooled, 1, 2).reshape(len(series), -1)
        if self.sees == "everything":
            flat = jnp.concatenate([flat, treatments / 10], axis=1)
        return jnp.tanh(flat @ self.dense.T + self.dense_shift[None])
