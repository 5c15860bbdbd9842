"""Learning by stochastic ascent of the bound, in mini-batches of wells."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ssagrad.checkpoint import describe, load_checkpoint, save_checkpoint
from ssagrad.hierarchy import shared
from ssagrad.hierarchy.bound import GRADIENTS, gradients, refined_gradients
from ssagrad.hierarchy.likelihood import Wells
from ssagrad.hierarchy.plate_reader import Experiment, require_finite
from ssagrad.hierarchy.posterior import Posterior
from ssagrad.hierarchy.progress import bar
from ssagrad.hierarchy.system import System


OBJECTIVES = ("per well", "shared")
_SHARED = ("shared_mean", "shared_log_sd", "shared_lower", "mean", "log_sd", "lower")  # leaves of a posterior that no encoder gives


class Schedule(NamedTuple):
    """How long, how fast and for what to learn; the defaults are the published settings, with 60 epochs and K = 20.

    epochs: passes over the training wells. batch: wells in a step. draws: K, for each well (and each of `shared_draws` S).
    rates: of Adam, the next one from each of `milestones` (epochs) on. pace: factors of it for the encoder, for shared numbers, for weights of the
    system. largest_gradient: norm to which longer gradients of each of these three are cut, without which the first steps, thousands of nats away,
    set Adam's scale for hundreds of steps.
    objective: "per well" (`bound`) or "shared" (`shared`). gradient: see `bound.gradients`. refinement: steps of Fisher scoring in each step, 0: none.
    family, sees: of the posterior; start_sd: of the published one's shared numbers and local latents.
    """

    epochs: int = 60
    batch: int = 36
    draws: int = 20
    rates: Sequence[float] = (0.01, 0.002, 0.0002)
    milestones: Sequence[int] = (250, 1000)
    pace: Sequence[float] = (1.0, 1.0, 1.0)
    largest_gradient: float = 100.0
    objective: str = "per well"
    gradient: str = "doubly reparameterised"
    refinement: int = 0
    shared_draws: int = 2
    family: str = "mean-field"
    sees: str = "differences"
    start_sd: float | None = None


class Trained(NamedTuple):
    """What was learned: the posterior (an equinox module), and weights of the system.

    bounds: mean bound of the batches of each epoch [epochs]. history: {epochs done: whatever `evaluate` gave}.
    """

    posterior: Any
    weights: Any
    bounds: np.ndarray
    history: dict[int, Any]


def train(
    key: jax.Array,
    system: System,
    experiment: Experiment,
    *,
    schedule: Schedule = Schedule(),
    start: tuple[Any, Any] | None = None,
    evaluate: Callable[[Any, Any], Any] | None = None,
    every: int = 10,
    checkpoint: str | os.PathLike | None = None,
    progress: str | None = None,
) -> Trained:
    """Ascends the mean bound of the wells with Adam.

    Args:
        start: posterior and weights to go on from; None: new ones.
        evaluate: (posterior, weights) -> anything, called after epoch 0, every, 2 every, … and the last one.
        checkpoint: path of an .npz file, written with every evaluation; if it exists, training goes on from there and gives the same numbers.
        progress: label of a bar over epochs (needs tqdm).

    Raises:
        ValueError: a batch larger than the experiment, an unknown gradient, a checkpoint of another computation.
        FloatingPointError: a bound or a derivative that is not finite; the message says in which epoch.
    """
    _check(schedule, experiment)
    build, shuffle, noise = jax.random.split(key, 3)
    first, second = jax.random.split(build)
    optimiser = _optimiser(_hashable(schedule), -(-experiment.num_wells // schedule.batch))
    trained = (_posterior(first, system, experiment, schedule), system.initial_weights(second)) if start is None else start
    state, bounds, history, done = optimiser.init(trained), [], {}, 0
    facts = {"system": system.name, "schedule": str(schedule), "key": describe(jax.random.key_data(key)), "data": describe(experiment.signals)} | ({} if start is None else {"start": describe(start)})
    if checkpoint is not None and (saved := load_checkpoint(checkpoint, facts)):
        leaves, structure = jax.tree.flatten((trained, state))
        trained, state = structure.unflatten([jnp.asarray(saved[f"leaf{i}"]) for i in range(len(leaves))])
        bounds = list(saved["bounds"])
        done = len(bounds)
    wells = Wells(*(np.asarray(part, np.float32) for part in (experiment.signals, experiment.treatments, experiment.components)))
    num_wells, step = np.float32(experiment.num_wells), partial(_step, system, optimiser, _hashable(schedule), tuple(map(float, experiment.times)))
    for epoch in bar(range(done, schedule.epochs), progress, unit="epoch", first=done, total=schedule.epochs):
        if evaluate is not None and epoch % every == 0:
            history[epoch] = evaluate(*trained)
        found = []
        for number, chosen in enumerate(_batches(jax.random.fold_in(shuffle, epoch), experiment.num_wells, schedule.batch)):
            one = jax.random.fold_in(jax.random.fold_in(noise, epoch), number)
            trained, state, value = step(trained, state, Wells(*(leaf[chosen] for leaf in wells)), num_wells, one)
            found.append(value)
        bounds.append(float(np.mean(found)))
        if not np.isfinite(bounds[-1]):
            raise FloatingPointError(f"{system.name}, epoch {epoch}: expected finite bounds, received {[float(x) for x in found]}; try smaller rates")
        if checkpoint is not None and ((epoch + 1) % every == 0 or epoch + 1 == schedule.epochs):
            arrays = {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves((trained, state)))}
            save_checkpoint(checkpoint, facts, arrays | {"bounds": np.array(bounds)})
    if evaluate is not None:
        history[schedule.epochs] = evaluate(*trained)
    return Trained(*trained, np.array(bounds), history)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _step(system, optimiser, schedule, times, trained, state, batch, num_wells, key):
    """One step on a batch; the number of wells is an argument, so that experiments of several sizes share one compiled step."""
    size, grid = len(batch.signals), np.array(times, np.float32)
    if schedule.objective == "shared":
        noise = shared.noise_of(key, trained[0], size, shared_draws=schedule.shared_draws, draws=schedule.draws)
        options = {"steps": schedule.refinement, "num_wells": num_wells}
        slope, value = jax.grad(shared.objective, has_aux=True)(trained, system, batch, grid, noise, **options)
    else:
        noise = jax.random.normal(key, (len(system.levels.latents), size, schedule.draws), jnp.float32)
        if schedule.refinement:
            value, slope = refined_gradients(system, trained, batch, grid, noise, steps=schedule.refinement)
        else:
            value, slope = gradients(system, trained, batch, grid, noise, gradient=schedule.gradient)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
        updates, state = optimiser.update(jax.tree.map(jnp.negative, slope), state)
    return optax.apply_updates(trained, updates), state, value.mean()


def _posterior(key: jax.Array, system: System, experiment: Experiment, schedule: Schedule) -> Any:
    _, num_signals, num_times = experiment.signals.shape
    if schedule.objective == "shared":
        return shared.SharedPosterior(key, system.levels, system.masks, num_signals, num_times, family=schedule.family, sees=schedule.sees)
    options = {"family": schedule.family, "sees": schedule.sees, "start_sd": schedule.start_sd}
    return Posterior(key, system.levels, num_signals, num_times, experiment.components.shape[1], **options)


@cache  # one object for one schedule, so that steps compiled for it are found again
def _optimiser(schedule: Schedule, steps: int) -> optax.GradientTransformation:
    """Adam for each of the three parts, with rates constant between milestones."""

    def part(pace):
        rates = [pace * rate for rate in schedule.rates][: len(schedule.milestones) + 1]
        milestones = [steps * epoch for epoch in schedule.milestones][: len(rates) - 1]
        rate = optax.join_schedules([optax.constant_schedule(rate) for rate in rates], milestones)
        return optax.chain(optax.clip_by_global_norm(schedule.largest_gradient), optax.adam(rate))

    return optax.multi_transform(dict(zip(("encoder", "shared", "weights"), map(part, schedule.pace), strict=True)), _parts)


def _parts(trained: Any) -> Any:
    """For each leaf of what is trained, the part that it belongs to."""
    posterior, weights = trained
    names = jax.tree_util.tree_map_with_path(lambda path, _: "shared" if jax.tree_util.keystr(path).strip(".") in _SHARED else "encoder", posterior)
    return names, jax.tree.map(lambda _: "weights", weights)


def _hashable(schedule: Schedule) -> Schedule:
    return schedule._replace(rates=tuple(schedule.rates), milestones=tuple(schedule.milestones), pace=tuple(schedule.pace))


def _batches(key: jax.Array, num_wells: int, batch: int) -> np.ndarray:
    """Indices of the wells of each step [steps, batch], all wells once; the last batch is filled up with wells of the first."""
    order = np.asarray(jax.random.permutation(key, num_wells))
    steps = -(-num_wells // batch)
    return np.resize(order, (steps, batch))


def _check(schedule: Schedule, experiment: Experiment) -> None:
    if schedule.gradient not in GRADIENTS:
        raise ValueError(f"expected a gradient among {GRADIENTS}, received {schedule.gradient!r}")
    if schedule.objective not in OBJECTIVES:
        raise ValueError(f"expected an objective among {OBJECTIVES}, received {schedule.objective!r}")
    if not 1 <= schedule.batch <= experiment.num_wells:
        raise ValueError(f"expected a batch of 1 to {experiment.num_wells} wells, received {schedule.batch}")
    require_finite(experiment)
