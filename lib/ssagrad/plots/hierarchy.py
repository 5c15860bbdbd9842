"""Figures on hierarchical inference: bounds along training, fits, dose responses, priors beside posteriors, and what changed a bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssagrad.plots.theme import INK, PALETTE, themed

_LOOKS = ((PALETTE[0], "o", "-"), (PALETTE[3], "s", (0, (5, 2))), (PALETTE[2], "^", (0, (1, 1.2))), (PALETTE[4], "D", (0, (5, 1.5, 1, 1.5))))


def _expect(entries: Any, what: str) -> None:
    if not entries:
        raise ValueError(f"expected {what} with at least one entry, received none")


@themed
def bound_curves(curves: Mapping[str, Mapping[int, Sequence[float]]], references: Mapping[str, Mapping[int, float]], *, depth: float = 900.0) -> Figure:
    """Bounds over epochs: medians over runs with their range, and measured points of a reference beside them (crosses, the same colour).

    Args:
        curves: {model: {epoch: bounds of the runs}}. references: {model: {epoch: bound}}. depth: nats below the lowest last bound where the axis begins.

    Raises:
        ValueError: there are no curves.
    """
    _expect(curves, "{model: {epoch: bounds}}")
    lowest = min(float(np.median(runs[max(runs)])) for runs in curves.values())
    figure, axes = plt.subplots(figsize=(6.6, 4.0))
    for (name, runs), (colour, marker, dash) in zip(curves.items(), _LOOKS, strict=False):
        epochs = sorted(runs)
        values = [np.asarray(runs[epoch], float) for epoch in epochs]
        axes.fill_between(epochs, [v.min() for v in values], [v.max() for v in values], color=colour, alpha=0.18, lw=0)
        axes.plot(epochs, [np.median(v) for v in values], color=colour, marker=marker, ls=dash, ms=6, mec="white", label=name)
        if points := references.get(name):
            axes.plot(list(points), list(points.values()), ls="", marker="x", ms=8, mew=2, color=colour, label=f"{name}: public code, repaired")
    points = [max(map(max, runs.values())) for runs in curves.values()] + [max(points.values()) for points in references.values() if points]
    axes.set(xlabel="epochs", ylabel="bound of a new well (nats)", ylim=(lowest - depth, max(points) + 0.1 * depth))
    axes.legend(loc="lower right", fontsize="small")
    return figure


@themed
def ablation(
    bounds: Mapping[str, Sequence[float]], effective: Mapping[str, Sequence[float]], *, draws: int, goal: float = 10.0, seconds: Mapping[str, Sequence[float]] | None = None
) -> Figure:
    """What each variant gives: bounds, effective sample sizes and, if given, processor milliseconds; every run a point and a bar at their mean.

    Args:
        bounds, effective, seconds: {variant: of each run}; what is nan is left out. draws: of which the effective ones are. goal: a dashed line.

    Raises:
        ValueError: there are no variants.
    """
    _expect(bounds, "{variant: bounds}")
    names, columns = list(bounds), [bounds, effective, *([{name: 1e3 * np.asarray(one) for name, one in seconds.items()}] if seconds else [])]
    figure, grid = plt.subplots(1, len(columns), figsize=(3.2 + 3.1 * len(columns), 0.36 * len(names) + 1.5), sharey=True)
    for axes, values in zip(grid, columns, strict=True):
        for place, name in enumerate(names):
            colour, runs = PALETTE[0] if name.startswith("white") else INK, np.asarray(values[name], float)
            runs = runs[np.isfinite(runs)]
            if len(runs):
                axes.plot([np.mean(runs)], [place], "|", ms=16, mew=3, color=colour, alpha=0.55)
            axes.plot(runs, [place] * len(runs), "o" if name.startswith("white") else "s", color=colour, mec="white", ms=7)
        axes.grid(axis="y", color="0.92")
        axes.set_axisbelow(True)
    left, right = grid[:2]
    left.set_yticks(range(len(names)), names)
    left.set_ylim(len(names) - 0.5, -0.5)
    left.set_xlabel("bound of a new well (nats)")
    left.locator_params(axis="x", nbins=5)
    right.set(xlabel=f"effective sample size, of {draws}", xscale="log", xlim=(0.9, draws))
    right.axvline(goal, color=PALETTE[3], ls=(0, (4, 3)), lw=1.3)
    ticks = [n for n in (1, 3, 10, 30, 100) if n <= draws]
    right.set_xticks(ticks, [str(n) for n in ticks])
    right.xaxis.minorticks_off()
    if seconds:
        values = np.concatenate([np.ravel(one) for one in columns[2].values()])
        values = values[np.isfinite(values) & (values > 0)]
        decades = np.arange(np.floor(np.log10(values.min())), np.ceil(np.log10(values.max())) + 1) if len(values) else np.arange(2)
        grid[2].set(xlabel="time for a new well (ms)", xscale="log", xlim=(10.0 ** decades[0] * 0.8, 10.0 ** decades[-1] * 1.25))
        grid[2].set_xticks(10.0**decades, [f"{10.0**decade:g}" for decade in decades])
        grid[2].xaxis.minorticks_off()
    return figure


@themed
def device_fits(times: Any, observed: Any, fits: Mapping[str, Any], *, devices: Sequence[str], signals: Sequence[str]) -> Figure:
    """Means over the wells of each device: observed (grey, wide) and fitted, a column for each device that has wells, a row for each signal.

    Args:
        times: [T] in hours. observed: [devices, signals, T], nan where a device has no wells. fits: {model: [devices, signals, T]}.

    Raises:
        ValueError: there are no fits.
    """
    _expect(fits, "{model: fits}")
    observed = np.asarray(observed)
    present = [number for number in range(len(devices)) if np.isfinite(observed[number]).any()]
    figure, grid = plt.subplots(len(signals), len(present), figsize=(1.65 * len(present) + 0.6, 1.3 * len(signals) + 1.1), sharex=True, sharey="row", squeeze=False)
    for row, signal in enumerate(signals):
        for column, number in enumerate(present):
            axes = grid[row, column]
            axes.plot(times, observed[number, row], color="0.72", lw=5, solid_capstyle="butt")
            for (_, fit), (colour, _, dash) in zip(fits.items(), _LOOKS, strict=False):
                axes.plot(times, np.asarray(fit)[number, row], color=colour, ls=dash, lw=1.6)
            if not row:
                axes.set_title(devices[number], fontsize="medium")
        grid[row, 0].set_ylabel(signal)
    for axes in grid[-1]:
        axes.set_xlabel("hours")
    handles = [Line2D([], [], color="0.72", lw=5), *(Line2D([], [], color=c, ls=d, lw=1.6) for c, _, d in _LOOKS[: len(fits)])]
    figure.legend(handles, ["observed", *fits], loc="outside lower center", ncols=len(handles))
    return figure


@themed
def dose_responses(
    panels: Mapping[str, Mapping[str, Any]], *, treatments: Sequence[str] = ("C6", "C12"), signals: Sequence[str] = ("YFP", "CFP"), stacked: bool = False
) -> Figure:
    """Last readings over dose: points observed, lines predicted (bands where given); a column for each device and treatment, a row for each signal.

    Args:
        panels: {device: {treatment: {"doses": [K], "observed": [K, signals], "lines": {model: [K, signals]}, "bands": {model: (low, high)}}}}.
        stacked: treatments in rows, one column for each device.

    Raises:
        ValueError: there are no panels.
    """
    _expect(panels, "{device: {treatment: arrays}}")
    if stacked:
        columns, rows = [(device, None) for device in panels], [(signal, treatment) for treatment in treatments for signal in range(len(signals))]
    else:
        columns, rows = [(device, treatment) for device in panels for treatment in treatments if treatment in panels[device]], [(i, None) for i in range(len(signals))]
    size = (1.75 * len(columns) + 0.9, (1.4 if stacked else 2.0) * len(rows) + 0.9)
    figure, grid = plt.subplots(len(rows), len(columns), figsize=size, sharey="row", sharex=True, squeeze=False)
    names = list(dict.fromkeys(name for device in panels.values() for panel in device.values() for name in panel["lines"]))
    for column, (device, own) in enumerate(columns):
        for row, (signal, its) in enumerate(rows):
            _dose_panel(grid[row, column], panels[device][own or its], signal, names)
        grid[0, column].set_title(f"{device}\n{own}" if own else device, fontsize="medium")
        grid[-1, column].set_xlabel("dose")
    for axes, (signal, its) in zip(grid[:, 0], rows, strict=True):
        axes.set_ylabel(f"{signals[signal]}, {its}" if its else f"{signals[signal]}, last reading")
    handles = [Line2D([], [], color=INK, marker="o", ls="", ms=4), *(Line2D([], [], color=_LOOKS[i % len(_LOOKS)][0], ls=_LOOKS[i % len(_LOOKS)][2]) for i in range(len(names)))]
    figure.legend(handles, ["observed", *names], loc="outside lower center", ncols=len(handles))
    return figure


def _dose_panel(axes, panel: Mapping[str, Any], signal: int, names: Sequence[str]) -> None:
    for name, line in panel["lines"].items():
        colour, _, dash = _LOOKS[names.index(name) % len(_LOOKS)]
        if name in panel.get("bands", {}):
            low, high = (np.asarray(part)[:, signal] for part in panel["bands"][name])
            axes.fill_between(panel["doses"], low, high, color=colour, alpha=0.18, lw=0)
        axes.plot(panel["doses"], np.asarray(line)[:, signal], color=colour, ls=dash, lw=1.8)
    axes.plot(panel["doses"], np.asarray(panel["observed"])[:, signal], "o", color=INK, ms=4)
    axes.set_xscale("log")


@themed
def priors_and_posteriors(names: Sequence[str], prior: tuple[Any, Any], posteriors: Mapping[str, tuple[Any, Any]], *, truth: Any = None) -> Figure:
    """Means ± 2 standard deviations of logarithms: prior as a wide grey bar, posteriors as points with lines; true values as stars.

    Args:
        prior: means and standard deviations [D]. posteriors: {run: (means, standard deviations)}. truth: [D] or None.

    Raises:
        ValueError: there are no posteriors.
    """
    _expect(posteriors, "{run: (means, standard deviations)}")
    half = -(-len(names) // 2)
    figure, grid = plt.subplots(1, 2, figsize=(9.4, 0.26 * half + 1.3), squeeze=False)
    decades = np.log(10)
    for part, axes in enumerate(grid[0]):
        rows = np.arange(part * half, min((part + 1) * half, len(names)))
        for place, row in enumerate(rows):
            mean, sd = prior[0][row] / decades, prior[1][row] / decades
            axes.plot([mean - 2 * sd, mean + 2 * sd], [place, place], color="0.85", lw=9, solid_capstyle="butt", zorder=1)
            for number, (means, sds) in enumerate(posteriors.values()):
                colour, marker, _ = _LOOKS[number % len(_LOOKS)]
                y, m, s = place + 0.22 * (number - (len(posteriors) - 1) / 2), means[row] / decades, sds[row] / decades
                axes.plot([m - 2 * s, m + 2 * s], [y, y], color=colour, lw=1.8, zorder=2)
                axes.plot(m, y, marker, color=colour, ms=4.5, mec="white", mew=0.4, zorder=3)
            if truth is not None:
                axes.plot(truth[row] / decades, place, "*", color=INK, ms=11, mec="white", zorder=4)
        axes.set_yticks(range(len(rows)), [names[row] for row in rows], fontsize="small")
        axes.set(ylim=(half - 0.4, -0.6), xlabel="log₁₀ of the parameter")
        axes.tick_params(axis="y", length=0)
    handles = [Line2D([], [], color="0.85", lw=9), *(Line2D([], [], color=c, marker=m, lw=1.8, ms=4.5) for c, m, _ in _LOOKS[: len(posteriors)])]
    labels = ["prior ± 2 sd", *posteriors]
    if truth is not None:
        handles, labels = [*handles, Line2D([], [], color=INK, marker="*", ls="", ms=11)], [*labels, "truth"]
    figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))
    return figure


@themed
def binding_sites(strengths: Mapping[str, Mapping[str, tuple[Sequence[float], Sequence[float]]]], *, truth: Mapping[str, Sequence[float]] | None = None) -> Figure:
    """Strengths of ribosome binding sites relative to their geometric mean, a panel for each parameter, each run a point ± 2 standard deviations.

    Args:
        strengths: {parameter: {site: (log₂ strengths of the runs, standard deviations)}}. truth: {parameter: log₂ strengths, by site} or None.

    Raises:
        ValueError: there are no strengths.
    """
    _expect(strengths, "{parameter: {site: (means, standard deviations)}}")
    figure, grid = plt.subplots(1, len(strengths), figsize=(3.6 * len(strengths), 3.2), squeeze=False, sharey=True)
    for axes, (parameter, sites) in zip(grid[0], strengths.items(), strict=True):
        axes.axhline(0, color="0.8", lw=1)
        for place, (means, sds) in enumerate(sites.values()):
            x = place + np.linspace(-0.2, 0.2, len(means)) if len(means) > 1 else [place]
            axes.errorbar(x, means, yerr=2 * np.asarray(sds), fmt="o", color=PALETTE[0], ms=5, mec="white", mew=0.5, lw=1.4)
            if truth is not None:
                axes.plot([place], [truth[parameter][place]], "*", color=INK, ms=13, mec="white")
        axes.set_xticks(range(len(sites)), list(sites))
        axes.set(xlabel="ribosome binding site", title=parameter)
    grid[0, 0].set_ylabel("log₂ strength, less their mean")
    return figure


def side_by_side(names: Sequence[str], posteriors: Mapping[str, tuple[Any, Any]]) -> Figure:
    """`wells_side_by_side` of one well.

    Raises:
        ValueError: there are no posteriors.
    """
    _expect(posteriors, "{method: (means, standard deviations)}")
    return wells_side_by_side(names, {"": posteriors})


@themed
def wells_side_by_side(names: Sequence[str], wells: Mapping[str, Mapping[str, tuple[Any, Any]]]) -> Figure:
    """Posteriors of local latents by several methods, a panel for each well: means ± 2 standard deviations, in those of the first around its mean.

    Args:
        wells: {title of a panel: {method: (means, standard deviations)}}.

    Raises:
        ValueError: there are no wells.
    """
    _expect(wells, "{well: {method: (means, standard deviations)}}")
    figure, grid = plt.subplots(1, len(wells), figsize=(3.0 * len(wells) + (3.0 if len(wells) == 1 else 1.0), 0.42 * len(names) + 1.6), sharey=True, sharex=True, squeeze=False)
    for axes, (title, posteriors) in zip(grid[0], wells.items(), strict=True):
        first_mean, first_sd = (np.asarray(part, float) for part in next(iter(posteriors.values())))
        for number, (name, (means, sds)) in enumerate(posteriors.items()):
            colour, marker, _ = _LOOKS[number % len(_LOOKS)]
            y = np.arange(len(names)) + 0.22 * (number - (len(posteriors) - 1) / 2)
            x, half = (np.asarray(means) - first_mean) / first_sd, 2 * np.asarray(sds) / first_sd
            axes.errorbar(x, y, xerr=half, fmt=marker, color=colour, ms=6, mec="white", lw=1.8, label=name)
        axes.set_yticks(range(len(names)), names)
        axes.set(ylim=(len(names) - 0.5, -0.5), title=title)
        axes.axvline(0, color="0.8", lw=1, zorder=0)
        axes.set_xlabel(f"difference from {next(iter(posteriors))}\n(in its standard deviations)")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
