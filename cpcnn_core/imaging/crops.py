"""Object centres to crops, with the reference's exact sampling.

A crop is not an integer slice of the image but a bilinear resample of a box
around the centre (docs/method.md#crops): the box is ``crop_px`` wide, its corners
are divided by the image size and multiplied by the size minus one, so the crop
is shifted by up to a pixel and shrunk by under a percent. The published weights
were trained and used with this sampling; these functions repeat it to the bit.
"""

from __future__ import annotations

import warnings
from typing import cast

import numpy as np

from cpcnn_core.errors import CropWarning, ImageError
from cpcnn_core.imaging.normalization import NORMALIZERS, normalize_field
from cpcnn_core.imaging.sampling import resample, sample_axis

CROP_PX = 128
# Half the side of the patch whose median label names the cell, see docs/method.md#masking.
MASK_PATCH_PX = 5


def crop_cells(
    image: np.ndarray,
    centers: np.ndarray,
    *,
    crop_px: int = CROP_PX,
    labels: np.ndarray | None = None,
    label_ids: np.ndarray | None = None,
    normalizer: str = "minmax-per-crop",
) -> np.ndarray:
    """Cut one normalised crop around every centre.

    Parameters
    ----------
    image : ndarray of shape (c, h, w), any real dtype
        Channels of one field, finite values in any unit.
    centers : ndarray of shape (n, 2), float64, (row, col) in pixels
        Object centres, pixel centre convention; fractions count, nothing is rounded.
    crop_px : int
        Side of the box in image pixels and of the crop.
    labels : ndarray of shape (h, w), integer, optional
        When given, every pixel that does not belong to the cell is set to zero
        in all channels before normalisation.
    label_ids : ndarray of shape (n,), integer, optional
        The label of each cell. Default: the median label of the 10 x 10 patch
        at the centre, as the reference takes it (see `label_ids_at`).
    normalizer : str
        A key of `cpcnn_core.imaging.normalization.NORMALIZERS`.

    Returns
    -------
    ndarray of shape (n, c, crop_px, crop_px), float32, range [0, 1]

    Raises
    ------
    ImageError
        The image is not (c, h, w), has values that are not finite, or does not
        have the size of the labels.

    Warns
    -----
    CropWarning
        A box lies completely outside the image; its crop is all zero.

    Notes
    -----
    docs/method.md#crops. See `touches_border` for crops with zero fill.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.arange(3 * 200 * 200).reshape(3, 200, 200)
    >>> crops = crop_cells(image, np.array([[100.0, 90.5], [10.0, 10.0]]))
    >>> crops.shape, crops.dtype.name
    ((2, 3, 128, 128), 'float32')
    """
    image = normalize_field(check_image(image), normalizer)
    centers = check_centers(centers)
    if labels is not None:
        labels = check_labels(labels, image.shape[1:])
        label_ids = check_label_ids(label_ids, labels, centers)
    warn_of_boxes_outside(centers, image.shape[1:], crop_px)
    return cut_crops(image, centers, crop_px, labels, label_ids, normalizer)


def cut_crops(
    image: np.ndarray,
    centers: np.ndarray,
    crop_px: int,
    labels: np.ndarray | None,
    label_ids: np.ndarray | None,
    normalizer: str,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Do the work of `crop_cells` on input that was checked already.

    Parameters and result are those of `crop_cells`; `image` is what `check_image`
    returned, normalised as a field, `labels` may be float32 already, and the result goes
    into `out`, if given. The embedding loop calls this pass by pass.

    Examples
    --------
    >>> import numpy as np
    >>> image = check_image(np.eye(64)[None])
    >>> cut_crops(image, np.array([[32.0, 32.0]]), 32, None, None, "minmax-per-crop").shape
    (1, 1, 32, 32)
    """
    rows = sample_axis(centers[:, 0], image.shape[1], crop_px)
    cols = sample_axis(centers[:, 1], image.shape[2], crop_px)
    if out is None:
        out = np.empty((len(centers), len(image), crop_px, crop_px), np.float32)
    marks = None if labels is None else np.asarray(labels[None], np.float32)
    ids = cast("np.ndarray", label_ids)  # given where labels are
    mask = np.empty((1, crop_px, crop_px), np.float32)
    for i, crop in enumerate(out):
        # Crop by crop, start to end: what one step wrote, the next finds in the cache.
        resample(image, rows.of_crop(i), cols.of_crop(i), crop)
        if marks is not None:
            # The reference interpolates the label image like any channel and asks
            # for equality, so pixels between two labels fall out of the mask.
            resample(marks, rows.of_crop(i), cols.of_crop(i), mask)
            np.multiply(crop, mask == np.float32(ids[i]), out=crop)
        NORMALIZERS[normalizer](out[i : i + 1], out=out[i : i + 1])
    return out


def touches_border(
    centers: np.ndarray, shape: tuple[int, int], crop_px: int = CROP_PX
) -> np.ndarray:
    """Tell which crops reach over the border of the image.

    Parameters
    ----------
    centers : ndarray of shape (n, 2), float64, (row, col) in pixels
    shape : (height, width) of the image in pixels
    crop_px : int
        Side of the box in pixels.

    Returns
    -------
    ndarray of shape (n,), bool
        True where at least one sample of the crop was filled with zero.

    Examples
    --------
    >>> import numpy as np
    >>> touches_border(np.array([[100.0, 100.0], [63.0, 100.0]]), (200, 200)).tolist()
    [False, True]
    """
    centers = check_centers(centers)
    rows = sample_axis(centers[:, 0], shape[0], crop_px)
    cols = sample_axis(centers[:, 1], shape[1], crop_px)
    return cast("np.ndarray", ~(rows.inside.all(axis=1) & cols.inside.all(axis=1)))


def label_ids_at(labels: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Name the cell at every centre: the median label of a 10 x 10 patch.

    Parameters
    ----------
    labels : ndarray of shape (h, w), integer
    centers : ndarray of shape (n, 2), float64, (row, col) in pixels

    Returns
    -------
    ndarray of shape (n,), int64
        0 (background) where no pixel of the image lies under the patch.

    Notes
    -----
    docs/method.md#masking, with its quirk: for a centre more than 5 px above or left of
    the image the upper bound is negative and counts from the other end. Where
    the labels are known, pass them to `crop_cells` instead.

    Examples
    --------
    >>> import numpy as np
    >>> labels = np.zeros((40, 40), int)
    >>> labels[10:30, 10:30] = 7
    >>> label_ids_at(labels, np.array([[20.0, 20.0], [2.0, 2.0]])).tolist()
    [7, 0]
    """
    ids = np.zeros(len(centers), np.int64)
    for i, (row, col) in enumerate(np.trunc(centers).astype(int)):
        patch = labels[
            max(0, row - MASK_PATCH_PX) : row + MASK_PATCH_PX,
            max(0, col - MASK_PATCH_PX) : col + MASK_PATCH_PX,
        ]
        if patch.size:
            ids[i] = int(np.median(patch))
    return ids


def check_image(image: np.ndarray) -> np.ndarray:
    """Return the image as float32 (c, h, w), or say why it cannot be used.

    Examples
    --------
    >>> import numpy as np
    >>> check_image(np.ones((2, 4, 4), np.uint16)).dtype.name
    'float32'
    """
    image = np.asarray(image)
    if image.ndim != 3 or 0 in image.shape:
        raise ImageError(
            f"expected an image of shape (channels, height, width), got {image.shape}; "
            "stack the channels of the field along the first axis"
        )
    if image.dtype.kind not in "buif":
        raise ImageError(f"expected real pixel values, got dtype {image.dtype}")
    may_lack = image.dtype.kind == "f"
    image = np.ascontiguousarray(image, np.float32)
    if may_lack and not (finite := np.isfinite(image)).all():
        channel, row, col = np.argwhere(~finite)[0].tolist()
        raise ImageError(
            f"expected finite pixel values, got {np.count_nonzero(~finite)} that are NaN or "
            f"infinite, the first in channel {channel} at row {row}, column {col}; "
            "look at the step that made this image"
        )
    return image


def check_centers(centers: np.ndarray) -> np.ndarray:
    """Return the centres as float64 (n, 2), or say why they cannot be used.

    Examples
    --------
    >>> check_centers([[1, 2]]).tolist()
    [[1.0, 2.0]]
    """
    centers = np.asarray(centers, np.float64)
    if centers.size == 0:
        return np.zeros((0, 2))
    if centers.ndim != 2 or centers.shape[1] != 2:
        raise ImageError(f"expected centres of shape (n, 2) as (row, col), got {centers.shape}")
    if not np.isfinite(centers).all():
        first = int(np.flatnonzero(~np.isfinite(centers).all(axis=1))[0])
        raise ImageError(f"expected finite centres, got {centers[first].tolist()} in row {first}")
    return centers


def check_labels(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the label image, or say why it does not fit the image.

    Examples
    --------
    >>> import numpy as np
    >>> check_labels(np.zeros((4, 5), int), (4, 5)).shape
    (4, 5)
    """
    labels = np.asarray(labels)
    if labels.shape != tuple(shape):
        raise ImageError(
            f"expected labels of the image's size {tuple(shape)}, got {labels.shape}; "
            "find the objects on an image of the same size"
        )
    return labels


def check_label_ids(
    label_ids: np.ndarray | None, labels: np.ndarray, centers: np.ndarray
) -> np.ndarray:
    """Return one label per centre: those given, else those found at the centres.

    Examples
    --------
    >>> import numpy as np
    >>> check_label_ids([4], np.ones((9, 9), int), np.array([[3.0, 3.0]])).tolist()
    [4]
    """
    if label_ids is None:
        return label_ids_at(labels, centers)
    label_ids = np.asarray(label_ids)
    if label_ids.shape != (len(centers),):
        raise ImageError(
            f"expected one label per centre, got labels of shape {label_ids.shape} for "
            f"{len(centers)} centres"
        )
    return label_ids


def warn_of_boxes_outside(centers: np.ndarray, shape: tuple[int, ...], crop_px: int) -> None:
    """Warn where a box lies completely outside the image (docs/method.md#normalisation).

    Examples
    --------
    >>> import numpy as np
    >>> warn_of_boxes_outside(np.array([[50.0, 50.0]]), (100, 100), 128)
    """
    rows = sample_axis(centers[:, 0], shape[0], crop_px)
    cols = sample_axis(centers[:, 1], shape[1], crop_px)
    outside = ~(rows.inside.any(axis=1) & cols.inside.any(axis=1))
    if outside.any():
        first = int(np.flatnonzero(outside)[0])
        warnings.warn(
            f"{np.count_nonzero(outside)} of {len(centers)} boxes lie completely outside the "
            f"image of {shape[0]} x {shape[1]} pixels, the first around row {centers[first, 0]}, "
            f"column {centers[first, 1]}; their crops are all zero",
            CropWarning,
            stacklevel=3,
        )
