"""Learning F from lattices: wake and sleep phases of the machine at each time of a window that slides along the data."""

from __future__ import annotations

import os
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.boltzmann.basis import GrowingGrid
from ssagrad.boltzmann.closure import Trajectory
from ssagrad.boltzmann.hopping import generator
from ssagrad.boltzmann.machine import Machine, States, independent_start, noise, statistics, sweep, visible_odds
from ssagrad.boltzmann.moments import expected_moments
from ssagrad.checkpoint import describe, load_checkpoint, save_checkpoint

SLEEPS = ("noise", "persistent")


class Schedule(NamedTuple):
    """How a closure is learned; the defaults are the published settings.

    learning_rate: of plain gradient descent, with extensive moments. num_steps: optimisation steps. steps_per_shift: after so many, the window
    moves on by one unit of time. window: its length [time]. batch: runs drawn for each step. chains: of each run's snapshot, wake and sleep.
    wake_sweeps, sleep_sweeps: Gibbs sweeps in a step. sleep: where the free chains begin in each step, from "noise", or "persistent": where they were
    (those of a time that is new in the window where those of the time before are). cell: size of the grid's cells.
    """

    learning_rate: float = 2.5e-6
    num_steps: int = 980
    steps_per_shift: int = 2
    window: int = 10
    batch: int = 5
    chains: int = 5
    wake_sweeps: int = 10
    sleep_sweeps: int = 10
    sleep: str = "noise"
    cell: float = 0.1


class Learned(NamedTuple):
    """A learned closure: θ(t) of a machine at t = 0, 1, … [T, P].

    mismatch: Δμ averaged over the window in each optimisation step. num_vertices: of the grid that F is defined on.
    """

    machine: Machine
    theta: np.ndarray
    mismatch: np.ndarray
    num_vertices: int


def arguments_of(machine: Machine) -> tuple[int, ...]:
    """Which parameters F depends on: visible biases and weights between equal kinds, as in the paper."""
    weights = range(2 * machine.num_layers, 2 * machine.num_layers + 2 * machine.num_latent)
    return (0, 1, *weights)


def learn(
    key: jax.Array,
    machine: Machine,
    sites: np.ndarray,
    *,
    schedule: Schedule = Schedule(),
    checkpoint: str | os.PathLike | None = None,
    progress: str | None = None,
) -> Learned:
    """Learns F by gradient descent on ∫ KL(data ‖ model) dt, from independent sites at the density of the data at time 0.

    **Bias**: with sleep="noise", the model's moments are those after `sleep_sweeps` sweeps from noise, which are part of what is learned: the law of
    the machine in equilibrium can be another one, and is where couplings order the lattice. Persistent chains follow θ(t) from time 0 on, hundreds
    of sweeps in all, and aim at the equilibrium.

    Args:
        sites: lattices of n runs [n, T, side, side]; T must reach the end of the last window.
        checkpoint: path of an .npz file, written every 50 steps; if it exists, learning goes on from there and gives the same numbers.
        progress: label of a bar over steps (needs tqdm).

    Raises:
        ValueError: data that are too short, an unknown sleep, a checkpoint of another computation.
        FloatingPointError: parameters that are not finite (too large a learning rate).
    """
    begins = [step // schedule.steps_per_shift for step in range(schedule.num_steps)]
    num_times = begins[-1] + schedule.window + 1
    _check(schedule, sites, num_times)
    density = float((sites[:, 0] > 0).mean()) / 2
    start, side = independent_start(machine, density), sites.shape[-1]
    arguments = arguments_of(machine)
    grid = GrowingGrid(start[list(arguments)], schedule.cell, machine.num_parameters)
    chains, first, mismatch = _Chains(machine, schedule, side), 0, []
    facts = {"schedule": str(schedule), "machine": str(machine), "key": describe(jax.random.key_data(key)), "data": describe(sites[:, ::50])}
    if checkpoint is not None and (saved := load_checkpoint(checkpoint, facts)):
        grid.restore(saved["places"], saved["coefficients"])
        first, mismatch = len(saved["mismatch"]), list(saved["mismatch"])
        chains.restore(saved)
    trajectory = Trajectory(grid, arguments, start)
    for step in _bar(range(first, schedule.num_steps), progress, first, schedule.num_steps):
        begin = begins[step]
        trajectory.extend(begin + schedule.window)
        theta = trajectory.theta[begin:]
        if not np.isfinite(theta).all() or np.abs(theta).max() > 50:
            raise FloatingPointError(f"step {step}: parameters left the range −50 … 50 near t = {begin}; expected a smaller learning_rate")
        runs = generator(jax.random.fold_in(key, step)).choice(len(sites), schedule.batch, replace=False)
        pulls = chains.pulls(jax.random.fold_in(key, step), theta, sites[runs, begin : begin + schedule.window + 1], begin)
        mismatch.append(pulls.mean(0))
        trajectory.update(begin, -schedule.learning_rate * trajectory.gradient(begin, pulls))
        if checkpoint is not None and (step + 1) % 50 == 0:
            arrays = {"places": grid.places, "coefficients": grid.coefficients, "mismatch": np.array(mismatch)}
            save_checkpoint(checkpoint, facts, arrays | chains.arrays())
    trajectory.extend(num_times - 1)
    return Learned(machine, trajectory.theta, np.array(mismatch), len(grid.places))


class _Chains:
    """The states of all wake and sleep chains of a window, times × runs × chains along the last axis."""

    def __init__(self, machine: Machine, schedule: Schedule, side: int):
        self.machine, self.schedule, self.side = machine, schedule, side
        self.per_time = schedule.batch * schedule.chains
        number = (schedule.window + 1) * self.per_time
        self.latent = tuple(np.zeros((side, side, number), np.int8) for _ in range(machine.num_latent))
        self.free, self.begin = None, 0

    def pulls(self, key: jax.Array, theta: np.ndarray, snapshots: np.ndarray, begin: int) -> np.ndarray:
        """Δμ at each time of the window [K + 1, P]: sleep less wake, means over chains.

        Args:
            theta: [K + 1, P]. snapshots: [batch, K + 1, side, side]. begin: first time of the window.
        """
        machine, schedule = self.machine, self.schedule
        wake_key, noise_key, sleep_key = jax.random.split(key, 3)
        each = jnp.asarray(np.repeat(theta.T, self.per_time, axis=1), jnp.float32)
        visible = np.repeat(np.moveaxis(snapshots, (0, 1), (3, 2)).reshape(self.side, self.side, -1), schedule.chains, axis=2)
        free = self._free_start(noise_key, begin, each.shape[1])
        free, asleep = _phase(sleep_key, machine, each, free, num_sweeps=schedule.sleep_sweeps, clamped=False)
        clamped = (jnp.asarray(visible, jnp.int8), *map(jnp.asarray, self.latent))
        clamped, awake = _phase(wake_key, machine, each, clamped, num_sweeps=schedule.wake_sweeps, clamped=True)
        self.free, self.latent, self.begin = free, clamped[1:], begin
        difference = np.asarray(asleep, float) - np.asarray(awake, float)
        return difference.reshape(len(difference), -1, self.per_time).mean(2).T

    def _free_start(self, key: jax.Array, begin: int, number: int) -> States:
        if self.free is None or self.schedule.sleep == "noise":
            return noise(key, self.machine, self.side, number)
        moved = (begin - self.begin) * self.per_time
        return tuple(jnp.concatenate([layer[..., moved:], layer[..., layer.shape[-1] - moved :]], axis=-1) for layer in self.free)

    def arrays(self) -> dict[str, np.ndarray]:
        """What a checkpoint keeps."""
        kept = {"latent": self.latent, "free": self.free}
        layers = {f"{name}{number}": np.asarray(layer) for name, part in kept.items() for number, layer in enumerate(part)}
        return layers | {"begin": np.array(self.begin)}

    def restore(self, saved: dict[str, np.ndarray]) -> None:
        """Goes on from what `arrays` kept."""
        self.latent = tuple(saved[f"latent{number}"] for number in range(self.machine.num_latent))
        self.free = tuple(jnp.asarray(saved[f"free{number}"]) for number in range(self.machine.num_layers))
        self.begin = int(saved["begin"])


@partial(jax.jit, static_argnames=("machine", "clamped"))
def _phase(key, machine, theta, states, *, num_sweeps, clamped):
    states = sweep(key, machine, theta, states, num_sweeps=num_sweeps, clamped=clamped)
    return states, statistics(machine, states)


def model_moments(
    key: jax.Array,
    machine: Machine,
    theta: np.ndarray,
    *,
    side: int,
    num_chains: int,
    num_sweeps: int,
    batch: int = 1000,
    progress: str | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Moments (`moments.NAMES`) of the visible layer after sweeps from noise, and their standard errors over chains: two arrays [T, 8].

    Pairs are expectations given the layer above, from which the last sweep draws the visible one.

    Args:
        theta: [T, P]. num_chains: for each of the T rows. num_sweeps: from noise. batch: chains in memory at once.
    """
    rows, found = max(1, batch // num_chains), []
    for number, begin in enumerate(_bar(range(0, len(theta), rows), progress, 0, None)):
        some = theta[begin : begin + rows]
        padded = np.concatenate([some, np.repeat(some[-1:], rows - len(some), axis=0)])
        each = jnp.asarray(np.repeat(padded.T, num_chains, axis=1), jnp.float32)
        values = _sampled(jax.random.fold_in(key, number), machine, each, side, num_sweeps)
        found.append(np.asarray(values, float).reshape(rows, num_chains, -1)[: len(some)])
    samples = np.concatenate(found)
    return samples.mean(1), samples.std(1, ddof=1) / np.sqrt(num_chains)


@partial(jax.jit, static_argnames=("machine", "side"))
def _sampled(key, machine, theta, side, num_sweeps):
    first, second = jax.random.split(key)
    states = sweep(second, machine, theta, noise(first, machine, side, theta.shape[1]), num_sweeps=num_sweeps, clamped=False)
    return expected_moments(*visible_odds(machine, theta, states))


def _check(schedule: Schedule, sites: np.ndarray, num_times: int) -> None:
    if schedule.sleep not in SLEEPS:
        raise ValueError(f"expected sleep among {SLEEPS}, received '{schedule.sleep}'")
    if np.ndim(sites) != 4 or sites.shape[1] < num_times:
        raise ValueError(f"expected lattices [n, T, side, side] with T ≥ {num_times}, where the last window ends, received {np.shape(sites)}")
    if len(sites) < schedule.batch:
        raise ValueError(f"expected at least batch={schedule.batch} runs, received {len(sites)}")


def _bar(steps: range, label: str | None, first: int, total: int | None):
    if label is None:
        return steps
    from tqdm import tqdm

    return tqdm(steps, desc=label, initial=first, total=total or len(steps), unit="step")
