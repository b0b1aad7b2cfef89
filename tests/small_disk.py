"""A really small disk, which fills up: a file system in memory, seen by one process alone.

``python small_disk.py FOLDER KIB COMMAND...``: run a command while its folder is on a disk of
that size; then make room, and run it again. What it left in the end is copied to FOLDER.out, and
what both runs said is printed as JSON.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Without rights of an administrator, where the system lets everybody have file systems.
ALONE = ("unshare", "--map-root-user", "--mount")
LARGE_KIB = 2**17


def can_have_one():
    """Tell whether this system lets us have such a disk."""
    command = [*ALONE, "mount", "-t", "tmpfs", "-o", "size=64k", "none", "/mnt"]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


needs_small_disk = pytest.mark.skipif(
    not can_have_one(), reason="this system lets no user have a file system (unshare --mount)"
)


def run_on_small_disk(folder, kib, command):
    """Return what the runs on a small disk, and then on a larger one, said; and the folder."""
    folder.mkdir(exist_ok=True)
    words = [sys.executable, __file__, str(folder), str(kib), *map(str, command)]
    done = subprocess.run([*ALONE, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), Path(f"{folder}.out")


def _main(folder, kib, *command):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", folder], check=True)
    said = []
    for size in (kib, LARGE_KIB):
        subprocess.run(["mount", "-o", f"remount,size={size}k", folder], check=True)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        left = sorted(path.name for path in Path(folder).rglob("*") if ".part." in path.name)
        entry = {"code": done.returncode, "out": done.stdout, "err": done.stderr, "left": left}
        said.append(entry)
    shutil.copytree(folder, f"{folder}.out")
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    _main(*sys.argv[1:])
