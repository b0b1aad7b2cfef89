"""Several studies in one store, with channels by other names and in another order."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from cpcnn_core.cli.main import main
from cpcnn_core.crop_store.store import combine_stores, open_crops
from cpcnn_core.errors import ChannelError, CropStoreError

from .conftest import command_for


@pytest.fixture(scope="module")
def other(screen, tmp_path_factory):
    """Another study: two of the wells, other names, another order, a column of its own."""
    out = tmp_path_factory.mktemp("other")
    table = pd.read_csv(screen / "load_data.csv", dtype=str).head(3)
    table["Metadata_Donor"] = "7"
    table.to_csv(out / "load_data.csv", index=False)
    command = [*command_for(screen), "--channels", "Actin=AGP", "RNA", "Hoechst=DNA"]
    command[command.index("--load-data") + 1] = str(out / "load_data.csv")
    assert main([*command, "--out", str(out / "store")]) == 0
    return open_crops(out / "store")


MAPS = {"one": {"DNA": "DNA", "AGP": "AGP"}, "two": {"DNA": "Hoechst", "AGP": "Actin"}}


def test_studies_are_read_together_each_by_its_own_channels(store, other):
    both = combine_stores({"one": store, "two": other}, MAPS)
    assert both.channels == ("DNA", "AGP")
    assert (both.crop_px, both.dtype) == (store.crop_px, store.dtype)
    n = len(store)
    assert len(both) == n + len(other)
    rows = np.random.default_rng(2).permutation(np.repeat(np.arange(len(both)), 2))
    for row, crop in zip(rows, both.read(rows), strict=True):
        first = row < n
        expected = store.read([row])[0, [0, 3]] if first else other.read([row - n])[0, [2, 0]]
        np.testing.assert_array_equal(crop, expected)


def test_every_row_names_its_study_and_lacks_no_column(store, other):
    both = combine_stores({"one": store, "two": other}, MAPS)
    studies = ["one"] * len(store) + ["two"] * len(other)
    assert both.index["Metadata_Study"].tolist() == studies
    assert isinstance(both.index.index, pd.RangeIndex)
    assert both.column("Metadata_Donor").tolist() == [""] * len(store) + ["7"] * len(other)
    names = ["Metadata_Well", "Metadata_ObjectNumber"]
    pd.testing.assert_frame_equal(
        both.index[names],
        pd.concat([store.index[names], other.index[names]], ignore_index=True),
    )
    assert set(store.index["Metadata_Study"]) == {"made up"}


def test_studies_with_the_same_channels_need_no_map(store):
    both = combine_stores({"a": store, "b": store})
    assert both.channels == store.channels
    rows = np.array([3, len(store) + 3])
    np.testing.assert_array_equal(both.read(rows), store.read([3, 3]))
    mapped = combine_stores({"a": store, "b": store}, {"a": {"DNA": "DNA", "AGP": "AGP"}})
    np.testing.assert_array_equal(mapped.read(rows), store.read([3, 3])[:, [0, 3]])


def test_studies_that_were_combined_can_be_combined_again(store, other):
    both = combine_stores({"one": store, "two": other}, MAPS)
    again = combine_stores({"both": both, "one": store}, {"one": {"DNA": "DNA", "AGP": "AGP"}})
    rows = np.array([len(again) - 1, len(store) + 1, 0])
    expected = [store.read([len(store) - 1])[0, [0, 3]], both.read([len(store) + 1])[0]]
    np.testing.assert_array_equal(again.read(rows)[:2], np.stack(expected))
    swapped = combine_stores({"both": both}, {"both": {"DNA": "AGP", "AGP": "DNA"}})
    np.testing.assert_array_equal(swapped.read(rows[1:]), both.read(rows[1:])[:, ::-1])


def test_the_hash_tells_which_planes_are_read_and_from_which_study(store, other):
    first = combine_stores({"one": store, "two": other}, MAPS)
    same = combine_stores({"one": store, "two": other}, MAPS)
    turned = combine_stores(
        {"one": store, "two": other}, {**MAPS, "two": {"DNA": "Actin", "AGP": "Hoechst"}}
    )
    renamed = combine_stores(
        {"one": store, "three": other}, {"one": MAPS["one"], "three": MAPS["two"]}
    )
    assert first.sha256 == same.sha256
    assert len({first.sha256, turned.sha256, renamed.sha256, store.sha256}) == 4


def test_a_channel_that_is_not_there_is_named(store, other):
    with pytest.raises(ChannelError, match="study two has no channel DAPI for the model's DNA; it"):
        combine_stores({"one": store, "two": other}, {**MAPS, "two": {"DNA": "DAPI", "AGP": "RNA"}})
    with pytest.raises(ChannelError, match="study two has no channel DNA for the model's DNA"):
        combine_stores({"one": store, "two": other})
    with pytest.raises(ChannelError, match="expected DNA, AGP, got AGP, DNA for two"):
        combine_stores(
            {"one": store, "two": other}, {**MAPS, "two": {"AGP": "Actin", "DNA": "Hoechst"}}
        )
    with pytest.raises(CropStoreError, match="channels for three, but the studies are one"):
        combine_stores({"one": store}, {"three": {"DNA": "DNA"}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--crop-px", "20"], r"differ in crop_px \(one: 24, two: 20\); make their crops alike"),
        (["--dtype", "uint16"], r"differ in dtype \(one: uint8, two: uint16\)"),
    ],
)
def test_studies_whose_crops_differ_are_refused(screen, store, tmp_path, options, message):
    assert main([*command_for(screen), *options, "--out", str(tmp_path)]) == 0
    with pytest.raises(CropStoreError, match=message):
        combine_stores({"one": store, "two": open_crops(tmp_path)})


@pytest.mark.parametrize(
    ("scales", "common"),
    [
        ((0.65, 0.65), 0.65),
        ((0.65, 0.656), 0.65),
        ((0.65, 0.66), None),
        ((0.65, 0.325), None),
        ((0.65, None), None),
        ((None, 0.65), None),
        ((None, None), None),
    ],
)
def test_studies_together_have_a_scale_when_all_have_it(store, scales, common):
    one, two = (dataclasses.replace(store, um_per_px=scale) for scale in scales)
    assert combine_stores({"one": one, "two": two}).um_per_px == common
