"""What is disturbed and run again ends as if nothing had happened; every verb, at a few moments.

The long form, at every write, is ``benchmarks/interruptions.py``.
"""

import os
import random

import pytest

from .fault_injection import CLOSED, Laboratory, differences, failing_writes, moments

# Of signals, and of failing writes; fewer of what takes longer.
FEW = {
    "simulate": 2,
    "crops": 2,
    "profile": 2,
    "prepare": 2,
    "embed": 1,
    "train": 1,
    "session": 1,
    "compare": 1,
}

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked off")


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    with Laboratory(tmp_path_factory.mktemp("laboratory")) as laboratory:
        yield laboratory


@pytest.mark.parametrize("name", FEW)
def test_a_second_run_writes_what_an_undisturbed_one_does(name, laboratory):
    expected, seconds, counts = laboratory.undisturbed(name)
    writes = random.Random(name).sample(failing_writes(name, counts, most=1), FEW[name])
    for fault in (*moments(name, seconds, FEW[name]), *writes, CLOSED):
        _, problems = laboratory.disturbed(name, fault, expected)
        assert not problems, (fault, problems)


def test_the_comparison_finds_what_is_other_missing_or_too_much():
    expected = {"a": b"1", "b": b"2"}
    assert differences({"a": b"1", "b": b"2"}, expected) == []
    assert differences({"a": b"x", "c": b"3"}, expected) == ["a", "b", "c"]
