"""Put the sites of each plate together, in the order of the screen's own table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cpcnn_core.readers.sites import Site
from cpcnn_core.screen.plan import Settings, header_if_done, images_of, site_file
from cpcnn_core.tables.deepprofiler_npz import read_site
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
        The whole screen, not one shard of it.
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
    paths_of: dict[str, list[Path]] = {}
    # What is known of any site of the plate, in the order in which it is first met.
    names_of: dict[str, dict[str, None]] = {}
    made_of: dict[str, list[dict[str, str]]] = {}
    for site in sites:
        path, plate = site_file(out, site), site.metadata["Plate"]
        provenance = settings.of(site).provenance()
        header = header_if_done(path, provenance, images_of(site, settings.card.channels))
        if header is not None:
            paths_of.setdefault(plate, []).append(path)
            made_of.setdefault(plate, []).append(provenance)
            names_of.setdefault(plate, {}).update(dict.fromkeys(header["metadata"]))
    tables = []
    for plate, paths in paths_of.items():
        for name in formats:
            suffix, write = FORMATS[name]
            table = Path(out) / PLATES_FOLDER / f"{plate}{suffix}"
            write(
                table,
                map(read_site, paths),
                list(names_of[plate]),
                _together(made_of[plate]),
                settings.feature_names(),
            )
            tables.append(table)
    return tables


def _together(provenances: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Say of all sites what each says of itself; where they differ (in scale), all values."""
    values: dict[str, dict[str, None]] = {}
    for provenance in provenances:
        for name, value in provenance.items():
            values.setdefault(name, {})[value] = None
    return {name: ",".join(found) for name, found in values.items()}
