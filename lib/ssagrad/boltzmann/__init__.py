"""Dynamic Boltzmann distributions: moment closures that are learned from simulated lattices, beside exact and classical ones.

`lattice` simulates the data, `machine` is the law that is fitted to them at each time, `basis` and `closure` are its dynamics, `training` learns
them. `lattice_gas` and `walk` are the one-dimensional case, where the closure is known exactly; `well_mixed` has the classical closures. `markov_field`
is a law without latent units, fitted in equilibrium, and `pair_closure` one in the dual coordinates, moments, for any beginning and any rates.
"""

from ssagrad.boltzmann import lattice_gas, markov_field, pair_closure, walk
from ssagrad.boltzmann.lattice import Rates, Runs, lattice_runs, surviving_runs
from ssagrad.boltzmann.machine import Machine
from ssagrad.boltzmann.moments import NAMES, distances, equal_means, first_moment_law, lattice_moments, low_pass, moments_of_runs, product_moments
from ssagrad.boltzmann.training import Learned, Schedule, learn, model_moments
from ssagrad.boltzmann.walk import fit_rates, walk_densities
from ssagrad.boltzmann.well_mixed import CLOSURES, breaking_time, closed_moments

__all__ = [
    "CLOSURES",
    "NAMES",
    "Learned",
    "Machine",
    "Rates",
    "Runs",
    "Schedule",
    "breaking_time",
    "closed_moments",
    "distances",
    "equal_means",
    "first_moment_law",
    "fit_rates",
    "lattice_gas",
    "lattice_moments",
    "lattice_runs",
    "learn",
    "low_pass",
    "markov_field",
    "model_moments",
    "moments_of_runs",
    "pair_closure",
    "product_moments",
    "surviving_runs",
    "walk",
    "walk_densities",
]
