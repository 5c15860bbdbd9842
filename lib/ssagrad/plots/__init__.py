"""Figures: arrays in, figure out. Nothing is computed here beyond what drawing needs, and nothing is saved (see `publish`)."""

from ssagrad.plots.simulation import Law, Plane, curves, ensemble, laws, response_surfaces, survival, z_scores

__all__ = ["Law", "Plane", "curves", "ensemble", "laws", "response_surfaces", "survival", "z_scores"]
