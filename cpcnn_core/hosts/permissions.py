"""Which Pythons this user lets CellProfiler's pipelines start, besides the installed one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cpcnn_core.errors import HostError
from cpcnn_core.hosts import allowed_programs
from cpcnn_core.models.folders import cpcnn_home


def allow_python(path: Path) -> str:
    """Let pipelines start a program; the list is `cpcnn_core.hosts.allowed_programs`.

    Parameters
    ----------
    path : Path
        Of a Python, or of its environment's folder.

    Returns
    -------
    str
        The program that was allowed.

    Raises
    ------
    HostError
        There is none, everybody can change it, or the list is not in order.

    Examples
    --------
    >>> allow_python(Path("/no/such/python"))
    Traceback (most recent call last):
    cpcnn_core.errors.HostError: there is no Python at /no/such/python
    """
    with _told():
        return allowed_programs.allow(cpcnn_home(), _full(path))


def forbid_python(path: Path) -> str:
    """Take back what was allowed, and return it.

    Raises
    ------
    HostError
        It was not allowed; names what is.

    Examples
    --------
    >>> forbid_python(Path("/no/such/python"))
    Traceback (most recent call last):
    cpcnn_core.errors.HostError: /no/such/python is not allowed; ...
    """
    with _told():
        return allowed_programs.forbid(cpcnn_home(), _full(path))


def allowed_pythons() -> list[str]:
    """List what is allowed.

    Raises
    ------
    HostError
        The list is damaged, or another user can write it.

    Examples
    --------
    >>> "/no/such/python" in allowed_pythons()
    False
    """
    with _told():
        return sorted(allowed_programs.allowed(cpcnn_home()))


def _full(path: Path) -> str:
    """Make a path full: here the user has typed it, where only a pipeline's is refused."""
    return str(path.absolute())


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise HostError(str(error)) from error
