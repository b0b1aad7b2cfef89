"""Tables of wells on disk, each with the correction that it was made with beside it.

``screen.v1.parquet`` and ``screen.v1.parquet.correction.npz`` belong together by the hash of
the second in the first; a table of text, which has no place for it, by the digest of its features
in the second. Earlier versions of cpcnn wrote ``screen.correction.npz`` and neither.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cpcnn_core.errors import ProfileError
from cpcnn_core.io.formats import CONSENSUS_ENDING, TABLE_ENDINGS
from cpcnn_core.io.profile_files import read_profiles, write_profiles
from cpcnn_core.profiles.corrected_wells import CorrectedWells, as_they_are
from cpcnn_core.profiles.correction import Correction, correction_file
from cpcnn_core.profiles.correction_files import (
    CorrectionFile,
    read_correction,
    wells_digest,
)
from cpcnn_core.schema.origin import CORRECTION, CORRECTION_SHA256, Origin, aligned
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.user_messages import Tell, warn

AGAIN = "make both again with: cpcnn profile"


@dataclass(frozen=True)
class Written:
    """Result of `write_corrected`.

    Attributes
    ----------
    wells : Profiles
        As they were written: their provenance has the hash of the correction.
    correction : Path or None
        The file of the correction; None where there is none.
    removed : list of Path
        What an earlier table of this name has left.
    """

    wells: Profiles
    correction: Path | None
    removed: list[Path]


def write_corrected(
    wells: Profiles,
    correction: Correction,
    path: str | Path,
    uncorrected: Profiles | None = None,
) -> Written:
    """Write wells, and beside them the correction that they were made with.

    Whenever the process is killed, no table is left beside a correction that would be taken for
    its own and is not.

    Parameters
    ----------
    wells : Profiles
        Corrected.
    correction : Correction
        Without steps there is no file of it.
    path : str or Path
        See `write_profiles`.
    uncorrected : Profiles, optional
        The same wells before. p-values fit the correction to them again, see
        `cpcnn_core.profiles.cross_fitting`; they are kept with it.

    Raises
    ------
    ProfileError
        As of `write_profiles`; or the wells were corrected before, which a table of text
        cannot say.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd
    >>> wells = Profiles(np.eye(2), pd.DataFrame({"Metadata_Well": ["A1", "A2"]}), ["x", "y"])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_corrected(wells, Correction("none", ["x", "y"], []), f"{folder}/w.csv").removed
    []
    """
    path = Path(path)
    if not correction.steps and _corrected_before(wells, path):
        write_profiles(wells, path)
        return Written(wells, None, [])
    beside, earlier = correction_file(path), _earlier_file(path)
    stale = [earlier] if earlier.is_file() and not _others_of_its_stem(path) else []
    stale += [beside] if beside.is_file() and not correction.steps else []
    fresh = not path.exists()
    # First what tells that it belongs to the new wells, one without steps too: the table that
    # is there until then is not taken for corrected by it, nor for uncorrected.
    before = None
    if uncorrected is not None and correction.steps:
        before = aligned(uncorrected, Origin(correction.feature_names))[0].features
    sha256 = correction.save(beside, wells, before)
    if correction.steps:
        wells = replace(wells, provenance=wells.provenance | {CORRECTION_SHA256: sha256})
    try:
        write_profiles(wells, path)
    except Exception:
        if fresh:
            beside.unlink()
        raise
    for file in (*stale, *(() if correction.steps else (beside,))):
        file.unlink(missing_ok=True)
    return Written(wells, beside if correction.steps else None, stale)


def consensus_file(table: str | Path) -> Path:
    """Name the file of the treatments' profiles beside a table of wells.

    Examples
    --------
    >>> consensus_file("screen.v1.parquet").name, consensus_file("screen.csv").name
    ('screen.v1.consensus.parquet', 'screen.csv.consensus.parquet')
    """
    table = Path(table)
    return table.with_name(table.name.removesuffix(".parquet") + CONSENSUS_ENDING)


def read_wells(
    path: str | Path, *, keep_labels: Collection[str] = (), tell: Tell = warn
) -> tuple[Profiles, Correction | None]:
    """Read a table, and the correction beside it.

    Parameters
    ----------
    path, keep_labels, tell
        As in `read_profiles`.

    Returns
    -------
    wells : Profiles
        See `read_marked`.
    correction : Correction or None
        See `correction_beside`.

    Raises
    ------
    ProfileError
        As of `read_profiles` and `correction_beside`.

    Examples
    --------
    >>> read_wells("nowhere.parquet")
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: there is no table nowhere.parquet
    """
    wells = read_profiles(path, keep_labels=keep_labels, tell=tell)
    found = _find_beside(Path(path), wells)
    return _marked(wells, found), None if found is None else found.correction


def read_marked(
    path: str | Path, *, keep_labels: Collection[str] = (), tell: Tell = warn
) -> Profiles:
    """Read a table; one of text tells in its provenance, too, how it is corrected.

    Parameters
    ----------
    path, keep_labels, tell
        As in `read_profiles`.

    Raises
    ------
    ProfileError
        As of `read_profiles`; beside a table of text, as of `correction_beside`.

    Examples
    --------
    >>> read_marked("nowhere.csv")
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: there is no table nowhere.csv
    """
    wells = read_profiles(path, keep_labels=keep_labels, tell=tell)
    return wells if wells.provenance else _marked(wells, _find_beside(Path(path), wells))


def correction_beside(path: str | Path, wells: Profiles) -> Correction | None:
    """Load the correction that a table of wells was made with, to correct cells alike.

    Parameters
    ----------
    path : str or Path
        Of the table.
    wells : Profiles
        What was read from it.

    Returns
    -------
    Correction or None
        None where the wells are as they were measured.

    Raises
    ------
    ProfileError
        The wells are corrected, and the correction is not beside them, or another is; or it
        cannot be told whose it is.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> wells = Profiles(np.eye(2), pd.DataFrame({"Metadata_Well": ["A1", "A2"]}), ["x", "y"])
    >>> correction_beside("wells.parquet", wells) is None
    True
    """
    found = _find_beside(Path(path), wells)
    return None if found is None else found.correction


def with_uncorrected(path: str | Path, wells: Profiles) -> CorrectedWells:
    """Return the wells of a table beside what they were before their correction.

    Parameters
    ----------
    path : str or Path
        Of the table.
    wells : Profiles
        What was read from it, all rows.

    Returns
    -------
    CorrectedWells
        Without the uncorrected ones where no file beside the table holds them, or those that it
        holds do not become these wells.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> wells = Profiles(np.eye(2), pd.DataFrame({"Metadata_Well": ["A1", "A2"]}), ["x", "y"])
    >>> with_uncorrected("wells.parquet", wells).uncorrected is wells
    True
    """
    try:
        found = _find_beside(Path(path), wells)
    except ProfileError:
        # Who needs the correction is told elsewhere; here it is not known.
        found = None
    unknown = CorrectedWells(wells, None, None)
    if found is None:
        return as_they_are(wells)
    before, correction = found.uncorrected, found.correction
    if before is None or len(before) != len(wells.metadata):
        return unknown
    made = {*CORRECTION, CORRECTION_SHA256, *correction.settings}
    told = {name: value for name, value in wells.provenance.items() if name not in made}
    names = correction.feature_names
    uncorrected = Profiles(before.astype(np.float64), wells.metadata, names, told)
    after = correction.transform(uncorrected)
    # Tables hold 32-bit numbers; what was reordered or edited is far from them.
    ours, theirs = after.features, aligned(wells, Origin(after.feature_names))[0].features
    same = np.allclose(ours, theirs, 1e-3, 1e-4 * np.abs(ours).max(initial=0))
    return CorrectedWells(wells, uncorrected, correction) if same else unknown


def _marked(wells: Profiles, found: CorrectionFile | None) -> Profiles:
    if found is None or wells.provenance:
        return wells
    made = {"correction": found.correction.method, **found.correction.settings}
    return replace(wells, provenance=made | {CORRECTION_SHA256: found.sha256})


def _find_beside(path: Path, wells: Profiles) -> CorrectionFile | None:
    made, sha256 = (wells.provenance.get(name) for name in ("correction", CORRECTION_SHA256))
    # A table of text cannot tell whether it is corrected; the file beside it does.
    if wells.provenance and not made:
        return None
    places = [place for place in _places(path) if place.is_file()]
    earlier = _earlier_file(path)
    if sha256 and earlier in places:
        places.remove(earlier)
    if not places:
        if not made:
            return None
        raise _not_there(path, wells)
    if sha256:
        return _by_hash(path, places, str(sha256))
    if places[0] == earlier:
        _require_one_owner(path, earlier)
    found = read_correction(places[0])
    _check_facts(path, wells, places[0], found.correction)
    if found.table and found.table != wells_digest(wells):
        raise ProfileError(
            f"{places[0].name} does not belong to {path.name}: it was written with other wells, "
            f"or their features have been changed since; {AGAIN}, or remove {places[0].name} if "
            f"{path.name} is not corrected"
        )
    return found if found.correction.steps else None


def _earlier_file(table: Path) -> Path:
    """Name the file that earlier versions wrote, which all tables of one first name shared."""
    return table.with_name(f"{table.name.split('.')[0]}.correction.npz")


def _places(table: Path) -> list[Path]:
    """List what a table's correction may be called, the likeliest first."""
    places = [correction_file(table)]
    if table.name.endswith(CONSENSUS_ENDING):
        # Treatments are means of wells, and have their correction.
        wells = table.name.removesuffix(CONSENSUS_ENDING)
        places += [correction_file(table.with_name(name)) for name in (f"{wells}.parquet", wells)]
    return [*places, _earlier_file(table)]


def _others_of_its_stem(table: Path) -> list[str]:
    """Name the other tables whose correction an earlier version would have called the same."""
    stem = table.name.split(".")[0]
    return sorted(
        other.name
        for other in table.parent.glob("*")
        if other.name.split(".")[0] == stem
        and other.name.endswith(TABLE_ENDINGS)
        and not other.name.endswith(CONSENSUS_ENDING)
        and other.name != table.name
    )


def _require_one_owner(table: Path, place: Path) -> None:
    others = _others_of_its_stem(table)
    if table.name.endswith(CONSENSUS_ENDING):
        # Not one of its own, but that of its wells.
        others = others[1:]
    if others:
        raise ProfileError(
            f"{place.name} may belong to {table.name} or to {' or '.join(others)}; rename it to "
            f"{correction_file(table).name} if it was written with {table.name}, remove it if it "
            f"belongs to none of them, or {AGAIN}"
        )


def _not_there(table: Path, wells: Profiles) -> ProfileError:
    own, made = correction_file(table).name, wells.provenance["correction"]
    which = (
        own if wells.provenance.get(CORRECTION_SHA256) else f"{own} or {_earlier_file(table).name}"
    )
    return ProfileError(
        f"{table.name} is corrected ({made}), but its correction {which} is not beside it, so "
        f"cells cannot be corrected alike; put {own} there, into {table.parent}, or {AGAIN}"
    )


def _by_hash(table: Path, places: list[Path], sha256: str) -> CorrectionFile:
    found = [read_correction(place) for place in places]
    for one in found:
        if one.sha256 == sha256:
            return one
    raise ProfileError(
        f"{places[0].name} ({found[0].correction.method}) does not belong to {table.name}: its "
        f"SHA-256 is {found[0].sha256}, {table.name} was made with {sha256}; {AGAIN}"
    )


def _check_facts(table: Path, wells: Profiles, place: Path, correction: Correction) -> None:
    for name, value in {"correction": correction.method, **correction.settings}.items():
        if wells.provenance and wells.provenance.get(name) != value:
            raise ProfileError(
                f"{place.name} ({correction.method}) does not belong to {table.name}: {name} is "
                f"{value} and {wells.provenance.get(name)}; {AGAIN}"
            )


def _corrected_before(wells: Profiles, path: Path) -> bool:
    """Tell whether wells keep an earlier correction; refuse where the table would not say so."""
    made = wells.provenance.get("correction")
    if made and path.suffix != ".parquet":
        raise ProfileError(
            f"the wells are corrected already ({made}), which {path.name} cannot say; write a "
            "table that ends in .parquet"
        )
    return bool(made)
