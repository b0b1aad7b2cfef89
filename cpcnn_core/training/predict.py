"""Features and answers of a network for many cells, without learning from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from cpcnn_core.training.batches import CropReader, to_unit_range

if TYPE_CHECKING:
    from accelerate import Accelerator

    from cpcnn_core.training.network import TrainableNetwork

BATCH = 256


def predict(
    network: TrainableNetwork, accelerator: Accelerator, reader: CropReader, rows: np.ndarray
) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    """Run cells through a network in evaluation mode, in float32, the processes in turns.

    Parameters
    ----------
    network : TrainableNetwork
    accelerator : Accelerator
    reader : CropReader
    rows : ndarray of shape (n,), integer, n > 0
        Rows of the reader's store.

    Yields
    ------
    part : slice
        Which of `rows`.
    features : ndarray of shape (m, d), float32
    logits : ndarray of shape (m, k), float32

    Examples
    --------
    >>> for part, features, logits in predict(network, accelerator, reader, rows):
    ...     out[part] = features  # doctest: +SKIP
    """
    processes = accelerator.num_processes
    rounds = -(-len(rows) // (BATCH * processes))
    size = -(-len(rows) // (rounds * processes))
    # Processes that gather have to bring equally many; what is too much is cut off.
    padded = np.resize(rows, rounds * size * processes).reshape(rounds, processes, size)
    own = list(padded[:, accelerator.process_index])
    network.eval()
    with torch.inference_mode():
        for number, crops in enumerate(reader.read(own)):
            start = number * size * processes
            part = slice(start, min(start + size * processes, len(rows)))
            batch = to_unit_range(crops, accelerator.device)
            features, logits = network.embed(batch.contiguous(memory_format=torch.channels_last))
            together = accelerator.gather((features.contiguous(), logits.contiguous()))
            features, logits = (one.cpu().numpy()[: part.stop - start] for one in together)
            yield part, features, logits
