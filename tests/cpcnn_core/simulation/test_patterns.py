"""Patterns do what they say and leave amounts as they are, measured on pixels by scikit-image."""

import functools

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage, stats
from skimage import feature, measure, morphology

from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.field import simulate_field
from cpcnn_core.simulation.parameters import PATTERNS
from cpcnn_core.simulation.population import grow_cells
from cpcnn_core.simulation.seeds import stream
from cpcnn_core.simulation.technique import FACTORS
from cpcnn_core.simulation.textures import filaments, smooth_noise, spots
from cpcnn_core.simulation.treatments import CAUSES, VISIBLE

DNA, RNA, ER, AGP, MITO = range(5)
# One cell of a kind, so that what is measured is the pattern.
LIVING = {"rounded": -9.0, "dividing": -9.0, "multinucleate": -9.0}
PLAIN = {**VISIBLE, **LIVING}
# Nothing in AGP is as bright as the Golgi apparatus.
GOLGI = {**LIVING, "actin_fibres": -3.0, "ruffles": -4.0, "golgi_intensity": 1.5, "mito_polar": 1.5}


def fine(field, channel, sigma=4.0):
    """Return a channel less what is coarse in it, (h, w)."""
    plane = field.image[channel].astype(float)
    return plane - ndimage.gaussian_filter(plane, sigma)


def flat(field):
    """Return labels of the cytoplasm away from borders and nuclei, (h, w)."""
    labels = morphology.erosion(field.cell_labels, morphology.disk(4))
    return np.where(ndimage.binary_dilation(field.nucleus_labels > 0, iterations=3), 0, labels)


def inner_nuclei(field):
    return morphology.erosion(field.nucleus_labels, morphology.disk(4))


def numbers(labels, least=150):
    counts = np.bincount(labels.ravel())
    return [number for number in range(1, len(counts)) if counts[number] >= least]


def tensors(field, channel, sigma):
    """Return strength and double angle of the local structure: lines are along half of it."""
    rr, rc, cc = feature.structure_tensor(fine(field, channel), sigma=sigma, order="rc")
    return rr + cc, rr - cc, -2 * rc


def line_angle(strength, cosine, sine, mask):
    """Return the angle of lines against the columns' axis, and how much they agree in it."""
    cosine, sine = cosine[mask].sum(), sine[mask].sum()
    return np.arctan2(sine, cosine) / 2, np.hypot(cosine, sine) / strength[mask].sum()


def fibre_agreement(field):
    labels, structure = flat(field), tensors(field, AGP, 1.0)
    return np.median([line_angle(*structure, labels == k)[1] for k in numbers(labels)])


def fibres_along_cells(field):
    """Return 1 if fibres are along the long axes of cells, -1 if across."""
    labels, structure = flat(field), tensors(field, AGP, 1.0)
    found = []
    for region in measure.regionprops(field.cell_labels):
        if region.label in numbers(labels) and region.eccentricity > 0.7:
            angle, agreement = line_angle(*structure, labels == region.label)
            # scikit-image counts from the rows' axis.
            axis = np.pi / 2 - region.orientation
            found.append(agreement * np.cos(2 * (angle - axis)))
    return np.mean(found)


def chromatin_skew(field):
    labels, plane = inner_nuclei(field), fine(field, DNA)
    return np.median([stats.skew(plane[labels == k]) for k in numbers(labels)])


def chromatin_lines(field):
    """Return how much neighbouring pixels of chromatin agree in a direction."""
    labels = inner_nuclei(field)
    strength, cosine, sine = tensors(field, DNA, 2.0)
    return (np.hypot(cosine, sine) / strength)[labels > 0].mean()


def mito_pieces(field):
    return measure.label((fine(field, MITO) > 60) & (field.cell_labels > 0)).max()


def mito_outwards(field):
    """Return 1 if mitochondria point away from nuclei, -1 if they go around them."""
    labels, (strength, cosine, sine) = flat(field), tensors(field, MITO, 1.0)
    total = 0.0
    for region in measure.regionprops(field.nucleus_labels):
        rows, cols = np.nonzero(labels == region.label)
        away = np.arctan2(rows - region.centroid[0], cols - region.centroid[1])
        along = cosine[rows, cols] * np.cos(2 * away) + sine[rows, cols] * np.sin(2 * away)
        total += along.sum()
    return total / strength[labels > 0].sum()


def relative(field, channel):
    plane = field.image[channel].astype(float)
    background = np.median(plane[field.cell_labels == 0])
    return fine(field, channel) / (ndimage.gaussian_filter(plane, 4.0) - background)


def er_coarseness(field):
    """Return how much of the ER's texture is left when it is blurred."""
    plane, inside = relative(field, ER), flat(field) > 0
    return ndimage.gaussian_filter(plane, 1.5)[inside].std() / plane[inside].std()


def er_skew(field):
    return stats.skew(relative(field, ER)[flat(field) > 0])


def directions(field, channel):
    """Return unit vectors from nuclei to a channel's fine light, their length and cells' places.

    Only of cells whose nearest nucleus is nearer than the field's edge.
    """
    light = np.maximum(fine(field, channel, 6.0), 0)
    if channel == AGP:
        # The Golgi apparatus is the brightest; ruffles are at the border.
        light[morphology.erosion(field.cell_labels, morphology.disk(3)) == 0] = 0
    nuclei = measure.regionprops(field.nucleus_labels)
    places = {region.label: np.array(region.centroid) for region in nuclei}
    found = {}
    for number, place in places.items():
        others = np.array([other for k, other in places.items() if k != number])
        apart = np.linalg.norm(others - place, axis=1)
        edge = min(*place, *(np.array(light.shape) - place))
        rows, cols = np.nonzero(
            (field.cell_labels == number) & ~ndimage.binary_erosion(field.nucleus_labels > 0)
        )
        weights = light[rows, cols]
        if channel == AGP:
            weights = np.where(weights >= np.sort(weights)[-40], weights, 0)
        away = np.stack([rows, cols], axis=1) - place
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        mean = np.average(away, axis=0, weights=weights)
        toward = (others[apart.argmin()] - place) / apart.min()
        found[number] = mean, toward if apart.min() < edge else None
    return found


def golgi_on_one_side(field):
    return np.median([np.linalg.norm(mean) for mean, _ in directions(field, AGP).values()])


def golgi_peak(field):
    """Return how much a cell's brightest point of AGP stands out of its 40 brightest."""
    inner, plane = morphology.erosion(field.cell_labels, morphology.disk(3)), fine(field, AGP)
    brightest = [np.sort(plane[inner == k])[-40:] for k in numbers(inner)]
    return np.median([light[-1] / light.mean() for light in brightest])


def toward_neighbour(channel):
    return lambda field: np.mean(
        [
            mean @ toward
            for mean, toward in directions(field, channel).values()
            if toward is not None
        ]
    )


def mito_beside_golgi(field):
    golgi, mito = directions(field, AGP), directions(field, MITO)
    return np.mean([mito[k][0] @ golgi[k][0] / np.linalg.norm(golgi[k][0]) for k in golgi])


def golgi_agreement(field):
    """Return how much cells agree on the side of their Golgi apparatus: 1 if all do."""
    units = [mean / np.linalg.norm(mean) for mean, _ in directions(field, AGP).values()]
    return np.linalg.norm(np.mean(units, axis=0))


# (pattern, effect, other effects, measure, by how much it has to rise or fall)
CASES = [
    ("actin_mesh", 3.0, PLAIN, fibre_agreement, -0.05),
    ("actin_crosswise", 3.0, PLAIN, fibres_along_cells, -0.25),
    ("chromatin_spots", 3.0, PLAIN, chromatin_skew, 0.1),
    ("chromatin_spots", -3.0, PLAIN, chromatin_skew, -0.8),
    ("chromatin_filaments", 3.0, PLAIN, chromatin_lines, 0.02),
    ("mito_fragments", 3.0, PLAIN, mito_pieces, 250),
    ("mito_circling", 3.0, PLAIN, mito_outwards, -0.2),
    ("er_sheets", 3.0, PLAIN, er_coarseness, 0.05),
    ("er_vesicles", 3.0, PLAIN, er_skew, 0.3),
    ("golgi_around", 3.0, GOLGI, golgi_on_one_side, -0.5),
    ("golgi_stacks", 3.0, GOLGI, golgi_peak, 0.25),
    ("mito_polar", 3.0, LIVING, mito_beside_golgi, 0.15),
    ("mito_opposite", 3.0, GOLGI, mito_beside_golgi, -0.35),
    ("mito_to_neighbour", 3.0, GOLGI, toward_neighbour(MITO), 0.15),
    ("mito_to_neighbour", -3.0, GOLGI, toward_neighbour(MITO), -0.15),
    ("golgi_to_neighbour", 3.0, GOLGI, toward_neighbour(AGP), 0.45),
    ("golgi_to_neighbour", -3.0, GOLGI, toward_neighbour(AGP), -0.4),
    ("golgi_common", 3.0, GOLGI, golgi_agreement, 0.4),
]


@functools.cache
def made(effects, fraction=1.0):
    design = ScreenDesign(size=620, cells=45.0, batch_strength=0.0, seed=13)
    typical = {name: factor.typical for name, factor in FACTORS.items()}
    return simulate_field(
        design,
        "S1P1",
        "A01",
        1,
        effects=dict(effects),
        fraction=fraction,
        technique=typical,
    )


def field(effects, fraction=1.0):
    return made(tuple(effects.items()), fraction)


def test_every_pattern_is_measured():
    assert {name for name, *_ in CASES} == {one.name for one in PATTERNS}


@pytest.mark.parametrize(
    ("name", "effect", "others", "measured", "moved"),
    [pytest.param(*case, id=f"{case[0]} {case[1]:+.0f}") for case in CASES],
)
def test_a_pattern_changes_what_it_says(name, effect, others, measured, moved):
    before, after = (measured(field(effects)) for effects in (others, {**others, name: effect}))
    assert (after - before) * np.sign(moved) >= abs(moved)


def amounts(effects):
    """Return mean and standard deviation of every channel in every cell."""
    found = field(effects)
    planes = np.moveaxis(found.image, 0, -1).astype(float)
    names = ("label", "intensity_mean", "intensity_std")
    table = measure.regionprops_table(found.cell_labels, planes, properties=names)
    return pd.DataFrame(table).set_index("label")


SAME_AMOUNTS = [
    pytest.param(moved, id=name)
    for family in ("textures", "organelles", "arrangement")
    for name, moved in CAUSES[family].items()
]


@pytest.mark.parametrize("moved", SAME_AMOUNTS)
def test_areas_and_amounts_are_those_of_controls(moved):
    treated = {**PLAIN, **{name: PLAIN.get(name, 0.0) + value for name, value in moved.items()}}
    assert np.array_equal(field(PLAIN).cell_labels, field(treated).cell_labels)
    assert np.array_equal(field(PLAIN).nucleus_labels, field(treated).nucleus_labels)
    controls = amounts(PLAIN)
    shift = (amounts(treated).mean() - controls.mean()) / controls.std()
    means = [name for name in shift.index if name.startswith("intensity_mean")]
    assert len(means) == 5
    assert shift[means].abs().max() < 0.15
    assert shift.drop(means).abs().max() < 0.3


@pytest.mark.parametrize("make", [spots, filaments])
def test_forms_of_texture_have_the_variance_and_spectrum_of_noise(make):
    def spectrum(field):
        side = len(field)
        power = np.abs(np.fft.fft2(field)) ** 2 / field.size
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
        bands = np.digitize(frequency, np.linspace(0.01, 0.25, 9))
        return ndimage.mean(power, bands, range(1, 9))

    plain, other = (form(stream(5), (512, 512), 1.2) for form in (smooth_noise, make))
    assert (other.mean(), other.std()) == pytest.approx((0, 1), abs=1e-5)
    assert spectrum(other) == pytest.approx(spectrum(plain), rel=0.12)
    assert abs(stats.skew(plain, axis=None)) < 0.1
    assert stats.skew(other, axis=None) > 1


def test_a_fraction_of_cells_is_affected_and_others_are_as_untreated():
    effects = {"nucleus_area": 5.0, "mito_fragments": 3.0}
    few = [c for k in range(60) for c in grow_cells((k,), (400, 400), 0.6, 20.0, effects, 0.1)]
    none = [c for k in range(60) for c in grow_cells((k,), (400, 400), 0.6, 20.0, {}, 0.1)]
    every = [c for k in range(60) for c in grow_cells((k,), (400, 400), 0.6, 20.0, effects)]
    assert not any(cell.affected for cell in none)
    assert all(cell.affected for cell in every)
    part = np.mean([cell.affected for cell in few])
    assert part == pytest.approx(0.1, abs=4 * np.sqrt(0.1 * 0.9 / len(few)))
    for cell, untreated, treated in zip(few, none, every, strict=True):
        assert cell == (treated if cell.affected else untreated)


def test_the_affected_cells_of_a_field_are_large_and_the_table_tells_which():
    effects = {**LIVING, "nucleus_area": 5.0}
    few, all_of_them = field(effects, 0.2), field(effects)
    assert few.cells["affected"].sum() == pytest.approx(0.2 * len(few.cells), abs=8)
    areas = few.cells.groupby("affected")["nucleus_area_px"].median()
    assert areas[True] > 1.5 * areas[False]
    assert areas[True] == pytest.approx(all_of_them.cells["nucleus_area_px"].median(), rel=0.2)
