"""Options that several verbs share: help, the wells to compare, how work is divided.

Those of the screen are in `cpcnn_core.cli.screen_options`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

from cpcnn_core.cli.messages import add_message_options
from cpcnn_core.schema.columns import TREATMENT, metadata_column


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
    """Add the treatment's column, the query wells, and the labels of treatments.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_question(parser)
    >>> parser.parse_args([]).label
    'moa'
    """
    add_by(parser)
    parser.add_argument(
        "--query",
        metavar="EXPR",
        help="only these wells are queries, e.g. those that a network has not seen",
    )
    parser.add_argument(
        "--annotations", help="CSV (or .tsv): the treatment, under the name of --by, and its label"
    )
    parser.add_argument(
        "--label", default="moa", help="the label's column; several separated by | (default: moa)"
    )
    add_keep_label(parser)


def annotations_of(
    options: argparse.Namespace, say: Callable[[str], None]
) -> dict[str, str] | None:
    """Read the labels of treatments that `add_question`'s options name, if they do."""
    from cpcnn_core.evaluation.annotations import read_annotations

    if not options.annotations:
        return None
    return read_annotations(
        options.annotations,
        metadata_column(options.by),
        options.label,
        keep_labels=options.keep_label,
        tell=say,
    )


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


def add_engine(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add what runs a network, and how.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_engine(parser)
    >>> parser.parse_args(["--device", "cpu"]).engine
    'auto'
    """
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda (default: %(default)s)")
    parser.add_argument(
        "--engine", default="auto", help="auto, torch, litert (default: %(default)s)"
    )
    parser.add_argument(
        "--precision", default="auto", help="auto, float32, mixed (default: %(default)s: float32)"
    )


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


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return int(text)
