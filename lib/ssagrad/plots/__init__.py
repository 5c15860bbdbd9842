"""Figures: arrays in, figure out. Nothing is computed here beyond what drawing needs, and nothing is saved (see `publish`)."""

from ssagrad.plots.controls import advantages, limits, value_functions
from ssagrad.plots.gradients import biases, efficiencies, estimates, forest
from ssagrad.plots.inference import descents, interval_rows, progress, signs, sparse_fit, successes
from ssagrad.plots.simulation import Law, Plane, curves, ensemble, laws, response_surfaces, survival, z_scores
from ssagrad.plots.variance import explosions, gradient_curves, regimes, variance_curves, ways_to_be_wrong

__all__ = [
    "Law",
    "Plane",
    "advantages",
    "biases",
    "curves",
    "descents",
    "efficiencies",
    "ensemble",
    "estimates",
    "explosions",
    "forest",
    "gradient_curves",
    "interval_rows",
    "laws",
    "limits",
    "progress",
    "regimes",
    "response_surfaces",
    "signs",
    "sparse_fit",
    "successes",
    "survival",
    "value_functions",
    "variance_curves",
    "ways_to_be_wrong",
    "z_scores",
]
