"""How often a known structure is found again: simulated experiments for `discover` and for the regressions that it is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np

from ssagrad.network import Network
from ssagrad.simulate import simulate
from ssagrad.structure.baselines import best_pair, least_squares, sequential_thresholds
from ssagrad.structure.candidates import Library
from ssagrad.structure.discovery import UNDECIDED, Discovery, discover

_AT_ONCE = 2  # experiments: one hardly keeps two cores busy
REGRESSIONS = {"non-negative least squares": least_squares, "sequential thresholds": sequential_thresholds, "best pair": best_pair}


class Recovery(NamedTuple):
    """One simulated experiment.

    found: the models. exact: the best one has the reactions of the truth, no more and no less. ratios: its rates over the true ones [R], nan if not
        exact. errors: their relative standard errors [R]. gap: score of the best wrong model less that of the true one; nan where the true one was
        not simulated.
    exact_regressions, sizes: for each regression whether it is exact, and how many reactions it keeps.
    """

    found: Discovery
    exact: bool
    ratios: np.ndarray
    errors: np.ndarray
    gap: float
    exact_regressions: dict[str, bool]
    sizes: dict[str, int]

    @property
    def is_certain(self) -> bool:
        """The true model is the only one that the data leave."""
        return self.exact and self.gap >= UNDECIDED


def recoveries(
    key: jax.Array,
    truth: str,
    initial_counts: Mapping[str, int],
    times: Any,
    library: Library,
    *,
    num_sets: int,
    num_paths: int = 1,
    averaged: bool = False,
    noise: float = 0.0,
    progress: str | None = None,
) -> list[Recovery]:
    """Simulates experiments of a known network, and looks for it in each.

    Args:
        truth: reactions with numbers as rates, such as "S + I -> 2 I @ 0.02; I -> R @ 5".
        library: candidates; a species of the truth that is not among them stays hidden.
        num_sets: experiments. num_paths: paths of each, which `averaged` turns into their means. noise: standard deviation of each count.
        progress: label of a bar over experiments (needs tqdm).
    """
    network = Network.from_text(truth)
    seen = [network.species.index(name) for name in library.species]
    hidden = set(network.species) - set(library.species)
    wanted = {} if hidden else dict(zip(library.positions(network), (reaction.factor for reaction in network.reactions), strict=True))

    def one(number):
        path_key, noise_key, key_of_fit = jax.random.split(jax.random.fold_in(key, number), 3)
        counts = np.asarray(simulate(path_key, network, {}, initial_counts, times, num_paths=num_paths).counts, float)[..., seen]
        counts = counts + noise * np.asarray(jax.random.normal(noise_key, counts.shape))
        counts = counts.mean(0, keepdims=True) if averaged else counts
        options = {"averaged": num_paths} if averaged else {}
        result = discover(counts, times, candidates=library, species=library.species, noise=noise, key=key_of_fit, **options)
        return _judge(result, library, wanted, counts.mean(0), np.asarray(times, float))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        done = pool.map(one, range(num_sets))
        if progress is not None:
            from tqdm import tqdm

            done = tqdm(done, desc=progress, unit="experiment", total=num_sets)
        return list(done)


def _judge(found: Discovery, library: Library, wanted: Mapping[int, float], means: np.ndarray, times: np.ndarray) -> Recovery:
    texts = library.texts()
    true = {texts[j]: rate for j, rate in wanted.items()}
    own = [model for model in found.models if set(model.reactions) == set(true)]
    wrong = [model for model in found.models if set(model.reactions) != set(true)]
    exact = bool(own) and own[0] == found.best
    ratios, errors = np.full(len(true), np.nan), np.full(len(true), np.nan)
    if exact:
        order = [found.best.reactions.index(text) for text in true]
        ratios = np.array(found.best.rates)[order] / np.array(list(true.values()))
        errors = np.array(found.best.standard_errors)[order]
    gap = wrong[0].score - own[0].score if own and wrong else np.nan
    regressions = {name: regression(library, means, times) for name, regression in REGRESSIONS.items()}
    return Recovery(
        found,
        exact,
        ratios,
        errors,
        float(gap),
        {name: set(kept) == set(wanted) for name, kept in regressions.items()},
        {name: len(kept) for name, kept in regressions.items()},
    )
