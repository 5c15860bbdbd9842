"""Figures on inferring parameters: where descents end, how fast, how often they succeed, what intervals hold, what was never observed.

Measurements come in mappings {(K_d, estimator): …}; a large dissociation constant K_d is weak binding, which is drawn first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from textwrap import wrap
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssagrad.plots.theme import INK, PALETTE, style, themed
from ssagrad.plots.variance import looks

_DASHED = (0, (4, 2))
_LOST = "0.3"
_BAND = "0.95"
_FEW = 20  # histories of at most so many points have a marker at each of them


def _axes_of(keys: Iterable[tuple[float, str]]) -> tuple[list[float], list[str]]:
    """Constants from weak to strong binding, and names in the order in which they first came."""
    keys = list(keys)
    if not keys:
        raise ValueError("expected {(K_d, estimator): ...} with at least one entry, received an empty mapping: was anything run?")
    return sorted({constant for constant, _ in keys}, reverse=True), list(dict.fromkeys(name for _, name in keys))


@themed
def descents(tracks: Mapping[tuple[float, str], tuple[Any, Any]], *, labels: tuple[str, str], limit: float) -> Figure:
    """Descents in a plane from open circles to their ends, a row for each K_d, a column for each estimator; the truth is a star at (0, 0).

    Args:
        tracks: {(K_d, estimator): (lines [M, K + 1, 2], whether the truth was recovered [M])}; runs that did not are dashed, and end in a cross.
        labels: of the axes (x, y). limit: axes reach from −limit to limit; starts and ends beyond are drawn on the edge.

    Raises:
        ValueError: there are no tracks, or not as many verdicts as lines.
    """
    constants, names = _axes_of(tracks)
    if wrong := [key for key, (lines, recovered) in tracks.items() if len(lines) != len(recovered)]:
        raise ValueError(f"expected one verdict for each run, received more or fewer for {wrong}")
    shape = len(constants), len(names)
    figure, grid = plt.subplots(*shape, figsize=(2.3 * shape[1] + 1.7, 2.3 * shape[0] + 1.2), sharex=True, sharey=True, squeeze=False)
    for row, constant in enumerate(constants):
        for column, name in enumerate(names):
            axes = grid[row, column]
            axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
            if row == 0:
                axes.set_title("\n".join(wrap(name, 20)), fontsize="medium")
            if column == 0:
                axes.set_ylabel(labels[1])
                axes.annotate(f"K_d = {constant:g}", (0, 0.5), (-52, 0), "axes fraction", "offset points", ha="right", va="center", fontweight="bold")
            if row == len(constants) - 1:
                axes.set_xlabel(labels[0])
            if (constant, name) in tracks:
                _runs(axes, *tracks[constant, name], style(name)[0], limit)
            else:
                axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", va="center", color="0.5")
    handles = [
        Line2D([], [], ls="", marker="o", mfc="white", mec="0.4", ms=4.5),
        Line2D([], [], ls="-", color="0.4", lw=1.2, marker="o", ms=5, mec="white"),
        Line2D([], [], color=_LOST, lw=1.2, ls=_DASHED, marker="X", ms=6, mec="white"),
        Line2D([], [], ls="", marker="*", color="black", mec="white", ms=14),
    ]
    words = "start", "recovered (in colour)", "not recovered", "truth"
    figure.legend(handles, words, loc="outside lower center", ncols=4, title="numbers: runs that recovered the truth")
    return figure


def _runs(axes: Any, lines: Any, recovered: Any, colour: Any, limit: float) -> None:
    """Draws runs [M, K + 1, 2] in one panel; the kind that is rarer lies on top."""
    lines, recovered = np.asarray(lines, float), np.asarray(recovered, bool)
    rare = recovered.mean() < 0.5
    for line, found in zip(lines, recovered, strict=True):
        layer = 3 if found == rare else 2
        look = {"color": colour, "lw": 0.8, "alpha": 0.55} if found else {"color": _LOST, "lw": 0.8, "alpha": 0.4, "ls": _DASHED}
        axes.plot(*line.T, **look, zorder=layer)
        known = line[np.isfinite(line).all(1)]
        start, end = np.clip(known[[0, -1]], -limit, limit)
        axes.plot(*start, "o", mfc="white", mec=look["color"], ms=3.6, mew=0.8, zorder=layer + 0.1, clip_on=False)
        mark = {"marker": "o", "ms": 5, "mec": "white", "mew": 0.5} if found else {"marker": "X", "ms": 5, "mec": "white", "mew": 0.5}
        axes.plot(*end, ls="", color=look["color"], **mark, zorder=layer + 2, clip_on=False)
    axes.plot(0, 0, "*", color="black", mec="white", mew=0.9, ms=13, zorder=8)
    box, words = {"boxstyle": "round,pad=0.2", "fc": "white", "ec": "none", "alpha": 0.85}, f"{recovered.sum()} of {len(recovered)}"
    axes.text(0.035, 0.965, words, transform=axes.transAxes, ha="left", va="top", fontweight="bold", bbox=box, zorder=9)


@themed
def progress(histories: Mapping[tuple[float, str], Mapping[str, Any]], *, quantities: Mapping[str, str]) -> Figure:
    """Medians and 10–90 % ranges of runs over the events simulated so far, all axes logarithmic; a column for each K_d.

    Args:
        histories: {(K_d, method): {"events": cumulative [M, K], quantity: [M, K], …}}; a run that ended (NaN) stays where it was.
        quantities: {quantity: y label}, a row for each.

    Raises:
        ValueError: there are no histories.
    """
    constants, names = _axes_of(histories)
    size = (3.4 * len(constants) + 0.8, 2.5 * len(quantities) + 1.3)
    figure, grid = plt.subplots(len(quantities), len(constants), figsize=size, sharex="col", sharey="row", squeeze=False)
    every = looks(names)
    for (constant, name), history in histories.items():
        x = np.nanmedian(_held(history["events"]), axis=0)
        look = every[name] | {"lw": 1.5, "ms": 9 if every[name]["marker"] == "*" else 5.5, "markevery": 0.13 if len(x) > _FEW else None}
        for axes, quantity in zip(grid[:, constants.index(constant)], quantities, strict=True):
            low, middle, high = np.nanquantile(_held(history[quantity]), [0.1, 0.5, 0.9], axis=0)
            axes.fill_between(x, low, high, color=look["color"], alpha=0.16, lw=0)
            axes.plot(x, middle, **look, zorder=3 if len(x) > _FEW else 4)
    for axes, constant in zip(grid[0], constants, strict=True):
        axes.set_title(f"K_d = {constant:g}", fontsize="medium", fontweight="bold")
    for axes, label in zip(grid[:, 0], quantities.values(), strict=True):
        axes.set(yscale="log", ylabel="\n".join(wrap(label, 26)))
    for axes in grid[-1]:
        axes.set(xscale="log", xlabel="events simulated")
        axes.xaxis.set_minor_formatter(plt.NullFormatter())
    handles = [Line2D([], [], **look, lw=1.5, ms=10 if look["marker"] == "*" else 6) for look in every.values()]
    figure.legend(handles, names, loc="outside lower center", ncols=min(3, len(names)), title="lines: median of the runs; bands: 10–90 % of them")
    return figure


def _held(values: Any) -> np.ndarray:
    """Values [M, K] with the last finite one in place of what is not finite after it."""
    values = np.asarray(values, float)
    last = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(values.shape[1]), 0), axis=1)
    return np.take_along_axis(values, last, axis=1)


@themed
def successes(
    shares: Mapping[str, Mapping[tuple[float, str], tuple[float, float, float]]], variances: Mapping[tuple[float, str], tuple[float, float]]
) -> Figure:
    """Shares of runs that succeed, a panel for each test, and last the variances of the gradients; from weak to strong binding.

    Args:
        shares: {test: {(K_d, estimator): (share, low, high)}}, low and high the ends of an interval.
        variances: {(K_d, estimator): (variance, its standard error)}.

    Raises:
        ValueError: there is no test, or nothing was measured.
    """
    constants, names = _axes_of([*(key for panel in shares.values() for key in panel), *variances])
    every = looks(names)
    figure, grid = plt.subplots(1, len(shares) + 1, figsize=(3.5 * (len(shares) + 1) + 0.4, 4.2), squeeze=False)
    dodge = 0.72 * ((np.arange(len(names)) + 0.5) / len(names) - 0.5)
    sizes = {name: 10 if look["marker"] == "*" else 6.5 for name, look in every.items()}
    for axes, (test, panel) in zip(grid[0], shares.items(), strict=False):
        tested = _axes_of(panel)[0]
        for place in range(0, len(tested), 2):
            axes.axvspan(place - 0.5, place + 0.5, color=_BAND, lw=0, zorder=0)
        for (constant, name), (share, low, high) in panel.items():
            x = tested.index(constant) + dodge[names.index(name)]
            axes.plot([x, x], [low, high], color=every[name]["color"], lw=1.6, zorder=2)
            axes.plot(x, share, **(every[name] | {"ls": ""}), ms=sizes[name], zorder=3, clip_on=False)
        axes.set(xticks=range(len(tested)), xticklabels=[f"{constant:g}" for constant in tested], xlim=(-0.5, len(tested) - 0.5))
        axes.set(ylim=(-0.02, 1.02), yticks=np.linspace(0, 1, 5), yticklabels=[f"{share} %" for share in range(0, 101, 25)])
        axes.tick_params(axis="x", length=0)
        axes.set_title(test, fontsize="medium")
    last = grid[0, -1]
    for name in names:
        x = [constant for constant in constants if (constant, name) in variances]
        if x:
            value, error = np.transpose([variances[constant, name] for constant in x])
            last.errorbar(x, value, yerr=2 * error, **every[name], ms=sizes[name], lw=1.4, elinewidth=1.4)
    last.set(xscale="log", yscale="log", xticks=constants, xticklabels=[f"{constant:g}" for constant in constants], ylabel="variance of one sample")
    last.minorticks_off()
    last.margins(x=0.1)
    last.invert_xaxis()
    last.set_title("variance of the gradient", fontsize="medium")
    grid[0, 0].set_ylabel("share of runs")
    for axes in grid[0]:
        axes.set_xlabel("K_d   (stronger binding →)")
    handles = [Line2D([], [], **look, lw=1.4, ms=sizes[name]) for name, look in every.items()]
    figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(names)))
    return figure


@themed
def interval_rows(estimates: Mapping[str, tuple[Any, Any]], *, truth_label: str) -> Figure:
    """Intervals of 95 % of each run, from the lowest estimate up, a panel for each parameter; those that miss the truth stand out.

    Args:
        estimates: {parameter: (ln estimate / truth [M], its standard error [M])}; a fit that failed (NaN) is counted as a miss.
        truth_label: what the line at 0 is, for the legend.

    Raises:
        ValueError: there are no estimates.
    """
    if not estimates:
        raise ValueError("expected estimates of at least one parameter, received none")
    figure, grid = plt.subplots(1, len(estimates), figsize=(2.9 * len(estimates) + 0.5, 4.9), squeeze=False)
    missed = {"color": PALETTE[3], "marker": "X", "lw": 2.2, "ms": 6.5, "mec": "white", "mew": 0.5}
    held = {"color": PALETTE[0], "marker": "o", "lw": 1.2, "ms": 3.6}
    for axes, (parameter, columns) in zip(grid[0], estimates.items(), strict=True):
        values, errors = (np.asarray(column, float) for column in columns)
        holds = np.abs(values) <= 1.96 * errors
        axes.axvline(0, color=INK, lw=1.4, zorder=1)
        for row, run in enumerate(np.argsort(values)):
            look = held if holds[run] else missed
            middle, half = values[run], 1.96 * errors[run]
            axes.plot([middle - half, middle, middle + half], [row] * 3, **look, markevery=[1], zorder=2 if holds[run] else 3)
        axes.set_title(f"{parameter}: {holds.sum()} of {len(values)} intervals\nhold the truth", fontsize="medium")
        axes.set(yticks=[], ylim=(-1, len(values)))
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("ln (estimate / truth)")
        axes.locator_params(axis="x", nbins=5)
    grid[0, 0].set_ylabel("runs, sorted by estimate")
    figure.get_layout_engine().set(wspace=0.06)
    handles = [Line2D([], [], color=INK, lw=1.4), Line2D([], [], **held), Line2D([], [], **missed)]
    figure.legend(handles, [truth_label, "95 % interval", "misses the truth"], loc="outside lower center", ncols=3)
    return figure


@themed
def sparse_fit(
    times: Any, observed: Mapping, truth: tuple[Any, Mapping[str, Any]], smoothed: Mapping, *, species: Iterable[str], x_label: str = "time"
) -> Figure:
    """What was observed, what was inferred from it, and what happened, a panel for each species.

    Args:
        times: of observation [T]. observed: {species: counts [T]}; NaN or absent where there is none.
        truth: (times [F], {species: counts [F]}). smoothed: {species: draws [m, T]}. species: those that are drawn, from the top.

    Raises:
        ValueError: there are no species to draw.
    """
    if not (species := list(species)):
        raise ValueError("expected at least one species, received none")
    figure, grid = plt.subplots(len(species), 1, figsize=(7.6, 1.75 * len(species) + 1.1), sharex=True, squeeze=False)
    point = {"ls": "", "marker": "o", "color": PALETTE[1], "mec": INK, "mew": 0.7, "ms": 6}
    for axes, name in zip(grid[:, 0], species, strict=True):
        counts = np.asarray(observed.get(name, np.full(np.shape(times), np.nan)), float)
        draws = np.asarray(smoothed[name], float)
        axes.plot(times, draws.T, color=PALETTE[0], lw=0.9, alpha=min(0.5, 8 / len(draws)), zorder=1)
        axes.plot(truth[0], truth[1][name], color="black", lw=0.9, drawstyle="steps-post", zorder=2)
        if np.isfinite(counts).any():
            axes.plot(times, counts, **point, zorder=3, clip_on=False)
        axes.set_title(f"{name}: {'observed' if np.isfinite(counts).any() else 'never observed'}", loc="left", fontsize="medium")
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
    grid[-1, 0].set_xlabel(x_label)
    figure.supylabel("molecules", fontsize="medium")
    handles = [Line2D([], [], color="black", lw=0.9), Line2D([], [], **point), Line2D([], [], color=PALETTE[0], lw=2.5, alpha=0.5)]
    figure.legend(handles, ["truth", "observed", "inferred (draws)"], loc="outside lower center", ncols=3)
    return figure


@themed
def signs(gradients: Mapping[str, Mapping[str, tuple[float, float]]], *, largest: float = 4.0, x_label: str = "derivative of the loss") -> Figure:
    """Gradients with 2 standard errors, a panel for each parameter, a row for each estimator; the half-plane of the true sign is shaded.

    Args:
        gradients: {parameter: {estimator: (value, its standard error)}}; the first estimator has the true sign.
        largest: values beyond ± this, in multiples of the first estimator's with its errors, are drawn as triangles at the edge, with their number.

    Raises:
        ValueError: there are no gradients, or the first one is 0.
    """
    names = list(dict.fromkeys(name for panel in gradients.values() for name in panel))
    if not names or any(next(iter(panel.values()))[0] == 0 for panel in gradients.values()):
        raise ValueError(f"expected gradients, the first of each parameter not 0, received {dict(gradients)}")
    figure, grid = plt.subplots(1, len(gradients), figsize=(2.0 + 2.5 * len(gradients), 0.54 * len(names) + 1.6), sharey=True, squeeze=False)
    for axes, (parameter, panel) in zip(grid[0], gradients.items(), strict=True):
        true, uncertainty = next(iter(panel.values()))
        edge = min(largest * (abs(true) + 2 * uncertainty), 1.2 * max(abs(value) + 2 * error for value, error in panel.values()))
        axes.axvspan(0, np.sign(true) * 1.1 * edge, color=PALETTE[2], alpha=0.16, lw=0, zorder=0)
        axes.axvline(0, color=INK, lw=2.2, zorder=1)
        for name, (value, error) in panel.items():
            _signed(axes, names.index(name), name, value, error, edge, wrong=value * true < 0)
        axes.set_title(parameter, fontsize="medium")
        axes.set(xlim=(-1.1 * edge, 1.1 * edge), ylim=(len(names) - 0.4, -0.7), xlabel="\n".join(wrap(x_label, 30)))
        axes.set_yticks(range(len(names)), ["\n".join(wrap(name, 22)) for name in names])
        axes.locator_params(axis="x", nbins=4)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    figure.get_layout_engine().set(wspace=0.08)
    handles = [plt.Rectangle((0, 0), 1, 1, color=PALETTE[2], alpha=0.16, lw=0), Line2D([], [], color=INK, lw=1.4)]
    figure.legend(handles, ["true sign", "2 standard errors"], loc="outside lower center", ncols=2)
    return figure


def _signed(axes: Any, row: int, name: str, value: float, error: float, edge: float, *, wrong: bool) -> None:
    """One gradient in its row, hollow where its sign is wrong, with words where that or nothing is certain at 2 standard errors."""
    (colour, marker), inside, certain = style(name), abs(value) <= edge, abs(value) > 2 * error
    low, high = np.clip([value - 2 * error, value + 2 * error], -1.1 * edge, 1.1 * edge)
    axes.plot([low, high], [row, row], color=colour, lw=1.8, zorder=2)
    place, shape = (value, marker) if inside else (np.sign(value) * 1.04 * edge, "<>"[int(value > 0)])
    axes.plot(place, row, shape, color=colour, mfc="white" if wrong else colour, mew=1.6, ms=12 if shape == "*" else 8, zorder=3, clip_on=False)
    side = "right" if value < 0 else "left"
    if wrong or not certain:
        look = {"color": INK, "fontweight": "bold"} if certain else {"color": "0.35"}
        axes.text(0, row - 0.4, "  wrong sign  " if certain else "  undecided  ", ha=side, va="center", fontsize="small", **look)
    if not inside:
        axes.text(np.sign(value) * 1.1 * edge, row + 0.32, f"{value:.3g}", ha="left" if value < 0 else "right", va="center", fontsize="small")
