"""Figures of structures that were found: certain or not, with which rates, how often, and where it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from ssagrad.plots.theme import INK, PALETTE, Figure, plt, themed

# colour, marker and dash of each method; hollow and dashed are the regressions
METHODS = {
    "discover": (PALETTE[3], "*", "-"),
    "sequential thresholds": (PALETTE[0], "o", "--"),
    "non-negative least squares": (PALETTE[2], "s", ":"),
    "best pair": (PALETTE[7], "D", "-."),
}
_SPREAD = 0.28  # of points of one group, in units of the distance of groups


@themed
def certainties(
    gaps: Mapping[str, Sequence[float]], ratios: Mapping[str, Mapping[str, Sequence[float]]], *, decided: float, tolerance: float
) -> Figure:
    """Left: how far the true model leads the best wrong one in each experiment, a row for each condition. Right: rates over the true ones, a panel each.

    Args:
        gaps: {condition: score of the best wrong model less that of the true one, of each experiment}.
        ratios: {rate: {condition: found / true, of each experiment}}. decided: gap from which a model is out. tolerance: of a rate, as a share.

    Raises:
        ValueError: there is no condition.
    """
    if not gaps:
        raise ValueError("expected {condition: gaps} with at least one condition, received an empty mapping: was anything run?")
    names = list(gaps)
    panels = 1 + len(ratios)
    figure, grid = plt.subplots(1, panels, figsize=(3.0 + 2.9 * panels, 0.62 * len(names) + 1.7), sharey=True, squeeze=False)
    widths = [np.linspace(-_SPREAD, _SPREAD, max(len(values), 2)) for values in gaps.values()]
    first = grid[0, 0]
    largest = max(max(np.nan_to_num(list(values)), default=1) for values in gaps.values())
    first.axvspan(decided, 1.15 * max(largest, decided), color=PALETTE[2], alpha=0.14, lw=0, zorder=0)
    first.axvline(0, color=INK, lw=1.2, zorder=1)
    for row, (values, places) in enumerate(zip(gaps.values(), widths, strict=True)):
        first.plot(values, row + places[: len(values)], "o", color=PALETTE[3], ms=6, mec="white", mew=0.6, zorder=3)
    first.set(xlabel="lead of the true model\n(score of the best wrong one − its own)", ylim=(len(names) - 0.5, -0.5))
    first.set_yticks(range(len(names)), ["\n".join(wrap(name, 24)) for name in names])
    for axes, (rate, groups) in zip(grid[0, 1:], ratios.items(), strict=True):
        axes.axvspan(1 - tolerance, 1 + tolerance, color=PALETTE[2], alpha=0.14, lw=0, zorder=0)
        axes.axvline(1, color=INK, lw=1.2, zorder=1)
        for row, (name, places) in enumerate(zip(names, widths, strict=True)):
            values = np.asarray(groups[name], float)
            axes.plot(values, row + places[: len(values)], "o", color=PALETTE[0], ms=6, mec="white", mew=0.6, zorder=3)
        axes.set(xlabel=f"rate of  {rate}\n(found / true)")
        low, high = axes.get_xlim()
        reach = max(1.4 * tolerance, 1 - low, high - 1)
        axes.set_xlim(1 - reach, 1 + reach)
    for axes in grid[0]:
        axes.tick_params(axis="y", length=0)
    words = ["an experiment", f"wrong models are out (left), rates within {100 * tolerance:g} % (right)"]
    handles = [Line2D([], [], ls="", marker="o", color="0.4", ms=6), plt.Rectangle((0, 0), 1, 1, color=PALETTE[2], alpha=0.14, lw=0)]
    figure.legend(handles, words, loc="outside lower center", ncols=2)
    return figure


@themed
def recovery_shares(shares: Mapping[str, Mapping[str, tuple[float, float, float]]]) -> Figure:
    """Shares of experiments whose structure was found exactly: a row for each network, a mark for each method.

    Args:
        shares: {network: {method: (share, low, high)}}, low and high the ends of an interval.
    """
    names = list(shares)
    methods = [method for method in METHODS if any(method in row for row in shares.values())]
    figure, axes = plt.subplots(figsize=(8.4, 0.62 * len(names) + 1.5))
    dodge = np.linspace(-0.3, 0.3, len(methods)) if len(methods) > 1 else [0.0]
    for row, name in enumerate(names):
        if row % 2 == 0:
            axes.axhspan(row - 0.5, row + 0.5, color="0.95", lw=0, zorder=0)
        for method, shift in zip(methods, dodge, strict=True):
            if method in shares[name]:
                share, low, high = shares[name][method]
                colour, marker, _ = METHODS[method]
                axes.plot([low, high], [row + shift] * 2, color=colour, lw=1.6, zorder=2)
                axes.plot(share, row + shift, marker, color=colour, ms=11 if marker == "*" else 6, zorder=3, clip_on=False)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(names) - 0.5, -0.5), xlabel="experiments whose reactions were found exactly")
    axes.set_xticks(np.linspace(0, 1, 5), [f"{share} %" for share in range(0, 101, 25)])
    axes.set_yticks(range(len(names)), ["\n".join(wrap(name, 34)) for name in names])
    axes.tick_params(axis="y", length=0)
    _legend(figure, methods)
    return figure


@themed
def breaking_points(shares: Mapping[str, Mapping[str, Mapping[float, tuple[float, float, float]]]], *, log: Sequence[str] = ()) -> Figure:
    """Shares of exact structures as the data get worse, a panel for each way.

    Args:
        shares: {what gets worse, as the axis' label: {method: {its value: (share, low, high)}}}. log: labels of axes with a logarithmic scale.
    """
    methods = [method for method in METHODS if any(method in panel for panel in shares.values())]
    figure, grid = plt.subplots(1, len(shares), figsize=(3.6 * len(shares) + 0.4, 3.7), sharey=True, squeeze=False)
    for axes, (label, panel) in zip(grid[0], shares.items(), strict=True):
        for method, values in panel.items():
            colour, marker, dash = METHODS[method]
            x = sorted(values)
            share, low, high = np.transpose([values[value] for value in x])
            place: Any = x if label in log else range(len(x))
            axes.fill_between(place, low, high, color=colour, alpha=0.14, lw=0)
            axes.plot(place, share, color=colour, marker=marker, ls=dash, ms=11 if marker == "*" else 6, mec="white", mew=0.6, clip_on=False)
        if label in log:
            axes.set_xscale("log")
        axes.set_xticks(place, [f"{value:g}" for value in x])
        axes.minorticks_off()
        axes.set(xlabel=label, ylim=(-0.02, 1.02))
        axes.set_yticks(np.linspace(0, 1, 5), [f"{share} %" for share in range(0, 101, 25)])
    grid[0, 0].set_ylabel("found exactly")
    _legend(figure, methods)
    return figure


def _legend(figure: Figure, methods: Sequence[str]) -> None:
    looks = [METHODS[method] for method in methods]
    handles = [Line2D([], [], color=c, marker=m, ls=d, lw=1.6, ms=10 if m == "*" else 6) for c, m, d in looks]
    figure.legend(handles, methods, loc="outside lower center", ncols=len(methods), title="mark: share of the experiments; line or band: 95 % interval")
