"""Answer requests until the parent is gone.

Several workers that share one GPU take turns. A field without objects is embedded as one crop.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

import cpcnn_core
from cpcnn_core.child_processes import end_with_parent
from cpcnn_core.errors import CPCNNError, ProtocolError, WeightsError
from cpcnn_core.imaging.crops import check_image
from cpcnn_core.imaging.field import Field
from cpcnn_core.models.folders import private_folder
from cpcnn_core.models.licences import accept_licence, needs_yes, question
from cpcnn_core.models.registry import find_model, list_models
from cpcnn_core.models.verification import weights_statement
from cpcnn_core.schema.columns import feature_names
from cpcnn_core.threads import let_threads_wait
from cpcnn_core.worker.protocol import (
    PROTOCOL_VERSION,
    MessageError,
    read_message,
    write_message,
)

if TYPE_CHECKING:
    from cpcnn_core.embedding.embedder import Embedder, Progress
    from cpcnn_core.models.card import ModelCard
    from cpcnn_core.profiles.open_library import OpenLibrary

Message = dict[str, Any]
Arrays = dict[str, np.ndarray]
Answer = tuple[Message, Arrays]


def main(device: str = "auto") -> None:
    """Serve on this process's own stdin and stdout until stdin ends.

    Parameters
    ----------
    device : str
        Where the networks run; see `cpcnn_core.load_model`.
    """
    let_threads_wait()
    end_with_parent()
    # Ctrl-C in a terminal reaches parent and child; what then happens is the
    # parent's to decide, and the end of our stdin tells us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests, answers = _claim_pipe()
    try:
        Worker(device).serve(requests, answers)
    except BrokenPipeError:
        os._exit(0)  # the parent is gone; a normal exit would fail to flush


def _claim_pipe() -> tuple[BinaryIO, BinaryIO]:
    """Take stdin and stdout for messages; what any library prints goes to stderr."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return requests, answers


class Worker:
    """One worker: the models it has loaded, and an answer to every request.

    Parameters
    ----------
    device : str
        See `cpcnn_core.load_model`.

    Examples
    --------
    >>> answer, arrays = Worker("cpu").answer({"type": "models"}, {})
    >>> answer["names"][0]
    'cell-painting-cnn-v1'
    """

    def __init__(self, device: str = "auto") -> None:
        self.device = device
        self._models: dict[tuple[str, tuple[str, ...] | None], Embedder] = {}
        self._libraries: dict[tuple[object, ...], OpenLibrary] = {}

    def serve(self, requests: BinaryIO, answers: BinaryIO) -> None:
        """Say hello, then answer request after request until the stream ends."""
        hello = {
            "type": "hello",
            "protocol": PROTOCOL_VERSION,
            "cpcnn": cpcnn_core.__version__,
            "python": platform.python_version(),
        }
        write_message(answers, hello)

        def report(done: int, total: int) -> None:
            # Also how the worker notices, in the middle of a field, that its
            # parent has died: writing to a closed pipe raises.
            write_message(answers, {"type": "progress", "done": done, "total": total})

        while (message := _next_request(requests)) is not None:
            try:
                header, arrays = self.answer(*message, report)
            except BrokenPipeError:
                raise
            except Exception as error:  # noqa: BLE001  (the parent must hear of everything)
                header, arrays = _error(error), {}
            write_message(answers, header, arrays)

    def answer(self, header: Message, arrays: Arrays, report: Progress | None = None) -> Answer:
        """Answer one request; the module's docstring lists them."""
        answers: dict[str, Callable[[], Answer]] = {
            "models": self._list,
            "describe": lambda: self._describe(header),
            "accept": lambda: self._accept(header),
            "embed": lambda: self._embed(header, arrays, report),
            "library": lambda: self._describe_library(header),
            "compare": lambda: self._compare(header, arrays),
        }
        if header.get("type") not in answers:
            raise ProtocolError(
                f"expected one of {', '.join(answers)}, got {header.get('type')!r}; the plugin "
                "is of another version: run cpcnn cellprofiler install again"
            )
        return answers[header["type"]]()

    def _list(self) -> Answer:
        return {"type": "models", "names": list_models()}, {}

    def _describe(self, header: Message) -> Answer:
        card, path = _requested_model(header)
        return {
            "type": "card",
            "to_accept": question(card) if needs_yes(card) else "",
            "card": dataclasses.asdict(card),
            "weights": weights_statement(card, path),
            "file": None if path is None else str(path),
            "features": feature_names(card.embed_dim, card.prefix),
        }, {}

    def _accept(self, header: Message) -> Answer:
        accept_licence(find_model(header["model"])[0])
        return {"type": "accepted"}, {}

    def _embed(self, header: Message, arrays: Arrays, report: Progress | None) -> Answer:
        from cpcnn_core.embedding.cells import embed_cells

        model = self._load(header["model"], tuple(header["channels"]))
        if header.get("sha256") not in (None, model.card.sha256):
            raise WeightsError(
                f"the model {header['model']} was changed: expected weights of sha256 "
                f"{header['sha256']}, got {model.card.sha256}; start the run again"
            )
        image, centers, scale = arrays["image"], arrays.get("centers"), header.get("um_per_px")
        if centers is None:
            side = model.card.crop_px
            image = shrink_field(check_image(image), side)
            centers = np.array([[side / 2, side / 2]])
            # Shrunk to a crop, whatever its scale was.
            scale = None
        field = Field(image, tuple(header["channels"]), centers, um_per_px=scale)
        with self._turn(model), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            features = embed_cells(
                model,
                field.planes(model.card.channels),
                field.centers,
                labels=arrays.get("labels"),
                label_ids=arrays.get("label_ids"),
                um_per_px=field.um_per_px,
                progress=report,
            )
        notes = [str(warning.message) for warning in caught]
        return {"type": "features", "warnings": notes}, {"features": features}

    def _describe_library(self, header: Message) -> Answer:
        return {"type": "library", **self._open(header).describe()}, {}

    def _compare(self, header: Message, arrays: Arrays) -> Answer:
        from cpcnn_core.profiles.image_comparison import compare_image

        opened = self._open(header)
        nearest, similarities = compare_image(
            opened,
            arrays["features"],
            plate=header.get("plate"),
            well=header.get("well"),
            count=header["count"],
            treatment=header.get("treatment"),
        )
        return {"type": "compared", "nearest": nearest, **opened.describe()}, similarities

    def _open(self, header: Message) -> OpenLibrary:
        """Open a library, unless it is open, and see whether the request fits it."""
        # Here, so that a worker without libraries does not load what reads tables.
        from cpcnn_core.profiles.open_library import open_library

        path = Path(header["library"])
        # A file that was written again is read again.
        state = path.stat() if path.is_file() else None
        key = (path, header["by"], state and (state.st_mtime_ns, state.st_size))
        if key not in self._libraries:
            self._libraries[key] = open_library(path, header["by"])
        opened = self._libraries[key]
        opened.check_model(_requested_model(header)[0], mask_neighbors=header.get("mask_neighbors"))
        if header.get("treatment") is not None:
            opened.row(header["treatment"])
        return opened

    @contextlib.contextmanager
    def _turn(self, model: Embedder) -> Iterator[None]:
        """Keep a GPU to this worker while it embeds, and leave its memory to the next."""
        if model.device.type != "cuda":
            yield
            return
        import torch

        with my_turn(turn_file()):
            yield
            torch.cuda.empty_cache()

    def _load(self, name: str, channels: tuple[str, ...]) -> Embedder:
        """Return the model, for these channels where it takes any."""
        from cpcnn_core.embedding.embedder import load_model

        card = find_model(name)[0]
        named = channels if card.takes_any_channels else None
        known = self._models.get((name, named))
        # A model may be imported again under its name while its user's program runs.
        if known is None or card.sha256 not in (None, known.card.sha256):
            known = load_model(name, device=self.device, channels=named)
            self._models[name, named] = known
        return known


def _next_request(requests: BinaryIO) -> tuple[Message, Arrays] | None:
    try:
        return read_message(requests)
    except MessageError as error:
        raise ProtocolError(str(error)) from error


def _requested_model(header: Message) -> tuple[ModelCard, Path | None]:
    """Return card and file of the model asked for, the card for the channels that are named."""
    card, path = find_model(header["model"])
    if header.get("channels") is not None:
        card = card.with_channels(tuple(header["channels"]))
    return card, path


def _error(error: Exception) -> Message:
    """Our own errors are written for users; of others they need the kind too."""
    if not isinstance(error, CPCNNError):
        traceback.print_exception(error)
    message = str(error) if isinstance(error, CPCNNError) else f"{type(error).__name__}: {error}"
    return {"type": "error", "kind": type(error).__name__, "message": message}


def turn_file() -> Path:
    """Return the file whose holder's turn it is, one for each user and machine.

    No other user can write where it is: one who could lock it would stop all workers.
    A home may be shared by machines, each of which has a GPU of its own.

    Raises
    ------
    PrivacyError
        There is no such place.

    Examples
    --------
    >>> turn_file().name
    'gpu-...lock'
    """
    return private_folder() / f"gpu-{platform.node()}.lock"


@contextlib.contextmanager
def my_turn(path: Path) -> Iterator[None]:
    """Wait until no other process is in here, and keep others out while inside.

    The operating system ends the turn of a process that is killed.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, my_turn(Path(folder) / "turn"):
    ...     pass
    """
    with path.open("ab") as file:
        _lock(file)
        try:
            yield
        finally:
            _unlock(file)


if sys.platform == "win32":
    import msvcrt
    import time

    def _lock(file: BinaryIO) -> None:
        while True:
            file.seek(0)
            try:
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            except OSError:
                time.sleep(0.01)
            else:
                return

    def _unlock(file: BinaryIO) -> None:
        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)

    def _unlock(file: BinaryIO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


def shrink_field(image: np.ndarray, crop_px: int) -> np.ndarray:
    """Shrink a field so that its longer side is as long as a crop.

    Every new pixel is the mean of those it replaces.

    Parameters
    ----------
    image : ndarray of shape (c, h, w), any real dtype
    crop_px : int
        Side of the crop in pixels; a field that is smaller is enlarged.

    Returns
    -------
    ndarray of shape (c, crop_px, crop_px), float32
        The field in the middle, zeros beside its shorter side, as a crop has them beyond
        the border.

    Examples
    --------
    >>> shrink_field(np.arange(16.0).reshape(1, 4, 4), 2)
    array([[[ 2.5,  4.5],
            [10.5, 12.5]]], dtype=float32)
    >>> shrink_field(np.ones((1, 4, 2)), 2)[0]
    array([[1., 0.],
           [1., 0.]], dtype=float32)
    """
    from skimage.transform import resize_local_mean

    channels, height, width = image.shape
    scale = crop_px / max(height, width)
    rows, cols = (max(1, round(length * scale)) for length in (height, width))
    small = resize_local_mean(
        image.astype(np.float32), (rows, cols), channel_axis=0, preserve_range=True
    )
    shrunk = np.zeros((channels, crop_px, crop_px), np.float32)
    top, left = (crop_px - rows) // 2, (crop_px - cols) // 2
    shrunk[:, top : top + rows, left : left + cols] = small
    return shrunk
