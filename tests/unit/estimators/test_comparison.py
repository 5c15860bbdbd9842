"""Comparing estimators: tidy rows, the text of the table, the exact columns, warnings of explosions, and errors that name the estimator."""

from functools import partial

import jax
import numpy as np
import pandas
import pytest

from ssagrad import exact, models
from ssagrad.estimators import comparison, compare, gain, gumbel_softmax, propensity_straight_through, score_function, show

MODEL = models.association()
CHOSEN = {"score function": score_function, "without baseline": partial(score_function, baseline="none")}


def rows_of(chosen, *, num_paths=64, repetitions=2, timed=False, **options):
    options = {"observable": "C"} | options
    arguments = (jax.random.key(1), MODEL.network, MODEL.parameters, MODEL.initial_counts, [0.5, 1.0])
    return compare(chosen, *arguments, num_paths=num_paths, repetitions=repetitions, timed=timed, **options)


@pytest.fixture(scope="module")
def master():
    """The exact law."""
    return exact.MasterEquation.build(MODEL.network, MODEL.initial_counts)


@pytest.fixture(scope="module")
def rows(master):
    """Two estimators, two parameters, with everything."""
    return rows_of(CHOSEN, master=master, timed=True)


def test_rows_are_tidy(rows):
    """A row for each estimator and parameter, which pandas reads as it is."""
    assert [(row.estimator, row.parameter) for row in rows] == [(name, theta) for name in CHOSEN for theta in ("k_off", "k_on")]
    table = pandas.DataFrame(rows)
    assert list(table) == list(comparison.Row._fields)
    assert table.drop(columns=["estimator", "parameter", "warning"]).dtypes.eq(float).all()
    assert (table["warning"] == "").all()


def test_columns_are_what_they_say(rows, master):
    """Derivatives in ln θ at the last time, and the relations between the columns."""
    slopes = master.gradient(MODEL.parameters, [1.0], "C")
    for row in rows:
        assert np.isclose(row.exact, slopes[row.parameter][0] * MODEL.parameters[row.parameter])
        assert np.isclose(row.bias, row.gradient - row.exact)
        assert np.isclose(row.z, row.bias / row.standard_error)
        assert np.isclose(row.variance, row.standard_error**2 * 128)
        assert np.isclose(row.efficiency, 64 / (row.variance * row.seconds))
        assert abs(row.z) < 4 and row.events > 5
    assert rows[2].variance > 3 * rows[0].variance, "the baseline is worth it"


def test_gain_is_a_mean_over_parameters(rows):
    """Ratios of variance × cost, averaged geometrically; the reference itself is left out."""
    for per, cost in (("path", lambda row: 1.0), ("event", lambda row: row.events), ("second", lambda row: row.seconds)):
        ratios = [rows[p].variance * cost(rows[p]) / (rows[2 + p].variance * cost(rows[2 + p])) for p in range(2)]
        found = gain(rows, "score function", per=per)
        assert list(found) == ["without baseline"]
        assert np.isclose(found["without baseline"], np.sqrt(ratios[0] * ratios[1]))
    with pytest.raises(ValueError, match="event"):
        gain(rows, "score function", per="hour")


def test_gradients_are_those_of_the_estimator():
    """One repetition, not relative, is the mean over its paths; with the time average as well."""
    theta = MODEL.parameters | {"k_on": 2.0}
    arguments = (MODEL.network, theta, MODEL.initial_counts, [0.5, 1.0])
    options = {"num_paths": 64, "repetitions": 1, "timed": False}
    found = compare(CHOSEN, jax.random.key(1), *arguments, observable="C", **options)
    absolute = compare(CHOSEN, jax.random.key(1), *arguments, observable="C", relative=False, **options)
    for row, other in zip(found, absolute, strict=True):
        assert np.isclose(row.gradient, theta[row.parameter] * other.gradient)
        assert row.exact is row.bias is row.z is row.seconds is row.efficiency is None


def test_time_averages_are_compared(master):
    """Against the exact law of a time drawn from the whole interval."""
    found = rows_of({"score function": score_function}, time_average=True, master=master)
    assert all(np.isfinite(row.exact) and abs(row.z) < 4 for row in found)


def test_the_table_shows_what_was_measured(rows):
    """With an exact law, seconds and a reference; without them, their columns are not there."""
    text = repr(show(rows, reference="score function"))
    lines = text.splitlines()
    assert lines[0].split() == ["estimator", "parameter", "gradient", "exact", "z", "variance", "events", "ms", "efficiency"]
    assert "(÷ 1)" in lines[1] and "× 1" in lines[1] and "without baseline" in lines[3]
    bare = [row._replace(exact=None, bias=None, z=None, seconds=None, efficiency=None) for row in rows]
    assert repr(show(bare)).splitlines()[0].split() == ["estimator", "parameter", "gradient", "variance", "events"]
    assert repr(show(bare, reference="score function")).count("÷") == 4
    with pytest.raises(ValueError, match=r"reference among \['score function', 'without baseline'\], received 'score'"):
        show(rows, reference="score")


def explosion(estimator, *, k_on=1.0, num_events=60.0):
    arguments = (MODEL.network, MODEL.parameters | {"k_on": k_on}, MODEL.initial_counts)
    return comparison._explosion(estimator, jax.random.key(2), *arguments, num_events=num_events, num_paths=256)


def test_explosions_are_announced():
    """Affinity 1, τ = 0.1, below its critical temperature 0.198; the score function has no tangent that could explode."""
    found = rows_of({"cold": partial(gumbel_softmax, temperature=0.1, cutoff=0.2), "score": score_function}, repetitions=1, num_paths=256)
    assert {row.estimator for row in found if row.warning} == {"cold"}
    table = show(found)
    assert table.head[-1] == "warning" and "explodes: mean square tangent ×" in repr(table)


@pytest.mark.parametrize("estimator", [partial(gumbel_softmax, temperature=1.0), partial(propensity_straight_through, cutoff=0.2)])
def test_what_does_not_explode_has_no_warning(estimator):
    """A high temperature, and propensities without one."""
    assert explosion(estimator) == ""


def test_tangents_that_overflow_are_announced():
    """Far below the critical temperature they leave the range of floats; the table still stands."""
    warning = explosion(partial(partial(gumbel_softmax, temperature=1.0), temperature=0.01), k_on=10.0, num_events=400.0)
    assert warning.startswith("explodes")
    row = comparison._row("cold", "k_on", np.array([1.0, np.inf]), 1.0, events=400.0, seconds=1.0, num_paths=2, num_gradients=1, warning=warning)
    assert "nan" in repr(show([row]))


def test_errors_name_the_estimator():
    """Whatever an estimator raises is passed on with its name."""
    with pytest.raises(ValueError, match="baseline among") as caught:
        rows_of({"typo": partial(score_function, baseline="median")})
    assert caught.value.__notes__[-1:] == ["(estimator 'typo')"]
    with pytest.raises(ValueError, match="cutoff > 0") as caught:
        rows_of({"no window": partial(gumbel_softmax, temperature=1.0)})
    assert caught.value.__notes__[-1:] == ["(estimator 'no window')"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observable": None}, "name of a species or a function as observable, received None"),
        ({"observable": lambda x: x["C"], "time_average": True}, "name of a species as observable"),
        ({"observable": lambda x: jax.numpy.stack([x["A"], x["C"]])}, r"one number, received one of shape \(2,\)"),
    ],
)
def test_observables_are_one_number(options, message):
    """Anything else is refused."""
    with pytest.raises(ValueError, match=message):
        rows_of({"score function": score_function}, **options)
