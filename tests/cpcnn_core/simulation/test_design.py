import dataclasses
import math

import pytest

from cpcnn_core.errors import SiteError
from cpcnn_core.simulation.design import ScreenDesign


@pytest.mark.parametrize(
    ("wells", "grid"),
    [(6, (2, 3)), (7, (3, 4)), (24, (4, 6)), (96, (8, 12)), (97, (16, 24)), (1536, (32, 48))],
)
def test_the_plate_is_the_smallest_that_has_so_many_wells(wells, grid):
    assert ScreenDesign(wells=wells, treatments=1).plate_format == grid


@pytest.mark.parametrize(
    ("wells", "treatments", "doses", "replicates"), [(24, 8, 1, 2), (96, 8, 3, 3), (384, 300, 1, 1)]
)
def test_replicates_fill_three_quarters_of_a_plate(wells, treatments, doses, replicates):
    design = ScreenDesign(wells=wells, treatments=treatments, doses=doses)
    assert design.replicates_per_plate == replicates
    taken = treatments * doses * replicates
    assert taken <= wells - 1
    assert replicates == 1 or 0.75 * wells - treatments * doses < taken <= 0.75 * wells


def test_treatments_of_several_studies_are_counted_once_where_they_are_shared():
    assert ScreenDesign(studies=3, treatments=8, shared=2).all_treatments == 2 + 3 * 6
    assert ScreenDesign(studies=3, treatments=8, shared=8).all_treatments == 8
    assert ScreenDesign(studies=3, treatments=8, shared=0).all_treatments == 24


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"plates": 0}, "plates is 0; expected a whole number from 1"),
        ({"plates": 1.5}, "plates is 1.5"),
        ({"wells": True}, "wells is True"),
        ({"cells": 0}, "cells is 0; expected a number above 0"),
        ({"pixel_size": math.nan}, "pixel_size is nan"),
        ({"batch_strength": -1}, "batch_strength is -1; expected a number from 0"),
        ({"seed": -1}, "seed is -1"),
        ({"wells": 2000}, "the largest plate has 1536"),
        ({"shared": 9}, "shared is 9, more than the 8 treatments"),
        ({"mechanisms": 15}, "mechanisms is 15; the causes classical have 14"),
        ({"causes": ()}, r"causes are \(\); expected one or more of classical, textures, "),
        ({"causes": "textures"}, "causes are 'textures'; expected"),
        ({"causes": ("textures", "x")}, "causes are .*'x'.*; expected"),
        ({"causes": ("textures",), "mechanisms": 5}, "the causes textures have 4"),
        ({"replicates": 3}, "8 treatments x 1 doses x 3 replicates need more than 24 wells"),
        ({"wells": 8}, "need more than 8 wells, one of which has to be a control"),
    ],
    ids=str,
)
def test_what_makes_no_screen_is_refused(values, words):
    with pytest.raises(SiteError, match=words):
        ScreenDesign(**values)


def test_the_hash_tells_any_two_designs_apart_and_is_the_same_for_equal_ones():
    design = ScreenDesign()
    assert ScreenDesign(cells=40, effect_strength=1).sha256 == design.sha256
    assert (
        ScreenDesign(causes=("textures", "classical")).sha256
        == ScreenDesign(causes=["classical", "textures"]).sha256
    )
    other = {"mechanisms": 2, "shared": 1, "replicates": 1, "causes": ("textures",)}
    for field in dataclasses.fields(ScreenDesign):
        value = other.get(field.name) or getattr(design, field.name) + 1
        moved = dataclasses.replace(design, wells=96).sha256
        changed = dataclasses.replace(design, **({"wells": 96} | {field.name: value})).sha256
        assert changed != moved, field.name
