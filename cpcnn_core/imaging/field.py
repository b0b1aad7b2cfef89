"""The Field: one site with its channels and the objects found in it.

Readers make Fields; everything downstream knows Fields and no file format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cpcnn_core.errors import ChannelError, ImageError
from cpcnn_core.imaging.crops import check_centers, check_labels
from cpcnn_core.imaging.scale import check_um_per_px


@dataclass
class Field:
    """One site: its channels, its objects, and what is known about it.

    Attributes
    ----------
    image : ndarray of shape (c, h, w), any real dtype
        One plane per channel, in any unit.
    channels : tuple of str
        The name of every plane, e.g. ``("DNA", "RNA", "ER", "AGP", "Mito")``.
    centers : ndarray of shape (n, 2), float64, (row, col) in pixels
        Object centres.
    object_numbers : ndarray of shape (n,), int64
        The number of each object in the labels or the table it came from;
        numbers may have gaps. Default: 1 to n.
    labels : ndarray of shape (h, w), integer, optional
        Label image in which object k has the value k.
    metadata : dict
        What is known of the site, e.g. ``{"Plate": "P1", "Well": "A01", "Site": "1"}``.
    um_per_px : float, optional
        Micrometres per pixel; models that were trained at another scale get the field
        resampled.

    Raises
    ------
    ChannelError
        Not one name per plane, or a name twice.
    ImageError
        Shapes that do not belong together, or a scale that is no positive number.

    Examples
    --------
    >>> import numpy as np
    >>> site = Field(np.zeros((2, 64, 64)), ("DNA", "ER"), np.array([[32.0, 30.0]]))
    >>> site.object_numbers.tolist(), site.planes(("ER",)).shape
    ([1], (1, 64, 64))
    """

    image: np.ndarray
    channels: tuple[str, ...]
    centers: np.ndarray
    object_numbers: np.ndarray | None = None
    labels: np.ndarray | None = None
    metadata: dict[str, object] = field(default_factory=dict)
    um_per_px: float | None = None

    def __post_init__(self) -> None:
        self.image = np.asarray(self.image)
        self.channels = tuple(self.channels)
        self.centers = check_centers(self.centers)
        if self.image.ndim != 3 or len(self.channels) != self.image.shape[0]:
            raise ChannelError(
                f"expected one channel name per plane of an image (channels, height, width), "
                f"got {len(self.channels)} names for shape {self.image.shape}"
            )
        if len(set(self.channels)) != len(self.channels):
            raise ChannelError(f"expected every channel name once, got {', '.join(self.channels)}")
        if self.labels is not None:
            self.labels = check_labels(self.labels, self.image.shape[1:])
        if self.um_per_px is not None:
            self.um_per_px = check_um_per_px(self.um_per_px)
        if self.object_numbers is None:
            self.object_numbers = np.arange(1, len(self.centers) + 1)
        self.object_numbers = np.asarray(self.object_numbers, np.int64)
        if self.object_numbers.shape != (len(self.centers),):
            raise ImageError(
                f"expected one object number per centre, got {self.object_numbers.shape} "
                f"for {len(self.centers)} centres"
            )

    def planes(self, channels: Sequence[str]) -> np.ndarray:
        """Return the named channels in the order asked for.

        Parameters
        ----------
        channels : sequence of str
            Channel names, usually those of a model card in the model's order.

        Returns
        -------
        ndarray of shape (len(channels), h, w)
            A view where the order is already right, else a copy.

        Raises
        ------
        ChannelError
            A name that this field does not have.

        Examples
        --------
        >>> import numpy as np
        >>> site = Field(np.arange(2)[:, None, None], ("DNA", "ER"), [])
        >>> site.planes(("ER", "DNA")).ravel().tolist()
        [1, 0]
        """
        channels = tuple(channels)
        missing = [name for name in channels if name not in self.channels]
        if missing:
            raise ChannelError(
                f"the model needs {len(channels)} channels ({', '.join(channels)}); this field has "
                f"{len(self.channels)} ({', '.join(self.channels)}) and lacks "
                f"{', '.join(missing)}; name the planes as the model does"
            )
        if channels == self.channels:
            return self.image
        return self.image[[self.channels.index(name) for name in channels]]
