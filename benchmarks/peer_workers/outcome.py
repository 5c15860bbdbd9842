"""What a simulator hands back after one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Outcome(NamedTuple):
    """Results on the host; what a peer does not report is None.

    counts: [paths, times, species] in the order of `System.species`, or a function that gathers them for the check from the
        peer's own arrays after the clock has stopped; None if the peer gives `means` instead.
    events: reaction events of all paths.
    seconds: the peer's own time of its simulation loop; None means the wall time of the call is used.
    means: [times, species].
    """

    counts: np.ndarray | Callable[[], np.ndarray] | None = None
    events: float | None = None
    seconds: float | None = None
    means: np.ndarray | None = None
