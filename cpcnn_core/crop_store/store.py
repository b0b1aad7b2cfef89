"""A store of crops, to be read in any order, and checked crop by crop.

Layout::

    store.json                        channels, crop_px, um_per_px, dtype, mask, format
    index.parquet                     a row per crop: what is known of it, file, place, CRC-32
    crops/<plate>/<well>/<site>.npy   see `cpcnn_core.crop_store.crop_files`
    crops/<plate>/<well>/<site>.json  see `cpcnn_core.crop_store.sites`

Several studies can be read as one store, each with its own names of the model's channels.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cpcnn_core.crop_store.crop_files import CROPS_AT_A_TIME, read_crops
from cpcnn_core.crop_store.settings import DTYPES, read_settings
from cpcnn_core.errors import ChannelError, CropStoreError
from cpcnn_core.imaging.scale import SAME_SCALE
from cpcnn_core.io.parquet_files import as_frame, open_parquet
from cpcnn_core.schema.columns import STUDY

if TYPE_CHECKING:
    import pandas as pd

INDEX_FILE, CROPS_FOLDER = "index.parquet", "crops"
# Columns of the index that say where a crop is; all others are known to users.
FILE, PLACE, CHECKSUM = "crop_file", "crop_place", "crop_crc32"


@dataclass(frozen=True, eq=False)
class CropPlaces:
    """Where the crops of a store are.

    Attributes
    ----------
    files : list of Path
    file_of_crop : ndarray of shape (n,), int32
        Place in `files`.
    place_in_file, checksum : ndarray of shape (n,), int64 and uint32
    planes_of_file : list of tuple of int
        For every file, which of its planes are read, in which order.
    planes_in_file : list of int
        How many there are.
    """

    files: list[Path]
    file_of_crop: np.ndarray
    place_in_file: np.ndarray
    checksum: np.ndarray
    planes_of_file: list[tuple[int, ...]]
    planes_in_file: list[int]


@dataclass(frozen=True, eq=False)
class CropStore:
    """Crops of one study or several, read in any order.

    See `open_crops` and `combine_stores`.

    Attributes
    ----------
    index : pandas.DataFrame
        Row i tells of crop i: ``Metadata_Study``, ``Metadata_Plate``, ``Metadata_Well``,
        ``Metadata_Site``, ``Metadata_ObjectNumber`` and what else is known.
    channels : tuple of str
    crop_px : int
    dtype : numpy.dtype
        uint8 or uint16.
    places : CropPlaces
    um_per_px : float or None
        Micrometres per pixel; None where not recorded, or where studies differ.

    Notes
    -----
    Every read opens the files it needs: a store may be used by several threads, and be
    sent to other processes.

    Examples
    --------
    >>> store.channels
    ('DNA', 'RNA', 'ER', 'AGP', 'Mito')
    >>> store.index["Metadata_Site"].value_counts().to_dict()
    {'1': 14, '2': 3}
    >>> store.read([7, 3]).shape
    (2, 5, 128, 128)
    """

    index: pd.DataFrame
    channels: tuple[str, ...]
    crop_px: int
    dtype: np.dtype
    places: CropPlaces
    um_per_px: float | None = None

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def sha256(self) -> str:
        """Hash of all that is known of the crops, their checksums included.

        It does not depend on where the store is.
        """
        places = self.places
        digest = hashlib.sha256()
        what = {"channels": self.channels, "crop_px": self.crop_px, "dtype": str(self.dtype)}
        if self.um_per_px is not None:
            what["um_per_px"] = self.um_per_px
        digest.update(json.dumps(what).encode())
        for name, values in self.index.items():
            digest.update(f"\0{name}\0".encode())
            if values.dtype.kind in "biuf":
                digest.update(np.ascontiguousarray(values.to_numpy()).tobytes())
            else:
                digest.update("\0".join(values.fillna("").astype(str)).encode())
        digest.update(places.checksum.tobytes())
        # With other planes of the same crops a network sees something else.
        kinds = sorted(set(places.planes_of_file))
        kind_of_file = np.array([kinds.index(planes) for planes in places.planes_of_file], np.int32)
        digest.update(json.dumps(kinds).encode())
        digest.update(kind_of_file[places.file_of_crop].tobytes())
        return digest.hexdigest()

    def column(self, name: str) -> np.ndarray:
        """Return a column of the index as texts (n,); what is missing is empty.

        Raises
        ------
        CropStoreError
            There is none of that name; names those there are.
        """
        if name not in self.index.columns:
            near = difflib.get_close_matches(name, self.index.columns, 1, 0.6)
            raise CropStoreError(
                f"the crops have no column {name}"
                + (f" (did you mean {near[0]}?)" if near else "")
                + f"; they have {', '.join(self.index.columns)}; cpcnn crops --platemap adds others"
            )
        result: np.ndarray = self.index[name].fillna("").astype(str).to_numpy(object)
        return result

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Read some crops, each checked against its checksum.

        Parameters
        ----------
        rows : array_like of shape (n,), integer
            Which crops, in any order, repeated or not.

        Returns
        -------
        ndarray of shape (n, c, crop_px, crop_px), uint8 or uint16
            ``floor(v * 255)``, or 65535, of crops v stretched to 0..1 by channel
            (docs/method.md#single-cell-export): networks take them divided by 255, or 65535,
            and not stretched again.

        Raises
        ------
        CropStoreError
            A row that is not there; a file that is missing or damaged.
        """
        rows = self._check(rows)
        places = self.places
        out = np.empty((len(rows), len(self.channels), self.crop_px, self.crop_px), self.dtype)
        files = places.file_of_crop[rows]
        # File by file, and in a file from start to end.
        order = np.lexsort((places.place_in_file[rows], files))
        edges = [0, *(np.flatnonzero(np.diff(files[order])) + 1).tolist(), len(rows)]
        for start, stop in pairwise(edges if len(rows) else []):
            into = order[start:stop]
            self._read_file(int(files[into[0]]), rows[into], into, out)
        return out

    def _read_file(self, file: int, rows: np.ndarray, into: np.ndarray, out: np.ndarray) -> None:
        places = self.places
        shape = (len(rows), places.planes_in_file[file], self.crop_px, self.crop_px)
        crops = np.empty(shape, self.dtype)
        read_crops(places.files[file], places.place_in_file[rows], places.checksum[rows], crops)
        planes = places.planes_of_file[file]
        out[into] = crops if planes == tuple(range(shape[1])) else crops[:, planes]

    def _check(self, rows: np.ndarray) -> np.ndarray:
        rows = np.asarray(rows)
        if rows.size == 0:
            return np.zeros(0, np.int64)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise CropStoreError(
                f"expected the numbers of crops as an array (n,) of integers, got {rows.dtype} of "
                f"shape {rows.shape}"
            )
        if rows.min() < 0 or rows.max() >= len(self):
            raise CropStoreError(
                f"expected crops from 0 to {len(self) - 1}, got {rows.min()} to {rows.max()}"
            )
        return rows.astype(np.int64)


def open_crops(path: str | Path) -> CropStore:
    """Open what ``cpcnn crops`` wrote.

    Parameters
    ----------
    path : str or Path
        The folder.

    Returns
    -------
    CropStore

    Raises
    ------
    CropStoreError
        No store, or one whose sites were not collected yet.

    Examples
    --------
    >>> open_crops("nowhere")
    Traceback (most recent call last):
    cpcnn_core.errors.CropStoreError: nowhere holds no crops: it has no store.json; cpcnn crops ...
    """
    import pyarrow as pa

    folder = Path(path)
    settings = read_settings(folder)
    if not (folder / INDEX_FILE).is_file():
        raise CropStoreError(
            f"the crops in {folder} were not collected yet: there is no {INDEX_FILE}; run the same "
            "cpcnn crops once without --shard"
        )
    try:
        with open_parquet(folder / INDEX_FILE) as file:
            table = file.read()
        files = table[FILE].combine_chunks().dictionary_encode()
        place, checksum = (table[name].to_numpy() for name in (PLACE, CHECKSUM))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise CropStoreError(
            f"{folder / INDEX_FILE} is damaged ({error}); delete it and run cpcnn crops again "
            "without --shard: it collects it again"
        ) from error
    names = [name for name in table.column_names if name not in (FILE, PLACE, CHECKSUM)]
    paths = [folder / CROPS_FOLDER / name for name in files.dictionary.to_pylist()]
    count = len(settings.channels)
    places = CropPlaces(
        paths,
        files.indices.to_numpy().astype(np.int32),
        place.astype(np.int64),
        checksum.astype(np.uint32),
        [tuple(range(count))] * len(paths),
        [count] * len(paths),
    )
    index = as_frame(table.select(names))
    dtype, um_per_px = DTYPES[settings.dtype], settings.um_per_px
    return CropStore(index, settings.channels, settings.crop_px, dtype, places, um_per_px)


def check_store(store: CropStore, progress: Callable[[], None] | None = None) -> dict[Path, str]:
    """Read every crop and compare its checksum.

    Parameters
    ----------
    store : CropStore
    progress : callable (), optional
        Called after every file; what it raises ends the check.

    Returns
    -------
    dict of Path to str
        The files that are missing or damaged, and what is wrong with each.

    Examples
    --------
    >>> check_store(store)
    {}
    >>> store.places.files[0].write_bytes(b"another file")
    12
    >>> [path.as_posix() for path in check_store(store)]
    ['crops/crops/P1/A01/1.npy']
    """
    places, damaged = store.places, {}
    order = np.argsort(places.file_of_crop, kind="stable")
    counts = np.bincount(places.file_of_crop, minlength=len(places.files))
    for file, rows in enumerate(np.split(order, np.cumsum(counts)[:-1])):
        for start in range(0, len(rows), CROPS_AT_A_TIME):
            part = rows[start : start + CROPS_AT_A_TIME]
            shape = (len(part), places.planes_in_file[file], store.crop_px, store.crop_px)
            crops = np.empty(shape, store.dtype)
            try:
                path = places.files[file]
                read_crops(path, places.place_in_file[part], places.checksum[part], crops)
            except (CropStoreError, OSError) as error:
                damaged[path] = str(error)
                break
        if progress is not None:
            progress()
    return damaged


def combine_stores(
    stores: Mapping[str, CropStore], channel_maps: Mapping[str, Mapping[str, str]] | None = None
) -> CropStore:
    """Put the crops of several studies together.

    Parameters
    ----------
    stores : mapping of str to CropStore
        By the study's name, which becomes ``Metadata_Study``.
    channel_maps : mapping of str to mapping of str to str, optional
        For a study, which of its channels is which of the model's: ``{"DNA": "Hoechst"}``.
        All name the same channels of the model, in the same order. A study without a map
        has them by these names already.

    Returns
    -------
    CropStore
        The studies one after the other. Columns that a study lacks are empty there. Its
        scale is that of all studies, None where they differ or one is not known.

    Raises
    ------
    CropStoreError
        No store, or crops of different sizes or dtypes.
    ChannelError
        A map names a channel that its study does not have, or other channels of the
        model than the first; or a study lacks a channel.

    Examples
    --------
    >>> combine_stores({})
    Traceback (most recent call last):
    cpcnn_core.errors.CropStoreError: expected one study or more, got none
    """
    import pandas as pd

    if not stores:
        raise CropStoreError("expected one study or more, got none")
    channels, maps = _model_channels(stores, channel_maps or {})
    _refuse_differences(stores)
    indexes, files, planes, counts = [], [], [], []
    file_of_crop, first = [], 0
    for name, store in stores.items():
        own = store.places
        take = [store.channels.index(_channel(name, store, maps[name], c)) for c in channels]
        planes += [tuple(kept[i] for i in take) for kept in own.planes_of_file]
        counts += own.planes_in_file
        files += own.files
        file_of_crop.append(own.file_of_crop + np.int32(first))
        first = len(files)
        indexes.append(store.index.assign(**{STUDY: name}))
    one = next(iter(stores.values()))
    places = CropPlaces(
        files,
        np.concatenate(file_of_crop),
        np.concatenate([store.places.place_in_file for store in stores.values()]),
        np.concatenate([store.places.checksum for store in stores.values()]),
        planes,
        counts,
    )
    index = pd.concat(indexes, ignore_index=True)
    um_per_px = common_scale([store.um_per_px for store in stores.values()])
    return CropStore(index, channels, one.crop_px, one.dtype, places, um_per_px)


def common_scale(scales: Sequence[float | None]) -> float | None:
    """Return the scale that all have, or None.

    Parameters
    ----------
    scales : sequence of float or None
        Micrometres per pixel, one or more; None where not known.

    Returns
    -------
    float or None
        The first; the others may differ from it by less than a percent.

    Examples
    --------
    >>> common_scale([0.65, 0.656]), common_scale([0.65, 0.325]), common_scale([0.65, None])
    (0.65, None, None)
    """
    known = [scale for scale in scales if scale is not None]
    first = scales[0]
    if len(known) < len(scales) or any(abs(scale / known[0] - 1) >= SAME_SCALE for scale in known):
        return None
    return first


def _model_channels(
    stores: Mapping[str, CropStore], channel_maps: Mapping[str, Mapping[str, str]]
) -> tuple[tuple[str, ...], dict[str, dict[str, str]]]:
    unknown = sorted(set(channel_maps) - set(stores))
    if unknown:
        raise CropStoreError(
            f"there are channels for {', '.join(unknown)}, but the studies are {', '.join(stores)}"
        )
    given = {name: dict(channel_maps[name]) for name in stores if channel_maps.get(name)}
    own = next(iter(stores.values())).channels
    channels = tuple(next(iter(given.values()))) if given else own
    for name, mapping in given.items():
        if tuple(mapping) != channels:
            raise ChannelError(
                f"the studies must give the same channels of the model in the same order; "
                f"expected {', '.join(channels)}, got {', '.join(mapping)} for {name}"
            )
    return channels, {name: given.get(name, {c: c for c in channels}) for name in stores}


def _channel(study: str, store: CropStore, mapping: Mapping[str, str], channel: str) -> str:
    if mapping[channel] not in store.channels:
        raise ChannelError(
            f"the study {study} has no channel {mapping[channel]} for the model's {channel}; "
            f"it has {', '.join(store.channels)}"
        )
    return mapping[channel]


def _refuse_differences(stores: Mapping[str, CropStore]) -> None:
    for what, of in (("crop_px", lambda s: s.crop_px), ("dtype", lambda s: str(s.dtype))):
        values = {name: of(store) for name, store in stores.items()}
        if len(set(values.values())) > 1:
            texts = ", ".join(f"{name}: {value}" for name, value in values.items())
            raise CropStoreError(
                f"the studies differ in {what} ({texts}); make their crops alike with cpcnn crops"
            )
