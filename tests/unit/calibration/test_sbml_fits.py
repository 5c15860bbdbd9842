"""Models from SBML are fitted like those from text."""

import numpy as np
import pytest

from ssagrad import sbml
from ssagrad.calibration import CalibrationError, fit, model_from_text, read_model
from ssagrad.observations import Observations

ANTIMONY = """
model decay
  compartment cell = 1
  substanceOnly species X in cell
  X = 0
  birth: => X; k
  death: X => ; d * X
  k = 6
  d = 0.4
end
"""


def cells(seed):
    random, rows = np.random.default_rng(seed), {"time": [], "replicate": [], "X": []}
    for t in (1.0, 4.0):
        rows["X"] += list(random.poisson(20 * (1 - np.exp(-0.5 * t)), 40))
        rows["time"] += [t] * 40
        rows["replicate"] += [f"{t}-{i}" for i in range(40)]
    return Observations.from_table(rows)


def test_sbml_and_text_give_the_same_fit(tmp_path):
    """One model in both notations, one data set: the same estimates, up to rounding."""
    path = tmp_path / "model.xml"
    path.write_text(sbml.read_antimony(ANTIMONY).source, "utf-8")
    text = model_from_text("0 -> X @ k; X -> 0 @ d; k = 6; d = 0.4")
    found, same = (fit(model, cells(1), free=("k", "d"), num_starts=1) for model in (read_model(path), text))
    assert found.estimator == same.estimator == "exact"
    for name in ("k", "d"):
        assert abs(np.log(found.estimates[name] / same.estimates[name])) < 1e-3
        assert abs(np.log(found.estimates[name] / {"k": 10.0, "d": 0.5}[name])) < 4 * found.standard_errors[name]


def test_a_model_with_events_is_refused():
    """Counts that jump at a time are simulated, not fitted."""
    model = sbml.read_antimony(ANTIMONY.replace("end", "  at (time > 2): X = 5\nend"))
    with pytest.raises(CalibrationError, match="without events"):
        fit(model, cells(2), free="k")
