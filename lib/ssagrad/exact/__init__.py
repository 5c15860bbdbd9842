"""The truth, as a peer of the simulators: closed forms, moments of linear networks, and the truncated master equation.

Everything here is computed in float64 (NumPy and SciPy, which comes with JAX), whatever precision JAX is set to, and starts at time 0.

    exact.birth_death(times, immigration=1.0, death=0.1).probabilities
    exact.linear_moments(network, parameters, {"X": 10}, times).mean
    exact.MasterEquation.build(network, {"X": 10}, bounds={"X": 200}).solve(parameters, times).mean("X")
    exact.MasterEquation.build(network, {"X": 10}, bounds={"X": 200}).gradient(parameters, times, "X")
"""

from ssagrad.exact.closed_forms import Law, birth_death, isomerisation
from ssagrad.exact.distribution import Distribution
from ssagrad.exact.linear_moments import Moments, first_event, linear_moments
from ssagrad.exact.master_equation import MasterEquation
from ssagrad.exact.states import TruncationError

__all__ = [
    "Distribution",
    "Law",
    "MasterEquation",
    "Moments",
    "TruncationError",
    "birth_death",
    "first_event",
    "isomerisation",
    "linear_moments",
]
