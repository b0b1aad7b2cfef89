"""Whether an error comes of a disk without room."""

import errno

from cpcnn_core.io.disk import is_full


def test_errors_that_come_from_each_other_are_looked_at_once():
    # As of TensorBoard, which raises the error of its thread again when it is closed.
    lost, told = OSError(errno.EIO, "Input/output error"), ValueError("it cannot be written")
    told.__cause__, lost.__context__ = lost, told
    assert not is_full(lost)
    lost.errno = errno.ENOSPC
    assert is_full(told)
