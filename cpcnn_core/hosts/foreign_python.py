"""Commands for another Python, which may be an old one.

What Python is told by ``-c`` and ``-m`` can import from the current folder before all else. That
may be a folder from someone else, with a ``json.py`` of its own; no option forbids it before
Python 3.11. So these commands do it themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

_NOT_FROM_HERE = "import sys; sys.path[:] = [folder for folder in sys.path if folder]\n"


def code_command(python: Sequence[str], code: str, *arguments: str) -> list[str]:
    """Return the command that runs some code.

    Parameters
    ----------
    python : sequence of str
        What starts the Python.
    code, *arguments : str
        The arguments are in its ``sys.argv``, from 1 on.

    Examples
    --------
    >>> code_command(["python3.9"], "print(1)")[:2]
    ['python3.9', '-c']
    """
    return [*python, "-c", _NOT_FROM_HERE + code, *arguments]


def module_command(python: Sequence[str], module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module as ``-m`` does.

    Examples
    --------
    >>> import subprocess, sys
    >>> command = module_command([sys.executable], "platform", "terse")
    >>> subprocess.run(command, capture_output=True, check=True).stdout != b""
    True
    """
    start = f"import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    return code_command(python, start, *arguments)
