"""Chunks, threads and jax.vmap: however the paths are spread, the numbers are the same."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import Network, parallel, simulate

NETWORK = Network.from_text("0 -> X @ k; X -> 0 @ d")
RATES = {"k": 10.0, "d": 1.0}


def counts(key, rates=RATES, start=None, times=(1.0, 2.0), **options):
    options = {"num_paths": 3} | options
    return simulate(key, NETWORK, rates, {"X": 4} if start is None else start, times, **options).counts


@pytest.mark.parametrize("lanes", [16, 48, 4096])
@pytest.mark.parametrize("num_paths", [1, 15, 16, 17, 100])
def test_chunks_cover_every_path_once(lanes, num_paths, monkeypatch):
    """Chunks are multiples of 16 lanes, together hold every path, and are filled up with copies of the last."""
    monkeypatch.setitem(parallel._LANES, "cpu", lanes)
    for threads in (1, 2, 3):
        chunks = parallel._chunks(num_paths, threads, "cpu")
        assert chunks.shape[1] % 16 == 0
        assert chunks.shape[1] <= max(lanes, 16)
        assert np.array_equal(np.unique(chunks), np.arange(num_paths))
        assert np.array_equal(chunks.reshape(-1)[:num_paths], np.arange(num_paths))


def test_the_size_of_chunks_does_not_matter(monkeypatch):
    """Paths are the same in chunks of 16 and of 2,048 lanes, in and out of jit."""
    whole = counts(jax.random.key(1), num_paths=100)
    monkeypatch.setitem(parallel._LANES, "cpu", 16)
    assert np.array_equal(counts(jax.random.key(1), num_paths=100), whole)
    assert np.array_equal(jax.jit(lambda key: counts(key, num_paths=100))(jax.random.key(1)), whole)


def test_vmap_over_keys():
    """A batch of keys gives what one call for each key gives."""
    keys = jax.random.split(jax.random.key(2), 4)
    together = jax.vmap(counts)(keys)
    assert together.shape == (4, 3, 2, 1)
    for i, key in enumerate(jax.random.clone(keys)):
        assert np.array_equal(together[i], counts(key))


@pytest.mark.parametrize("both", [True, False])
def test_vmap_over_parameters(both):
    """A batch of parameters, all of them or one of them, with one key: common random numbers."""
    births, deaths = jnp.array([5.0, 10.0, 20.0]), jnp.array([1.0, 2.0, 0.5])
    rates = {"k": births, "d": deaths if both else 1.0}
    axes = {"k": 0, "d": 0 if both else None}
    together = jax.vmap(lambda rates: counts(jax.random.key(3), rates), in_axes=(axes,))(rates)
    for i in range(3):
        assert np.array_equal(together[i], counts(jax.random.key(3), {"k": births[i], "d": deaths[i] if both else 1.0}))


def test_vmap_over_parameters_per_path():
    """A batch of simulations, each with parameters per path."""
    births = jnp.array([[5.0, 10.0, 20.0], [1.0, 2.0, 3.0]])
    deaths = jnp.ones((2, 3))
    together = jax.vmap(lambda k, d: counts(jax.random.key(4), {"k": k, "d": d}, parameters_per_path=True))(births, deaths)
    for i in range(2):
        assert np.array_equal(together[i], counts(jax.random.key(4), {"k": births[i], "d": deaths[i]}, parameters_per_path=True))


def test_vmap_over_counts_times_and_everything():
    """Batches of initial counts and of observation times, alone and with keys."""
    starts, times = jnp.array([[0.0], [50.0]]), jnp.array([[0.5, 1.0], [1.0, 3.0]])
    over_counts = jax.vmap(lambda start: counts(jax.random.key(5), start=start))(starts)
    over_times = jax.vmap(lambda times: counts(jax.random.key(5), times=times))(times)
    keys = jax.random.split(jax.random.key(6), 2)
    over_all = jax.vmap(lambda key, start, times: counts(key, start=start, times=times))(keys, starts, times)
    for i, key in enumerate(jax.random.clone(keys)):
        assert np.array_equal(over_counts[i], counts(jax.random.key(5), start=starts[i]))
        assert np.array_equal(over_times[i], counts(jax.random.key(5), times=times[i]))
        assert np.array_equal(over_all[i], counts(key, start=starts[i], times=times[i]))


def test_vmap_twice():
    """A grid of parameters by two vmaps."""
    births, deaths = jnp.array([5.0, 10.0]), jnp.array([1.0, 2.0, 0.5])
    grid = jax.vmap(lambda k: jax.vmap(lambda d: counts(jax.random.key(7), {"k": k, "d": d}))(deaths))(births)
    assert grid.shape == (2, 3, 3, 2, 1)
    assert np.array_equal(grid[1, 2], counts(jax.random.key(7), {"k": 10.0, "d": 0.5}))


_ON_DEVICES = """
import hashlib, sys
import jax, numpy as np
from ssagrad import models, simulate
from ssagrad.estimators import dynkin_controls, forked_path, score_function

network, rates, start = models.sir()[:3]
times = np.linspace(0, 1, 5)[1:]
few = {"num_paths": 200}

def counts(rates, key):
    return simulate(key, network, rates, start, times, num_paths=3000).counts

def gradient(estimator, **options):
    return jax.grad(lambda rates, key: estimator(key, network, rates, start, times, **few, **options).mean("I").sum())

found = [counts(rates, jax.random.key(1)), jax.jit(counts)(rates, jax.random.key(1))]
for estimator, options in ((score_function, {}), (forked_path, {}), (dynkin_controls, {"degree": 1})):
    found.append(gradient(estimator, **options)(rates, jax.random.key(2)))
found.append(jax.jit(gradient(score_function))(rates, jax.random.key(2)))
found.append(jax.jit(jax.vmap(gradient(score_function), (None, 0)))(rates, jax.random.split(jax.random.key(3), 3)))
compiled = jax.jit(counts).lower(rates, jax.random.key(1)).compile().as_text()
print(jax.local_device_count(), sum(name in compiled for name in ("all-reduce", "collective-permute", "all-to-all")))
print(*(hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(one))).hexdigest() for one in found), sep="\\n")
"""


def test_the_number_of_devices_does_not_matter():
    """Paths and gradients on three devices are those on one, bit for bit, in and out of jit; no device waits for another in the loop."""
    said = {}
    for number in (1, 3):
        environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={number}", "JAX_PLATFORMS": "cpu"}
        done = subprocess.run([sys.executable, "-c", _ON_DEVICES], env=environment, capture_output=True, text=True, check=True)
        devices, *said[number] = done.stdout.splitlines()
        assert devices == f"{number} 0"
    assert len(said[1]) == 7
    assert said[1] == said[3]
