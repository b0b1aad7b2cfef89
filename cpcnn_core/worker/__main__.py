"""``python -m cpcnn_core.worker``: as ``cpcnn worker``, on the best device there is."""

from cpcnn_core.worker.server import main

main()
