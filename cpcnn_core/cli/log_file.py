"""The file of ``--log``: whole lines, even if other processes write to it too."""

from __future__ import annotations

import datetime as dt
import logging
import os
import re
import sys
import traceback
from pathlib import Path

from cpcnn_core.errors import CPCNNError
from cpcnn_core.printable import printable

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
    >>> log = LogFile("run.log")  # doctest: +SKIP
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
