"""Several studies as one store, each with its own names of the model's channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cpcnn_core.crop_store.store import STUDY, CropPlaces, CropStore
from cpcnn_core.errors import ChannelError, CropStoreError
from cpcnn_core.scale import SAME_SCALE


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
