"""Notices that are not errors."""

import pytest

from cpcnn_core.errors import ProfileWarning
from cpcnn_core.user_messages import counted, listed, some, warn


def test_a_library_hears_it_as_a_warning():
    with pytest.warns(ProfileWarning, match="^1 of 48 wells is left out$") as caught:
        warn("1 of 48 wells is left out")
    assert caught[0].filename == __file__ or caught[0].lineno


def test_a_few_of_many_are_named():
    names = [f"P1/A{n:02d}" for n in range(1, 14)]
    assert listed(names) == ", ".join(names[:10]) + " and 3 more"
    assert listed(names[:10]) == ", ".join(names[:10])
    assert listed([]) == ""
    counts = {f"f{n}": n % 5 for n in range(30)}
    assert counted(counts, 3) == "f4 (4), f9 (4), f14 (4) and 27 more"
    assert (some(0, "well"), some(1, "well"), some(2, "well")) == ("0 wells", "1 well", "2 wells")
