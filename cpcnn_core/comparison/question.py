"""The question that all are asked: which wells, which controls, whose retrieval, which labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from cpcnn_core.profiles.aggregate import aggregate
from cpcnn_core.profiles.metadata import learn_types
from cpcnn_core.profiles.notices import Tell, warn
from cpcnn_core.profiles.wells import choose_rows, join_platemap
from cpcnn_core.readers.deepprofiler import read_project, read_sites
from cpcnn_core.readers.load_data import read_load_data
from cpcnn_core.screen.job import Job
from cpcnn_core.tables.columns import PLATE, WELL, metadata_column
from cpcnn_core.tables.profiles import Profiles


@dataclass(frozen=True)
class Question:
    """A question to the profiles of every model.

    Attributes
    ----------
    by : str
        The column that names the treatment.
    controls : str
        Which wells are controls, see `cpcnn_core.profiles.wells.choose_rows`.
    platemap : str, optional
        See `cpcnn_core.profiles.wells.join_platemap`.
    where : str, optional
        Only these wells are looked at.
    ask : str, optional
        Only these ask, see `cpcnn_core.profiles.evaluation.measure_retrieval`.
    truth : mapping of str to str, optional
        Labels of treatments.
    confounders : tuple of str
        Columns whose values control wells should not find each other by, besides plate and well.
    keep_labels : tuple of str
        Texts such as ``NA`` that are labels here.
    tell : callable
        Takes a sentence for what is left out.
    """

    by: str
    controls: str
    platemap: str | None = None
    where: str | None = None
    ask: str | None = None
    truth: Mapping[str, str] | None = None
    confounders: tuple[str, ...] = ()
    keep_labels: tuple[str, ...] = ()
    tell: Tell = warn

    def pose(self, wells: Profiles) -> Posed:
        """Choose the wells, the controls and those that ask.

        Raises
        ------
        ProfileError
            A column that is not there, an expression that is true for none.
        """
        if self.platemap:
            wells = join_platemap(
                wells, self.platemap, keep_labels=self.keep_labels, tell=self.tell
            )
        if self.where:
            wells = wells.select(choose_rows(wells, self.where))
            wells.provenance = wells.provenance | {"where": self.where}
        wells.provenance = wells.provenance | {"controls": self.controls}
        wells.require([self.by, *map(metadata_column, self.confounders)])
        asked = choose_rows(wells, self.ask) if self.ask else np.ones(len(wells.metadata), bool)
        return Posed(wells, choose_rows(wells, self.controls), asked)


@dataclass(frozen=True)
class Posed:
    """Wells that are asked: which are controls (n,) bool, and which ask (n,) bool."""

    wells: Profiles
    controls: np.ndarray
    asked: np.ndarray


def planned_wells(job: Job, keep_labels: Collection[str] = ()) -> Profiles:
    """Return the wells that a screen will have, with features that say nothing.

    So that what cannot be asked of the wells is said before they are embedded.

    Parameters
    ----------
    job : Job
    keep_labels : collection of str
        As of `Question`.

    Returns
    -------
    Profiles
        Three features, drawn at random.

    Examples
    --------
    >>> planned_wells(Job(load_data="load_data.csv"))
    Traceback (most recent call last):
    cpcnn_core.errors.TableError: there is no table load_data.csv
    """
    import pandas as pd

    if job.deepprofiler:
        sites = read_sites(read_project(job.deepprofiler, job.config))
    else:
        sites = read_load_data(cast("str", job.load_data), ())
    rows = [{metadata_column(k): value for k, value in s.metadata.items()} for s in sites]
    features = np.random.default_rng(0).normal(size=(len(rows), 3))
    texts = pd.DataFrame(rows)
    metadata = learn_types(texts, keep_labels).apply(texts)
    return aggregate(Profiles(features, metadata, list("xyz")), [PLATE, WELL], "mean")
