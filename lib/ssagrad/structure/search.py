"""Which few reactions of a library: a beam search over subsets by the quasi-likelihood of the data."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from scipy.special import gammaln

from ssagrad.structure.quasi_likelihood import Surrogate, fit_rates, score_tests

_CHUNK = 64  # models that are fitted side by side
_TESTED = 8  # models whose absent reactions are tested side by side
_NEW_SHARE = 0.05  # of all molecules that changed: how many events a reaction that joins starts with
_PATIENCE = 2  # sizes without a better model after which the search ends
_EXHAUSTIVE = 1  # models up to this size take in every candidate, larger ones those of the best score tests
_MOST_TRANSITIONS = 200  # that the search looks at, evenly chosen
_MULTIPLE = 50  # to which the number of candidates is filled up: few shapes, few compilations


class Subset(NamedTuple):
    """A model: chosen candidates in ascending order, their rates, the log-likelihood, the criterion; and both rates and unexplained variances of
    the fit that may leave something unexplained, with its log-likelihood.
    """

    chosen: tuple[int, ...]
    rates: tuple[float, ...]
    log_likelihood: float
    criterion: float
    loose_rates: tuple[float, ...]
    loose_log_likelihood: float


def criterion(log_likelihood: float, size: int, library_size: int, num_transitions: int) -> float:
    """Extended Bayesian information criterion: −2 ℓ + s ln K + 2 ln (L choose s); lower is better.

    The last term counts how many models of that size there are to choose from. Reference: Chen and Chen 2008, doi:10.1093/biomet/asn034.
    """
    choices = gammaln(library_size + 1) - gammaln(size + 1) - gammaln(library_size - size + 1)
    return float(-2 * log_likelihood + size * np.log(num_transitions) + 2 * choices)


def search_subsets(surrogate: Surrogate, *, most: int, beam: int, tests: int = 16, num_steps: int = 8) -> list[list[Subset]]:
    """The best models of 1, 2, ... reactions, a list for each size.

    Every model of the beam is extended by the candidates whose absent rates have the steepest derivatives (score tests); all extensions are fitted, and
    the best `beam` are kept, by a likelihood that allows unexplained variance: a model that lacks a reaction yet is not judged by what only that
    reaction explains. The criterion allows none. The search ends at `most` reactions, or where two sizes in a row brought no better criterion.
    """
    number, library_size = surrogate.integrals.shape
    surrogate = _filled_up(surrogate)
    integrals, targets = np.asarray(surrogate.integrals, float), np.asarray(surrogate.targets, float)
    first_rates = _NEW_SHARE * np.abs(targets).sum() / np.maximum(integrals.sum(0), 1e-30)
    nothing = Subset((), (), -np.inf, np.inf, tuple((targets**2).mean(0) / float(surrogate.scale)), -np.inf)
    levels, front, best, since = [], [nothing], np.inf, 0
    for size in range(1, most + 1):
        joining = _joining(surrogate, front, size, tests)
        children: dict[tuple[int, ...], list[float]] = {}
        for parent, candidates in zip(front, joining, strict=True):
            known = dict(zip(parent.chosen, parent.loose_rates, strict=False))
            unexplained = list(parent.loose_rates[len(parent.chosen) :])
            for j in candidates:
                if j not in known and integrals[:, j].any():
                    rates = known | {j: first_rates[j]}
                    children.setdefault(tuple(sorted(rates)), [rates[i] for i in sorted(rates)] + unexplained)
        if not children:
            break
        front = _fit(surrogate, children, num_steps, size=size, library_size=library_size, number=number)[:beam]
        levels.append(front)
        lowest = min(model.criterion for model in front)
        best, since = min(best, lowest), 0 if lowest < best else since + 1
        if since == _PATIENCE:
            break
    return levels


def _joining(surrogate: Surrogate, front: list[Subset], size: int, tests: int) -> list[np.ndarray]:
    """For each model of the beam the candidates that are worth a fit."""
    everything = np.arange(surrogate.integrals.shape[1])
    if size <= _EXHAUSTIVE:
        return [everything] * len(front)
    chosen, rates = _padded([model.chosen for model in front], [model.loose_rates for model in front], _TESTED)
    gains = np.concatenate([np.array(score_tests(rates[part], chosen[part], surrogate)) for part in _parts(len(chosen), _TESTED)])[: len(front)]
    for gain, model in zip(gains, front, strict=True):
        gain[list(model.chosen)] = 0
    return [order[:tests] for order in np.argsort(-np.nan_to_num(gains), axis=1, kind="stable")]


def _fit(surrogate: Surrogate, models: dict[tuple[int, ...], list[float]], num_steps: int, *, size: int, library_size: int, number: int) -> list[Subset]:
    """Fits models of one size from their starting rates and unexplained variances; in falling likelihood of the fits that leave something.

    Likelihoods are scaled up to the `number` of all transitions.
    """
    chosen, rates = _padded(list(models), list(models.values()), _CHUNK)
    fits = [fit_rates(rates[part], chosen[part], surrogate, num_steps=num_steps) for part in _parts(len(chosen), _CHUNK)]
    loose, loose_likelihood, strict, likelihood = (np.concatenate([np.asarray(fit[i], float) for fit in fits])[: len(models)] for i in range(4))
    share, found = len(surrogate.targets) / number, []
    likelihood, loose_likelihood = (np.where(np.isfinite(part), part, -np.inf) / share for part in (likelihood, loose_likelihood))
    loose = np.delete(loose, range(size, chosen.shape[1]), axis=1)
    for i, subset in enumerate(models):
        score = criterion(likelihood[i], size, library_size, number)
        found.append(Subset(subset, tuple(strict[i, :size].tolist()), float(likelihood[i]), score, tuple(loose[i].tolist()), float(loose_likelihood[i])))
    return sorted(found, key=lambda model: -model.loose_log_likelihood)


def _padded(chosen: list, rates: list, chunk: int) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays of whole chunks with a multiple of 4 reactions: few shapes, few compilations. Padding has rate 0."""
    chosen, rates = np.asarray(chosen, np.int32), np.asarray(rates, np.float32)
    rows, size = ((0, -len(chosen) % chunk), (0, 0)), chosen.shape[1]
    rates = np.insert(rates, [size] * (-size % 4), 0, axis=1)
    return np.pad(np.pad(chosen, ((0, 0), (0, -size % 4))), rows), np.pad(rates, rows, mode="edge")


def _filled_up(surrogate: Surrogate) -> Surrogate:
    """At most so many transitions, and candidates that never fire up to a round number of them."""
    number, library_size = surrogate.integrals.shape
    kept = np.unique(np.linspace(0, number - 1, min(number, _MOST_TRANSITIONS)).round().astype(int))
    filling = ((0, 0), (0, -library_size % _MULTIPLE))
    parts = [np.asarray(part, np.float32)[kept] for part in surrogate[:4]]
    parts[1], parts[2] = np.pad(parts[1], filling), np.pad(parts[2], (*filling, (0, 0)))
    return Surrogate(*(jnp.asarray(part) for part in parts), jnp.float32(surrogate.scale))


def _parts(number: int, chunk: int) -> list[slice]:
    return [slice(first, first + chunk) for first in range(0, number, chunk)]
