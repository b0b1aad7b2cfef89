"""Put the sites of each plate together, in the order of the screen's own table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cpcnn_core.readers.sites import Site
from cpcnn_core.screen.plan import Settings, is_done, site_file
from cpcnn_core.tables.deepprofiler_npz import SiteTable, read_header, read_site
from cpcnn_core.tables.plate_parquet import write_plate

PLATES_FOLDER = "plates"


def collect_plates(sites: Sequence[Site], out: str | Path, settings: Settings) -> list[Path]:
    """Write one parquet table per plate from the sites that are done.

    Parameters
    ----------
    sites : sequence of Site
        The whole screen, not one shard of it.
    out : str or Path
        Where `cpcnn_core.screen.run.embed_sites` wrote; tables go to ``plates`` in it.
    settings : Settings
        Sites that were made with others are left out.

    Returns
    -------
    list of Path
        The tables, one for each plate with at least one site done.

    Notes
    -----
    Sites are read one after the other, so memory does not grow with the plate.

    Examples
    --------
    >>> collect_plates([], "out", settings)  # doctest: +SKIP
    []
    """
    provenance = settings.provenance()
    by_plate: dict[str, list[Path]] = {}
    for site in sites:
        path = site_file(out, site)
        if is_done(path, provenance):
            by_plate.setdefault(site.metadata["Plate"], []).append(path)
    tables = []
    for plate, paths in by_plate.items():
        table = Path(out) / PLATES_FOLDER / f"{plate}.parquet"
        write_plate(
            table,
            _read(paths),
            _metadata_names(paths),
            provenance,
            settings.card.embed_dim,
            settings.compartment,
        )
        tables.append(table)
    return tables


def _read(paths: Sequence[Path]) -> Iterator[SiteTable]:
    for path in paths:
        yield read_site(path)


def _metadata_names(paths: Sequence[Path]) -> list[str]:
    """Name what is known of any site, in the order in which it is first met."""
    names: dict[str, None] = {}
    for path in paths:
        names |= dict.fromkeys(read_header(path)["metadata"])
    return list(names)
