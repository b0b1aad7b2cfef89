"""Losses: what is left out is counted and named, and is never most of the data."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError, ProfileWarning
from cpcnn_core.profiles.losses import Losses, complete, row_names, without_features
from cpcnn_core.schema.profiles import Profiles

NAMES = [f"Cells_F{n}" for n in range(6)]


@pytest.fixture
def wells():
    rows = [(p, f"{r}{c:02d}") for p in ("P1", "P2") for r in "AB" for c in range(1, 13)]
    metadata = pd.DataFrame(rows, columns=["Metadata_Plate", "Metadata_Well"])
    features = np.random.default_rng(0).normal(size=(48, 6))
    return Profiles(features, metadata, list(NAMES))


def heard(profiles, *arguments):
    said = []
    return complete(profiles, said.append, *arguments), said


def test_nothing_is_said_where_nothing_is_missing(wells):
    found, said = heard(wells)
    assert found is wells
    assert said == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_feature_that_no_well_has_is_left_out_for_all_and_named(wells, value):
    wells.features[:, 2] = value
    before = wells.features[:, [0, 1, 3, 4, 5]].copy()
    found, said = heard(wells)
    assert said == ["1 of 6 features is left out, as no well has it: Cells_F2"]
    assert found.feature_names == [name for name in NAMES if name != "Cells_F2"]
    np.testing.assert_array_equal(found.features, before)
    wells.features[:, 5] = np.nan
    assert heard(wells)[1] == [
        "2 of 6 features are left out, as no well has them: Cells_F2, Cells_F5"
    ]


def test_wells_that_lack_a_feature_are_left_out_and_named(wells):
    wells.features[[3, 30], 1] = np.nan
    wells.features[30, 4] = np.inf
    found, said = heard(wells)
    keep = [n for n in range(48) if n not in (3, 30)]
    np.testing.assert_array_equal(found.features, wells.features[keep])
    assert (
        found.metadata["Metadata_Well"].tolist() == wells.metadata["Metadata_Well"][keep].tolist()
    )
    [text] = said
    assert text == (
        "2 of 48 wells are left out, for missing or infinite values of Cells_F1 (2), "
        "Cells_F4 (1): P1/A04, P2/A07"
    )
    with pytest.warns(ProfileWarning, match="2 of 48 wells are left out"):
        complete(wells)


def test_at_most_ten_are_named(wells):
    wells.features[:13, 0] = np.nan
    _, [text] = heard(wells)
    assert text.endswith(
        ": P1/A01, P1/A02, P1/A03, P1/A04, P1/A05, P1/A06, P1/A07, P1/A08, P1/A09, "
        "P1/A10 and 3 more"
    )


def test_most_wells_are_never_left_out(wells):
    wells.features[:24, 0] = np.nan
    assert len(heard(wells)[0].metadata) == 24
    wells.features[24, 3] = np.nan
    with pytest.raises(ProfileError) as raised:
        heard(wells)
    assert str(raised.value) == (
        "25 of 48 wells would be left out, for missing or infinite values of Cells_F0 (24), "
        "Cells_F3 (1); leave out such features instead, with --drop-features, e.g. "
        "--drop-features Cells_F0 Cells_F3, or measure them again"
    )
    wells.features[:] = np.nan
    with pytest.raises(
        ProfileError, match="none of the 6 features has a value in any well: Cells_F0"
    ):
        heard(wells)


def test_cells_are_counted_by_their_wells():
    random = np.random.default_rng(1)
    losses = Losses("cell")
    lost, total = {}, {}
    for _ in range(5):
        names = random.choice(["P1/A01", "P1/A02", "P1/A03"], 40)
        values = np.where(random.random((40, 2)) < 0.1, np.nan, 1)
        usable = losses.count(names, values, ["a", "b"])
        for name, row, use in zip(names, values, usable, strict=True):
            assert use == (row == 1).all()
            total[name] = total.get(name, 0) + 1
            lost[name] = lost.get(name, 0) + (not use)
    assert dict(losses.total) == total
    assert {name: losses.lost[name] for name in lost} == lost
    other = Losses("cell")
    other.count(np.array(["P1/A04"] * 3), np.full((3, 1), np.nan), ["a"])
    before = losses.features["a"]
    losses.add(other)
    assert losses.features["a"] == before + 3
    text = losses.text()
    assert f"{sum(lost.values()) + 3} of 203 cells are left out" in text
    assert f"P1/A01 ({lost['P1/A01']} of {total['P1/A01']})" in text
    assert text.endswith("; nothing is left of P1/A04")


def test_a_row_that_is_made_of_many_counts_as_many():
    losses = Losses("cell", total={"P1/A01": 30})
    usable = losses.count(
        np.array(["P1/A01", "P1/A01"]), np.array([[1], [np.nan]]), ["a"], np.array([10, 20])
    )
    assert usable.tolist() == [True, False]
    assert losses.lost == {"P1/A01": 20}
    assert losses.features == {"a": 20}


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ([], [0, 1, 2, 3, 4, 5]),
        (["Cells_F0"], [1, 2, 3, 4, 5]),
        (["*F[12]", "Cells_F5"], [0, 3, 4]),
        (["Cells_F?", "Cells_F0"], None),
        (["cells_f0"], None),
        (["F0"], None),
    ],
)
def test_features_are_left_out_by_name(wells, patterns, left):
    if left is None:
        with pytest.raises(ProfileError, match=r"no feature (is called|is left without)"):
            without_features(wells, patterns)
        return
    found = without_features(wells, patterns)
    assert found.feature_names == [NAMES[n] for n in left]
    np.testing.assert_array_equal(found.features, wells.features[:, left])


def test_rows_have_names(wells):
    assert row_names(wells)[[0, 47]].tolist() == ["P1/A01", "P2/B12"]
    metadata = wells.metadata[["Metadata_Well"]]
    assert row_names(Profiles(wells.features, metadata, NAMES))[0] == "A01"
    metadata = wells.metadata[["Metadata_Plate"]]
    assert row_names(Profiles(wells.features, metadata, NAMES))[4] == "row 5"
