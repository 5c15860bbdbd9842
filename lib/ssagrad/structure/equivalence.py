"""Models that no data can tell apart: the same law from other reactions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.optimize import nnls

from ssagrad.structure.candidates import Library

_TOLERANCE = 1e-6  # relative residual that counts as none


def same_law(library: Library, rates: Mapping[int, float], states: np.ndarray) -> dict[int, dict[int, float]]:
    """For each reaction of a model, other candidates that together do the same in every state, if there are such.

    Two models have the same law where, for every change of the counts, their total propensities agree in all states that can be reached. A conserved
    quantity makes room for that: where S + I + R = N, I -> R at the rate k is {2 I -> I + R, S + I -> S + R, I + R -> 2 R} at 2k/(N − 1), k/(N − 1)
    and k/(N − 1). Only the number of reactions decides then.

    Args:
        library: candidates. rates: of the model, by position in the library.
        states: counts [M, S] that the model visits, enough of them to tell propensities apart (a path, for instance).

    Returns:
        For every reaction of the model that can be replaced: the rates of its replacement. Reactions that cannot are left out.
    """
    states = np.unique(np.asarray(states, float), axis=0)
    if states.ndim != 2 or states.shape[1] != len(library.species):
        raise ValueError(f"expected states [M, {len(library.species)}], received shape {states.shape}")
    propensities, changes = library.combinations(states), library.changes
    found = {}
    for reaction, rate in rates.items():
        others = [j for j in range(library.size) if j != reaction and (changes[j] == changes[reaction]).all() and propensities[:, j].any()]
        wanted = rate * propensities[:, reaction]
        if not others or not wanted.any():
            continue
        lengths = np.linalg.norm(propensities[:, others], axis=0)
        shares, residual = nnls(propensities[:, others] / lengths, wanted)
        if residual < _TOLERANCE * np.linalg.norm(wanted):
            found[reaction] = {j: float(share) for j, share in zip(others, shares / lengths, strict=True) if share > 0}
    return found
