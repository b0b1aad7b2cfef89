"""Put the sites of each plate together, in the order of the screen's own table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cpcnn_core.atomic import remove_leftovers
from cpcnn_core.errors import SiteError
from cpcnn_core.readers.sites import Site
from cpcnn_core.screen.plan import Settings, site_file
from cpcnn_core.tables.deepprofiler_npz import SiteTable, read_description, read_site
from cpcnn_core.tables.plate_anndata import require_anndata, write_plate_anndata
from cpcnn_core.tables.plate_parquet import write_plate

PLATES_FOLDER = "plates"
FORMATS = {"parquet": (".parquet", write_plate), "anndata": (".h5ad", write_plate_anndata)}


def require_writers(formats: Sequence[str]) -> None:
    """Raise `DependencyError` where the packages of a format are missing.

    Examples
    --------
    >>> require_writers(["parquet"])
    """
    if "anndata" in formats:
        require_anndata()


def collect_plates(
    sites: Sequence[Site],
    out: str | Path,
    settings: Settings,
    formats: Sequence[str] = ("parquet",),
) -> list[Path]:
    """Write a table per plate from the sites that are done.

    Parameters
    ----------
    sites : sequence of Site
        Those of the whole screen, not of one shard of it, that have a file which is up to
        date: see `cpcnn_core.screen.report.SiteReport.counted`. What they say of themselves
        (treatment, ...) is in the tables, whatever their files say.
    out : str or Path
        Where `cpcnn_core.screen.run.embed_sites` wrote; tables go to ``plates`` in it.
    settings : Settings
        Sites that were made with others are left out.
    formats : sequence of str
        Of `FORMATS`: one file per plate in each.

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
    plates: dict[str, list[Site]] = {}
    for site in sites:
        if _is_made_with(site_file(out, site), settings.of(site)):
            plates.setdefault(site.metadata["Plate"], []).append(site)
    tables = []
    for plate, mine in plates.items():
        made = _together([settings.of(site).provenance() for site in mine])
        made["weights"] = settings.weights
        for name in formats:
            suffix, write = FORMATS[name]
            table = Path(out) / PLATES_FOLDER / f"{plate}{suffix}"
            cells = as_described(mine, out)
            write(table, cells, metadata_names(mine), made, settings.feature_names())
            remove_leftovers(table)
            tables.append(table)
    return tables


def as_described(sites: Sequence[Site], out: str | Path) -> Iterator[SiteTable]:
    """Read the files of sites, one after the other, with what the screen's table says now.

    Examples
    --------
    >>> list(as_described([], "out"))
    []
    """
    for site in sites:
        table = read_site(site_file(out, site))
        yield dataclasses.replace(table, metadata=dict(site.metadata))


def metadata_names(sites: Sequence[Site]) -> list[str]:
    """Name what is known of any of these sites, in the order in which it is first met.

    Examples
    --------
    >>> metadata_names([Site({"Well": "A01"}, {}, None), Site({"Dose": "3"}, {}, None)])
    ['Well', 'Dose']
    """
    return list({name: None for site in sites for name in site.metadata})


def _is_made_with(path: Path, settings: Settings) -> bool:
    try:
        own, _, _ = read_description(path)
    except SiteError:
        return False
    result: bool = own["provenance"] == settings.provenance()
    return result


def _together(provenances: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Say of all sites what each says of itself; where they differ (in scale), all values."""
    values: dict[str, dict[str, None]] = {}
    for provenance in provenances:
        for name, value in provenance.items():
            values.setdefault(name, {})[value] = None
    return {name: ",".join(found) for name, found in values.items()}
