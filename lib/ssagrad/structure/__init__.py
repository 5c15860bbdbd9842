"""Learning which reactions there are, and their rates, from counts over time."""
