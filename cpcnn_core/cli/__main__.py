"""``python -m cpcnn_core.cli``: the command line where ``cpcnn`` is not on the PATH."""

from cpcnn_core.cli.main import run

run()
