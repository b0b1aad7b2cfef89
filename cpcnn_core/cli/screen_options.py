"""Options of the screen to read, and what they ask for as one value."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cpcnn_core.errors import SiteError

if TYPE_CHECKING:
    from cpcnn_core.screen.screens import Cells, LoadDataScreen, Screen

# Where the cells of a LoadData table are: an option, what it takes, and its help.
_CELLS = {
    "objects": ("FILE", "CellProfiler's Nuclei.csv, or its SQLite database"),
    "labels": ("DIR", "label images DIR/{Plate}_{Well}_{Site}.tif, or such a name"),
    "locations": ("DIR", "DeepProfiler's location files, as in inputs/locations"),
}
WITH_LOAD_DATA = (*_CELLS, "object_name", "channels", "mask")
WITH_PROJECT = ("config", "exp")


def add_screen(parser: argparse.ArgumentParser) -> None:
    """Add which screen is embedded, and where its cells and channels are.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_screen(parser)
    >>> parser.parse_args(["--deepprofiler", "project", "--exp", "first"]).exp
    'first'
    """
    add_source(parser)
    add_objects(parser)
    add_load_data(parser).add_argument(
        "--channels",
        nargs="+",
        metavar="CHANNEL=IMAGE",
        help="the image of a channel, where its name does not tell (DNA=OrigHoechst); models "
        "that take any channels get these",
    )
    add_project(parser).add_argument("--exp", help="its experiment, where there are several")


def add_source(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Add which screen is meant; a verb may add other sources to the group returned.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> group = add_source(parser)
    >>> parser.parse_args(["--load-data", "load_data.csv"]).load_data
    'load_data.csv'
    """
    source = parser.add_argument_group("the screen: one of these")
    source = source.add_mutually_exclusive_group(required=True)
    source.add_argument("--load-data", metavar="CSV", help="CellProfiler's LoadData table")
    source.add_argument("--deepprofiler", metavar="PROJECT", help="a DeepProfiler project's folder")
    return source


def add_objects(parser: argparse.ArgumentParser) -> None:
    """Add where the cells are, for a LoadData table.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_objects(parser)
    >>> parser.parse_args(["--labels", "labels"]).labels
    'labels'
    """
    objects = parser.add_argument_group("with --load-data, where the cells are: one of these")
    for name, (metavar, text) in _CELLS.items():
        objects.add_argument(f"--{name}", metavar=metavar, help=text)


def add_load_data(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add what else may be said of a LoadData table.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> group = add_load_data(parser)
    >>> parser.parse_args(["--mask"]).mask
    True
    """
    images = parser.add_argument_group("with --load-data")
    images.add_argument("--object-name", help="whose positions, in a database (default: Nuclei)")
    images.add_argument(
        "--mask", action="store_true", help="mask neighbouring cells; needs --labels"
    )
    return images


def add_scale(parser: argparse.ArgumentParser | argparse._ArgumentGroup, what: str) -> None:
    """Add the scale of the images; `what` says in the help what it is for.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_scale(parser, "recorded")
    >>> parser.parse_args(["--um-per-px", "0.325"]).um_per_px
    0.325
    """
    parser.add_argument(
        "--um-per-px",
        type=_micrometres,
        metavar="UM",
        help=f"micrometres per pixel of the images: {what}",
    )


def add_project(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add what may be said of a DeepProfiler project.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> group = add_project(parser)
    >>> parser.parse_args(["--config", "profile.json"]).config
    'profile.json'
    """
    project = parser.add_argument_group("with --deepprofiler")
    project.add_argument("--config", help="its configuration, where there are several")
    return project


def screen_of(
    options: argparse.Namespace,
    channels: Iterable[str] | None = None,
    foreign: Sequence[str] = (),
) -> Screen:
    """Return the screen that the options describe.

    Parameters
    ----------
    options : argparse.Namespace
    channels : iterable of str
        As ``CHANNEL=IMAGE``. Default: those of the options.
    foreign : sequence of str
        Further options that mean nothing for these sources.

    Raises
    ------
    SiteError
        Options that do not belong together, or cells that are nowhere or in two places.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_screen(parser)
    >>> screen_of(parser.parse_args(["--deepprofiler", "P", "--labels", "L"]))
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: --labels cannot be used with --deepprofiler; leave it out (the ...
    """
    from cpcnn_core.screen.screens import DeepProfilerScreen

    if options.deepprofiler:
        refuse_strangers(options, "--deepprofiler", (*WITH_LOAD_DATA, *foreign))
        experiment = getattr(options, "exp", None)
        return DeepProfilerScreen(
            options.deepprofiler, options.config, experiment, options.um_per_px
        )
    refuse_strangers(options, "--load-data", (*WITH_PROJECT, *foreign))
    return _load_data_screen(options, options.channels if channels is None else channels)


def _load_data_screen(
    options: argparse.Namespace, channels: Iterable[str] | None
) -> LoadDataScreen:
    from cpcnn_core.screen.screens import LoadDataScreen

    cells = _cells_of(options)
    images = tuple(image_of(text) for text in channels or ())
    return LoadDataScreen(options.load_data, cells, images, options.um_per_px)


def _cells_of(options: argparse.Namespace) -> Cells:
    from cpcnn_core.screen.screens import CellProfilerObjects, LabelImages, LocationFiles

    if sum(bool(getattr(options, name)) for name in _CELLS) != 1:
        *most, last = (f"--{name} {metavar}" for name, (metavar, _) in _CELLS.items())
        raise SiteError(f"say where the cells are: either {', '.join(most)} or {last}")
    if options.mask and not options.labels:
        raise SiteError("--mask needs the cells' outlines: give --labels DIR")
    if options.labels:
        return LabelImages(options.labels, options.mask)
    if options.locations:
        return LocationFiles(options.locations)
    return CellProfilerObjects(options.objects, options.object_name or "Nuclei")


def refuse_strangers(options: argparse.Namespace, source: str, foreign: Sequence[str]) -> None:
    """Refuse options that mean nothing for the source that was chosen.

    Parameters
    ----------
    options : argparse.Namespace
    source : str
        The option that was given, e.g. ``--load-data``.
    foreign : sequence of str
        Names of options that belong to other sources; a verb need not have them.

    Raises
    ------
    SiteError
        One of them was given.

    Examples
    --------
    >>> refuse_strangers(argparse.Namespace(exp="e"), "--load-data", ["exp"])
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: --exp cannot be used with --load-data; leave it out
    """
    wrong = [f"--{name.replace('_', '-')}" for name in foreign if getattr(options, name, None)]
    if wrong:
        raise SiteError(
            f"{', '.join(wrong)} cannot be used with {source}; leave it out"
            + (" (the project says it itself)" if source == "--deepprofiler" else "")
        )


def image_of(text: str) -> tuple[str, str]:
    """Read ``CHANNEL=IMAGE``.

    Raises
    ------
    SiteError
        Something else.

    Examples
    --------
    >>> image_of("DNA=OrigHoechst")
    ('DNA', 'OrigHoechst')
    """
    channel, equals, image = text.partition("=")
    if not equals or not channel or not image:
        raise SiteError(f"expected --channels CHANNEL=IMAGE, got {text!r}")
    return channel, image


def _micrometres(text: str) -> float:
    from cpcnn_core.imaging.scale import check_um_per_px

    try:
        return check_um_per_px(float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected micrometres per pixel, a number above 0, got {text!r}"
        ) from error
