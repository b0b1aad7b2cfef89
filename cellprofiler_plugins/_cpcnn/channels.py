"""The images of a model's channels: an offer from their names, and their pixels."""

import numpy as np

from .channel_names import guess_images

__all__ = ["guess_images", "stack_channels"]


def stack_channels(image_set, images, shape=None, of_what=None):
    """Stack the images as float32 (c, h, w), in the unit that CellProfiler holds.

    `images` is {channel: image name} in the model's order. All of them have to be of
    `shape`, which is that `of_what`; by default that of the first.
    """
    planes = []
    for channel, name in images.items():
        what = "%s (for %s)" % (name, channel)
        if name not in image_set.names:
            raise RuntimeError(
                "There is no image %s; this image set has %s. Choose one of these, or look at the "
                "module that should make it." % (what, ", ".join(image_set.names) or "none")
            )
        pixels = image_set.get_image(name, must_be_grayscale=True).pixel_data
        if shape is None:
            shape, of_what = pixels.shape, "%s is" % what
        if pixels.shape != tuple(shape):
            raise RuntimeError(
                "%s is %s pixels, %s %s; use images of one size."
                % (what, _size(pixels.shape), of_what, _size(shape))
            )
        if pixels.ndim != 2:
            raise RuntimeError("%s is three-dimensional; this module measures 2D images." % what)
        bad = np.argwhere(~np.isfinite(pixels))
        if len(bad):
            raise RuntimeError(
                "%s has %d pixels that are not numbers (NaN or infinite), the first at x %d, "
                "y %d; look at the module that made this image."
                % (what, len(bad), bad[0][1], bad[0][0])
            )
        planes.append(pixels.astype(np.float32))
    return np.stack(planes)


def _size(shape):
    return " x ".join(str(length) for length in shape)
