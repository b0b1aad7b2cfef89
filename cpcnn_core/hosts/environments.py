"""Make an environment in which CellProfiler runs without a window.

CellProfiler 4.2.8 needs Python 3.8 or 3.9 and old build tools; plain
``pip install cellprofiler`` fails on today's machines. `create_environment` does
what works: every module that needs no window, nothing that needs one.

What Python is told by ``-c`` and ``-m`` can import from the current folder before all else. That
may be a folder from someone else, with a ``json.py`` of its own; no option forbids it before
Python 3.11. So commands for another Python do it themselves.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from cpcnn_core.errors import HostError
from cpcnn_core.models.folders import cpcnn_home

CELLPROFILER_VERSION = "4.2.8.1"
PYTHON_VERSIONS = ("3.9", "3.8")
# What CellProfiler's Java bridge, compiled from source, can be built against.
CONSTRAINTS = ("numpy<2", "cython<3", "setuptools<70", "wheel<0.46")
# What CellProfiler's modules import, without wxPython (its window) and without
# mysqlclient, for which MySQL would have to be there at compile time.
PACKAGES = (
    f"cellprofiler-core=={CELLPROFILER_VERSION}",
    "scipy==1.9.0",
    "scikit-learn<1",
    "inflect<7",
    "Jinja2",
    "joblib",
    "mahotas",
    "requests",
    "tifffile<2022.4.22",
    "six",
    "imageio",
    "pymysql",
)
# ExportToDatabase imports MySQLdb even when it writes SQLite, and there too it
# wants the bytes that mysqlclient's escape_string returns.
MYSQLDB = '''"""MySQLdb by another name: CellProfiler's ExportToDatabase imports it."""

import pymysql
from pymysql.converters import escape_string

pymysql.escape_string = lambda value: escape_string(value).encode()
pymysql.install_as_MySQLdb()
'''
_COMPLETE = "cpcnn-environment-complete"
_LOG = "cpcnn-install.log"
Report = Callable[[str], None]


def create_environment(
    folder: str | Path, python: str | Path | None = None, report: Report | None = None
) -> Path:
    """Install headless CellProfiler 4.2.8 into an environment of its own.

    Parameters
    ----------
    folder : str or Path
        Where to put the environment. A complete one is left as it is, one
        that an earlier run did not finish is made again, one that another
        program is making is waited for.
    python : str or Path, optional
        A Python 3.9 or 3.8; default: what `find_python` finds.
    report : callable (str), optional
        Told what happens, a line at a time.

    Returns
    -------
    Path
        The environment's python.

    Raises
    ------
    HostError
        No such Python, no JDK, no C compiler, or pip failed: with pip's last lines
        and the path of the whole log.

    Notes
    -----
    Takes one to four minutes and 0.9 GB.

    Examples
    --------
    >>> create_environment("cellprofiler", python="/no/such/python")
    Traceback (most recent call last):
    cpcnn_core.errors.HostError: /no/such/python is no working Python 3.9 or 3.8...
    """
    report = report or (lambda _line: None)
    folder = Path(folder).absolute()
    if is_complete(folder):
        return environment_python(folder)
    with _alone(report):
        # The process that was waited for may have made it.
        if not is_complete(folder):
            _create(folder, python, report)
    return environment_python(folder)


def is_complete(folder: str | Path) -> bool:
    """Tell whether `create_environment` has finished there.

    Examples
    --------
    >>> is_complete("no/such/folder")
    False
    """
    return (Path(folder) / _COMPLETE).is_file()


def environment_python(folder: str | Path) -> Path:
    """Return the path that an environment's python has on this system.

    Examples
    --------
    >>> environment_python("env").parent.name in ("bin", "Scripts")
    True
    """
    return Path(folder) / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def find_python() -> Path:
    """Find a Python that CellProfiler 4.2.8 runs on.

    Looks for ``python3.9`` and ``python3.8`` on the PATH, among pyenv's versions
    and with Windows's launcher; each is tried before it is believed, since a name
    on the PATH may be a shim for a version that is not there.

    Raises
    ------
    HostError
        None works; says how to install one.

    Examples
    --------
    >>> find_python()  # doctest: +SKIP
    PosixPath('/usr/bin/python3.9')
    """
    for version in PYTHON_VERSIONS:
        for command in python_candidates(version):
            found = _version_of(command)
            if found is not None and found[0] == version:
                return Path(found[1])
    raise HostError(
        "CellProfiler 4.2.8 needs Python 3.9 or 3.8 and none was found; install one "
        "(python.org, pyenv install 3.9, conda create -n py39 python=3.9) and name "
        "it: cpcnn cellprofiler create FOLDER --python PYTHON"
    )


def python_candidates(version: str) -> Iterator[list[str]]:
    """Yield commands that may start a Python of that version, such as ``3.9``.

    Examples
    --------
    >>> all(isinstance(command, list) for command in python_candidates("3.9"))
    True
    """
    name = shutil.which(f"python{version}")
    if name:
        yield [name]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    for python in sorted(pyenv.glob(f"versions/{version}*/bin/python"), reverse=True):
        yield [str(python)]
    if shutil.which("py"):
        yield ["py", f"-{version}"]


def check_python(python: str | Path) -> Path:
    """Return the Python that was named, if CellProfiler can run on it.

    Examples
    --------
    >>> check_python("/no/such/python")
    Traceback (most recent call last):
    cpcnn_core.errors.HostError: /no/such/python is no working Python 3.9 or 3.8...
    """
    found = _version_of([str(python)])
    if found is None or found[0] not in PYTHON_VERSIONS:
        raise HostError(
            f"{python} is no working Python 3.9 or 3.8"
            + (f" but {found[0]}" if found else "")
            + "; CellProfiler 4.2.8 runs on no other"
        )
    return Path(found[1])


def find_java_home() -> Path:
    """Find the Java development kit: ``JAVA_HOME``, else where ``javac`` is.

    Raises
    ------
    HostError
        There is none; says how to install one.

    Examples
    --------
    >>> find_java_home()  # doctest: +SKIP
    PosixPath('/usr/lib/jvm/java-17-openjdk-amd64')
    """
    home = os.environ.get("JAVA_HOME")
    if home and Path(home).is_dir():
        return Path(home)
    javac = shutil.which("javac")
    if sys.platform == "darwin" and Path("/usr/libexec/java_home").exists():
        # macOS has a javac that only asks to install one; this tool knows better.
        asked = subprocess.run(
            ["/usr/libexec/java_home"], capture_output=True, text=True, check=False
        )
        javac = f"{asked.stdout.strip()}/bin/javac" if asked.returncode == 0 else None
    if javac is None:
        raise HostError(
            "CellProfiler needs a Java development kit and none was found; install one "
            "(Debian and Ubuntu: apt-get install default-jdk-headless) or set JAVA_HOME"
        )
    return Path(javac).resolve().parents[1]


@contextlib.contextmanager
def _alone(report: Report) -> Iterator[None]:
    """Let no other program make an environment meanwhile."""
    home = cpcnn_home()
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / "installing-cellprofiler.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        report("waiting for another program that is installing CellProfiler")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _create(folder: Path, python: str | Path | None, report: Report) -> None:
    unfinished = any((folder / name).is_file() for name in ("pyvenv.cfg", _LOG))
    if folder.exists() and any(folder.iterdir()) and not unfinished:
        raise HostError(f"{folder} holds other files; choose a folder that does not exist yet")
    base = find_python() if python is None else check_python(python)
    java_home = find_java_home()
    if os.name != "nt" and not (shutil.which("cc") or shutil.which("gcc")):
        raise HostError(
            "CellProfiler's Java bridge is compiled from source and there is no C compiler; "
            "install gcc (Debian and Ubuntu: apt-get install gcc libc6-dev)"
        )
    report(f"installing CellProfiler {CELLPROFILER_VERSION} into {folder} (one to four minutes)")
    _install(base, folder, java_home)
    report("trying whether all of it can be imported")
    own = str(environment_python(folder))
    _run([own, "-c", "import cellprofiler.modules.exporttodatabase"], folder)
    (folder / _COMPLETE).write_text(f"{CELLPROFILER_VERSION}\n")


def _install(base: Path, folder: Path, java_home: Path) -> None:
    _run([str(base), "-m", "venv", "--clear", str(folder)], folder)
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(CONSTRAINTS) + "\n")
    # Newer pips read the second name for packages that they compile.
    environ = {
        "JAVA_HOME": str(java_home),
        "PIP_CONSTRAINT": str(constraints),
        "PIP_BUILD_CONSTRAINT": str(constraints),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    own = str(environment_python(folder))
    pip = [own, "-m", "pip", "install"]
    _run([*pip, "setuptools", "wheel", "numpy", "cython"], folder, environ)
    _run([*pip, *PACKAGES], folder, environ)
    _run([*pip, "--no-deps", f"cellprofiler=={CELLPROFILER_VERSION}"], folder, environ)
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site_packages = _run([own, "-c", code], folder).strip().splitlines()[-1]
    (Path(site_packages) / "MySQLdb.py").write_text(MYSQLDB)


def _version_of(command: Sequence[str]) -> tuple[str, str] | None:
    """Ask a Python for its version and its own path; None when it does not work."""
    code = "import sys, venv; print('%d.%d' % sys.version_info[:2], sys.executable)"
    try:
        # A Python of the user's, or found by its name on the user's own path; no shell.
        asked = subprocess.run(  # noqa: S603
            code_command(command, code), capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    version, _, executable = asked.stdout.strip().partition(" ")
    return version, executable


def _run(command: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None) -> str:
    """Run one step, keep its output in the log, and fail with its last lines."""
    # Programs of the environment that is made, and words of ours; no shell.
    done = subprocess.run(  # noqa: S603
        command,
        # Not in the user's current folder: modules are imported from there before all others.
        cwd=cpcnn_home(),
        env={**os.environ, **(environ or {})},
        text=True,
        errors="replace",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / _LOG
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ {' '.join(command)}\n{done.stdout}\n")
    if done.returncode != 0:
        last = " / ".join(done.stdout.strip().splitlines()[-8:])
        raise HostError(
            f"this step failed (exit {done.returncode}): {' '.join(command[:6])} ...; its last "
            f"lines are: {last}; its whole output is in {log}"
        )
    return done.stdout


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
