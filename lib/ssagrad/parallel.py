"""Spreads paths over vector lanes, chunks and cores; the law and the numbers do not depend on how."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.kernel import Accumulator, Recorded, run_lanes
from ssagrad.network import Network

_LANES = {"cpu": 2048}  # paths side by side: as many as the cache of a core likes; elsewhere as many as a GPU likes
_LANES_ELSEWHERE = 2**20


def run_paths(
    streams: jax.Array,
    counts: jax.Array,
    parameters: Any,
    intervals: jax.Array,
    max_events: jax.Array,
    *,
    network: Network,
    accumulators: tuple[Accumulator, ...],
    per_path: bool,
    freeze: bool,
    jump_chain: bool = False,
    num_threads: int | None = None,
) -> Recorded:
    """`kernel.run_lanes` for any number of paths [n], in chunks whose memory does not grow with n.

    With known values the chunks run on all cores. Inside `jax.jit` they run one after the other in a single program, where `jax.vmap`
    over M such calls becomes one run of M n paths.

    Args: as `kernel.run_lanes`, but counts [n, S].
    """
    settings = {"network": network, "accumulators": accumulators, "freeze": freeze, "jump_chain": jump_chain}
    run = partial(run_lanes, **settings)
    arguments = (streams, counts, parameters, intervals, max_events)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arguments)):
        return _run_traced(run, *arguments, per_path=per_path)
    num_paths, backend, devices = streams.shape[1], jax.default_backend(), _devices()
    threads = max(len(devices), (num_threads or _num_cores()) if backend == "cpu" else 1)
    chunks = _chunks(num_paths, threads, backend)
    arguments = jax.tree.map(np.asarray, arguments)  # cut on the host: JAX would spend longer on it than on the simulation
    wide = jax.config.jax_enable_x64  # a setting of this thread, unknown to the others

    def run_chunk(number):
        with jax.enable_x64(wide), jax.default_device(devices[number % len(devices)]):
            chosen = _choose(chunks[number], *arguments, per_path=per_path)
            recorded = _compiled(backend)(*chosen, per_path=per_path, **settings)
            return jax.block_until_ready(recorded)

    if len(chunks) == 1:
        return jax.tree.map(lambda leaf: leaf[:num_paths], run_chunk(0))
    recorded = list(_pool(threads).map(run_chunk, range(len(chunks))))
    columns = [chunk.columns for chunk in recorded]
    if len(devices) > 1:
        columns = jax.device_put(columns, devices[0])
    columns = jnp.concatenate(columns)[:num_paths]
    per_path_values = jax.tree.map(lambda *parts: np.concatenate(parts)[:num_paths], *(chunk[1:] for chunk in recorded))
    return Recorded(columns, *per_path_values)


def _run_traced(run: Callable, *arguments: Any, per_path: bool) -> Recorded:
    """All chunks in the program that is being traced."""

    @jax.custom_batching.custom_vmap
    def run_all(streams, counts, parameters, intervals, max_events):
        num_paths = streams.shape[1]

        def run_chunk(paths):
            chosen = _choose(paths, streams, counts, parameters, intervals, max_events, per_path=per_path)
            return run(*chosen, per_path=per_path)

        chunks = _map(run_chunk, _chunks(num_paths, len(_devices()), jax.default_backend()))
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:num_paths], chunks)

    @run_all.def_vmap
    def run_batch(size, batched, streams, counts, parameters, intervals, max_events):
        """M calls with n paths each are one call with M n paths (with one set of times, or one for each path: else one call after the other)."""
        num_paths = streams.shape[-1]
        times_per_path = intervals.ndim - batched[3] == 2
        if (batched[3] and not times_per_path) or batched[4]:
            everything = jax.tree.map(partial(_stack, size=size), (streams, counts, parameters, intervals, max_events), tuple(batched))
            recorded = jax.lax.map(lambda one: _run_traced(run, *one, per_path=per_path), everything)
            return recorded, jax.tree.map(lambda _: True, recorded)
        streams = jnp.moveaxis(_stack(streams, batched[0], size=size), 0, 1).reshape(4, -1)
        counts = _stack(counts, batched[1], size=size).reshape(size * num_paths, -1)
        if times_per_path:
            intervals = _stack(intervals, batched[3], size=size).reshape(size * num_paths, -1)
        each_its_own = per_path or any(jax.tree.leaves(batched[2]))
        if each_its_own:
            parameters = jax.tree.map(partial(_stack, size=size), parameters, batched[2])
            if not per_path:
                parameters = jax.tree.map(lambda leaf: jnp.repeat(leaf[:, None], num_paths, axis=1), parameters)
            parameters = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), parameters)
        recorded = _run_traced(run, streams, counts, parameters, intervals, max_events, per_path=each_its_own)
        recorded = jax.tree.map(lambda leaf: leaf.reshape(size, num_paths, *leaf.shape[1:]), recorded)
        return recorded, jax.tree.map(lambda _: True, recorded)

    return run_all(*arguments)


def _stack(leaf: jax.Array, is_batched: bool, *, size: int) -> jax.Array:
    return leaf if is_batched else jnp.broadcast_to(leaf[None], (size, *leaf.shape))


def _chunks(num_paths: int, threads: int, backend: str) -> np.ndarray:
    """Indices of the paths of each chunk [chunks, lanes]; the last chunk is filled up with copies of the last path."""
    widest = _LANES.get(backend, _LANES_ELSEWHERE)
    num_chunks = threads * -(-num_paths // (threads * widest))
    lanes = -(-num_paths // num_chunks)
    lanes += -lanes % 16
    return np.minimum(np.arange(0, num_paths, lanes)[:, None] + np.arange(lanes), num_paths - 1)


def _choose(paths: Any, streams: Any, counts: Any, parameters: Any, intervals: Any, max_events: Any, *, per_path: bool) -> tuple:
    """The arguments of `run_lanes` for some of the paths."""
    of_path = jax.tree.map(lambda leaf: leaf[paths], parameters) if per_path else parameters
    return streams[:, paths], counts[paths].T, of_path, intervals[paths] if intervals.ndim == 2 else intervals, max_events


@cache
def _compiled(backend: str) -> Callable:
    static = ("network", "accumulators", "per_path", "freeze", "jump_chain")
    options = {"xla_cpu_prefer_vector_width": 512} if backend == "cpu" else None
    return jax.jit(run_lanes, static_argnames=static, compiler_options=options)


def _map(run_chunk: Callable, chunks: np.ndarray) -> Recorded:
    """The chunks one after the other; or, where there are several devices, an equal number of them on each, none of which waits for another.

    What comes out is on every device again, so that sums over paths are taken in one order, whatever the number of devices.
    """
    devices = _devices()
    if len(devices) == 1:
        return jax.lax.map(run_chunk, jnp.asarray(chunks))
    mesh = jax.make_mesh((len(devices),), ("paths",), axis_types=(jax.sharding.AxisType.Auto,), devices=devices)
    spread, everywhere = jax.sharding.PartitionSpec("paths"), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    run = jax.shard_map(partial(jax.lax.map, run_chunk), mesh=mesh, in_specs=spread, out_specs=spread, check_vma=False)
    return jax.lax.with_sharding_constraint(run(jnp.asarray(chunks)), everywhere)


def _devices() -> list[jax.Device]:
    """Those that paths are spread over: all local ones, or the one that `jax.default_device` names."""
    chosen = jax.config.jax_default_device
    return jax.local_devices() if chosen is None else [chosen] if isinstance(chosen, jax.Device) else jax.local_devices(backend=chosen)[:1]


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="ssagrad")


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
