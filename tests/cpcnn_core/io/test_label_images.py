"""Label images: object k has the value k, or the file is refused."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from cpcnn_core.errors import ImageError
from cpcnn_core.io.deepprofiler import objects_from_locations
from cpcnn_core.io.label_images import objects_from_labels, read_labels
from cpcnn_core.io.load_data import read_load_data


def labels(values, dtype):
    image = np.zeros((9, 9), dtype)
    for place, value in enumerate(values):
        image[3 * place : 3 * place + 2, 3:6] = value
    return image


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (labels([1, 2**31], np.uint32), "has the value 2147483648; expected labels from 0 to"),
        (labels([1, 2**32 + 5], np.uint64), "has the value 4294967301; expected labels from 0"),
        (labels([1, -2], np.int16), "has the value -2; expected labels from 0 to"),
        (
            labels([255, 255], np.uint8),
            "has no other values than 0 and 255, so it is a mask, in which",
        ),
        (labels([255], np.uint16), "has no other values than 0 and 255, so it is a mask, in which"),
        (labels([1, 2.5], np.float32), "holds float32 values; expected whole numbers"),
    ],
)
def test_values_that_are_no_labels_are_refused(tmp_path, image, message):
    tifffile.imwrite(tmp_path / "labels.tif", image)
    with pytest.raises(ImageError, match=f"labels.tif {message}"):
        read_labels(tmp_path / "labels.tif")


@pytest.mark.parametrize("values", [[], [1], [1, 255], [254, 255], [2**31 - 1], [256]])
def test_all_other_values_are_labels(tmp_path, values):
    image = labels(values, np.uint32)
    tifffile.imwrite(tmp_path / "labels.tif", image)
    np.testing.assert_array_equal(read_labels(tmp_path / "labels.tif"), image)


def load_data(folder):
    row = {"Metadata_Plate": "P1", "Metadata_Well": "A01", "Metadata_Site": "1"}
    pd.DataFrame([{**row, "FileName_DNA": "a.tif"}]).to_csv(folder / "load_data.csv", index=False)
    return folder / "load_data.csv"


def said_of(folder, source):
    read_load_data(load_data(folder), ("DNA",), objects=source)
    return source.notices


@pytest.mark.parametrize("name", ["P1_A01_1.tiff", "P2_A01_1.tif", "P1-A01-1.tif"])
def test_where_no_label_image_is_found_a_name_of_each_is_shown(tmp_path, name):
    folder = tmp_path / "labels"
    start = f"no site of load_data.csv has a label image: expected {folder}/P1_A01_1.tif, say; "
    said = said_of(tmp_path, objects_from_labels(folder))
    assert said == [f"{start}there is no folder {folder}"]
    folder.mkdir()
    tifffile.imwrite(folder / name, labels([1], np.uint8))
    said = said_of(tmp_path, objects_from_labels(folder))
    assert said == [f"{start}{folder} has {folder / name}"]
    tifffile.imwrite(folder / "P1_A01_1.tif", labels([1], np.uint8))
    assert said_of(tmp_path, objects_from_labels(folder)) == []


@pytest.mark.parametrize("name", ["P1/A01-1-Cells.csv", "P2/A01-1-Nuclei.csv", "A01.csv"])
def test_where_no_location_file_is_found_a_name_of_each_is_shown(tmp_path, name):
    folder = tmp_path / "locations"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("Nuclei_Location_Center_X,Nuclei_Location_Center_Y\n1,2\n")
    said = said_of(tmp_path, objects_from_locations(folder))
    expected = folder / "P1" / "A01-1-Nuclei.csv"
    assert said == [
        (
            f"no site of load_data.csv has a location file: expected {expected}, say; {folder} has "
            f"{folder / name}"
        )
    ]
