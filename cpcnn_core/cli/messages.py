"""Where messages go: notices, warnings and errors to stderr, and all of them to ``--log FILE``.

Standard output has nothing but results; see `cpcnn_core.cli.terminal`. Lines of ``--log`` stay
whole, even if other processes write to the file too.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import logging
import os
import platform
import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cpcnn_core
from cpcnn_core.errors import CPCNNError, CPCNNWarning
from cpcnn_core.user_messages import TOLD, is_told, printable

LOGGER = logging.getLogger(__name__)
OURS, WARNINGS = "cpcnn_core", "py.warnings"
_PREFIXES = {
    logging.WARNING: "cpcnn: warning: ",
    logging.ERROR: "cpcnn: error: ",
    logging.CRITICAL: "cpcnn: ",
}


def add_message_options(parser: argparse.ArgumentParser, *, again: bool = True) -> None:
    """Add how much is said, and where.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    again : bool
        Whether the options may have been given before, to ``cpcnn`` itself: what was given
        there holds, unless it is given again.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_message_options(parser, again=False)
    >>> parser.parse_args(["-q"]).quiet, parser.parse_args([]).log
    (True, None)
    """
    default: dict[str, Any] = {"default": argparse.SUPPRESS} if again else {}
    group = parser.add_argument_group("messages")
    for short, name, text in (
        ("-v", "--verbose", "also say what becomes of every site, and what is gone through"),
        ("-q", "--quiet", "say warnings and errors alone; no notices, no progress"),
    ):
        group.add_argument(short, name, action="store_true", help=text, **default)
    group.add_argument("--log", metavar="FILE", help="also write all messages to FILE", **default)
    group.add_argument(
        "--debug", action="store_true", help="show the traceback of an error", **default
    )


def message_words(options: argparse.Namespace) -> list[str]:
    """Say again to another ``cpcnn`` what was said of messages.

    Examples
    --------
    >>> message_words(argparse.Namespace(verbose=True, quiet=False, debug=False, log=None))
    ['--verbose']
    """
    words = [f"--{name}" for name in ("verbose", "quiet", "debug") if getattr(options, name)]
    return [*words, "--log", str(Path(options.log).absolute())] if options.log else words


@contextlib.contextmanager
def messages(options: argparse.Namespace) -> Iterator[None]:
    """Send what is logged, and Python's warnings, to the terminal, as the options say.

    Parameters
    ----------
    options : argparse.Namespace

    Examples
    --------
    >>> options = argparse.Namespace(verbose=False, quiet=False, debug=False, log=None)
    >>> with messages(options):
    ...     LOGGER.info("a notice")  # on stderr
    """
    root, ours = logging.getLogger(), logging.getLogger(OURS)
    level, show = ours.level, warnings.showwarning
    ours.setLevel(logging.DEBUG if options.verbose or options.log else logging.INFO)
    root.addHandler(TerminalHandler(options))
    warnings.showwarning = _log_warning
    try:
        yield
    finally:
        warnings.showwarning = show
        ours.setLevel(level)
        for handler in root.handlers[:]:
            if isinstance(handler, TerminalHandler | LogFile):
                root.removeHandler(handler)
                handler.close()


def told_error(error: Exception, options: argparse.Namespace) -> str:
    """Return an error in one line, as users read it.

    Examples
    --------
    >>> told_error(CPCNNError("no room"), argparse.Namespace(debug=False))
    'no room'
    >>> told_error(KeyError("x"), argparse.Namespace(debug=False))
    "KeyError: 'x' (cpcnn --debug ... shows where)"
    """
    if isinstance(error, CPCNNError):
        return str(error)
    hint = "" if options.debug else " (cpcnn --debug ... shows where)"
    return f"{type(error).__name__}: {error}{hint}"


def open_log(options: argparse.Namespace, command: Sequence[str]) -> None:
    """Send all messages to the file of ``--log`` too, until `messages` ends.

    Parameters
    ----------
    options : argparse.Namespace
    command : sequence of str
        The command line, which is the first that is written.

    Raises
    ------
    LogFileError
        The file is something else, or cannot be written.

    Examples
    --------
    >>> open_log(argparse.Namespace(log=None), ["cpcnn", "models", "list"])
    """
    root = logging.getLogger()
    if options.log:
        root.addHandler(LogFile(options.log))
    python, line = platform.python_version(), shlex.join(command)
    started = f"cpcnn {cpcnn_core.__version__}, Python {python}, in {Path.cwd()}: {line}"
    LOGGER.debug("%s", started, extra=TOLD)


def shows_notices() -> bool:
    """Tell whether notices and progress are asked for.

    Examples
    --------
    >>> shows_notices()
    True
    """
    terminal = _terminal()
    return terminal is None or terminal.level <= logging.INFO


class TerminalHandler(logging.Handler):
    """Write records as lines of a terminal, around progress bars.

    Parameters
    ----------
    options : argparse.Namespace
        With `verbose`, `quiet` and `debug`.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        quiet, verbose = options.quiet, options.verbose
        level = logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO
        super().__init__(level)
        self._debug = options.debug
        self.addFilter(lambda record: verbose or _is_for_terminal(record))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; if the stream is closed, the work continues all the same."""
        of = "" if _is_ours(record) else f"{record.name}: "
        text = f"{of}{record.getMessage()}"
        text = f"{_PREFIXES.get(record.levelno, '')}{printable(text)}\n"
        if self._debug and record.exc_info and record.exc_info[1] is not None:
            told = "".join(traceback.format_exception(record.exc_info[1]))
            text = "".join(f"{printable(line)}\n" for line in told.splitlines()) + text
        with contextlib.suppress(OSError, ValueError):
            bar = sys.modules.get("tqdm")
            if bar is not None and sys.stderr.isatty():
                bar.tqdm.write(text, file=sys.stderr, end="")
            else:
                sys.stderr.write(text)
            sys.stderr.flush()


def _terminal() -> TerminalHandler | None:
    handlers = logging.getLogger().handlers
    return next((one for one in handlers if isinstance(one, TerminalHandler)), None)


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name == WARNINGS or record.name.partition(".")[0] == OURS


def _is_for_terminal(record: logging.LogRecord) -> bool:
    """Tell whether a record is shown also to those who did not ask for all."""
    if _is_ours(record):
        return not is_told(record)
    # Of other libraries what Python itself would show: nothing that has a handler of its own.
    logger = logging.getLogger(record.name)
    while logger.parent is not None:
        if logger.handlers:
            return False
        logger = logger.parent
    return record.levelno >= logging.WARNING


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,  # noqa: ARG001  (as Python calls it)
    line: str | None = None,  # noqa: ARG001
) -> None:
    if issubclass(category, CPCNNWarning):
        LOGGER.warning("%s", message)
        return
    where = f"{Path(filename).name}, line {lineno}"
    logging.getLogger(WARNINGS).warning("%s: %s (%s)", category.__name__, message, where)


_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")
# The private parts of an address.
_USER = re.compile(r"(:/{1,2})[^/\s@]+@")
# Each character is looked at only a few times, however often such a word is in a text.
_SECRET = re.compile(
    r"(?i)([?&](?=[^?=&\s]*(?:token|key|secret|passw|signature|credential))[^?=&\s]*=)[^&\s'\"]+"
)


class LogFileError(CPCNNError, OSError):
    """The file of ``--log`` cannot be written, or is something else."""


class LogFile(logging.Handler):
    """Append records to a file, each by one call of the system.

    Several processes may have it open: shards, the programs that ``cpcnn compare`` starts,
    the workers of a training. None writes into another's line.

    Parameters
    ----------
    path : str
        Its folder is made. A file that is there is a log already, and is continued.

    Raises
    ------
    LogFileError
        It is something else than a log, or cannot be written.

    Examples
    --------
    >>> log = LogFile("run.log")
    >>> log.emit(logging.makeLogRecord({"msg": "loaded", "levelno": logging.INFO}))
    >>> log.close()
    >>> Path("run.log").read_text()
    '...loaded...'
    """

    def __init__(self, path: str) -> None:
        super().__init__(logging.DEBUG)
        self.path = Path(path).absolute()
        try:
            self._require_log()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
            self._file = os.open(self.path, how, 0o666)
        except OSError as error:
            if isinstance(error, CPCNNError):
                raise
            raise LogFileError(
                f"cannot write the log {path}: {error.strerror}; choose another file with --log"
            ) from error
        self._failed = False

    def _require_log(self) -> None:
        """Refuse a table, say, that was named by mistake: nothing is written into it."""
        if not self.path.exists():
            return
        if not self.path.is_file():
            raise LogFileError(f"the log {self.path} is no file; choose another with --log")
        with self.path.open("rb") as file:
            start = file.read(64)
        if start and not _STAMP.match(start):
            raise LogFileError(
                f"{self.path} is no log of cpcnn's, and nothing is added to it; choose another "
                "file with --log"
            )

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; if that is not possible, the work continues all the same."""
        if self._failed:
            return
        try:
            rest = _text_of(record).encode("utf-8", "backslashreplace")
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            self._failed = True
            said = f"cpcnn: warning: the log {self.path} ends here: {error.strerror}"
            print(printable(said), file=sys.stderr)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
        super().close()


def without_secrets(text: str) -> str:
    """Return a text without the passwords and tokens that addresses in it hold.

    Examples
    --------
    >>> without_secrets("get https://me:word@host/f?token=abc&size=1")
    'get https://...@host/f?token=...&size=1'
    """
    return _SECRET.sub(r"\1...", _USER.sub(r"\1...@", text))


def _text_of(record: logging.LogRecord) -> str:
    """Return a record's lines: one, and an error's traceback below it, set in."""
    time = dt.datetime.fromtimestamp(record.created, dt.UTC)
    stamp = f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"
    message = printable(without_secrets(record.getMessage()))
    lines = [f"{stamp} {record.levelname} {record.process} {record.name}: {message}"]
    if record.exc_info and record.exc_info[1] is not None:
        told = without_secrets("".join(traceback.format_exception(record.exc_info[1])))
        lines += [f"    {printable(line)}" for line in told.splitlines()]
    return "\n".join(lines) + "\n"
