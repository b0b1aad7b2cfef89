"""``cpcnn cellprofiler``: install the module, find out what is missing, allow programs."""

from __future__ import annotations

import argparse
from pathlib import Path

from cpcnn_core.cli.options import add_command


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = add_command(
        verbs,
        "cellprofiler",
        "Install the CellProfiler module, and say what is missing.",
        "cpcnn cellprofiler install",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    install = add_command(
        commands,
        "install",
        "Copy the module to CellProfiler's plugins folder and record this Python beside it.",
        "cpcnn cellprofiler install --plugins-directory ~/CellProfiler/plugins",
        _install,
    )
    doctor = add_command(
        commands,
        "doctor",
        "Check everything the module needs and say in plain words what is missing.",
        "cpcnn cellprofiler doctor",
        _doctor,
    )
    for command in (install, doctor):
        command.add_argument(
            "--plugins-directory",
            metavar="DIR",
            help="CellProfiler's plugins folder (default: one in cpcnn's own folder)",
        )
    doctor.add_argument(
        "--cellprofiler-python",
        metavar="PYTHON",
        help="also load the module in this Python's CellProfiler",
    )

    create = add_command(
        commands,
        "create",
        "Make an environment with CellProfiler that runs without a window.",
        "cpcnn cellprofiler create cellprofiler-env",
        _create,
    )
    create.add_argument("folder", help="where to put it; must not exist yet")
    create.add_argument("--python", help="a Python 3.9 or 3.8 (default: looked for)")
    _add_permissions(commands)


def _add_permissions(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    allow = add_command(
        commands,
        "allow",
        "Let pipelines start a Python of your choice, on this machine.",
        "cpcnn cellprofiler allow ~/other-env/bin/python",
        _allow,
    )
    forbid = add_command(
        commands,
        "forbid",
        "Take back what was allowed.",
        "cpcnn cellprofiler forbid ~/other-env/bin/python",
        _forbid,
    )
    for command in (allow, forbid):
        command.add_argument("python", help="the Python, or its environment's folder")
    add_command(
        commands,
        "allowed",
        "List the Pythons that pipelines may start.",
        "cpcnn cellprofiler allowed",
        _list_allowed,
    )


def _install(options: argparse.Namespace) -> None:
    from cpcnn_core.hosts.install import install_plugin

    folder = install_plugin(options.plugins_directory)
    print(f"The module MeasureCellPaintingCNN is in {folder}")
    print("In CellProfiler: File > Preferences > Plugins directory: choose this folder, restart.")
    print(f"Without a window: cellprofiler -c -r --plugins-directory {folder} -p PIPELINE ...")
    named = f" --plugins-directory {folder}" if options.plugins_directory else ""
    print(f"Check it with: cpcnn cellprofiler doctor{named}")


def _doctor(options: argparse.Namespace) -> int:
    from cpcnn_core.hosts.doctor import examine

    healthy = True
    for finding in examine(options.plugins_directory, options.cellprofiler_python):
        healthy &= finding.good
        print(f"{'ok     ' if finding.good else 'MISSING'}  {finding.text}", flush=True)
        if finding.cure:
            print(f"         -> {finding.cure}", flush=True)
    print("All is well." if healthy else "Follow the arrows, then run this again.")
    return 0 if healthy else 1


def _create(options: argparse.Namespace) -> None:
    from cpcnn_core.hosts.environments import create_environment

    python = create_environment(options.folder, options.python, print)
    print(f"CellProfiler's Python: {python}")
    print(
        f"Run a pipeline: {python} -m cellprofiler -c -r --plugins-directory PLUGINS "
        "-p PIPELINE -i IMAGES -o RESULTS"
    )
    print("PLUGINS is the folder that cpcnn cellprofiler install prints.")


def _allow(options: argparse.Namespace) -> None:
    from cpcnn_core.hosts.permissions import allow_python

    print(f"Pipelines may start {allow_python(Path(options.python))} on this machine.")


def _forbid(options: argparse.Namespace) -> None:
    from cpcnn_core.hosts.permissions import forbid_python

    print(f"Pipelines may not start {forbid_python(Path(options.python))} any more.")


def _list_allowed(options: argparse.Namespace) -> None:  # noqa: ARG001
    from cpcnn_core.hosts.permissions import allowed_pythons

    for python in allowed_pythons():
        print(python)
