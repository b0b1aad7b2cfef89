"""The settings that all crops of a store have in common, in ``store.json``."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import cpcnn_core
from cpcnn_core.errors import CropStoreError
from cpcnn_core.imaging.scale import check_um_per_px
from cpcnn_core.io.damaged_files import read_checked, said_aside, set_aside, write_checked
from cpcnn_core.user_messages import Tell, warn

FORMAT_VERSION = 1
STORE_FILE = "store.json"
DTYPES: dict[str, np.dtype] = {"uint8": np.dtype("u1"), "uint16": np.dtype("<u2")}
# Whether other cells are blanked, and whether before the crop is stretched to 0..1, as
# `cpcnn_core.crop_cells` does with labels, or after it, as DeepProfiler's training does.
UNMASKED, MASKED_BEFORE, MASKED_AFTER = "none", "before stretching", "after stretching"
IMAGES, STRIPS = "images", "strips"


@dataclass(frozen=True)
class StoreSettings:
    """The settings that the crops of a store depend on, beside the images.

    Attributes
    ----------
    channels : tuple of str
        In order, along the second axis of the crops.
    crop_px : int
        Side of the crops, in pixels.
    dtype : str
        ``uint8`` or ``uint16``.
    mask : str
        `UNMASKED`, `MASKED_BEFORE` or `MASKED_AFTER`.
    source : str
        `IMAGES`, or DeepProfiler's exported `STRIPS`.
    um_per_px : float, optional
        Micrometres per pixel of the crops, which are those of the images; None where they
        are unknown.

    Raises
    ------
    CropStoreError
        No channel, one twice, another dtype, no size.
    ImageError
        Micrometres per pixel that are no positive number.

    Examples
    --------
    >>> StoreSettings(("DNA", "ER"), 64).shape
    (2, 64, 64)
    """

    channels: tuple[str, ...]
    crop_px: int = 128
    dtype: str = "uint8"
    mask: str = UNMASKED
    source: str = IMAGES
    um_per_px: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        if not self.channels or len(set(self.channels)) != len(self.channels):
            given = ", ".join(self.channels) or "none"
            raise CropStoreError(f"expected one or more channels, each once, got {given}")
        if self.dtype not in DTYPES:
            raise CropStoreError(f"expected crops of {' or '.join(DTYPES)}, got {self.dtype!r}")
        if self.crop_px < 2:
            raise CropStoreError(f"expected crops of 2 pixels or more, got {self.crop_px}")
        if self.um_per_px is not None:
            object.__setattr__(self, "um_per_px", check_um_per_px(self.um_per_px))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a crop."""
        return len(self.channels), self.crop_px, self.crop_px

    def as_json(self) -> dict[str, object]:
        """Return the settings as ``store.json`` and every site of the store hold them."""
        values = {**dataclasses.asdict(self), "channels": list(self.channels)}
        if self.um_per_px is None:
            # So that sites that were stored before there were scales stay done.
            del values["um_per_px"]
        return values


def claim_store(folder: str | Path, settings: StoreSettings, tell: Tell = warn) -> None:
    """Say in the folder what it holds, or refuse when it holds something else.

    Parameters
    ----------
    folder : str or Path
    settings : StoreSettings
    tell : callable
        Takes a sentence: told where ``store.json`` was damaged: its sites say then what it said.

    Raises
    ------
    CropStoreError
        The folder has crops of other settings; names each.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     claim_store(folder, StoreSettings(("DNA",), 64))
    ...     claim_store(folder, StoreSettings(("DNA",), 32))
    Traceback (most recent call last):
    cpcnn_core.errors.CropStoreError: ... holds crops with crop_px 64; crop_px 32 was asked for...
    """
    path = Path(folder) / STORE_FILE
    require_settings(folder, settings)
    if path.exists():
        if isinstance(_read_store(path), StoreSettings):
            return
        tell(said_aside(path, set_aside(path)))
    content = {"format": FORMAT_VERSION, **settings.as_json(), "cpcnn": cpcnn_core.__version__}
    write_checked(path, content, indent=1)


def require_settings(folder: str | Path, settings: StoreSettings) -> None:
    """Refuse a folder that holds crops of other settings; one that holds none is fine.

    Raises
    ------
    CropStoreError
        Names each setting.

    Examples
    --------
    >>> require_settings("nowhere", StoreSettings(("DNA",), 64))
    """
    path = Path(folder) / STORE_FILE
    if not path.exists():
        return
    found, wanted = _read_store(path), settings.as_json()
    there = found.as_json() if isinstance(found, StoreSettings) else _said_by_sites(path.parent)
    there = there or wanted
    names = [name for name in there | wanted if wanted.get(name) != there.get(name)]
    if names:
        raise CropStoreError(
            f"{folder} holds crops with {_entries(there, names)}; {_entries(wanted, names)} "
            "was asked for; choose another folder, or the same settings"
        )


def read_settings(folder: str | Path) -> StoreSettings:
    """Read what a folder of crops holds.

    Raises
    ------
    CropStoreError
        It is no such folder, or of another format.

    Examples
    --------
    >>> read_settings("nowhere")
    Traceback (most recent call last):
    cpcnn_core.errors.CropStoreError: nowhere holds no crops: it has no store.json; cpcnn crops ...
    """
    path = Path(folder) / STORE_FILE
    if not path.is_file():
        raise CropStoreError(
            f"{folder} holds no crops: it has no {STORE_FILE}; cpcnn crops makes them with --out"
        )
    found = _read_store(path)
    if isinstance(found, str):
        raise CropStoreError(
            f"{path} cannot be read: {found}; run the same cpcnn crops again: it is set aside and "
            "made again"
        )
    return found


def _read_store(path: Path) -> StoreSettings | str:
    """Read ``store.json``, or say what is wrong with it."""
    try:
        content = read_checked(path)
        version = content["format"]
        if version == FORMAT_VERSION:
            names = [field.name for field in dataclasses.fields(StoreSettings)]
            # Stores that were made before there were scales say none.
            content = {"um_per_px": None, **content}
            return StoreSettings(**{name: content[name] for name in names})
    except (OSError, ValueError) as error:
        return str(error)
    except (KeyError, TypeError) as error:
        return repr(error)
    raise CropStoreError(
        f"{path} has format {version}, this cpcnn reads {FORMAT_VERSION}; "
        "upgrade with: pip install --upgrade cpcnn"
    )


def _said_by_sites(folder: Path) -> dict[str, object]:
    """Return the settings that the first site whose facts can be read has."""
    for path in sorted(folder.glob("*/**/*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError):
            result: dict[str, object] = dict(read_checked(path)["settings"])
            return result
    return {}


def _entries(values: dict[str, Any], names: list[str]) -> str:
    texts = {name: values.get(name, "not recorded") for name in names}
    texts |= {"channels": ",".join(values["channels"])} if "channels" in texts else {}
    return ", ".join(f"{name} {value}" for name, value in texts.items())
