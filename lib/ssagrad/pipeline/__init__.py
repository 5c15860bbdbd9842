"""Running the paired notebooks and publishing what they produce: `python -m ssagrad run | check | sync`.

sources.py reads the notebooks, digest.py says what a report was made from, execute.py runs one notebook,
commands.py runs, checks and syncs them all, pages.py writes what a reader without Jupyter opens.
"""
