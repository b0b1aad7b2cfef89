"""Splits hold what their rule says, in any order of rows, and refuse what cannot be learned."""

import hashlib
import json
from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.errors import TrainingError
from cpcnn_core.training.splits import Split, assign_split, describe

LABEL = "Metadata_Treatment"


def screen(study="S1", plates=("P1", "P2", "P3", "P4", "P5"), treatments="abcde", cells=7):
    """A well of every treatment on every plate, two sites each."""
    rows = [
        (study, plate, f"A{number:02d}", site, cell, treatment)
        for plate in plates
        for number, treatment in enumerate(treatments, 1)
        for site in (1, 2)
        for cell in range(1, cells + number)
    ]
    names = ["Study", "Plate", "Well", "Site", "ObjectNumber", "Treatment"]
    return pd.DataFrame(rows, columns=[f"Metadata_{name}" for name in names])


def kept(index, split, label=LABEL):
    return assign_split(index, split, label) == "validation"


def hash_of(*parts):
    text = "/".join(map(str, parts)).encode()
    return int(hashlib.blake2b(text, digest_size=8).digest()[::-1].hex(), 16)


def slow_cells(index, fraction, seed):
    """Class by class: sort by hash, keep the first of them."""
    of_class = defaultdict(list)
    for row in index.itertuples(index=False):
        *name, treatment = row
        of_class[treatment].append((hash_of(seed, *name), tuple(name)))
    names = set()
    for members in of_class.values():
        size = min(max(round(fraction * len(members)), 1), len(members) - 1)
        names |= {name for _, name in sorted(members)[:size]}
    return np.array([tuple(row)[:-1] in names for row in index.itertuples(index=False)])


@pytest.mark.parametrize(("fraction", "seed"), [(0.2, 0), (0.2, 1), (0.001, 0), (0.999, 0)])
def test_cells_equal_a_slow_loop(fraction, seed):
    index = screen()
    found = kept(index, Split("cells", fraction=fraction, seed=seed))
    assert np.array_equal(found, slow_cells(index, fraction, seed))
    # Every class is on both sides.
    both = index.assign(kept=found).groupby(LABEL)["kept"].nunique()
    assert (both == 2).all()


def test_what_is_returned():
    sides = assign_split(screen(), Split())
    assert sides.dtype == object
    assert set(sides) == {"training", "validation"}


@pytest.mark.parametrize(
    "split",
    [
        Split("cells"),
        Split("plates"),
        Split("column", column="Metadata_Well", seed=3, fraction=0.4),
        Split("plates", values=("P2",)),
    ],
)
def test_the_order_of_rows_does_not_matter(split):
    index = screen()
    if split.kind == "column":
        index[LABEL] = np.where(index["Metadata_Site"] == 1, "a", "b")
    order = np.random.default_rng(0).permutation(len(index))
    shuffled = index.iloc[order].reset_index(drop=True)
    assert np.array_equal(kept(index, split)[order], kept(shuffled, split))
    # Nor does the frame's own numbering, or the kind of its columns.
    other = shuffled.astype(str).astype("category").set_index(np.arange(len(index)) * 3)
    assert np.array_equal(kept(other, split), kept(shuffled, split))


def test_new_plates_move_hardly_a_cell():
    before, after = screen(cells=60), screen(plates=("P1", "P2", "P3", "P4", "P5", "P6"), cells=60)
    old, new = kept(before, Split()), kept(after, Split())
    changed = old != new[: len(before)]
    assert changed.mean() < 0.02
    assert abs(new.mean() - 0.2) < 0.01


def test_seeds_draw_other_cells():
    index = screen(cells=60)
    one, two = (kept(index, Split(seed=seed)) for seed in (0, 1))
    # Independent draws of a fifth have a twenty-fifth in common.
    assert abs((one & two).mean() - 0.04) < 0.015


def test_wells_are_kept_whole_and_of_every_class():
    index = screen()
    found = kept(index, Split("wells", fraction=0.3, seed=5))
    wells = index.assign(kept=found).groupby(["Metadata_Plate", "Metadata_Well"])["kept"]
    assert (wells.min() == wells.max()).all()
    for _, own in index.assign(kept=found).groupby("Metadata_Treatment"):
        names = {f"{p}/{w}" for p, w in own[["Metadata_Plate", "Metadata_Well"]].to_numpy()}
        ordered = sorted(names, key=lambda name: hash_of(5, *("S1", *name.split("/"))))
        expected = set(ordered[: max(1, round(0.3 * len(names)))])
        drawn = own[own["kept"]]
        assert {
            f"{p}/{w}" for p, w in drawn[["Metadata_Plate", "Metadata_Well"]].to_numpy()
        } == expected


def test_a_drawn_plate_is_kept_as_a_whole():
    index = screen()
    found = kept(index, Split("plates", fraction=0.4, seed=5))
    plates = sorted(set(index["Metadata_Plate"]), key=lambda plate: hash_of(5, "S1", plate))
    assert np.array_equal(found, index["Metadata_Plate"].isin(plates[:2]))


def test_every_study_gives_plates_of_its_own():
    index = pd.concat([screen("S1"), screen("S2"), screen("S3", plates=("P1",))])
    found = kept(index, Split("plates", fraction=0.2))
    plates = index[found][["Metadata_Study", "Metadata_Plate"]].drop_duplicates()
    # S3 has one plate, which is learned from, though others of this name may be kept.
    assert Counter(plates["Metadata_Study"]) == {"S1": 1, "S2": 1}


def test_named_plates_are_kept():
    index = screen()
    found = kept(index, Split("plates", values=("P2", "P5")))
    assert np.array_equal(found, index["Metadata_Plate"].isin(["P2", "P5"]))


def test_a_column_of_numbers_is_named_as_text():
    index = screen()
    index["Metadata_Replicate_Use"] = np.where(index["Metadata_Plate"] == "P4", 2, 0)
    found = kept(index, Split("column", column="Metadata_Replicate_Use", values=("2",)))
    assert np.array_equal(found, index["Metadata_Plate"] == "P4")


def test_another_study_may_have_treatments_of_its_own():
    index = pd.concat([screen("S1", treatments="abc"), screen("S2", treatments="cde")])
    split = Split("studies", values=("S2",))
    found = kept(index, split)
    assert np.array_equal(found, index["Metadata_Study"] == "S2")
    told = describe(index, split, assign_split(index, split))
    assert told["only_in_validation"] == ["d", "e"]
    assert (told["training"]["classes"], told["validation"]["classes"]) == (3, 3)
    drawn = kept(index, Split("studies", fraction=0.5))
    assert len(set(index["Metadata_Study"][drawn])) == 1


def test_treatments_can_be_left_out_as_a_whole():
    index = screen()
    split = Split("column", column=LABEL, fraction=0.4)
    told = describe(index, split, assign_split(index, split))
    assert len(told["only_in_validation"]) == 2
    assert told["validation_values"] == told["only_in_validation"]


def test_the_description_is_what_happened():
    index, split = screen(), Split("cells", fraction=0.25, seed=9)
    sides = assign_split(index, split)
    told = describe(index, split, sides)
    assert json.loads(json.dumps(told)) == told
    assert told == {
        "kind": "cells",
        "column": "",
        "fraction": 0.25,
        "seed": 9,
        "validation_values": [],
        "only_in_validation": [],
        "training": {"cells": int((sides == "training").sum()), "plates": 5, "classes": 5},
        "validation": {"cells": int((sides == "validation").sum()), "plates": 5, "classes": 5},
    }
    named = Split("plates", values=("P2", "P1"))
    told = describe(index, named, assign_split(index, named))
    assert (told["fraction"], told["seed"]) == (None, None)
    assert told["validation_values"] == ["S1/P1", "S1/P2"]
    assert told["validation"]["plates"] == 2


@pytest.mark.parametrize(
    ("change", "split", "message"),
    [
        (
            lambda t: t[~((t[LABEL] == "a") & (t.index > 0))],
            Split("cells"),
            "needs 2 cells of every class; 1 of 5 classes have 1: a; leave them out",
        ),
        (
            lambda t: t[(t[LABEL] != "a") | (t["Metadata_Plate"] == "P2")],
            Split("plates", values=("P2",)),
            "leaves 1 of 5 classes without cells in training: a (14) cells in validation",
        ),
        (
            lambda t: t,
            Split("plates", values=("P1", "P2", "P3", "P4", "P5")),
            "the split by plates leaves none of 450 cells for training",
        ),
        (
            lambda t: t[t["Metadata_Plate"] == "P1"],
            Split("plates"),
            "the split by plates leaves none of 90 cells for validation",
        ),
        (
            lambda t: t,
            Split("plates", values=("P2", "P9")),
            "no cell has the Metadata_Plate P9, to be kept for validation; there are P1, P2, P3",
        ),
        (
            lambda t: t,
            Split("studies"),
            "the split by studies leaves none of 450 cells for validation",
        ),
        (
            lambda t: t[t[LABEL] == "a"],
            Split("cells"),
            "training needs at least 2 classes, got a only",
        ),
        (
            lambda t: t,
            Split("column", column="Metadata_Batch"),
            "the crops have no column Metadata_Batch; they have Metadata_Study, Metadata_Plate",
        ),
        (
            lambda t: t.assign(Metadata_Plate=t["Metadata_Plate"].where(t.index > 2)),
            Split("plates"),
            "3 of 450 cells have no Metadata_Plate; leave them out",
        ),
        (
            lambda t: t.assign(Metadata_Treatment=np.where(t.index < 4, " ", t[LABEL])),
            Split("cells"),
            "4 of 450 cells have no Metadata_Treatment; leave them out",
        ),
        (
            lambda t: pd.concat([t, t[:3]]),
            Split("cells"),
            "3 of 453 cells are there twice, such as S1/P1/A01/1/1: one could be learned from",
        ),
        (lambda t: t[:0], Split("cells"), "0 of 0 cells have no Metadata_Treatment"),
    ],
)
def test_what_cannot_be_learned_from_is_one_line(change, split, message):
    index = change(screen())
    with pytest.raises(TrainingError) as error:
        assign_split(index, split)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_long_list_of_classes_is_cut():
    index = screen(treatments="abcdefghij", cells=1)
    lacking = index[(index[LABEL] == "a") | (index["Metadata_Plate"] == "P1")]
    with pytest.raises(TrainingError, match=r"9 of 10 .* b \(4\), c \(6\), .* and 4 more cells"):
        assign_split(lacking, Split("plates", values=("P1",)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "rows"}, "a split by cells, wells, plates, studies, column, got 'rows'"),
        ({"kind": "wells", "values": ("A01",)}, "a split by wells draws them, it takes no values"),
        ({"kind": "column"}, "a split by column needs a column, e.g. Metadata_Replicate"),
        ({"kind": "plates", "column": "x"}, "a split by plates takes no column, got 'x'"),
        ({"values": ("P1",)}, "a split by cells draws them, it takes no values ('P1',)"),
        ({"fraction": 0}, "expected a fraction between 0 and 1, got 0"),
        ({"fraction": 1.0}, "got 1.0"),
        ({"fraction": float("nan")}, "got nan"),
    ],
)
def test_a_rule_that_makes_no_sense_is_one_line(arguments, message):
    with pytest.raises(TrainingError) as error:
        Split(**arguments)
    assert message in str(error.value)
