"""The facts that a store keeps beside the crops of one site, in a ``.json`` file.

It is written after the crops: a site is done when this file is there and agrees with them.
What a screen's own tables say of the site (well, treatment, ...) is not in it; it is read
from them when the store is collected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cpcnn_core.atomic import remove_leftovers
from cpcnn_core.crop_store.settings import StoreSettings
from cpcnn_core.damage import read_checked, write_checked


@dataclass(frozen=True)
class SiteFacts:
    """The facts known of every crop of a site.

    Attributes
    ----------
    checksums : ndarray of shape (n,), uint32
        CRC-32 of every crop.
    columns : dict of str to ndarray of shape (n,)
        Numbers, by the index's column: ``Metadata_ObjectNumber``, positions, ...
    inputs : dict
        What the crops were made from, see `cpcnn_core.screen.fingerprint`; empty in stores of
        an earlier cpcnn.

    Examples
    --------
    >>> facts = SiteFacts(np.array([7], "u4"), {"Metadata_ObjectNumber": np.array([1])})
    >>> len(facts.checksums)
    1
    """

    checksums: np.ndarray
    columns: dict[str, np.ndarray]
    inputs: Mapping[str, object] = field(default_factory=dict)


def write_facts(
    path: str | Path, facts: SiteFacts, settings: StoreSettings, moment_ns: int | None = None
) -> None:
    """Write the facts of a site; equal facts give equal bytes.

    Parameters
    ----------
    path : str or Path
    facts : SiteFacts
    settings : StoreSettings
    moment_ns : int, optional
        When the site was looked at, which becomes the file's time. Default: now.

    Examples
    --------
    >>> import tempfile
    >>> facts = SiteFacts(np.array([7], "u4"), {"Metadata_ObjectNumber": np.array([1])})
    >>> settings = StoreSettings(("DNA",), 64)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_facts(f"{folder}/1.json", facts, settings)
    ...     read_facts(f"{folder}/1.json", settings).columns["Metadata_ObjectNumber"].tolist()
    [1]
    """
    content = {
        "settings": settings.as_json(),
        "crc32": facts.checksums.tolist(),
        "columns": {name: values.tolist() for name, values in facts.columns.items()},
        "inputs": dict(facts.inputs),
    }
    write_checked(path, content, moment_ns=moment_ns)
    remove_leftovers(path)


def read_facts(path: str | Path, settings: StoreSettings) -> SiteFacts | None:
    """Read the facts of a site; None where they are missing, damaged or of other settings.

    Examples
    --------
    >>> read_facts("nowhere.json", StoreSettings(("DNA",), 64)) is None
    True
    """
    try:
        content = read_checked(path)
        if content["settings"] != settings.as_json():
            return None
        columns = {name: np.array(values) for name, values in content["columns"].items()}
        checksums = np.array(content["crc32"], np.uint32)
        return SiteFacts(checksums, columns, content.get("inputs") or {})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
