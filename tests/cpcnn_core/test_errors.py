"""Every error can be caught as ours and as the builtin that it specialises."""

import pytest

from cpcnn_core import errors


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (errors.ChannelError, ValueError),
        (errors.ImageError, ValueError),
        (errors.CropError, ValueError),
        (errors.CropStoreError, ValueError),
        (errors.ModelNotFoundError, FileNotFoundError),
        (errors.WeightsError, ValueError),
        (errors.DownloadError, ConnectionError),
        (errors.DependencyError, ImportError),
        (errors.DeviceError, RuntimeError),
        (errors.ProtocolError, RuntimeError),
        (errors.HostError, RuntimeError),
    ],
)
def test_an_error_is_ours_and_a_builtin(error, builtin):
    for kind in (errors.CPCNNError, builtin):
        with pytest.raises(kind) as caught:
            raise error("what to do")
        assert str(caught.value) == "what to do"


def test_a_cancelled_run_is_no_builtin_error():
    kinds = (ValueError, RuntimeError, OSError)
    assert issubclass(errors.CancelledError, errors.CPCNNError)
    assert not issubclass(errors.CancelledError, kinds)
