"""Options that several verbs share: help, the screen to read, the wells to compare."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from cpcnn_core.cli.messages import add_message_options
from cpcnn_core.errors import SiteError
from cpcnn_core.schema.columns import TREATMENT


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    example: str,
    do: Callable[[argparse.Namespace], int | None] | None = None,
) -> argparse.ArgumentParser:
    """Add a command with its one-line summary and an example.

    Parameters
    ----------
    commands : the object that argparse's ``add_subparsers`` returned
    name, summary, example : str
    do : callable (options), optional
        What the command does; None for a command that only has commands of its own.

    Returns
    -------
    argparse.ArgumentParser

    Examples
    --------
    >>> commands = argparse.ArgumentParser().add_subparsers()
    >>> add_command(commands, "fly", "Fly.", "cpcnn fly").prog.split()[-1]
    'fly'
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_message_options(parser)
    if do is not None:
        parser.set_defaults(do=do)
    return parser


def add_question(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the treatment's column, the wells that ask, and the labels of treatments.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_question(parser)
    >>> parser.parse_args([]).label
    'moa'
    """
    add_by(parser)
    parser.add_argument(
        "--ask", metavar="EXPR", help="only these wells ask, e.g. those that a network has not seen"
    )
    parser.add_argument(
        "--truth", help="CSV (or .tsv): the treatment, under the name of --by, and its label"
    )
    parser.add_argument(
        "--label", default="moa", help="the label's column; several separated by | (default: moa)"
    )
    add_keep_label(parser)


def add_by(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the treatment's column.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_by(parser)
    >>> parser.parse_args([]).by
    'Metadata_Treatment'
    """
    parser.add_argument(
        "--by", default=TREATMENT, help="names the treatment (default: %(default)s)"
    )


def add_controls(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add which wells are controls, where the table says it itself.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_controls(parser)
    >>> parser.parse_args(["--controls", "Treatment == 'DMSO'"]).controls
    "Treatment == 'DMSO'"
    """
    parser.add_argument(
        "--controls", metavar="EXPR", help="control wells (default: those of cpcnn profile)"
    )


def add_keep_label(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the labels that look as if there were none.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_keep_label(parser)
    >>> parser.parse_args(["--keep-label", "NA", "none"]).keep_label
    ['NA', 'none']
    """
    parser.add_argument(
        "--keep-label",
        nargs="+",
        default=[],
        metavar="LABEL",
        help="texts that are labels here, although NA, nan, NULL, None, ... say that there is none",
    )


def add_significance(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add what p- and q-values compare with, and correct for.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_significance(parser)
    >>> parser.parse_args(["--doses-of", "Compound"]).doses_of
    'Compound'
    """
    parser.add_argument(
        "--null",
        metavar="EXPR",
        help="wells of treatments known to do nothing, that p-values compare with (default: the "
        "controls, in parts that the correction is not fitted on)",
    )
    parser.add_argument(
        "--doses-of",
        metavar="COLUMN",
        help="names the compound where treatments are its doses: q-values take that into account",
    )


WITH_LOAD_DATA = ("objects", "labels", "locations", "object_name", "channels", "mask")


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
    objects.add_argument(
        "--objects", metavar="FILE", help="CellProfiler's Nuclei.csv, or its SQLite database"
    )
    objects.add_argument(
        "--labels", metavar="DIR", help="label images DIR/{Plate}_{Well}_{Site}.tif, or such a name"
    )
    objects.add_argument(
        "--locations", metavar="DIR", help="DeepProfiler's location files, as in inputs/locations"
    )


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


def add_work(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add how the work is divided.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> group = add_work(parser)
    >>> parser.parse_args(["--shard", "1/8", "--readers", "2"]).readers
    2
    """
    work = parser.add_argument_group("the work")
    work.add_argument("--shard", metavar="I/N", help="only the I-th of N parts of the sites")
    work.add_argument("--readers", type=_positive, metavar="N", help="threads that read images")
    work.add_argument("--strict", action="store_true", help="stop at the first site that fails")
    add_force(work)
    return work


def add_force(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add that nothing counts as done.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_force(parser)
    >>> parser.parse_args(["--force"]).force
    True
    """
    parser.add_argument("--force", action="store_true", help="do everything again")


def add_check(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the option that only says what would be done.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_check(parser)
    >>> parser.parse_args(["--check"]).check
    True
    """
    parser.add_argument("--check", action="store_true", help="only say what would be done, and why")


def refuse_strangers(options: argparse.Namespace, source: str, foreign: Sequence[str]) -> None:
    """Refuse options that mean nothing for the source that was chosen.

    Parameters
    ----------
    options : argparse.Namespace
    source : str
        The option that was given, e.g. ``--load-data``.
    foreign : sequence of str
        Names of options that belong to other sources.

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
    wrong = [f"--{name.replace('_', '-')}" for name in foreign if getattr(options, name)]
    if wrong:
        raise SiteError(
            f"{', '.join(wrong)} cannot be used with {source}; leave it out"
            + (" (the project says it itself)" if source == "--deepprofiler" else "")
        )


def require_objects(options: argparse.Namespace) -> None:
    """Refuse a LoadData table without, or with more than one, place of its cells.

    Raises
    ------
    SiteError

    Examples
    --------
    >>> require_objects(argparse.Namespace(objects="n.csv", labels="", locations="", mask=True))
    Traceback (most recent call last):
    cpcnn_core.errors.SiteError: --mask needs the cells' outlines: give --labels DIR
    """
    if sum(bool(place) for place in (options.objects, options.labels, options.locations)) != 1:
        raise SiteError(
            "say where the cells are: either --objects FILE, --labels DIR or --locations DIR"
        )
    if options.mask and not options.labels:
        raise SiteError("--mask needs the cells' outlines: give --labels DIR")


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


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)


def _micrometres(text: str) -> float:
    from cpcnn_core.imaging.scale import check_um_per_px

    try:
        return check_um_per_px(float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected micrometres per pixel, a number above 0, got {text!r}"
        ) from error
