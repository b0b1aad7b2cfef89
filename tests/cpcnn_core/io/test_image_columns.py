"""Which file an image of a LoadData row is; every column is honoured or refused by name."""

import re
from pathlib import Path

import pytest

from cpcnn_core.errors import ChannelError, SiteError
from cpcnn_core.io.load_data import (
    image_files,
    match_images,
    refuse_nameless,
    unfit_illumination,
)
from cpcnn_core.io.sites import ImageFile, Objects, Site, read_field, read_stored

TABLE = Path("screen/load_data.csv")


def file_of(source=TABLE, **columns):
    """Return the image OrigDNA of row 3; `X_` stands for OrigDNA, `I_` for IllumDNA."""
    names = {"X": "OrigDNA", "I": "IllumDNA"}
    row = {f"{key[:-1]}_{names[key[-1]]}": value for key, value in columns.items()}
    return image_files(row, {"DNA": "OrigDNA"}, source, 3)["DNA"]


def error_of(**columns):
    image = file_of(**columns)
    assert image.error
    with pytest.raises(SiteError, match=re.escape(image.error)):
        read_stored(image)
    return image.error


@pytest.mark.parametrize(
    ("columns", "path"),
    [
        ({"FileNameX": "a.tif"}, "screen/a.tif"),
        ({"FileNameX": "a.tif", "PathNameX": "images"}, "screen/images/a.tif"),
        ({"FileNameX": "a.tif", "PathNameX": "/data/images"}, "/data/images/a.tif"),
        ({"FileNameX": "/data/a.tif", "PathNameX": "images"}, "/data/a.tif"),
        ({"FileNameX": "a.tif", "PathNameX": "file:/data/im%20ages"}, "/data/im ages/a.tif"),
        ({"URLX": "file:/data/a.tif"}, "/data/a.tif"),
        ({"URLX": "file:///data/a.tif"}, "/data/a.tif"),
        ({"URLX": "FILE:///data/a.tif"}, "/data/a.tif"),
        ({"URLX": "file://localhost/data/a.tif"}, "/data/a.tif"),
        ({"URLX": "file:///data/%C3%A9%20%231.tif"}, "/data/é #1.tif"),
        ({"URLX": "file:///data/a#1?.tif"}, "/data/a#1?.tif"),
        ({"URLX": "file:images/a.tif"}, "screen/images/a.tif"),
        ({"URLX": "/data/a%20b.tif"}, "/data/a%20b.tif"),
        ({"URLX": "images/a.tif"}, "screen/images/a.tif"),
    ],
)
def test_file_names_and_urls(columns, path):
    assert file_of(**columns) == ImageFile(Path(path))


def test_columns_of_cellprofiler_s_own_tables():
    row = {
        "Image_FileName_OrigDNA": "a.tif",
        "Image_PathName_OrigDNA": "images",
        "Image_Frame_OrigDNA": "2",
        "Image_URL_IllumDNA": "file:///i.npy",
        "Channel_OrigDNA": "7",
        "Image_Series_OrigDNA": "1",
    }
    assert match_images(list(row), ["DNA"], {}, TABLE) == {"DNA": "OrigDNA"}
    found = image_files(row, {"DNA": "OrigDNA"}, TABLE, 1)["DNA"]
    assert found == ImageFile(Path("screen/images/a.tif"), 2, Path("/i.npy"), 1)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", None),
        ("  ", None),
        ("0", 0),
        ("0.0", 0),
        ("3", 3),
        ("3.", 3),
        ("12.00", 12),
        (" 4 ", 4),
    ],
)
def test_frames_and_series_as_programs_write_them(text, number):
    found = file_of(FileNameX="a.tif", FrameX=text, SeriesX="")
    assert found.error == ""
    assert (found.page, found.series) == (number, None)
    found = file_of(FileNameX="a.tif", FrameX="", SeriesX=text)
    assert (found.page, found.series) == (None, number)
    found = file_of(FileNameX="a.tif", FileNameI="i.tif", FrameI=text, SeriesI=text)
    assert found[1:] == (None, Path("screen/i.tif"), None, number, number, "")


@pytest.mark.parametrize("text", ["-1", "1.5", "nan", "None", "first", "1;2", "²", "1e3", "0x1"])
@pytest.mark.parametrize("column", ["FrameX", "SeriesX", "FrameI", "SeriesI"])
def test_other_frames_and_series_are_refused_by_name(column, text):
    name = column[:-1] + ("_OrigDNA" if column.endswith("X") else "_IllumDNA")
    assert error_of(FileNameX="a.tif", FileNameI="i.npy", **{column: text}) == (
        f"screen/load_data.csv has {name} {text!r} in row 3; expected a whole number from 0, "
        "or nothing"
    )


@pytest.mark.parametrize(
    ("columns", "path"),
    [
        ({}, None),
        ({"FileNameI": ""}, None),
        ({"PathNameI": "illum"}, None),
        ({"FileNameI": "i.npy"}, "screen/i.npy"),
        ({"FileNameI": "i.npy", "PathNameI": "illum"}, "screen/illum/i.npy"),
        ({"URLI": "file:///data/illum/i.npy"}, "/data/illum/i.npy"),
        ({"URLI": "illum/i.npy"}, "screen/illum/i.npy"),
        ({"URLI": "", "FileNameI": "i.npy"}, "screen/i.npy"),
    ],
)
def test_illumination_functions(columns, path):
    found = file_of(FileNameX="a.tif", **columns)
    assert found == ImageFile(Path("screen/a.tif"), None, path and Path(path))


def test_the_illumination_function_of_an_image_called_as_its_channel():
    row = {"FileName_DNA": "a.tif", "URL_IllumDNA": "i.npy"}
    found = image_files(row, {"DNA": "DNA"}, TABLE, 1)
    assert found["DNA"].illumination == Path("screen/i.npy")


@pytest.mark.parametrize(
    "columns",
    [{}, {"FileNameX": ""}, {"FileNameX": " ", "PathNameX": "images"}, {"URLX": "", "FrameX": "0"}],
)
def test_a_row_without_a_file_fails_alone(columns):
    assert error_of(**columns) == (
        "screen/load_data.csv gives no file of OrigDNA in row 3: expected FileName_OrigDNA or a "
        "URL_OrigDNA that begins with file:, got ''"
    )


@pytest.mark.parametrize("scheme", ["s3", "gs", "http", "https", "ftp", "HTTPS"])
def test_files_elsewhere_are_refused_by_name(scheme):
    url = f"{scheme}://bucket/a.tif"
    assert f"begins with file:, got '{url}'" in error_of(URLX=url)
    sentence = f"has PathName_OrigDNA '{scheme}://bucket' in row 3; only files that this machine"
    assert sentence in error_of(FileNameX="a.tif", PathNameX=f"{scheme}://bucket")
    assert f"has FileName_OrigDNA '{url}' in row 3; only" in error_of(FileNameX=url)
    assert (
        f"of IllumDNA in row 3: expected FileName_IllumDNA or a URL_IllumDNA that begins with "
        f"file:, got '{url}'" in error_of(FileNameX="a.tif", URLI=url)
    )


def test_omero_and_another_machine_are_refused_by_name():
    assert "got 'omero:iid=7'" in error_of(URLX="omero:iid=7")
    assert "'server' is another machine; expected file:///" in error_of(URLX="file://server/a.tif")


@pytest.mark.skipif("__import__('os').name == 'nt'", reason="these are this machine's paths")
@pytest.mark.parametrize(
    "folder", [r"C:\data", r"d:\data\x", "C:/data", r"\\server\share", r"\data"]
)
def test_absolute_paths_of_windows_are_refused_by_name(folder):
    assert error_of(FileNameX="a.tif", PathNameX=folder) == (
        f"screen/load_data.csv has PathName_OrigDNA {folder!r} in row 3; that is a place on a "
        "Windows machine; write it as this machine knows it"
    )
    assert f"has FileName_OrigDNA {folder!r} in row 3; that is" in error_of(FileNameX=folder)


@pytest.mark.skipif("__import__('os').name == 'nt'", reason="these are this machine's paths")
def test_relative_paths_of_windows_are_understood(tmp_path):
    table = tmp_path / "load_data.csv"
    found = file_of(table, PathNameX=r"images\week 1", FileNameX="a.tif")
    assert found.path == tmp_path / "images" / "week 1" / "a.tif"
    assert file_of(table, FileNameX=r"images\a.tif").path == tmp_path / "images" / "a.tif"
    assert file_of(table, URLX=r"images\a.tif").path == tmp_path / "images" / "a.tif"
    # Here a backslash may be part of a name.
    (tmp_path / r"b\a.tif").touch()
    assert file_of(table, FileNameX=r"b\a.tif").path == tmp_path / r"b\a.tif"


def test_file_name_and_url_shall_name_one_file(tmp_path):
    table = tmp_path / "load_data.csv"
    (tmp_path / "images").mkdir()
    (tmp_path / "link").symlink_to("images")
    place = {"FileNameX": "a b.tif", "PathNameX": "images"}
    for url in (
        (tmp_path / "images" / "a b.tif").as_uri(),
        "images/a b.tif",
        "link/a b.tif",
        "images/../images/a b.tif",
        "s3://bucket/elsewhere/a%20b.tif",
        "https://host/a%20b.tif?key=1",
    ):
        assert file_of(table, **place, URLX=url) == ImageFile(tmp_path / "images" / "a b.tif")
    for url in ("file:///old/a b.tif", "images/b.tif", "s3://bucket/b.tif", "omero:iid=1"):
        found = file_of(table, **place, URLX=url)
        assert found.error == (
            f"{table} has URL_OrigDNA {url!r} in row 3; FileName_OrigDNA says "
            f"{tmp_path / 'images' / 'a b.tif'}: leave out the column that is wrong"
        )


def test_a_table_of_which_no_row_names_its_files_is_refused():
    good, bad = file_of(FileNameX="a.tif"), file_of(URLX="s3://bucket/a.tif")
    refuse_nameless([{"DNA": bad}, {"DNA": good}])
    refuse_nameless([{}, {}])
    refuse_nameless([])
    with pytest.raises(SiteError, match=r"in row 3: expected .*, got 's3://bucket/a.tif'"):
        refuse_nameless([{"ER": good, "DNA": bad}, {"DNA": bad, "ER": bad}])


def test_a_site_fails_with_its_row_where_one_of_its_images_has_no_file():
    site = Site({}, {"DNA": file_of(FileNameX="")}, lambda: None)
    with pytest.raises(SiteError, match=r"load_data.csv gives no file of OrigDNA in row 3"):
        read_field(site, Objects([], []), ("DNA",))


def test_every_image_is_listed_once():
    columns = ["FileName_OrigDNA", "URL_OrigDNA", "Image_FileName_OrigDNA", "PathName_ER"]
    with pytest.raises(ChannelError, match="which image is ER; it has OrigDNA; say it with"):
        match_images(columns, ["DNA", "ER"], {}, TABLE)


@pytest.mark.parametrize(
    ("columns", "unfit"),
    [
        (["FileName_IllumDNA"], ()),
        (["URL_IllumDNA", "PathName_IllumDNA"], ()),
        (["FileName_IllumDNAx"], ("IllumDNAx",)),
        (["FileName_OrigER", "FileName_IllumER"], ()),
        (["URL_Illum_DNA", "FileName_DNAIllum"], ("Illum_DNA", "DNAIllum")),
        (["Image_FileName_illumDNA"], ("illumDNA",)),
        (["Metadata_Illumination", "ObjectsFileName_Illum", "Frame_IllumX"], ()),
    ],
)
def test_illumination_functions_of_no_image_are_told(columns, unfit):
    columns = ["FileName_OrigDNA", *columns]
    assert unfit_illumination(columns, {"DNA": "OrigDNA"}) == unfit
    assert unfit_illumination([*columns, "FileName_Illuminated"], {"DNA": "Illuminated"}) == unfit
