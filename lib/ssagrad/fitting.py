"""Gradient descent on losses of simulated ensembles."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ssagrad.checkpoint import describe, load_checkpoint, save_checkpoint
from ssagrad.descents import Descents, Fit, Plateau, Seen, begin, extend, from_arrays, next_batch, raise_failure, to_arrays
from ssagrad.ensemble import Ensemble
from ssagrad.estimators import polyak_smoothing
from ssagrad.network import Network


def relative_distance(counts: jax.Array, target: jax.Array) -> jax.Array:
    """Distance of each path to a target trajectory, averaged over times and species: |x − y| / max_t y.

    Args:
        counts: [n, T, S]. target: [T, S], every species positive at some time.

    Returns:
        One distance per path [n], without a unit. Its expectation is positive even for the true model: the paths scatter.
    """
    return (jnp.abs(counts - target[None]) / target.max(0)[None, None]).mean((1, 2))


def smoothed_loss(
    network: Network,
    initial_counts: Any,
    times: Any,
    *,
    distance: Callable[[jax.Array], jax.Array],
    num_pairs: int,
    sigma: float,
    decode: Callable[[Any], Any] = lambda parameters: parameters,
) -> Callable[[Any, jax.Array], jax.Array]:
    """The expected distance of single paths as a function of (parameters, key), with Polyak-smoothed gradients: what `descend` takes.

    Args:
        distance: from counts [n, T, S] to one value per path [n], such as `relative_distance`.
        num_pairs, sigma, decode: of `estimators.polyak_smoothing`.
    """

    def loss(parameters: Any, key: jax.Array) -> jax.Array:
        paths = polyak_smoothing(key, network, parameters, initial_counts, times, num_paths=num_pairs, sigma=sigma, decode=decode)
        return paths.expectation(distance(paths.counts))

    return loss


def means_loss(ensemble: Callable[[Any, jax.Array], Ensemble], target: jax.Array, *, scale: float) -> Callable[[Any, jax.Array], Any]:
    """Mean squared distance of an ensemble's means to target means, over a scale, as a function of (logarithms of the parameters, key).

    Args:
        ensemble: from parameters and a key to the ensemble of an estimator. target: [T, S]. scale: such as the mean variance of the data.

    Returns:
        What `descend` takes; it records the simulated `events`. Means and their derivatives come from the same paths, which biases the gradient by
        O(1/n); `matching` does not.
    """

    def loss(logs: Any, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        paths = ensemble(jax.tree.map(jnp.exp, logs), key)
        return ((paths.mean() - target) ** 2).mean() / scale, {"events": paths.num_events.astype(target.dtype).sum()}

    return loss


def descend(
    key: jax.Array,
    loss: Callable[..., Any],
    starts: Any,
    *,
    optimizer: optax.GradientTransformation,
    num_steps: int,
    each: Any = None,
    bounds: tuple[Any, Any] | None = None,
    clip: float | None = None,
    stop: Plateau | None = None,
    on_failure: str = "raise",
    steps_per_chunk: int = 10,
    checkpoint: str | os.PathLike | None = None,
    progress: str | None = None,
) -> Descents:
    """Minimises a noisy loss with an optax optimiser from M starts at once.

        rate = optax.cosine_decay_schedule(0.1, decay_steps=500)
        fits = descend(key, loss, {"k": np.log([0.1, 1.0, 10.0])}, optimizer=optax.adam(rate), num_steps=500, bounds=(-7.0, 7.0), progress="fit")
        fits.averaged()["k"]  # [3]

    Step k of start i has the key fold_in(fold_in(key, i), k), whichever other starts run beside it. Steps are compiled in chunks; runs that
    stopped leave the batch between chunks, whose sizes halve (M, M/2, ...: one program each). The size of the batch may change the rounding,
    and with it, now and then, an event of a path: to the bit, the numbers of a start are the same in batches of the same size, and
    `steps_per_chunk` changes them only where a run stops early and the others go on in a smaller batch.

    Args:
        loss: loss(parameters, key), or loss(parameters, key, row of each); differentiable by `jax.grad`, for instance because it is made of an
            ensemble from an estimator. It returns a scalar, or (scalar, {name: scalar}) with what is to be recorded, such as events.
        starts: pytree of floats, every leaf with a leading axis of M starts. Rates are best kept as logarithms; bounds are then those of logarithms.
        num_steps: steps K.
        each: pytree of arrays with leading axis M, such as one data set for each start.
        bounds: (lower, upper), numbers or pytrees like the parameters of one start, to which the parameters are projected after each update.
        clip: largest global norm of a gradient; longer ones are scaled down to it.
        stop: ends single runs that no longer get better.
        on_failure: a loss, gradient or update that is not finite "raise"s an error, or "freeze"s that run at its last parameters.
        steps_per_chunk: steps between two looks at the runs (stopping, checkpoint, progress).
        checkpoint: path of an .npz file, written after each chunk. If it exists, the descents go on from there and give the same bits as
            without a break on the same machine. Its first step is computed again, to notice another loss or optimiser; a schedule that differs
            only later goes unnoticed.
        progress: label of a bar over steps, which shows the median loss and the number of runs that go on (needs tqdm).

    Raises:
        ValueError: starts, rows of each, bounds or options that do not fit; what the loss returns; a checkpoint of another fit or one that cannot
            be read. FloatingPointError: a failure, with start, step and parameters. FileNotFoundError: the folder of the checkpoint.
    """
    _check_options(num_steps, clip, stop, on_failure, steps_per_chunk)
    starts, each = _check_starts(starts, each)
    bounds = _check_bounds(bounds, starts)
    program = _program(loss, optax.with_extra_args_support(optimizer), bounds, clip, min(steps_per_chunk, num_steps))
    first = begin(starts, _initial_states(optimizer, starts), num_steps)

    def advance(fit, last):
        batch = next_batch(fit.running)
        now = jax.tree.map(lambda leaf: leaf[batch], (each, jax.tree.map(lambda leaf: leaf[:, fit.step], fit.descents.parameters), fit.states))
        states, seen = program(key, batch, *now, np.int32(fit.step), np.int32(last))
        return extend(fit, seen, states, last, clip=clip, stop=stop)

    fit = first
    if checkpoint is not None:
        facts = {"key": describe(jax.random.key_data(key)), "num_steps": str(num_steps), "starts": describe(starts), "each": describe(each)}
        facts |= {"bounds": describe(bounds), "clip": str(clip), "stop": str(stop), "state of the optimiser": describe(first.states)}
        arrays = load_checkpoint(checkpoint, facts)
        if arrays is not None:
            fit = from_arrays(arrays, first)
            _check_first_step(advance(first, 1).descents, fit.descents, checkpoint)
            if on_failure == "raise":
                raise_failure(fit.descents)
    with _bar(progress, fit, num_steps) as show:
        while fit.step < num_steps and fit.running.any():
            fit = advance(fit, min(fit.step + steps_per_chunk, num_steps))
            if on_failure == "raise":
                raise_failure(fit.descents)
            if checkpoint is not None:
                save_checkpoint(checkpoint, facts, to_arrays(fit))
            show(fit)
    return fit.descents


def _program(loss: Callable, optimizer: Any, bounds: tuple | None, clip: float | None, num_steps: int) -> Callable:
    """A chunk of steps for a batch of runs, compiled: (key, starts [b], each, parameters, states, first step, last step) -> states, seen."""

    def evaluate(parameters, key, row):
        returned = loss(parameters, key) if row is None else loss(parameters, key, row)
        value, records = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, {})
        shapes = jax.tree.map(jnp.shape, (value, records))
        if shapes[0] != () or not isinstance(records, dict) or any(shape != () for shape in shapes[1].values()):
            raise ValueError(f"expected the loss to return a scalar, or (scalar, {{name: scalar}}), received shapes {shapes}; is a mean missing?")
        return value, records

    def one_step(parameters, state, key, row):
        (value, records), gradient = jax.value_and_grad(evaluate, has_aux=True)(parameters, key, row)
        norm = _global_norm(gradient)
        if clip is not None:
            scale = jnp.minimum(clip / norm, 1)
            gradient = jax.tree.map(lambda leaf: leaf * scale, gradient)
        with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
            updates, state = optimizer.update(gradient, state, parameters, value=value)
        parameters = optax.apply_updates(parameters, updates)
        if bounds is not None:
            parameters = jax.tree.map(jnp.clip, parameters, *bounds)
        return (parameters, state), Seen(parameters, value, norm, records)

    @jax.jit
    def all_step(carry, step, keys, each):
        return jax.vmap(one_step)(*carry, jax.vmap(jax.random.fold_in, (0, None))(keys, step), each)

    @jax.jit
    def chunk(key, starts, each, parameters, states, first, last):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, starts)

        def step_until_last(carry, step):
            shapes = jax.eval_shape(all_step, carry, step, keys, each)[1]
            nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
            return jax.lax.cond(step < last, lambda: all_step(carry, step, keys, each), lambda: (carry, nothing))

        (_, states), seen = jax.lax.scan(step_until_last, (parameters, states), first + jnp.arange(num_steps, dtype=jnp.int32))
        return states, seen

    return chunk


def _global_norm(gradient: Any) -> jax.Array:
    """√Σ g², in units of the largest component, so that squares do not overflow."""
    flat = jnp.concatenate([leaf.reshape(-1) for leaf in jax.tree.leaves(gradient)])
    largest = jnp.abs(flat).max()
    unit = jnp.where(largest == 0, 1, largest)
    return unit * jnp.sqrt(((flat / unit) ** 2).sum())


def _check_options(num_steps: int, clip: float | None, stop: Plateau | None, on_failure: str, steps_per_chunk: int) -> None:
    """Raises ValueError for a number or a word that cannot be meant."""
    numbers = {"num_steps": num_steps, "steps_per_chunk": steps_per_chunk} | ({} if stop is None else {"stop.patience": stop.patience})
    for name, number in numbers.items():
        if number != int(number) or number < 1:
            raise ValueError(f"expected {name} to be a whole number ≥ 1, received {number}")
    if clip is not None and not clip > 0:
        raise ValueError(f"expected clip, the largest norm of a gradient, to be > 0 (None: no limit), received {clip}")
    if stop is not None and not stop.tolerance >= 0:
        raise ValueError(f"expected a tolerance ≥ 0 (a share of the loss), received {stop}")
    if on_failure not in ("raise", "freeze"):
        raise ValueError(f"expected on_failure among ['raise', 'freeze'], received '{on_failure}'")


def _check_starts(starts: Any, each: Any) -> tuple[Any, Any]:
    """Both as NumPy arrays, the starts in JAX's float type, after a look at their leading axes."""
    dtype = np.dtype(jnp.result_type(float))
    starts, each = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), starts), jax.tree.map(np.asarray, each)
    leading = {leaf.shape[:1] for leaf in jax.tree.leaves(starts)}
    if len(leading) != 1 or leading & {(), (0,)}:
        shapes = jax.tree.map(np.shape, starts)
        raise ValueError(f"expected parameters that are arrays with one and the same leading axis of starts, received shapes {shapes}")
    if not {leaf.shape[:1] for leaf in jax.tree.leaves(each)} <= leading:
        shapes = jax.tree.map(np.shape, each)
        raise ValueError(f"expected each with a leading axis of {leading.pop()[0]} starts (one row for each), received shapes {shapes}")
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(starts)):
        raise ValueError(f"expected finite starts, received {jax.tree.map(np.ndarray.tolist, starts)}; is there a logarithm of 0?")
    return starts, each


def _check_bounds(bounds: tuple[Any, Any] | None, starts: Any) -> tuple[Any, Any] | None:
    """Lower and upper bounds in the shape of one start, between which the starts lie."""
    if bounds is None:
        return None

    def like_one_start(leaf, bound):
        return np.broadcast_to(np.asarray(bound, leaf.dtype), leaf.shape[1:])

    try:
        lower, upper = (jax.tree.map(like_one_start, starts, jax.tree.broadcast(bound, starts)) for bound in bounds)
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected bounds (lower, upper), each a number or a pytree like one start, received {bounds}: {error}") from error
    inside = jax.tree.map(lambda leaf, low, high: ((low <= leaf) & (leaf <= high)).all(), starts, lower, upper)
    if not all(jax.tree.leaves(inside)):
        raise ValueError(
            f"expected lower ≤ start ≤ upper, received bounds {bounds} (held: {inside}); are both on one scale, such as logarithms?"
        )
    return lower, upper


def _check_first_step(again: Descents, saved: Descents, checkpoint: str | os.PathLike) -> None:
    """Raises ValueError where the first step of a checkpoint is not what the loss and the optimiser give, up to the rounding of another machine."""
    for name, new, old in (("loss", again.losses, saved.losses), ("norm of the gradient", again.gradient_norms, saved.gradient_norms)):
        if not np.allclose(new[:, 0], old[:, 0], rtol=1e-3, atol=0, equal_nan=True):
            raise ValueError(
                f"checkpoint {checkpoint} is of another computation: expected the {name} of its first step to be {new[:, 0]}, received {old[:, 0]}; "
                "the loss or the data differ, or the machine does. Name another path, or remove the file to begin again"
            )
    for new, old in zip(jax.tree.leaves(again.parameters), jax.tree.leaves(saved.parameters), strict=True):
        if np.abs(new[:, 1] - old[:, 1]).max(initial=0) > 1e-3 * np.abs(new[:, 1] - new[:, 0]).max(initial=0):
            raise ValueError(
                f"checkpoint {checkpoint} is of another computation: expected parameters {new[:, 1]} after its first step, received {old[:, 1]}; "
                "the optimiser or its step size differs. Name another path, or remove the file to begin again"
            )


def _initial_states(optimizer: optax.GradientTransformation, starts: Any) -> Any:
    """States of the optimiser, leaves [M, ...]; raises ValueError where they hold random keys, which all starts would share."""
    with jax.numpy_dtype_promotion("standard"):  # optax mixes integers and floats
        states = jax.vmap(optimizer.init)(starts)
    if any(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) for leaf in jax.tree.leaves(states)):
        raise ValueError("expected an optimiser whose state is made of numbers, received one with a random key, such as optax.add_noise")
    return states


@contextmanager
def _bar(label: str | None, fit: Fit, num_steps: int) -> Iterator[Callable[[Fit], None]]:
    """A bar over steps while the context lasts; what it gives takes each new fit."""
    if label is None:
        yield lambda fit: None
        return
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError(f"progress='{label}' needs tqdm: pip install 'ssagrad[notebooks]', or leave progress out") from error

    with tqdm(desc=label, total=num_steps, initial=fit.step, unit="step") as bar:

        def show(fit):
            last = fit.descents.losses[np.arange(len(fit.running)), np.maximum(fit.descents.num_steps - 1, 0)]
            bar.set_postfix(loss=f"{np.nanmedian(last):.4g}" if np.isfinite(last).any() else "none", running=int(fit.running.sum()), refresh=False)
            bar.update(fit.step - bar.n)

        yield show
