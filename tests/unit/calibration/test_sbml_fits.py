"""Models from SBML are fitted like those from text."""

import numpy as np
import pytest

from ssagrad import sbml
from ssagrad.calibration import CalibrationError, fit, model_from_text, names_of, read_model
from ssagrad.calibration.experiments import as_problem
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
    with pytest.raises(CalibrationError, match="without events .* received .'_E0'"):
        fit(model, cells(2), free="k")


VOLUMES = """
model volumes
  compartment cell = 2
  species X in cell
  species $S in cell
  X = n
  n = 4
  S = 5
  unused = 7
  birth: => X; cell * vmax * K^h / (K^h + X^h)
  death: X => ; d * X * cell
  feed: => X; q * S * cell
  vmax = 6; K = 10; h = 2; d = 0.4; q = 0.1
end
"""


def test_a_condition_that_changes_a_volume_changes_the_start():
    """Initial counts are those at the condition's parameters: twice the volume holds twice the molecules, if the condition does not say how many."""
    model = sbml.read_antimony(VOLUMES)
    rows = {"time": [1] * 6, "replicate": list(range(6)), "X": [9, 8, 19, 17, 3, 4], "condition": ["a", "a", "b", "b", "c", "c"]}
    changes = {"b": {"parameters": {"cell": 4.0}}, "c": {"parameters": {"n": 1.0}, "initial_counts": {"X": 3}}}
    problem = as_problem(model, Observations.from_table(rows), "vmax", changes)
    assert [one.initial_counts.tolist() for one in problem.experiments] == [[8], [16], [3]]


def test_parameters_of_initial_counts_are_not_fitted():
    """They are refused by name, if some condition computes a count from them; where every condition gives its counts, they are fitted."""
    model, data = sbml.read_antimony(VOLUMES), Observations.from_table({"time": [1, 1], "replicate": [0, 1], "X": [9, 8]})
    for name in ("n", "cell"):
        with pytest.raises(CalibrationError, match=f"received '{name}', from which the model computes the initial count of 'X'"):
            as_problem(model, data, ["vmax", name])
    as_problem(model, data, ["cell"], {"": {"initial_counts": {"X": 8}}})


def test_without_names_the_parameters_of_all_laws_are_fitted():
    """Also those of laws that are no mass action; not sizes of compartments, held species, parameters of initial counts or of nothing."""
    assert set(names_of("", sbml.read_antimony(VOLUMES))) == {"vmax", "K", "h", "d", "q"}
    assert names_of(" d, K", sbml.read_antimony(VOLUMES)) == ("d", "K")
    assert names_of("", model_from_text("0 -> X @ k; X -> 0 @ 0.5; k = 2")) == ("k",)
