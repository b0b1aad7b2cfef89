"""Illumination functions: what divides pixels, and what is refused by name."""

import re

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.io import savemat

from cpcnn_core.errors import ImageError
from cpcnn_core.io.images import read_illumination
from cpcnn_core.io.sites import ImageFile, Objects, Site, read_field

FUNCTION = np.linspace(1, 3, 8 * 9).reshape(8, 9)
PIXELS = np.arange(8 * 9, dtype=np.uint16).reshape(8, 9) * 100


def write(path, kind, function=FUNCTION):
    if kind == "npy":
        with path.open("wb") as file:
            np.save(file, function)
    elif kind.startswith("mat"):
        options = {"mat 4": {"format": "4"}, "mat, compressed": {"do_compression": True}}
        with path.open("wb") as file:
            savemat(file, {"Image": function, "Other": [1, 2]}, **options.get(kind, {}))
    else:
        tifffile.imwrite(path, function)
    return path


def divide(path, **options):
    image = path.parent / "image.tif"
    tifffile.imwrite(image, PIXELS)
    site = Site({}, {"DNA": ImageFile(image, None, path, **options)}, lambda: None)
    return read_field(site, Objects(np.zeros((0, 2)), np.zeros(0, int)), ("DNA",)).image[0]


@pytest.mark.parametrize("kind", ["npy", "mat", "mat, compressed", "mat 4", "tif"])
def test_every_kind_divides_alike(tmp_path, kind):
    path = write(tmp_path / "illum.mat", kind)
    np.testing.assert_array_equal(read_illumination(path), FUNCTION)
    found = divide(path)
    assert found.dtype == np.float32
    for place, value in np.ndenumerate(PIXELS):
        assert found[place] == np.float32(int(value) / float(FUNCTION[place]))


@pytest.mark.parametrize("kind", ["npy", "mat", "tif"])
@pytest.mark.parametrize("name", ["illum.npy", "illum.tif", "illum"])
def test_the_content_says_what_it_is(tmp_path, kind, name):
    np.testing.assert_array_equal(read_illumination(write(tmp_path / name, kind)), FUNCTION)


@pytest.mark.parametrize(
    "function", [np.asfortranarray(FUNCTION), FUNCTION.astype(">f4"), FUNCTION[..., None]]
)
def test_other_layouts_are_the_same_function(tmp_path, function):
    read = read_illumination(write(tmp_path / "illum.npy", "npy", function))
    np.testing.assert_array_equal(read, FUNCTION.astype(function.dtype))


def test_numpy_files_of_python_2(tmp_path):
    path = write(tmp_path / "illum.npy", "npy")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"(8, 9), }  ", b"(8L, 9L), }"))
    assert path.read_bytes() != data
    np.testing.assert_array_equal(read_illumination(path), FUNCTION)


def test_a_page_of_a_stack_of_functions(tmp_path):
    path = tmp_path / "illum.tif"
    tifffile.imwrite(path, np.stack([FUNCTION, FUNCTION * 2]), photometric="minisblack")
    np.testing.assert_array_equal(
        divide(path, illumination_page=1), (PIXELS / (FUNCTION * 2)).astype("f4")
    )
    with pytest.raises(ImageError, match=r"illum.tif has 2 pages; say which"):
        divide(path)
    with pytest.raises(ImageError, match=r"illum.tif has 1 series, and no series 3"):
        divide(path, illumination_page=1, illumination_series=3)


BAD = {"0.0": 0.0, "-0.5": -0.5, "nan": np.nan, "inf": np.inf, "-inf": -np.inf}


@pytest.mark.parametrize("kind", ["npy", "mat", "tif"])
@pytest.mark.parametrize("value", BAD)
def test_what_nothing_can_be_divided_by_is_named(tmp_path, kind, value):
    function = FUNCTION.copy()
    function[2:5, 4] = BAD[value]
    path = write(tmp_path / "illum.npy", kind, function)
    sentence = (
        f"{path} has values that are zero, negative or no number: 3 of 72, the first ({value}) at "
    )
    with pytest.raises(ImageError, match=re.escape(sentence + "row 2, column 4;")):
        divide(path)


def test_zeros_of_an_eight_bit_function_are_named(tmp_path):
    function = np.full((8, 9), 255, np.uint8)
    function[0, :] = 0
    Image.fromarray(function).save(tmp_path / "illum.png")
    with pytest.raises(ImageError, match=r"no number: 9 of 72, the first \(0\) at row 0, column 0"):
        read_illumination(tmp_path / "illum.png")


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (np.ones((8, 9, 3)), "has shape (8, 9, 3) of float64 values"),
        (np.ones((1, 8, 9)), "has shape (1, 8, 9) of float64 values"),
        (np.ones(9), "has shape (9,) of float64 values"),
        (np.float64(2), "has shape () of float64 values"),
        (np.ones((0, 9)), "has shape (0, 9) of float64 values"),
        (np.ones((8, 9), bool), "has shape (8, 9) of bool values"),
        (np.ones((8, 9), complex), "holds complex128 values"),
        (np.full((8, 9), "1"), "holds <U1 values"),
        (np.full((8, 9), None), "holds object values"),
    ],
)
def test_other_arrays_are_refused(tmp_path, function, sentence):
    path = write(tmp_path / "illum.npy", "npy", function)
    with pytest.raises(ImageError, match=re.escape(f"the illumination function {path} ")) as raised:
        read_illumination(path)
    assert sentence in str(raised.value)


def test_nothing_is_unpickled(tmp_path):
    class Boom:
        def __reduce__(self):
            return (print, ("executed",))

    np.save(tmp_path / "illum.npy", np.array([Boom()], object), allow_pickle=True)
    with pytest.raises(ImageError, match="holds object values"):
        read_illumination(tmp_path / "illum.npy")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ImageError, match="there is no illumination function"):
        read_illumination(tmp_path)
    path = tmp_path / "illum.mat"
    savemat(path, {"Picture": FUNCTION})
    with pytest.raises(ImageError, match="it has no variable Image"):
        read_illumination(path)
    np.savez(tmp_path / "illum.npz", FUNCTION)
    (tmp_path / "illum.npz").rename(tmp_path / "illum.npy")
    with pytest.raises(ImageError, match="is no image of a kind that is read"):
        read_illumination(tmp_path / "illum.npy")


def test_a_header_cannot_take_more_memory_than_the_file_has(tmp_path):
    path = write(tmp_path / "illum.npy", "npy")
    data = path.read_bytes().replace(b"(8, 9), }          ", b"(999999, 999999), }")
    assert len(data) == path.stat().st_size
    path.write_bytes(data)
    with pytest.raises(ImageError, match="cannot be read to its end: buffer is smaller"):
        read_illumination(path)


def test_a_compressed_function_cannot_take_more_memory_than_is_believable(tmp_path):
    path = tmp_path / "illum.mat"
    savemat(path, {"Image": np.zeros((10_000, 7000), np.uint8)}, do_compression=True)
    with pytest.raises(ImageError, match="its image would take 560000000 bytes of memory"):
        read_illumination(path)


@pytest.mark.parametrize("kind", ["npy", "mat", "mat, compressed", "mat 4"])
def test_damaged_files_are_read_or_named(tmp_path, kind):
    random = np.random.default_rng(len(kind))
    path = tmp_path / ("illum.mat" if "mat" in kind else "illum")
    sound = write(path, kind).read_bytes()
    for turn in range(60):
        data = bytearray(sound)
        if turn % 3 == 0:
            data = data[: random.integers(len(data))]
        for place in random.integers(len(data) or 1, size=turn % 4):
            data[place : place + 1] = bytes([random.integers(256)])
        path.write_bytes(data)
        try:
            read = read_illumination(path)
        except ImageError as error:
            said = str(error)
        else:
            said = str(path) if read.ndim == 2 and np.isfinite(read).all() else ""
        assert str(path) in said
        assert "\n" not in said


def test_functions_of_another_size_are_named_with_the_image(tmp_path):
    path = write(tmp_path / "illum.npy", "npy", FUNCTION[:4])
    with pytest.raises(ImageError, match=r"illum.npy is \(4, 9\), the image .*image.tif \(8, 9\)"):
        divide(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_named(tmp_path, value):
    plane = np.ones((8, 9), np.float32)
    plane[3, 1:3] = value
    tifffile.imwrite(tmp_path / "a.tif", plane)
    site = Site({}, {"DNA": ImageFile(tmp_path / "a.tif")}, lambda: None)
    with pytest.raises(
        ImageError, match=r"a.tif has NaN or infinite pixels: 2 of 72, .* row 3, column 1"
    ):
        read_field(site, Objects(np.zeros((0, 2)), np.zeros(0, int)), ("DNA",))


def test_a_function_so_small_that_pixels_become_infinite_is_told(tmp_path):
    path = write(tmp_path / "illum.npy", "npy", np.full((8, 9), 1e-300))
    with pytest.raises(ImageError, match=r"image.tif has NaN or infinite pixels: 71 of 72"):
        divide(path)
