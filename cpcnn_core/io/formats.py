"""Formats of files: what tells each of them, and what reads it.

Every format that is read is registered here. A file's first bytes tell its format, because names
change; its ending counts only where files of a format begin with nothing of their own, and in
folders, where not every file is opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

# How many first bytes tell every format from every other.
START_BYTES = 16
# What reads a format; each chooses by the format's name where it has several.
IMAGE = "cpcnn_core.io.images.read_plane"
ILLUMINATION = "cpcnn_core.io.images.read_illumination"
TABLE = "cpcnn_core.io.tables.open_table"
PROFILES = "cpcnn_core.io.profile_files.read_profiles"
OBJECTS = "cpcnn_core.io.cellprofiler_objects.objects_from_cellprofiler"
NOTHING = ""


class Format(NamedTuple):
    """A format of files.

    Attributes
    ----------
    name : str
        Of images, Pillow's name.
    reader : str
        The function that reads it.
    begins : tuple of bytes
        Its files begin with one of these.
    endings : tuple of str
        Its files are called so.
    no_table : str
        What it is, and what to do where a table was expected.
    """

    name: str
    reader: str
    begins: tuple[bytes, ...] = ()
    endings: tuple[str, ...] = ()
    no_table: str = ""

    def fits(self, start: bytes) -> bool:
        """Tell whether a file that begins with these bytes is of this format."""
        return start.startswith(self.begins)


TIFF = Format("TIFF", IMAGE, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))
NUMPY = Format("NumPy", ILLUMINATION, (b"\x93NUMPY",), (".npy",))
# Old files of MATLAB begin with nothing that tells what they are.
MATLAB = Format("MATLAB", ILLUMINATION, (b"MATLAB",), (".mat",))
PARQUET = Format("parquet", TABLE, (b"PAR1",), (".parquet",))
FEATHER = Format("feather", TABLE, (b"ARROW1",), (".feather",))
_PACKED = ("", ".gz", ".bz2", ".xz")
TEXT = Format(
    "text", TABLE, (), tuple(f".{kind}{end}" for kind in ("csv", "tsv") for end in _PACKED)
)
ANNDATA = Format(
    name="AnnData",
    reader=PROFILES,
    begins=(b"\x89HDF\r\n\x1a\n",),
    endings=(".h5ad",),
    no_table="an HDF5 file; give a CSV or parquet table",
)
SQLITE = Format(
    name="SQLite",
    reader=OBJECTS,
    begins=(b"SQLite format 3\0",),
    endings=(".db", ".sqlite", ".sqlite3"),
    no_table="an SQLite database; give a CSV or parquet table",
)
# What people take for a table, by its first bytes, and what to do about it.
_STRANGERS = {
    b"PK\x03\x04": "an Excel workbook or another zip file; save it as CSV, or unpack it",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save it as CSV",
    b"FEA1": "a Feather file of version 1; write it again as parquet",
    b"%PDF": "a PDF; give a CSV or parquet table",
    b"\x28\xb5\x2f\xfd": "compressed with Zstandard; unpack it, or compress it with gzip",
}
FORMATS = (
    TIFF,
    # Not all images that Pillow knows: it takes some for what they are not, and starts another
    # program over others.
    Format("PNG", IMAGE, (b"\x89PNG\r\n\x1a\n",)),
    Format("JPEG", IMAGE, (b"\xff\xd8\xff",)),
    Format("JPEG2000", IMAGE, (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  \r\n\x87\n")),
    Format("GIF", IMAGE, (b"GIF8",)),
    Format("BMP", IMAGE, (b"BM",)),
    Format("PPM", IMAGE, (b"P5",)),
    *(NUMPY, MATLAB, PARQUET, FEATHER, TEXT, ANNDATA, SQLITE),
    *(Format("stranger", NOTHING, (start,), no_table=what) for start, what in _STRANGERS.items()),
)
# What tables of profiles are called in a folder; of one in several formats the first is taken.
TABLE_ENDINGS = (*PARQUET.endings, *FEATHER.endings, *ANNDATA.endings, *TEXT.endings)
# What ``cpcnn profile`` makes of a folder of plates, and passes over there.
CONSENSUS_ENDING = ".consensus.parquet"


def first_bytes(path: Path) -> bytes:
    """Return the bytes that tell a file's format."""
    with path.open("rb") as file:
        return file.read(START_BYTES)


def format_of(start: bytes) -> Format | None:
    """Return the format of which a file's first bytes tell; None where they tell of none.

    Examples
    --------
    >>> format_of(b"II*" + bytes(13)).name, format_of(b"version https://")
    ('TIFF', None)
    """
    return next((known for known in FORMATS if known.fits(start)), None)
