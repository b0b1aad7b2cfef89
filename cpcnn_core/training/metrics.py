"""How well a classifier does, as the reference measures it (docs/method.md#metrics)."""

from __future__ import annotations

import numpy as np

TOP = 5


def classifier_metrics(
    logits: np.ndarray, classes: np.ndarray, rows: np.ndarray | None = None
) -> dict[str, float]:
    """Measure a classifier's answers.

    Parameters
    ----------
    logits : ndarray of shape (n, k), float32
    classes : ndarray of shape (n,), integer, 0 to k - 1
        The right answers.
    rows : ndarray of shape (m,), integer, optional
        Which of them are counted, repeated or not, e.g. a draw that is balanced over the
        classes. Default: each once.

    Returns
    -------
    dict
        ``loss``: mean cross-entropy. ``accuracy``. ``top_5``: the part whose right answer is
        among the five that score best. ``precision``: the mean over the classes of the part
        of a class's answers that are right, 0 for a class that is never the answer.

    Examples
    --------
    >>> logits = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]], np.float32)
    >>> found = classifier_metrics(logits, np.array([0, 1, 1]))
    >>> round(found["accuracy"], 3), found["precision"], found["top_5"]
    (0.667, 0.75, 1.0)
    """
    if rows is not None:
        logits, classes = logits[rows], classes[rows]
    logits = logits.astype(np.float64)
    right = np.take_along_axis(logits, classes[:, None], axis=1)
    largest = logits.max(axis=1, keepdims=True)
    spread = np.log(np.exp(logits - largest).sum(axis=1, keepdims=True)) + largest
    answers = logits.argmax(axis=1)
    count_of_class = np.bincount(answers, minlength=logits.shape[1])
    hits = np.bincount(answers[answers == classes], minlength=logits.shape[1])
    return {
        "loss": float((spread - right).mean()),
        "accuracy": float((answers == classes).mean()),
        "top_5": float(((logits > right).sum(axis=1) < TOP).mean()),
        "precision": float((hits / np.maximum(count_of_class, 1)).mean()),
    }
