"""Observations: tidy and wide tables, and refusals that name the row, what is wrong and why."""

import doctest
import os

import numpy as np
import pandas
import pytest

from ssagrad import observations
from ssagrad.observations import Observations, ObservationsError

TIDY = """time,replicate,species,count,condition
2,a,X,4,low
1,a,X,3,low
1,a,Y,7,low
0.5,b,X,5,low
1,c,Y,2,high
1,d,Y,4,high
"""


def write(tmp_path, text, name="counts.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def refusal(tmp_path, text, **options):
    with pytest.raises(ObservationsError) as caught:
        Observations.read(write(tmp_path, text), **options)
    return str(caught.value)


def test_a_tidy_table_in_any_order(tmp_path):
    """Rows need no order; times differ between replicates; what was not measured is NaN; conditions keep their own."""
    found = Observations.read(write(tmp_path, TIDY))
    assert found.species == ("X", "Y") and [one.name for one in found.conditions] == ["low", "high"]
    low = found.condition("low")
    assert low.times.tolist() == [0.5, 1, 2] and low.replicates == ("a", "b")
    np.testing.assert_array_equal(found.counts("X", "low"), [[np.nan, 3, 4], [5, np.nan, np.nan]])
    np.testing.assert_array_equal(found.counts("Y", "high"), [[2], [4]])
    assert "X, Y: low: 2 replicates, 3 times from 0.5 to 2; high: 2 replicates, 1 time 1" in repr(found)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_wide_and_tidy_tables_say_the_same(tmp_path, separator):
    """A column for each species, with empty cells for what is missing, comments, blank lines and a byte order mark."""
    wide = "\ufeff# measured in May\ntime,replicate,X,Y\n1,a,3,7\n\n2,a,4,\n1,b,5,8\n".replace(",", separator)
    tidy = "time,replicate,species,count\n1,a,X,3\n1,a,Y,7\n2,a,X,4\n1,b,X,5\n1,b,Y,8\n"
    one, other = Observations.read(write(tmp_path, wide, "wide.csv")), Observations.read(write(tmp_path, tidy))
    np.testing.assert_array_equal(one.condition().counts, other.condition().counts)
    assert one.species == other.species == ("X", "Y")


def test_a_data_frame_is_taken(tmp_path):
    """pandas, with its own index in messages, and a plain mapping."""
    path = write(tmp_path, TIDY)
    frame = pandas.read_csv(path)
    np.testing.assert_array_equal(Observations.from_table(frame).condition("low").counts, Observations.read(path).condition("low").counts)
    frame.index = [f"r{i}" for i in range(len(frame))]
    frame.loc["r3", "count"] = -1
    with pytest.raises(ObservationsError, match="row r3: expected a count ≥ 0 of 'X', received -1"):
        Observations.from_table(frame)
    with pytest.raises(ObservationsError, match="columns of equal length"):
        Observations.from_table({"time": [1], "replicate": [1, 2], "X": [3]})


def test_moments_are_those_of_the_replicates():
    """Means, variances and standard errors at every time, over the replicates that have a count there."""
    counts = np.random.default_rng(0).poisson(20, (7, 3)).astype(float)
    rows = {"time": np.tile([1, 2, 3], 7), "replicate": np.repeat(np.arange(7), 3), "X": counts.ravel()}
    rows = {name: np.delete(values, 4) for name, values in rows.items()}  # replicate 1 at time 2
    found = Observations.from_table(rows).moments()
    assert found.numbers.ravel().tolist() == [7, 6, 7]
    np.testing.assert_allclose(found.means[:, 0], [counts[:, 0].mean(), np.delete(counts[:, 1], 1).mean(), counts[:, 2].mean()])
    np.testing.assert_allclose(found.variances[0, 0], counts[:, 0].var(ddof=1))
    np.testing.assert_allclose(found.standard_errors[2, 0], counts[:, 2].std(ddof=1) / np.sqrt(7))


HEAD = "time,replicate,species,count\n1,a,X,3\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty file"),
        ("time,replicate,species,count\n", "expected at least one row"),
        (HEAD + "2,a,X,-4\n", "line 3: expected a count ≥ 0 of 'X', received -4; is a background subtracted"),
        (HEAD + "2,a,X,4.5\n", "line 3: expected a whole number of 'X', received 4.5; is this a concentration"),
        (HEAD + "2,a,X,nan\n", "line 3: expected a finite count of 'X', received nan; leave out"),
        (HEAD + "2,a,X,\n", "line 3: expected a number as count of 'X', received ''; leave out"),
        (HEAD + "2,a,X,many\n", "line 3: expected a number as count of 'X', received 'many'"),
        (HEAD + "2,a,X,1e9\n", "expected at most 16777216"),
        (HEAD + "-1,a,X,4\n", "line 3: expected a time ≥ 0, received -1; the model starts at time 0"),
        (HEAD + "inf,a,X,4\n", "line 3: expected a finite time"),
        (HEAD + "1,a,X,4\n", "line 3: expected one count of 'X' at time 1 of replicate 'a', received a second one .the first: line 2"),
        (HEAD + "2,,X,4\n", "line 3: expected a replicate, received an empty cell"),
        (HEAD + '2,a,X,"1,234"\n', "line 3: expected a number .* received '1,234'; write 1234 without a sign between thousands, or a decimal point"),
        (HEAD + "2,a,X,1 234 567\n", "line 3: .* received '1 234 567'; write 1234567 without"),
        (HEAD + '2,a,X,"3,25"\n', "line 3: .* received '3,25'; write a decimal point"),
        (HEAD + "2,a,X,n/a\n", "line 3: expected a number as count of 'X', received 'n/a'; leave out the rows"),
        ("time,replicate,X\n0.3,a,3\n0.30000000000000004,a,4\n", "line 3: expected one count of 'X' at time 0.3 of replicate 'a', received a second"),
        (HEAD + "2,a,X,4,5\n", "line 3: expected 4 cells .* received 5; a decimal comma"),
        ("time,replicate,count\n1,a,3\n", "no 'species'"),
        ("time,X\n1,3\n", "no 'replicate'"),
        ("time,replicate\n1,a\n", "a column for each species"),
        ("time,replicate,species,count,well\n1,a,X,3,9\n", "no other columns"),
        ("time,time,replicate,X\n1,1,a,3\n", "each column once, received 'time' 2 times"),
        (HEAD, "several times or replicates, received one of each"),
        ("time,replicate,species,count\n0,a,X,3\n0,b,X,4\n", "all of them at time 0"),
        (b"time,replicate,species,count\n1,a,\xff\xfe,3\n", "UTF-8"),
    ],
)
def test_what_is_wrong_is_named_with_its_row(tmp_path, text, message):
    """Every kind of broken row, by its line in the file, with the likely cause."""
    import re

    assert re.search(message, refusal(tmp_path, text)), refusal(tmp_path, text)


def test_noisy_measurements_may_be_fractional_or_negative(tmp_path):
    """noisy=True takes what is refused as a count."""
    found = Observations.read(write(tmp_path, HEAD + "2,a,X,-0.5\n"), noisy=True)
    assert found.counts("X").tolist() == [[3, -0.5]]


def test_names_may_read_like_nothing(tmp_path):
    """Sodium (Na), a replicate nan and a condition none are names; only an empty cell is no name, and pandas' NaN."""
    found = Observations.read(write(tmp_path, "time,replicate,species,count,condition\n1,nan,Na,3,none\n1,NA,Na,4,none\n"))
    assert found.species == ("Na",) and found.conditions[0].replicates == ("nan", "NA") and found.conditions[0].name == "none"
    with pytest.raises(ObservationsError, match="row 1: expected a replicate, received an empty cell"):
        Observations.from_table({"time": [1, 2], "replicate": ["a", float("nan")], "X": [3, 4]})


def test_what_was_not_measured_may_be_marked_in_a_wide_table(tmp_path):
    """Empty, NA, n/a, none, a dash and a point, in a column of counts."""
    found = Observations.read(write(tmp_path, "time,replicate,X,Y\n1,a,n/a,1\n2,a,-,2\n3,a,NA,3\n4,a,.,4\n5,a,None,5\n6,a,,6\n7,a,7,–\n"))
    np.testing.assert_array_equal(found.counts("X"), [[*[np.nan] * 6, 7]])
    np.testing.assert_array_equal(found.counts("Y"), [[1, 2, 3, 4, 5, 6, np.nan]])


def test_times_that_differ_by_rounding_are_one(tmp_path):
    """0.3 and 0.1 + 0.2, in any order; times that differ by more than 10⁻⁹ of them stay apart."""
    rows = {"time": [0.1 + 0.2, 0.3, 1e-3, 1e-3 * (1 + 1e-7), 0.0], "replicate": list("abcde"), "X": [3, 5, 7, 9, 1]}
    found = Observations.from_table(rows)
    assert found.times().tolist() == [0, 1e-3, 1e-3 * (1 + 1e-7), 0.3]
    assert found.moments().means[-1, 0] == 4 and found.moments().numbers[-1, 0] == 2


def test_unknown_names_come_with_the_nearest_one(tmp_path):
    """Species and conditions, misspelt."""
    found = Observations.read(write(tmp_path, TIDY))
    with pytest.raises(ObservationsError, match="unknown species 'X'; did you mean 'x'"):
        found.check_species(known=("x", "Y"))
    with pytest.raises(ObservationsError, match="unknown condition 'hihg'; did you mean 'high'"):
        found.condition("hihg")
    with pytest.raises(ObservationsError, match="expected the name of one of the conditions"):
        found.times()
    assert found.of(["Y"]).species == ("Y",) and found.of(["Y"]).condition("high").counts.shape == (2, 1, 1)


def test_a_table_too_large_to_fill_is_refused():
    """Ten thousand replicates, each at a time of its own, would make a full table of 10⁸ places."""
    number = 10_000
    rows = {"time": np.linspace(1, 2, number), "replicate": np.arange(number), "X": np.ones(number, int)}
    with pytest.raises(ObservationsError, match="round the times"):
        Observations.from_table(rows)


def test_the_examples_of_the_docstrings_run():
    """What `help(ssagrad.observations)` shows is true."""
    before = os.getcwd()
    found = doctest.testmod(observations)
    assert found.failed == 0 and found.attempted > 3 and os.getcwd() == before
