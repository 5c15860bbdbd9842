"""Means and covariances of networks of first order, and the law of the first event of any network."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import expm

from ssagrad.exact.closed_forms import check_times
from ssagrad.exact.states import state_rates
from ssagrad.network import Network, NetworkError


class Moments(NamedTuple):
    """Exact mean [T, S] and covariance [T, S, S] of all species at each time."""

    mean: np.ndarray
    covariance: np.ndarray


def first_event(times: Any, network: Network, parameters: Any, counts: Any) -> np.ndarray:
    """Probability [T, R] that the first event happens until each time and is reaction r: (1 − e^{−a₀ t}) a_r/a₀, with a₀ = Σ_r a_r.

    The waiting time in a state is exponential with mean 1/a₀ and independent of the reaction that ends it.
    """
    rates = state_rates(network, parameters, np.asarray(network.counts_from(counts))[None])[0]
    total = rates.sum()
    return -np.expm1(-total * check_times(times))[:, None] * (rates / total if total > 0 else rates)


def linear_moments(network: Network, parameters: Any, initial_counts: Any, times: Any) -> Moments:
    """Means and covariances of a network whose propensities are all linear, a(x) = A x + b (mass action of order 0 or 1).

    They obey closed linear equations, solved by a matrix exponential: with the stoichiometry N [R, S] and J = Nᵀ A,

        dm/dt = J m + Nᵀ b,   dΣ/dt = J Σ + Σ Jᵀ + Nᵀ diag(A m + b) N.

    Raises:
        NetworkError: a reaction of second or higher order, or with a function as its propensity.

    Reference: Gadgil, Lee and Othmer 2005, doi:10.1016/j.bulm.2004.09.009.
    """
    for reaction in network.reactions:
        if reaction.propensity is not None or sum(molecules for _, molecules in reaction.reactants) > 1:
            raise NetworkError(f"reaction '{network.reaction_text(reaction)}': expected mass action of order 0 or 1 for linear moment equations")
    times = check_times(times)
    mean = np.asarray(network.counts_from(initial_counts), float)
    size, change = len(mean), network.stoichiometry.astype(float)
    constant, *slopes = state_rates(network, parameters, np.vstack([np.zeros(size), np.eye(size)]))
    slopes = np.stack(slopes, axis=1) - constant[:, None]
    jacobian, identity, spread = change.T @ slopes, np.eye(size), np.einsum("ra,rb->abr", change, change).reshape(size**2, -1)
    moves = np.zeros((1 + size + size**2,) * 2)  # acts on (1, mean, covariance)
    moves[1 : size + 1, 0], moves[size + 1 :, 0] = change.T @ constant, spread @ constant
    moves[1 : size + 1, 1 : size + 1], moves[size + 1 :, 1 : size + 1] = jacobian, spread @ slopes
    moves[size + 1 :, size + 1 :] = np.kron(jacobian, identity) + np.kron(identity, jacobian)
    vector, rows = np.concatenate([[1.0], mean, np.zeros(size**2)]), []
    for interval in np.diff(times, prepend=0.0):
        vector = expm(interval * moves) @ vector
        rows.append(vector)
    rows = np.array(rows)
    return Moments(rows[:, 1 : size + 1], rows[:, size + 1 :].reshape(-1, size, size))
