"""One plane of any file that microscopes and programs write."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from cpcnn_core.errors import ImageError
from cpcnn_core.io.images import read_plane

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


def saved(plane, kind, **options):
    file = io.BytesIO()
    Image.fromarray(plane).save(file, kind, **options)
    return file.getvalue()


def tiff(plane, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, plane, **options)
    return file.getvalue()


CONTENTS = {
    "tiff": tiff(PLANE16),
    "tiff, big endian": tiff(PLANE16, byteorder=">"),
    "bigtiff": tiff(PLANE16, bigtiff=True),
    "bigtiff, big endian": tiff(PLANE16, bigtiff=True, byteorder=">", compression="lzw"),
    "png": saved(PLANE16, "PNG"),
    "jpeg 2000": saved(PLANE16, "JPEG2000", irreversible=False),
    "jpeg 2000, bare": saved(PLANE16, "JPEG2000", irreversible=False, no_jp2=True),
    "pgm": b"P5\n# made by hand\n33 21\n65535\n" + PLANE16.astype(">u2").tobytes(),
}


@pytest.mark.parametrize("name", ["a.tif", "a.flex", "a.stk", "a.btf", "a.png", "a.npy", "a"])
@pytest.mark.parametrize("kind", CONTENTS)
def test_the_first_bytes_say_what_a_file_is(tmp_path, kind, name):
    path = tmp_path / name
    path.write_bytes(CONTENTS[kind])
    for page, series in ((None, None), (0, None), (None, 0), (0, 0)):
        read = read_plane(path, page, series)
        assert read.dtype == np.uint16
        np.testing.assert_array_equal(read, PLANE16)


@pytest.mark.parametrize("kind", CONTENTS)
def test_a_page_or_series_that_is_not_there_is_refused(tmp_path, kind):
    path = tmp_path / "a.tif"
    path.write_bytes(CONTENTS[kind])
    with pytest.raises(ImageError, match=f"{re.escape(str(path))} .*page 1"):
        read_plane(path, 1)
    with pytest.raises(ImageError, match=f"{re.escape(str(path))} .*series 1"):
        read_plane(path, series=1)


@pytest.mark.parametrize("suffix", ["flex", "tf8", "qptiff", "stk"])
def test_pages_of_tiff_of_any_suffix(tmp_path, suffix):
    planes = np.stack([PLANE16 // (k + 1) for k in range(5)])
    path = tmp_path / f"001001000.{suffix}"
    tifffile.imwrite(path, planes, compression="zlib", photometric="minisblack")
    for page in range(5):
        np.testing.assert_array_equal(read_plane(path, page), planes[page])
    with pytest.raises(ImageError, match="has 5 pages; say which page is which channel"):
        read_plane(path)


@pytest.mark.parametrize(
    "start",
    [b"version https://git-lfs", b"<html>", b"\x89HDF\r\n\x1a\n", b"%!PS-Adobe", b"\0" * 99, b"II"],
)
def test_what_is_no_image_is_refused_with_its_first_bytes(tmp_path, start):
    path = tmp_path / "a.tif"
    path.write_bytes(start)
    sentence = f"{path} is no image of a kind that is read (TIFF, PNG, JPEG, JPEG 2000, BMP, GIF, "
    with pytest.raises(ImageError, match=re.escape(sentence)) as raised:
        read_plane(path)
    assert str(raised.value).endswith(f"its first bytes are {start[:16]!r}")


@pytest.mark.parametrize("kind", ["PNG", "GIF", "MPO"])
def test_files_of_several_frames_are_refused(tmp_path, kind):
    more = [Image.fromarray(PLANE8 // 2), Image.fromarray(PLANE8 // 3)]
    path = tmp_path / "a.tif"
    path.write_bytes(saved(PLANE8, kind, save_all=True, append_images=more))
    with pytest.raises(ImageError, match="has several pages; say which page is which channel"):
        read_plane(path)
    with pytest.raises(ImageError, match="of which only page 0 can be read; page 2 was asked for"):
        read_plane(path, 2)


def test_the_first_frame_of_a_png_of_several_is_read(tmp_path):
    more = [Image.fromarray(PLANE8 // 2)]
    path = tmp_path / "a.png"
    path.write_bytes(saved(PLANE8, "PNG", save_all=True, append_images=more))
    np.testing.assert_array_equal(read_plane(path, 0), PLANE8)


def test_several_portable_greymaps_in_one_file_and_stretched_ones_are_refused(tmp_path):
    path = tmp_path / "a.pgm"
    for header, plane in ((b"P5 33 21 255\n", PLANE8), (b"P5 33 21 65535\n", PLANE16.byteswap())):
        one = header + plane.tobytes()
        path.write_bytes(one + b"\n")
        np.testing.assert_array_equal(read_plane(path), PLANE8 if len(one) < 1000 else PLANE16)
        path.write_bytes(2 * one)
        with pytest.raises(ImageError, match="has several pages"):
            read_plane(path)
    path.write_bytes(b"P5 33 21 4095\n" + (PLANE16 >> 4).astype(">u2").tobytes())
    with pytest.raises(ImageError, match="has another greatest value than 255 and 65535"):
        read_plane(path)


def test_eight_bits_of_other_kinds(tmp_path):
    path = tmp_path / "a"
    for kind in ("BMP", "PNG"):
        path.write_bytes(saved(PLANE8, kind))
        np.testing.assert_array_equal(read_plane(path), PLANE8)
    path.write_bytes(saved(PLANE8, "JPEG", quality=100))
    assert np.abs(read_plane(path).astype(int) - PLANE8).max() < 4


def test_an_image_whose_size_its_file_cannot_hold_takes_no_memory(tmp_path):
    path = tmp_path / "a.bmp"
    data = bytearray(saved(PLANE8, "BMP"))
    data[18:26] = (60_000).to_bytes(4, "little") * 2
    path.write_bytes(data)
    with pytest.raises(ImageError, match="cannot be read: its image would take"):
        read_plane(path)


@pytest.mark.parametrize(("colour", "bits", "takes"), [(0, 16, 2), (2, 8, 4), (6, 8, 4)])
def test_a_png_claims_the_bytes_of_its_kind_of_pixel(tmp_path, colour, bits, takes):
    def part(kind, data):
        summed = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + summed

    side = 20_000
    head = part(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0))
    pixels = part(b"IDAT", zlib.compress(bytes(1000)))
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + pixels + part(b"IEND", b""))
    with pytest.raises(ImageError, match=f"would take {takes * side**2} bytes of memory"):
        read_plane(path)


def test_a_large_image_is_read_without_a_warning(tmp_path):
    # Pillow takes more than 89 million pixels for an attack.
    plane = np.zeros((9000, 10_000), bool)
    plane[5, 7] = True
    Image.fromarray(plane).save(tmp_path / "a.png")
    read = read_plane(tmp_path / "a.png")
    assert np.argwhere(read).tolist() == [[5, 7]]


def test_what_is_no_file_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "none" / "a.tif", tmp_path / "a\0.tif"):
        with pytest.raises(ImageError, match="there is no image file"):
            read_plane(path)
    with pytest.raises(ImageError, match=r"cannot be read|there is no image file"):
        read_plane(tmp_path / ("n" * 300))


SOUND = {
    **CONTENTS,
    "strips": tiff(PLANE16, rowsperstrip=4, compression="lzw", predictor=True),
    "tiles": tiff(PLANE16, tile=(16, 16), compression="zlib"),
    "zstd": tiff(PLANE16, compression="zstd"),
    "jpeg in tiff": tiff(PLANE8, compression="jpeg"),
    "packbits": tiff(PLANE8, compression="packbits"),
    "float": tiff(PLANE16.astype(np.float32), compression="zlib", predictor=True),
    "white": tiff(PLANE16, photometric="miniswhite"),
    "pages": tiff(np.stack([PLANE16] * 3), ome=True, metadata={"axes": "CYX"}),
    "hyperstack": tiff(np.stack([PLANE16] * 3), truncate=True, photometric="minisblack"),
    "gif": saved(PLANE8, "GIF"),
    "jpeg": saved(PLANE8, "JPEG"),
    "bmp": saved(PLANE8, "BMP"),
}


def damaged(data, random):
    data = bytearray(data)
    at = int(random.integers(len(data)))
    how = random.integers(5)
    if how == 0:
        return data[:at]
    if how == 1:
        del data[at : at + int(random.integers(1, 200))]
        return data
    if how == 2:
        # Offsets, counts and sizes lie at a file's ends.
        at = at % 300 if random.random() < 0.5 else max(0, len(data) - at % 300 - 4)
        wild = random.choice([0, 1, 2**16 - 1, 2**30, 2**31 - 1, 2**32 - 1])
        data[at : at + 4] = int(wild).to_bytes(4, "little")
        return data
    for place in random.integers(len(data), size=random.integers(1, 20)):
        data[place] = random.integers(256)
    return data


@pytest.mark.parametrize("kind", SOUND)
def test_damaged_files_are_read_or_named(tmp_path, kind):
    random = np.random.default_rng(sum(kind.encode()))
    path = tmp_path / "a.tif"
    for _ in range(25):
        path.write_bytes(damaged(SOUND[kind], random))
        try:
            read = read_plane(path, random.choice([None, 0, 1]))
        except ImageError as error:
            said = str(error)
        else:
            said = f"{path} is read" if read.ndim == 2 and read.size else ""
        assert str(path) in said
        assert "\n" not in said
