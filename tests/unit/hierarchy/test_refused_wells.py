"""Damaged plate-reader files, signals that are not finite, systems without shared latents, and the real files where they are present."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import hierarchy
from ssagrad.hierarchy import levels, neural, plate_reader, receiver, refinement, sources, synthetic
from ssagrad.hierarchy.integrate import Prediction
from ssagrad.hierarchy.likelihood import Wells
from ssagrad.hierarchy.system import System

WELLS = synthetic.double_receivers(jax.random.key(0), receiver.constant_expression(), wells_per_device=2, num_times=20).experiment
ALONE = neural.local_only(hidden=6, hidden_noise=5)
SHORT = hierarchy.Schedule(epochs=2, batch=6, draws=4)


def plate_rows(readings=3):
    """Cells of a good file: header, times, wells A1 (Pcat, C6) and B2 (R33S34, C12)."""
    signals = ("OD", "mRFP1", "EYFP", "ECFP")
    head = ["Content", "Colony", "Well Col", "Well Row", "Content"] + [f"Raw Data ({s}) {i}" for s in signals for i in range(readings)]
    times = [""] * 5 + [str(0.2 * i) for _ in signals for i in range(readings)]
    wells = [[device, "", column, row, dose] for device, column, row, dose in (("Pcat_Y81C76", "1", "A", "C6=8"), ("R33S34_Y81C76", "2", "B", "C12=3"))]
    return [head, times] + [well + [str(1 + k + i) for k in range(4) for i in range(readings)] for well in wells]


def read(folder, rows, end=""):
    (folder / "one.csv").write_text("\n".join(",".join(row) for row in rows) + end, "utf-8")
    return plate_reader.read_experiment(folder, files=("one.csv",))


@pytest.mark.parametrize("end", ["\n", "\n\n\n", "\n,,,,\n", "\n \n"])
def test_blank_rows_are_skipped(tmp_path, end):
    """Blank lines at the end, also those of empty cells, change nothing."""
    found, clean = read(tmp_path, plate_rows(), end), read(tmp_path, plate_rows())
    for one, other in zip(found[:6], clean[:6], strict=True):
        np.testing.assert_array_equal(one, other)
    assert found.num_wells == 2


@pytest.mark.parametrize(
    ("row", "cell", "text", "words"),
    [
        (3, 5, "OVER", r"one\.csv, line 4, well B2, OD: expected a finite number, received 'OVER'; did the reader write OVER"),
        (3, 9, "", r"one\.csv, line 4, well B2, mRFP1: expected a finite number, received ''"),
        (2, 16, "nan", r"one\.csv, line 3, well A1, ECFP: expected a finite number, received 'nan'"),
        (1, 6, "soon", r"one\.csv, line 2, times of OD: expected a finite number, received 'soon'"),
        (2, 4, "C6=-8", r"one\.csv, line 3, well A1: expected treatments such as C6=25000, .* >= 0, received 'C6=-8'; is it"),
        (2, 4, "C6=e", r"one\.csv, line 3, well A1: expected treatments .* received 'C6=e'"),
        (2, 4, "C6=1e999", r"received 'C6=1e999'"),
        (2, 4, "Ara=5;C6=?", r"received 'C6=\?'"),
        (2, 4, "C6", r"received 'C6'"),
    ],
)
def test_cells_that_are_no_numbers_are_named(tmp_path, row, cell, text, words):
    """The error says which file, line, well and signal, what was expected and what stands there."""
    rows = plate_rows()
    rows[row][cell] = text
    with pytest.raises(ValueError, match=words):
        read(tmp_path, rows)


@pytest.mark.parametrize("left", [1, 4, 9, 16])
def test_a_row_that_is_cut_is_named(tmp_path, left):
    """A last row with fewer cells than the header is refused with its line, wherever the cut is."""
    rows = plate_rows()
    rows[3] = rows[3][:left]
    with pytest.raises(ValueError, match=rf"one\.csv, line 4: expected 17 cells, as in the header, received {left}; is the file cut short"):
        read(tmp_path, rows)


def test_treatments_in_other_notations(tmp_path):
    """Exponents, spaces and zeros of other substances are read; wells that had any of another substance are left out."""
    rows = plate_rows()
    rows[2][4], rows[3][4] = " C6 = 2.5e4 ; Ara=0", "C12=3;Ara=5"
    found = read(tmp_path, rows)
    np.testing.assert_allclose(np.expm1(found.treatments), [[25000, 0]], rtol=1e-5)


def test_wells_that_share_nothing_are_learned_and_evaluated():
    """With local latents only, training by the published objective improves in two epochs, and evaluation is finite, refined or not."""
    trained = hierarchy.train(jax.random.key(1), ALONE, WELLS, schedule=SHORT._replace(family="full"))
    found = hierarchy.evaluate(jax.random.key(2), ALONE, *trained[:2], WELLS, draws=8)
    assert trained.bounds[1] > trained.bounds[0] and np.isfinite(found.bounds).all()
    assert found.latents.shape == (12, 5) and (found.latent_sd > 0).all()
    refined = hierarchy.evaluate(jax.random.key(3), ALONE, *trained[:2], WELLS, draws=8, steps=3)
    assert np.isfinite(refined.bounds).all() and (refined.effective >= 1 - 1e-5).all()


@pytest.mark.parametrize("family", ["mean-field", "full"])
def test_densities_of_wells_that_share_nothing(family):
    """log q of a draw from a posterior without levels above it is that of a normal law with covariance L Lᵀ."""
    posterior = hierarchy.training.Posterior(jax.random.key(4), ALONE.levels, 4, 20, 7, family=family)
    q = posterior(*(jnp.asarray(x) for x in (WELLS.signals, WELLS.treatments, WELLS.components)))
    noise = jax.random.normal(jax.random.key(5), (5, 12, 3), jnp.float32)
    factor = np.asarray(q.local[:, :, 4], float)
    expected = -0.5 * (np.asarray(noise[:, 4], float) ** 2).sum(0) - np.log(np.diag(factor)).sum() - 2.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(q.log_density(q.draw(noise))[4], expected, rtol=1e-4)


def test_the_shared_objective_needs_something_that_is_shared():
    """Local latents only: the error says so and names the objective that works."""
    with pytest.raises(ValueError, match="expected global or group latents, received 5 local ones and no other.*per well"):
        hierarchy.train(jax.random.key(6), ALONE, WELLS, schedule=SHORT._replace(objective="shared"))


def test_signals_that_are_not_finite_are_not_evaluated():
    """One missing reading is refused by evaluation in the words of training."""
    signals = WELLS.signals.copy()
    signals[3, 1, 2] = np.nan
    broken, weights = WELLS._replace(signals=signals), ALONE.initial_weights(jax.random.key(7))
    posterior = hierarchy.training.Posterior(jax.random.key(8), ALONE.levels, 4, 20, 7)
    with pytest.raises(ValueError) as evaluating:
        hierarchy.evaluate(jax.random.key(9), ALONE, posterior, weights, broken)
    with pytest.raises(ValueError) as training:
        hierarchy.train(jax.random.key(10), ALONE, broken, schedule=SHORT)
    assert str(evaluating.value) == str(training.value) and "expected finite signals" in str(training.value)


def test_refinement_goes_on_after_a_step_to_where_nothing_is_defined():
    """y = √z beside a first step to z < 0: the damping grows until steps are short enough, and the well ends at its mode, z = 0.04."""
    number = levels.levels_of([levels.Latent("z", "local", "normal", 0.5, 1.0)])
    solve = lambda weights, u, treatments, components, times: Prediction(
        jnp.broadcast_to(jnp.sqrt(u[0])[None, None], (len(times), 4, u.shape[1])), jnp.full((1, 4, u.shape[1]), 1e-4, jnp.float32)
    )
    system, times = System("root", number, lambda key: {}, (), solve), np.linspace(0, 1, 16).astype(np.float32)
    wells = Wells(jnp.full((1, 4, 16), 0.2, jnp.float32), jnp.zeros((1, 2)), jnp.zeros((1, 1)))
    nothing, start = jnp.zeros((0, 1, 1), jnp.float32), jnp.full((1, 1, 1), 0.9, jnp.float32)
    value, score, information = refinement.log_posterior_and_information(system, {}, nothing, start, wells, times)
    assert float(start[0, 0, 0] + jnp.clip(score[0] / information[0, 0] / 1.05, -1, 1)[0, 0]) < 0 and bool(jnp.isfinite(value).all())
    found = refinement.refine(system, {}, nothing, start, wells, times, steps=20)
    np.testing.assert_allclose(found.mean[0, 0, 0], 0.04, atol=1e-3)


def test_the_licence_of_the_data_stays_with_them(tmp_path, monkeypatch):
    """LICENSE.txt of a source folder is copied with the files; a download from the public repository fetches it with its checksum."""
    source, checksums = tmp_path / "copy", {"a.csv": hashlib.sha256(b"1").hexdigest()}
    source.mkdir()
    (source / "a.csv").write_bytes(b"1")
    without = sources.bring(source=str(source), to=str(tmp_path / "without"), checksums=checksums)
    assert sorted(path.name for path in (tmp_path / "without").iterdir()) == ["a.csv"] and without == str(tmp_path / "without")
    (source / sources.LICENCE).write_bytes(b"terms\r\n")
    sources.bring(source=str(source), to=str(tmp_path / "with"), checksums=checksums)
    assert (tmp_path / "with" / "LICENSE.txt").read_bytes() == b"terms\r\n" and (tmp_path / "with" / "a.csv").read_bytes() == b"1"
    pooch, asked = pytest.importorskip("pooch"), []
    monkeypatch.setattr(pooch, "retrieve", lambda address, *, known_hash, fname, path, progressbar: asked.append((address, known_hash, fname)))
    sources.bring(to=str(tmp_path / "fetched"), checksums=checksums)
    assert asked == [
        (sources.LICENCE_ORIGIN, f"sha256:{sources.LICENCE_CHECKSUM}", "LICENSE.txt"),
        (sources.ORIGIN + "a.csv", f"sha256:{checksums['a.csv']}", "a.csv"),
    ]


def test_the_real_files_hold_the_published_wells():
    """312 wells, 48 of each device and 72 of R33-S175; scales of the signals; the wells that fold 1 of seed 0 holds out."""
    try:
        place = hierarchy.located("vi-hds")
    except hierarchy.DataError:
        pytest.skip(f"the plate-reader files are not here; `{sources.BRING}` brings them")
    found = hierarchy.read_experiment(place)
    assert found.num_wells == 312 and np.bincount(found.devices).tolist() == [48] * 5 + [72] and found.signals.shape == (312, 4, 86)
    np.testing.assert_allclose(found.scales, [3.1304, 910, 260000, 260000], rtol=1e-6)
    _, validation = plate_reader.fold(found.num_wells, seed=0, number=1)
    assert validation[:12].tolist() == [5, 7, 8, 12, 15, 17, 21, 22, 26, 33, 34, 45]
