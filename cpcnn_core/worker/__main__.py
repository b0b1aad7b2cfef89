"""``python -m cpcnn_core.worker``: the way CellProfiler's module starts it."""

from cpcnn_core.worker.serve import main

main()
