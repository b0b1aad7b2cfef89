"""Online label refinement: the labels of cells learn from the network.

A treatment does not change every cell. A cell that looks like a control then is labelled
more and more as what it looks like: docs/method.md#label-refinement.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cpcnn_core.errors import DamageError, TrainingError
from cpcnn_core.io.archives import open_archive, read_array, write_arrays
from cpcnn_core.io.atomic import write_atomically

FORMAT_VERSION = 1


class SoftLabels:
    """The label of every training cell, as a probability for each class.

    They are the targets of the cross-entropy as they are: smooth them no further.

    Parameters
    ----------
    table : ndarray of shape (n, k), float32
        A row for every training cell, a column for every class.

    Attributes
    ----------
    table : ndarray of shape (n, k), float32
        4 n k bytes: 16 GB for the 8 million cells and 490 classes of the paper.

    Examples
    --------
    >>> labels = SoftLabels.start(np.array([0, 1]), class_count=2, smoothing=0.5)
    >>> labels.of([1])
    array([[0.25, 0.75]], dtype=float32)
    >>> labels.update([1], np.array([[0.5, 0.5]], np.float32), rate=0.5)
    >>> labels.of([1])
    array([[0.375, 0.625]], dtype=float32)
    """

    def __init__(self, table: np.ndarray) -> None:
        self.table = table

    @classmethod
    def start(cls, classes: np.ndarray, class_count: int, smoothing: float = 0.1) -> SoftLabels:
        """Begin with the treatments: s / k + (1 - s) one-hot.

        Parameters
        ----------
        classes : ndarray of shape (n,), integer, from 0 to class_count - 1
            Of every training cell.
        class_count : int
            k.
        smoothing : float, from 0 to 1
            s.

        Raises
        ------
        TrainingError
            A smoothing or a class that there is not.
        """
        classes = np.asarray(classes)
        if not 0 <= smoothing <= 1:
            raise TrainingError(f"expected a smoothing of labels from 0 to 1, got {smoothing}")
        if len(classes) and not 0 <= classes.min() <= classes.max() < class_count:
            raise TrainingError(
                f"expected classes from 0 to {class_count - 1}, got {classes.min()} to "
                f"{classes.max()}"
            )
        table = np.full((len(classes), class_count), smoothing / class_count, np.float32)
        table[np.arange(len(classes)), classes] += np.float32(1 - smoothing)
        return cls(table)

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Return the labels of some training cells, (len(rows), k), float32."""
        result: np.ndarray = self.table[rows]
        return result

    def update(self, rows: np.ndarray, predictions: np.ndarray, rate: float = 0.01) -> None:
        """Move labels towards what the network says: L <- (1 - rate) L + rate * prediction.

        To be called after an epoch, part by part, until every training cell was moved once.

        Parameters
        ----------
        rows : array_like of shape (m,), integer
            Which training cells, each once.
        predictions : ndarray of shape (m, k)
            Their probabilities for every class, by the network of this epoch, without
            augmentation.
        rate : float, from 0 to 1
            Lambda.

        Raises
        ------
        TrainingError
            Another shape, a cell twice, a rate out of range, or NaN: nothing is changed.
        """
        rows, predictions = np.asarray(rows), np.asarray(predictions)
        if not 0 <= rate <= 1:
            raise TrainingError(f"expected a rate of label refinement from 0 to 1, got {rate}")
        if predictions.shape != (len(rows), self.table.shape[1]):
            raise TrainingError(
                f"expected predictions of shape {(len(rows), self.table.shape[1])}, got "
                f"{predictions.shape}"
            )
        if not np.isfinite(predictions).all():
            raise TrainingError(
                "the network's predictions are NaN or infinite, so labels cannot learn from them; "
                "lower the learning rate"
            )
        if len(np.unique(rows)) < len(rows):
            raise TrainingError("a cell's label would be refined twice in one step")
        self.table[rows] = (1 - rate) * self.table[rows] + rate * predictions

    def save(self, path: str | Path) -> None:
        """Write the table as ``.npz`` (members ``labels`` and ``format``), atomically.

        Examples
        --------
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     SoftLabels.start(np.array([0, 1]), 2).save(f"{folder}/0001.npz")
        ...     SoftLabels.load(f"{folder}/0001.npz").table.shape
        (2, 2)
        """

        def write(temporary: Path) -> None:
            write_arrays(
                temporary, {"labels": self.table, "format": np.array(FORMAT_VERSION, np.int64)}
            )

        write_atomically(path, write)

    @classmethod
    def load(cls, path: str | Path, shape: tuple[int, int] | None = None) -> SoftLabels:
        """Read what `save` wrote.

        Parameters
        ----------
        path : str or Path
        shape : (n, k), optional
            What is expected.

        Raises
        ------
        DamageError
            No such file, or a damaged one.
        TrainingError
            Labels of other cells or classes.
        """
        path = Path(path)
        if not path.is_file():
            raise DamageError(f"there are no soft labels {path}")
        try:
            with open_archive(path) as archive:
                version = int(read_array(archive, "format"))
                table = read_array(archive, "labels")
        except Exception as error:
            # A damaged archive fails in as many ways as it has parts.
            raise DamageError(
                f"{path} does not hold soft labels, or is damaged "
                f"({' '.join(str(error).split()) or type(error).__name__}); resume from an earlier "
                "checkpoint"
            ) from error
        if version != FORMAT_VERSION:
            raise TrainingError(
                f"{path} has format {version}, this cpcnn reads {FORMAT_VERSION}; upgrade with: "
                "pip install --upgrade cpcnn"
            )
        if shape is not None and table.shape != tuple(shape):
            raise TrainingError(
                f"expected soft labels of {shape[0]} cells and {shape[1]} classes in {path}, got "
                f"{table.shape}; they belong to another training"
            )
        return cls(table)
