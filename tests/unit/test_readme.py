"""What the README shows works as written."""

import re
from pathlib import Path

import jax
import matplotlib
import numpy as np

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()
matplotlib.use("Agg")


def test_code_of_the_readme_runs_and_gives_what_it_says():
    first, second = re.findall(r"```python\n(.*?)```", README, re.S)
    scope = {}
    exec(first, scope)
    assert scope["paths"].counts.shape == (10_000, 101, 3)
    exec(second, scope)
    gradient = jax.grad(scope["loss"])({"infection": 0.025, "recovery": 4.0}, jax.random.key(1))
    assert all(np.isfinite(value) and value != 0 for value in gradient.values())


def test_readme_is_a_landing_page():
    """At most 150 lines, and every file that it links to exists (results of the paper profile included)."""
    assert len(README.splitlines()) <= 150
    root = Path(__file__).resolve().parents[2]
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    missing = [link for link in links if not (root / link).exists()]
    assert not missing, f"README links to files that do not exist: {missing}"
