"""Figures: arrays in, figure out. Nothing is computed here beyond what drawing needs, and nothing is saved (see `publish`)."""

from ssagrad.plots.calibration import estimates_with_intervals, fit_diagnostics, fit_progress, model_and_data
from ssagrad.plots.controls import advantages, limits, value_functions
from ssagrad.plots.discovery import breaking_points, certainties, recovery_shares
from ssagrad.plots.gradients import biases, efficiencies, estimates, forest
from ssagrad.plots.inference import descents, interval_rows, progress, signs, sparse_fit, successes
from ssagrad.plots.lattice import Panel, against_data, equal_counts, misfits, parameter_curves
from ssagrad.plots.simulation import Law, Plane, curves, ensemble, laws, response_surfaces, survival, z_scores
from ssagrad.plots.structure import convergence, parsimony, reaction_lists, setting_losses
from ssagrad.plots.variance import explosions, gradient_curves, regimes, variance_curves, ways_to_be_wrong

__all__ = [
    "Law",
    "Panel",
    "Plane",
    "advantages",
    "against_data",
    "biases",
    "breaking_points",
    "certainties",
    "convergence",
    "curves",
    "descents",
    "efficiencies",
    "ensemble",
    "equal_counts",
    "estimates",
    "estimates_with_intervals",
    "explosions",
    "fit_diagnostics",
    "fit_progress",
    "forest",
    "gradient_curves",
    "interval_rows",
    "laws",
    "limits",
    "misfits",
    "model_and_data",
    "parameter_curves",
    "parsimony",
    "progress",
    "reaction_lists",
    "recovery_shares",
    "regimes",
    "response_surfaces",
    "setting_losses",
    "signs",
    "sparse_fit",
    "successes",
    "survival",
    "value_functions",
    "variance_curves",
    "ways_to_be_wrong",
    "z_scores",
]
