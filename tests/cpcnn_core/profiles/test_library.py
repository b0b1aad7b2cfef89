"""The nearest treatments equal those of a plain loop."""

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.library import build_library
from cpcnn_core.schema.profiles import Profiles


@pytest.fixture
def controls(wells):
    return (wells.metadata["Metadata_Treatment"] == "DMSO@0").to_numpy()


@pytest.fixture
def library(wells, arrays, controls):
    wells.features = arrays["whitened_0.01"]
    return build_library(wells, controls=controls)


def test_the_nearest_treatments_equal_the_reference(library, inputs, arrays):
    names = inputs["annot_treatment"].tolist()
    for query in range(0, 120, 7):
        found = library.nearest(arrays["profiles"][query : query + 1], 120)
        similarity = dict(zip(names, arrays["cosine"][query], strict=True))
        assert sorted(found["Metadata_Treatment"]) == sorted(names)
        expected = [similarity[name] for name in found["Metadata_Treatment"]]
        np.testing.assert_allclose(found["similarity"], expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(
            found["similarity"], sorted(arrays["cosine"][query], reverse=True), atol=1e-12
        )
        few = library.nearest(arrays["profiles"][query : query + 1], 5)
        pd.testing.assert_series_equal(few["similarity"], found["similarity"][:5])


def test_several_wells_are_asked_about_with_their_mean(library, arrays):
    wells = arrays["whitened_0.01"][40:47]
    one, other = library.nearest(wells), library.nearest(wells.mean(axis=0, keepdims=True))
    pd.testing.assert_frame_equal(one, other)


def test_replicates_are_counted_and_controls_are_no_treatment(library, wells):
    counts = wells.metadata["Metadata_Treatment"].value_counts()
    metadata = library.treatments.metadata
    assert "DMSO@0" not in set(metadata["Metadata_Treatment"])
    assert (
        metadata["Metadata_Replicates"].tolist() == counts[metadata["Metadata_Treatment"]].tolist()
    )


def test_what_is_excluded_is_not_found(library, wells):
    rows = wells.metadata[wells.metadata["Metadata_Treatment"] == "T030@1.5"]
    own = library.same_as(["Metadata_Treatment"], rows)
    assert own.sum() == 1
    found = library.nearest(wells.features[rows.index], 200, exclude=own)
    assert len(found) == len(own) - 1
    assert "T030@1.5" not in set(found["Metadata_Treatment"])
    plate = library.same_as(["Metadata_Plate"], rows)
    on_it = set(
        wells.metadata["Metadata_Treatment"][
            wells.metadata["Metadata_Plate"].isin(rows["Metadata_Plate"])
        ]
    ) - {"DMSO@0"}
    assert set(library.treatments.metadata["Metadata_Treatment"][plate]) == on_it
    everything = np.ones(len(own), bool)
    assert len(library.nearest(wells.features[:1], exclude=everything)) == 0


def test_wells_without_a_treatment_are_left_out():
    rows = pd.DataFrame({"Metadata_Treatment": ["a", "", None, " "]})
    library = build_library(Profiles(np.eye(4), rows, list("wxyz")))
    assert library.treatments.metadata["Metadata_Treatment"].tolist() == ["a"]
    rows["Metadata_Treatment"] = ""
    with pytest.raises(ProfileError, match="no well has a treatment in the column"):
        build_library(Profiles(np.eye(4), rows, list("wxyz")))


def test_what_cannot_be_asked_is_one_line(library, wells):
    with pytest.raises(ProfileError, match="fitted on 48 features, got 47"):
        library.nearest(wells.features[:1, 1:])
    with pytest.raises(ProfileError, match="zero in every feature"):
        library.nearest(np.zeros((1, 48)))
    with pytest.raises(ProfileError, match="at least 1 treatment to be found, got 0"):
        library.nearest(wells.features[:1], 0)
    with pytest.raises(ProfileError, match="there is no column Metadata_Dose"):
        library.same_as(["Metadata_Dose"], wells.metadata)
    without = build_library(wells)
    with pytest.raises(ProfileError, match="p-values compare with control wells"):
        without.nearest(wells.features[:1], significance=True)


def test_treatments_that_are_numbers_are_found_by_name():
    genes = pd.DataFrame({"Metadata_Entrez": [7157.0, 672, 7157, np.nan]})
    library = build_library(Profiles(np.eye(4), genes, list("wxyz")), "Metadata_Entrez")
    assert library.treatments.texts("Metadata_Entrez").tolist() == ["7157", "672"]
    assert library.treatments.metadata["Metadata_Replicates"].tolist() == [2, 1]
    asked = pd.DataFrame({"Metadata_Entrez": ["7157"]})
    assert library.same_as(["Metadata_Entrez"], asked).tolist() == [True, False]
    found = library.nearest(np.array([[1.0, 0, 1, 0]]))
    assert found["Metadata_Entrez"].tolist() == [7157, 672]
    assert found["Metadata_Entrez"].dtype == np.int64


@pytest.mark.parametrize("kind", ["category", "string", "string[pyarrow]"])
def test_treatments_of_pandas_own_types(kind):
    names = pd.DataFrame({"Metadata_Treatment": pd.Series(["a", "b", None, "a"], dtype=kind)})
    library = build_library(Profiles(np.eye(4), names, list("wxyz")))
    metadata = library.treatments.metadata
    assert metadata["Metadata_Treatment"].tolist() == ["a", "b"]
    assert metadata["Metadata_Replicates"].tolist() == [2, 1]
    assert library.same_as(["Metadata_Treatment"], names[1:2]).tolist() == [False, True]


def test_a_column_of_the_same_name_stays_beside_ours():
    rows = pd.DataFrame({"Metadata_Treatment": ["a", "b", "a"], "Metadata_Replicates": [7, 8, 7]})
    library = build_library(Profiles(np.eye(3), rows, list("xyz")))
    found = library.nearest(np.eye(3)[:1])
    assert found["Metadata_Replicates"].tolist() == [2, 1]
    assert found["Metadata_Replicates_in_table"].tolist() == [7, 8]
    assert library.wells.metadata["Metadata_Replicates"].tolist() == [7, 8, 7]


def test_wells_that_say_nothing_share_nothing():
    rows = pd.DataFrame({"Metadata_Treatment": ["a", "b"], "Metadata_Batch": ["", "x"]})
    library = build_library(Profiles(np.eye(2), rows, list("xy")))
    for nothing in ("", None, np.nan):
        asked = pd.DataFrame({"Metadata_Batch": [nothing]}, dtype=object)
        assert library.same_as(["Metadata_Batch"], asked).tolist() == [False, False]
