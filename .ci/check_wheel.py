"""Compare a wheel with the source tree: every file of the packages is in it, and nothing else.

$ python .ci/check_wheel.py dist/cpcnn-*.whl
"""

import sys
import zipfile
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PACKAGES = ("cpcnn_core", "cellprofiler_plugins", "napari_cpcnn")
# What running the code leaves behind.
LEFTOVERS = ("__pycache__", "python.json")


def source_files(project):
    """Name the files of the packages, relative to the project."""
    files = {
        path.relative_to(project)
        for package in PACKAGES
        for path in (project / package).rglob("*")
        if path.is_file()
    }
    return {path.as_posix() for path in files if not set(LEFTOVERS) & set(path.parts)}


def wheel_files(wheel):
    """Name the files of a wheel, without its own notes about the distribution."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    return {name for name in names if ".dist-info/" not in name}


def differences(wheel, project=PROJECT):
    """Say in sentences what differs; an empty list where nothing does."""
    wanted, found = source_files(project), wheel_files(wheel)
    missing = [f"{name} is not in the wheel" for name in sorted(wanted - found)]
    return missing + [f"{name} is only in the wheel" for name in sorted(found - wanted)]


def main(wheels):
    if len(wheels) != 1:
        return f"expected one wheel, got {len(wheels)}"
    found = differences(wheels[0])
    if found:
        return "\n".join(found)
    print(f"{wheels[0]}: {len(wheel_files(wheels[0]))} files, as in the source tree")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
