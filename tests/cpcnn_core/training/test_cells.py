"""Which cells are learned from, which are kept, and what is refused."""

import numpy as np
import pytest

from cpcnn_core.errors import (
    ChannelError,
    CPCNNError,
    CropStoreError,
    ProfileError,
    TrainingError,
)
from cpcnn_core.training.cells import gather_cells
from cpcnn_core.training.config import DataConfig, StudyConfig


def of(cells, rows, column):
    return cells.store.index[f"Metadata_{column}"].to_numpy()[rows]


def test_classes_are_sorted_and_every_cell_is_on_one_side(make_config):
    cells = gather_cells(make_config())
    assert cells.classes == ("DMSO", "rings", "stripes")
    assert np.array_equal(np.sort(np.r_[cells.training, cells.validation]), np.arange(72))
    for rows, classes in (
        (cells.training, cells.training_classes),
        (cells.validation, cells.validation_classes),
    ):
        assert np.array_equal(np.array(cells.classes)[classes], of(cells, rows, "Treatment"))
    # A fifth of 24, rounded.
    assert np.bincount(cells.validation_classes).tolist() == [5, 5, 5]
    assert np.array_equal(cells.held_out, cells.validation)
    assert cells.left_out == 0
    assert cells.split["kind"] == "cells"


def test_held_out_cells_are_neither_learned_from_nor_kept(make_config):
    cells = gather_cells(make_config(split={"held_out": "Plate == 'P2' and Well == 'B01'"}))
    assert set(of(cells, cells.held_out, "Well")) == {"B01"}
    assert len(cells.held_out) == 6
    rest = np.r_[cells.training, cells.validation]
    assert len(rest) == 66
    assert not np.isin(cells.held_out, rest).any()
    assert cells.split["held_out_cells"] == 6


def test_studies_are_put_together_by_their_own_channels_and_filters(make_store, make_config):
    one = make_store(name="one", channels=("Hoechst", "ConA"), plates=("P1",))
    two = make_store(name="two", channels=("ER", "Actin", "DNA"), plates=("P1", "P9"))
    studies = (
        StudyConfig(str(one), where="Well != 'A01'", channels={"DNA": "Hoechst", "ER": "ConA"}),
        StudyConfig(str(two), where="Plate == 'P9'"),
    )
    cells = gather_cells(make_config(data={"studies": studies}))
    used = np.r_[cells.training, cells.validation]
    assert cells.store.channels == ("DNA", "ER")
    assert (len(used), cells.left_out) == (36 - 6 + 36, 6 + 36)
    assert {
        (s, p) for s, p in zip(of(cells, used, "Study"), of(cells, used, "Plate"), strict=True)
    } == {
        ("one", "P1"),
        ("two", "P9"),
    }


def test_validation_cells_of_other_classes_have_none(make_store, make_config):
    one = make_store(name="one")
    two = make_store(name="two", treatments={"A": "DMSO", "B": "blobs"})
    studies = (StudyConfig(str(one)), StudyConfig(str(two)))
    split = {"kind": "studies", "values": ("two",)}
    cells = gather_cells(make_config(data={"studies": studies}, split=split))
    names = of(cells, cells.validation, "Treatment")
    assert set(cells.validation_classes[names == "blobs"]) == {-1}
    assert set(cells.validation_classes[names == "DMSO"]) == {0}
    assert cells.split["only_in_validation"] == ["blobs"]


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"data": {"label": "Compound"}}, CropStoreError, "no column Metadata_Compound"),
        ({"split": {"held_out": "Plate = 'P1'"}}, ProfileError, "does not say yes or no"),
        ({"split": {"held_out": "Plate == 'P7'"}}, ProfileError, "true for none of the 72"),
        ({"split": {"kind": "plates", "values": ("P7",)}}, TrainingError, "P7"),
        ({"split": {"kind": "column"}}, TrainingError, "needs a column"),
        (
            {"split": {"kind": "column", "column": "Well", "values": ("B01", "B02")}},
            TrainingError,
            "rings",
        ),
        ({"evaluation": {"controls": "Treatment == 'water'"}}, ProfileError, "true for none"),
    ],
)
def test_what_makes_no_sense_is_said_in_a_line(make_config, changes, error, said):
    with pytest.raises(error) as raised:
        gather_cells(make_config(**changes))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_studies_that_do_not_fit_are_refused(store, make_store, make_config):
    small = make_store(name="small", crop_px=24, plates=("P1",))
    for studies, error, said in (
        ((StudyConfig(str(store)), StudyConfig(str(small))), CropStoreError, "crop_px"),
        ((StudyConfig(str(store)),) * 2, TrainingError, "two studies have the name"),
        ((StudyConfig(str(store), channels={"DNA": "Hoechst"}),), ChannelError, "Hoechst"),
        ((StudyConfig("nowhere"),), CropStoreError, "nowhere"),
    ):
        with pytest.raises(error, match=said):
            gather_cells(make_config(data={"studies": studies}))


@pytest.mark.parametrize("kind", ["cells", "plates"])
def test_a_class_of_one_cell_is_refused(make_store, make_config, kind):
    folder = make_store(columns=1)
    rest = "Treatment != 'rings' or (Plate == 'P1' and ObjectNumber == 1)"
    data = {"studies": (StudyConfig(str(folder), where=rest),)}
    values = ("P2",) if kind == "plates" else ()
    with pytest.raises(CPCNNError, match="rings") as error:
        gather_cells(make_config(data=data, split={"kind": kind, "values": values}))
    assert "\n" not in str(error.value)


def test_the_label_may_be_named_without_metadata(make_config):
    assert gather_cells(make_config(data={"label": "Treatment"})).label == "Metadata_Treatment"
    assert DataConfig().label == "Metadata_Treatment"


def test_a_model_of_several_studies_knows_its_scale_when_they_have_the_same(
    make_store, make_config
):
    folders = {
        scale: make_store(name=f"at {scale}", plates=("P1",), um_per_px=scale)
        for scale in (0.65, 0.325, None)
    }

    def gather(*scales):
        studies = tuple(StudyConfig(str(folders[scale])) for scale in scales)
        return gather_cells(make_config(data={"studies": studies}))

    alone = gather(0.65)
    assert (alone.store.um_per_px, alone.notice) == (0.65, "")
    unknown = gather(None)
    assert (unknown.store.um_per_px, unknown.notice) == (None, "")
    different = gather(0.65, 0.325)
    assert different.store.um_per_px is None
    assert different.notice == (
        "the studies differ in micrometres per pixel (at 0.65: 0.65, at 0.325: 0.325), so the "
        "model's card says none, and images will not be resampled for it"
    )
    assert "(at 0.65: 0.65, at None: not recorded)" in gather(0.65, None).notice
