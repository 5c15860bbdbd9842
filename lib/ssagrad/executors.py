"""Many runs of one function, here, in several processes, or on a cluster: each writes its own result, and a restart computes only what is missing.

    from ssagrad import executors
    keys = executors.run(replicate, [{"seed": seed, "paths": 256} for seed in range(50)], "results", executor="processes", workers=2)
    tables = [executors.load("results", key) for key in keys]

A job is a mapping of plain values, which the task takes as keywords. Its key is a hash of the task's name and of these values, its result the file
`<key>.npz`, written whole or not at all. So a job that is done is done, whoever is killed afterwards; the same call goes on where the last one
stopped. Let the seed be among the values, and let the task's name change when its meaning does.

**processes** starts fresh interpreters (never a fork of one in which JAX runs). When one is killed, all of them are started again, without the jobs
that are done and with those that were at work last, at most `retries` times. A script that calls `run` needs `if __name__ == "__main__":` around it.

**dask** needs `pip install 'ssagrad[cluster]'`: processes of this machine (one thread each, no dashboard), or the workers of a scheduler at
`address`. On a cluster with SLURM, dask-jobqueue starts them, and the folder is one that all machines see:

    from dask_jobqueue import SLURMCluster
    cluster = SLURMCluster(queue="gpu", cores=1, processes=1, memory="16GB", walltime="02:00:00", job_extra_directives=["--gres=gpu:1"],
                           job_script_prologue=["export XLA_PYTHON_CLIENT_PREALLOCATE=false"])
    cluster.scale(jobs=20)
    executors.run(replicate, jobs, "/shared/results", executor="dask", address=cluster.scheduler_address)

which submits twenty times what `print(cluster.job_script())` shows:

    #!/usr/bin/env bash

    #SBATCH -J dask-worker
    #SBATCH -p gpu
    #SBATCH -n 1
    #SBATCH --cpus-per-task=1
    #SBATCH --mem=15G
    #SBATCH -t 02:00:00
    #SBATCH --gres=gpu:1
    export XLA_PYTHON_CLIENT_PREALLOCATE=false
    python -m distributed.cli.dask_worker tcp://10.0.0.1:8786 --name dummy-name --nthreads 1 --memory-limit 14.90GiB --nanny --death-timeout 60

A job whose worker runs into its wall time is given to another worker. One that has lost more workers than `retries` (those of a scheduler at
`address`: than its setting distributed.scheduler.allowed-failures, 3) is named in an error after all others are done; the next call computes it.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np

from ssagrad.checkpoint import load_checkpoint, save_checkpoint
from ssagrad.publish import part_of

EXECUTORS = ("serial", "processes", "dask")
_NAME = r"[^./\\][^/\\]{0,99}"
_TAKEN = ("facts", "file", "allow_pickle")  # names that the file format has for itself


class ExecutorError(RuntimeError):
    """Jobs that cannot be run as asked, or whose results cannot be kept; the message says why. What was written before is whole."""


def run(
    task: Callable[..., Any], jobs: Sequence[Mapping[str, Any]], folder: str | os.PathLike, *, executor: str = "serial", workers: int = 2,
    address: str | None = None, retries: int = 3, progress: str | None = None,
) -> list[str]:  # fmt: skip
    """Computes task(**job) for every job whose result is not there yet, and returns the keys of all, in the order of the jobs.

        >>> import tempfile, math
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run(math.dist, [], folder)
        []

    Args:
        task: a function that another process can import: defined in a module, not in a script, a notebook or another function. It returns numbers:
            an array, or a mapping from names to arrays.
        jobs: mappings of plain values (numbers, texts, booleans, None, lists and mappings of these).
        folder: where results are, made if it is not there.
        executor: "serial", one after the other in this process; "processes"; "dask".
        workers: processes of this machine.
        address: of a dask scheduler, such as "tcp://10.0.0.1:8786"; None starts workers here.
        retries: how often killed workers are replaced; for dask on this machine: how many may die of one job beyond the first.
        progress: label of a bar over jobs (needs tqdm).

    Raises:
        ExecutorError: a task that cannot be imported, values that are not plain, a folder that cannot be written, workers that keep dying (the
        message says of which jobs), results without proper names. What a task raises is passed on, with the job in a note; results of
        other jobs that were finished are there.
    """
    if executor not in EXECUTORS:
        raise ExecutorError(f"expected executor among {', '.join(EXECUTORS)}, received {executor!r}")
    name, folder = _importable(task), os.path.abspath(os.fspath(folder))
    plain = [_plain(dict(job), f"job {number}") for number, job in enumerate(jobs)]
    keys = [key_of(name, job) for job in plain]
    try:
        check_folder(folder)
    except OSError as error:
        raise ExecutorError(f"expected a folder that can be written, received {folder}: {error}") from error
    missing = {key: job for key, job in zip(keys, plain, strict=True) if not _is_done(folder, key, name, job)}
    way = {"serial": _serially, "processes": partial(_in_processes, workers=workers), "dask": partial(_on_dask, workers=workers, address=address)}
    options = {} if executor == "serial" else {"retries": retries}
    with _bar(progress, len(keys), len(keys) - len(missing)) as done:
        for _ in way[executor](name, missing, folder, **options):
            done()
    return keys


def load(folder: str | os.PathLike, key: str) -> dict[str, np.ndarray]:
    """The result of a job by its key: arrays by name ("value" if the task returned one array).

    Raises:
        ExecutorError: this is no key, there is no result, or the file cannot be read.
    """
    if not isinstance(key, str) or not re.fullmatch("[0-9a-f]{16}", key):
        raise ExecutorError(f"expected a key as `run` returns it, sixteen hexadecimal digits, received {key!r}")
    path = os.path.join(folder, f"{key}.npz")
    try:
        with open(path, "rb") as file:
            arrays = dict(np.load(file, allow_pickle=False))
    except FileNotFoundError:
        raise ExecutorError(f"expected the result of a job at {path}, received no such file; run the job first") from None
    except Exception as error:  # what a broken archive raises is not one kind
        raise ExecutorError(f"result {path}: cannot be read ({error}); the next run computes it again") from None
    arrays.pop("facts", None)
    return arrays


def key_of(task: str, job: Mapping[str, Any]) -> str:
    """The key of a job: a hash of the task's name, "module:function", and of the values.

    >>> key_of("simulations:replicate", {"seed": 1}) == key_of("simulations:replicate", {"seed": 2})
    False
    """
    return hashlib.sha256(json.dumps([task, job], sort_keys=True, allow_nan=True).encode()).hexdigest()[:16]


def _serially(name: str, missing: Mapping[str, dict], folder: str) -> Iterator[str]:
    for key, job in missing.items():
        yield _perform(name, key, job, folder)


def _in_processes(name: str, missing: Mapping[str, dict], folder: str, *, workers: int, retries: int) -> Iterator[str]:
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    left, reported, suspects = dict(missing), set(), set()
    for attempt in range(retries + 1):
        number = min(workers, len(left)) if left.keys() - suspects else 1  # suspects run alone
        pool = ProcessPoolExecutor(max(1, number), mp_context=get_context("spawn"))
        try:
            for future in as_completed([pool.submit(_perform, name, key, job, folder) for key, job in left.items()]):
                reported.add(key := future.result())
                yield key
            return
        except BrokenProcessPool:
            done = [key for key, job in left.items() if _is_done(folder, key, name, job)]
            yield from (key for key in done if key not in reported)
            rest = [key for key in left if key not in done]
            last = rest[:number]  # jobs begin in order: these were at work, and go last, behind those that kill nobody
            left = {key: left[key] for key in (*rest[number:], *last)}
            reported.update(done)
            suspects.update(last)
            if attempt < retries and left:
                warnings.warn(f"a worker was killed (out of memory?); {len(left)} jobs begin again with new workers", RuntimeWarning, stacklevel=2)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if not left:
            return
    jobs = " or ".join(str(left[key]) for key in left if key in suspects)
    words = f"workers were killed {retries + 1} times (out of memory?), at {jobs}; {len(left)} jobs are left"
    raise ExecutorError(f"{words}, the results of all others are in {folder}")


def _on_dask(name: str, missing: Mapping[str, dict], folder: str, *, workers: int, address: str | None, retries: int) -> Iterator[str]:
    try:
        import dask
        from distributed import Client, KilledWorker, LocalCluster, as_completed
    except ImportError as error:
        raise ImportError(f"executor='dask' needs dask ({error}): pip install 'ssagrad[cluster]'") from error
    if not missing:
        return
    settings = {"distributed.scheduler.allowed-failures": retries, "distributed.scheduler.worker-saturation": 1.0}  # no job waits at a worker
    local = {"n_workers": min(workers, len(missing)), "threads_per_worker": 1, "processes": True, "host": "127.0.0.1", "dashboard_address": None}
    place, killed = hashlib.sha256(folder.encode()).hexdigest()[:8], []
    jobs = {f"ssagrad-{key}-{place}": (key, job) for key, job in missing.items()}  # dask computes a key once, so it has to tell folders apart
    with ExitStack() as stack:
        try:
            with dask.config.set(settings):
                client = stack.enter_context(Client(address or stack.enter_context(LocalCluster(**local))))
        except (OSError, ValueError) as error:
            raise ExecutorError(f"expected a dask scheduler at {address or 'this machine'}, received no answer: {error}") from error
        futures = [client.submit(_perform, name, key, job, folder, key=shown) for shown, (key, job) in jobs.items()]
        for future in as_completed(futures):
            try:
                yield future.result()
            except KilledWorker:
                killed.append(str(jobs[future.key][1]))
    if killed:
        words = f"workers died again and again (out of memory, or of time?) at {' or '.join(killed)}"
        raise ExecutorError(f"{words}; the results of all other jobs are in {folder}")


def _perform(name: str, key: str, job: dict, folder: str) -> str:
    """Computes one job, unless its result is there, writes it, and returns the key."""
    if _is_done(folder, key, name, job):
        return key
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)(**job)
        arrays = _named(found, name)
    except BaseException as error:
        error.add_note(f"(task {name}, job {job})")
        raise
    try:
        with part_of(os.path.join(folder, f"{key}.npz")) as part:
            save_checkpoint(part, _facts(name, job), arrays)
    except OSError as error:
        raise ExecutorError(f"the result of {name} with {job} cannot be written to {folder}: {error}; older results are whole") from error
    return key


def _named(found: Any, task: str) -> dict[str, np.ndarray]:
    """What a task returned as arrays by name."""
    pairs = list(found.items()) if isinstance(found, Mapping) else [("value", found)]
    for name, _ in pairs:
        if not isinstance(name, str) or not re.fullmatch(_NAME, name) or name in _TAKEN or not name.isprintable():
            words = "up to 100 characters without / and \\, with no dot in front"
            raise ExecutorError(f"expected names of results as text of {words}, and none of {', '.join(_TAKEN)}, received {name!r} from {task}")
    arrays = {name: np.asarray(value) for name, value in pairs}
    if wrong := [name for name, array in arrays.items() if array.dtype.kind not in "biufcUS"]:
        raise ExecutorError(f"expected numbers or texts from {task}, received {arrays[wrong[0]].dtype} as '{wrong[0]}'")
    return arrays


def _facts(name: str, job: dict) -> dict[str, str]:
    return {"task": name, "job": json.dumps(job, sort_keys=True)}


def _is_done(folder: str, key: str, name: str, job: dict) -> bool:
    path = os.path.join(folder, f"{key}.npz")
    try:
        return load_checkpoint(path, _facts(name, job)) is not None
    except (ValueError, OSError) as error:
        warnings.warn(f"result {path} cannot be used and is computed again: {error}", RuntimeWarning, stacklevel=3)
        return False


def check_folder(folder: str | os.PathLike) -> None:
    """Makes a folder, and writes and removes a file there; OSError, which names the folder, where that cannot be done."""
    os.makedirs(folder, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
            file.flush()
    except OSError as error:
        error.filename = os.fspath(folder)
        raise


def _importable(task: Callable[..., Any]) -> str:
    module, name = getattr(task, "__module__", None), getattr(task, "__qualname__", "")
    if not module or module == "__main__" or not name.isidentifier():
        where = "in a notebook or script" if module == "__main__" else "inside another function, or without a name"
        raise ExecutorError(f"expected a task that other processes can import, received {name or task!r} defined {where}; put it into a module")
    if getattr(importlib.import_module(module), name, None) is not task:
        raise ExecutorError(f"expected a task that can be imported as {module}.{name}, received another thing of that name; was it wrapped?")
    return f"{module}:{name}"


def _plain(value: Any, label: str) -> Any:
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise ExecutorError(f"{label}: expected names as text, received {wrong[0]!r}; write '{wrong[0]}', or a list")
        return {key: _plain(one, f"{label}['{key}']") for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one, f"{label}[{i}]") for i, one in enumerate(value)]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, np.generic) or (hasattr(value, "dtype") and not getattr(value, "shape", (1,)) and value.dtype.kind in "biuf"):
        return value.item()
    kind = type(value).__name__
    raise ExecutorError(f"{label}: expected plain values (numbers, texts, lists, mappings), received {kind}; a seed stands for a random key")


@contextmanager
def _bar(label: str | None, total: int, done: int) -> Iterator[Callable[[], Any]]:
    if label is None:
        yield lambda: None
        return
    from tqdm import tqdm

    with tqdm(desc=label, total=total, initial=done, unit="job") as bar:
        yield bar.update
