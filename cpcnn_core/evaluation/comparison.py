"""Run the comparison: embed with every model, score all alike, write tables and one report."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cpcnn_core.errors import CPCNNError, ProfileError, SiteError
from cpcnn_core.evaluation.baselines import standard_profiles
from cpcnn_core.evaluation.classical import ClassicalJob, classical_job, require_cp_measure
from cpcnn_core.evaluation.comparison_scores import (
    ComparisonTask,
    Evaluated,
    PreparedTask,
    evaluate_corrections,
    evaluate_counts,
    planned_wells,
    require_same_cells,
)
from cpcnn_core.evaluation.embedding_runs import Run, run_measured
from cpcnn_core.io.disk import require_room
from cpcnn_core.models.card import ModelCard
from cpcnn_core.models.registry import find_model, is_model_path
from cpcnn_core.profiles.library_files import write_corrected
from cpcnn_core.profiles.wells import well_profiles
from cpcnn_core.schema.columns import CELL_COUNT, PLATE, WELL
from cpcnn_core.schema.profiles import Profiles
from cpcnn_core.screen.job import Job
from cpcnn_core.screen.screens import LabelImages, LoadDataScreen, Screen
from cpcnn_core.screen.site_names import require_names

MODELS_FOLDER, PROFILES_FOLDER = "models", "profiles"
Tell = Callable[[str], None]


@dataclass
class Result:
    """The result of one model.

    Attributes
    ----------
    name : str
    card : ModelCard or None
        None for what is no model.
    run : Run or None
        None for the number of cells, which costs nothing.
    reason : str
        Why there is nothing to evaluate, or what was wrong on the way; else empty.
    evaluated : list of Evaluated
        Before correction, and after.
    """

    name: str
    card: ModelCard | None
    run: Run | None
    reason: str
    evaluated: list[Evaluated]


@dataclass(frozen=True)
class Comparison:
    """All results, and the wells that were evaluated; None if no model's could be."""

    results: list[Result]
    prepared: PreparedTask | None
    task: ComparisonTask


def compare(
    compared_models: Sequence[ComparedModel],
    job: Job,
    task: ComparisonTask,
    program: Sequence[str],
    *,
    classical: bool = False,
    tell: Tell = print,
) -> Comparison:
    """Compare models on the same cells of a screen.

    Parameters
    ----------
    compared_models : sequence of ComparedModel
    job : Job
        What every model does, and in `out` the folder to write to. What is done there with these
        inputs stays, unless `force` says otherwise.
    task : ComparisonTask
    program : sequence of str
        As of `cpcnn_core.evaluation.embedding_runs.run_measured`.
    classical : bool
        Also measure the cells with cp_measure.
    tell : callable (str)
        Called with a line for each step.

    Returns
    -------
    Comparison
        The models in their order, classical measurements, and the number of cells alone.

    Raises
    ------
    CPCNNError
        What cannot be measured on this screen's wells, before any work is done. What goes wrong
        with a model is in its result, and the others continue.
    """
    require_answers(compared_models, job, task, classical=classical)
    out = Path(job.out)
    require_room(out)
    results = []
    for one in compared_models:
        tell(f"{one.name}: embedding")
        run = run_measured(job_of(job, one), program)
        _require_room_after(run, out)
        results.append(Result(one.name, one.card, run, run.reason, []))
        tell(f"{one.name}: {_outcome(run)}")
    if classical:
        tell(f"{CLASSICAL}: measuring")
        run = run_measured(classical_job_of(job), program)
        _require_room_after(run, out)
        results.append(Result(CLASSICAL, None, run, run.reason, []))
        tell(f"{CLASSICAL}: {_outcome(run)}")
    return _evaluate_all(results, task, out)


def require_answers(
    compared_models: Sequence[ComparedModel], job: Job, task: ComparisonTask, *, classical: bool
) -> None:
    """Raise what cannot be measured on a screen, before any work is done.

    Raises
    ------
    CPCNNError
    """
    for one in compared_models:
        job_of(job, one)
    if classical:
        classical_job_of(job)
        require_cp_measure()
    wells = planned_wells(job.screen, task.keep_labels)
    names = wells.metadata[[PLATE, WELL]].astype(str)
    # Sites are looked at by those who write a file for each.
    require_names((plate, well, "1") for plate, well in names.itertuples(index=False))
    evaluate_corrections(task.prepare(wells), task)


def job_of(job: Job, compared_model: ComparedModel) -> Job:
    """Return the job of one model of a comparison, with those of the named channels it can have."""
    screen, card = job.screen, compared_model.card
    if compared_model.masked:
        screen = _masked(screen)
    if isinstance(screen, LoadDataScreen) and not card.takes_any_channels:
        channels = tuple(pair for pair in screen.channels if pair[0] in card.channels)
        screen = dataclasses.replace(screen, channels=channels)
    out = _folder(job, compared_model.name)
    return dataclasses.replace(job, screen=screen, model=compared_model.model, out=out).absolute()


def _masked(screen: Screen) -> LoadDataScreen:
    if not isinstance(screen, LoadDataScreen) or not isinstance(screen.cells, LabelImages):
        raise SiteError("--masked-too needs the cells' outlines: give --load-data and --labels DIR")
    if screen.cells.mask:
        raise SiteError("--masked-too compares masked crops with others: leave --mask out")
    return dataclasses.replace(screen, cells=dataclasses.replace(screen.cells, mask=True))


def classical_job_of(job: Job) -> ClassicalJob:
    """Return the job of the classical measurements of a comparison.

    Raises
    ------
    SiteError
        As of `cpcnn_core.evaluation.classical.classical_job`.
    """
    return classical_job(dataclasses.replace(job, out=_folder(job, CLASSICAL)).absolute())


def _folder(job: Job, name: str) -> str:
    return str(Path(job.out) / MODELS_FOLDER / name)


def _require_room_after(run: Run, out: Path) -> None:
    """Stop where a run failed because the disk is full: so would all that follow."""
    if run.reason:
        require_room(out)


def _outcome(run: Run) -> str:
    more = "".join(f"; {said}" for said in (run.redone, run.damage) if said)
    if run.reason:
        return f"{run.reason}{more}"
    if run.cost is None:
        return f"done{more}"
    return f"done; {run.cost.cells} cells took {run.cost.seconds:.0f} s{more}"


def _evaluate_all(results: list[Result], task: ComparisonTask, out: Path) -> Comparison:
    tables: dict[str, Profiles] = {}
    for result in results:
        if result.run is not None and result.run.finished:
            try:
                tables[result.name] = well_profiles(
                    [result.run.out], keep_labels=task.keep_labels, tell=task.tell
                )
            except CPCNNError as error:
                result.reason = _also(result.reason, error)
    if not tables:
        return Comparison(results, None, task)
    # Those with most cells: who has fewer has lost some.
    reference = max(tables, key=lambda name: int(tables[name].metadata[CELL_COUNT].sum()))
    for result in results:
        if result.name in tables:
            try:
                require_same_cells(tables[result.name], tables[reference], reference)
                result.evaluated = _evaluate_one(tables[result.name], task, result)
            except CPCNNError as error:
                result.reason = _also(result.reason, error)
            else:
                _write(result, out / PROFILES_FOLDER)
    prepared = task.prepare(tables[reference])
    results.append(_count_cells(prepared, task))
    return Comparison(results, prepared, task)


def _evaluate_one(wells: Profiles, task: ComparisonTask, result: Result) -> list[Evaluated]:
    prepared = task.prepare(wells)
    if result.name == CLASSICAL:
        prepared = dataclasses.replace(prepared, wells=standard_profiles(prepared.wells))
    return evaluate_corrections(prepared, task)


def _count_cells(prepared: PreparedTask, task: ComparisonTask) -> Result:
    result = Result(NUMBER_OF_CELLS, None, None, "", [])
    try:
        result.evaluated = [evaluate_counts(prepared, task)]
    except ProfileError as error:
        # All wells have as many: no fault of anybody's, and nothing to find by it.
        result.reason = str(error)
    return result


def _also(reason: str, error: Exception) -> str:
    return f"{reason}; {error}" if reason else str(error)


def _write(result: Result, folder: Path) -> None:
    for evaluated in result.evaluated:
        name = f"{result.name}{'-sphered' if evaluated.correction.steps else ''}.parquet"
        write_corrected(evaluated.wells, evaluated.correction, folder / name)


CLASSICAL, NUMBER_OF_CELLS, MASKED = "classical", "number of cells", "-masked"


@dataclass(frozen=True)
class ComparedModel:
    """A model that takes part.

    Attributes
    ----------
    name : str
        In tables, and of its folder.
    model : str
        Name or file, as ``cpcnn embed --model`` takes it.
    card : ModelCard
    masked : bool
        Whether its crops are masked, though those of others are not.
    """

    name: str
    model: str
    card: ModelCard
    masked: bool = False


def find_compared_models(texts: Sequence[str], *, masked_too: bool = False) -> list[ComparedModel]:
    """Find the models that are to be compared.

    Parameters
    ----------
    texts : sequence of str
        ``MODEL``, a name or a file, or ``NAME=MODEL``. A file without a name is called what
        the file is called.

    Returns
    -------
    list of ComparedModel

    Raises
    ------
    ModelNotFoundError
        A model that is not known or not on this machine.
    ProfileError
        Two of one name, a model twice, or a name that cannot name a folder.

    Examples
    --------
    >>> [one.name for one in find_compared_models(["untrained-efficientnet-b0"])]
    ['untrained-efficientnet-b0']
    >>> find_compared_models(["untrained-efficientnet-b0", "again=untrained-efficientnet-b0"])
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: untrained-efficientnet-b0 is there twice; ...
    """
    found: dict[str, ComparedModel] = {}
    models = set()
    for text in texts:
        name, equals, model = text.partition("=")
        if not equals:
            name, model = (Path(text).stem if is_model_path(text) else text), text
        if not re.fullmatch(r"\w[\w.+-]*", name) or not model:
            raise ProfileError(
                f"expected MODEL or NAME=MODEL with a name of letters, digits and ._+-, got {text}"
            )
        if name in (CLASSICAL, NUMBER_OF_CELLS):
            raise ProfileError(
                f"{name} is what the classical measurements are called; rename {text}"
            )
        card, path = find_model(model)
        if (path or model) in models:
            raise ProfileError(f"{model} is there twice; name every model once")
        if name in found:
            raise ProfileError(
                f"{found[name].model} and {model} would both be called {name}; name them: "
                f"NAME={model}"
            )
        models.add(path or model)
        found[name] = ComparedModel(name, model, card)
    if not masked_too:
        return list(found.values())
    taken = [name for name in found if f"{name}{MASKED}" in found]
    if taken:
        raise ProfileError(
            f"{taken[0]}{MASKED} is what {taken[0]} with masked crops is called; rename that model"
        )
    with_masked = []
    for one in found.values():
        with_masked += [one, dataclasses.replace(one, name=f"{one.name}{MASKED}", masked=True)]
    return with_masked
