"""Which cells make a batch, and how their crops arrive."""

import concurrent.futures
import os
import signal
import threading
import time

import numpy as np
import pytest
import torch

from cpcnn_core.crop_store.store import open_crops
from cpcnn_core.errors import CropStoreError
from cpcnn_core.training.batches import CropReader, to_unit_range
from cpcnn_core.training.sampling import draw_epoch, epoch_batches

CLASSES = np.repeat([0, 1, 2], [3, 7, 20])


def test_batches_are_the_draws_one_after_the_other():
    # A draw has 3 x 7 cells; 3 batches of 8 are 24.
    stream = [row for number in range(4) for row in draw_epoch(CLASSES, 5, number).tolist()]
    for epoch in range(3):
        found = epoch_batches(CLASSES, 5, epoch, 8)
        assert found.shape == (3, 8)
        assert found.ravel().tolist() == stream[epoch * 24 : (epoch + 1) * 24]


def test_a_batch_may_be_larger_than_a_draw():
    assert epoch_batches(CLASSES, 0, 3, 50).shape == (1, 50)


def test_every_epoch_is_drawn_anew():
    one, other = (np.sort(epoch_batches(CLASSES, 0, epoch, 7).ravel()) for epoch in (0, 1))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("workers", [0, 2])
def test_crops_arrive_in_order(store, workers):
    crops = open_crops(store)
    batches = np.random.default_rng(0).integers(0, len(crops), (9, 4))
    reader = CropReader(crops, workers)
    found = list(reader.read(batches))
    assert len(found) == 9
    for rows, batch in zip(batches, found, strict=True):
        assert np.array_equal(batch.numpy(), crops.read(rows))
    assert reader.waited > 0


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_crop_is_named_in_one_line(make_store, workers):
    folder = make_store(plates=("P1",))
    path = folder / "crops" / "P1" / "B01" / "1.npy"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(CropStoreError) as error:
        list(CropReader(open_crops(folder), workers).read([np.arange(36)]))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


class Handlers:
    """In place of crops: whether the process that reads them answers Ctrl-C as others do."""

    def read(self, _):
        return np.array([signal.getsignal(signal.SIGINT) is signal.default_int_handler])


# Called after each fork; Python lets no exception out of what is called there.
FORKED = []
if hasattr(os, "fork"):
    os.register_at_fork(after_in_parent=lambda: [number() for number in FORKED])


@pytest.fixture
def ctrl_c():
    # SIGINT may be ignored where the tests run.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked off")
@pytest.mark.parametrize("other_threads", [0, 3])
def test_ctrl_c_while_processes_are_forked_off_is_not_lost(other_threads, ctrl_c):
    # The system gives a signal to any thread that takes it, and that thread time to tell.
    FORKED.extend([lambda: os.kill(os.getpid(), signal.SIGINT), lambda: time.sleep(0.2)])
    ended = threading.Event()
    others = [threading.Thread(target=ended.wait) for _ in range(other_threads)]
    for other in others:
        other.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            list(CropReader(Handlers(), workers=1).read([np.arange(1)]))
    finally:
        FORKED.clear()
        ended.set()
        for other in others:
            other.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked off")
def test_processes_that_read_can_be_ended(ctrl_c):
    assert list(CropReader(Handlers(), workers=1).read([np.arange(1)])) == [torch.tensor([True])]


def test_crops_can_be_read_in_another_thread(store):
    expected = list(CropReader(open_crops(store)).read([np.arange(4)]))
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        reader = CropReader(open_crops(store), workers=1)
        found = thread.submit(lambda: list(reader.read([np.arange(4)]))).result()
    assert torch.equal(found[0], expected[0])


def test_reading_leaves_the_callers_random_numbers_alone(store):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    list(CropReader(open_crops(store)).read([np.arange(4)]))
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize(("dtype", "largest"), [(np.uint8, 255), (np.uint16, 65535)])
def test_stored_numbers_are_divided_by_the_largest(dtype, largest):
    stored = np.array([0, 1, 77, largest - 1, largest], dtype)
    found = to_unit_range(torch.from_numpy(stored), torch.device("cpu"))
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), stored.astype(np.float32) / np.float32(largest))
