"""Contrast: cells that belong together come near each other, all others move away."""

from __future__ import annotations

import torch


def supervised_contrast(
    points: torch.Tensor, classes: torch.Tensor, wells: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the supervised contrastive loss of a batch, with positives from other wells only.

    Parameters
    ----------
    points : Tensor of shape (n, d), float
        Of length 1.
    classes : Tensor of shape (n,), integer
    wells : Tensor of shape (n,), integer
        Cells of one class and one well are neither drawn together nor pushed apart: what they
        have in common may be their well.
    temperature : float

    Returns
    -------
    Tensor, a number
        The mean over the cells that have a positive; 0 where none has.

    Notes
    -----
    L_out of Khosla et al. 2020 (https://arxiv.org/abs/2004.11362): for each cell, minus the mean
    over its positives p of log(exp(z z_p / t) / sum over all others a of exp(z z_a / t)).

    Examples
    --------
    >>> points = torch.nn.functional.normalize(torch.tensor([[1.0, 0], [1, 0.1], [0, 1]]))
    >>> wells = torch.tensor([0, 1, 2])
    >>> near = supervised_contrast(points, torch.tensor([0, 0, 1]), wells, 0.1)
    >>> far = supervised_contrast(points, torch.tensor([0, 1, 0]), wells, 0.1)
    >>> bool(near < far)
    True
    """
    similarity = (points @ points.T).float() / temperature
    same_class = classes[:, None] == classes
    same_well = same_class & (wells[:, None] == wells)
    positive = (same_class & ~same_well).float()
    # A cell is of its own well, so it is no other of itself.
    others = similarity.masked_fill(same_well, -torch.inf).logsumexp(dim=1, keepdim=True)
    count = positive.sum(dim=1)
    each = (positive * (others - similarity)).sum(dim=1) / count.clamp(min=1)
    has_positive = count > 0
    # A cell without any other has a sum of nothing, whose logarithm is minus infinity.
    return each[has_positive].sum() / has_positive.sum().clamp(min=1)
