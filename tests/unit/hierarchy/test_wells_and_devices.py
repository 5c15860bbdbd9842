"""Systems, latents, plate-reader files and their verification, and wells made by the mechanism."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssagrad import hierarchy
from ssagrad.hierarchy import neural, plate_reader, receiver, sources, study, synthetic
from ssagrad.hierarchy.integrate import modified_euler
from ssagrad.hierarchy.likelihood import predict, wells_of
from ssagrad.hierarchy.posterior import Posterior

WHITE, LOCAL, BLACK = receiver.constant_expression(), receiver.constant_expression(noise="local"), neural.hierarchical()


def count(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_published_sizes():
    """Posterior and system have 37,016 weights (white box) and 38,914 (black box, variance net seeing all states), as counted in the published forms."""
    for system, expected in ((WHITE, 37016), (BLACK, 38914)):
        posterior = Posterior(jax.random.key(0), system.levels, 4, 86, 7)
        unused = posterior.local_bias.size - 2 * system.levels.counts[2]
        assert count((posterior, system.initial_weights(jax.random.key(1)))) - unused == expected


def test_latents_by_level():
    """25 global, 2 group and 4 local latents; noise of each well moves four; densities are those of the draw, only the equation sees it clipped."""
    assert WHITE.levels.counts == (25, 2, 4) and LOCAL.levels.counts == (21, 2, 8) and BLACK.levels.counts == (5, 2, 5)
    far = jnp.asarray(WHITE.levels.locations + 10 * WHITE.levels.scales)[:, None]
    np.testing.assert_allclose(WHITE.levels.clipped(far)[:, 0], WHITE.levels.locations + 4 * WHITE.levels.scales, rtol=1e-5)
    expected = -50 * 31 - np.log(WHITE.levels.scales).sum() - 31 * 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(WHITE.levels.log_prior(far)[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("latent", "words"),
    [
        (hierarchy.Latent("a", "planet", "normal", 0, 1), "level among"),
        (hierarchy.Latent("a", "local", "gamma", 0, 1), "family among"),
        (hierarchy.Latent("a", "local", "normal", 0, 0), "scale > 0"),
    ],
)
def test_latents_that_make_no_sense_are_refused(latent, words):
    """Unknown levels and families, and scales that are not positive."""
    with pytest.raises(ValueError, match=words):
        hierarchy.levels_of([latent])


def test_modified_euler_is_of_second_order():
    """Half the step, a quarter of the error, for exponential decay."""
    errors = []
    for points in (21, 41):
        times = jnp.linspace(0, 2, points)
        path = modified_euler(lambda state, drive: -state, jnp.ones(1), None, times)
        errors.append(float(jnp.abs(path[-1, 0] - jnp.exp(-2.0))))
    assert 3.5 < errors[0] / errors[1] < 4.5


@pytest.mark.parametrize("system", [WHITE, receiver.growth_expression(), BLACK, neural.local_only()], ids=lambda system: system.name)
def test_derivatives_are_finite_without_any_treatment(system):
    """(K c)^n has no derivative at c = 0; the floor gives it one. Predictions and variances are finite, variances positive."""
    num_latents = len(system.levels.latents)
    times = np.linspace(0, 5, 12).astype(np.float32)
    weights = system.initial_weights(jax.random.key(2))
    u = jnp.asarray(system.levels.locations)[:, None] * jnp.ones((num_latents, 3))
    treatments, components = jnp.zeros((2, 3)), jnp.zeros((7, 3)).at[0].set(1).at[3].set(1)
    total = lambda weights, u: sum(part.sum() for part in system.solve(weights, u, treatments, components, times))
    slopes = jax.grad(total, argnums=(0, 1))(weights, u)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(slopes))
    assert bool((system.solve(weights, u, treatments, components, times).variance > 0).all())


def test_each_lane_is_its_own_well():
    """Treatments and components are spread by axis: predictions of a batch are those of its wells one by one."""
    wells = synthetic.double_receivers(jax.random.key(3), WHITE, wells_per_device=2, num_times=20).experiment
    weights = WHITE.initial_weights(jax.random.key(4))
    u = jnp.asarray(WHITE.levels.locations)[:, None, None] + 0.1 * jax.random.normal(jax.random.key(5), (31, 12, 3))
    whole = predict(WHITE, weights, u, wells_of(wells), wells.times).mean.reshape(20, 4, 12, 3)
    alone = predict(WHITE, weights, u[:, 7:8], wells_of(wells.wells([7])), wells.times).mean
    np.testing.assert_allclose(whole[:, :, 7], alone, rtol=1e-5, atol=1e-6)


def write_plate(path, wells, readings=16):
    """A file as the reader writes it: (device, treatment, level) for each well."""
    signals = ("OD", "mRFP1", "EYFP", "ECFP")
    head = ["Content", "Colony", "Well Col", "Well Row", "Content"] + [f"Raw Data ({s}) {i}" for s in signals for i in range(readings)]
    rows = [head, [""] * 5 + [str(0.2 * i) for _ in signals for i in range(readings)]]
    for device, treatment, level in wells:
        rows.append([device, "", "1", "A", treatment] + [str(level * (k + 1) * (1 + i)) for k in range(4) for i in range(readings)])
    path.write_text("\n".join(",".join(row) for row in rows), "utf-8")


def test_plates_are_read_filtered_and_scaled(tmp_path):
    """Other devices and other treatments are left out; each signal has the largest value 1 before its own minimum is taken off."""
    write_plate(tmp_path / "one.csv", [("Pcat_Y81C76", "C6=8; Ara=0", 1), ("R33S34_Y81C76", "C12=3", 2), ("R33S34_Y81C76", "C6=1;Ara=5", 9), ("other", "C6=1", 9)])
    write_plate(tmp_path / "two.csv", [("R33S175_Y81C76", "", 1)], readings=20)
    found = plate_reader.read_experiment(tmp_path, files=("one.csv", "two.csv"))
    assert found.signals.shape == (3, 4, 16) and found.devices.tolist() == [0, 4, 5]
    np.testing.assert_allclose(np.expm1(found.treatments), [[8, 0], [0, 3], [0, 0]], rtol=1e-5)
    np.testing.assert_array_equal(found.components[1], [0, 0, 1, 0, 0, 1, 0])
    np.testing.assert_allclose(found.signals[1, 0, -1], 1 - 1 / 16, rtol=1e-5)
    assert (found.signals.min(2) == 0).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [("a,b\n", "is the file cut short"), ("Content,(OD) 1\n,0\nx,1\n", "as many readings"), (None, "data vi-hds")],
)
def test_files_of_another_form_are_refused(tmp_path, text, words):
    """Too few rows, signals that are missing, no file at all: the message says what to do."""
    if text is not None:
        (tmp_path / "one.csv").write_text(text, "utf-8")
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        plate_reader.read_experiment(tmp_path, files=("one.csv",))


def test_folds_are_those_of_the_published_code():
    """Validation wells of seed 0, fold 1; four folds cover all wells once."""
    _, validation = plate_reader.fold(312, seed=0, number=1)
    assert validation[:12].tolist() == [5, 7, 8, 12, 15, 17, 21, 22, 26, 33, 34, 45] and len(validation) == 78
    assert sorted(np.concatenate([plate_reader.fold(312, seed=0, number=n)[1] for n in (1, 2, 3, 4)])) == list(range(312))


def test_only_devices_with_known_components_are_held_out():
    """R33-S34 can be predicted from others, Pcat-Pcat and R33-S175 cannot."""
    wells = synthetic.double_receivers(jax.random.key(6), WHITE, wells_per_device=2, num_times=20).experiment
    others, own = plate_reader.held_out(wells, "R33-S34")
    assert len(own) == 2 and len(others) == 10
    for device in ("Pcat-Pcat", "R33-S175"):
        with pytest.raises(ValueError, match="components occur in others"):
            plate_reader.held_out(wells, device)


def test_files_are_verified_and_brought(tmp_path, monkeypatch):
    """A folder with other contents is refused; a good one is copied, found through the environment, and damage is noticed."""
    source, contents = tmp_path / "copy", {"a.csv": b"1", "b.csv": b"2"}
    checksums = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    source.mkdir()
    (source / "a.csv").write_bytes(b"1")
    with pytest.raises(sources.DataError, match="b.csv: missing"):
        sources.bring(source=str(source), to=str(tmp_path / "to"), checksums=checksums)
    (source / "b.csv").write_bytes(b"2")
    monkeypatch.setenv(sources.VARIABLE, str(tmp_path / "data"))
    place = sources.bring(source=str(source), checksums=checksums)
    assert place == str(tmp_path / "data" / "vi-hds") and sources.unverified(place, checksums) == {}
    with pytest.raises(sources.DataError, match="python -m ssagrad data vi-hds"):
        sources.located("vi-hds")
    (tmp_path / "data" / "vi-hds" / "a.csv").write_bytes(b"9")
    assert sources.unverified(place, checksums) == {"a.csv": "its checksum differs"}


def test_orders_and_strengths_of_sites():
    """Strengths have mean 0 within a parameter, and the order is that of the means."""
    blank = hierarchy.SharedPosterior(jax.random.key(7), LOCAL.levels, LOCAL.masks, 4, 20)
    mean = np.array(blank.mean)
    mean[-7:] = [0, 2, 1, 3, 1, 2, 0]
    moved = hierarchy.SharedPosterior.__new__(hierarchy.SharedPosterior)
    for name, value in vars(blank).items():
        object.__setattr__(moved, name, jnp.asarray(mean) if name == "mean" else value)
    strengths = study.site_strengths([moved], LOCAL)
    assert study.orders(strengths) == {"aR": {"Pcat < 33 < 100"}, "aS": {"175 < 32 < 34 < Pcat"}}
    np.testing.assert_allclose(sum(site[0][0] for site in strengths["aS"].values()), 0, atol=1e-5)
    assert len(study.shared_names(LOCAL)) == len(blank.mean) == len(synthetic.shared_truth(LOCAL))


def test_dose_responses_leave_other_treatments_out():
    """Means over the wells of a dose; wells without any stand at a third of the smallest."""
    wells = synthetic.double_receivers(jax.random.key(8), WHITE, wells_per_device=4, num_times=20).experiment
    doses, means = hierarchy.dose_response(wells, wells.treatments[:, :1], treatment=0)
    assert len(doses) == 2 and doses[0] == pytest.approx(doses[1] / 3, rel=1e-3)
    np.testing.assert_allclose(means[:, 0], [0, np.log1p(doses[1])], rtol=1e-4)
