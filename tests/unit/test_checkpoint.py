"""Checkpoints: a killed fit goes on to the same bits; a file of another fit, a broken one or a left temporary one is refused and kept."""

import os
import signal
import subprocess
import sys

import jax
import numpy as np
import optax
import pytest

from ssagrad import fitting
from ssagrad.checkpoint import describe, load_checkpoint, save_checkpoint
from ssagrad.fitting import Plateau, descend

# Adam, clipping, records, one run that stops early and one that fails: everything a checkpoint has to hold.
FIT = """
import os, signal, sys
import jax, jax.numpy as jnp, numpy as np, optax
from ssagrad import fitting

def loss(x, key):
    noise = 0.01 * jax.random.normal(key)
    return x["a"] ** 2 * (1 + noise) + jnp.sqrt(x["b"]), {"noise": noise}

def fit(path, **changes):
    starts = {"a": np.array([0.0, 9.0, 5.0, 7.0, 30.0]), "b": np.array([40.0, 40.0, 0.5, 40.0, 40.0])}
    settings = dict(optimizer=optax.adam(0.3), num_steps=24, clip=5.0, stop=fitting.Plateau(3, 0.05), on_failure="freeze", steps_per_chunk=4)
    return fitting.descend(jax.random.key(5), loss, starts, checkpoint=path, **settings | changes)
"""
KILL = """
writes, save = [], fitting.save_checkpoint
def save_and_die(*arguments):
    save(*arguments)
    writes.append(1)
    if len(writes) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
fitting.save_checkpoint = save_and_die
fit(sys.argv[1])
"""


def fit(path, **changes):
    names = {}
    exec(FIT, names)
    return names["fit"](path, **changes)


def same(one, other):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


@pytest.fixture(scope="module")
def uninterrupted():
    return fit(None)


def test_a_killed_fit_goes_on_to_the_same_bits(tmp_path, uninterrupted):
    """Another process is killed with SIGKILL after its third chunk; here the fit goes on, with runs that stopped or failed before and after."""
    path = tmp_path / "fit.npz"
    child = subprocess.run([sys.executable, "-c", FIT + KILL, str(path)], capture_output=True, text=True)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert int(np.load(path)["step"]) == 12
    assert same(fit(path), uninterrupted)
    assert uninterrupted.failed_at[2] > 0 and 0 < uninterrupted.num_steps[0] < 12 < uninterrupted.num_steps.max()
    assert os.listdir(tmp_path) == ["fit.npz"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, uninterrupted):
    path = tmp_path_factory.mktemp("finished") / "fit.npz"
    assert same(fit(path), uninterrupted)
    return path


def test_a_finished_fit_is_read_and_not_written_again(finished, uninterrupted, monkeypatch):
    monkeypatch.setattr(fitting, "save_checkpoint", lambda *_: pytest.fail("written again"))
    assert same(fit(finished), uninterrupted)


@pytest.mark.parametrize(
    "changes, different",
    [
        ({"num_steps": 30}, "num_steps: expected 30, received 24"),
        ({"clip": 2.0}, "clip: expected 2.0, received 5.0"),
        ({"stop": Plateau(4, 0.05)}, "stop: expected Plateau.*patience=4"),
        ({"bounds": (0.0, 50.0)}, "bounds: expected .*received none"),
        ({"optimizer": optax.sgd(0.3)}, "state of the optimiser"),
        ({"optimizer": optax.adam(0.2)}, "the optimiser or its step size differs"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(finished, changes, different):
    before = finished.read_bytes()
    with pytest.raises(ValueError, match=different):
        fit(finished, **changes)
    assert finished.read_bytes() == before


@pytest.mark.parametrize("different", ["key", "starts", "each", "loss"])
def test_a_checkpoint_of_another_key_start_data_or_loss_is_refused(tmp_path, different):
    """Another loss is noticed by its first value, which is computed again."""
    settings = {"optimizer": optax.sgd(0.1), "num_steps": 4, "checkpoint": tmp_path / "fit.npz"}
    loss = lambda x, key, row: (x - row) ** 2  # noqa: E731
    other = {"key": jax.random.key(8), "starts": np.array([1.0, 3.0]), "each": np.array([4.0, 6.0], np.float32), "loss": lambda *_: 2 * loss(*_)}
    inputs = {"key": jax.random.key(7), "loss": loss, "starts": np.array([1.0, 2.0]), "each": np.array([4.0, 5.0], np.float32)}
    descend(**inputs, **settings)
    with pytest.raises(ValueError, match=f"another computation.*{different}"):
        descend(**inputs | {different: other[different]}, **settings)


def test_frozen_failures_are_raised_where_the_fit_goes_on_with_raise(finished):
    with pytest.raises(FloatingPointError, match="start 2"):
        fit(finished, on_failure="raise")


@pytest.mark.parametrize("size", [0, 10, -40])
def test_a_truncated_checkpoint_is_refused_and_kept(tmp_path, finished, size):
    path = tmp_path / "cut.npz"
    path.write_bytes(finished.read_bytes()[:size])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="cannot be read .*cut short"):
        fit(path)
    assert path.read_bytes() == before


def test_a_temporary_file_left_by_a_killed_process_is_in_nobodys_way(tmp_path, finished):
    left = tmp_path / "fit.npz.1.part"
    left.write_bytes(b"half")
    fit(tmp_path / "fit.npz")
    assert left.read_bytes() == b"half"
    saved = [np.load(path) for path in (tmp_path / "fit.npz", finished)]
    np.testing.assert_array_equal(saved[0]["losses"], saved[1]["losses"])


def test_a_missing_folder_is_refused_before_the_first_step(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected an existing folder"):
        fit(tmp_path / "no" / "fit.npz")


def test_a_write_that_fails_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    save_checkpoint(path, {"of": "this"}, {"x": np.arange(3)})

    def full(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(path, {"of": "this"}, {"x": np.arange(4)})
    assert load_checkpoint(path, {"of": "this"})["x"].tolist() == [0, 1, 2] and os.listdir(tmp_path) == ["a.npz"]


def test_a_description_tells_values_shapes_and_names_apart():
    trees = [np.zeros(3), np.ones(3), np.zeros((3, 1)), np.zeros(3, np.float32), {"x": np.zeros(3)}, {"y": np.zeros(3)}, None]
    assert len({describe(tree) for tree in trees}) == len(trees)
    assert describe({"x": np.zeros(3)}).startswith("['x'] float64[3] (values ")
