"""Counts over time as `discover` takes them: checked, with errors that say what is wrong and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssagrad.structure.candidates import Library
from ssagrad.structure.quasi_likelihood import DISCRETENESS


class Transitions(NamedTuple):
    """K observed transitions between S species.

    starts, ends: counts before and after [K, S]; means of paths where `averaged` > 1. durations: [K].
    averaged: how many paths the counts are means of. noise: variance of the error of each count [S], molecules².
    """

    starts: np.ndarray
    ends: np.ndarray
    durations: np.ndarray
    averaged: int
    noise: np.ndarray

    @property
    def extra(self) -> np.ndarray:
        """Variance of an increment beside the reactions' own [S], in molecules²."""
        return DISCRETENESS / self.averaged + 2 * self.noise


def observed_transitions(
    counts: Any, times: Any, species: Sequence[str], *, averaged: int = 1, noise: float | Sequence[float] = 0.0, candidates: Library | None = None
) -> tuple[Transitions, np.ndarray, tuple[str, ...]]:
    """Checked transitions between neighbouring times, the counts [n, T, S] they come from, and the species in the order of the columns.

    Args: as `discovery.discover`.

    Raises:
        ValueError: what is wrong with the counts, times, names or numbers, with the first place where it is.
    """
    array, names = _as_array(counts, tuple(species))
    names = _check_names(names, candidates)
    times = np.asarray(times, float)
    if not len(array):
        raise ValueError(f"expected at least one path, received counts of shape {array.shape}")
    if times.ndim != 1 or array.shape[1] != len(times):
        raise ValueError(
            f"expected one row of counts for each of the times [T], received counts {array.shape} (paths, times, species), times {times.shape}"
        )
    if len(times) < 3:
        raise ValueError(f"expected at least 3 times, between which reactions show, received {len(times)}: {times}")
    if not np.isfinite(times).all():
        raise ValueError(f"expected finite times, received {times[~np.isfinite(times)][0]} at position {int(np.argmax(~np.isfinite(times)))}")
    if (np.diff(times) <= 0).any():
        k = int(np.argmax(~(np.diff(times) > 0)))
        raise ValueError(f"expected increasing times, received {times[k]:g} and then {times[k + 1]:g} (positions {k}, {k + 1})")
    if not np.isfinite(averaged) or averaged != int(averaged) or averaged < 1:
        raise ValueError(f"expected averaged, the number of paths behind the means, to be a whole number ≥ 1, received {averaged}")
    spread = np.asarray(noise, float)
    if spread.shape not in ((), (len(names),)) or not (np.isfinite(spread) & (spread >= 0)).all():
        raise ValueError(f"expected noise, a standard deviation ≥ 0, as one number or {len(names)}, one for each species, received {noise}")
    _check_values(array, names, times, whole=averaged == 1 and not spread.any(), signed=bool(spread.any()))
    if averaged > 1 and len(array) > 1:
        raise ValueError(f"expected one series of means with averaged={averaged}, received {len(array)}; leave averaged out for single paths")
    if candidates is not None:
        order = [names.index(name) for name in candidates.species]
        array, names = array[..., order], candidates.species
        spread = spread[order] if spread.ndim else spread
    starts, ends = (np.maximum(part, 0).reshape(-1, len(names)) for part in (array[:, :-1], array[:, 1:]))
    variance = np.broadcast_to(spread**2, len(names))
    return Transitions(starts, ends, np.tile(np.diff(times), len(array)), int(averaged), variance), array, names


def _as_array(counts: Any, species: tuple[str, ...]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Counts [n, T, S] and names."""
    if isinstance(counts, Mapping):
        arrays = {str(name): np.asarray(values, float) for name, values in counts.items()}
        shapes = {name: values.shape for name, values in arrays.items()}
        if not arrays or len(set(shapes.values())) != 1 or next(iter(arrays.values())).ndim not in (1, 2):
            raise ValueError(f"expected counts [T] or [n, T], alike for all species, received shapes {shapes}")
        array, names = np.stack(list(arrays.values()), axis=-1), tuple(arrays)
    else:
        array, names = np.asarray(counts, float), species
        if array.ndim not in (2, 3):
            raise ValueError(f"expected counts as a mapping from species, or as an array [T, S] or [n, T, S], received shape {array.shape}")
        if len(names) != array.shape[-1]:
            raise ValueError(f"expected the names of {array.shape[-1]} species for counts of shape {array.shape}, received species={names}")
    return (array if array.ndim == 3 else array[None]), names


def _check_names(names: tuple[str, ...], candidates: Library | None) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError(f"expected each species once, received {list(names)}")
    if candidates is None:
        return names
    if missing := [name for name in candidates.species if name not in names]:
        raise ValueError(
            f"expected counts of all species of the candidates, received none of {missing} among {list(names)}; a species that was not observed "
            "cannot take part: enumerate candidates without it"
        )
    if extra := [name for name in names if name not in candidates.species]:
        raise ValueError(f"expected counts of the species {list(candidates.species)} of the candidates, received also {extra}")
    return names


def _check_values(array: np.ndarray, names: tuple[str, ...], times: np.ndarray, *, whole: bool, signed: bool) -> None:
    """Raises for the first count that cannot be."""
    checks = [("a finite count", np.isfinite(array))]
    checks += [] if signed else [("a count ≥ 0", array >= 0)]
    checks += [("a whole number (or say averaged=... or noise=...)", array == np.round(array))] if whole else []
    for expected, right in checks:
        if not right.all():
            path, k, s = np.argwhere(~right)[0]
            raise ValueError(f"expected {expected} of '{names[s]}', received {array[path, k, s]:g} at time {times[k]:g}, path {path}")
    if (array == array[:, :1]).all():
        raise ValueError("expected counts that change over time, received the same at all times; was a transient cut off?")
