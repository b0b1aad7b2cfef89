"""Train a model further on a screen of one's own, and tell whether that was worth it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from cpcnn_core.crop_store.store import combine_stores, open_crops
from cpcnn_core.errors import TrainingError
from cpcnn_core.evaluation.intervals import bootstrap_interval
from cpcnn_core.io.atomic import write_atomically
from cpcnn_core.io.json_files import parse_json
from cpcnn_core.models.card import EFFICIENTNET_B0, ONE_BY_ONE
from cpcnn_core.models.card_schema import TIMM_PREFIX
from cpcnn_core.models.registry import find_model
from cpcnn_core.schema.columns import PLATE, TREATMENT, metadata_column
from cpcnn_core.training.batches import CropReader
from cpcnn_core.training.cells import gather_cells
from cpcnn_core.training.config import CPCNN, EACH, TOGETHER
from cpcnn_core.training.config_files import config_from
from cpcnn_core.training.processes import start_accelerator
from cpcnn_core.training.starting_weights import make_network
from cpcnn_core.training.treatment_search import search_treatments

if TYPE_CHECKING:
    from cpcnn_core.models.card import ModelCard
    from cpcnn_core.training.config import TrainingConfig
    from cpcnn_core.training.treatment_search import TreatmentSearch

# With as many plates of every treatment, one is left after one validates and one is held out.
MIN_PLATES = 3
REPORT_FILE, PLACEBO_FOLDER = "fine_tuning.json", "placebo"
BOTH = "mean of both"


def fine_tuning_config(
    model: str,
    crops: Sequence[str],
    *,
    label: str = TREATMENT,
    controls: str = "",
    out: str = "training",
    **entries: dict[str, object],
) -> TrainingConfig:
    """Return the entries that train a model further, with what is held out to judge it by.

    Parameters
    ----------
    model : str
        Name or file of the model to start from.
    crops : sequence of str
        Folders that ``cpcnn crops`` wrote, one for each study.
    label : str
        The column of the classes.
    controls : str
        Expression for the wells that are negative controls.
    out : str
    **entries : dict
        Tables of entries that are changed, e.g. ``training={"epochs": 3}``.

    Returns
    -------
    TrainingConfig
        The recipe ``cpcnn``. A fifth of the plates is held out and a fifth of the others
        validates; where a treatment has fewer than `MIN_PLATES` plates, of the wells.

    Raises
    ------
    ModelNotFoundError, WeightsError, CropStoreError
    TrainingError
        A model that cannot be trained further.

    Examples
    --------
    >>> len(store)  # what cpcnn crops wrote to the folder crops
    17
    >>> config = fine_tuning_config("untrained-efficientnet-b0", ["crops"], label="Site")
    >>> config.network.backbone, config.split.kind, config.evaluation.keep
    ('efficientnet_b0', 'wells', 'best')
    """
    table: dict[str, object] = {
        "recipe": CPCNN,
        "data": {"label": label, "studies": [{"crops": folder} for folder in crops]},
        "network": _network_entries(find_model(model)[0]) | {"initialization": model},
        "split": {"kind": _unit(crops, label), "fraction": 0.2, "held_out_fraction": 0.2},
        "evaluation": {"controls": controls, "keep": "best", "patience": 3},
        "run": {"out": out},
    }
    for name, changed in entries.items():
        given = table.get(name, {})
        table[name] = {**given, **changed} if isinstance(given, dict) else changed
    return config_from(table)


def _network_entries(card: ModelCard) -> dict[str, object]:
    of_timm = card.architecture.startswith(TIMM_PREFIX)
    backbone = card.architecture.removeprefix(TIMM_PREFIX)
    if of_timm and card.channel_mode in ONE_BY_ONE:
        return {"backbone": backbone, "channels": EACH, "input_px": card.seen_px}
    as_cut = card.seen_px == card.crop_px and card.standardizer == "none"
    if (of_timm or card.architecture == EFFICIENTNET_B0) and as_cut:
        tap = "auto" if of_timm else card.tap
        return {"backbone": backbone, "channels": TOGETHER, "input_px": 0, "tap": tap}
    raise TrainingError(
        f"{card.name} cannot be trained further: expected a network of timm that takes each "
        "channel by itself, or one that takes crops as they are cut, got "
        f"{card.architecture} with the standardizer {card.standardizer} and {card.seen_px} px; "
        "choose another: cpcnn models list"
    )


def _unit(crops: Sequence[str], label: str) -> str:
    """Choose what is held out: plates where every treatment is on enough of them, else wells."""
    store = combine_stores({f"{n}": open_crops(folder) for n, folder in enumerate(crops)})
    labels, plates = store.column(metadata_column(label)), store.column(PLATE)
    if len(crops) > 1:
        labels = np.char.add(np.char.add(store.column("Metadata_Study"), "/"), labels)
    pairs = np.unique(np.stack([labels.astype(str), plates.astype(str)]), axis=1)
    _, counts = np.unique(pairs[0], return_counts=True)
    return "plates" if counts.min() >= MIN_PLATES else "wells"


@dataclasses.dataclass(frozen=True)
class FineTuningReport:
    """The model that was started from, and the one that was trained, on the same held-out wells.

    Attributes
    ----------
    start : str
        Name of the model that was started from.
    wells, treatments : int
        Held-out wells that were queries, and their treatments.
    chance : float
        What a random order is expected to reach.
    frozen, trained, difference : dict of str to dict
        By correction: ``mean``, ``low`` and ``high`` of 1 / rank of each well's own treatment
        among all; of the difference, well by well. Intervals are 95 % of a bootstrap over
        treatments.
    epoch : int
        The epoch that became the model; 0: the model is the one that was started from.
    placebo : dict of str to dict or None
        The difference after a training on shuffled treatments; None where there was none.
    """

    start: str
    wells: int
    treatments: int
    chance: float
    frozen: dict[str, dict[str, float | None]]
    trained: dict[str, dict[str, float | None]]
    difference: dict[str, dict[str, float | None]]
    epoch: int
    placebo: dict[str, dict[str, float | None]] | None = None

    @property
    def verdict(self) -> str:
        """Whether it was worth it, in a sentence that says no more than the interval does."""
        low, high = self.difference[BOTH]["low"], self.difference[BOTH]["high"]
        if self.epoch == 0:
            return f"no epoch was better than {self.start}: keep it"
        if low is not None and low > 0:
            return f"worth it: wells find their treatment better than with {self.start}"
        if high is not None and high < 0:
            return f"not worth it: keep {self.start}, with which wells find their treatment better"
        return (
            f"not shown to be worth it, the interval includes 0: keep {self.start}, or train on "
            "more wells"
        )

    @property
    def lines(self) -> tuple[str, ...]:
        """The report for a reader, line by line."""
        what = f"{self.wells} held-out wells of {self.treatments} treatments"
        lines = [f"{what} search their treatment, mean 1 / rank (chance {self.chance:.3f}):"]
        found = {self.start: self.frozen, "trained": self.trained, "difference": self.difference}
        if self.placebo is not None:
            found["difference of the placebo"] = self.placebo
        for correction in self.frozen:
            values = (f"{name} {_interval(one[correction])}" for name, one in found.items())
            lines.append(f"  {correction}: {'; '.join(values)}")
        if self.placebo is None:
            lines.append("no placebo: --placebo trains once more, on shuffled treatments")
        return (*lines, self.verdict)


def placebo_config(config: TrainingConfig) -> TrainingConfig:
    """Return the entries of the same training on shuffled treatments, in a folder of its own.

    Examples
    --------
    >>> len(store)  # what cpcnn crops wrote to the folder crops
    17
    >>> config = fine_tuning_config("untrained-efficientnet-b0", ["crops"], label="Site")
    >>> placebo_config(config).data.shuffled, placebo_config(config).run.out
    (True, 'training/placebo')
    """
    run = dataclasses.replace(
        config.run, out=(Path(config.run.out) / PLACEBO_FOLDER).as_posix(), name=""
    )
    data = dataclasses.replace(config.data, shuffled=True)
    return dataclasses.replace(config, data=data, run=run)


def compare_with_start(
    config: TrainingConfig, path: str | Path, placebo: FineTuningReport | None = None
) -> FineTuningReport:
    """Compare a trained model with the one it was started from, on wells that were held out.

    Parameters
    ----------
    config : TrainingConfig
        Of the training; something is held out.
    path : str or Path
        The trained model.
    placebo : FineTuningReport, optional
        Of the training of `placebo_config`.

    Returns
    -------
    FineTuningReport
        Also written to ``run.out``, as `REPORT_FILE`.

    Raises
    ------
    TrainingError
        Nothing was held out, or no held-out well has a treatment to find.
    """
    cells = gather_cells(config)
    if cells.held_out is cells.validation:
        raise TrainingError("nothing was held out to compare models on; set split.held_out")
    accelerator = start_accelerator(config.run)
    reader = CropReader(cells.store, config.run.workers, pin=accelerator.device.type == "cuda")
    searches: list[TreatmentSearch] = []
    with torch.random.fork_rng():
        for model in (config.network.initialization, str(path)):
            entries = dataclasses.replace(config.network, initialization=model)
            network, _ = make_network(
                entries, cells.store.channels, cells.store.crop_px, cells.classes, config.run.seed
            )
            network = network.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch takes it
            searches.append(
                search_treatments(
                    network, accelerator, reader, cells, cells.held_out, config.evaluation
                )
            )
    accelerator.end_training()
    card = find_model(path)[0]
    epoch = parse_json(card.provenance["evaluation"])["epoch"]
    frozen, trained = searches
    start = find_model(config.network.initialization)[0].name
    report = _report(start, frozen, trained, epoch)
    if placebo is not None:
        report = dataclasses.replace(report, placebo=placebo.difference)
    text = json.dumps(dataclasses.asdict(report) | {"verdict": report.verdict}, indent=2)
    file = Path(config.run.out) / REPORT_FILE
    write_atomically(file, lambda place: place.write_text(text + "\n", encoding="utf-8"))
    return report


def _report(
    start: str, frozen: TreatmentSearch, trained: TreatmentSearch, epoch: int
) -> FineTuningReport:
    treatments = frozen.treatments

    def intervals(
        values: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, dict[str, float | None]]:
        if others is not None:
            values = {name: value - others[name] for name, value in values.items()}
        named = {**values, BOTH: np.mean(list(values.values()), axis=0)}
        return {name: bootstrap_interval(value, treatments) for name, value in named.items()}

    return FineTuningReport(
        start=start,
        wells=len(treatments),
        treatments=len(set(treatments)),
        chance=float(frozen.chance.mean()),
        frozen=intervals(frozen.found),
        trained=intervals(trained.found),
        difference=intervals(trained.found, frozen.found),
        epoch=epoch,
    )


def _interval(found: dict[str, float | None]) -> str:
    mean, low, high = found["mean"], found["low"], found["high"]
    return f"{mean:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")
