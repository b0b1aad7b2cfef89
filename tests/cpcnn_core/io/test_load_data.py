"""CellProfiler's LoadData table and the object tables beside it."""

import numpy as np
import pandas as pd
import pytest
import tifffile

from cpcnn_core.errors import ChannelError, ImageError, SiteError
from cpcnn_core.io.label_images import objects_from_labels, objects_of
from cpcnn_core.io.load_data import match_images, read_load_data
from cpcnn_core.io.sites import read_field

KEYS = {"Metadata_Plate": "P1", "Metadata_Well": "A01", "Metadata_Site": "1"}


def table(tmp_path, *rows):
    path = tmp_path / "load_data.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def image(tmp_path, name, value=3, shape=(8, 9)):
    tifffile.imwrite(tmp_path / name, np.full(shape, value, np.uint16))
    return {"PathName": str(tmp_path), "FileName": name}


def columns(files):
    return {f"{part}_{name}": value for name, f in files.items() for part, value in f.items()}


def field_of(sites, channels, labels=None):
    objects = objects_of(np.zeros((8, 9), int) if labels is None else labels)
    return read_field(sites[0], objects, channels)


def test_files_by_channel_and_metadata_as_text(tmp_path):
    files = {"OrigDNA": image(tmp_path, "a.tif", 1), "ER": image(tmp_path, "b.tif", 2)}
    path = table(tmp_path, {**KEYS, "Metadata_Dose": "010", "Other": "x", **columns(files)})
    sites = read_load_data(path, ("ER", "DNA"))
    assert sites[0].key == ("P1", "A01", "1")
    assert sites[0].metadata == {"Plate": "P1", "Well": "A01", "Site": "1", "Dose": "010"}
    assert field_of(sites, ("ER", "DNA")).image[:, 0, 0].tolist() == [2, 1]


@pytest.mark.parametrize("change", [str.upper, str.lower, "Image_{}".format])
def test_metadata_in_another_spelling_are_metadata(tmp_path, change):
    keys = {change(name): value for name, value in {**KEYS, "Metadata_Dose": "010"}.items()}
    path = table(tmp_path, {**keys, **columns({"DNA": image(tmp_path, "a.tif")})})
    metadata = dict(read_load_data(path, ("DNA",))[0].metadata)
    assert [metadata.pop(name) for name in ("Plate", "Well", "Site")] == ["P1", "A01", "1"]
    assert list(metadata.values()) == ["010"]


def test_a_table_without_rows_is_refused(tmp_path):
    path = tmp_path / "load_data.csv"
    pd.DataFrame(columns=[*KEYS, "FileName_DNA"]).to_csv(path, index=False)
    with pytest.raises(SiteError, match=r"load_data.csv has no rows below its header"):
        read_load_data(path, ("DNA",))


def test_channels_are_named_where_their_images_names_do_not_tell(tmp_path):
    path = table(tmp_path, {**KEYS, **columns({"Hoechst": image(tmp_path, "a.tif")})})
    with pytest.raises(ChannelError, match="it has Hoechst; say it with --channels DNA=NAME"):
        read_load_data(path, ("DNA",))
    assert "DNA" in read_load_data(path, ("DNA",), {"DNA": "Hoechst"})[0].images


def test_two_images_that_both_could_be_the_channel_are_not_guessed(tmp_path):
    files = {name: image(tmp_path, f"{name}.tif") for name in ("DNA", "OrigDNA")}
    path = table(tmp_path, {**KEYS, **columns(files)})
    with pytest.raises(ChannelError, match="does not tell which image is DNA"):
        read_load_data(path, ("DNA",))


def test_urls_and_frames(tmp_path):
    pages = np.arange(3 * 72, dtype=np.uint16).reshape(3, 8, 9)
    tifffile.imwrite(tmp_path / "a b.tif", pages, photometric="minisblack")
    url = (tmp_path / "a b.tif").as_uri()
    path = table(tmp_path, {**KEYS, "URL_OrigDNA": url, "Frame_OrigDNA": 2})
    assert field_of(read_load_data(path, ("DNA",)), ("DNA",)).image[0, 0, 0] == 144
    path = table(tmp_path, {**KEYS, "URL_OrigDNA": "s3://bucket/a.tif"})
    with pytest.raises(SiteError, match=r"begins with file:, got 's3://bucket/a.tif'"):
        read_load_data(path, ("DNA",))


@pytest.mark.parametrize("kind", ["npy", "mat", "tif"])
def test_illumination_functions_divide(tmp_path, kind):
    function = np.linspace(1, 3, 72).reshape(8, 9).astype(np.float32)
    path = tmp_path / f"illum.{kind}"
    if kind == "npy":
        np.save(path, function)
    elif kind == "mat":
        from scipy.io import savemat

        savemat(path, {"Image": function})
    else:
        tifffile.imwrite(path, function)
    files = {"OrigDNA": image(tmp_path, "a.tif", 300)}
    files["IllumDNA"] = {"PathName": str(tmp_path), "FileName": path.name}
    found = field_of(
        read_load_data(table(tmp_path, {**KEYS, **columns(files)}), ("DNA",)), ("DNA",)
    )
    np.testing.assert_allclose(found.image[0], 300 / function.astype(np.float64), rtol=1e-6)


def test_an_illumination_function_of_another_size_is_named(tmp_path):
    np.save(tmp_path / "illum.npy", np.ones((4, 4)))
    files = {"OrigDNA": image(tmp_path, "a.tif")}
    files["IllumDNA"] = {"PathName": str(tmp_path), "FileName": "illum.npy"}
    sites = read_load_data(table(tmp_path, {**KEYS, **columns(files)}), ("DNA",))
    with pytest.raises(ImageError, match=r"illum.npy is \(4, 4\), the image"):
        field_of(sites, ("DNA",))


def test_channels_of_different_size_are_named(tmp_path):
    files = {"DNA": image(tmp_path, "a.tif"), "ER": image(tmp_path, "b.tif", shape=(8, 8))}
    sites = read_load_data(table(tmp_path, {**KEYS, **columns(files)}), ("DNA", "ER"))
    with pytest.raises(
        ImageError, match=r"b.tif is 8 x 8 pixels, the DNA image of this site 8 x 9"
    ):
        field_of(sites, ("DNA", "ER"))


def test_missing_columns_double_sites_and_no_table(tmp_path):
    files = columns({"DNA": image(tmp_path, "a.tif")})
    with pytest.raises(SiteError, match="has no column Metadata_Plate or Metadata_Well"):
        read_load_data(table(tmp_path, {"Metadata_Site": 1, **files}), ("DNA",))
    with pytest.raises(SiteError, match="has site P1/A01/1 twice, in its rows 1 and 3"):
        read_load_data(
            table(
                tmp_path,
                {**KEYS, **files},
                {**KEYS, "Metadata_Site": 2, **files},
                {**KEYS, **files},
            ),
            ("DNA",),
        )
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00Metadata")
    with pytest.raises(SiteError, match=r"bytes.csv cannot be read as a CSV table"):
        read_load_data(tmp_path / "bytes.csv", ("DNA",))


def test_objects_of_label_images(tmp_path):
    labels = np.zeros((8, 9), np.uint16)
    labels[1:4, 2:5] = 7
    labels[6, 6:8] = 2
    tifffile.imwrite(tmp_path / "P1_A01_1.tif", labels)
    read = objects_from_labels(tmp_path)
    found = read(1, {"Plate": "P1", "Well": "A01", "Site": "1"})
    assert found.numbers.tolist() == [2, 7]
    assert found.centers.tolist() == [[6.0, 6.5], [2.0, 3.0]]
    assert read(1, {"Plate": "P1", "Well": "A01", "Site": "2"}) is None
    with pytest.raises(SiteError, match="asks for 'Row'; there is: Plate"):
        objects_from_labels("{Row}.tif")(1, {"Plate": "P1"})
    tifffile.imwrite(tmp_path / "P1_A01_3.tif", labels.astype(np.float32))
    with pytest.raises(ImageError, match="holds float32 values; expected whole numbers"):
        read(1, {"Plate": "P1", "Well": "A01", "Site": "3"})


@pytest.mark.parametrize(
    ("images", "sentence"),
    [
        (
            {"Actin": "OrigDNA"},
            "--channels names Actin, which the model does not have; its channels",
        ),
        ({"DNA": "Hoechst"}, "has no image Hoechst; it has OrigDNA"),
    ],
)
def test_names_that_do_not_exist_are_told_apart(images, sentence):
    with pytest.raises(ChannelError, match=sentence):
        match_images(["FileName_OrigDNA"], ["DNA"], images, "load_data.csv")
