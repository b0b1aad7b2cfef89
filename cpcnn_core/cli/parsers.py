"""How every verb's help looks: a sentence, the options, an example."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from cpcnn_core.cli.messages import add_message_options


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
