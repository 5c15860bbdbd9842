"""Experiments: strengths of binding sites, recovery of known ones, devices that are left out, wells by Markov chains."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ssagrad.hierarchy import synthetic
from ssagrad.hierarchy.chains import Chain, sample_well
from ssagrad.hierarchy.evaluation import evaluate
from ssagrad.hierarchy.forecast import Forecast, dose_error, dose_response, forecast, with_components_of
from ssagrad.hierarchy.newton import joint_mode
from ssagrad.hierarchy.plate_reader import Experiment, held_out
from ssagrad.hierarchy.shared import SharedPosterior, pinned
from ssagrad.hierarchy.system import System
from ssagrad.hierarchy.training import Schedule, train
from ssagrad.statistics import binomial_interval

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
    """The orders of sites, weakest first, that runs gave: {parameter: {"33 < Pcat ≈ 100", …}}.

    Neighbours are tied (≈, written in the order of their means) where they differ by less than two standard errors on average, of which the variance
    between runs and the posterior variances are parts.
    """
    found = {}
    for parameter, sites in strengths.items():
        means, sds = (np.array([site[i] for site in sites.values()]) for i in (0, 1))  # [sites, runs]
        names, order = list(sites), np.argsort(means.mean(1))
        groups = [[order[0]]]
        for before, site in zip(order[:-1], order[1:], strict=True):
            between = means[site] - means[before]
            spread = between.var(ddof=1) if len(between) > 1 else 0.0
            error = np.sqrt(spread + (sds[site] ** 2 + sds[before] ** 2).mean())
            if between.mean() < 2 * error:
                groups[-1].append(site)
            else:
                groups.append([site])
        text = lambda run: " < ".join(" ≈ ".join(names[i] for i in group) for group in sorted(groups, key=lambda group: means[group, run].mean()))  # noqa: B023
        found[parameter] = {text(run) for run in range(means.shape[1])}
    return found


class Recovery(NamedTuple):
    """How many of the shared numbers of synthetic experiments lay within two standard deviations, of how many, and of how many data sets."""

    inside: int
    of: int
    sets: int

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson interval of the coverage at 95 percent, as if all were independent (those of one data set are not)."""
        return binomial_interval(self.inside, self.of)


def recovery(
    key: jax.Array, maker: System, system: System, *, sets: int, wells_per_device: int, num_times: int, steps: int, starts: int = 2, progress: str | None = None
) -> Recovery:
    """Fits `system` to synthetic experiments of `maker`, and counts truths within two standard deviations of the posterior of what is shared."""
    inside, truth = [], synthetic.shared_truth(system)
    for one in jax.random.split(key, sets):
        made, start, first = jax.random.split(one, 3)
        wells = synthetic.double_receivers(made, maker, wells_per_device=wells_per_device, num_times=num_times).experiment
        blank = SharedPosterior(start, system.levels, system.masks, 4, num_times)
        mean, sd = marginals(joint_mode(system, system.initial_weights(first), blank, wells, steps=steps, starts=starts, progress=progress).posterior)
        inside.append(np.abs((mean - truth) / sd) < 2)
    return Recovery(int(np.sum(inside)), int(np.size(inside)), sets)


def panels(wells: Experiment, predicted: Mapping[str, Forecast | np.ndarray]) -> dict[str, dict[str, Any]]:
    """Last readings of YFP and CFP over doses, as `plots.hierarchy.dose_responses` takes them: observed, and predicted [N, 4, T] by label."""
    found = {}
    for i, name in enumerate(("C6", "C12")):
        at = lambda values: dose_response(wells, values[:, 2:, -1], treatment=i)  # noqa: B023
        doses, observed = at(wells.signals)
        lines = {label: at(one.mean if isinstance(one, Forecast) else one)[1] for label, one in predicted.items()}
        bands = {label: (at(one.low)[1], at(one.high)[1]) for label, one in predicted.items() if isinstance(one, Forecast)}
        found[name] = {"doses": doses, "observed": observed, "lines": lines, "bands": bands}
    return found


def device_panels(wells: Experiment, predicted: Mapping[str, np.ndarray]) -> dict[str, dict[str, dict[str, Any]]]:
    """`panels` of each device that has wells with both treatments."""
    found = {}
    for index, name in enumerate(wells.device_names):
        own = np.flatnonzero(wells.devices == index)
        if (wells.treatments[own] > 0).any(0).all():
            found[name] = panels(wells.wells(own), {label: values[own] for label, values in predicted.items()})
    return found


class LeftOut(NamedTuple):
    """A device that training did not see.

    wells: its wells. found: their prediction, a `Forecast` where no series was seen, means [N, 4, T] where the encoder saw them, as published.
    error: root mean square error of the last YFP and CFP readings. others: the same with the sites of each other device. bound, other_bounds: mean
    bounds of its wells where inference sees their series and only sites are new, with its own sites and with those of each other device.
    seconds: processor time of fitting the rest. converged: as of the mode; True where training is stochastic.
    """

    wells: Experiment
    found: Forecast | np.ndarray
    error: float
    others: dict[str, float]
    bound: float
    other_bounds: dict[str, float]
    seconds: float
    converged: bool


def against_other_sites(found: Mapping[str, LeftOut], *, seen: bool = True) -> dict[str, Any]:
    """In words what devices gave with their own sites and with those of others, and whether their own did better for each.

    Args:
        seen: compare bounds, for which inference sees the series, else errors of last readings.

    Returns:
        {"measured": words, "holds": bool}.
    """
    words, best = [], []
    for device, one in found.items():
        own, others = (one.bound, one.other_bounds) if seen else (one.error, one.others)
        show = (lambda value: f"{value:.0f}") if seen else (lambda value: f"{value:.3f}")
        words.append(f"{device}: {show(own)}, others {show(min(others.values()))} to {show(max(others.values()))}")
        best.append(own > max(others.values()) if seen else own < min(others.values()))
    return {"measured": f"best in {sum(best)} of {len(best)}; {'bounds' if seen else 'errors'}; " + "; ".join(words), "holds": all(best)}


def _exchanged(experiment: Experiment, own: Experiment, device: str) -> dict[str, Experiment]:
    """The wells of a device as if made of the components of each other one."""
    first = {name: np.flatnonzero(experiment.devices == i) for i, name in enumerate(experiment.device_names) if name != device}
    return {name: with_components_of(own, experiment.wells(rows)) for name, rows in first.items()}


def leave_out(
    key: jax.Array, system: System, weights: Any, blank: SharedPosterior, experiment: Experiment, device: str, *, steps: int, progress: str | None = None
) -> LeftOut:
    """Fits all levels to the other devices (from one start) and predicts the wells of one from its sites and doses, and with the sites of each other device."""
    began = time.process_time()
    others, own = (experiment.wells(part) for part in held_out(experiment, device))
    mode = joint_mode(system, weights, blank, others, steps=steps, starts=1, progress=progress)
    seconds = time.process_time() - began
    predict = lambda wells: forecast(jax.random.clone(key), system, mode.posterior, weights, wells, mode.local)
    seen = lambda wells: evaluate(jax.random.clone(key), system, mode.posterior, weights, wells, draws=50, steps=_STEPS, shared_draws=1).bound
    exchanged, found = _exchanged(experiment, own, device), predict(own)
    errors = {name: dose_error(own, predict(wells).mean) for name, wells in exchanged.items()}
    bounds = {name: seen(wells) for name, wells in exchanged.items()}
    return LeftOut(own, found, dose_error(own, found.mean), errors, seen(own), bounds, seconds, mode.converged)


def leave_out_published(
    key: jax.Array, system: System, experiment: Experiment, device: str, *, schedule: Schedule, draws: int = 100, progress: str | None = None
) -> LeftOut:
    """Trains by the published objective without a device and predicts its wells as published: the encoder sees their series, only the sites are new."""
    one, two = jax.random.split(key)
    others, own = (experiment.wells(part) for part in held_out(experiment, device))
    began = time.process_time()
    trained = train(one, system, others, schedule=schedule, progress=progress)
    seconds = time.process_time() - began
    seen = lambda wells: evaluate(jax.random.clone(two), system, trained.posterior, trained.weights, wells, draws=draws)
    found, exchanged = seen(own), {name: seen(wells) for name, wells in _exchanged(experiment, own, device).items()}
    errors, bounds = ({name: value(one) for name, one in exchanged.items()} for value in (lambda one: dose_error(own, one.mean), lambda one: one.bound))
    return LeftOut(own, found.mean, dose_error(own, found.mean), errors, found.bound, bounds, seconds, True)


class OneWell(NamedTuple):
    """One well by Markov chain and by refined posterior, given what is shared at its mean: means and standard deviations of local latents [L].

    chain: the draws. seconds: processor time of a refined posterior, per well, compilation not counted. effective: its effective draws, of 200.
    """

    names: tuple[str, ...]
    by_chain: tuple[np.ndarray, np.ndarray]
    by_refinement: tuple[np.ndarray, np.ndarray]
    chain: Chain
    seconds: float
    effective: float

    @property
    def deviation(self) -> float:
        """Largest difference of the means, in standard deviations of the chain."""
        return float((np.abs(self.by_refinement[0] - self.by_chain[0]) / self.by_chain[1]).max())

    @property
    def sd_ratios(self) -> np.ndarray:
        """Standard deviations by refinement over those of the chain [L]."""
        return self.by_refinement[1] / self.by_chain[1]

    @property
    def cheaper(self) -> float:
        """Processor seconds of the chain (compilation included) per effective draw over those of refinement."""
        return (self.chain.seconds / self.chain.effective) / (self.seconds / self.effective)


def some_wells(
    key: jax.Array, system: System, weights: Any, posterior: SharedPosterior, wells: Experiment, *, steps: int, chains: int = 3, warmup: int = 300, draws: int = 500
) -> list[OneWell]:
    """A few wells by NUTS, evenly over the experiment, and all of them by refinement, timed."""
    first, second = jax.random.split(key)
    fixed, num_local = pinned(posterior), system.levels.counts[2]
    for _ in range(2):  # the second one is not compiled
        began = time.process_time()
        found = evaluate(jax.random.clone(first), system, fixed, weights, wells, draws=200, steps=steps, shared_draws=1)
        seconds = (time.process_time() - began) / wells.num_wells
    compared = []
    for number, well in zip(jax.random.split(second, chains), np.linspace(0, wells.num_wells - 1, chains).astype(int), strict=True):
        mean, sd = found.latents[well], found.latent_sd[well, -num_local:]
        chain = sample_well(number, system, weights, mean[:-num_local], mean[-num_local:], wells.wells([well]), warmup=warmup, draws=draws)
        by_chain, names = (chain.draws.mean(0), chain.draws.std(0)), system.levels.names[-num_local:]
        compared.append(OneWell(names, by_chain, (mean[-num_local:], sd), chain, seconds, float(found.effective[well])))
    return compared
