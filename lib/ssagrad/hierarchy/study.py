"""Experiments on the shared mechanism: strengths of binding sites, devices that are left out, one well by Markov chains."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ssagrad.hierarchy.chains import Chain, sample_well
from ssagrad.hierarchy.evaluation import evaluate
from ssagrad.hierarchy.forecast import Forecast, dose_error, dose_response, forecast, with_components_of
from ssagrad.hierarchy.newton import joint_mode
from ssagrad.hierarchy.plate_reader import Experiment, held_out
from ssagrad.hierarchy.shared import SharedPosterior, pinned
from ssagrad.hierarchy.system import System

SITES = {"aR": ("Pcat", "100", "33"), "aS": ("Pcat", "32", "34", "175")}  # by component
_STEPS = 20  # of Fisher scoring, for wells of a device that was left out


def shared_names(system: System) -> list[str]:
    """Names of what wells share: global latents, then group latents by site."""
    return [*system.levels.names[: system.levels.counts[0]], *(f"{parameter} {site}" for parameter, sites in SITES.items() for site in sites)]


def marginals(posterior: SharedPosterior) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard deviations of what is shared [D]."""
    return np.asarray(posterior.mean), np.linalg.norm(np.asarray(posterior.factor()), axis=1)


def site_strengths(posteriors: Sequence[SharedPosterior], system: System) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """log₂ strengths of sites less their mean within a parameter, and standard deviations of that: {parameter: {site: (by run, by run)}}."""
    found, begin = {}, system.levels.counts[0]
    for parameter, sites in SITES.items():
        rows = slice(begin, begin + len(sites))
        begin += len(sites)
        centred = [np.asarray(q.mean)[rows] - np.asarray(q.mean)[rows].mean() for q in posteriors]
        factors = [np.asarray(q.factor())[rows] - np.asarray(q.factor())[rows].mean(0) for q in posteriors]
        means, sds = np.array(centred) / np.log(2), np.linalg.norm(factors, axis=2) / np.log(2)
        found[parameter] = {site: (means[:, i].tolist(), sds[:, i].tolist()) for i, site in enumerate(sites)}
    return found


def orders(strengths: Mapping[str, Mapping[str, tuple[list[float], list[float]]]]) -> dict[str, set[str]]:
    """The orders of sites, weakest first, that runs gave: {parameter: {"33 < Pcat < 100", …}}."""
    runs = range(len(next(iter(next(iter(strengths.values())).values()))[0]))
    return {parameter: {" < ".join(sorted(sites, key=lambda site: sites[site][0][run])) for run in runs} for parameter, sites in strengths.items()}


class LeftOut(NamedTuple):
    """A device that training did not see.

    wells: its wells. found: their forecast. error: root mean square error of the last YFP and CFP readings. others: the same with the sites of
    each other device. bound, other_bounds: mean bounds of its wells where inference sees their series and only sites are new, with its
    own sites and with those of each other device. seconds: processor time of fitting the rest.
    """

    wells: Experiment
    found: Forecast
    error: float
    others: dict[str, float]
    bound: float
    other_bounds: dict[str, float]
    seconds: float

    def panels(self) -> dict[str, dict[str, Any]]:
        """Last readings of YFP and CFP over doses, as `plots.hierarchy.dose_responses` takes them."""
        panels, label = {}, "predicted from its sites"
        for i, name in enumerate(("C6", "C12")):
            at = lambda values: dose_response(self.wells, values[:, 2:, -1], treatment=i)  # noqa: B023
            doses, observed = at(self.wells.signals)
            band = at(self.found.low)[1], at(self.found.high)[1]
            panels[name] = {"doses": doses, "observed": observed, "lines": {label: at(self.found.mean)[1]}, "bands": {label: band}}
        return panels


def leave_out(
    key: jax.Array, system: System, weights: Any, blank: SharedPosterior, experiment: Experiment, device: str, *, steps: int, progress: str | None = None
) -> LeftOut:
    """Fits all levels to the other devices and predicts the wells of one from its sites and doses, and with the sites of each other device."""
    began = time.process_time()
    others, own = (experiment.wells(part) for part in held_out(experiment, device))
    mode = joint_mode(system, weights, blank, others, steps=steps, progress=progress)
    seconds = time.process_time() - began
    predict = lambda wells: forecast(key, system, mode.posterior, weights, wells, mode.local)
    seen = lambda wells: evaluate(key, system, mode.posterior, weights, wells, draws=50, steps=_STEPS, shared_draws=1).bound
    errors, bounds = {}, {}
    for index, name in enumerate(experiment.device_names):
        if name != device:
            donor = experiment.wells(np.flatnonzero(experiment.devices == index))
            exchanged = with_components_of(own, donor)
            errors[name], bounds[name] = dose_error(own, predict(exchanged).mean), seen(exchanged)
    found = predict(own)
    return LeftOut(own, found, dose_error(own, found.mean), errors, seen(own), bounds, seconds)


class OneWell(NamedTuple):
    """One well by Markov chain and by refined posterior, given what is shared at its mean: means and standard deviations of local latents [L].

    chain: the draws. seconds: processor time of a refined posterior, per well, compilation not counted.
    """

    names: tuple[str, ...]
    by_chain: tuple[np.ndarray, np.ndarray]
    by_refinement: tuple[np.ndarray, np.ndarray]
    chain: Chain
    seconds: float

    @property
    def deviation(self) -> float:
        """Largest difference of the means, in standard deviations of the chain."""
        return float((np.abs(self.by_refinement[0] - self.by_chain[0]) / self.by_chain[1]).max())


def one_well(
    key: jax.Array, system: System, weights: Any, posterior: SharedPosterior, wells: Experiment, *, steps: int, warmup: int = 300, draws: int = 500
) -> OneWell:
    """The first of some wells by NUTS, and all of them by refinement, timed."""
    first, second = jax.random.split(key)
    fixed, num_local = pinned(posterior), system.levels.counts[2]
    for _ in range(2):  # the second one is not compiled
        began = time.process_time()
        found = evaluate(first, system, fixed, weights, wells, draws=200, steps=steps, shared_draws=1)
        seconds = (time.process_time() - began) / wells.num_wells
    mean, sd = found.latents[0], found.latent_sd[0, -num_local:]
    chain = sample_well(second, system, weights, mean[:-num_local], mean[-num_local:], wells.wells([0]), warmup=warmup, draws=draws)
    by_chain = chain.draws.mean(0), chain.draws.std(0)
    return OneWell(system.levels.names[-num_local:], by_chain, (mean[-num_local:], sd), chain, seconds)
