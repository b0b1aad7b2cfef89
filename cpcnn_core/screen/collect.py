"""Put the sites of each plate together, in the order of the screen's own table.

Tables of plates from another run beside them are found: profiling the folder would count them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from cpcnn_core.errors import SiteError
from cpcnn_core.io.atomic import remove_leftovers, remove_leftovers_in
from cpcnn_core.io.deepprofiler_npz import SiteTable, read_description, read_site
from cpcnn_core.io.formats import CONSENSUS_ENDING, TABLE_ENDINGS
from cpcnn_core.io.plate_tables import (
    anndata_plate,
    parquet_plate,
    require_anndata,
    write_plate,
    write_plate_anndata,
)
from cpcnn_core.io.sites import Site
from cpcnn_core.screen.plan import Settings, site_file

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
        date: see `cpcnn_core.screen.reports.SiteReport.counted`. What they say of themselves
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
    >>> from cpcnn_core.io.deepprofiler import read_sites
    >>> from cpcnn_core.models.card import ModelCard
    >>> settings = Settings(ModelCard("tiny", "An example.", ("DNA",), 3, sha256="ab"))
    >>> collect_plates(read_sites(project), "out", settings)  # none is embedded yet
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


_PLATE_OF = {".parquet": parquet_plate, ".h5ad": anndata_plate}
NOT_IN_SCREEN = "no plate of this screen"
NO_CELLS = "none of its sites is done now"
OTHER_FORMAT = "not among the tables asked for, see --tables"


def refuse_strangers(out: str | Path, replaced: Collection[str]) -> None:
    """Refuse a folder with tables that ``cpcnn embed`` neither wrote nor is going to replace.

    Parameters
    ----------
    out : str or Path
    replaced : collection of str
        The names of the tables that this run writes.

    Raises
    ------
    SiteError
        Names the tables.

    Examples
    --------
    >>> refuse_strangers("nowhere", ["P1.parquet"])
    """
    strangers = [path for path in _counted(out, replaced) if not _is_ours(path)]
    if strangers:
        folder = Path(out) / PLATES_FOLDER
        names = ", ".join(str(path.relative_to(folder)) for path in strangers)
        raise SiteError(
            f"{folder} holds {names}, which cpcnn embed did not write as it is there; cpcnn "
            "profile would count it among this screen's plates: move it elsewhere"
        )


def plates_of(sites: Sequence[Site]) -> list[str]:
    """Name the plates of sites, in the order in which they are first met.

    Examples
    --------
    >>> plates_of([Site({"Plate": plate}, {}, lambda: None) for plate in ("P2", "P1", "P2")])
    ['P2', 'P1']
    """
    return list(dict.fromkeys(site.metadata["Plate"] for site in sites))


def table_names(plates: Collection[str], formats: Sequence[str]) -> list[str]:
    """Name the tables of some plates in some formats.

    Examples
    --------
    >>> table_names(["P1", "P2"], ["anndata"])
    ['P1.h5ad', 'P2.h5ad']
    """
    return [f"{plate}{FORMATS[name][0]}" for plate in plates for name in formats]


def other_tables(
    out: str | Path, written: Collection[str], plates: Collection[str]
) -> dict[Path, str]:
    """Return the tables of ``cpcnn embed`` that are none of this run, and why they are not.

    Parameters
    ----------
    out : str or Path
    written : collection of str
        The names of this run's tables.
    plates : collection of str
        Those of the screen.

    Examples
    --------
    >>> other_tables("nowhere", ["P1.parquet"], ["P1"])
    {}
    """
    stems = {Path(name).stem for name in written}

    def why(path: Path) -> str:
        if path.stem in stems:
            return OTHER_FORMAT
        return NO_CELLS if path.stem in plates else NOT_IN_SCREEN

    return {path: why(path) for path in _tables(out) if path.name not in written and _is_ours(path)}


def remove_others(out: str | Path, written: Sequence[Path], plates: Collection[str]) -> list[str]:
    """Remove the tables that `other_tables` finds, and refuse strangers that are left.

    Parameters
    ----------
    out : str or Path
    written : sequence of Path
        This run's tables.
    plates : collection of str
        Those of the screen.

    Returns
    -------
    list of str
        Sentences that say what was removed, and why.

    Raises
    ------
    SiteError
        See `refuse_strangers`; here also a table of a plate that has no cells now.

    Examples
    --------
    >>> remove_others("nowhere", [], ["P1"])
    []
    """
    names = {path.name for path in written}
    others = other_tables(out, names, plates)
    for path in others:
        path.unlink()
    # Left by a run that was killed while it collected: no other run collects now.
    remove_leftovers_in(Path(out) / PLATES_FOLDER)
    refuse_strangers(out, names)
    return said_of_others(others, "removed")


def said_of_others(others: dict[Path, str], verb: str) -> list[str]:
    """Say in a sentence for every reason which tables are removed.

    Examples
    --------
    >>> said_of_others({Path("out/plates/P9.parquet"): NOT_IN_SCREEN}, "removed")
    ['removed out/plates/P9.parquet: no plate of this screen']
    """
    groups: dict[str, list[Path]] = {}
    for path, why in others.items():
        groups.setdefault(why, []).append(path)
    return [
        f"{verb} {', '.join([str(paths[0]), *(path.name for path in paths[1:])])}: {why}"
        for why, paths in groups.items()
    ]


def _counted(out: str | Path, replaced: Collection[str]) -> list[Path]:
    """Return what ``cpcnn profile`` would count beside the tables that this run writes."""
    folder = Path(out) / PLATES_FOLDER
    found = []
    for path in sorted(folder.rglob("*")):
        rank = _rank(path.name)
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if rank is None or hidden or not path.is_file():
            continue
        stem = path.name[: -len(TABLE_ENDINGS[rank])]
        # Of a plate in several formats it takes the first.
        better = {f"{stem}{suffix}" for suffix in TABLE_ENDINGS[: rank + 1]}
        if path.parent != folder or not better & set(replaced):
            found.append(path)
    return found


def _rank(name: str) -> int | None:
    if name.casefold().endswith(CONSENSUS_ENDING):
        return None
    endings = [i for i, suffix in enumerate(TABLE_ENDINGS) if name.casefold().endswith(suffix)]
    return endings[0] if endings else None


def _tables(out: str | Path) -> list[Path]:
    folder = Path(out) / PLATES_FOLDER
    suffixes = [suffix for suffix, _ in FORMATS.values()]
    found = [path for suffix in suffixes for path in sorted(folder.glob(f"*{suffix}"))]
    return [path for path in found if not path.name.startswith(".")]


def _is_ours(path: Path) -> bool:
    plate_of = _PLATE_OF.get(path.suffix)
    ours = plate_of is not None and plate_of(path) == path.stem
    return ours and path.parent.name == PLATES_FOLDER
