"""One plane of any file that microscopes and programs write."""

import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from cpcnn_core.errors import ImageError
from cpcnn_core.readers.images import read_plane

RANDOM = np.random.default_rng(0)
PLANE16 = RANDOM.integers(0, 65536, (21, 33)).astype(np.uint16)
PLANE8 = RANDOM.integers(0, 256, (21, 33)).astype(np.uint8)


@pytest.mark.parametrize("plane", [PLANE8, PLANE16], ids=["8 bit", "16 bit"])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "zstd"])
def test_tiff(tmp_path, plane, compression):
    tifffile.imwrite(tmp_path / "a.tif", plane, compression=compression)
    read = read_plane(tmp_path / "a.tif")
    assert read.dtype == plane.dtype
    np.testing.assert_array_equal(read, plane)


@pytest.mark.parametrize("plane", [PLANE8, PLANE16], ids=["8 bit", "16 bit"])
def test_png(tmp_path, plane):
    Image.fromarray(plane).save(tmp_path / "a.PNG")
    read = read_plane(tmp_path / "a.PNG")
    assert read.dtype == plane.dtype
    np.testing.assert_array_equal(read, plane)


def test_ome_tiff_of_several_channels_is_read_by_page(tmp_path):
    planes = np.stack([PLANE16, PLANE16 // 2, PLANE16 // 3])
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, planes, metadata={"axes": "CYX"}, ome=True)
    for page in range(3):
        np.testing.assert_array_equal(read_plane(path, page), planes[page])
    with pytest.raises(ImageError, match="has 3 pages; say which page is which channel"):
        read_plane(path)
    with pytest.raises(ImageError, match="has 3 pages, and no page 3"):
        read_plane(path, 3)


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_colours_are_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    rgb = np.stack([PLANE8] * 3, axis=2)
    Image.fromarray(rgb).save(path)
    with pytest.raises(ImageError, match=re.escape("shape (21, 33, 3); expected one grey value")):
        read_plane(path)


@pytest.mark.parametrize("kind", ["tif", "png", "lzw"])
@pytest.mark.parametrize("part", [0, 0.02, 0.5, 0.95])
def test_truncated_files_are_named(tmp_path, kind, part):
    path = tmp_path / ("a.png" if kind == "png" else "a.tif")
    options = {"compression": "tiff_lzw"} if kind == "lzw" else {}
    Image.fromarray(PLANE16).save(path, **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ImageError, match=re.escape(f"{path} cannot be read to its end")):
        read_plane(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ImageError, match="there is no image file"):
        read_plane(tmp_path / "a.tif")
