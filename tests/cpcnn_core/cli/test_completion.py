"""The shell completes commands: bash itself asks, through argcomplete's own functions."""

import os
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("argcomplete")

ASK = """
eval "$({python} -m argcomplete.scripts.register_python_argcomplete cpcnn)"
COMP_WORDS=({line}) COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )) COMP_LINE="{line}" COMP_TYPE=9
COMP_POINT=${{#COMP_LINE}}
declare -F _python_argcomplete >/dev/null && complete -p cpcnn >&2
_python_argcomplete cpcnn 2>/dev/null
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def complete(tmp_path):
    """Return a function that gives what bash would offer after a line."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    command = tmp_path / "cpcnn"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m cpcnn_core.cli "$@"\n')
    command.chmod(0o755)
    environ = {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }

    def ask(line):
        done = subprocess.run(
            [bash, "--norc", "-c", ASK.format(python=sys.executable, line=line)],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
        # The function is the one that bash calls for cpcnn.
        assert "_python_argcomplete" in done.stderr
        return [word.strip() for word in done.stdout.splitlines() if word.strip()]

    return ask


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("cpcnn ev", ["evaluate"]),
        ("cpcnn c", ["cellprofiler", "compare", "crops"]),
        ("cpcnn models f", ["fetch"]),
        ("cpcnn nearest --exc", ["--exclude-same"]),
        ("cpcnn nothing-of-that-name", []),
    ],
)
def test_bash_offers_what_can_follow(complete, line, offered):
    assert sorted(complete(line)) == offered


def test_other_runs_do_not_load_it():
    code = (
        "import sys\n"
        "from cpcnn_core.cli.main import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n    assert 'argcomplete' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
