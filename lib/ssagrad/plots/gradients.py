"""Figures that hold gradient estimators against exact gradients, and against each other."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from textwrap import wrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssagrad.plots.theme import INK, PALETTE, style, themed

_DASHED = (0, (4, 3))
_BAND = "0.9"


@themed
def forest(groups: Mapping[str, Mapping[str, Any]], *, limit: float, largest: float = 12.0) -> Figure:
    """z-scores of gradients, a row for each estimator, a point for each comparison with an exact gradient.

    Args:
        groups: {group: {estimator: z-scores [K]}}, drawn under headings, from the top.
        limit: the |z| that decides. largest: values beyond ± this are drawn as triangles at the edge, with their number.
    """
    num_rows = sum(len(rows) + 1 for rows in groups.values())
    figure, axes = plt.subplots(figsize=(7.8, 0.34 * num_rows + 1.1))
    axes.axvspan(-limit, limit, color=_BAND, lw=0)
    for side in (-limit, limit):
        axes.axvline(side, color=INK, lw=1, ls=_DASHED)
    axes.axvline(0, color="0.6", lw=0.8)
    labels, row = {}, 0
    for group, rows in groups.items():
        axes.text(-0.01, row, group, fontweight="bold", ha="right", va="center", transform=axes.get_yaxis_transform())
        for name, values in rows.items():
            row += 1
            labels[row] = name
            _z_row(axes, row, name, np.asarray(values, float).ravel(), largest)
        row += 1
    axes.set(yticks=list(labels), yticklabels=labels.values(), xlim=(-1.1 * largest, 1.1 * largest), ylim=(row - 0.4, -0.6))
    axes.set_xlabel("z-score: (estimated gradient − exact gradient) / standard error")
    axes.tick_params(axis="y", length=0)
    handles = [plt.Rectangle((0, 0), 1, 1, fc=_BAND, ec=INK, ls=_DASHED), Line2D([], [], ls="", marker=">", color=INK, ms=7)]
    words = [f"agrees with the exact gradient (|z| < {limit:.1f})", f"beyond ± {largest:g}, how many"]
    figure.legend(handles, words, loc="outside lower center", ncols=2)
    return figure


def _z_row(axes: Any, row: int, name: str, values: np.ndarray, largest: float) -> None:
    colour, marker = style(name)
    inside = np.abs(values) <= largest
    spread = np.linspace(-0.24, 0.24, values.size) if values.size > 1 else np.zeros(1)
    size = 26 if marker != "*" else 60
    axes.scatter(values[inside], row + spread[inside], s=size, color=[colour], marker=marker, ec=INK, lw=0.4, alpha=0.85, zorder=3)
    for side in (-1, 1):
        number = int((side * values[~inside] > 0).sum())
        if number:
            axes.plot(side * 1.05 * largest, row, "<>"[int(side > 0)], color=colour, mec=INK, mew=0.4, ms=8, clip_on=False)
            axes.text(side * 0.99 * largest, row, str(number), ha="right" if side > 0 else "left", va="center", fontsize="small")


@themed
def biases(panels: Mapping[str, tuple[Any, Any]], rows: list[str], *, largest: float = 100.0, x_label: str) -> Figure:
    """Relative errors of gradients with 2 standard errors, a panel for each estimator, a row for each gradient.

    Args:
        panels: {estimator: (relative error [R] in per cent, its standard error [R])}.
        rows: label of each gradient [R], "network: parameter"; a network is named once, and parted from the next by a line.
        largest: errors beyond ± this are drawn as triangles at the edge; bars end there.
    """
    networks = [row.partition(": ")[0] for row in rows]
    starts = [i for i, name in enumerate(networks) if i == 0 or name != networks[i - 1]]
    figure, grid = plt.subplots(1, len(panels), figsize=(2.6 + 1.75 * len(panels), 0.27 * len(rows) + 1.4), sharey=True, squeeze=False)
    for axes, (name, (errors, spreads)) in zip(grid[0], panels.items(), strict=True):
        colour, marker = style(name)
        axes.axvline(0, color=INK, lw=1, ls=_DASHED)
        for row, (error, spread) in enumerate(zip(errors, spreads, strict=True)):
            low, high = np.clip([error - 2 * spread, error + 2 * spread], -largest, largest)
            axes.plot([low, high], [row, row], color=INK, lw=1.2)
            shape, place = (marker, error) if abs(error) <= largest else ("<>"[int(error > 0)], np.sign(error) * 1.03 * largest)
            axes.plot(place, row, shape, color=colour, mec=INK, mew=0.5, ms=7 if marker != "*" else 10, clip_on=False, zorder=3)
        for start in starts[1:]:
            axes.axhline(start - 0.5, color="0.8", lw=0.8)
        axes.set_title("\n".join(wrap(name, 18)), fontsize="medium")
        axes.set(xlim=(-1.08 * largest, 1.08 * largest), xticks=[-largest, 0, largest], ylim=(len(rows) - 0.5, -0.5))
        axes.tick_params(axis="y", length=0)
    grid[0, 0].set_yticks(range(len(rows)), [row if i in starts else row.partition(": ")[2] for i, row in enumerate(rows)])
    figure.supxlabel(x_label, fontsize="medium")
    return figure


@themed
def efficiencies(
    panels: Mapping[str, Any], rows: list[str], columns: list[str], *, reference: str, hollow: Collection[str] = (), note: str = ""
) -> Figure:
    """How many times as efficient as a reference each estimator is on each network: darker is better, the number stands in the cell.

    Args:
        panels: {title: values [rows, columns]}, from the top; NaN where nothing was measured.
        reference: name of the row that is 1.
        hollow: rows that do not estimate the gradient itself (biased); their numbers stand in brackets. note: what brackets mean.
    """
    size = (3.8 + 1.25 * max(len(columns), 2), 0.34 * len(rows) * len(panels) + 0.5 * len(panels) + 0.9)
    figure, grid = plt.subplots(len(panels), 1, figsize=size, sharex=True, squeeze=False)
    bound = 3.0  # decades of colour
    for letter, axes, (title, values) in zip("abcdef", grid[:, 0], panels.items(), strict=False):
        values = np.asarray(values, float)
        image = axes.imshow(values, norm=LogNorm(10**-bound, 10**bound), cmap="Blues", aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            text = "–" if np.isnan(value) else f"({_times(value)})" if rows[i] in hollow else _times(value)
            dark = not np.isnan(value) and np.log10(value) > 0.3 * bound
            axes.text(j, i, text, ha="center", va="center", color="white" if dark else INK, fontsize="medium")
        axes.set(xticks=range(len(columns)), yticks=range(len(rows)), yticklabels=rows, xticklabels=columns)
        axes.set_title(f"{letter}   {title}", loc="left", fontsize="medium")
        axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", lw=2)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
    if note:
        figure.supxlabel(note, fontsize="small")
    figure.colorbar(image, ax=grid[:, 0], label=f"efficiency, in multiples of that\nof the {reference}", pad=0.02, aspect=30)
    return figure


def _times(value: float) -> str:
    if value >= 1e4 or value < 0.0095:
        return f"× 10$^{{{round(np.log10(value))}}}$"
    return f"× {value:.0f}" if value >= 9.95 else f"× {value:.1f}" if value >= 0.95 else f"× {value:.1g}"


@themed
def estimates(panels: Mapping[str, tuple[float, Mapping[str, tuple[float, float]]]], *, x_label: str, limit: float = 4.0) -> Figure:
    """Estimates with 2 standard errors, one row each, against the exact value (dashed), side by side.

    Args:
        panels: {title: (exact value, {row label: (estimate, its standard error)})}; the same rows in all panels.
        limit: estimates farther from the exact value than so many standard errors are drawn as crosses.
    """
    names = list(next(iter(panels.values()))[1])
    figure, grid = plt.subplots(1, len(panels), figsize=(2.2 + 2.9 * len(panels), 0.42 * len(names) + 1.5), sharey=True, squeeze=False)
    for letter, axes, (title, (exact, rows)) in zip("abcdef", grid[0], panels.items(), strict=False):
        axes.axvline(exact, color=INK, lw=1, ls=_DASHED)
        for row, (name, (value, error)) in enumerate(rows.items()):
            agrees = abs(value - exact) <= limit * error
            axes.errorbar(value, row, xerr=2 * error, fmt="o" if agrees else "X", color=PALETTE[0] if agrees else PALETTE[3], ms=8, capsize=3)
        axes.set_title(f"{letter}   {title}", loc="left", fontsize="medium")
        axes.set(xlabel=x_label, yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
        axes.margins(x=0.15)
        axes.locator_params(axis="x", nbins=5)
        axes.tick_params(axis="y", length=0)
    handles = [Line2D([], [], color=INK, lw=1, ls=_DASHED)]
    handles += [Line2D([], [], ls="", marker=m, color=PALETTE[c], ms=8) for m, c in (("o", 0), ("X", 3))]
    words = ["exact", f"within {limit:.2g} standard errors of it", "not (bars: 2 standard errors)"]
    figure.legend(handles, words, loc="outside lower center", ncols=3)
    return figure
