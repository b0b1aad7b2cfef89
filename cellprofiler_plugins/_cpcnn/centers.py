"""Where each object's crop is cut: object numbers and centres."""

import numpy


def centers_of(objects):
    """Return the numbers of the objects that have pixels, and their centres.

    `objects` is CellProfiler's; numbers may have gaps and labels may overlap. The
    centre is the mean pixel position, (row, col), as CellProfiler's own
    Location_Center_Y and _X.
    """
    rows, cols, labels = _pixels(objects)
    counts = numpy.bincount(labels, minlength=1)
    numbers = numpy.flatnonzero(counts)
    sums = [numpy.bincount(labels, weights=axis, minlength=1)[numbers] for axis in (rows, cols)]
    return numbers, numpy.column_stack(sums) / counts[numbers][:, None]


def partners_by_parent(parents):
    """Turn CellProfiler's Parent measurement (0: none) into partner numbers."""
    parents = numpy.asarray(parents, float)
    return numpy.where(numpy.isfinite(parents), parents, 0).astype(int)


def partners_by_child(parents, children, count):
    """Give each of `count` objects its largest child; 0 where it has none.

    `parents` is the Parent measurement of the children, `children` their objects.
    """
    parents = partners_by_parent(parents)
    areas = numpy.bincount(_pixels(children)[2], minlength=len(parents) + 1)[1 : len(parents) + 1]
    partners = numpy.zeros(count, int)
    # Small to large, of equals the last number first: the best one is written last.
    for child in numpy.lexsort((-numpy.arange(len(parents)), areas)):
        if areas[child] and 0 < parents[child] <= count:
            partners[parents[child] - 1] = child + 1
    return partners


def partners_by_overlap(objects, others, count):
    """Give each of `count` objects the other that covers most of it; 0 where none does."""
    partners = numpy.zeros(count, int)
    most = numpy.zeros(count, int)
    for labels, _ in objects.get_labels():
        for other, _ in others.get_labels():
            both = (labels > 0) & (other > 0)
            pairs = numpy.column_stack([labels[both], other[both]]).astype(int)
            found, pixels = numpy.unique(pairs, axis=0, return_counts=True)
            for (number, partner), covered in zip(found, pixels):
                if covered > most[number - 1]:
                    most[number - 1], partners[number - 1] = covered, partner
    return partners


def _pixels(objects):
    ijv = numpy.asarray(objects.ijv)
    return ijv[:, 0], ijv[:, 1], ijv[:, 2].astype(int)
