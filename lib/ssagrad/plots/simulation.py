"""Figures of ensembles, laws and loss surfaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from ssagrad.plots.theme import INK, PALETTE, themed


@themed
def ensemble(
    times: Any, samples: Mapping[str, Any], *, exact: Mapping[str, Any] | None = None, num_shown: int = 6, time_unit: str = ""
) -> Figure:
    """Mean, 90 % range and a few single paths of each species against time.

    Args:
        times: [T]. samples: {species: counts [n, T]}. exact: {species: exact mean [T]}, drawn dashed. num_shown: single paths shown.
    """
    figure, axes = plt.subplots(figsize=(7, 4))
    times = np.asarray(times)
    for index, (name, values) in enumerate(samples.items()):
        values, colour = np.asarray(values), PALETTE[index % len(PALETTE)]
        low, high = np.quantile(values, [0.05, 0.95], axis=0)
        axes.fill_between(times, low, high, color=colour, alpha=0.18, lw=0)
        axes.plot(times, values[:num_shown].T, color=colour, lw=0.6, alpha=0.6, drawstyle="steps-post")
        axes.plot(times, values.mean(0), color=colour, label=name)
        if exact and name in exact:
            axes.plot(times, np.asarray(exact[name]), color=INK, ls=(0, (4, 3)), lw=1.4)
    handles, labels = axes.get_legend_handles_labels()
    handles += [plt.Rectangle((0, 0), 1, 1, color="0.8"), plt.Line2D([], [], color="0.5", lw=0.6)]
    labels += ["90 % of the paths", "single paths"]
    if exact:
        handles.append(plt.Line2D([], [], color=INK, ls=(0, (4, 3)), lw=1.4))
        labels.append("exact mean")
    axes.legend(handles, labels, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.set(xlabel=f"time{f' ({time_unit})' if time_unit else ''}", ylabel="molecules", xlim=(times.min(), times.max()))
    axes.set_ylim(bottom=0)
    return figure


class Law(NamedTuple):
    """One panel of `laws`: a distribution over whole numbers, measured and exact, with the standard error of the measured shares."""

    name: str
    axis: str
    values: Any
    measured: Any
    standard_error: Any
    exact: Any


@themed
def laws(panels: Sequence[Law]) -> Figure:
    """Measured shares of paths (bars) on exact probabilities (dots), and below each how many standard errors they are apart."""
    figure, grid = plt.subplots(
        2, len(panels), figsize=(3.4 * len(panels), 4.6), height_ratios=(3, 1), squeeze=False, sharex="col"
    )
    for column, panel in enumerate(panels):
        values, exact = np.asarray(panel.values), np.asarray(panel.exact)
        top, bottom = grid[:, column]
        top.bar(values, panel.measured, width=np.diff(values).min(), color=PALETTE[0], alpha=0.45, lw=0, label="simulated paths")
        top.plot(values, exact, ".", color=INK, ms=4, label="exact law")
        top.set_title(f"{'abcdefgh'[column]}   {panel.name}", loc="left", fontsize="medium")
        top.set_ylim(bottom=0)
        bottom.axhspan(-2, 2, color="0.9", lw=0)
        bottom.axhline(0, color="0.6", lw=0.8)
        with np.errstate(divide="ignore", invalid="ignore"):
            deviation = (np.asarray(panel.measured) - exact) / np.asarray(panel.standard_error)
        bottom.plot(values, deviation, ".", color=PALETTE[0], ms=3.5)
        bottom.set(xlabel=panel.axis, ylim=(-4.5, 4.5), yticks=(-4, -2, 0, 2, 4))
    grid[0, 0].set_ylabel("share of paths")
    grid[1, 0].set_ylabel("difference\n(st. errors)")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend([*handles, plt.Rectangle((0, 0), 1, 1, color="0.9")], [*labels, "95 % of the differences belong here"], loc="outside lower center", ncols=3)
    return figure


@themed
def z_scores(scores: Mapping[str, Any], *, limit: float) -> Figure:
    """z-scores of many exact comparisons, one row each, over the band that holds 95 % of them if the simulator is right.

    Args:
        scores: {row label: z-scores [K]}. limit: the |z| that decides.
    """
    figure, axes = plt.subplots(figsize=(7, 0.42 * len(scores) + 1.1))
    axes.axvspan(-2, 2, color="0.9", lw=0, label="95 % expected here")
    for side in (-limit, limit):
        axes.axvline(side, color=INK, lw=1, ls=(0, (4, 3)), label=f"rejected beyond |z| = {limit:.1f}" if side > 0 else None)
    for row, values in enumerate(scores.values()):
        values = np.asarray(values).ravel()
        spread = np.linspace(-0.22, 0.22, values.size)
        colours = [PALETTE[3] if abs(z) > limit else PALETTE[0] for z in values]
        axes.scatter(np.clip(values, -8, 8), row + spread, s=11, c=colours, lw=0, alpha=0.8)
    axes.set(yticks=range(len(scores)), yticklabels=list(scores), xlabel="z-score: (simulated − exact) / standard error", xlim=(-8.4, 8.4), xticks=(-8, -4, -2, 0, 2, 4, 8))
    axes.set_ylim(len(scores) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


@themed
def survival(times: Any, curves: Mapping[str, tuple[Any, Any]], exact: Any, *, x_label: str) -> Figure:
    """Share of paths in which nothing has happened yet, with 2 standard errors, on the exact law that all curves share; logarithmic axis.

    Args:
        times: [T]. curves: {label: (measured share [T], its standard error [T])}. exact: share [T].
    """
    figure, axes = plt.subplots(figsize=(6, 3.8))
    for index, (label, (share, error)) in enumerate(curves.items()):
        colour = PALETTE[index]
        share, error = np.asarray(share), np.asarray(error)
        axes.fill_between(times, np.maximum(share - 2 * error, 1e-9), share + 2 * error, color=colour, alpha=0.3, lw=0)
        axes.plot(times, share, "osD^"[index], color=colour, ms=3.5, label=label)
    axes.plot(times, exact, color=INK, lw=1, ls=(0, (4, 3)), label="exact law")
    axes.set(yscale="log", xlabel=x_label, ylabel="paths without an event yet", ylim=(3e-5, 1.4), xlim=(0, np.max(times)))
    axes.legend(title="band: 2 standard errors", loc="upper right")
    return figure


class Plane(NamedTuple):
    """One panel of `response_surfaces`: loss [A, B] over two parameters, and descents {label: path [K, 2]}."""

    x: Any
    y: Any
    loss: Any
    x_label: str
    y_label: str
    optimum: tuple[float, float]
    descents: Mapping[str, Any] = {}


@themed
def response_surfaces(planes: Sequence[Plane], *, loss_label: str, largest: float) -> Figure:
    """Loss over two parameters, darker where lower, optimum starred; descents from an open circle to a filled one.

    Args:
        planes: panels; loss [A, B] has x along its rows. largest: losses above it share the brightest colour.
    """
    figure, grid = plt.subplots(1, len(planes), figsize=(4.9 * len(planes), 4.2), squeeze=False)
    for column, (axes, plane) in enumerate(zip(grid[0], planes, strict=True)):
        image = axes.pcolormesh(plane.x, plane.y, np.asarray(plane.loss).T, cmap="mako", vmin=0, vmax=largest, shading="gouraud", rasterized=True)
        levels = [0.02, 0.05, 0.1, 0.2, 0.4]
        axes.contour(plane.x, plane.y, np.asarray(plane.loss).T, levels=levels, colors="white", linewidths=0.5, alpha=0.5)
        for index, (label, path) in enumerate(plane.descents.items()):
            path, colour = np.asarray(path), ["#ffb000", "#fe6100", "#dc9bff"][index % 3]
            axes.plot(*path.T, color=colour, lw=1.6, label=label)
            axes.plot(*path[0], "o", mfc="none", mec=colour, ms=7, mew=1.6)
            axes.plot(*path[-1], "o", color=colour, ms=6, mec="white", mew=0.6)
        axes.plot(*plane.optimum, "*", color="white", ms=17, mec=INK, mew=0.9)
        axes.set(xlabel=plane.x_label, ylabel=plane.y_label, xlim=(np.min(plane.x), np.max(plane.x)), ylim=(np.min(plane.y), np.max(plane.y)))
        axes.set_title("abcd"[column], loc="left", fontweight="bold")
        axes.locator_params(nbins=5)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), title="descents from")
    figure.colorbar(image, ax=grid[0], label=loss_label, extend="max", pad=0.02)
    return figure


@themed
def curves(
    panels: Sequence[tuple[Any, Mapping[str, tuple[Any, Any]]]], *, x_label: str, y_label: str, log_y: bool = False, band: str = "2 standard errors"
) -> Figure:
    """Curves with uncertainty bands, side by side.

    Args:
        panels: (x [K], {label: (mean [K], half width of the band [K])}). band: what the band is.
    """
    figure, grid = plt.subplots(1, len(panels), figsize=(4.7 * len(panels), 3.6), sharey=True, squeeze=False)
    for column, (axes, (x, lines)) in enumerate(zip(grid[0], panels, strict=True)):
        for index, (label, (mean, half)) in enumerate(lines.items()):
            mean, half, style = np.asarray(mean), np.asarray(half), ["-", (0, (5, 2)), (0, (1, 1.2))][index % 3]
            axes.fill_between(x, mean - half, mean + half, color=PALETTE[index], alpha=0.22, lw=0)
            axes.plot(x, mean, color=PALETTE[index], ls=style, label=label)
        axes.set(xlabel=x_label, yscale="log" if log_y else "linear")
        if len(panels) > 1:
            axes.set_title("abcd"[column], loc="left", fontweight="bold")
    grid[0, 0].set_ylabel(y_label)
    grid[0, -1].legend(title=f"band: {band}", loc="best", fontsize="small", title_fontsize="small")
    return figure
