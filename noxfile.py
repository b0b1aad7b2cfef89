"""Tests with the Pythons, naparis and Qt bindings that cpcnn supports: ``nox --list``.

Each session makes an environment of its own, several gigabytes of which are PyTorch. The tests
that run CellProfiler are not among them; ``.ci/run`` runs those on Linux.
"""

import nox

nox.options.sessions = ["lint", "core-3.11"]

PYTHONS = ["3.11", "3.12", "3.13"]
OLDEST_NAPARI = "napari==0.6.6"
LATEST_NAPARI = "napari"
# Oldest and newest of everything with both bindings, and the Python in between once.
WINDOWS = [
    *(
        (python, napari, binding)
        for python in (PYTHONS[0], PYTHONS[-1])
        for napari in (OLDEST_NAPARI, LATEST_NAPARI)
        for binding in ("PyQt6", "PySide6")
    ),
    ("3.12", LATEST_NAPARI, "PyQt6"),
]
TOOLS = ("hypothesis", "psutil", "pytest", "pytest-xdist")
WINDOW_TOOLS = (*TOOLS, "pytest-qt", "pytest-xvfb")


@nox.session(python=PYTHONS[0])
def lint(session):
    """Check style, the contracts between the rooms, and types."""
    session.install("-e", ".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")
    session.run("mypy")


@nox.session(python=PYTHONS)
def core(session):
    """Test the library, the worker and the command line."""
    session.install("-e", ".[anndata,train]", "copairs", *TOOLS)
    session.run("python", "-m", "pytest", "tests/cpcnn_core", *session.posargs)


@nox.session
@nox.parametrize(("python", "napari", "binding"), WINDOWS)
def widget(session, napari, binding):
    """Test the dock widget in a real window; on Linux this needs a screen or xvfb."""
    session.install("-e", ".[napari]", napari, binding, *WINDOW_TOOLS)
    names = {"QT_API": binding.lower(), "PYTEST_QT_API": binding.lower()}
    session.run("python", "-m", "pytest", "tests/napari_cpcnn", *session.posargs, env=names)


@nox.session(python=PYTHONS[0])
def docs(session):
    """Build the documentation site in the folder ``site``."""
    session.install("-e", ".[docs]")
    session.run("mkdocs", "build", "--strict", *session.posargs)
