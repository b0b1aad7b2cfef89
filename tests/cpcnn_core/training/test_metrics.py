"""The classifier's measures beside scikit-learn's and PyTorch's."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, precision_score, top_k_accuracy_score

from cpcnn_core.training.metrics import classifier_metrics


def test_they_are_those_of_other_libraries():
    random = np.random.default_rng(0)
    logits = random.normal(size=(200, 9)).astype(np.float32) * 3
    classes = random.integers(0, 9, 200)
    found = classifier_metrics(logits, classes)
    answers = logits.argmax(axis=1)
    assert found == pytest.approx(
        {
            "loss": torch.nn.functional.cross_entropy(
                torch.from_numpy(logits).double(), torch.from_numpy(classes)
            ).item(),
            "accuracy": accuracy_score(classes, answers),
            "top_5": top_k_accuracy_score(classes, logits, k=5),
            "precision": precision_score(classes, answers, average="macro", zero_division=0),
        },
        abs=1e-12,
    )


def test_cells_drawn_twice_count_twice():
    logits = np.array([[2, 0], [2, 0], [0, 2]], np.float32)
    classes = np.array([0, 1, 1])
    found = classifier_metrics(logits, classes, np.array([1, 1, 1, 0]))
    assert (found["accuracy"], found["precision"]) == (0.25, 0.125)


def test_logits_that_are_far_apart_do_not_overflow():
    found = classifier_metrics(np.array([[1e5, 0]], np.float32), np.array([1]))
    assert found["loss"] == 1e5
