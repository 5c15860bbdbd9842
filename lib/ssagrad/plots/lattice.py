"""Figures on closures: curves against data, lattices with equal counts, learned parameters, and how far each model is from the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ssagrad.plots.theme import INK, PALETTE, themed

PREY, HUNTER = PALETTE[2], PALETTE[1]
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)))
_ORDER = (0, 3, 2, 4, 8, 5)  # of colours, prey and hunters having theirs
_MARKERS = "osD^vPX"


class Panel(NamedTuple):
    """One panel of `against_data`: data with half the width of their band, and curves {label: (x, y)}."""

    y_label: str
    x: Any
    data: Any
    half: Any
    curves: Mapping[str, tuple[Any, Any]]


@themed
def against_data(
    panels: Sequence[Panel], *, x_label: str, data_label: str, columns: int = 3, limits: Sequence[tuple[float, float] | None] | None = None
) -> Figure:
    """Data in black with their band, and models in colour, a panel for each quantity.

    Args:
        data_label: what data and band are. limits: of the y axis of each panel, None for what the data need, and curves up to three times as large.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(3.9 * columns + (0.3 if columns > 1 else 3.1), 3.0 * rows + 0.9), squeeze=False, sharex=True)
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    looks = {name: {"color": PALETTE[_ORDER[k % 6]], "ls": _DASHES[k % 4]} for k, name in enumerate(names)}
    for number, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        data, half = np.asarray(panel.data, float), np.asarray(panel.half, float)
        axes.fill_between(panel.x, data - half, data + half, color="0.72", lw=0, zorder=1)
        axes.plot(panel.x, data, color=INK, lw=1.5, zorder=4)
        for name, (x, y) in panel.curves.items():
            axes.plot(x, y, **looks[name], lw=1.7, zorder=3)
        axes.set(ylabel=panel.y_label, xlim=(np.min(panel.x), np.max(panel.x)))
        axes.set_ylim((limits[number] if limits else None) or _span(data + half, [y for _, y in panel.curves.values()]))
        if len(panels) > 1:
            axes.set_title("abcdefghi"[number], loc="left", fontweight="bold")
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    for axes in grid[-1]:
        axes.set_xlabel(x_label)
    handles = [(Patch(color="0.72", lw=0), Line2D([], [], color=INK, lw=1.5)), *(Line2D([], [], **looks[name]) for name in names)]
    figure.legend(handles, [data_label, *names], loc="outside lower center", ncols=min(4 if columns > 1 else 3, 1 + len(names)))
    return figure


def _span(data: np.ndarray, curves: Sequence[Any]) -> tuple[float, float]:
    """From 0, or below the lowest, to a little above the data, and above curves that reach at most three times as far."""
    ends = []
    for sign in (-1, 1):
        own = max(0.0, float(np.nanmax(sign * data)))
        others = [float(np.nanmax(sign * np.asarray(curve, float))) for curve in curves if np.isfinite(np.asarray(curve, float)).any()]
        ends.append(sign * 1.08 * max(own, min(3 * own, max(others, default=0.0))))
    return (ends[0], ends[1]) if ends[1] > ends[0] else (0.0, 1.0)


@themed
def equal_counts(orbit: Any, times: tuple[int, int], lattices: tuple[Any, Any], words: tuple[str, str]) -> Figure:
    """Mean numbers of prey and hunters over time, which cross themselves, and a lattice at each of the two times of the crossing.

    Args:
        orbit: mean prey and hunters [T, 2]. times: of the crossing. lattices: [side, side], 0 empty, 1 prey, 2 hunter. words: under each lattice.
    """
    figure, (plane, *grid) = plt.subplots(1, 3, figsize=(11.2, 4.0), width_ratios=(1.15, 1, 1))
    orbit = np.asarray(orbit)
    plane.plot(*orbit.T, color="0.35", lw=1.4)
    for time in range(0, len(orbit), 50):
        plane.plot(*orbit[time], "o", color="white", mec="0.35", ms=4)
        plane.annotate(f"{time}", orbit[time], (4, 3), textcoords="offset points", fontsize="x-small", color="0.35")
    for time, colour, marker, size in zip(times, (PALETTE[0], PALETTE[3]), "sD", (14, 6), strict=True):
        plane.plot(*orbit[time], marker, color=colour, mfc="none" if size > 10 else colour, mew=2, ms=size, zorder=5, label=f"t = {time}")
    plane.set(xlabel="mean number of prey", ylabel="mean number of hunters", xlim=(0, None), ylim=(0, None))
    plane.legend(loc="upper left")
    colours = ListedColormap(["white", PREY, HUNTER])
    for axes, lattice, time, text, colour in zip(grid, lattices, times, words, (PALETTE[0], PALETTE[3]), strict=True):
        axes.imshow(lattice, cmap=colours, vmin=0, vmax=2, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"t = {time}", color=colour, fontweight="bold", fontsize="medium")
        axes.set_xlabel(text, fontsize="small")
        for spine in axes.spines.values():
            spine.set(visible=True, color="0.6")
    handles = [Patch(color=PREY), Patch(color=HUNTER), Line2D([], [], color="0.35", marker="o", mfc="white", ms=4)]
    figure.legend(handles, ["prey", "hunter", "mean over runs, every 50 units of time"], loc="outside lower center", ncols=3)
    return figure


@themed
def parameter_curves(times: Any, panels: Mapping[str, Mapping[str, tuple[Any, Any]]], *, y_label: str) -> Figure:
    """Learned parameters over time, a panel for each group of them: {group: {name: (raw [T], smooth [T])}}; raw curves are pale."""
    figure, grid = plt.subplots(1, len(panels), figsize=(3.1 * len(panels) + 0.6, 3.4), squeeze=False, sharex=True)
    for axes, (group, curves) in zip(grid[0], panels.items(), strict=True):
        axes.axhline(0, color="0.8", lw=0.8)
        for number, (name, (raw, smooth)) in enumerate(curves.items()):
            colour = (PREY, HUNTER, PALETTE[0], PALETTE[3])[number % 4]
            axes.plot(times, raw, color=colour, lw=0.8, alpha=0.45)
            axes.plot(times, smooth, color=colour, ls=_DASHES[number % 4], label=name)
        axes.set_title(group, fontsize="medium")
        axes.set(xlabel="time", xlim=(np.min(times), np.max(times)))
        axes.legend(fontsize="small", loc="best", handlelength=2.6)
    grid[0, 0].set_ylabel(y_label)
    return figure


@themed
def misfits(rows: Mapping[str, Mapping[str, float]], scales: Mapping[str, float], *, x_label: str, filled: Sequence[str] = ()) -> Figure:
    """How far each model is from the truth, a row for each model, a panel for each quantity; the dashed line is the truth's own size.

    Args:
        rows: {model: {quantity: distance}}, a quantity may be missing. scales: {quantity: root mean square of the truth}.
        filled: rows that stand out.
    """
    figure, grid = plt.subplots(1, len(scales), figsize=(2.7 * len(scales) + 2.6, 0.36 * len(rows) + 1.3), squeeze=False, sharey=True)
    box = {"boxstyle": "square,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.85}
    for axes, (quantity, scale) in zip(grid[0], scales.items(), strict=True):
        axes.axvline(scale, color=INK, lw=1, ls=(0, (4, 3)))
        for place, (name, values) in enumerate(rows.items()):
            axes.axhline(place, color="0.93", lw=5, zorder=0)
            if quantity not in values:
                continue
            value = values[quantity]
            colour = PALETTE[0] if name in filled else "0.35"
            axes.plot(value, place, "o", color=colour, mfc=colour if name in filled else "white", ms=8, mew=1.6, clip_on=False, zorder=3)
            look = {"va": "center", "fontsize": "small", "color": colour, "bbox": box, "zorder": 2}
            axes.annotate(f"{value:.0f}", (value, place), (8, 0), textcoords="offset points", **look)
        largest = max(scale, *(values[quantity] for values in rows.values() if quantity in values))
        axes.set(xlim=(0, 1.22 * largest), xlabel=x_label, ylim=(len(rows) - 0.5, -0.5))
        axes.set_title("\n".join(wrap(quantity, 22)), fontsize="medium")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    grid[0, 0].set(yticks=range(len(rows)), yticklabels=list(rows))
    return figure
