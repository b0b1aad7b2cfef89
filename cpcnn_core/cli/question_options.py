"""The options that say what wells are asked, for all verbs that measure retrieval."""

from __future__ import annotations

import argparse


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
        "--by", default="Metadata_Treatment", help="names the treatment (default: %(default)s)"
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
