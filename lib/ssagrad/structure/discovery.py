"""Which reactions there are, and how fast, from counts over time: `discover`.

Three steps alternate until the best model stays:

1. the expected time integrals of every left side over every transition, at first from the data alone (trapezoids), then from exact simulation of the
   best model: all that the derivatives in the rates of *all* candidates need, those included that the model does not have;
2. a beam search over subsets of the library by the Gaussian quasi-likelihood that these integrals define (`search`);
3. the best subsets are fitted by Fisher scoring through the simulator, with simulated means and covariances and score-function derivatives
   (`simulated`), and ranked by the extended Bayesian information criterion.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssagrad.network import Network
from ssagrad.structure.candidates import Library, enumerate_reactions
from ssagrad.structure.observed import Transitions, observed_transitions
from ssagrad.structure.quasi_likelihood import Evaluation, Surrogate, climb_on, start_climb
from ssagrad.structure.search import Subset, criterion, search_subsets
from ssagrad.structure.simulated import Simulated, clouds_around_means, simulate_models, surrogate_near
from ssagrad.tables import Table

UNDECIDED = 6.0  # difference of the criterion below which the data do not tell two models apart: odds of 20 to 1
_COPIES = 80_000  # simulated transitions of one step, over all finalists
_FEWEST_COPIES, _MOST_COPIES = 24, 96  # of each transition
_SCORING_STEPS = 4  # through the simulator, at most
_SETTLED = 0.05  # gain of the log-likelihood below which another step is not worth a simulation
_HOPELESS = 40.0  # by which a score lies behind the best, twice what a step promises counted in, when a model is not followed further
_NOTHING_KNOWN = 1e-5  # share of information below which a combination of rates is not determined


class Model(NamedTuple):
    """A fitted model: reactions as text, rates [1/time], and their relative standard errors.

    score: the criterion (lower is better). misfit: mean squared residual per species and transition, standardised: about 1 (less where quantities are
    conserved) where the model is right; far above where it is wrong, unless it is wrong by too much scatter.
    """

    reactions: tuple[str, ...]
    rates: tuple[float, ...]
    standard_errors: tuple[float, ...]
    log_likelihood: float
    score: float
    misfit: float
    species: tuple[str, ...]

    def network(self) -> Network:
        """The network, with rate constants k1, k2, ..."""
        return Network.from_text("; ".join(f"{text} @ k{i + 1}" for i, text in enumerate(self.reactions)), species=self.species)

    def parameters(self) -> dict[str, float]:
        """The rates, as `network()` names them."""
        return {f"k{i + 1}": rate for i, rate in enumerate(self.rates)}

    def __str__(self) -> str:
        return "; ".join(f"{text} @ {rate:.4g}" for text, rate in zip(self.reactions, self.rates, strict=True))


class Discovery(NamedTuple):
    """What `discover` found.

    models: the best, ranked. undecided: how many of them, the first included, the data do not tell apart (scores within 6 of the best).
    rounds: how often search and simulation alternated. events: simulated reactions.
    """

    models: tuple[Model, ...]
    undecided: int
    rounds: int
    events: float

    @property
    def best(self) -> Model:
        """The model with the lowest score."""
        return self.models[0]

    def table(self) -> Table:
        """The models, ranked, as a table."""
        rows = []
        for i, model in enumerate(self.models):
            fitted = zip(model.reactions, model.rates, model.standard_errors, strict=True)
            text = ", ".join(f"{reaction} @ {rate:.3g} ± {100 * error:.2g} %" for reaction, rate, error in fitted)
            rows.append((str(i + 1), text, f"{model.score - self.best.score:.1f}", f"{model.misfit:.2f}", "yes" if i < self.undecided else "no"))
        return Table(("rank", "reactions @ rates", "score − best", "misfit", "possible"), rows)

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def discover(
    counts: Any,
    times: Any,
    *,
    candidates: Library | None = None,
    species: Sequence[str] = (),
    averaged: int = 1,
    noise: float | Sequence[float] = 0.0,
    most_reactions: int = 8,
    beam: int = 20,
    num_finalists: int = 12,
    most_rounds: int = 4,
    key: jax.Array | None = None,
    progress: str | None = None,
) -> Discovery:
    """Finds the reactions, and their rates, behind counts that were observed over time.

        found = discover({"S": s, "I": i, "R": r}, times, candidates=enumerate_reactions(["S", "I", "R"]))
        found  # models, ranked, with those that the data do not tell apart
        found.best.network(), found.best.parameters()

    **Requires** mass action, all species observed, and times so close that the response to an event lasts longer than a transition: over transitions of
    a lifetime and more rates come out too small, with errors that do not show it.
    **Bias**: the moments are simulated; the Gaussian likelihood is coarse where counts are a few molecules, and noisy counts are taken for the true
    ones where transitions start.

    Args:
        counts: mapping from species to counts [T] of one path or [n, T] of n paths; or an array [T, S] or [n, T, S] with `species`.
        times: [T], increasing.
        candidates: the library; default: all reactions with at most two molecules on each side.
        species: names of the columns of an array.
        averaged: the counts are means of so many paths which started alike (one series; not whole numbers).
        noise: standard deviation of the error of each given number, in molecules, for all species or for each.
        most_reactions: reactions of the largest model that is looked at. beam: models that the search keeps of each size.
        num_finalists: models that are simulated in each round. most_rounds: of search and simulation.
        key: of the simulations; default `jax.random.key(0)`.
        progress: label of a bar over rounds (needs tqdm).

    Raises:
        ValueError: counts that are negative, not finite, not whole though neither averaged nor noisy, or that never change; fewer than 3 times; species
            that are missing from the counts or from the candidates; candidates that can never fire; transitions of more than 20,000 events.
    """
    _check_numbers(most_reactions=most_reactions, beam=beam, num_finalists=num_finalists, most_rounds=most_rounds)
    transitions, data, names = observed_transitions(counts, times, species, averaged=averaged, noise=noise, candidates=candidates)
    candidates = enumerate_reactions(names) if candidates is None else candidates
    fit_key, cloud_key = jax.random.split(jax.random.key(0) if key is None else key)
    surrogate, best, events, known = _from_data(transitions, candidates), None, 0.0, {}
    if not np.asarray(surrogate.integrals).any():
        raise ValueError("expected candidates that can fire in the observed states, received none: their reactants are never there")
    copies = max(_FEWEST_COPIES, min(_MOST_COPIES, _COPIES // (num_finalists * len(transitions.durations))))
    starts = np.repeat(np.round(transitions.starts)[:, None], copies, axis=1)
    rounds = range(1, most_rounds + 1)
    if progress is not None:
        from tqdm import tqdm

        rounds = tqdm(rounds, desc=progress, unit="round")
    for number in rounds:
        finalists = _finalists(search_subsets(surrogate, most=most_reactions, beam=beam), num_finalists)
        finalists = [model for model in finalists if model.chosen not in known] or finalists[:1]
        for models in (finalists, None):
            models = _shorter(known, num_finalists) if models is None else models
            if models:
                lowest = min((one.model.score for one in known.values()), default=np.inf)
                fitted, used = _fit(fit_key, candidates, models, transitions, starts, num_finalists, lowest)
                known |= fitted
                events += used
        first = min(known.values(), key=lambda one: one.model.score)
        if first.chosen == best and (averaged == 1 or number > 2):
            break
        best, surrogate = first.chosen, surrogate_near(first.simulated, 0, candidates, transitions)
        if averaged > 1 and number < most_rounds:  # the scatter behind the means, of the best model; all fits begin again with it
            starts = clouds_around_means(jax.random.fold_in(cloud_key, number), first.model.network(), first.model.parameters(), data[0], times, copies)
            known = {}
    ranked = sorted((one.model for one in known.values()), key=lambda model: model.score)
    return Discovery(tuple(ranked[:num_finalists]), sum(model.score - ranked[0].score < UNDECIDED for model in ranked[:num_finalists]), number, events)


class _Fitted(NamedTuple):
    """A model, where it stands in the library, and the simulation that it was judged by (one model)."""

    chosen: tuple[int, ...]
    model: Model
    simulated: Simulated


def _from_data(transitions: Transitions, library: Library) -> Surrogate:
    """Trapezoids over each transition: as good as the implicit midpoint rule, without any model."""
    sides = (library.combinations(transitions.starts) + library.combinations(transitions.ends)) / 2
    number, species = transitions.starts.shape
    return Surrogate(
        targets=transitions.ends - transitions.starts,
        integrals=sides * transitions.durations[:, None],
        impacts=np.broadcast_to(library.changes, (number, *library.changes.shape)),
        left=np.broadcast_to(np.diag(transitions.extra), (number, species, species)),
        scale=1 / transitions.averaged,
    )


def _finalists(levels: list[list[Subset]], number: int) -> list[Subset]:
    """The best subset of each size, then the best of all."""
    by_score = sorted((model for level in levels for model in level), key=lambda model: model.criterion)
    winners = [min(level, key=lambda model: model.criterion) for level in levels]
    return list({model.chosen: model for model in (*sorted(winners, key=lambda model: model.criterion), *by_score)}.values())[:number]


def _shorter(known: dict[tuple[int, ...], _Fitted], number: int) -> list[Subset]:
    """The best models without one of their reactions, as far as they are new."""
    found: dict[tuple[int, ...], Subset] = {}
    for one in sorted(known.values(), key=lambda one: one.model.score)[:3]:
        rates = dict(zip(one.chosen, one.model.rates, strict=True))
        for left_out in one.chosen if len(one.chosen) > 1 else ():
            chosen = tuple(j for j in one.chosen if j != left_out)
            if chosen not in known:
                found[chosen] = Subset(chosen, tuple(rates[j] for j in chosen), -np.inf, np.inf, (), -np.inf)
    return list(found.values())[:number]


def _fit(
    key: jax.Array, library: Library, models: list[Subset], transitions: Transitions, starts: np.ndarray, batch: int, lowest: float
) -> tuple[dict[tuple[int, ...], _Fitted], float]:
    """Fisher scoring through the simulator, all models side by side (filled up to a batch); and how many events that took.

    All steps and all models see the same random numbers, so that likelihoods can be compared. A model that settled, or that lies hopelessly behind
    the best here or the lowest score so far, is not simulated further.
    """
    width = max(len(model.chosen) for model in models)
    width += -width % 4  # few widths, few compilations
    filled = [*models, *[models[0]] * (-len(models) % batch)]
    chosen = np.array([(*model.chosen, *[0] * (width - len(model.chosen))) for model in filled])
    rates = np.array([(*model.rates, *[0.0] * (width - len(model.rates))) for model in filled], np.float32)
    increments, extra, events = transitions.ends - transitions.starts, np.diag(transitions.extra), 0.0
    climb, best, simulated = start_climb(jnp.asarray(rates)), None, None
    running, promised = np.arange(len(filled)) < len(models), np.zeros(len(filled))
    for number in range(_SCORING_STEPS + 1):
        climb = climb._replace(trial=jnp.where(running[:, None], climb.trial, 0))  # where nothing fires, no time goes by
        trial = np.asarray(climb.trial, float)
        tried = simulate_models(jax.random.clone(key), library, chosen, trial, transitions.durations, starts)
        events += float(tried.events.sum())
        covariances = tried.covariances / transitions.averaged + tried.mean_errors + extra
        moments = (increments - tried.means, covariances, tried.integrals, tried.impacts, 1 / transitions.averaged)
        climb, found = climb_on(climb, *(np.asarray(part, np.float32) for part in moments))
        better = running & (np.asarray(climb.rates) == np.asarray(trial, np.float32)).all(-1)
        found = Evaluation(*(np.asarray(part, float) for part in found))
        best, simulated = (_chosen(better, *pair) for pair in ((found, best), (tried, simulated)))
        scores = [criterion(best.log_likelihood[i], len(model.chosen), library.size, len(increments)) for i, model in enumerate(filled)]
        promised = np.where(better, (found.score * trial * np.asarray(climb.direction, float)).sum(-1) / 2, promised)
        believed = 4 * promised if number == 0 else np.minimum(4 * promised, len(increments))  # far off, steps promise what they do not keep
        behind = np.array(scores) - believed > min(lowest, *scores[: len(models)]) + _HOPELESS
        running &= ~(better & (promised < _SETTLED)) & ~behind
        if not running.any():
            break
    capped = [library.subset(model.chosen).texts() for model, share in zip(models, simulated.capped, strict=False) if share > 0]
    fitted = {}
    for i, model in enumerate(models):
        own = Simulated(*(part[i : i + 1] for part in simulated))
        fitted[model.chosen] = _Fitted(model.chosen, _model(library, model, own.rates[0], best, i), own)
    if len(capped) == len(models) and transitions.averaged == 1:
        largest = float(simulated.events.max() / starts.shape[0] / starts.shape[1])
        raise ValueError(
            f"expected transitions of less than 20,000 events, received models that have more, {largest:.3g} on average in {capped[0]}; are the counts "
            "too large or the times too far apart for exact simulation?"
        )
    return fitted, events


def _chosen(better: np.ndarray, new: Any, old: Any) -> Any:
    """Row by row, the new arrays where they are better."""
    if old is None:
        return new
    return type(new)(*(np.where(better.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(new, old, strict=True)))


def _model(library: Library, subset: Subset, rates: np.ndarray, found: Evaluation, i: int) -> Model:
    size, number, species = len(subset.chosen), found.squares.shape[1], len(library.species)
    rates, log_likelihood = rates[:size], float(found.log_likelihood[i])
    information = found.information[i, :size, :size] * rates[:, None] * rates
    scale = 1 / np.sqrt(np.maximum(np.diagonal(information), 1e-300))
    spectrum, directions = np.linalg.eigh(information * scale[:, None] * scale)
    unknown = spectrum < _NOTHING_KNOWN
    variances = (directions**2 / np.where(unknown, 1, spectrum)) @ ~unknown * scale**2
    errors = np.where((directions**2 * unknown).sum(1) > _NOTHING_KNOWN, np.inf, np.sqrt(variances))
    texts = library.subset(subset.chosen).texts()
    score = criterion(log_likelihood, size, library.size, number)
    misfit = float(found.squares[i].mean() / species)
    return Model(tuple(texts), tuple(rates.tolist()), tuple(errors.tolist()), log_likelihood, score, misfit, library.species)


def _check_numbers(**numbers: int) -> None:
    for name, number in numbers.items():
        if number != int(number) or number < 1:
            raise ValueError(f"expected {name} to be a whole number ≥ 1, received {number}")
