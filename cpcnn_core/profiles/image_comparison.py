"""Compare the cells of an image with a library of treatments."""

from __future__ import annotations

import numpy as np

from cpcnn_core.profiles.open_library import OpenLibrary
from cpcnn_core.schema.profiles import Profiles


def compare_image(
    opened: OpenLibrary,
    features: np.ndarray,
    *,
    plate: str | None = None,
    well: str | None = None,
    count: int = 3,
    treatment: str | None = None,
) -> tuple[list[dict[str, object]], dict[str, np.ndarray]]:
    """Find the treatments that an image looks like, and tell what each cell is like.

    The image's profile is the median of its cells, as `cpcnn_core.profiles.wells` makes
    sites; it and every cell are corrected as the library's wells were.

    Parameters
    ----------
    opened : OpenLibrary
    features : ndarray of shape (n, d), as the model gives them
        Rows with NaN have not been measured.
    plate : str, optional
        For corrections that go plate by plate.
    well : str, optional
        Where the library holds the image's own well (by plate and well) and it is a control,
        p-values do not compare with it.
    count : int
        How many treatments.
    treatment : str, optional
        The one that every cell is compared with.

    Returns
    -------
    nearest : list of dict
        ``treatment`` and ``similarity`` (cosine), the nearest first; where the library has
        p-values also ``p_value`` and ``q_value`` (over all treatments of the library), see
        `cpcnn_core.profiles.significance`, NaN for a treatment without p-value.
    similarities : dict of str to ndarray, float64
        ``like_controls`` (n,) and ``image_like_controls`` (1,), see `similarity_to_controls`,
        where controls are known; ``like_treatment`` (n,), the cosine, where one was chosen.
        NaN for cells that have not been measured.

    Raises
    ------
    ProfileError
        No such treatment, controls that do not differ, or a plate that the correction needs.

    Examples
    --------
    >>> import pandas as pd
    >>> from cpcnn_core.profiles.library import build_library
    >>> rows = pd.DataFrame({"Metadata_Treatment": ["a", "b"]})
    >>> library = build_library(Profiles(np.eye(2), rows, ["x", "y"]))
    >>> nearest, _ = compare_image(OpenLibrary(library, None, "mine"), np.eye(2)[:1], count=1)
    >>> nearest
    [{'treatment': 'a', 'similarity': 1.0}]
    """
    usable = np.isfinite(features).all(axis=1)
    row = None if treatment is None else opened.row(treatment)
    similarities = {}
    if opened.control_center is not None:
        similarities["like_controls"] = np.full(len(features), np.nan)
        similarities["image_like_controls"] = np.full(1, np.nan)
    if row is not None:
        similarities["like_treatment"] = np.full(len(features), np.nan)
    if not usable.any():
        return [], similarities
    cells = opened.prepare_query(opened.as_profiles(features[usable], plate)).features
    median = np.median(np.asarray(features[usable], np.float64), axis=0, keepdims=True)
    image = opened.as_profiles(median, plate, well)
    corrected = opened.prepare_query(image).features
    if opened.control_center is not None:
        center, spread = opened.control_center
        similarities["like_controls"][usable] = similarity_to_controls(cells, center, spread)
        similarities["image_like_controls"][:] = similarity_to_controls(corrected, center, spread)
    if row is not None:
        direction = opened.library.directions[row].astype(np.float64)
        lengths = np.linalg.norm(cells, axis=1) * np.linalg.norm(direction)
        similarities["like_treatment"][usable] = cells @ direction / lengths
    return _nearest(opened, image, corrected, count), similarities


def similarity_to_controls(corrected: np.ndarray, center: np.ndarray, spread: float) -> np.ndarray:
    """Tell how near corrected profiles (n, d) are to the library's controls, (n,) float64.

    `center` and `spread` are those of `OpenLibrary.control_center`.

    1 / (1 + distance / spread): 1 at the mean of the controls, 0.5 at the median distance of the
    control wells from it. Not the cosine, since corrections move the controls to the origin, from
    where everything is in some other direction.
    """
    distance: np.ndarray = np.linalg.norm(corrected - center, axis=1)
    return 1 / (1 + distance / spread)


def _nearest(
    opened: OpenLibrary, image: Profiles, corrected: np.ndarray, count: int
) -> list[dict[str, object]]:
    found = opened.library.nearest(corrected, count)
    names = found[opened.library.by].astype(str)
    columns = {"treatment": names.tolist(), "similarity": found["similarity"].tolist()}
    if opened.significance is not None:
        tests = opened.significance.nearest(image, rows=opened.rows_of(image))
        for column in ("p_value", "q_value"):
            columns[column] = tests[column].reindex(names).tolist()
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, values, strict=True)) for values in rows]
