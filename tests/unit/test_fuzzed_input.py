"""Broken text and tables: each is read, or refused by the library's own error; none hangs, crashes or writes. `benchmarks/fuzz.py` tries many more."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support_fuzzing import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_read_or_refused(kind, tmp_path, monkeypatch):
    """A few hundred inputs of each kind, within two seconds each, in a folder that stays empty."""
    inputs, read = KINDS[kind]
    monkeypatch.chdir(tmp_path)

    @settings(max_examples=250, deadline=2000, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs)
    def check(value):
        read(value)

    check()
    assert os.listdir(tmp_path) == []


def test_the_checks_can_fail():
    """Negative control: another error than the library's is found."""
    inputs, _ = KINDS["reactions"]

    @settings(max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(st.one_of(inputs))
    def check(value):
        if "@" in value:
            raise KeyError(value)

    with pytest.raises(KeyError):
        check()
