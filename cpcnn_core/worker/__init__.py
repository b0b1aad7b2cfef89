"""The other end of CellProfiler's pipe: requests in on stdin, answers on stdout.

CellProfiler's Python cannot hold torch, so its module starts ``cpcnn worker`` in
the Python where cpcnn is installed and hands it arrays. Protocol, version 3; a
message is what `cpcnn_core.worker.protocol` reads and writes, a JSON header with
``type`` and raw arrays:

========== ===================================== =================================
request    header, arrays                        answer
========== ===================================== =================================
(start)                                          ``hello``: protocol, cpcnn, python
models                                           ``models``: names
describe   model, channels (optional)            ``card``: card, features (names),
                                                 to_accept (a licence, or "")
accept     model                                 ``accepted``: its licence, for this user
embed      model, sha256, channels,              ``progress``: done, total (many),
           um_per_px (optional);                 then ``features``: warnings;
           image (c, h, w) float32,              features (n, d) float32
           centers (n, 2) float64 (row, col),
           without which the whole field is
           shrunk to one crop at any scale;
           labels (h, w) and label_ids (n,)
           to mask neighbouring cells
library    library (a path), by (treatment       ``library``: file, sha256, treatments,
           column), model, treatment             wells, controls (numbers), correction,
                                                 has_p_values, p_values (what they
                                                 compare with, or why there are none)
compare    as library, and plate, well, count;   ``compared``: nearest (treatment,
           features (n, d) float32               similarity, p_value, q_value of each),
                                                 and as library; like_controls (n,),
                                                 like_treatment (n,),
                                                 image_like_controls (1,), float64
========== ===================================== =================================

Whatever goes wrong with a request is answered with ``error``: kind, message; the worker lives
on. It ends when its stdin does, and at once when its parent is no more, whatever it is about.
Several workers that use one GPU take turns.
"""
