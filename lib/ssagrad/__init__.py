"""Gradients of exact stochastic simulation: the Gillespie algorithm and its gradient estimators in JAX."""

from ssagrad.ensemble import Ensemble
from ssagrad.network import Network, NetworkError
from ssagrad.simulate import SimulationError, simulate

__all__ = ["Ensemble", "Network", "NetworkError", "SimulationError", "simulate"]
