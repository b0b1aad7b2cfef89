"""The paper's measures equal what its notebooks computed, to the last digits."""

import numpy as np
import pytest
import scipy.stats

from cpcnn_core.errors import ProfileError
from cpcnn_core.evaluation import paper
from cpcnn_core.profiles.similarity import cosine_similarity

from ...downstream_numbers import DOWNSTREAM


@pytest.fixture(params=["compounds", "genes"])
def kind(request):
    return request.param


@pytest.fixture
def matches(kind, arrays):
    return arrays[f"{kind}_matches"]


def test_cosine_similarity(arrays):
    found = cosine_similarity(arrays["profiles"])
    np.testing.assert_allclose(found, arrays["cosine"], rtol=0, atol=1e-14)


def test_matches(arrays, inputs):
    labels = list(inputs["annot_moa"])
    np.testing.assert_array_equal(paper.regex_matches(labels), arrays["compounds_matches"])
    # One with brackets matches nothing, itself included: that is the quirk.
    assert not paper.regex_matches(labels)[labels.index("eps (epsln) antagonist")].any()


def test_enrichment_of_every_query(arrays, scalars, kind, matches):
    expected = scalars[kind]
    found = paper.enrichments(arrays["cosine"], matches)
    assert len(found) == expected["n_queries_enrichment"]
    assert [str(query) for query in found] == list(expected["per_query_enrichment"])
    for query, result in found.items():
        theirs = expected["per_query_enrichment"][str(query)]
        ours = (result.threshold, result.folds, result.p_value)
        assert ours == pytest.approx(
            (theirs["threshold"], theirs["ods_ratio"], theirs["p-value"]), rel=1e-12
        )
    mean = np.mean([result.folds for result in found.values()])
    assert mean == pytest.approx(expected["mean_folds_of_enrichment"], rel=1e-12)


@pytest.mark.parametrize(
    ("which", "name"),
    [
        ("enr_m_inf", "enrichment_all_true_in_top (odds inf -> replaced by v22)"),
        ("enr_m_zero", "enrichment_random"),
    ],
)
def test_enrichment_at_its_limits(arrays, scalars, which, name):
    found = paper.enrichment(arrays["enr_sim"], arrays[which])
    expected = scalars[name]
    assert found.threshold == pytest.approx(expected["threshold"], rel=1e-14)
    assert found.folds == expected["ods_ratio"]
    assert found.p_value == pytest.approx(expected["p-value"], rel=1e-12)


def test_mean_average_precision_and_its_curve(arrays, scalars, kind, matches):
    recall, precision = paper.precision_recall_curve(
        arrays["cosine"], matches, stop_at_full_recall=False
    )
    np.testing.assert_array_equal(recall, arrays[f"{kind}_recall_axis"])
    np.testing.assert_allclose(precision, arrays[f"{kind}_precision_axis"], rtol=0, atol=1e-14)
    expected = scalars[kind]
    assert precision.mean() == pytest.approx(
        expected["mean_average_precision_interpolated"], rel=1e-12
    )
    area = -np.trapezoid(precision, recall)
    assert area == pytest.approx(expected["auc"], rel=1e-12)


def test_the_curve_as_published(arrays, kind, matches):
    theirs = np.load(DOWNSTREAM / f"curve_sklearn102_{kind}.npz")
    recall, precision = paper.precision_recall_curve(arrays["cosine"], matches)
    np.testing.assert_array_equal(recall, theirs["recall_axis"])
    np.testing.assert_allclose(precision, theirs["precision_axis"], rtol=0, atol=1e-14)


def test_precision_and_recall_at_k(arrays, scalars, kind, matches):
    expected = scalars[kind]
    similarity = arrays["cosine"]
    assert expected["positions"] == list(paper.POSITIONS)
    for name, measure in (("precision", paper.precision_at), ("recall", paper.recall_at)):
        found = [measure(similarity, matches, k) for k in paper.POSITIONS]
        assert found == pytest.approx(expected[f"{name}_at_k_as_notebook"], rel=1e-12)
    k = paper.top_k(expected["n_library"])
    assert k == expected["precision_top1pct_k"]
    found = paper.precision_at(similarity, matches, k)
    assert found == pytest.approx(expected["precision_top1pct"], rel=1e-12)
    found = paper.recall_at(similarity, matches, 10 * k)
    assert found == pytest.approx(expected["recall_top10pct"], rel=1e-12)


def test_functions_of_one_ranking(scalars):
    expected = scalars["functions"]
    found = paper.precision_to_the_last_hit(expected["r"])
    assert found == pytest.approx(expected["r_precision"], rel=1e-15)
    assert paper.precision_to_the_last_hit([0, 0]) == 0
    # The fixture does not tell these rankings; they are the reference's own example.
    found = paper.mean_reciprocal_rank([[0, 0, 1], [0, 1, 0], [0, 0, 0]])
    assert found == pytest.approx(expected["mrr"], rel=1e-15)


def test_nothing_to_find_is_one_line():
    with pytest.raises(ProfileError, match="no query has two matches besides itself"):
        paper.precision_recall_curve(np.eye(3), np.eye(3))
    with pytest.raises(ProfileError, match="got \\(3, 3\\) and \\(2, 2\\)"):
        paper.enrichments(np.eye(3), np.eye(2))
    with pytest.raises(ProfileError, match="NaN among the similarities"):
        paper.enrichments(np.full((3, 3), np.nan), np.eye(3))


def test_the_part_of_strong_treatments(arrays, scalars):
    fraction, threshold = paper.fraction_strong(arrays["fs_corr"], arrays["fs_null"])
    printed = scalars["fraction_strong_test_printed"]
    assert f"Treatments tested: {len(arrays['fs_corr'])}" in printed
    assert f"Fraction strong: {fraction:.2%}" in printed
    assert f"Null threshold: {threshold:.4f}" in printed


def test_replicates_are_correlated_with_themselves_too(inputs):
    wells = inputs["features"][inputs["treatment"] == "T030@1.5"]
    pairs = [scipy.stats.pearsonr(one, other).statistic for one in wells for other in wells]
    assert paper.replicate_correlation(wells) == pytest.approx(np.median(pairs), rel=1e-12)
