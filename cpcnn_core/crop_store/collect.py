"""Put the sites of a store together in one index, in the order of the screen's own table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cpcnn_core.crop_store.settings import StoreSettings
from cpcnn_core.crop_store.sites import CropSite, crops_path, facts_if_done
from cpcnn_core.crop_store.store import CHECKSUM, CROPS_FOLDER, FILE, INDEX_FILE, PLACE
from cpcnn_core.errors import CropStoreError
from cpcnn_core.io.atomic import write_atomically
from cpcnn_core.io.parquet_files import write_parquet
from cpcnn_core.schema.columns import OBJECT_NUMBER, PLATE, STUDY, WELL
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.schema.values import texts_of
from cpcnn_core.user_messages import Tell, warn

if TYPE_CHECKING:
    import pandas as pd


def collect_index(
    sites: Sequence[CropSite],
    out: str | Path,
    settings: StoreSettings,
    *,
    study: str | None = None,
    platemap: str | Path | None = None,
    tell: Tell = warn,
) -> Path:
    """Write the index of all crops that are done.

    Parameters
    ----------
    sites : sequence of CropSite
        Those of the whole screen, not of one shard of it, that have crops which are up to
        date: see `cpcnn_core.screen.reports.SiteReport.counted`.
    out : str or Path
        Where `cpcnn_core.crop_store.run.store_crops` wrote.
    settings : StoreSettings
    study : str, optional
        Becomes ``Metadata_Study``. Default: what the screen's table says, else the
        folder's name.
    platemap : str or Path, optional
        Adds what it says of every well, as `cpcnn_core.profiles.wells.join_platemap` does.
    tell : callable
        Takes a sentence: of how many wells the plate map says nothing.

    Returns
    -------
    Path
        ``index.parquet``; equal sites and tables give equal bytes.

    Raises
    ------
    CropStoreError
        No crop at all; then there is no index either.
    ProfileError
        A well that the plate map lacks.

    Examples
    --------
    >>> from cpcnn_core.crop_store.run import store_crops
    >>> reports = store_crops(crop_sites, "crops", crop_settings)
    >>> collect_index(crop_sites, "crops", crop_settings).as_posix()
    'crops/index.parquet'
    """
    out = Path(out)
    tables = [table for site in sites if (table := _rows(site, out, settings)) is not None]
    count = sum(len(table[PLACE]) for table in tables)
    if not count:
        # An older one would tell of crops that are no more.
        (out / INDEX_FILE).unlink(missing_ok=True)
        raise CropStoreError(f"there are no crops in {out} to collect: no site has any")
    frame = _join(tables, count)
    if platemap is not None:
        frame = _add_platemap(frame, platemap, tell)
    if study is not None or STUDY not in frame.columns:
        frame[STUDY] = study or out.absolute().name
    frame.insert(0, STUDY, frame.pop(STUDY))
    path = out / INDEX_FILE
    write_atomically(path, lambda place: _write_parquet(frame, place))
    return path


def _rows(site: CropSite, out: Path, settings: StoreSettings) -> dict[str, Any] | None:
    facts = facts_if_done(out, site, settings)
    if facts is None:
        return None
    file = crops_path(out, site).relative_to(out / CROPS_FOLDER).as_posix()
    return {
        **site.texts(facts.columns[OBJECT_NUMBER]),
        **facts.columns,
        FILE: file,
        PLACE: np.arange(len(facts.checksums), dtype=np.int64),
        CHECKSUM: facts.checksums,
    }


def _join(tables: Sequence[dict[str, Any]], count: int) -> pd.DataFrame:
    """Put the columns of all sites below each other; a text is repeated for its site."""
    import pandas as pd

    columns = {}
    for name in {name: None for table in tables for name in table}:
        first = next(table[name] for table in tables if name in table)
        texts = isinstance(first, str) or first.dtype.kind not in "biuf"
        values = np.full(count, "", object) if texts else np.empty(count, first.dtype)
        start = 0
        for table in tables:
            stop = start + len(table[PLACE])
            values[start:stop] = table.get(name, "") if texts else table[name]
            start = stop
        columns[name] = values
    return pd.DataFrame(columns)


def _add_platemap(frame: pd.DataFrame, platemap: str | Path, tell: Tell) -> pd.DataFrame:
    from cpcnn_core.profiles.wells import join_platemap

    wells = frame[[PLATE, WELL]].drop_duplicates(ignore_index=True)
    rows = Profiles(np.empty((len(wells), 0)), wells, [])
    joined = join_platemap(rows, platemap, tell=tell).metadata
    # As all that a screen's own table says.
    joined = joined.assign(**{name: texts_of(values) for name, values in joined.items()})
    known = frame.drop(columns=set(joined.columns) - {PLATE, WELL}, errors="ignore")
    merged = known.merge(joined, how="left", on=[PLATE, WELL])
    last = [FILE, PLACE, CHECKSUM]
    return merged[[name for name in merged.columns if name not in last] + last]


def _write_parquet(frame: pd.DataFrame, place: Path) -> None:
    import pyarrow as pa

    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    write_parquet(place, table, use_dictionary=texts)
