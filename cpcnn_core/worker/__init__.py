"""The other end of CellProfiler's pipe: requests in on stdin, answers on stdout.

CellProfiler's Python cannot hold torch, so its module starts ``cpcnn worker`` in
the Python where cpcnn is installed and hands it arrays. Protocol, version 1; a
message is what `cpcnn_core.worker.pipe` reads and writes, a JSON header with
``type`` and raw arrays:

========== ===================================== =================================
request    header, arrays                        answer
========== ===================================== =================================
(start)                                          ``hello``: protocol, cpcnn, python
models                                           ``models``: names
describe   model                                 ``card``: card, features (names)
embed      model, sha256, channels;              ``progress``: done, total (many),
           image (c, h, w) float32,              then ``features``: warnings;
           centers (n, 2) float64 (row, col),    features (n, d) float32
           labels (h, w) and label_ids (n,)
           to mask neighbouring cells
========== ===================================== =================================

Whatever goes wrong with a request is answered with ``error``: kind, message; the
worker lives on. It ends when its stdin does, so it never outlives its parent.
"""

PROTOCOL_VERSION = 1
