"""Executors: the same results wherever jobs run, nothing lost when workers are killed, nothing computed twice."""

import os
import subprocess
import sys

import numpy as np
import pytest

from ssagrad import executors
from ssagrad.executors import ExecutorError

TASKS = '''
import os, random, signal, time

def draw(seed, marks, victim=None):
    """Numbers that depend on the seed; the victim kills its process once, in the middle of the work."""
    random.seed(seed)
    numbers = [random.random() for _ in range(3)]
    if seed == victim:
        killed = os.path.join(marks, "killed")
        if not os.path.exists(killed):
            open(killed, "w").close()
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
    name = f"{seed}-{time.monotonic_ns()}.done"
    open(os.path.join(marks, name), "w").close()
    return {"numbers": numbers, "seed": seed}

def always_killed(seed=0):
    """Kills its process, unless it has a seed."""
    if seed:
        return seed
    os.kill(os.getpid(), signal.SIGKILL)

def slow(seed):
    time.sleep(0.5)
    return seed

def named(name):
    return {name: 1.0, 7: 2.0} if name == "seven" else {name: 1.0}

def refuse(seed, marks=None):
    if marks:
        open(os.path.join(marks, f"{time.monotonic_ns()}.tried"), "w").close()
    raise ValueError(f"seed {seed} is not liked")

def words():
    return {"text": object()}

def many(size):
    return [0.5 * i for i in range(size)]
'''


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    """A module that this process and its workers can import, and a folder where tasks leave marks."""
    (tmp_path / "executor_tasks.py").write_text(TASKS, "utf-8")
    (tmp_path / "marks").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    sys.modules.pop("executor_tasks", None)
    import executor_tasks

    return executor_tasks


def jobs(tmp_path, number, **options):
    return [{"seed": seed, "marks": str(tmp_path / "marks"), **options} for seed in range(number)]


def computed(tmp_path):
    """How often each seed was computed to its end."""
    seeds = [path.name.partition("-")[0] for path in (tmp_path / "marks").glob("*.done")]
    return {int(seed): seeds.count(seed) for seed in set(seeds)}


def numbers(folder, keys):
    return [executors.load(folder, key)["numbers"].tolist() for key in keys]


def test_a_restart_computes_only_what_is_missing(tasks, tmp_path):
    """Six jobs after four of them: two computations; all results are those of one run."""
    first = executors.run(tasks.draw, jobs(tmp_path, 4), tmp_path / "results")
    keys = executors.run(tasks.draw, jobs(tmp_path, 6), tmp_path / "results")
    assert keys[:4] == first and len(set(keys)) == 6
    assert computed(tmp_path) == dict.fromkeys(range(6), 1)
    assert numbers(tmp_path / "results", keys) == numbers(tmp_path / "results", executors.run(tasks.draw, jobs(tmp_path, 6), tmp_path / "other"))


@pytest.mark.parametrize("executor", ["processes", "dask"])
@pytest.mark.filterwarnings("default")  # those of the workers' own start and end
def test_a_killed_worker_loses_nothing(tasks, tmp_path, executor, monkeypatch):
    """Two workers, one killed mid-way by SIGKILL: the results of a serial run, each job once, and nothing again after a restart.

    (The job that is at work beside the victim may be computed to its end and killed before its result is written: it runs again.)
    """
    expected = numbers(tmp_path / "serial", executors.run(tasks.draw, jobs(tmp_path, 8), tmp_path / "serial"))
    for mark in (tmp_path / "marks").iterdir():
        mark.unlink()
    keys = executors.run(tasks.draw, jobs(tmp_path, 8, victim=3), tmp_path / "results", executor=executor, workers=2)
    assert (tmp_path / "marks" / "killed").exists()
    assert numbers(tmp_path / "results", keys) == expected
    found = computed(tmp_path)
    assert set(found) == set(range(8)) and sum(found.values()) <= 9
    assert executors.run(tasks.draw, jobs(tmp_path, 8, victim=3), tmp_path / "results", executor=executor, workers=2) == keys
    assert computed(tmp_path) == found
    assert not list((tmp_path / "results").glob("*.part"))


@pytest.mark.parametrize(("executor", "retries", "words"), [("processes", 3, "killed 4 times"), ("dask", 1, "died again and again")])
@pytest.mark.filterwarnings("default")
def test_a_job_that_kills_every_worker_is_named_and_the_others_are_done(tasks, tmp_path, executor, retries, words):
    """The first of four jobs kills its worker again and again: the error says which it is, and the results of all that it does not name are there.

    (Dask may name a second one, which waited at a worker whenever that was killed.)
    """
    jobs = [{"seed": seed} for seed in range(4)]
    with pytest.raises(ExecutorError, match=words + ".*results of all other") as caught:
        executors.run(tasks.always_killed, jobs, tmp_path / "results", executor=executor, workers=2, retries=retries)
    named = [job for job in jobs if str(job) in str(caught.value)]
    assert jobs[0] in named and len(named) < (2 if executor == "processes" else 4)
    for job in jobs:
        if job not in named:
            assert int(executors.load(tmp_path / "results", executors.key_of("executor_tasks:always_killed", job))["value"]) == job["seed"]


@pytest.mark.filterwarnings("default")
def test_one_scheduler_keeps_folders_apart(tasks, tmp_path):
    """The same jobs at the same time for two folders, on one dask scheduler: each folder gets its results."""
    from concurrent.futures import ThreadPoolExecutor

    from distributed import LocalCluster

    folders = [tmp_path / "a", tmp_path / "b"]
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster, ThreadPoolExecutor(2) as threads:
        options = {"executor": "dask", "address": cluster.scheduler_address}
        runs = [threads.submit(executors.run, tasks.slow, [{"seed": 1}, {"seed": 2}], folder, **options) for folder in folders]
        keys = [run.result() for run in runs]
    assert keys[0] == keys[1]
    for folder in folders:
        assert [int(executors.load(folder, key)["value"]) for key in keys[0]] == [1, 2]


def test_a_scheduler_that_does_not_answer_is_named(tasks, tmp_path):
    """An address where nothing listens, and one that is none."""
    import dask

    for address in ("tcp://127.0.0.1:9", "nonsense://1"):
        with dask.config.set({"distributed.comm.timeouts.connect": "1s"}), pytest.raises(ExecutorError, match=f"dask scheduler at {address}"):
            executors.run(tasks.slow, [{"seed": 1}], tmp_path, executor="dask", address=address)


def test_two_writers_of_one_process_number_do_not_meet(tasks, tmp_path):
    """Two threads, as two machines whose processes have one number, compute one job into one folder: both end well, the result is whole."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as threads:
        for size in range(100_000, 100_010):
            jobs = [{"size": size}]
            runs = [threads.submit(executors.run, tasks.many, jobs, tmp_path / "results") for _ in range(4)]
            keys = [run.result() for run in runs]
            assert executors.load(tmp_path / "results", keys[0][0])["value"].shape == (size,)
    assert len(list((tmp_path / "results").iterdir())) == 10


def test_names_are_checked(tasks, tmp_path):
    """Results by names that are no text, lead out of the folder or belong to the format; parameters by numbers; a key that is a path."""
    for name in ("../x", "a/b", ".x", "", "facts", "file", "a\nb"):
        with pytest.raises(ExecutorError, match="expected names of results"):
            executors.run(tasks.named, [{"name": name}], tmp_path)
    with pytest.raises(ExecutorError, match="received 7 from executor_tasks:named"):
        executors.run(tasks.named, [{"name": "seven"}], tmp_path)
    with pytest.raises(ExecutorError, match=r"job 0\['name'\]: expected names as text, received 1"):
        executors.run(tasks.named, [{"name": {1: 2}}], tmp_path)
    for key in ("../../etc/passwd", "", 3, "0123456789ABCDEF"):
        with pytest.raises(ExecutorError, match="expected a key"):
            executors.load(tmp_path, key)
    (key,) = executors.run(tasks.named, [{"name": "mRNA (free), k=2"}], tmp_path)
    assert list(executors.load(tmp_path, key)) == ["mRNA (free), k=2"]


@pytest.mark.filterwarnings("default")
def test_the_error_of_a_task_comes_at_once(tasks, tmp_path):
    """`retries` is for workers that die: a task that raises is not tried again on dask either."""
    from distributed import LocalCluster

    job = {"seed": 4, "marks": str(tmp_path / "marks")}
    with LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster, pytest.raises(ValueError, match="seed 4 is not liked"):
        executors.run(tasks.refuse, [job], tmp_path, executor="dask", address=cluster.scheduler_address)
    assert len(list((tmp_path / "marks").iterdir())) == 1


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"nonsense" + data[8:]])
def test_a_damaged_result_is_computed_again(tasks, tmp_path, damage):
    """A file cut short, an empty one and one that is no archive are named, and replaced."""
    folder = tmp_path / "results"
    keys = executors.run(tasks.draw, jobs(tmp_path, 2), folder)
    path = folder / f"{keys[1]}.npz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ExecutorError, match="cannot be read"):
        executors.load(folder, keys[1])
    with pytest.warns(RuntimeWarning, match="computed again"):
        executors.run(tasks.draw, jobs(tmp_path, 2), folder)
    assert computed(tmp_path) == {0: 1, 1: 2}
    assert len(numbers(folder, keys)) == 2


def test_keys_tell_values_and_tasks_apart():
    """Another value or another task is another key; the order of the values is not."""
    assert executors.key_of("a:b", {"x": 1, "y": 2}) == executors.key_of("a:b", {"y": 2, "x": 1})
    assert len({executors.key_of("a:b", {"x": 1}), executors.key_of("a:b", {"x": 1.5}), executors.key_of("a:c", {"x": 1})}) == 3


def test_a_task_that_cannot_be_imported_is_refused(tmp_path, tasks):
    """A lambda, a function inside another one, one of a script, one that hides behind another's name."""

    def inner():
        return 1

    for task in (lambda: 1, inner):
        with pytest.raises(ExecutorError, match="can import"):
            executors.run(task, [{}], tmp_path)
    script = "from ssagrad import executors\ndef task(): return 1\nexecutors.run(task, [{}], 'results')"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert "ExecutorError" in found.stderr and "notebook or script" in found.stderr
    inner.__module__, inner.__qualname__ = tasks.__name__, "draw"
    with pytest.raises(ExecutorError, match="another thing of that name"):
        executors.run(inner, [{}], tmp_path)


def test_what_is_no_job_is_refused(tasks, tmp_path):
    """An unknown executor, values that cannot be written down, results that are no numbers; errors of a task come with its job."""
    with pytest.raises(ExecutorError, match="serial, processes, dask, received 'threads'"):
        executors.run(tasks.draw, [], tmp_path, executor="threads")
    with pytest.raises(ExecutorError, match=r"job 1\['seed'\]: expected plain values .* received ndarray"):
        executors.run(tasks.refuse, [{"seed": 1}, {"seed": np.arange(3)}], tmp_path)
    with pytest.raises(ExecutorError, match="expected numbers or texts"):
        executors.run(tasks.words, [{}], tmp_path)
    with pytest.raises(ValueError, match="seed 4 is not liked") as caught:
        executors.run(tasks.refuse, [{"seed": np.int64(4)}], tmp_path)
    assert "{'seed': 4}" in caught.value.__notes__[0]


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tasks, tmp_path):
    """A file in its place, or a file system that takes none."""
    (tmp_path / "taken").write_text("x")
    for folder in (tmp_path / "taken", "/proc/results"):
        with pytest.raises(ExecutorError, match="expected a folder that can be written"):
            executors.run(tasks.draw, jobs(tmp_path, 1), folder)
    assert computed(tmp_path) == {}


def test_a_full_disk_leaves_old_results_whole(tasks, tmp_path):
    """With no room for the second result the first one stays, nothing half-written is left, and the error says so."""
    keys = executors.run(tasks.many, [{"size": 10}], tmp_path / "results")
    script = (
        "import resource, signal, executor_tasks\nfrom ssagrad import executors\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "executors.run(executor_tasks.many, [{'size': 10}, {'size': 100_000}], 'results')"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, env={**os.environ})
    assert "ExecutorError" in found.stderr and "cannot be written" in found.stderr and "older results are whole" in found.stderr
    assert [path.name for path in (tmp_path / "results").iterdir()] == [f"{keys[0]}.npz"]
    assert executors.load(tmp_path / "results", keys[0])["value"].tolist() == [0.5 * i for i in range(10)]
