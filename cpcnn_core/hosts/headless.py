"""Run a pipeline in CellProfiler without a window."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cpcnn_core.errors import HostError
from cpcnn_core.hosts.environments import find_java_home, module_command

_LAST_LINES = 25


def run_pipeline(
    python: str | Path,
    pipeline: str | Path,
    out: str | Path,
    *,
    images: str | Path,
    plugins_directory: str | Path,
    arguments: Sequence[str] = (),
) -> None:
    """Run a pipeline on all its image sets.

    Parameters
    ----------
    python : str or Path
        A Python with CellProfiler, see `cpcnn_core.hosts.environments`.
    pipeline : str or Path
    out, images : str or Path
        CellProfiler's default output and input folders. Its log is written to
        ``cellprofiler.log`` in the former.
    plugins_directory : str or Path
        Where MeasureCellPaintingCNN was installed.
    arguments : sequence of str
        More of CellProfiler's own options.

    Raises
    ------
    HostError
        CellProfiler ended with an error: with the last lines of its log.

    Examples
    --------
    >>> run_pipeline("/no/such/python", "p.cppipe", ".", images=".", plugins_directory=".")
    Traceback (most recent call last):
    cpcnn_core.errors.HostError: /no/such/python cannot be run...
    """
    out = Path(out)
    log = out / "cellprofiler.log"
    command = module_command([str(python)], "cellprofiler", "-c", "-r")
    command += ["-p", str(pipeline), "-o", str(out), "-i", str(images)]
    command += ["--plugins-directory", str(plugins_directory), *arguments]
    try:
        # The Python that the user named, with the user's pipeline; no shell.
        done = subprocess.run(  # noqa: S603
            command,
            env=headless_environ(),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise HostError(
            f"{python} cannot be run ({error}); name the Python of CellProfiler, or make one "
            "with: cpcnn cellprofiler create FOLDER"
        ) from error
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode != 0:
        last = " / ".join(log.read_text(encoding="utf-8").strip().splitlines()[-_LAST_LINES:])
        raise HostError(
            f"CellProfiler ended with exit status {done.returncode}; its last lines are: "
            f"{last}; its whole output is in {log}"
        )


def headless_environ() -> dict[str, str]:
    """Return this process's environment with what CellProfiler needs beside.

    Java's home, and this Python as the one with cpcnn unless another was named.

    Examples
    --------
    >>> "CPCNN_PYTHON" in headless_environ()
    True
    """
    environ = dict(os.environ)
    environ.setdefault("CPCNN_PYTHON", sys.executable)
    if "JAVA_HOME" not in environ:
        environ["JAVA_HOME"] = str(find_java_home())
    return environ
