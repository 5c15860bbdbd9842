"""One theme for the whole project: colours that survive greyscale and colour blindness, one colour and marker per estimator."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

try:
    import matplotlib.pyplot as plt
    import seaborn as sns
    from matplotlib.figure import Figure
except ImportError as error:
    raise ImportError("figures need seaborn and matplotlib: pip install 'ssagrad[plots]'") from error

PALETTE = sns.color_palette("colorblind")
INK = "#222222"
# colour and marker of each estimator, in every figure; a setting of it keeps them, as in "Gumbel-Softmax, temperature 0.5"
ESTIMATORS = {
    "Dynkin controls": (PALETTE[3], "*"),
    "score function": (PALETTE[0], "o"),
    "alternative path": (PALETTE[1], "^"),
    "forked path": (PALETTE[5], "v"),
    "coupled difference": (PALETTE[7], "D"),
    "Gumbel-Softmax": (PALETTE[2], "s"),
    "propensity straight-through": (PALETTE[8], "P"),
    "smoothing": (PALETTE[4], "X"),
}
_THEME = {
    **sns.axes_style("ticks"),
    **sns.plotting_context("notebook", font_scale=0.95),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.hashsalt": "ssagrad",
    "figure.constrained_layout.use": True,
}


def themed(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draws in the theme, and closes the figure, which is shown once, by whoever receives it."""

    @wraps(draw)
    def in_theme(*arguments: Any, **options: Any) -> Figure:
        with plt.rc_context(_THEME):
            figure = draw(*arguments, **options)
        plt.close(figure)
        return figure

    return in_theme


def style(estimator: str) -> tuple[Any, str]:
    """Colour and marker of an estimator, by the longest known name that its own begins with."""
    known = [name for name in ESTIMATORS if estimator.startswith(name)]
    return ESTIMATORS[max(known, key=len)] if known else (INK, "h")
