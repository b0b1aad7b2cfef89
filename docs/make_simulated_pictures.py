"""Draw the pictures of docs/simulate.md, and measure simulated fields beside a real one.

Needs a folder with the CPJUMP1 example images (``index.csv`` with a column for every channel and
one for the treatment). Run it from the project's folder::

    python docs/make_simulated_pictures.py FOLDER
"""

import argparse
import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from PIL import Image, ImageDraw
from scipy import ndimage
from skimage import filters, measure

from cpcnn_core.simulation.design import ScreenDesign
from cpcnn_core.simulation.field import simulate_field
from cpcnn_core.simulation.layout import find_well
from cpcnn_core.simulation.technique import CHANNELS, FACTORS, technique_of_well
from cpcnn_core.simulation.treatments import CAUSES, MECHANISMS

IMAGES = Path(__file__).parent / "images"
TYPICAL = {name: factor.typical for name, factor in FACTORS.items()}
# As large and as dense as the real field.
LIKE_REAL = ScreenDesign(size=1080, cells=105)
FIELDS = 4
# Colours in which AGP, RNA and DNA, or Mito, ER and DNA, are laid over each other.
SHOWN = ("AGP", "RNA", "DNA"), ("Mito", "ER", "DNA")
# Of every family three causes, each with the channel that shows it; side of a tile, and of the part
# of a field in it.
SHOWN_CAUSES = {
    "textures": {
        "actin mesh": "AGP",
        "chromatin holes": "DNA",
        "chromatin filaments": "DNA",
    },
    "organelles": {
        "fragmented mitochondria": "Mito",
        "ER vesicles": "ER",
        "Golgi around the nucleus": "AGP",
    },
    "arrangement": {
        "mitochondria opposite to the Golgi": "Mito",
        "Golgi to the neighbour": "AGP",
        "actin fibres crosswise": "AGP",
    },
    "subpopulations": {
        "few giant nuclei": "DNA",
        "few with bright mitochondria": "Mito",
        "few without RNA synthesis": "RNA",
    },
}
TILE_PX, NEAR_PX, WELL_PX, FEW = 220, 150, 260, 0.15
# Limits of spatial frequency, in periods per pixel.
BANDS = (0.002, 0.02, 0.04, 0.08, 0.16, 0.3)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=IMAGES)
    options = parser.parse_args()
    real = read_untreated(options.folder)
    simulated = [untreated(seed) for seed in range(1, FIELDS + 1)]
    save(beside_each_other(real, simulated[0]), options.out / "simulated_beside_real.jpg")
    save(all_mechanisms(), options.out / "simulated_mechanisms.jpg")
    save(studies(), options.out / "simulated_studies.jpg")
    save(other_causes(), options.out / "simulated_causes.jpg")
    print_tables(real, simulated)
    print_amounts()


def read_untreated(folder):
    sites = pd.read_csv(folder / "index.csv", dtype=str).set_index("treatment")
    return np.stack([tifffile.imread(folder / sites.loc["DMSO", name]) for name in CHANNELS])


def untreated(seed):
    design = dataclasses.replace(LIKE_REAL, seed=seed)
    return simulate_field(design, "S1P1", "A01", 1, effects={}, technique=TYPICAL).image


def beside_each_other(real, simulated):
    rows = []
    for image in (real, simulated):
        parts = [
            grey(plane, np.percentile(plane, [0.5, 99.7]))[270:590, 270:590] for plane in image
        ]
        rows.append(np.hstack(parts))
    return np.vstack(rows)


def all_mechanisms():
    design = ScreenDesign(size=260, cells=10, seed=5)
    tiles = []
    for name, effects in {"untreated": {}, **MECHANISMS}.items():
        image = simulate_field(design, "S1P1", "A01", 1, effects=effects, technique=TYPICAL).image
        if not tiles:
            limits = [np.percentile(plane, [0.5, 99.0]) for plane in image]
        tiles.append(titled(colours(image, limits), name))
    return grid(tiles, 3)


def other_causes():
    rows = []
    for family, causes in SHOWN_CAUSES.items():
        side = WELL_PX if family == "subpopulations" else NEAR_PX
        fraction = FEW if family == "subpopulations" else 1.0
        design = ScreenDesign(size=side, cells=16 * (side / 200) ** 2, seed=7, causes=(family,))
        row = []
        for name, channel in causes.items():
            planes = [
                simulate_field(
                    design,
                    "S1P1",
                    "A01",
                    1,
                    effects=effects,
                    fraction=fraction,
                    technique=TYPICAL,
                ).image[CHANNELS.index(channel)]
                for effects in ({}, CAUSES[family][name])
            ]
            limits = np.percentile(planes[0], [5, 98])
            pair = [np.asarray(enlarged(grey(plane, limits))) for plane in planes]
            row.append(titled(np.hstack([*pair, np.zeros((TILE_PX, 6), np.uint8)]), name))
        rows.append(np.hstack(row))
    return np.vstack(rows)


def enlarged(plane):
    return Image.fromarray(plane).resize((TILE_PX, TILE_PX), Image.Resampling.BICUBIC)


def print_amounts():
    """Print how far causes move a cell's area and intensities, in SDs between controls."""
    controls = amounts({})
    rows = {}
    for family, causes in CAUSES.items():
        if family in ("classical", "subpopulations"):
            continue
        for name, effects in causes.items():
            rows[name] = (amounts(effects).mean() - controls.mean()) / controls.std()
    table = pd.DataFrame(rows).T.rename(columns=lambda name: name.replace("intensity_", ""))
    print(f"{len(controls)} cells\n{table.round(2).to_string()}")


def amounts(effects):
    """Return area, and mean and SD of every channel, of the living cells of fields, a row each."""
    tables = []
    for seed in range(1, FIELDS + 1):
        design = ScreenDesign(seed=seed, causes=("textures",))
        field = simulate_field(design, "S1P1", "A01", 1, effects=effects, technique=TYPICAL)
        planes = np.moveaxis(field.image, 0, -1).astype(float)
        names = ("area", "intensity_mean", "intensity_std")
        table = pd.DataFrame(measure.regionprops_table(field.cell_labels, planes, properties=names))
        tables.append(table[field.cells["state"] == "interphase"])
    return pd.concat(tables, ignore_index=True)


def studies():
    design = ScreenDesign(size=300, cells=13, seed=5, studies=3, treatments=1, shared=1)
    tiles = []
    for plate in ("S1P1", "S1P2", "S2P1", "S2P2", "S3P1", "S3P2"):
        technique = technique_of_well(design, find_well(design, plate, "B02"))
        same_cells = "S1P1", "A01", 1
        image = simulate_field(design, *same_cells, effects={}, technique=technique).image
        if not tiles:
            limits = [np.percentile(plane, [0.5, 99.0]) for plane in image]
        tiles.append(titled(colours(image, limits), plate))
    return grid(tiles, 2)


def grey(plane, limits):
    low, high = limits
    return np.uint8(255 * np.clip((plane - low) / (high - low), 0, 1) ** 0.8)


def colours(image, limits):
    planes = {
        name: grey(plane, limit) for name, plane, limit in zip(CHANNELS, image, limits, strict=True)
    }
    return np.hstack([np.dstack([planes[name] for name in three]) for three in SHOWN])


def titled(tile, text):
    picture = Image.fromarray(tile)
    ImageDraw.Draw(picture).text((6, 4), text, fill="white")
    return np.asarray(picture)


def grid(tiles, columns):
    rows = [np.hstack(tiles[at : at + columns]) for at in range(0, len(tiles), columns)]
    return np.vstack(rows)


def save(array, path):
    Image.fromarray(array).save(path, quality=75)
    print(f"wrote {path}")


def print_tables(real, simulated):
    print(f"\nOne real field, and the mean of {len(simulated)} simulated ones:\n")
    measured = [measure_field(image) for image in simulated]
    of_real = measure_field(real)
    for title in of_real:
        rows = {"real": of_real[title]}
        rows["simulated"] = np.mean([one[title] for one in measured], axis=0)
        table = pd.DataFrame(rows, index=columns_of(title))
        print(f"{title}\n{table.T.round(2).to_string()}\n")


def columns_of(title):
    if title == "nuclei":
        return ["per field", "area (px)", "length by width", "part covered by cells"]
    if title.endswith("spectrum"):
        return [f"{low}-{high}" for low, high in itertools.pairwise(BANDS)]
    return [
        "q1",
        "q25",
        "q50",
        "q75",
        "q95",
        "q99",
        "background",
        "nucleus",
        "0-4",
        "12-16",
        "24-28",
    ]


def measure_field(image):
    """Return quantiles, levels at distances (px) from nuclei, and the power spectrum (log10)."""
    smooth = ndimage.gaussian_filter(image[0].astype(float), 1.5)
    nuclei = measure.label(smooth > filters.threshold_otsu(np.minimum(smooth, 15000)))
    regions = [r for r in measure.regionprops(nuclei) if 200 < r.area < 2500 and r.solidity > 0.9]
    cells = ndimage.gaussian_filter(image[1].astype(float), 2) > 1500
    far = ndimage.distance_transform_edt(nuclei == 0)
    ratio = np.median([r.axis_major_length / r.axis_minor_length for r in regions])
    area = np.median([r.area for r in regions])
    found = {"nuclei": [len(regions), area, ratio, cells.mean()]}
    for name, plane in zip(CHANNELS, image, strict=True):
        background = np.median(plane[~cells])
        levels = [np.median([np.mean(plane[r.slice][r.image]) for r in regions])]
        levels += [np.median(plane[cells & (far > d) & (far <= d + 4)]) for d in (0, 12, 24)]
        found[name] = [
            *np.percentile(plane, [1, 25, 50, 75, 95, 99]),
            background,
            *(level - background for level in levels),
        ]
        found[f"{name} spectrum"] = spectrum(plane)
    return found


def spectrum(plane, side=512):
    """Return the log10 of each band's part of the variance; what is saturated is cut off."""
    plane = np.minimum(plane.astype(float), np.percentile(plane, 99.5))
    window = np.outer(np.hanning(side), np.hanning(side))
    power = np.zeros((side, side))
    for row in range(0, plane.shape[0] - side + 1, side // 2):
        for column in range(0, plane.shape[1] - side + 1, side // 2):
            tile = plane[row : row + side, column : column + side]
            power += np.abs(np.fft.fft2(window * (tile - tile.mean()) / tile.std())) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    parts = [
        power[(frequency >= low) & (frequency < high)].sum()
        for low, high in itertools.pairwise(BANDS)
    ]
    return np.log10(np.divide(parts, power.sum()))


if __name__ == "__main__":
    main()
