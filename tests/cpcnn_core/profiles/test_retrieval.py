"""Textbook measures equal scikit-learn, copairs, SciPy and plain loops."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn.metrics import average_precision_score

from cpcnn_core.errors import ProfileError
from cpcnn_core.profiles.retrieval import (
    average_precision,
    first_hit,
    fold_enrichment,
    precision_at,
    recall_at,
)
from cpcnn_core.profiles.similarity import cosine_similarity, same_label, unit_length


@pytest.fixture(params=["distinct", "with ties"])
def ranked(request):
    """Similarities and matches of 150 profiles, five of which have nothing to find."""
    random = np.random.default_rng(2)
    features = random.normal(size=(150, 6))
    if request.param == "with ties":
        features = random.integers(0, 2, (150, 6)) + np.eye(6)[random.integers(0, 6, 150)]
    labels = random.integers(0, 20, 150).astype(str).tolist()
    labels[:5] = ["", None, "alone", np.nan, "  "]
    similarity = cosine_similarity(features).round(12)
    return similarity, same_label(labels)


def others(similarity, matches, query):
    mask = np.arange(len(similarity)) != query
    return similarity[query, mask], matches[query, mask]


def test_average_precision_is_scikit_learns(ranked):
    found = average_precision(*ranked)
    assert np.isnan(found[:5]).all()
    assert not np.isnan(found[5:]).any()
    for query in range(5, 150):
        scores, match = others(*ranked, query)
        assert found[query] == pytest.approx(average_precision_score(match, scores), abs=1e-12)


def test_average_precision_is_copairs():
    copairs_map = pytest.importorskip("copairs.map")
    random = np.random.default_rng(3)
    features = random.normal(size=(120, 10)).astype(np.float32)
    labels = pd.DataFrame({"Metadata_moa": random.integers(0, 12, 120).astype(str)})
    table = copairs_map.average_precision(
        labels, features, pos_sameby=["Metadata_moa"], pos_diffby=[], neg_sameby=[],
        neg_diffby=["Metadata_moa"], progress_bar=False,
    )  # fmt: skip
    similarity = cosine_similarity(features)
    found = average_precision(similarity, same_label(labels["Metadata_moa"]))
    np.testing.assert_allclose(
        found, table["average_precision"].to_numpy(float), rtol=0, atol=1e-12
    )


def test_average_precision_in_the_reference(arrays, scalars):
    for kind in ("compounds", "genes"):
        # Two treatments are identical; the reference goes by the order of the rows there.
        similarity = arrays["cosine"] - np.arange(120) * 1e-13
        found = average_precision(similarity, arrays[f"{kind}_matches"])
        expected = scalars[kind]["average_precision_plain_self_excluded_stable"]
        np.testing.assert_allclose(np.nan_to_num(found), list(expected.values()), atol=1e-12)
        assert np.nanmean(found) == pytest.approx(
            scalars[kind]["mean_average_precision_plain_queries_with_match"], rel=1e-12
        )
        assert np.isfinite(found).sum() == scalars[kind]["n_queries_plain"]


def test_one_ranking_in_the_reference(scalars):
    expected = scalars["functions"]
    relevant = np.array(expected["r"], bool)
    similarity = np.zeros((11, 11))
    similarity[0, 1:] = np.arange(10, 0, -1)
    matches = np.zeros((11, 11), bool)
    matches[0, 1:] = relevant
    found = average_precision(similarity, matches)[0]
    assert found == pytest.approx(expected["average_precision"], rel=1e-15)
    assert precision_at(similarity, matches, 3)[0] == pytest.approx(
        expected["precision_at_3"], rel=1e-15
    )


@pytest.mark.parametrize("k", [1, 7, 149])
def test_precision_and_recall_among_the_first_equal_a_loop(ranked, k):
    precision, recall = precision_at(*ranked, k), recall_at(*ranked, k)
    assert np.isnan(precision[:5]).all()
    assert np.isnan(recall[:5]).all()
    for query in range(5, 150):
        scores, match = others(*ranked, query)
        nearest = sorted(range(149), key=lambda i: -scores[i])[:k]
        hits = sum(bool(match[i]) for i in nearest)
        assert precision[query] == pytest.approx(hits / k, abs=1e-15)
        assert recall[query] == pytest.approx(hits / match.sum(), abs=1e-15)


def test_first_hit_equals_a_loop(ranked):
    found = first_hit(*ranked)
    assert np.isnan(found[:5]).all()
    for query in range(5, 150):
        scores, match = others(*ranked, query)
        nearest = sorted(range(149), key=lambda i: (-scores[i], match[i]))
        assert found[query] == 1 + next(n for n, i in enumerate(nearest) if match[i])


@pytest.mark.parametrize("top", [0.01, 0.1])
def test_fold_enrichment_equals_fishers_test(ranked, top):
    folds, p_values = fold_enrichment(*ranked, top)
    k = {0.01: 2, 0.1: 15}[top]
    assert np.isnan(folds[:5]).all()
    assert np.isnan(p_values[:5]).all()
    for query in range(5, 150):
        scores, match = others(*ranked, query)
        nearest = sorted(range(149), key=lambda i: -scores[i])[:k]
        hits = sum(bool(match[i]) for i in nearest)
        total = int(match.sum())
        assert folds[query] == pytest.approx((hits / k) / (total / 149), rel=1e-12)
        table = [[hits, k - hits], [total - hits, 149 - k - total + hits]]
        theirs = scipy.stats.fisher_exact(table, alternative="greater").pvalue
        assert p_values[query] == pytest.approx(theirs, rel=1e-9)


def test_labels_are_compared_as_they_are():
    same = same_label(["a (b)|c", "a (b)", "a", "C", "c | d", pd.NA])
    expected = np.eye(6, dtype=bool)
    for one, two in ((0, 1), (0, 4)):
        expected[one, two] = expected[two, one] = True
    expected[5, 5] = False
    np.testing.assert_array_equal(same, expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: average_precision(np.eye(3), np.eye(2)), "one shape (n, n), got (3, 3) and"),
        (lambda: average_precision(np.full((2, 2), np.nan), np.eye(2)), "NaN among the similar"),
        (lambda: precision_at(np.eye(3), np.eye(3), 3), "expected k from 1 to 2, got 3"),
        (lambda: fold_enrichment(np.eye(3), np.eye(3), 2), "as a fraction from 0 to 1, got 2"),
        (lambda: unit_length(np.zeros((2, 3))), "2 of 2 profiles are zero in every feature"),
        (
            lambda: cosine_similarity(np.ones((1, 2)), np.ones((1, 3))),
            "the queries have 2 features, the library has 3",
        ),
    ],
)
def test_what_cannot_be_ranked_is_one_line(call, message):
    with pytest.raises(ProfileError) as error:
        call()
    assert message in str(error.value)
