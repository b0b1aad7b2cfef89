"""Where each object's crop is cut: object numbers and centres."""

import numpy as np


def centers_of(objects):
    """Return the numbers of the objects that have pixels, and their centres.

    `objects` is CellProfiler's; numbers may have gaps and labels may overlap. The
    centre is the mean pixel position, (row, col), as CellProfiler's own
    Location_Center_Y and _X.
    """
    rows, cols, labels = _pixels(objects)
    counts = np.bincount(labels, minlength=1)
    numbers = np.flatnonzero(counts)
    sums = [np.bincount(labels, weights=axis, minlength=1)[numbers] for axis in (rows, cols)]
    return numbers, np.column_stack(sums) / counts[numbers][:, None]


def partners(measurements, name, objects, other_name, others):
    """Return the number of each object's partner among the others, 0 where it has none.

    Known from the Identify modules, as parent or child, else by overlap. Entry i
    belongs to object number i + 1.
    """
    if measurements.has_current_measurements(name, "Parent_" + other_name):
        return partners_by_parent(
            measurements.get_current_measurement(name, "Parent_" + other_name)
        )
    if measurements.has_current_measurements(other_name, "Parent_" + name):
        parents = measurements.get_current_measurement(other_name, "Parent_" + name)
        return partners_by_child(parents, others, objects.count)
    return partners_by_overlap(objects, others, objects.count)


def centers_of_partners(numbers, partners, others):
    """Return which of the objects have a partner with pixels, and those partners' centres."""
    other_numbers, other_centers = centers_of(others)
    row_of = dict(zip(other_numbers.tolist(), range(len(other_numbers))))
    partner_of = dict(enumerate(partners.tolist(), start=1))
    rows = np.array([row_of.get(partner_of.get(n), -1) for n in numbers.tolist()], int)
    return rows >= 0, other_centers[rows[rows >= 0]].reshape(-1, 2)


def partners_by_parent(parents):
    """Turn CellProfiler's Parent measurement (0: none) into partner numbers."""
    parents = np.asarray(parents, float)
    return np.where(np.isfinite(parents), parents, 0).astype(int)


def partners_by_child(parents, children, count):
    """Give each of `count` objects its largest child; 0 where it has none.

    `parents` is the Parent measurement of the children, `children` their objects.
    """
    parents = partners_by_parent(parents)
    areas = np.bincount(_pixels(children)[2], minlength=len(parents) + 1)[1 : len(parents) + 1]
    partners = np.zeros(count, int)
    # Small to large, of equals the last number first: the best one is written last.
    for child in np.lexsort((-np.arange(len(parents)), areas)):
        if areas[child] and 0 < parents[child] <= count:
            partners[parents[child] - 1] = child + 1
    return partners


def partners_by_overlap(objects, others, count):
    """Give each of `count` objects the other that covers most of it; 0 where none does."""
    partners = np.zeros(count, int)
    most = np.zeros(count, int)
    for labels, _ in objects.get_labels():
        for other, _ in others.get_labels():
            both = (labels > 0) & (other > 0)
            pairs = np.column_stack([labels[both], other[both]]).astype(int)
            found, pixels = np.unique(pairs, axis=0, return_counts=True)
            for (number, partner), covered in zip(found, pixels):
                if covered > most[number - 1]:
                    most[number - 1], partners[number - 1] = covered, partner
    return partners


def _pixels(objects):
    ijv = np.asarray(objects.ijv)
    return ijv[:, 0], ijv[:, 1], ijv[:, 2].astype(int)
