"""Which change brought what: the published inference of a model with one thing changed, with bound, effective draws and processor time of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from ssagrad.hierarchy import receiver
from ssagrad.hierarchy.evaluation import Evaluation, evaluate
from ssagrad.hierarchy.newton import joint_mode
from ssagrad.hierarchy.plate_reader import Experiment
from ssagrad.hierarchy.shared import SharedPosterior
from ssagrad.hierarchy.system import System
from ssagrad.hierarchy.training import Schedule, Trained, train


class Variant(NamedTuple):
    """What a variant says about new wells.

    evaluation: bounds and effective draws. training: processor seconds of learning, compilation included. seconds: of one evaluation, per new well,
    compilation not included.
    """

    evaluation: Evaluation
    training: float
    seconds: float


def timed(run: Callable[[], Evaluation], *, training: float = 0.0) -> Variant:
    """Evaluates twice, and times the second, which is not compiled."""
    run()
    began = time.process_time()
    found = run()
    return Variant(found, training, (time.process_time() - began) / len(found.bounds))


def published(
    key: jax.Array, system: System, training: Experiment, new: Experiment, *, schedule: Schedule, draws: int, progress: str | None = None
) -> Variant:
    """Trains by a schedule, and evaluates new wells as the encoder gives them."""
    one, two = jax.random.split(key)
    began = time.process_time()
    trained = train(one, system, training, schedule=schedule, progress=progress)
    seconds = time.process_time() - began
    return timed(lambda: evaluate(jax.random.clone(two), system, *trained[:2], new, draws=draws, num_wells=training.num_wells), training=seconds)


def of_trained(
    key: jax.Array, system: System, trained: Trained, new: Experiment, *, draws: int, more: int, steps: int, clock: bool = False
) -> dict[str, Variant]:
    """Evaluations of a trained model: as published, with `more` draws, and refined by `steps` of Fisher scoring; with `clock` timed, else seconds are nan."""
    options = {"published": {"draws": draws}, f"published, {more} draws": {"draws": more}, "refined": {"draws": draws, "steps": steps}}
    found = {}
    for name, option in options.items():
        run = lambda option=option: evaluate(jax.random.clone(key), system, trained.posterior, trained.weights, new, **option)
        found[name] = timed(run) if clock else Variant(run(), float("nan"), float("nan"))
    return found


CHANGES = ("full covariance", "noise of each well", "one draw of what is shared", "growth-rate expression")


def white_box_changes(
    key: jax.Array, training: Experiment, new: Experiment, *, schedule: Schedule, draws: int, changes: Sequence[str] = CHANGES, progress: str | None = None
) -> dict[str, Variant]:
    """The mechanism as published but for one change each.

    "full covariance": q with correlations. "noise of each well": precisions are local latents. "one draw of what is shared": global and group latents
    drawn once for all wells, twice for half of the draws each, q still mean-field. "growth-rate expression": another mechanism, DR_Growth.

    Raises:
        ValueError: an unknown change.
    """
    if unknown := [name for name in changes if name not in CHANGES]:
        raise ValueError(f"expected changes among {CHANGES}, received {unknown}")
    white = receiver.constant_expression()
    variants: dict[str, tuple[System, dict[str, Any]]] = {
        "full covariance": (white, {"family": "full"}),
        "noise of each well": (receiver.constant_expression(noise="local"), {}),
        "one draw of what is shared": (white, {"objective": "shared", "draws": max(1, schedule.draws // 2), "shared_draws": 2}),
        "growth-rate expression": (receiver.growth_expression(), {}),
    }
    found = {}
    for name in changes:
        system, options = variants[name]
        label = f"{progress}: {name}" if progress else None
        found[name] = published(jax.random.clone(key), system, training, new, schedule=schedule._replace(**options), draws=draws, progress=label)
    return found


def shared_mode(
    key: jax.Array, system: System, training: Experiment, new: Experiment, *, steps: int, starts: int, refinement: int, draws: int, progress: str | None = None
) -> tuple[Variant, bool]:
    """All levels at their mode, q of what is shared Gaussian around it, new wells refined; and whether the mode converged."""
    one, two, three = jax.random.split(key, 3)
    weights, blank = system.initial_weights(one), SharedPosterior(two, system.levels, system.masks, training.signals.shape[1], len(training.times))
    began = time.process_time()
    mode = joint_mode(system, weights, blank, training, steps=steps, starts=starts, progress=progress)
    seconds = time.process_time() - began
    run = lambda: evaluate(jax.random.clone(three), system, mode.posterior, weights, new, draws=draws, steps=refinement, num_wells=training.num_wells)
    return timed(run, training=seconds), mode.converged


def further(
    key: jax.Array,
    systems: Mapping[str, System],
    schedules: Mapping[str, Schedule],
    training: Experiment,
    new: Experiment,
    *,
    changes: Sequence[str],
    draws: int,
    refinement: int,
    steps: int,
    starts: int,
) -> dict[str, Variant]:
    """What else there is beside the published models of `systems` ("white box", "black box"), by name.

    The untrained white box, refined; `changes` of the white box, one each; and, where there are any, the black box with full covariance, and the white
    box at its shared mode (`steps`, `starts` of `joint_mode`) with noise common to all wells.
    """
    white, black = systems["white box"], systems["black box"]
    begin, score, one, two = jax.random.split(key, 4)
    blank = train(begin, white, training, schedule=schedules["white box"]._replace(epochs=0))
    found = {"white box, untrained, refined": timed(lambda: evaluate(jax.random.clone(score), white, *blank[:2], new, draws=draws, steps=refinement))}
    options = {"schedule": schedules["white box"], "draws": draws, "changes": changes, "progress": "white box"}
    found |= {f"white box, {name}": variant for name, variant in white_box_changes(one, training, new, **options).items()}
    if changes:
        full = schedules["black box"]._replace(family="full")
        found["black box, full covariance"] = published(jax.random.clone(one), black, training, new, schedule=full, draws=draws, progress="black box, full covariance")
        options = {"steps": steps, "starts": starts, "refinement": refinement, "draws": draws, "progress": "all levels, one noise"}
        found["white box, shared mode, one noise, refined"] = shared_mode(two, white, training, new, **options)[0]
    return found
