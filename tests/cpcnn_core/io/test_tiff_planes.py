"""Planes of TIFF files, counted and read; the files are written here, byte by byte."""

import re
import struct
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from cpcnn_core.errors import ImageError
from cpcnn_core.io.images import read_plane

RANDOM = np.random.default_rng(0)
STACK = RANDOM.integers(0, 65536, (3, 21, 33)).astype(np.uint16)
PLANE = STACK[0]
PIXELS = STACK.astype("<u2").tobytes()
NBYTES = PLANE.nbytes
FIRST = 8

OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
    'UUID="urn:uuid:1"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" '
    'Type="uint16" SizeX="33" SizeY="21" SizeC="{size}" SizeZ="1" SizeT="1">'
    '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}</Pixels></Image></OME>'
)


def write_tiff(path, pages, data):
    """Write pages of (tag, type, count, value) entries; values of bytes lie elsewhere."""
    out = bytearray(struct.pack("<2sHI", b"II", 42, 0) + data)
    link = 4
    for tags in pages:
        entries = []
        for tag, kind, count, value in sorted(tags):
            if isinstance(value, bytes):
                out += b"\0" * (len(out) % 2)
                value, out = len(out), out + value  # noqa: PLW2901
            entries.append(struct.pack("<HHII", tag, kind, count, value))
        out += b"\0" * (len(out) % 2)
        out[link : link + 4] = struct.pack("<I", len(out))
        out += struct.pack("<H", len(entries)) + b"".join(entries)
        link, out = len(out), out + struct.pack("<I", 0)
    path.write_bytes(out)
    return path


def page(offset=FIRST, text="", height=21, width=33, bits=16, white=False, kind=0, more=()):
    """Return the tags of an uncompressed grey page whose pixels begin at an offset."""
    tags = {
        254: (4, 1, kind),
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, 1, bits),
        259: (3, 1, 1),
        262: (3, 1, 0 if white else 1),
        273: (4, 1, offset),
        277: (3, 1, 1),
        278: (4, 1, height),
        279: (4, 1, min(height * width * bits // 8, 2**32 - 1)),
    }
    if text:
        tags[270] = (2, len(text) + 1, text.encode() + b"\0")
    return [(tag, *entry) for tag, entry in (tags | dict(more)).items()]


def pages(*texts):
    return [page(FIRST + k * NBYTES, text) for k, text in enumerate(texts)]


def stack_of_metamorph(path, planes=3):
    more = {33628: (4, 0, FIRST), 33629: (5, planes, b"\0" * 24 * planes)}
    return write_tiff(path, [page(more=more)], PIXELS[: planes * NBYTES])


def hyperstack_of_imagej(path, planes=3):
    text = f"ImageJ=1.53t\nimages={planes}\nslices={planes}\n"
    return write_tiff(path, [page(text=text)], PIXELS)


def stack_of_tifffile(path, planes=3):
    tifffile.imwrite(path, STACK, truncate=True, photometric="minisblack")
    return path


def stack_of_tifffile_from_a_mac(path, planes=3):
    tifffile.imwrite(path, STACK, truncate=True, photometric="minisblack", byteorder=">")
    return path


HIDDEN = [
    stack_of_metamorph,
    hyperstack_of_imagej,
    stack_of_tifffile,
    stack_of_tifffile_from_a_mac,
]


@pytest.mark.parametrize("write", HIDDEN)
def test_planes_behind_the_first_page_are_planes(tmp_path, write):
    path = write(tmp_path / "stack.stk")
    with tifffile.TiffFile(path) as file:
        assert len(file.pages) == 1
    with pytest.raises(ImageError, match="has 3 planes; say which plane is which channel"):
        read_plane(path)
    with pytest.raises(ImageError, match="has 3 planes, and no plane 3"):
        read_plane(path, 3)
    for k in range(3):
        read = read_plane(path, k)
        assert read.dtype == np.uint16
        assert read.dtype.isnative
        np.testing.assert_array_equal(read, STACK[k])


def test_a_stack_of_one_plane_is_an_image(tmp_path):
    np.testing.assert_array_equal(read_plane(stack_of_metamorph(tmp_path / "a.stk", 1)), PLANE)


def test_a_plane_split_from_a_stack_keeps_its_description_and_is_read(tmp_path):
    for text in ("ImageJ=1.53\nimages=3\nchannels=3\n", '{"shape": [3, 21, 33]}'):
        path = write_tiff(tmp_path / "a.tif", [page(text=text)], PIXELS[:NBYTES])
        np.testing.assert_array_equal(read_plane(path), PLANE)


def test_a_hyperstack_that_was_cut_is_not_taken_for_its_first_plane(tmp_path):
    path = hyperstack_of_imagej(tmp_path / "a.tif", planes=5)
    with pytest.raises(ImageError, match="has 5 planes; say which"):
        read_plane(path)
    np.testing.assert_array_equal(read_plane(path, 1), STACK[1])
    with pytest.raises(ImageError, match="cannot be read to its end"):
        read_plane(path, 4)


def test_a_description_that_only_looks_like_one_of_a_stack_is_none(tmp_path):
    for text in ('{"shape": 7}', '{"shape": [3, 21', '["shape": ]'):
        path = write_tiff(tmp_path / "a.tif", [page(text=text)], PIXELS)
        np.testing.assert_array_equal(read_plane(path), PLANE)


@pytest.mark.parametrize("options", [{"volumetric": True, "tile": (1, 16, 16)}, {}])
def test_planes_in_one_page_are_refused(tmp_path, options):
    path = tmp_path / "a.tif"
    options = options or {"planarconfig": "separate"}
    tifffile.imwrite(path, STACK[:, :16, :32], photometric="minisblack", **options)
    for number in (None, 0):
        with pytest.raises(ImageError, match="has 3 planes in one page"):
            read_plane(path, number)


def test_thumbnails_are_no_planes(tmp_path):
    small = STACK[0, ::3, ::3].tobytes()
    at = FIRST + len(PIXELS)
    thumbnail = page(at, height=7, width=11, kind=1)
    path = write_tiff(tmp_path / "a.tif", [page(), thumbnail], PIXELS + small)
    np.testing.assert_array_equal(read_plane(path), PLANE)
    with pytest.raises(ImageError, match="has 1 page, and no page 1"):
        read_plane(path, 1)
    # Zeiss's LSM, and others that put one before or between.
    order = [thumbnail, page(), thumbnail, page(FIRST + NBYTES), thumbnail]
    path = write_tiff(tmp_path / "b.tif", order, PIXELS + small)
    np.testing.assert_array_equal(read_plane(path, 0), STACK[0])
    np.testing.assert_array_equal(read_plane(path, 1), STACK[1])
    path = write_tiff(tmp_path / "c.tif", [thumbnail], PIXELS + small)
    assert read_plane(path).shape == (7, 11)


def test_zeiss_lsm(tmp_path):
    header = struct.pack("<IiiiiiiiIi", 67127628, 500, 33, 21, 2, 1, 1, 2, 16, 10)
    info = {34412: (1, 500, header.ljust(500, b"\0"))}
    at = FIRST + len(PIXELS)
    thumbnail = page(at, height=7, width=11, bits=8, kind=1)
    data = PIXELS + bytes(7 * 11)
    two = [page(more=info), thumbnail, page(FIRST + NBYTES), thumbnail]
    path = write_tiff(tmp_path / "a.lsm", two, data)
    with pytest.raises(ImageError, match="has 2 pages; say which"):
        read_plane(path)
    for k in range(2):
        np.testing.assert_array_equal(read_plane(path, k), STACK[k])
    path = write_tiff(tmp_path / "b.lsm", two[:2], data)
    np.testing.assert_array_equal(read_plane(path), PLANE)


@pytest.mark.parametrize("ome", [False, True])
def test_the_levels_of_a_pyramid_are_no_planes(tmp_path, ome):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, ome=ome) as file:
        file.write(STACK, subifds=1, photometric="minisblack")
        file.write(STACK[:, ::2, ::2], subfiletype=1, photometric="minisblack")
    with pytest.raises(ImageError, match="has 3 pages; say which"):
        read_plane(path)
    for k in range(3):
        np.testing.assert_array_equal(read_plane(path, k), STACK[k])
    with tifffile.TiffWriter(path, ome=ome) as file:
        file.write(PLANE, subifds=1)
        file.write(PLANE[::2, ::2], subfiletype=1)
    np.testing.assert_array_equal(read_plane(path), PLANE)


def test_pages_of_other_sizes_are_planes(tmp_path):
    smaller = page(FIRST + NBYTES, height=10, width=16)
    path = write_tiff(tmp_path / "a.tif", [page(), smaller], PIXELS)
    with pytest.raises(ImageError, match="has 2 pages"):
        read_plane(path)
    assert read_plane(path, 1).shape == (10, 16)


def test_series_of_ome_tiff(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(STACK, metadata={"axes": "CYX"})
        file.write(STACK[1] // 2, metadata={"axes": "YX"})
    np.testing.assert_array_equal(read_plane(path, series=1), STACK[1] // 2)
    np.testing.assert_array_equal(read_plane(path, 0, 1), STACK[1] // 2)
    np.testing.assert_array_equal(read_plane(path, 2, 0), STACK[2])
    # As in CellProfiler, a page without a series is one of the first.
    np.testing.assert_array_equal(read_plane(path, 2), STACK[2])
    for options, sentence in (
        ({}, "has 4 pages in 2 series; say which"),
        ({"series": 0}, "has 3 pages; say which"),
        ({"page": 3}, "has 3 pages, and no page 3"),
        ({"page": 1, "series": 1}, "has 1 page, and no page 1"),
        ({"series": 2}, "has 2 series, and no series 2"),
        ({"page": -1}, "no page -1"),
        ({"series": -1}, "no series -1"),
    ):
        with pytest.raises(ImageError, match=sentence):
            read_plane(path, **options)


def test_other_tiff_has_one_series(tmp_path):
    path = write_tiff(tmp_path / "a.flex", pages("", "", ""), PIXELS)
    np.testing.assert_array_equal(read_plane(path, 2, 0), STACK[2])
    with pytest.raises(ImageError, match="has 1 series, and no series 1"):
        read_plane(path, 0, 1)


def test_ome_tiff_is_counted_in_the_order_of_its_xml(tmp_path):
    data = "".join(f'<TiffData FirstC="{2 - k}" IFD="{k}" PlaneCount="1"/>' for k in range(3))
    text = OME.format(size=3, data=data)
    path = write_tiff(tmp_path / "a.ome.tif", pages(text, "", ""), PIXELS)
    for k in range(3):
        np.testing.assert_array_equal(read_plane(path, k), STACK[2 - k])


def test_a_plane_that_the_xml_names_and_the_file_lacks_is_refused(tmp_path):
    data = "".join(
        f'<TiffData FirstC="{c}" IFD="{k}" PlaneCount="1"/>' for c, k in ((0, 0), (2, 1))
    )
    text = OME.format(size=3, data=data)
    path = write_tiff(tmp_path / "a.ome.tif", pages(text, ""), PIXELS)
    np.testing.assert_array_equal(read_plane(path, 2), STACK[1])
    with pytest.raises(ImageError, match="describes a page 1, but does not hold it"):
        read_plane(path, 1)


def test_files_of_one_ome_dataset_are_each_themselves(tmp_path):
    data = "".join(
        f'<TiffData FirstC="{c}" IFD="{k}">'
        f'<UUID FileName="{n}.ome.tif">urn:uuid:{n}</UUID></TiffData>'
        for c, n, k in ((0, 0, 0), (1, 1, 0), (2, 1, 1))
    )
    text = OME.format(size=3, data=data)
    whole = OME.format(size=3, data=data).replace('UUID="urn:uuid:1"', 'UUID="urn:uuid:0"', 1)
    first = write_tiff(tmp_path / "0.ome.tif", [page(text=whole)], PIXELS)
    second = write_tiff(tmp_path / "1.ome.tif", pages(text, ""), PIXELS[NBYTES:])
    np.testing.assert_array_equal(read_plane(first), STACK[0])
    np.testing.assert_array_equal(read_plane(second, 1), STACK[2])
    first.unlink()
    np.testing.assert_array_equal(read_plane(second, 0), STACK[1])
    with pytest.raises(ImageError, match="has 2 pages; say which"):
        read_plane(second)


def test_xml_that_does_not_describe_all_pages_is_not_believed(tmp_path):
    text = OME.format(size=1, data='<TiffData FirstC="0" IFD="1" PlaneCount="1"/>')
    path = write_tiff(tmp_path / "a.ome.tif", pages(text, "", ""), PIXELS)
    with pytest.raises(ImageError, match="has 3 pages; say which"):
        read_plane(path)
    np.testing.assert_array_equal(read_plane(path, 0), STACK[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("options", [{}, {"compression": "lzw"}, {"byteorder": ">"}])
def test_white_as_zero_is_turned_round(tmp_path, dtype, options):
    plane = RANDOM.integers(0, np.iinfo(dtype).max, (21, 33), dtype, endpoint=True)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.iinfo(dtype).max - plane, photometric="miniswhite", **options)
    read = read_plane(path)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, plane)


def test_white_as_zero_in_twelve_bits_and_in_one(tmp_path):
    plane = RANDOM.integers(0, 4096, (21, 34)).astype(int)
    bits = "".join(f"{4095 - value:012b}" for value in plane.ravel())
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big")
    path = write_tiff(tmp_path / "a.tif", [page(width=34, bits=12, white=True)], packed)
    np.testing.assert_array_equal(read_plane(path), plane)
    tifffile.imwrite(path, plane < 2000, photometric="miniswhite")
    np.testing.assert_array_equal(read_plane(path), plane >= 2000)


def test_white_as_zero_in_a_later_plane(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, 65535 - STACK, truncate=True, photometric="miniswhite")
    np.testing.assert_array_equal(read_plane(path, 2), STACK[2])


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_white_as_zero_without_a_known_black_is_refused(tmp_path, dtype):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.ones((4, 5), dtype), photometric="miniswhite")
    with pytest.raises(ImageError, match=f"holds {dtype.__name__} values whose 0 is white"):
        read_plane(path)


def test_a_page_that_does_not_say_what_zero_is_is_read_as_stored(tmp_path):
    tags = [entry for entry in page() if entry[0] != 262]
    np.testing.assert_array_equal(read_plane(write_tiff(tmp_path / "a", [tags], PIXELS)), PLANE)


@pytest.mark.parametrize("third", [(0, 0), (FIRST + 924, 0), None])
def test_strips_that_were_never_written_are_not_zeros(tmp_path, third):
    strips = [(FIRST, 462), (FIRST + 462, 462)] + ([third] if third else [])
    offsets, counts = (struct.pack(f"<{len(strips)}I", *each) for each in zip(*strips, strict=True))
    more = {278: (4, 1, 7), 273: (4, len(strips), offsets), 279: (4, len(strips), counts)}
    path = write_tiff(tmp_path / "a.tif", [page(more=more)], PIXELS)
    with pytest.raises(ImageError, match="1 of its 3 strips or tiles were never written"):
        read_plane(path)


@pytest.mark.parametrize("compression", [1, 5, 8, 50000])
def test_sizes_that_no_file_can_hold_take_no_memory(tmp_path, compression):
    more = {259: (3, 1, compression)}
    huge = page(height=1_000_000, width=100_000, more=more)
    path = write_tiff(tmp_path / "a.tif", [huge], PIXELS)
    with pytest.raises(ImageError, match="would take 200000000000 bytes of memory"):
        read_plane(path)


def test_a_small_image_in_a_huge_tile_takes_no_memory(tmp_path):
    tile = {322: (4, 1, 65520), 323: (4, 1, 65520), 324: (4, 1, FIRST), 325: (4, 1, NBYTES)}
    path = write_tiff(tmp_path / "a.tif", [page(more={259: (3, 1, 8), **tile})], PIXELS)
    with pytest.raises(ImageError, match="would take 8585740800 bytes of memory"):
        read_plane(path)


def test_numbers_of_planes_that_no_file_can_hold_take_no_memory(tmp_path):
    path = hyperstack_of_imagej(tmp_path / "a.tif")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"images=3\nslices=3\n", b"images=99999999999"))
    assert path.read_bytes() != data
    for number in (None, 0, 7):
        with pytest.raises(ImageError, match="read to its end: it claims 99999999999 planes"):
            read_plane(path, number)


def test_a_stack_whose_count_is_damaged_is_not_taken_for_its_first_plane(tmp_path):
    path = stack_of_metamorph(tmp_path / "a.stk")
    data = path.read_bytes()
    count = struct.pack("<HHI", 33629, 5, 3)
    for damaged in (struct.pack("<HHI", 33629, 5, 2**32 - 1), struct.pack("<HHI", 33650, 5, 3)):
        path.write_bytes(data.replace(count, damaged))
        assert path.read_bytes() != data
        with pytest.raises(ImageError, match="has 3 planes; say which"):
            read_plane(path)
        np.testing.assert_array_equal(read_plane(path, 2), STACK[2])


def test_no_pixels_complex_numbers_and_empty_chains(tmp_path):
    empty = write_tiff(tmp_path / "a.tif", [page(height=0)], PIXELS)
    nothing = write_tiff(tmp_path / "b.tif", [], PIXELS)
    for path in (empty, nothing):
        with pytest.raises(ImageError, match=re.escape(f"{path} cannot be read to its end")):
            read_plane(path)
    tifffile.imwrite(tmp_path / "c.tif", PLANE.astype(np.complex64))
    with pytest.raises(ImageError, match="holds complex64 values; expected real numbers"):
        read_plane(tmp_path / "c.tif")


def test_what_tifffile_mends_is_not_printed(tmp_path):
    more = {273: (4, 2, struct.pack("<II", FIRST, FIRST + 9))}
    path = write_tiff(tmp_path / "a.tif", [page(more=more)], PIXELS)
    np.testing.assert_array_equal(read_plane(path), PLANE)
    # In a process of its own: pytest hears the log, and so keeps it off the terminal.
    code = "import sys, cpcnn_core.io.images as i; print(i.read_plane(sys.argv[1]).shape)"
    command = [sys.executable, "-c", code, path]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("(21, 33)\n", "")


def with_palette(path, colours):
    tifffile.imwrite(path, (PLANE >> 8).astype(np.uint8), photometric="palette", colormap=colours)
    return path


@pytest.mark.parametrize("shown", [(0,), (1,), (0, 2), (0, 1, 2)])
def test_grey_values_that_are_shown_in_one_colour_are_grey_values(tmp_path, shown):
    colours = np.zeros((3, 256), np.uint16)
    colours[list(shown)] = np.arange(256) * 257
    path = with_palette(tmp_path / "lut.tif", colours)
    np.testing.assert_array_equal(read_plane(path), PLANE >> 8)


@pytest.mark.parametrize("kind", ["any", "inverted"])
def test_a_palette_of_colours_is_refused(tmp_path, kind):
    colours = RANDOM.integers(0, 65536, (3, 256)).astype(np.uint16)
    if kind == "inverted":
        colours[:] = np.arange(256)[::-1] * 257
    path = with_palette(tmp_path / "web.tif", colours)
    with pytest.raises(ImageError, match=r"web.tif has a palette of colours"):
        read_plane(path)
