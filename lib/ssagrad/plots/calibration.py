"""A fit to one's own data: model beside data, the way to the estimates, estimates with intervals, and what is left over."""

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

_MODEL, _DATA, _OPEN = PALETTE[0], INK, PALETTE[1]
_MOST_PANELS = 12


@themed
def model_and_data(panels: Mapping[tuple[str, str], Mapping[str, Any]], *, x_label: str = "time", y_label: str = "count") -> Figure:
    """Means of the data with error bars on means and 90 % bands of the model, a row for each condition, a column for each species.

    A hollow point is a count without an interval: of one replicate alone.

    Args:
        panels: {(condition, species): {"curve": (times, means, low, high), "data": (times, means, half widths of intervals),
            "range": (low, high) of the data}}.
    """
    rows, columns = (list(dict.fromkeys(keys)) for keys in zip(*list(panels)[:_MOST_PANELS], strict=True))
    figure, grid = plt.subplots(
        len(rows), len(columns), figsize=(1.6 + 3.6 * len(columns), 0.9 + 2.6 * len(rows)), sharex=True, sharey="col", squeeze=False
    )
    for (condition, species), parts in list(panels.items())[:_MOST_PANELS]:
        axes = grid[rows.index(condition), columns.index(species)]
        times, means, low, high = parts["curve"]
        axes.fill_between(times, low, high, color=_MODEL, alpha=0.18, lw=0)
        axes.plot(times, means, color=_MODEL, lw=1.8)
        when, centre, error = parts["data"]
        axes.vlines(when, *parts["range"], color=_DATA, lw=1, alpha=0.45)
        axes.errorbar(when, centre, error, color=_DATA, fmt="none", capsize=3, lw=1.6, zorder=5)
        for chosen, face in ((np.isfinite(error), _DATA), (np.isnan(error), "white")):
            axes.plot(np.where(chosen, when, np.nan), centre, "o", ms=4.5, color=_DATA, mfc=face, clip_on=False, zorder=6)
        if condition == rows[0]:
            axes.set_title(species, fontsize="medium")
        if species == columns[0]:
            axes.set_ylabel("\n".join([*wrap(condition, 24), y_label]) if condition else y_label)
    for axes in grid[0]:
        axes.set_ylim(bottom=0)
    for axes in grid[-1]:
        axes.set_xlabel(x_label)
    handles = [Line2D([], [], color=_MODEL), Patch(color=_MODEL, alpha=0.18), Line2D([], [], color=_DATA, marker="o", ls="", ms=5)]
    words = ["model, mean", "model, 90 % of paths", "data, mean and 95 % interval"]
    if any(np.isfinite(parts["range"]).any() for parts in panels.values()):
        handles.append(Line2D([], [], color=_DATA, lw=1, alpha=0.45))
        words.append("data, 90 % of replicates")
    if any((np.isfinite(parts["data"][1]) & np.isnan(parts["data"][2])).any() for parts in panels.values()):
        handles.append(Line2D([], [], color=_DATA, mfc="white", marker="o", ls="", ms=5))
        words.append("data, one count")
    figure.legend(handles, words, loc="outside lower center", ncols=2 if len(columns) < 3 else 4)
    return figure


@themed
def fit_progress(cost: Any, loss: Any, *, x_label: str, y_label: str, best: int, reference: float | None = None) -> Figure:
    """Loss of each start against what it had cost, the one that was followed in front.

    Args:
        cost, loss: [M, K]. best: its row. reference: a level to compare with.
    """
    cost, loss = np.asarray(cost, float), np.asarray(loss, float)
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    for row in range(len(loss)):
        front = row == best
        look = {"color": _MODEL if front else "0.62", "lw": 2.2 if front else 1.3, "ms": 5 if front else 3.5, "zorder": 4 if front else 2}
        axes.plot(cost[row], loss[row], marker="o" if loss.shape[1] < 30 else "", mec="white", mew=0.5, **look)
    finite = loss[np.isfinite(loss)]
    if finite.size and (finite > 0).all():
        axes.set_yscale("log")
    if reference is not None:
        axes.axhline(reference, color=INK, lw=1.1, ls=(0, (4, 3)), zorder=1)
    if cost.max() > 1e4:
        axes.ticklabel_format(axis="x", scilimits=(0, 4), useMathText=True)
    axes.set(xlabel=x_label, ylabel="\n".join(wrap(y_label, 32)), xlim=(0, None))
    handles = [Line2D([], [], color=_MODEL, marker="o", lw=2.2), Line2D([], [], color="0.62", marker="o", lw=1.3, ms=4)]
    words = ["start that was followed", "other starts"]
    number = 1 + (len(loss) > 1)
    axes.legend(handles[:number], words[:number])
    return figure


@themed
def estimates_with_intervals(
    intervals: Mapping[str, tuple[float, float, float]],
    *,
    guesses: Mapping[str, float],
    ends: Mapping[str, Any],
    truth: Mapping[str, float] | None = None,
) -> Figure:
    """Estimates as points with intervals, over the first guess, on one logarithmic axis; values beside them.

    Args:
        intervals: {parameter: (estimate, low, high)}; infinite where the data leave it open. guesses: first ones. ends: where each start came to [M].
        truth: known values, if any.
    """
    figure, axes = plt.subplots(figsize=(7.6, 0.9 + 0.62 * max(2, len(intervals))))
    names = list(intervals)
    shown = [np.asarray(ends[name], float) / guesses[name] for name in names]
    centres = [intervals[name][0] / guesses[name] for name in names]
    reach = np.concatenate([*shown, centres, [edge / guesses[n] for n in names for edge in intervals[n][1:] if 0 < edge < np.inf], [1.0]])
    low_end, high_end = 0.8 * np.nanmin(reach), 1.25 * np.nanmax(reach)
    for place, name in enumerate(names):
        estimate, low, high = (value / guesses[name] for value in intervals[name])
        is_open = not (low > 0 and high < np.inf)
        colour = _OPEN if is_open else _MODEL
        axes.hlines(place, max(low, low_end), min(high, high_end), color=colour, lw=2.4, ls=(0, (1, 1.2)) if is_open else "-", zorder=3)
        axes.plot(shown[place], np.full(len(shown[place]), place + 0.27), "|", color="0.45", ms=8, mew=1.2)
        axes.plot(estimate, place, "o", color=colour, ms=8, mec="white", zorder=4)
        if truth and name in truth:
            axes.plot(truth[name] / guesses[name], place - 0.27, marker="*", color=INK, ms=10, mec="white", mew=0.5, ls="", zorder=5)
        words = f"{intervals[name][0]:.3g}" + ("  left open" if is_open else f"  ({intervals[name][1]:.3g} to {intervals[name][2]:.3g})")
        axes.text(1.02, place, words, transform=axes.get_yaxis_transform(), va="center", fontsize="small", color=colour if is_open else INK)
    axes.axvline(1, color="0.6", lw=1, ls=(0, (4, 3)), zorder=1)
    axes.set(xscale="log", xlim=(low_end, high_end), ylim=(len(names) - 0.4, -0.6), xlabel="parameter / first guess")
    _plain_ticks(axes)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    handles = [Line2D([], [], color=_MODEL, marker="o", lw=2.4, ms=7, mec="white"), Line2D([], [], color="0.45", marker="|", ls="", ms=8)]
    words = ["estimate, 95 % interval", "ends of all starts"]
    if truth:
        handles.append(Line2D([], [], color=INK, marker="*", ls="", ms=11, mec="white"))
        words.append("truth")
    figure.legend(handles, words, loc="outside lower center", ncols=3)
    return figure


@themed
def fit_diagnostics(
    residuals: Mapping[tuple[str, str], tuple[Any, Any]],
    directions: Sequence[tuple[Any, float, bool]],
    names: Sequence[str],
    *,
    limit: float,
    x_label: str = "time",
) -> Figure:
    """Left: what is left over of each moment, in standard errors. Right: how well combinations of parameters are known, and what they are made of.

    Args:
        residuals: {(condition, moment): (times, z)}; may be empty. directions: (exponents [P], standard error of the logarithm, whether determined).
        limit: standard error from which on a combination counts as not determined.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10.4, 3.8), width_ratios=(1, 1))
    left.axhspan(-2, 2, color="0.92", lw=0, zorder=0)
    left.axhline(0, color=INK, lw=1, zorder=1)
    conditions, moments = (list(dict.fromkeys(keys)) for keys in zip(*residuals, strict=True)) if residuals else ([], [])
    marks, shift = "os^vDPX*<>hp", 0.006 * max([float(np.max(times)) for times, _ in residuals.values()], default=1.0)
    for (condition, moment), (times, z) in residuals.items():
        place, mark = conditions.index(condition), moments.index(moment)
        moved = np.asarray(times) + shift * (place - (len(conditions) - 1) / 2)
        left.plot(moved, z, marks[mark % len(marks)], ls="", color=PALETTE[place % len(PALETTE)], ms=5.5, mec="white", mew=0.5)
    largest = max([3.0, *(1.15 * float(np.max(np.abs(z))) for _, z in residuals.values())])
    left.set(xlabel=x_label, ylabel="(model − data) / standard error", ylim=(-largest, largest))
    if residuals:
        handles = [Line2D([], [], color=PALETTE[i % len(PALETTE)], lw=4) for i in range(len(conditions) * (len(conditions) > 1))]
        handles += [Line2D([], [], color="0.35", marker=marks[i % len(marks)], ls="", ms=6) for i in range(len(moments))]
        words = [*(conditions if len(conditions) > 1 else []), *moments]
        left.legend(handles, words, fontsize="small", ncols=min(4, len(words)), loc="upper center", bbox_to_anchor=(0.5, -0.2))
    else:
        left.text(0.5, 0.6, "single paths: no moments", transform=left.transAxes, ha="center", color="0.4")
    finite = [error for _, error, _ in directions if np.isfinite(error)]
    ceiling = 3 * max([limit, *(min(error, 30 * limit) for error in finite)])
    floor = min([0.3 * limit, *finite]) / 3
    for place, (exponents, error, determined) in enumerate(directions):
        shown = min(error, ceiling)
        look = {"color": _MODEL if determined else _OPEN, "hatch": "" if determined else "////", "ec": "white", "lw": 0}
        right.barh(place, shown - floor, left=floor, height=0.5, **look)
        right.text(floor * 1.08, place - 0.42, _combination(names, exponents), va="center", fontsize="small")
    right.axvline(limit, color=INK, lw=1.1, ls=(0, (4, 3)))
    right.set(xscale="log", xlim=(floor, ceiling), ylim=(len(directions) - 0.5, -0.8), yticks=[], xlabel="relative standard error of the combination")
    _plain_ticks(right)
    patches = Patch(color=_MODEL), Patch(fc=_OPEN, hatch="////", ec="white")
    right.legend(patches, ["determined", "left open by the data"], ncols=2, fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return figure


def _combination(names: Sequence[str], exponents: Any) -> str:
    shares = np.asarray(exponents, float) / np.max(np.abs(exponents))
    chosen = sorted((p for p in range(len(names)) if abs(shares[p]) >= 0.15), key=lambda p: -abs(shares[p]))
    return " · ".join(names[p] if abs(shares[p] - 1) < 0.05 else f"{names[p]}$^{{{shares[p]:.1f}}}$" for p in chosen)


def _plain_ticks(axes: Any) -> None:
    """Numbers such as 0.5 instead of powers on a logarithmic axis of few decades."""
    axes.xaxis.set_major_formatter(plt.FuncFormatter(lambda x, _: f"{x:g}"))
    low, high = axes.get_xlim()
    few = np.log10(high / low) < 2
    axes.xaxis.set_minor_formatter(plt.FuncFormatter(lambda x, _: f"{x:g}" if few and f"{x:e}"[0] in "25" else ""))
