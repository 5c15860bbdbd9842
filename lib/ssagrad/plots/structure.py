"""Figures on learning which reactions there are: losses along descents, the models they end in, and what the settings do to that.

A "problem" is a way to write an unknown network as numbers; measurements come in mappings {problem: …} or {(problem, method): …}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ssagrad.plots.theme import INK, PALETTE, themed

_METHODS = ((PALETTE[4], "X", "-"), (PALETTE[0], "o", (0, (5, 2))), (PALETTE[1], "^", (0, (1, 1.2))), (PALETTE[2], "s", (0, (5, 1.5, 1, 1.5))))
_PROBLEMS = ((PALETTE[7], "D"), (PALETTE[0], "o"), (PALETTE[1], "^"), (PALETTE[2], "s"), (PALETTE[3], "v"), (PALETTE[5], "P"), (PALETTE[9], "X"))
_TRUE, _FALSE = PALETTE[2], "0.78"


@themed
def convergence(histories: Mapping[tuple[str, str], Mapping[str, Any]], *, optimum: float, y_label: str = "loss of a path") -> Figure:
    """Losses along descents, a column for each problem: over steps above, over simulated events below; medians, and the range of all runs.

    Args:
        histories: {(problem, method): {"steps": [K], "events": so far [M, K], "loss": [M, K]}}.
        optimum: loss of the true model, a dashed line.

    Raises:
        ValueError: there are no histories.
    """
    if not histories:
        raise ValueError("expected {(problem, method): history} with at least one entry, received an empty mapping: was anything run?")
    problems, methods = (list(dict.fromkeys(key[i] for key in histories)) for i in (0, 1))
    size = (2.35 * len(problems) + 0.7, 5.4)
    figure, grid = plt.subplots(2, len(problems), figsize=size, sharey=True, sharex="row", squeeze=False)
    for (problem, method), history in histories.items():
        loss = np.asarray(history["loss"], float)
        (colour, marker, dash), layer = _METHODS[methods.index(method) % len(_METHODS)], 4 - 0.5 * methods.index(method)
        shifted = (0.05 + 0.1 * methods.index(method) / len(methods), 0.25)
        for axes, x in zip(grid[:, problems.index(problem)], (history["steps"], np.median(history["events"], axis=0)), strict=True):
            axes.fill_between(x, loss.min(0), loss.max(0), color=colour, alpha=0.16, lw=0, zorder=1)
            look = {"color": colour, "marker": marker, "ls": dash, "ms": 5, "markevery": shifted, "mec": "white", "mew": 0.5}
            axes.plot(x, np.median(loss, axis=0), **look, lw=1.7, zorder=layer)
    for axes in grid.flat:
        axes.axhline(optimum, color=INK, lw=1.2, ls=(0, (4, 3)), zorder=2)
        axes.set_yscale("log")
    for axes, problem in zip(grid[0], problems, strict=True):
        axes.set_title("\n".join(wrap(problem, 20)), fontsize="medium")
        axes.set_xlabel("steps")
    for axes in grid[1]:
        axes.set(xscale="log", xlabel="events simulated")
        axes.xaxis.set_minor_formatter(plt.NullFormatter())
    for axes in grid[:, 0]:
        axes.set_ylabel(y_label)
    handles = [Line2D([], [], color=c, marker=m, ls=d, lw=1.7, ms=6, mec="white", mew=0.5) for c, m, d in _METHODS[: len(methods)]]
    handles.append(Line2D([], [], color=INK, lw=1.2, ls=(0, (4, 3))))
    words = "lines: median of the runs; bands: from the best run to the worst"
    figure.legend(handles, [*methods, "true model"], loc="outside lower center", ncols=len(handles), title=words)
    return figure


@themed
def reaction_lists(
    models: Mapping[str, tuple[Sequence[str], Any]], *, truth: Sequence[str], most: int = 8, threshold: float = 1e-4, x_label: str = "rate constant"
) -> Figure:
    """Models as lists of reactions with their rates as bars on a logarithmic scale, a panel for each; reactions of the true model stand out.

    Args:
        models: {title: (reactions [R], rates [R])}, in the order in which they are to be drawn. truth: the reactions of the true model.
        most: reactions drawn of each model; how many more there are is said below them.
        threshold: rates at which bars begin.

    Raises:
        ValueError: there are no models.
    """
    if not models:
        raise ValueError("expected {title: reactions} with at least one model, received none")
    columns = min(3, len(models))
    rows = -(-len(models) // columns)
    drawn = [min(most, len(reactions)) + (len(reactions) > most) for reactions, _ in models.values()]
    lines = [max(drawn[r * columns : (r + 1) * columns]) for r in range(rows)]
    heights = [max(n, 2) + 1.4 for n in lines]
    figure, grid = plt.subplots(
        rows, columns, figsize=(3.9 * columns, 0.27 * sum(heights) + 1.1), sharex=True, height_ratios=heights, squeeze=False
    )
    largest = max([float(rate) for _, rates in models.values() for rate in rates], default=1.0)
    for axes, (title, (reactions, rates)), r in zip(grid.flat, models.items(), np.repeat(np.arange(rows), columns), strict=False):
        axes.set(xscale="log", xlim=(threshold, 8 * largest), ylim=(max(lines[r], 2) - 0.4, -0.6))
        for place, (reaction, rate) in enumerate(zip(reactions[:most], rates, strict=False)):
            look = {"color": _TRUE if reaction in truth else _FALSE, "hatch": "" if reaction in truth else "....", "ec": "white", "lw": 0}
            axes.barh(place, rate - threshold, left=threshold, height=0.66, **look)
            axes.text(rate * 1.25, place, f"{rate:.2g}", va="center", ha="left", fontsize="small")
        axes.set_yticks(range(len(reactions[:most])), [reaction.replace("->", "→") for reaction in reactions[:most]])
        for label, reaction in zip(axes.get_yticklabels(), reactions, strict=False):
            label.set_fontweight("bold" if reaction in truth else "normal")
        if len(reactions) > most:
            words = f"… and {len(reactions) - most} more"
            axes.text(0.01, most, words, transform=axes.get_yaxis_transform(), va="center", color="0.35", fontsize="small")
        axes.set_title("\n".join(wrap(title, 38)), loc="left", fontsize="medium")
        axes.tick_params(axis="y", length=0, labelsize="small")
        axes.minorticks_off()
    for axes in list(grid.flat)[len(models) :]:
        axes.set_visible(False)
    for column in range(columns):
        lowest = [axes for axes in grid[:, column] if axes.get_visible()][-1]
        lowest.set_xlabel(x_label)
        lowest.tick_params(axis="x", labelbottom=True)
    patches = Patch(color=_TRUE), Patch(fc=_FALSE, hatch="....", ec="white")
    figure.legend(patches, ["in the true model", "not in the true model"], loc="outside lower center", ncols=2)
    return figure


@themed
def parsimony(ends: Mapping[str, tuple[Any, Any]], *, truth: tuple[float, float], fits: float, y_label: str = "loss of a path") -> Figure:
    """How well each run's model fits, over how many reactions it has.

    Args:
        ends: {problem: (reactions [M], losses [M])}. truth: reactions and loss of the true model, a star. fits: losses below count as a fit.

    Raises:
        ValueError: there are no runs.
    """
    if not ends:
        raise ValueError("expected {problem: (reactions, losses)} with at least one problem, received none")
    figure, axes = plt.subplots(figsize=(6.6, 4.0))
    axes.axhspan(truth[1] / 3, fits, color=_TRUE, alpha=0.12, lw=0, zorder=0)
    axes.text(0.5, fits * 0.93, "fits", transform=axes.get_yaxis_transform(), ha="center", va="top", color=INK)
    for place, (problem, (reactions, losses)) in enumerate(ends.items()):
        colour, marker = _PROBLEMS[place % len(_PROBLEMS)]
        spread = 10 ** (0.02 * (place - (len(ends) - 1) / 2) + 0.012 * (np.arange(len(losses)) % 3 - 1))
        axes.plot(np.asarray(reactions) * spread, losses, ls="", marker=marker, color=colour, mec="white", mew=0.6, ms=7.5, label=problem, zorder=3)
    axes.plot(*truth, "*", color="black", mec="white", ms=17, label="true model", zorder=4)
    most = max(max(reactions) for reactions, _ in ends.values())
    ticks = [n for n in (1, 2, 3, 5, 10, 20, 30, 50, 90) if n <= max(2, 1.3 * most)]
    axes.set(xscale="log", yscale="log", xlabel="reactions with a rate above 0.0001", ylabel=y_label, ylim=(truth[1] / 1.6, None))
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.xaxis.minorticks_off()
    figure.legend(loc="outside right upper")
    return figure


@themed
def setting_losses(ends: Mapping[tuple[str, str, float], Any], *, x_label: str, optimum: float, y_label: str = "loss of a path") -> Figure:
    """Losses at the end of descents over a setting, a panel for each problem: every run a point, the medians joined.

    Args:
        ends: {(problem, series, value of the setting): losses [M]}, all of the same M. optimum: loss of the true model, a dashed line.

    Raises:
        ValueError: there are no runs.
    """
    if not ends:
        raise ValueError("expected {(problem, series, setting): losses} with at least one entry, received none")
    problems, names = (list(dict.fromkeys(key[i] for key in ends)) for i in (0, 1))
    every = {(p, n): sorted(x for a, b, x in ends if (a, b) == (p, n)) for p in problems for n in names}
    panels = {p: {n: (x, [ends[p, n, value] for value in x]) for n in names if (x := every[p, n])} for p in problems}
    figure, grid = plt.subplots(1, len(panels), figsize=(2.55 * len(panels) + 0.9, 3.7), sharey=True, squeeze=False)
    for axes, (title, panel) in zip(grid[0], panels.items(), strict=True):
        for name, (x, losses) in panel.items():
            (colour, marker, dash), losses = _METHODS[names.index(name) % len(_METHODS)], np.asarray(losses, float)
            shifted = np.asarray(x, float) * 1.07 ** (names.index(name) - (len(names) - 1) / 2)
            axes.plot(np.repeat(shifted, losses.shape[1]), losses.ravel(), ls="", marker=marker, color=colour, ms=4.5, alpha=0.55, mew=0)
            axes.plot(shifted, np.median(losses, axis=1), color=colour, ls=dash, lw=1.7, marker=marker, ms=7, mec="white", mew=0.7)
        axes.axhline(optimum, color=INK, lw=1.2, ls=(0, (4, 3)), zorder=1)
        ticks = sorted({float(value) for x, _ in panel.values() for value in x})
        axes.set(xscale="log", yscale="log", xlabel=x_label)
        if ticks[-1] < 30 * ticks[0]:  # else the powers of ten, since labels of their own would overlap
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.xaxis.minorticks_off()
        axes.margins(x=0.15)
        axes.set_title("\n".join(wrap(title, 24)), fontsize="medium")
    grid[0, 0].set_ylabel(y_label)
    handles = [Line2D([], [], color=c, marker=m, ls=d, lw=1.7, ms=7, mec="white", mew=0.7) for c, m, d in _METHODS[: len(names)]]
    handles.append(Line2D([], [], color=INK, lw=1.2, ls=(0, (4, 3))))
    figure.legend(handles, [*names, "true model"], loc="outside lower center", ncols=min(4, len(handles)), title="points: runs; lines: their median")
    return figure
