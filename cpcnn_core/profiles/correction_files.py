"""Corrections on disk: NumPy's npz, without pickles and uncompressed.

Layout::

    about.npy               uint8: JSON with cpcnn_correction (the format), method,
                            feature_names, steps, settings, table
    0.mean.npy, ...         what each step holds, by the step's number
    uncorrected.npy         float32: the wells that were written with it, before

``table`` is the digest of the wells that were written with it, where there are any; so a table
of text, which has no place for a hash, cannot be taken for the one that it replaced.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.io.archives import open_archive, read_array, write_arrays
from cpcnn_core.io.atomic import write_atomically
from cpcnn_core.io.json_files import parse_json
from cpcnn_core.profiles.correction import METHODS, STEPS_OF, Correction
from cpcnn_core.schema.profiles import Profiles

FORMAT_VERSION = 1
UNCORRECTED = "uncorrected"
# Settings that sentences and comparisons count with.
NUMBERS = ("lambda", "lambda_relative", "components")


@dataclass(frozen=True)
class CorrectionFile:
    """A correction that was read, and what its file says beside it.

    Attributes
    ----------
    correction : Correction
    sha256 : str
        Of the file.
    table : str
        `wells_digest` of the wells that it was written with; empty where it was saved alone.
    uncorrected : ndarray of shape (wells, d), float32, or None
        These wells before they were corrected, in the table's order.
    """

    correction: Correction
    sha256: str
    table: str
    uncorrected: np.ndarray | None = None


def write_correction(
    correction: Correction,
    path: str | Path,
    wells: Profiles | None,
    uncorrected: np.ndarray | None = None,
) -> str:
    """Write a correction whole or not at all, and return the file's SHA-256.

    Parameters
    ----------
    correction : Correction
    path : str or Path
        Gets the suffix ``.npz`` where it has none.
    wells : Profiles, optional
        The corrected wells in the table beside it.
    uncorrected : ndarray of shape (wells, d), optional
        The same wells before, with the features that the correction was fitted on. p-values
        fit it again.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     len(write_correction(Correction("none", ["a"], []), f"{folder}/c", None))
    64
    """
    path, arrays = _npz(path), {}
    for number, step in enumerate(correction.steps):
        for part in fields(step):
            arrays[f"{number}.{part.name}"] = np.asarray(getattr(step, part.name))
    about = {
        "cpcnn_correction": FORMAT_VERSION,
        "method": correction.method,
        "feature_names": correction.feature_names,
        "steps": [type(step).__name__ for step in correction.steps],
        "settings": correction.settings,
        "table": "" if wells is None else wells_digest(wells),
    }
    if uncorrected is not None:
        arrays[UNCORRECTED] = np.asarray(uncorrected, np.float32)
        about[UNCORRECTED] = True
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    write_atomically(path, lambda place: write_arrays(place, arrays))
    return file_sha256(path)


def read_correction(path: str | Path) -> CorrectionFile:
    """Read what `write_correction` wrote.

    Raises
    ------
    ProfileError
        No such file, not such a file, a damaged one, or one of a newer version.

    Examples
    --------
    >>> read_correction("nowhere.npz")
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: there is no correction nowhere.npz
    """
    path = _npz(path)
    if not path.is_file():
        raise ProfileError(f"there is no correction {path}")
    try:
        sha256 = file_sha256(path)
        with open_archive(path) as archive:
            about = _about(archive, path)
            correction = _correction(archive, about)
            uncorrected = _uncorrected(archive, about)
    except Exception as error:
        # Whatever the bytes are, the reader is told which file they are in.
        if isinstance(error, ProfileError) and str(path) in str(error):
            raise
        raise ProfileError(
            f"{path} is not a correction that cpcnn wrote, or it is damaged "
            f"({type(error).__name__}: {error}); make it again with: cpcnn profile"
        ) from error
    return CorrectionFile(correction, sha256, about["table"], uncorrected)


def wells_digest(wells: Profiles) -> str:
    """Return a SHA-256 of features and their names, whatever the order of rows and columns.

    Features count as the 32-bit numbers that tables hold, metadata not at all.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = pd.DataFrame(index=[0, 1])
    >>> one = Profiles(np.array([[0.1, 2], [3, 4]]), rows, ["a", "b"])
    >>> other = Profiles(np.array([[4.0, 3], [2, 0.1]]), rows, ["b", "a"])
    >>> wells_digest(one) == wells_digest(other)
    True
    """
    order = np.argsort(np.array(wells.feature_names, str), kind="stable")
    # Adding 0 makes one zero of two.
    rows = np.ascontiguousarray(wells.features[:, order], "<f4") + np.float32(0)
    digest = hashlib.sha256(json.dumps(sorted(wells.feature_names)).encode())
    for row in sorted(row.tobytes() for row in rows):
        digest.update(row)
    return digest.hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     file_sha256(Path(file.name))[:8]
    'e3b0c442'
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _about(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    about: dict[str, Any] = parse_json(read_array(archive, "about").tobytes())
    _require(isinstance(about, dict), "its description is no JSON object")
    version = about["cpcnn_correction"]
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ProfileError(
            f"{path} has format {version}, this cpcnn reads {FORMAT_VERSION}; upgrade with: "
            "pip install --upgrade cpcnn"
        )
    _require(version == FORMAT_VERSION, f"its format is {version!r}")
    about.setdefault("table", "")
    _require(isinstance(about["table"], str), "its table is no text")
    return about


def _correction(archive: zipfile.ZipFile, about: Mapping[str, Any]) -> Correction:
    method, names, settings = about["method"], about["feature_names"], about["settings"]
    _require(method in METHODS, f"the method {method!r} is unknown")
    _require(
        isinstance(names, list) and bool(names) and all(isinstance(name, str) for name in names),
        "feature_names are no names",
    )
    _require(isinstance(settings, dict), "settings are no JSON object")
    for name, value in settings.items():
        text = isinstance(value, str | bool | None) and name not in NUMBERS
        _require(text or _is_number(value), f"the setting {name} is {value!r}")
    kinds = STEPS_OF[method]
    _require(
        about["steps"] == [kind.__name__ for kind in kinds], "its steps are those of another method"
    )
    steps: list[Any] = []
    for number, kind in enumerate(kinds):
        values: dict[str, Any] = {
            part.name: read_array(archive, f"{number}.{part.name}") for part in fields(kind)
        }
        # A number was saved as an array without dimensions.
        steps.append(kind(**{name: v if v.ndim else v.item() for name, v in values.items()}))
    return Correction(method, names, steps, settings)


def _uncorrected(archive: zipfile.ZipFile, about: Mapping[str, Any]) -> np.ndarray | None:
    if not about.get(UNCORRECTED, False):
        return None
    features, width = read_array(archive, UNCORRECTED), len(about["feature_names"])
    right = features.dtype == np.float32 and features.ndim == 2 and features.shape[1] == width
    _require(right and bool(np.isfinite(features).all()), f"its {UNCORRECTED} wells are unusable")
    return features


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _require(right: bool, complaint: str) -> None:
    if not right:
        raise ProfileError(complaint)


def _npz(path: str | Path) -> Path:
    path = Path(path)
    return path if path.suffix == ".npz" else path.with_name(path.name + ".npz")
