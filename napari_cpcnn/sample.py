"""A made-up field of cells in five channels, for a first try without images."""

from __future__ import annotations

import numpy as np

from cpcnn_core.models.registry import CELL_PAINTING_CHANNELS

SIDE_PX, CELLS, SEED = 1080, 90, 7
NUCLEUS_PX, CELL_PX = 17, 42
COLORS = {"DNA": "blue", "RNA": "green", "ER": "yellow", "AGP": "magenta", "Mito": "red"}


def made_up_fields() -> list[tuple[np.ndarray, dict, str]]:
    """Make the layers of one field: five channels and the nuclei's labels.

    Cells on the left half are round with diffuse mitochondria, those on the right long with
    bundled ones: two treatments to be told apart.

    Returns
    -------
    list of (data, options, kind)
        Layers as napari takes them; images (1080, 1080) uint16, labels int32.

    Examples
    --------
    >>> layers = made_up_fields()
    >>> [options["name"] for _, options, _ in layers]
    ['DNA', 'RNA', 'ER', 'AGP', 'Mito', 'nuclei']
    """
    channels, labels = _draw(np.random.default_rng(SEED))
    layers = [
        (
            channels[name],
            {
                "name": name,
                "colormap": COLORS[name],
                "blending": "additive",
                "contrast_limits": (0, float(np.percentile(channels[name], 99.8))),
            },
            "image",
        )
        for name in CELL_PAINTING_CHANNELS
    ]
    return [*layers, (labels, {"name": "nuclei", "opacity": 0.4}, "labels")]


def _draw(random: np.random.Generator) -> tuple[dict[str, np.ndarray], np.ndarray]:
    from scipy.ndimage import gaussian_filter

    planes = {name: np.zeros((SIDE_PX, SIDE_PX), np.float32) for name in CELL_PAINTING_CHANNELS}
    labels = np.zeros((SIDE_PX, SIDE_PX), np.int32)
    for number, center in enumerate(_places(random), start=1):
        _draw_cell(planes, labels, number, center, center[1] > SIDE_PX / 2, random)
    shading = 1 + 0.15 * np.linspace(-1, 1, SIDE_PX)[:, None] * np.linspace(-1, 1, SIDE_PX)
    made = {}
    for name, plane in planes.items():
        light = 300 + 9000 * gaussian_filter(plane, 1.2) * shading
        made[name] = (random.poisson(light / 4) * 4).clip(0, 65535).astype(np.uint16)
    return made, labels


def _places(random: np.random.Generator) -> list[np.ndarray]:
    """Draw centres that keep a nucleus's width between each other."""
    places: list[np.ndarray] = []
    while len(places) < CELLS:
        place = random.uniform(NUCLEUS_PX, SIDE_PX - NUCLEUS_PX, 2)
        if all(np.hypot(*(place - other)) > 2.6 * NUCLEUS_PX for other in places):
            places.append(place)
    return places


def _draw_cell(
    planes: dict[str, np.ndarray],
    labels: np.ndarray,
    number: int,
    center: np.ndarray,
    is_long: bool,
    random: np.random.Generator,
) -> None:
    reach = 2 * CELL_PX
    top, left = (max(0, int(middle) - reach) for middle in center)
    window = np.s_[top : int(center[0]) + reach, left : int(center[1]) + reach]
    rows, cols = np.indices(labels[window].shape, dtype=np.float32)
    y, x = rows + top - center[0], cols + left - center[1]
    angle, stretch = random.uniform(0, np.pi), 2.2 if is_long else random.uniform(1, 1.25)
    along, across = (
        x * np.cos(angle) + y * np.sin(angle),
        y * np.cos(angle) - x * np.sin(angle),
    )
    # The outline wobbles, as that of cells does.
    turn = np.arctan2(across, along)
    wobble = 1 + sum(
        random.normal(0, 0.06) * np.cos(k * turn + random.uniform(0, 6)) for k in range(2, 6)
    )
    size = random.uniform(0.85, 1.15)
    body = np.hypot(along / stretch, across * np.sqrt(stretch)) / (CELL_PX * size * wobble)
    nucleus = np.hypot(along / np.sqrt(stretch), across * stretch**0.25) / (NUCLEUS_PX * size)
    inside, core = 1 / (1 + np.exp(12 * (body - 1))), 1 / (1 + np.exp(14 * (nucleus - 1)))
    grain = _texture(body.shape, 2.5, random)
    strands = np.abs(
        np.sin(across / (2.2 if is_long else 4.0) + 3 * _texture(body.shape, 9, random))
    )
    bright = random.uniform(0.75, 1.25)
    planes["DNA"][window] += bright * core * (0.75 + 0.5 * grain)
    planes["RNA"][window] += bright * (0.25 * inside + 0.5 * core * (grain > 0.75))
    planes["ER"][window] += (
        bright * inside * (1 - 0.7 * core) * (0.4 + 0.5 * grain) * (1.3 - 0.6 * body)
    )
    edge = np.exp(-(((body - 0.95) / 0.09) ** 2))
    planes["AGP"][window] += bright * (0.5 * edge + 0.2 * inside * strands)
    mito = strands**4 * (1.2 - 0.4 * body) if is_long else 0.5 * grain**2
    planes["Mito"][window] += bright * inside * (1 - core) * mito
    mine = (nucleus < 1) & (labels[window] == 0)
    labels[window][mine] = number


def _texture(shape: tuple[int, int], grain_px: float, random: np.random.Generator) -> np.ndarray:
    """Make smooth noise from 0 to 1."""
    from scipy.ndimage import gaussian_filter

    noise = gaussian_filter(random.normal(size=shape).astype(np.float32), grain_px)
    return (noise - noise.min()) / max(float(np.ptp(noise)), 1e-6)
