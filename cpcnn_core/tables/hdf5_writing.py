"""HDF5 on a disk that may fill up: HDF5 itself crashes the program at its end, after it did."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import h5py

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class HDF5Place(io.FileIO):
    """A file for HDF5 in which nothing ever fails; what failed is kept, and raised afterwards.

    Attributes
    ----------
    error : OSError or None
        Of the first write that failed. What follows is written nowhere, and what was not written
        is read as zeros, so that HDF5 comes to a good end.

    Examples
    --------
    >>> HDF5Place("P1.h5ad", "w+")  # doctest: +SKIP
    """

    error: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        """Write all of it, or keep why it cannot be written."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        if self.error is None:
            try:
                while rest:
                    rest = rest[super().write(rest) :]
            except OSError as error:
                self.error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Make the file ``size`` bytes long."""
        if self.error is None:
            try:
                return super().truncate(size)
            except OSError as error:
                self.error = error
        return self.tell() if size is None else size

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Read what was written, and zeros beyond."""
        view = memoryview(buffer).cast("B")
        found = super().readinto(view) or 0
        view[found:] = bytes(len(view) - found)
        return len(view)

    def check(self) -> None:
        """Raise what failed, if anything did."""
        if self.error is not None:
            raise self.error


@contextlib.contextmanager
def create_hdf5(path: str | Path) -> Iterator[tuple[h5py.File, HDF5Place]]:
    """Create an HDF5 file; a caller that writes much calls ``check`` of its place now and then.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with create_hdf5(f"{folder}/a.h5") as (file, place):
    ...         file["x"] = [1, 2]
    ...         place.check()
    ...     with h5py.File(f"{folder}/a.h5") as file:
    ...         file["x"][:].tolist()
    [1, 2]
    """
    with HDF5Place(str(path), "w+") as place:
        try:
            with h5py.File(place, "w") as file:
                yield file, place
        finally:
            # Whatever HDF5 said of it.
            place.check()
