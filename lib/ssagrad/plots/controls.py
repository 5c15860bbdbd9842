"""Figures on Dynkin controls: value functions, what they bring, and where that ends."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssagrad.plots.theme import INK, PALETTE, style, themed


@themed
def value_functions(learned: Mapping[str, tuple[Any, Any]], exact: Mapping[str, tuple[Any, Any]], *, x_label: str, y_label: str) -> Figure:
    """Learned value functions (lines) and exact ones (dots), a curve for each time to go: {time to go: (states, V)}."""
    figure, axes = plt.subplots(figsize=(6.8, 4.2))
    shades = plt.get_cmap("viridis")(np.linspace(0.05, 0.8, len(learned)))
    handles = []
    for (label, curve), shade, marker in zip(learned.items(), shades, "osD^v", strict=False):
        axes.plot(*curve, color=shade)
        axes.plot(*exact[label], ls="", marker=marker, ms=7, mfc="white", mec=shade, mew=1.6)
        handles.append(Line2D([], [], color=shade, marker=marker, ms=7, mfc="white", mec=shade, mew=1.6, label=label))
    axes.set(xlabel=x_label, ylabel=y_label)
    time_to_go = axes.legend(handles=handles, loc="upper left", title="time to go")
    axes.add_artist(time_to_go)
    kinds = [Line2D([], [], color=INK, label="learned"), Line2D([], [], color=INK, ls="", marker="o", mfc="white", ms=7, label="exact")]
    axes.legend(handles=kinds, loc="lower right")
    return figure


@themed
def advantages(values: Mapping[str, Mapping[str, float]], *, reference: str, hollow: Collection[str] = (), x_label: str) -> Figure:
    """How many times as efficient as a reference each estimator is: a row for each network, a marker for each estimator, hollow if biased."""
    estimators = list(dict.fromkeys(name for row in values.values() for name in row))
    figure, axes = plt.subplots(figsize=(8.2, 0.52 * len(values) + 1.7))
    axes.axvline(1, color=INK, lw=1, ls=(0, (4, 3)))
    for row, of_network in enumerate(values.values()):
        axes.axhline(row, color="0.9", lw=6, zorder=0)
        for name, value in of_network.items():
            colour, marker = style(name)
            face = "white" if name in hollow else colour
            axes.plot(value, row, marker, color=colour, mfc=face, ms=13 if marker == "*" else 8, mew=1.6, ls="", clip_on=False)
    axes.set(xscale="log", yticks=range(len(values)), yticklabels=list(values), ylim=(len(values) - 0.5, -0.5), xlabel=x_label)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    handles = []
    for name in estimators:
        colour, marker = style(name)
        face = "white" if name in hollow else colour
        handles.append(Line2D([], [], ls="", marker=marker, color=colour, mfc=face, ms=11 if marker == "*" else 8, mew=1.6))
    handles.append(Line2D([], [], color=INK, lw=1, ls=(0, (4, 3))))
    figure.legend(handles, [*(f"{name} (biased)" if name in hollow else name for name in estimators), reference], loc="outside lower center", ncols=3)
    return figure


@themed
def limits(panels: Mapping[str, Mapping[str, tuple[Any, Any]]], *, y_label: str) -> Figure:
    """Gain over settings, both on logarithmic axes, a panel for each setting, a line for each network: {setting: {network: (x, gain)}}."""
    figure, grid = plt.subplots(1, len(panels), figsize=(3.2 * len(panels) + 0.4, 3.5), sharey=True, squeeze=False)
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    looks = dict(zip(names, zip(PALETTE, "os^Dv", ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), "-"), strict=False), strict=False))
    for column, (axes, (setting, lines)) in enumerate(zip(grid[0], panels.items(), strict=True)):
        axes.axhline(1, color=INK, lw=1, ls=(0, (4, 3)))
        for name, (x, gain) in lines.items():
            colour, marker, dashes = looks[name]
            axes.plot(x, gain, color=colour, marker=marker, ls=dashes, ms=6.5, label=name)
        ticks = sorted({float(value) for x, _ in lines.values() for value in x})
        axes.set(xscale="log", yscale="log", xlabel=setting, xticks=ticks, xticklabels=[f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_title("abcdef"[column], loc="left", fontsize="medium", fontweight="bold")
    grid[0, 0].set_ylabel(y_label)
    handles = [Line2D([], [], color=c, marker=m, ls=d, ms=6.5) for c, m, d in (looks[name] for name in names)]
    figure.legend([*handles, Line2D([], [], color=INK, lw=1, ls=(0, (4, 3)))], [*names, "score function"], loc="outside lower center", ncols=4)
    return figure
