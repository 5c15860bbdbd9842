"""Figures on the bias and the variance of gradient estimators: over a parameter, over the length of a path, over the temperature.

Measurements come in mappings: {(clock, estimator, K): values [T]} for "events" and "time" as clock and an affinity K; what is known of the
Gumbel-Softmax tangent as {(temperature, K): …}.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ssagrad.plots.theme import INK, PALETTE, style, themed

_DASHES = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))


def looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """How to draw each estimator: its own colour and marker; a second setting of it is hollow and dashed, a third pale and dotted."""
    found, seen = {}, {}
    for name in names:
        colour, marker = style(name)
        number = seen[marker] = seen.get(marker, -1) + 1
        pale = tuple(1 - 0.4 * (1 - np.asarray(colour)))
        fill = (colour, "white", pale)[min(number, 2)]
        found[name] = {"color": colour, "marker": marker, "ls": _DASHES[min(number, 3)], "mfc": fill, "mec": colour}
    return found


@themed
def gradient_curves(mean: Mapping, error: Mapping, truth: Mapping, *, after: int, at: float, estimators: Sequence[str]) -> Figure:
    """Gradients over the affinity at the last time, a column for each clock: above with the exact one, below divided by it.

    Args:
        mean, error: {(clock, estimator, K): mean and standard error [T]}. truth: {(clock, K): exact gradient [T]}.
        after, at: the last number of events, and the last time. estimators: those that are drawn, where they were measured.
    """
    clocks = {"events": f"after {after} events", "time": f"at time {at:g}"}
    figure, grid = plt.subplots(2, len(clocks), figsize=(4.7 * len(clocks), 5.6), sharex=True, sharey="row", height_ratios=(3, 2), squeeze=False)
    every = looks(estimators)
    for column, (clock, title) in enumerate(clocks.items()):
        top, bottom = grid[:, column]
        x = sorted(K for c, K in truth if c == clock)
        top.plot(x, [truth[clock, K][-1] for K in x], color=INK, lw=2.4, alpha=0.8, zorder=1)
        bottom.axhline(1, color=INK, lw=2.4, alpha=0.8, zorder=1)
        for place, name in enumerate(estimators):
            affinities = np.array([K for c, n, K in mean if (c, n) == (clock, name)])
            value, bar = (np.array([values[clock, name, K][-1] for K in affinities]) for values in (mean, error))
            exact = np.array([truth[clock, K][-1] for K in affinities])
            look = every[name] | {"ls": "", "ms": 5.5, "capsize": 2, "lw": 1.2, "zorder": 3}
            shifted = affinities * 10 ** (0.05 * (place - (len(estimators) - 1) / 2))
            top.errorbar(shifted, value, yerr=2 * bar, **look)
            bottom.errorbar(shifted, value / exact, yerr=2 * bar / exact, **look)
        top.set_title(f"{'abcd'[column]}   {title}", loc="left", fontsize="medium")
        bottom.set(xscale="log", yscale="log", xlabel="affinity K", ylim=(0.4, 7), yticks=(0.5, 1, 2, 5), yticklabels=("0.5", "1", "2", "5"))
        bottom.minorticks_off()
    largest = max(values[-1] for values in truth.values())
    grid[0, 0].set(ylabel="d⟨complexes⟩ / d ln k_on", ylim=(-0.1 * largest, 1.35 * largest))
    grid[1, 0].set_ylabel("estimated / exact")
    handles = [Line2D([], [], color=INK, lw=2.4, alpha=0.8)]
    handles += [Line2D([], [], **(look | {"ls": "", "ms": 6})) for look in every.values()]
    figure.legend(handles, ["exact", *every], loc="outside lower center", ncols=3, title="bars: 2 standard errors")
    return figure


@themed
def variance_curves(lengths: Any, variance: Mapping, *, affinities: Sequence[float], estimators: Sequence[str], guide: float = 0.03) -> Figure:
    """Variances over the even lengths of a path on logarithmic axes, with 2 standard errors, and a guide of slope 1; a panel for each affinity.

    Args:
        lengths: [T]. variance: {("events", estimator, K): (variance [T], its standard error [T])}. guide: its height, per length.
    """
    figure, grid = plt.subplots(1, len(affinities), figsize=(3.5 * len(affinities), 4.3), sharex=True, sharey=True, squeeze=False)
    every, even = looks(estimators), np.array(lengths) % 2 == 0
    for column, (axes, affinity) in enumerate(zip(grid[0], affinities, strict=True)):
        for name in estimators:
            x, value, error = (np.asarray(column)[even] for column in (lengths, *variance["events", name, affinity]))
            axes.fill_between(x, np.maximum(value - 2 * error, 1e-9), value + 2 * error, color=every[name]["color"], alpha=0.25, lw=0)
            axes.plot(x, value, **every[name], ms=4.5, lw=1.3, markevery=2)
        axes.plot([lengths[0], lengths[-1]], [guide * lengths[0], guide * lengths[-1]], color="0.55", lw=1, ls=(0, (2, 2)))
        axes.set(xscale="log", yscale="log", xlabel="length (events)")
        axes.set_title(f"{'abcd'[column]}   K = {affinity:g}", loc="left", fontsize="medium")
    grid[0, 0].set_ylabel("variance of one gradient sample")
    handles = [Line2D([], [], **look, ms=6, lw=1.3) for look in every.values()]
    handles.append(Line2D([], [], color="0.55", lw=1, ls=(0, (2, 2))))
    figure.legend(handles, [*every, "proportional to length"], loc="outside lower center", ncols=3, title="bands: 2 standard errors")
    return figure


@themed
def explosions(
    lengths: Any, variance: Mapping, known: Mapping, *, settings: Mapping[float, str], affinities: Sequence[float], longest: int, largest: float = 1e20
) -> Figure:
    """Variances that may grow exponentially, on a semi-logarithmic axis: exact (lines) and measured (markers), beside the score function's.

    Args:
        lengths: [T]. variance: {("events", estimator, K): (variance [T], …)}. settings: {temperature: estimator}.
        known: {(temperature, K): exact variance after 0, 1, … events}; markers are open where the measured one is below 3/4 of it.
        longest, largest: ends of the axes.
    """
    figure, grid = plt.subplots(1, len(affinities), figsize=(4.9 * len(affinities), 4.6), sharey=True, squeeze=False)
    (colour, marker), (other, _) = style("Gumbel-Softmax"), style("score function")
    x = np.array([length for length in lengths if length <= longest])
    low = min(known[t, K][x].min() for t in settings for K in affinities)
    grid[0, 0].set(yscale="log", ylim=(low / 10, largest), ylabel="variance of one gradient sample")
    for column, (axes, affinity) in enumerate(zip(grid[0], affinities, strict=True)):
        for (temperature, name), shade in zip(settings.items(), _shades(colour, len(settings)), strict=True):
            measured = variance["events", name, affinity][0][: len(x)]
            axes.plot(x, known[temperature, affinity][x], color=shade, lw=1.6, zorder=1)
            axes.plot(x, measured, color=shade, lw=0.8, ls=_DASHES[2], zorder=1)
            resolved = measured > 0.75 * known[temperature, affinity][x]
            for chosen, fill in ((resolved, shade), (~resolved, "white")):
                axes.plot(x[chosen], measured[chosen], ls="", marker=marker, mec=shade, mfc=fill, ms=4.5)
        axes.plot(x, variance["events", "score function", affinity][0][: len(x)], color=other, lw=1.6, ls=_DASHES[1], zorder=0)
        axes.set(xlabel="length (events)")
        axes.set_title(f"{'abcd'[column]}   K = {affinity:g}", loc="left", fontsize="medium")
        _label_ends(axes, {f"τ = {t:g}": known[t, affinity][longest] for t in settings})
    handles = [Line2D([], [], color=colour, lw=1.6)]
    handles += [Line2D([], [], lw=0.8, ls=_DASHES[2], color=colour, marker=marker, mec=colour, mfc=fill, ms=5.5) for fill in (colour, "white")]
    handles.append(Line2D([], [], color=other, lw=1.6, ls=_DASHES[1]))
    labels = ["Gumbel-Softmax, exact", "measured", "measured, missing spikes", "score function"]
    figure.legend(handles, labels, loc="outside lower center", ncols=4, columnspacing=1.2, handletextpad=0.5)
    return figure


def _shades(colour: Any, number: int) -> list[Any]:
    """Shades of a colour from light to dark."""
    return [tuple(1 - f * (1 - np.asarray(colour))) if f <= 1 else tuple((2 - f) * np.asarray(colour)) for f in np.linspace(0.55, 1.6, number)]


def _label_ends(axes: Any, values: Mapping[str, float], gap: float = 0.06) -> None:
    """Writes each label to the right of the axes at the height of its value (logarithmic), apart from its neighbours."""
    low, high = np.log(axes.get_ylim())
    heights = {label: min((np.log(value) - low) / (high - low), 1.0) for label, value in sorted(values.items(), key=lambda item: item[1])}
    placed, ceiling = {}, -np.inf
    for label, height in heights.items():
        placed[label] = ceiling = max(height, ceiling + gap)
    for label, height in placed.items():
        axes.text(1.02, height, label, transform=axes.transAxes, va="center", fontsize="small")


@themed
def regimes(temperatures: Any, exponents: Mapping, pilots: Mapping, critical: tuple[Any, Any, Any], *, affinities: Sequence[float]) -> Figure:
    """Growth of the squared tangent per event over temperature (left); critical temperatures, and the regimes between them, over affinity (right).

    Args:
        temperatures: [G]. exponents: {(temperature, K): (typical λ, mean square Λ₂)}. pilots: {(temperature, K): (growth measured, its standard error)}.
        critical: (K [H], temperature where Λ₂ = 0 [H], temperature where λ = 0 [H], or NaN).
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4))
    shades = _shades(style("Gumbel-Softmax")[0], len(affinities))
    left.axhline(0, color="0.5", lw=1, zorder=0)
    for index, K in enumerate(affinities):
        look, known = {"color": shades[index], "ls": _DASHES[index]}, [exponents[t, K] for t in temperatures]
        left.plot(temperatures, [square for _, square in known], **look, lw=2.2)
        left.plot(temperatures, [2 * typical for typical, _ in known], **look, lw=0.9)
        at, values = zip(*((t, value) for (t, affinity), value in pilots.items() if affinity == K), strict=True)
        measured, error = np.transpose(values)
        left.errorbar(at, measured, yerr=2 * error, color=shades[index], marker="osD"[index], mec=INK, ls="", ms=6.5, capsize=2, zorder=3)
    handles = [Line2D([], [], color=shades[i], marker="osD"[i], mec=INK, ls=_DASHES[i], ms=6.5) for i in range(len(affinities))]
    handles += [Line2D([], [], color=shades[-1], lw=width) for width in (2.2, 0.9)]
    left.legend(handles, [*(f"K = {K:g}" for K in affinities), "mean square, Λ₂", "typical, 2λ"], loc="upper right", fontsize="small")
    left.set(xscale="log", xlabel="temperature", ylabel="growth of the squared tangent\nper event (natural logarithm)", ylim=(-0.75, 1.25))
    left.set(xticks=(0.1, 0.2, 0.5, 1), xticklabels=("0.1", "0.2", "0.5", "1"))
    left.minorticks_off()
    left.set_title("a   predicted (lines), measured (markers)", loc="left", fontsize="medium")
    x, upper, lower = (np.asarray(values, float) for values in critical)
    right.fill_between(x, np.nan_to_num(lower), upper, color=PALETTE[1], alpha=0.25, lw=0)
    right.fill_between(x, 0, np.nan_to_num(lower), color=PALETTE[3], alpha=0.4, lw=0)
    right.plot(x, upper, color=INK, lw=2.2)
    right.plot(x, lower, color=INK, lw=0.9)
    right.set(xscale="log", xlabel="affinity K", ylabel="temperature", ylim=(0, 0.5), xlim=(x.min(), x.max()))
    for place, height, words in ((0.5, 0.42, "variance stays bounded"), (0.82, 0.225, "variance grows,\ntypical tangent decays"), (0.82, 0.05, "both grow")):
        right.text(x.min() ** (1 - place) * x.max() ** place, height, words, ha="center", va="center", fontsize="small")
    for curve, words in ((upper, "Λ₂ = 0"), (lower, "λ = 0")):
        right.text(x.min() * 1.15, curve[0] + 0.008, words, fontsize="small")
    right.set_title("b   regimes", loc="left", fontsize="medium")
    return figure


@themed
def ways_to_be_wrong(
    affinities: Sequence[float], truth: Mapping, expected: Mapping, sampled: Mapping, pulls: tuple[Any, Mapping, Mapping], over_time: tuple[Any, Mapping]
) -> Figure:
    """Three ways to a wrong answer: bias over temperature, the root of a biased gradient, a gradient over time that lacks a part.

    Args:
        affinities: of the left panel. truth: {("events", K): exact gradient [T]}, of which the last is taken. expected: {(temperature, K): mean of the estimator}.
        sampled: {(temperature, K): (mean of its samples, standard error)}.
        pulls: (K [H], {label: gradient of a loss [H]}, {label: its root}), the exact one first.
        over_time: (times [T], {label: (gradient [T], its standard error)}), the exact one first.
    """
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13.5, 4.3))
    green = style("Gumbel-Softmax")[0]
    for index, (K, shade) in enumerate(zip(affinities, _shades(green, len(affinities)), strict=True)):
        exact, temperatures = truth["events", K][-1], sorted(t for t, affinity in expected if affinity == K)
        left.plot(temperatures, [100 * (expected[t, K] / exact - 1) for t in temperatures], color=shade, ls=_DASHES[index], label=f"K = {K:g}")
        for t, (value, error) in ((t, pair) for (t, affinity), pair in sampled.items() if affinity == K):
            left.errorbar(t, 100 * (value / exact - 1), yerr=200 * error / exact, color=shade, marker="osD"[index], mec=INK, ls="", ms=6, capsize=2)
    left.set(xscale="log", xticks=(0.1, 0.2, 0.5, 1), xticklabels=("0.1", "0.2", "0.5", "1"), xlabel="temperature", ylabel="bias (percent)")
    x, gradients, roots = pulls
    for index, (label, shade) in enumerate(zip(gradients, [INK, *_shades(green, len(gradients) - 1)], strict=True)):
        middle.plot(x, gradients[label], color=shade, ls=_DASHES[index], label=f"{label}: K = {roots[label]:.1f}")
        middle.plot(roots[label], 0, marker="*" if index == 0 else "s", ms=13 if index == 0 else 7, color=shade, mec="white", ls="", zorder=4)
    ticks = [tick for tick in (1, 2, 3, 5, 10, 20, 30, 50, 100) if np.min(x) <= tick <= np.max(x)]
    middle.set(xscale="log", xlabel="affinity K", ylabel="derivative of the loss in ln K", xticks=ticks, xticklabels=map(str, ticks))
    every = looks(list(over_time[1])[1:])
    for label, (gradient, error) in over_time[1].items():
        look = every[label] | {"ms": 5, "lw": 1.3} if label in every else {"color": INK, "lw": 2.4, "alpha": 0.8}
        right.fill_between(over_time[0], gradient - 2 * error, gradient + 2 * error, color=look["color"], alpha=0.25, lw=0)
        right.plot(over_time[0], gradient, label=label, **look)
    right.set(xlabel="time (units of 1/k_off)", ylabel="d⟨complexes⟩ / d ln k_on", ylim=(0, None))
    for letter, axes in zip("abc", (left, middle, right), strict=True):
        axes.axhline(0, color="0.6", lw=0.8, zorder=0)
        axes.set_title(letter, loc="left", fontweight="bold")
        axes.legend(fontsize="small")
    for axes in (left, middle):
        axes.minorticks_off()
    return figure
