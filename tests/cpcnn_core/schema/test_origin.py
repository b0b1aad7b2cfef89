"""Whether two belong together: every fact, known on both sides or on one, in any order."""

import itertools

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import ProfileError
from cpcnn_core.schema.columns import feature_names
from cpcnn_core.schema.origin import (
    FEATURES,
    Origin,
    aligned,
    find_differences,
    known_together,
    require_same_origin,
)
from cpcnn_core.schema.profiles import Profiles

# Of every fact two values that differ.
FACTS = {
    "model": ("one", "two"),
    "model_sha256": ("aa", "bb"),
    "layer": ("block6a_activation", "pooled"),
    "channels": ("DNA,ER", "ER,DNA"),
    "crop_px": ("128", "160"),
    "normalizer": ("minmax-per-crop", "percentile-per-field"),
    "mask_neighbors": ("False", "True"),
    "correction": ("sphering", "plate-mad"),
    "lambda": (0.1, 0.2),
    "components": (64, 16),
    "aggregation": ("1f", "2e"),
}
NAMES = feature_names(4, compartment="Cells")


def table(names, made=None, rows=2, seed=0):
    features = np.random.default_rng(seed).normal(size=(rows, len(names)))
    metadata = pd.DataFrame({"Metadata_Well": [f"A{n}" for n in range(rows)]})
    return Profiles(features, metadata, list(names), made or {})


def facts_of(mine, theirs, **options):
    return [found.fact for found in find_differences(mine, theirs, **options)]


@pytest.mark.parametrize("fact", FACTS)
def test_every_fact_counts_where_both_sides_know_it(fact):
    one, other = FACTS[fact]
    assert facts_of(Origin(NAMES, {fact: one}), Origin(NAMES, {fact: one})) == []
    for mine, theirs in itertools.permutations((one, other)):
        found = find_differences(Origin(NAMES, {fact: mine}), Origin(NAMES, {fact: theirs}))
        assert [(d.fact, d.mine, d.theirs) for d in found] == [(fact, str(mine), str(theirs))]
        words = f"the tables cannot be compared: {fact} is {mine} and {theirs}$"
        with pytest.raises(ProfileError, match=words):
            require_same_origin(table(NAMES, {fact: mine}), table(NAMES, {fact: theirs}))


@pytest.mark.parametrize("unknown", [{}, None, "", "None"])
@pytest.mark.parametrize("fact", FACTS)
def test_what_one_side_does_not_know_is_no_contradiction(fact, unknown):
    made = {} if unknown == {} else {fact: unknown}
    # Who does not tell of these has none.
    corrected = fact in ("correction", "lambda", "components", "aggregation")
    expected = [fact] if corrected else []
    assert facts_of(Origin(NAMES, made), Origin(NAMES, {fact: FACTS[fact][0]})) == expected
    assert facts_of(Origin(NAMES, {fact: FACTS[fact][0]}), Origin(NAMES, made)) == expected


def test_no_correction_is_called_none():
    assert facts_of(Origin(NAMES, {"correction": "none"}), Origin(NAMES)) == []
    one = Origin(NAMES, {"correction": "sphering"})
    assert facts_of(one, Origin(NAMES, {"correction": "none"})) == ["correction"]
    assert facts_of(one, Origin(NAMES), corrections=False) == []


def test_a_mean_and_a_learned_aggregation_differ_whatever_is_still_to_be_corrected():
    learned = Origin(NAMES, {"aggregation": "1f", "correction": "sphering"})
    assert facts_of(Origin(NAMES), learned, corrections=False) == ["aggregation"]


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        (("mine", "aa"), ("renamed", "aa"), []),
        (("mine", "aa"), ("mine", "bb"), ["model_sha256"]),
        (("mine", "aa"), ("other", "bb"), ["model"]),
        (("mine", None), ("other", "bb"), ["model"]),
        (("mine", None), ("mine", "bb"), []),
        ((None, None), ("other", "bb"), []),
        ((None, "aa"), ("other", "bb"), ["model_sha256"]),
    ],
)
def test_the_weights_tell_more_than_their_name(mine, theirs, expected):
    sides = [
        Origin(NAMES, {"model": name, "model_sha256": sha256}) for name, sha256 in (mine, theirs)
    ]
    assert facts_of(*sides) == facts_of(*sides[::-1]) == expected


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (NAMES, feature_names(4, compartment="Nuclei")),
        (NAMES, feature_names(4)),
        (NAMES, [f"My_big_cells_CPCNN_{n:03d}" for n in range(4)]),
        (NAMES, [f"CPCNN_{n:04d}" for n in range(4)]),
        (["Cells_AreaShape_Area", "Cells_CPCNN_000"], ["Cells_CPCNN_000", "Cells_AreaShape_Area"]),
        ([f"PC_{n:03d}" for n in range(4)], [f"PC_{n:03d}" for n in range(4)]),
        # The same numbers of two models, side by side.
        (
            ["Cells_CPCNN_000", "Cells_DINOv2S_000"],
            ["Nuclei_DINOv2S_000", "Nuclei_CPCNN_000"],
        ),
    ],
)
def test_features_are_the_same_by_model_and_number_in_any_order(mine, theirs):
    for order in itertools.permutations(range(len(theirs))):
        like = Origin([theirs[place] for place in order])
        cells = table(mine)
        assert find_differences(cells, like) == []
        found, note = aligned(cells, like)
        assert found.feature_names == like.feature_names
        # One by one: the column of what is called alike, compartment aside.
        for name, column in zip(found.feature_names, found.features.T, strict=True):
            own = [n for n in mine if n == name] or [n for n in mine if key(n) == key(name)]
            assert len(own) == 1
            np.testing.assert_array_equal(column, cells.features[:, mine.index(own[0])])
        assert (note == "") == (set(mine) == set(theirs))


def key(name):
    model, number = name.split("_")[-2:]
    return model, int(number)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (NAMES, NAMES[:3]),
        (NAMES, feature_names(5, compartment="Cells")),
        (NAMES, [*NAMES[:3], "Cells_CPCNN_004"]),
        (NAMES, feature_names(4, "DINOv2S", "Cells")),
        (feature_names(4), feature_names(4, "OpenPhenom")),
        # Measurements of other kinds are others in another compartment.
        (["Cells_AreaShape_Area"], ["Nuclei_AreaShape_Area"]),
        (["Cells_Texture_Contrast_DNA_3_00_256"], ["Nuclei_Texture_Contrast_DNA_3_00_256"]),
        # Cells and nuclei side by side are not cytoplasm twice.
        (["Cells_CPCNN_000", "Nuclei_CPCNN_000"], ["Cytoplasm_CPCNN_000", "Cells_CPCNN_000"]),
        (["Cells_CPCNN_000", "Cells_AreaShape_Area"], ["Nuclei_CPCNN_000", "Cells_AreaShape_Area"]),
        (NAMES, []),
    ],
)
def test_other_features_are_refused(mine, theirs):
    for one, other in itertools.permutations((mine, theirs)):
        assert facts_of(Origin(one), Origin(other)) == [FEATURES]
    with pytest.raises(ProfileError, match=r"expected .*, got .*; use features of the same model"):
        aligned(table(mine), Origin(theirs))


def test_the_sentence_names_both_counts():
    with pytest.raises(ProfileError, match=r"different features: 4 from Cells_CPCNN_000, 3 from"):
        require_same_origin(table(NAMES), table(NAMES[:3]))


def test_the_same_weights_are_the_same_whatever_their_features_are_called():
    mine, theirs = NAMES, feature_names(4, "MyNet", "Cells")[::-1]
    made = {"model_sha256": "aa"}
    assert facts_of(Origin(mine, made), Origin(theirs, made)) == []
    assert facts_of(Origin(mine, made), Origin(theirs)) == [FEATURES]
    assert facts_of(Origin(mine, made), Origin(feature_names(3, "MyNet"), made)) == [FEATURES]
    cells = table(mine, made)
    np.testing.assert_array_equal(
        aligned(cells, Origin(theirs, made))[0].features, cells.features[:, ::-1]
    )


@pytest.mark.parametrize(
    ("names", "expected"), [(["PC_000", "PC_001"], ["correction_sha256"]), (NAMES, [])]
)
def test_principal_components_mean_something_in_one_fit_only(names, expected):
    made = {"correction": "pca-mad", "components": 2}
    one, other = ({**made, "correction_sha256": sha256} for sha256 in ("11", "22"))
    assert facts_of(Origin(names, one), Origin(names, other)) == expected
    assert facts_of(Origin(names, one), Origin(names, made)) == []


def test_the_scale_of_the_images_may_differ():
    one, other = ({"um_per_px": value, "zoom": zoom} for value, zoom in (("0.5", "1"), ("1", "2")))
    assert facts_of(Origin(NAMES, one), Origin(NAMES, other)) == []


def test_values_are_compared_whatever_their_type():
    one = {"crop_px": 128, "mask_neighbors": False, "channels": ["DNA", "ER"], "lambda": 0.1}
    other = {"crop_px": "128", "mask_neighbors": "False", "channels": "DNA,ER", "lambda": "0.10"}
    assert facts_of(Origin(NAMES, one), Origin(NAMES, other)) == []


def test_a_third_table_is_compared_with_all_that_is_known():
    first, second = Origin(NAMES, {"model": "a"}), Origin(NAMES, {"model_sha256": "1"})
    both = Origin(NAMES, known_together(first, second))
    assert both.provenance == {"model": "a", "model_sha256": "1"}
    third = Origin(NAMES, {"model_sha256": "2"})
    assert facts_of(first, third) == []
    assert facts_of(both, third) == ["model_sha256"]


def test_features_that_are_in_order_are_not_copied():
    cells = table(NAMES)
    assert aligned(cells, Origin(NAMES))[0] is cells
    assert aligned(cells, Origin(feature_names(4)))[0].features is cells.features
