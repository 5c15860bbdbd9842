"""An experiment with known truth: the white box itself, on the devices and dilutions of the real one."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.hierarchy.levels import CLIP
from ssagrad.hierarchy.likelihood import Wells, predict
from ssagrad.hierarchy.plate_reader import Experiment, component_vectors
from ssagrad.hierarchy.system import System

SITES = {"aR": (0.5, 1.5, 0.3), "aS": (0.4, 0.7, 2.0, 0.2)}  # strengths of the ribosome binding sites of LuxR and LasR
TYPICAL = {
    "e76": 0.03, "e81": 0.02, "KGR76": 6.0, "KGR81": 0.05, "KGS76": 0.08, "KGS81": 8.0, "KR6": 0.02, "KR12": 2e-5, "KS6": 2e-5, "KS12": 0.02,
    "nR": 1.2, "nS": 1.1, "aYFP": 0.8, "aCFP": 0.7, "dR": 0.15, "dS": 0.15, "drfp": 0.05, "dyfp": 0.08, "dcfp": 0.08, "a530": 0.01, "a480": 0.02,
    "es": 0.2, "aR": 1.0, "aS": 1.0, "r": 1.0, "K": 1.2, "tlag": 1.0, "rc": 0.6,
}  # fmt: skip
_SCATTER = {"r": 0.05, "K": 0.06, "tlag": 0.1, "rc": 0.08}  # of the logarithms, between wells
_NOISE = (0.012, 0.012, 0.008, 0.008)  # standard deviations of the signals


class Synthetic(NamedTuple):
    """An experiment, and the u of every latent in every well that made it [P, N]."""

    experiment: Experiment
    truth: np.ndarray


def double_receivers(key: jax.Array, system: System, *, wells_per_device: int = 24, num_times: int = 86, hours: float = 16.5) -> Synthetic:
    """Six devices, each with dilutions of C6 in half of its wells and of C12 in the others, and Gaussian noise.

    Group latents follow the ribosome binding sites (`SITES`), local ones scatter about a typical value.

    Raises:
        ValueError: fewer than 2 wells for a device, or a system without the latents of the white box.
    """
    names = system.levels.names
    unknown = [name for name in names if name not in TYPICAL and not name.startswith("prec_")]
    if wells_per_device < 2 or unknown:
        raise ValueError(f"expected at least 2 wells per device and a white box, received {wells_per_device} and the latents {unknown}")
    devices = np.repeat(np.arange(6), wells_per_device)
    half = wells_per_device // 2
    doses = np.concatenate([25000 / 3.0 ** np.linspace(0, 10, max(half - 1, 1)), [0.0]])[:half]
    treatments = np.zeros((len(devices), 2), np.float32)
    for number in range(len(devices)):
        place = number % wells_per_device
        treatments[number, 0 if place < half else 1] = np.log1p(doses[place % half])
    components = component_vectors(devices)
    scatter_key, noise_key = jax.random.split(key)
    truth = _truth(scatter_key, names, components)
    low, high = (system.levels.locations + sign * CLIP * system.levels.scales for sign in (-1, 1))
    if (truth < low[:, None]).any() or (truth > high[:, None]).any():
        raise ValueError("expected truths within four prior standard deviations, received some that are not")
    times = np.linspace(0, hours, num_times, dtype=np.float32)
    wells = Wells(jnp.zeros((len(devices), 4, num_times), jnp.float32), jnp.asarray(treatments), jnp.asarray(components))
    weights = system.initial_weights(key)
    mean = np.asarray(predict(system, weights, jnp.asarray(truth)[:, :, None], wells, times).mean)  # [T, 4, N]
    signals = np.transpose(mean, (2, 1, 0)) + np.array(_NOISE, np.float32)[None, :, None] * np.asarray(
        jax.random.normal(noise_key, (len(devices), 4, num_times), jnp.float32)
    )
    experiment = Experiment(times, signals.astype(np.float32), treatments, devices, components, np.ones(4, np.float32))
    return Synthetic(experiment, truth)


def shared_truth(system: System) -> np.ndarray:
    """u of what the wells of `double_receivers` share [D]: global latents, then group latents by component."""
    noise = dict(zip(("prec_x", "prec_rfp", "prec_yfp", "prec_cfp"), _NOISE, strict=True))
    names = system.levels.names[: system.levels.counts[0]]
    values = [noise[name] ** -2.0 if name in noise else TYPICAL[name] for name in names]
    return np.log([*values, *(strength for sites in SITES.values() for strength in sites)])


def _truth(key, names, components):
    """u of every latent in every well [P, N]."""
    rows = []
    for name, one in zip(names, jax.random.split(key, len(names)), strict=True):
        if name.startswith("prec_"):
            row = np.full(len(components), -2 * np.log(_NOISE[("prec_x", "prec_rfp", "prec_yfp", "prec_cfp").index(name)]))
        elif name in SITES:
            own = components[:, :3] if name == "aR" else components[:, 3:]
            row = np.log(own @ np.array(SITES[name]))
        else:
            row = np.log(TYPICAL[name]) + _SCATTER.get(name, 0.0) * np.asarray(jax.random.normal(one, (len(components),)))
        rows.append(row)
    return np.array(rows, np.float32)
