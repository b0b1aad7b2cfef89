"""Run the comparison: embed with every model, score all alike, write tables and one report."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from cpcnn_core.errors import CPCNNError, ProfileError, SiteError
from cpcnn_core.evaluation.baselines import standard_profiles
from cpcnn_core.evaluation.classical import LOG_FILE as CLASSICAL_LOG
from cpcnn_core.evaluation.classical import require_cp_measure
from cpcnn_core.evaluation.comparison_scores import (
    Judged,
    Posed,
    Question,
    judge,
    judge_counts,
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
from cpcnn_core.screen.run_log import LOG_FILE
from cpcnn_core.screen.site_names import require_names

MODELS_FOLDER, PROFILES_FOLDER = "models", "profiles"
Tell = Callable[[str], None]


@dataclass
class Result:
    """The result of one contestant.

    Attributes
    ----------
    name : str
    card : ModelCard or None
        None for what is no model.
    run : Run or None
        None for the number of cells, which costs nothing.
    reason : str
        Why there is nothing to judge, or what was wrong on the way; else empty.
    judged : list of Judged
        Before correction, and after.
    """

    name: str
    card: ModelCard | None
    run: Run | None
    reason: str
    judged: list[Judged]


@dataclass(frozen=True)
class Comparison:
    """All results, and the wells that were asked; None if no contestant's could be."""

    results: list[Result]
    posed: Posed | None
    question: Question


def compare(
    contestants: Sequence[Contestant],
    job: Job,
    question: Question,
    embed: Callable[[Contestant, Path], list[str]],
    *,
    classical: bool = False,
    tell: Tell = print,
) -> Comparison:
    """Compare models on the same cells of a screen.

    Parameters
    ----------
    contestants : sequence of Contestant
    job : Job
        The screen, and in `out` the folder to write to. What is done there with these inputs
        stays, unless `force` says otherwise.
    question : Question
    embed : callable (Contestant, Path) -> list of str
        The words after ``python -m`` that embed the screen with a model into a folder.
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
        What cannot be asked of this screen's wells, before any work is done. What goes wrong
        with a model is in its result, and the others continue.

    Examples
    --------
    >>> compare(contestants, job, question, embed)  # doctest: +SKIP
    """
    require_answers(job, question, classical=classical)
    out = Path(cast("str", job.out))
    require_room(out)
    results = []
    for one in contestants:
        folder = folder_of(job, one.name)
        tell(f"{one.name}: embedding")
        run = run_measured(embed(one, folder), folder, folder / LOG_FILE)
        _require_room_after(run, out)
        results.append(Result(one.name, one.card, run, run.reason, []))
        tell(f"{one.name}: {_outcome(run)}")
    if classical:
        folder = folder_of(job, CLASSICAL)
        tell(f"{CLASSICAL}: measuring")
        text = json.dumps(dataclasses.asdict(dataclasses.replace(job, out=str(folder))))
        words = ["cpcnn_core.evaluation.classical", text]
        run = run_measured(words, folder, folder / CLASSICAL_LOG)
        _require_room_after(run, out)
        results.append(Result(CLASSICAL, None, run, run.reason, []))
        tell(f"{CLASSICAL}: {_outcome(run)}")
    return _judge_all(results, question, out)


def require_answers(job: Job, question: Question, *, classical: bool) -> None:
    """Raise what cannot be asked of a screen, before any work is done.

    Raises
    ------
    CPCNNError

    Examples
    --------
    >>> require_answers(job, question, classical=False)  # doctest: +SKIP
    """
    if classical:
        _require_outlines(job)
        require_cp_measure()
    wells = planned_wells(job, question.keep_labels)
    names = wells.metadata[[PLATE, WELL]].astype(str)
    # Sites are looked at by those who write a file for each.
    require_names((plate, well, "1") for plate, well in names.itertuples(index=False))
    judge(question.pose(wells), question)


def folder_of(job: Job, name: str) -> Path:
    """Return the folder of a contestant's features.

    Examples
    --------
    >>> folder_of(Job(out="compared"), "classical").as_posix()
    'compared/models/classical'
    """
    return Path(cast("str", job.out)) / MODELS_FOLDER / name


def _require_room_after(run: Run, out: Path) -> None:
    """Stop where a run failed because the disk is full: so would all that follow."""
    if run.reason:
        require_room(out)


def _require_outlines(job: Job) -> None:
    if job.deepprofiler or not job.labels:
        raise SiteError("--classical measures outlines: give --load-data and --labels DIR")
    if not job.channels:
        raise SiteError("--classical has no channels of its own: name them, --channels DNA=DNA ...")


def _outcome(run: Run) -> str:
    more = "".join(f"; {said}" for said in (run.anew, run.damage) if said)
    if run.reason:
        return f"{run.reason}{more}"
    if run.cost is None:
        return f"done{more}"
    return f"done; {run.cost.cells} cells took {run.cost.seconds:.0f} s{more}"


def _judge_all(results: list[Result], question: Question, out: Path) -> Comparison:
    tables: dict[str, Profiles] = {}
    for result in results:
        if result.run is not None and result.run.finished:
            try:
                tables[result.name] = well_profiles(
                    [result.run.out], keep_labels=question.keep_labels, tell=question.tell
                )
            except CPCNNError as error:
                result.reason = _also(result.reason, error)
    if not tables:
        return Comparison(results, None, question)
    # Those with most cells: who has fewer has lost some.
    reference = max(tables, key=lambda name: int(tables[name].metadata[CELL_COUNT].sum()))
    for result in results:
        if result.name in tables:
            try:
                require_same_cells(tables[result.name], tables[reference], reference)
                result.judged = _judge_one(tables[result.name], question, result)
            except CPCNNError as error:
                result.reason = _also(result.reason, error)
            else:
                _write(result, out / PROFILES_FOLDER)
    posed = question.pose(tables[reference])
    results.append(_count_cells(posed, question))
    return Comparison(results, posed, question)


def _judge_one(wells: Profiles, question: Question, result: Result) -> list[Judged]:
    posed = question.pose(wells)
    if result.name == CLASSICAL:
        posed = dataclasses.replace(posed, wells=standard_profiles(posed.wells))
    return judge(posed, question)


def _count_cells(posed: Posed, question: Question) -> Result:
    result = Result(NUMBER_OF_CELLS, None, None, "", [])
    try:
        result.judged = [judge_counts(posed, question)]
    except ProfileError as error:
        # All wells have as many: no fault of anybody's, and nothing to find by it.
        result.reason = str(error)
    return result


def _also(reason: str, error: Exception) -> str:
    return f"{reason}; {error}" if reason else str(error)


def _write(result: Result, folder: Path) -> None:
    for judged in result.judged:
        name = f"{result.name}{'-sphered' if judged.correction.steps else ''}.parquet"
        write_corrected(judged.wells, judged.correction, folder / name)


CLASSICAL, NUMBER_OF_CELLS = "classical", "number of cells"


@dataclass(frozen=True)
class Contestant:
    """A model that takes part.

    Attributes
    ----------
    name : str
        In tables, and of its folder.
    model : str
        Name or file, as ``cpcnn embed --model`` takes it.
    card : ModelCard
    """

    name: str
    model: str
    card: ModelCard


def find_contestants(texts: Sequence[str]) -> list[Contestant]:
    """Find the models that are to be compared.

    Parameters
    ----------
    texts : sequence of str
        ``MODEL``, a name or a file, or ``NAME=MODEL``. A file without a name is called what
        the file is called.

    Returns
    -------
    list of Contestant

    Raises
    ------
    ModelNotFoundError
        A model that is not known or not on this machine.
    ProfileError
        Two of one name, a model twice, or a name that cannot name a folder.

    Examples
    --------
    >>> [one.name for one in find_contestants(["untrained-efficientnet-b0"])]
    ['untrained-efficientnet-b0']
    >>> find_contestants(["untrained-efficientnet-b0", "again=untrained-efficientnet-b0"])
    Traceback (most recent call last):
    cpcnn_core.errors.ProfileError: untrained-efficientnet-b0 is there twice; ...
    """
    found: dict[str, Contestant] = {}
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
        found[name] = Contestant(name, model, card)
    return list(found.values())
