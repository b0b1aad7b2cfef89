import hashlib

import numpy as np

from cpcnn_core.simulation.seeds import stream


def test_the_stream_is_numpys_own_for_the_hash_of_the_key():
    digest = hashlib.sha256(b"3\x1f'S1P1'\x1f'A01'").digest()
    words = [int.from_bytes(digest[at : at + 4], "little") for at in range(0, 32, 4)]
    expected = np.random.RandomState(np.random.PCG64(np.random.SeedSequence(words)))
    assert np.array_equal(
        stream(3, "S1P1", "A01").randint(2**31, size=9), expected.randint(2**31, size=9)
    )


def test_the_numbers_are_frozen():
    assert stream(1, "plate", "S1P1").randint(10**6, size=3).tolist() == [626108, 469806, 380992]


def test_keys_that_read_alike_are_told_apart():
    first = [stream(*key).randint(2**31) for key in ((1, 23), (12, 3), ("1", 23), (123,))]
    assert len(set(first)) == 4
