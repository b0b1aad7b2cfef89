"""What is said of a screen's images before they are read."""

from pathlib import Path

import pytest

from cpcnn_core.io.sites import ImageFile, Site, illumination_notice, same_file_notices


def site(unfit=(), **images):
    """Return a site; an image is its file's name, or that and its illumination function's."""
    files = {}
    for channel, named in images.items():
        name, function = named if isinstance(named, tuple) else (named, None)
        files[channel] = ImageFile(Path(name), None, function and Path(function))
    return Site({}, files, lambda: None, unfit_illumination=tuple(unfit))


WITH, WITHOUT = ("a.tif", "i.npy"), "a.tif"


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([(WITHOUT, WITHOUT)] * 3, "no illumination functions: pixels are taken as stored"),
        ([(WITH, WITH)] * 3, "DNA, ER are divided by illumination functions"),
        ([(WITH, WITHOUT)] * 3, "DNA is divided by illumination functions; ER is not"),
        (
            [(WITH, WITHOUT), (WITH, WITH), (WITH, WITHOUT)],
            "DNA, ER (in 1 of 3 sites) are divided by illumination functions",
        ),
        (
            [(WITHOUT, WITHOUT), (WITH, WITHOUT)],
            "DNA (in 1 of 2 sites) is divided by illumination functions; ER is not",
        ),
    ],
)
def test_illumination(rows, sentence):
    sites = [site(DNA=dna, ER=er, Mito=WITH) for dna, er in rows]
    assert illumination_notice(sites, ["DNA", "ER"]) == sentence


def test_channels_that_are_not_divided():
    sites = [site(DNA=WITH, RNA=WITH, ER=WITHOUT, AGP=WITHOUT, Mito=WITHOUT)]
    assert illumination_notice(sites, ["DNA", "RNA", "ER", "AGP", "Mito"]) == (
        "DNA, RNA are divided by illumination functions; ER, AGP, Mito are not"
    )


def test_rows_that_name_no_image_are_not_counted():
    broken = Site({}, {"DNA": ImageFile(Path(), error="no file")}, lambda: None)
    sites = [site(DNA=WITH), broken, site()]
    assert illumination_notice(sites, ["DNA"]) == "DNA is divided by illumination functions"


def test_functions_that_fit_no_image_are_named():
    sites = [site(["IllumDNAx", "Illum_ER"], DNA=WITHOUT)] * 2
    assert illumination_notice(sites, ["DNA"]) == (
        "no illumination functions: pixels are taken as stored; not used, as no image of the "
        "table fits: IllumDNAx, Illum_ER"
    )


def test_two_channels_of_one_file():
    sites = [site(DNA="d.tif", AGP=f"{k}.tif", Mito=f"{k}.tif") for k in range(4)]
    assert same_file_notices(sites, ["DNA", "AGP", "Mito"]) == [
        "AGP and Mito are the same file in 4 of 4 rows; a different image is expected in each"
    ]
    assert same_file_notices(sites, ["DNA", "AGP"]) == []


def test_channels_of_one_file_in_some_rows_only_and_three_of_them():
    sites = [
        site(DNA="a", ER="a", AGP="a"),
        site(DNA="a", ER="b", AGP="b"),
        site(DNA="a", ER="b", AGP="c"),
        site(DNA="d", ER="e", AGP="e"),
    ]
    assert same_file_notices(sites, ["DNA", "ER", "AGP"]) == [
        "DNA, ER and AGP are the same file in 1 of 4 rows; a different image is expected in each",
        "ER and AGP are the same file in 2 of 4 rows; a different image is expected in each",
    ]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"page": 0}, {"page": 1}, False),
        ({"page": 1}, {"page": 1}, True),
        ({"page": 0}, {}, True),
        ({"page": 1, "series": 0}, {"page": 1, "series": 1}, False),
        ({"page": 1, "series": 0}, {"page": 1}, True),
        ({"illumination": Path("i.npy")}, {}, True),
        ({"error": "no file"}, {"error": "no file"}, False),
    ],
)
def test_pages_and_series_tell_images_of_one_file_apart(one, other, same):
    path = Path("a.tif")
    files = {"AGP": ImageFile(path, **one), "Mito": ImageFile(path, **other)}
    notices = same_file_notices([Site({}, files, lambda: None)], ["AGP", "Mito"])
    assert len(notices) == same
