"""The template checker rejects what it should: one toy notebook per rule."""

import pytest
from support_notebooks import template_violations

from ssagrad.pipeline import results, sources

GOOD = '''# %% [markdown]
# # The mean stays
# Runtime: quick 1 s, paper 2 s.

# %%
import numpy as np

from ssagrad import publish

# %% tags=["parameters"]
profile = "quick"
seed = 1

# %%
report = publish.Report("10_toy", profile=profile, seed=seed, parameters={})
values = np.arange(3)
fig = values.sum()

# %%
fig = values.max()
total = sum(value for value in values)

# %%
report.verdict()

# %% [markdown]
# ## Limits
# A toy.
'''

LONG = "\n".join(f"value_{number} = {number}" for number in range(46))
BROKEN = {
    "no title": ("# # The mean stays", "# The mean stays"),
    "how long": ("Runtime: quick 1 s, paper 2 s.", "A toy."),
    "does not have profile": ('profile = "quick"', 'profile = "paper"'),
    "whole-number seed": ("seed = 1", "seed = 1.5"),
    "does not follow the imports": ('# %% tags=["parameters"]', '# %%\nprint(1)\n\n# %% tags=["parameters"]'),
    "report.verdict()": ("# %%\nreport.verdict()", "# %%\nreport.verdict()\n\n# %%\nprint(2)"),
    "not a section on limits": ("# ## Limits", "# ## Outlook"),
    "defines mean": ("total = sum", "def mean():\n    pass\n\n\ntotal = sum"),
    "defines Path": ("total = sum", "class Path:\n    pass\n\n\ntotal = sum"),
    "imports pathlib": ("import numpy as np", "import pathlib"),
    "imports warnings": ("import numpy as np", "import warnings"),
    "calls open()": ("total = sum", "open('x')\ntotal = sum"),
    "imports belong in one cell": ("total = sum", "import math\ntotal = sum"),
    "not plain Python": ("total = sum", "%matplotlib inline\n?? = sum"),
    "at most 24": ("# %%\nreport.verdict()", "# %%\nprint(3)\n\n" * 24 + "# %%\nreport.verdict()"),
    "at most 45": ("total = sum", f"{LONG}\ntotal = sum"),
    "at most 120": ("# %%\nreport", f"# %%\n{LONG[:600]}\n\n# %%\n" * 4 + "# %%\nreport"),
    "which one is meant": ("total = sum", "values = values + 1\ntotal = sum"),
    "changes values": ("total = sum", "values[0] = 1\ntotal = sum"),
}  # fmt: skip


def read(tmp_path, text):
    """A toy notebook, read as a source."""
    (tmp_path / "notebooks").mkdir(exist_ok=True)
    (tmp_path / "notebooks" / "10_toy.py").write_text(text)
    return sources.read_source(tmp_path, "10_toy")


def test_a_good_notebook_has_no_violations(tmp_path):
    """The toy that the others are broken from is fine; a figure name may be used again."""
    assert template_violations(read(tmp_path, GOOD)) == []


@pytest.mark.parametrize("expected", BROKEN)
def test_a_broken_rule_is_found(tmp_path, expected):
    """Each rule of the template rejects a notebook that breaks it."""
    old, new = BROKEN[expected]
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    assert any(expected in violation for violation in template_violations(read(tmp_path, text)))


@pytest.mark.parametrize("cell", ["seed = 1\nnum_paths = 2 * 3", "seed, n = 1, 2", "import numpy"])
def test_a_parameters_cell_with_more_than_literals_is_refused(tmp_path, cell):
    """Parameters are plain `name = literal` lines."""
    with pytest.raises(sources.PipelineError, match="name = literal"):
        read(tmp_path, GOOD.replace("seed = 1", cell, 1))


def test_two_parameters_cells_are_refused(tmp_path):
    """Only one cell carries the tag."""
    with pytest.raises(sources.PipelineError, match="found 2"):
        read(tmp_path, GOOD.replace("# %%\nreport.verdict", '# %% tags=["parameters"]\nreport.verdict', 1))


def test_an_edited_or_unrun_twin_is_found(tmp_path):
    """A missing twin, another cell and a verdict without output are each reported."""
    source = read(tmp_path, GOOD)
    assert results.twin_problems(tmp_path, source) == ["the .ipynb twin is missing"]
    sources.write_twin(tmp_path, source, ())
    assert "no stored output" in results.twin_problems(tmp_path, source)[0]
    table = {"output_type": "execute_result", "data": {"text/plain": "claim"}, "metadata": {}}
    sources.write_twin(tmp_path, source, [table])
    assert results.twin_problems(tmp_path, source) == []
    assert results.twin_problems(tmp_path, read(tmp_path, GOOD.replace("arange(3)", "arange(4)"))) == ["cell 4 differs"]
