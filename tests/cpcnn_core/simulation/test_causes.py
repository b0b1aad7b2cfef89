"""Each parameter moves what it says, measured on the pixels by scikit-image alone."""

import numpy as np
import pytest
from scipy import ndimage
from skimage import feature, measure, morphology

from cpcnn_core.simulation.parameters import BY_NAME

DNA, RNA, ER, AGP, MITO = range(5)


def above(field, channel):
    """Return a channel less its background, (h, w)."""
    plane = field.image[channel].astype(float)
    return plane - np.median(plane[field.cell_labels == 0])


def median_property(labels, name):
    return np.median(regions(labels, name))


def regions(labels, name):
    return [getattr(region, name) for region in measure.regionprops(labels) if region.area > 50]


def axis_ratio(labels):
    long, short = (regions(labels, f"axis_{which}_length") for which in ("major", "minor"))
    return np.median(np.divide(long, short))


def inner_nuclei(field):
    return morphology.erosion(field.nucleus_labels, morphology.disk(3))


def away_from_nuclei(field):
    """Return how far pixels of cells are from nuclei, -1 elsewhere."""
    far = ndimage.distance_transform_edt(field.nucleus_labels == 0)
    return np.where((field.cell_labels > 0) & (field.nucleus_labels == 0), far, -1)


def cytoplasm(field):
    far = away_from_nuclei(field)
    return (far > 4) & (morphology.erosion(field.cell_labels, morphology.disk(4)) > 0)


def mean_in_nuclei(field, channel):
    return above(field, channel)[inner_nuclei(field) > 0].mean()


def median_in_cytoplasm(field, channel):
    return np.median(above(field, channel)[cytoplasm(field)])


def grain_contrast(field, channel, mask, sigma):
    """Return the mean of what is finer than sigma, relative to the plane."""
    plane = above(field, channel)
    fine = plane - ndimage.gaussian_filter(plane, sigma)
    return np.abs(fine[mask]).mean() / np.median(plane[mask])


def nuclear_contrast(field):
    labels, plane = inner_nuclei(field), above(field, DNA)
    return np.median(
        [np.std(plane[labels == k]) / np.mean(plane[labels == k]) for k in ids(labels)]
    )


def ids(labels):
    return np.unique(labels[labels > 0])


def coarse_part(field):
    """Return how much of chromatin's variation is left when it is blurred."""
    labels, plane = inner_nuclei(field), above(field, DNA)
    blurred = ndimage.gaussian_filter(plane, 2.0)
    return np.median(
        [np.std(blurred[labels == k]) / np.std(plane[labels == k]) for k in ids(labels)]
    )


def rna_over_nucleus(field):
    """Return RNA in nuclei relative to the nucleus's own lower third, (h, w)."""
    labels, plane = inner_nuclei(field), above(field, RNA)
    relative = np.zeros(plane.shape)
    for number in ids(labels):
        relative[labels == number] = plane[labels == number] / np.percentile(
            plane[labels == number], 30
        )
    return relative


def nucleoli_peaks(field):
    peaks = feature.peak_local_max(rna_over_nucleus(field), min_distance=2, threshold_abs=1.25)
    return len(peaks) / field.nucleus_labels.max()


def nucleoli_part(field):
    return (rna_over_nucleus(field) > 1.25).sum() / (inner_nuclei(field) > 0).sum()


def nucleoli_height(field):
    return np.percentile(rna_over_nucleus(field)[inner_nuclei(field) > 0], 97)


def er_far_by_near(field):
    far, plane = away_from_nuclei(field), above(field, ER)
    return plane[far > 15].mean() / plane[(far > 1) & (far < 6)].mean()


def golgi_height(field):
    """Return how much the brightest AGP of a cell stands out of the rest of it."""
    labels, plane = field.cell_labels, above(field, AGP)
    cells = [plane[labels == number] for number in ids(labels)]
    return np.median([np.percentile(cell, 98) / np.median(cell) for cell in cells])


def golgi_width(field):
    """Return how far a cell's brightest AGP pixels are from their middle."""
    plane, widths = above(field, AGP), []
    plane = plane - ndimage.gaussian_filter(plane, 6)
    for region in measure.regionprops(field.cell_labels, plane):
        places = np.argwhere(region.image)
        light = region.image_intensity[region.image]
        brightest = places[np.argsort(light)[-40:]]
        widths.append(np.median(np.linalg.norm(brightest - np.median(brightest, axis=0), axis=1)))
    return np.median(widths)


def border_height(field):
    edge = (field.cell_labels > 0) & (
        morphology.erosion(field.cell_labels, morphology.disk(2)) == 0
    )
    return np.median(above(field, AGP)[edge]) / median_in_cytoplasm(field, AGP)


def mito_lines(field):
    """Return the light of what is thin in Mito, counts for a pixel of cells."""
    plane = above(field, MITO)
    thin = np.maximum(plane - ndimage.gaussian_filter(plane, 4), 0)
    return thin[away_from_nuclei(field) > 2].mean()


def mito_thread_length(field):
    """Return the length of threads in Mito from one end to the other, in pixels."""
    plane = above(field, MITO)
    thin = plane - ndimage.gaussian_filter(plane, 4)
    threads = morphology.skeletonize((thin > 60) & (away_from_nuclei(field) > 2))
    neighbours = ndimage.convolve(threads.astype(int), np.ones((3, 3), int)) - 1
    return 2 * threads.sum() / (threads & (neighbours == 1)).sum()


def mito_distance(field):
    plane, far = above(field, MITO), away_from_nuclei(field)
    thin = plane - ndimage.gaussian_filter(plane, 4)
    return far[(thin > 90) & (far > 1)].mean()


def spots_outside_nuclei(field):
    near = ndimage.binary_dilation(field.nucleus_labels > 0, iterations=1)
    plane = above(field, DNA)
    sharp = plane - ndimage.gaussian_filter(plane, 5)
    return measure.label((sharp > 800) & ~near & (field.cell_labels > 0)).max()


def nucleus_displacement(field):
    nuclei = {r.label: np.array(r.centroid) for r in measure.regionprops(field.nucleus_labels)}
    cells = {r.label: np.array(r.centroid) for r in measure.regionprops(field.cell_labels)}
    return np.mean([np.linalg.norm(place - cells[label]) for label, place in nuclei.items()])


def brightest_nuclei(field):
    found = measure.regionprops(field.nucleus_labels, above(field, DNA))
    return np.median([region.intensity_mean for region in found])


def border_length(field):
    found = measure.regionprops(field.cell_labels)
    return np.median([r.perimeter**2 / (4 * np.pi * r.area) for r in found if r.area > 500])


# Parameter: (measure, how many spreads, at least by which factor it has to move it).
CASES = {
    "cell_count": (lambda f: f.cell_labels.max(), -3.0, 0.7),
    "dividing": (brightest_nuclei, 8.0, 1.35),
    "rounded": (lambda f: median_property(f.cell_labels, "area"), 8.0, 0.4),
    "multinucleate": (lambda f: 1 - median_property(f.nucleus_labels, "solidity"), 8.0, 1.5),
    "cell_area": (lambda f: median_property(f.cell_labels, "area"), -2.5, 0.8),
    "cell_elongation": (lambda f: axis_ratio(f.cell_labels), 3.0, 1.1),
    "protrusions": (lambda f: 1 - median_property(f.cell_labels, "solidity"), 3.0, 1.2),
    "blebs": (border_length, 4.5, 1.15),
    "nucleus_area": (lambda f: median_property(f.nucleus_labels, "area"), 2.0, 1.15),
    "nucleus_elongation": (lambda f: axis_ratio(f.nucleus_labels), 3.0, 1.25),
    "nucleus_irregularity": (
        lambda f: 1 - median_property(f.nucleus_labels, "solidity"),
        4.0,
        1.5,
    ),
    "nucleus_offset": (nucleus_displacement, 4.0, 1.15),
    "micronuclei": (spots_outside_nuclei, 4.5, 3.0),
    "dna_intensity": (lambda f: mean_in_nuclei(f, DNA), 3.0, 1.35),
    "chromatin_contrast": (nuclear_contrast, 3.0, 1.4),
    "chromatin_grain": (coarse_part, 3.0, 1.1),
    "nucleoli_number": (nucleoli_peaks, -4.0, 0.7),
    "nucleoli_area": (nucleoli_part, 3.0, 1.5),
    "nucleoli_intensity": (nucleoli_height, 3.0, 1.12),
    "rna_intensity": (lambda f: median_in_cytoplasm(f, RNA), 3.0, 1.7),
    "er_intensity": (lambda f: median_in_cytoplasm(f, ER), 3.0, 1.7),
    "er_spread": (er_far_by_near, 3.0, 1.12),
    "er_texture": (lambda f: grain_contrast(f, ER, cytoplasm(f), 2.0), 3.0, 1.5),
    "agp_intensity": (lambda f: median_in_cytoplasm(f, AGP), 3.0, 1.6),
    "golgi_intensity": (golgi_height, 3.0, 1.2),
    "golgi_spread": (golgi_width, 2.5, 1.25),
    "actin_fibres": (lambda f: grain_contrast(f, AGP, cytoplasm(f), 2.0), 3.0, 1.3),
    "ruffles": (border_height, 3.0, 1.3),
    "mito_intensity": (mito_lines, 2.0, 2.0),
    "mito_length": (mito_thread_length, 3.0, 1.1),
    "mito_number": (mito_lines, -3.0, 0.82),
    "mito_spread": (mito_distance, -3.0, 0.87),
}


def test_every_parameter_is_measured():
    assert list(CASES) == list(BY_NAME)


@pytest.mark.parametrize("name", CASES)
def test_an_effect_moves_what_it_says(name, field):
    measured, spreads, factor = CASES[name]
    before, after = (measured(field(effects)) for effects in ({}, {name: spreads}))
    assert after >= factor * before if factor > 1 else after <= factor * before
