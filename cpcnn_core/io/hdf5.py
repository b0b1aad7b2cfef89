"""HDF5 files: only their own data, of a believable size and of plain types, are read.

HDF5 can take data from other files (external links, external storage, virtual datasets), load
code to unpack them (filters), and claim any size for what was never written. Where a disk fills up
while it writes, it crashes the program: files are written so that it does not.
"""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import h5py

from cpcnn_core.io.untrusted_files import is_believable, refuse_claim

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

# Those of HDF5 itself and of h5py: deflate, shuffle, fletcher32, lzf. Others are plug-ins.
_FILTERS = {1, 2, 3, 32000}
_NAMES = {4: "szip", 32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32015: "zstd"}


def member(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """Return what a group holds under a name, or a path, of its own.

    Parameters
    ----------
    group : h5py.Group
    name : str

    Raises
    ------
    KeyError
        There is no such member.
    ValueError
        It is a link to somewhere else.

    Examples
    --------
    >>> with h5py.File.in_memory() as file:
    ...     file["a/b"] = [1, 2]
    ...     file["c"] = h5py.ExternalLink("/etc/passwd", "/")
    ...     member(file, "a/b").shape
    ...     member(file, "c")
    Traceback (most recent call last):
    ValueError: its c is a link to something else, which is not followed
    """
    for part in filter(None, name.split("/")):
        if not has_member(group, part):
            raise KeyError(f"{group.name.rstrip('/')}/{part} is missing")
        if group.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
            raise ValueError(f"its {name} is a link to something else, which is not followed")
        group = group[part]
    return group


def has_member(group: h5py.Group, name: str) -> bool:
    """Tell whether there is something of that name in a group, perhaps a link.

    Examples
    --------
    >>> with h5py.File.in_memory() as file:
    ...     has_member(file, "a")
    False
    """
    # `in` would follow links, and open the files that they lead to.
    result: bool = group.id.links.exists(name.encode())
    return result


def check_dataset(dataset: h5py.Dataset) -> int:
    """Refuse data that are not in the file, or that it cannot hold.

    Parameters
    ----------
    dataset : h5py.Dataset

    Returns
    -------
    int
        The bytes that it takes in memory; of texts, of the pointers to them.

    Raises
    ------
    ValueError
        What is wrong with it.

    Examples
    --------
    >>> with h5py.File.in_memory() as file:
    ...     check_dataset(file.create_dataset("x", data=[1.0, 2.0]))
    ...     check_dataset(file.create_dataset("y", (2**16, 2**16), "f8", chunks=True))
    Traceback (most recent call last):
    ValueError: its y was never written, or not wholly
    """
    name, kind = dataset.name.lstrip("/"), dataset.dtype
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"the data of its {name} are in other files, which are not opened")
    _check_filters(dataset)
    for part in [kind] if kind.names is None else [kind[field] for field in kind.names]:
        if h5py.check_ref_dtype(part) or (part.kind == "O" and not h5py.check_string_dtype(part)):
            raise ValueError(f"its {name} holds neither numbers nor texts")
    if dataset.shape is None or not math.prod(dataset.shape):
        return 0
    claimed: int = math.prod(dataset.shape) * kind.itemsize
    stored = dataset.id.get_storage_size()
    if not stored:
        raise ValueError(f"its {name} was never written, or not wholly")
    if not is_believable(claimed, stored):
        raise ValueError(refuse_claim(dataset.file.filename, f"its {name}", claimed, stored))
    if dataset.chunks is not None:
        sides = zip(dataset.shape, dataset.chunks, strict=True)
        if dataset.id.get_num_chunks() < math.prod(-(-side // chunk) for side, chunk in sides):
            raise ValueError(f"its {name} was never written, or not wholly")
    return claimed


def check_all(file: h5py.File) -> int:
    """Look at every object of a file, and refuse as `member` and `check_dataset` do.

    Returns
    -------
    int
        The bytes that all of them take in memory.

    Examples
    --------
    >>> with h5py.File.in_memory() as file:
    ...     file["a/b"] = [1.0, 2.0]
    ...     check_all(file)
    16
    """
    total, seen, waiting = 0, set(), [file["/"]]
    while waiting:
        group = waiting.pop()
        for name in group:
            one = member(group, name)
            place = h5py.h5o.get_info(one.id).addr
            if place in seen:
                continue
            seen.add(place)
            if isinstance(one, h5py.Group):
                waiting.append(one)
            elif isinstance(one, h5py.Dataset):
                total += check_dataset(one)
    return total


def _check_filters(dataset: h5py.Dataset) -> None:
    properties = dataset.id.get_create_plist()
    for place in range(properties.get_nfilters()):
        code = properties.get_filter(place)[0]
        if code not in _FILTERS:
            raise ValueError(
                f"its {dataset.name.lstrip('/')} is compressed by {_NAMES.get(code, 'a plug-in')} "
                f"(filter {code}), which is not read; write it with gzip or without compression"
            )


class HDF5Place(io.FileIO):
    """A file for HDF5 in which nothing ever fails; what failed is kept, and raised afterwards.

    Attributes
    ----------
    error : OSError or None
        Of the first write that failed. What follows is written nowhere, and what was not written
        is read as zeros, so that HDF5 comes to a good end.

    Examples
    --------
    >>> with HDF5Place("a.h5", "w+") as place:
    ...     with h5py.File(place, "w") as file:
    ...         file["x"] = [1, 2]
    ...     place.check()
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
