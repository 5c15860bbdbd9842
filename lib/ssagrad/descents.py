"""The history of gradient descents: what is kept of every step, and which runs stop at it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np


class Plateau(NamedTuple):
    """Stops a run that no longer gets better: the mean loss of its last steps is not lower than that of as many steps before.

    A loss is noisy: let the standard error of a mean over `patience` losses be small beside `tolerance` times the loss.

    patience: number of steps averaged, at least 1; no run stops before step 2 · patience.
    tolerance: by which share of the earlier mean the later one has to be lower for the run to go on; at least 0.
    """

    patience: int
    tolerance: float


class Descents(NamedTuple):
    """History of M descents of at most K steps, in NumPy arrays; what a run did not do any more is NaN (parameters: repeated).

    parameters: before each step and after the last, leaves [M, K + 1, ...]. A run that stopped keeps its last value to the end.
    losses: of each step, before its update [M, K].
    gradient_norms: global norm of the gradient before clipping [M, K], loss per unit of the parameters.
    clipped: whether the gradient was scaled down to the largest norm allowed [M, K].
    records: what the loss returned beside its value, name -> [M, K] in float64.
    num_steps: steps taken [M]: K, or fewer where the run stopped or failed.
    failed_at: the step whose loss, gradient or update was not finite [M]; -1 where there was none. That step was not taken.
    """

    parameters: Any
    losses: np.ndarray
    gradient_norms: np.ndarray
    clipped: np.ndarray
    records: dict[str, np.ndarray]
    num_steps: np.ndarray
    failed_at: np.ndarray

    def averaged(self, share: float = 0.1) -> Any:
        """Mean parameters of the last `share` of the steps that each run took, at least of one: leaves [M, ...].

        Raises:
            ValueError: a share that is not in (0, 1].
        """
        if not 0 < share <= 1:
            raise ValueError(f"expected a share of the steps in (0, 1], received {share}")
        last = [slice(n + 1 - max(1, round(share * n)), n + 1) for n in self.num_steps.tolist()]

        def mean(leaf):
            return np.stack([run[rows].mean(0, dtype=np.float64) for run, rows in zip(leaf, last, strict=True)]).astype(leaf.dtype)

        return jax.tree.map(mean, self.parameters)

    def rows(self) -> dict[str, np.ndarray]:
        """One row for every step taken, by start and step: columns start, step, loss, gradient_norm, clipped, records, scalar parameters.

        Parameters are those at which the loss was taken; nested names are joined by dots, a lone array is called `parameter`.

        Raises:
            ValueError: a parameter or a record has the name of another column.
        """
        start, step = np.nonzero(np.arange(self.losses.shape[1]) < self.num_steps[:, None])
        leaves = jax.tree_util.tree_leaves_with_path(self.parameters)
        named = [(jax.tree_util.keystr(path, simple=True, separator=".") or "parameter", leaf) for path, leaf in leaves]
        columns = [("loss", self.losses), ("gradient_norm", self.gradient_norms), ("clipped", self.clipped), *self.records.items()]
        columns += [(name, leaf) for name, leaf in named if leaf.ndim == 2]
        names = ["start", "step", *(name for name, _ in columns)]
        if len(set(names)) < len(names):
            raise ValueError(f"expected columns of different names, received {names}: rename the parameter or the record")
        return {"start": start, "step": step} | {name: values[start, step] for name, values in columns}


class Fit(NamedTuple):
    """Where M descents stand: their history, whose arrays are filled in place, and what the next step needs.

    descents: history; columns of steps to come are not read.
    states: of the optimiser, leaves [M, ...].
    running: runs that have neither stopped nor failed [M].
    step: number of steps done, those of stopped runs included.
    """

    descents: Descents
    states: Any
    running: np.ndarray
    step: int


class Seen(NamedTuple):
    """What is kept of steps: parameters after the update, loss, global norm of the gradient, records; of a chunk, leaves [steps, batch, ...]."""

    parameters: Any
    loss: Any
    gradient_norm: Any
    records: dict[str, Any]


def begin(starts: Any, states: Any, num_steps: int) -> Fit:
    """Descents before their first step, from parameters and states of the optimiser with leaves [M, ...]."""
    first, num_starts = jax.tree.leaves(starts)[0].dtype, len(jax.tree.leaves(starts)[0])
    parameters = jax.tree.map(lambda leaf: np.repeat(leaf[:, None], num_steps + 1, axis=1), starts)
    losses, norms = (np.full((num_starts, num_steps), np.nan, first) for _ in range(2))
    none_taken, none_failed = np.zeros(num_starts, int), np.full(num_starts, -1)
    descents = Descents(parameters, losses, norms, np.zeros(losses.shape, bool), {}, none_taken, none_failed)
    return Fit(descents, jax.tree.map(np.array, states), np.ones(num_starts, bool), 0)


def next_batch(running: np.ndarray) -> np.ndarray:
    """Which runs to compute: those that run, filled up with copies to the next of the sizes M, M/2, M/4, ... (rounded up)."""
    (wanted,), size = np.nonzero(running), len(running)
    while size > 1 and -(-size // 2) >= len(wanted):
        size = -(-size // 2)
    return np.resize(wanted, size).astype(np.int32)


def extend(fit: Fit, seen: Seen, states: Any, last: int, *, clip: float | None, stop: Plateau | None) -> Fit:
    """Writes the steps up to `last`, computed for `next_batch(fit.running)`, into the history, and ends the runs that stop or fail in them."""
    (runs,), first = np.nonzero(fit.running), fit.step
    here = np.ix_(runs, np.arange(first, last))
    seen = jax.tree.map(lambda leaf: np.asarray(leaf)[: last - first, : len(runs)].swapaxes(0, 1), seen)
    descents = fit.descents
    for leaf, values in zip(jax.tree.leaves(descents.parameters), jax.tree.leaves(seen.parameters), strict=True):
        leaf[runs, first + 1 : last + 1] = values
    for leaf, values in zip(jax.tree.leaves(fit.states), jax.tree.leaves(states), strict=True):
        leaf[runs] = np.asarray(values)[: len(runs)]
    descents.losses[here], descents.gradient_norms[here] = seen.loss, seen.gradient_norm
    descents.clipped[here] = False if clip is None else seen.gradient_norm > clip
    for name, values in seen.records.items():
        descents.records.setdefault(name, np.full(descents.losses.shape, np.nan))[here] = values
    finite = [np.isfinite(leaf).reshape(*seen.loss.shape, -1).all(-1) for leaf in (*jax.tree.leaves(seen.parameters), seen.loss, seen.gradient_norm)]
    failed = ~np.all(finite, axis=0)
    ended = failed if stop is None else failed | _has_stopped(descents.losses[runs], first, last, stop)
    descents.num_steps[runs] = last
    for row in np.flatnonzero(ended.any(1)):
        column = int(ended[row].argmax())
        _end(descents, runs[row], first + column, failed=failed[row, column])
        fit.running[runs[row]] = False
    return fit._replace(step=last)


def _has_stopped(losses: np.ndarray, first: int, last: int, stop: Plateau) -> np.ndarray:
    """For losses [n, K], whether each is on its plateau after the steps from `first` to before `last` [n, last − first]."""
    result, width = np.zeros((len(losses), last - first), bool), stop.patience
    for count in range(max(first + 1, 2 * width), last + 1):
        earlier, later = (losses[:, count - k * width : count - (k - 1) * width].mean(1, dtype=np.float64) for k in (2, 1))
        result[:, count - 1 - first] = ~(later < earlier - stop.tolerance * np.abs(earlier))
    return result


def _end(descents: Descents, run: int, step: int, *, failed: bool) -> None:
    """Clears what comes after the last step of a run; a step that failed is not taken, and its loss and norm stay to be seen."""
    taken = step if failed else step + 1
    descents.num_steps[run] = taken
    descents.failed_at[run] = step if failed else -1
    for leaf in jax.tree.leaves(descents.parameters):
        leaf[run, taken + 1 :] = leaf[run, taken]
    for values in (descents.losses, descents.gradient_norms, *descents.records.values()):
        values[run, step + 1 :] = np.nan
    descents.clipped[run, taken:] = False


def raise_failure(descents: Descents) -> None:
    """Raises FloatingPointError for the first step that failed, and of the runs that failed there the first."""
    failed = np.flatnonzero(descents.failed_at >= 0)
    if failed.size:
        run = failed[descents.failed_at[failed].argmin()]
        step = descents.failed_at[run]
        where = jax.tree.map(lambda leaf: leaf[run, step].tolist(), descents.parameters)
        raise FloatingPointError(
            f"start {run}, step {step}: the loss {float(descents.losses[run, step])} or its gradient is not finite at parameters {where} "
            f"(norm of the gradient {float(descents.gradient_norms[run, step])}); a path that fails (out of events, impossible rates) makes it NaN; "
            "on_failure='freeze' ends such runs alone"
        )


def to_arrays(fit: Fit) -> dict[str, np.ndarray]:
    """All arrays of a fit by name."""
    lists = {"parameters": jax.tree.leaves(fit.descents.parameters), "states": jax.tree.leaves(fit.states)}
    arrays = {f"{name}.{i}": leaf for name, leaves in lists.items() for i, leaf in enumerate(leaves)}
    arrays |= {f"records.{name}": values for name, values in fit.descents.records.items()}
    plain = {name: value for name, value in fit.descents._asdict().items() if name not in ("parameters", "records")}
    return arrays | plain | {"running": fit.running, "step": np.array(fit.step)}


def from_arrays(arrays: dict[str, np.ndarray], like: Fit) -> Fit:
    """The inverse of `to_arrays`, for a fit of the same structure as `like`."""

    def tree(name, template):
        structure = jax.tree.structure(template)
        return structure.unflatten([arrays[f"{name}.{i}"] for i in range(structure.num_leaves)])

    records = {name.removeprefix("records."): values for name, values in arrays.items() if name.startswith("records.")}
    plain = {name: arrays[name] for name in Descents._fields if name in arrays}
    descents = Descents(tree("parameters", like.descents.parameters), records=records, **plain)
    return Fit(descents, tree("states", like.states), arrays["running"], int(arrays["step"]))
