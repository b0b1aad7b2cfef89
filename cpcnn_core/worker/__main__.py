"""``python -m cpcnn_core.worker``: a worker without libraries, as napari's widget starts it.

CellProfiler's module starts ``cpcnn worker``.
"""

from cpcnn_core.worker.server import main

main()
