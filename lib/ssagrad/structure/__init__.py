"""Learning which reactions there are, and their rates, from counts over time.

    from ssagrad import structure

    library = structure.enumerate_reactions(["S", "I", "R"])           # 90 candidates
    found = structure.discover({"S": s, "I": i, "R": r}, times, candidates=library)

`discover` searches small models through the simulator. What it is measured against stands beside it: the four formulations of Kreikemeyer,
Andelfinger and Uhrmacher 2024 (`formulations`) and regressions of derivatives (`baselines`).
"""

from ssagrad.structure.candidates import Library, enumerate_reactions, library_of
from ssagrad.structure.discovery import Discovery, Model, discover
from ssagrad.structure.equivalence import same_law
from ssagrad.structure.tabulated import tabulated_network

__all__ = ["Discovery", "Library", "Model", "discover", "enumerate_reactions", "library_of", "same_law", "tabulated_network"]
