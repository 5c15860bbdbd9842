"""Gradients of exact stochastic simulation: the Gillespie algorithm and its gradient estimators in JAX.

    >>> import jax
    >>> from ssagrad import Network, simulate
    >>> network = Network.from_text("0 -> X @ birth; X -> 0 @ death")
    >>> paths = simulate(jax.random.key(0), network, {"birth": 5.0, "death": 1.0}, {"X": 0}, [1.0, 10.0], num_paths=1000)
    >>> [round(float(mean)) for mean in paths.mean("X")]
    [3, 5]

Where what is, each by `from ssagrad import ...`, with its own help:

- a network: `Network.from_text`; `models` has known ones; from SBML and Antimony: `sbml.read` (instead of a `Network.from_sbml`), `sbml.read_antimony`
- its paths: `simulate`, `Ensemble` (means, variances, any observable, `plot`); `SimulationError` says which path failed
- the truth: `exact.MasterEquation`, `exact.linear_moments`, closed forms; `statistics` for standard errors and z-scores
- gradients: `estimators.dynkin_controls` (the default), `estimators.score_function` and others; `estimators.compare` finds the best one for a problem
- fits: `calibration.fit` (your model and your table, with a diagnosis; `python -m ssagrad fit`), or step by step `observations.Observations`,
  `matching.match_moments` (Gauss-Newton), `fitting.descend` (any loss), `filtering.log_likelihood` (one noisy path), `surface.response_surface`
- which reactions there are: `structure.discover`
- many cells of many devices: `hierarchy.train`; moments of lattices: `boltzmann.learn`; how gradients grow: `lyapunov.tangent_growth`
- many jobs, in processes or on a cluster: `executors.run`
- figures and reports: `plots`, `publish.Report`; `python -m ssagrad run` runs the notebooks
"""

from ssagrad.ensemble import Ensemble
from ssagrad.network import Network, NetworkError
from ssagrad.simulate import SimulationError, simulate

__all__ = ["Ensemble", "Network", "NetworkError", "SimulationError", "simulate"]
