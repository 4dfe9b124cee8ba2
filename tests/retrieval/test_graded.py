"""Graded queries of an index: what is found, the weight of popularity, the second stage."""

from __future__ import annotations

import numpy as np
import pytest
from indexes import KINDS, assert_same, by_score, make_ids, make_index, signs, thermometers, weights

from hashgcn.levels import LEVELS, largest_weight
from hashgcn.retrieval import (
    HammingIndex,
    pack_codes,
    pack_levels,
    popularity_query_bits,
    search_reranked,
)

GRADED = LEVELS[1:]
LENGTH, BITS = 70, 6


@pytest.mark.parametrize("levels", GRADED)
@pytest.mark.parametrize("kind", KINDS)
def test_search_ranks_by_the_sum_of_weights_and_signs(levels, kind):
    index, ids = make_index(kind), make_ids(kind, 60)
    codes, queries = signs(60, 70, 1), weights(11, 70, levels, 2)
    planes, most = pack_levels(queries, levels), largest_weight(levels) * 70
    scores = (queries @ codes.T).astype(np.int64)
    kept = np.random.default_rng(0).random((11, 60)) < 0.6
    options = {"deny": [ids[~row] for row in kept], "allow": ids[9:]}
    for given, extra in (({}, np.ones((11, 60), bool)), (options, kept & (np.arange(60) >= 9))):
        want = by_score(scores, extra)
        for form in (planes, planes.view(np.uint64), np.asfortranarray(planes)):
            found = index.search(form, 64, **given)
            for q in range(11):
                count = len(want[q])
                assert found.ids[q, :count].tolist() == ids[want[q]].tolist()
                np.testing.assert_array_equal(
                    most - 2 * found.distances[q, :count].astype(np.int64), scores[q, want[q]]
                )
                assert found.counts[q] == count
        assert_same(index.search(planes, 64, num_threads=1, **given), found)
        for q in range(11):
            one = {k: [v[q]] if k == "deny" else v for k, v in given.items()}
            assert_same(index.search(planes[q : q + 1], 64, **one), [x[[q]] for x in found])


@pytest.mark.parametrize("levels", GRADED)
def test_radius_is_in_the_weights_of_the_query(levels):
    index, planes = make_index("rows"), pack_levels(weights(7, 70, levels, 2), levels)
    whole = index.search(planes, 60)
    radius = int(np.median(whole.distances))
    near = index.search(planes, 60, radius=radius)
    np.testing.assert_array_equal(near.counts, (whole.distances <= radius).sum(axis=1))
    assert 0 < near.counts.sum() < 7 * 60
    assert (near.distances[near.ids >= 0] <= radius).all()


def test_one_plane_is_a_plain_query():
    index = HammingIndex.build(thermometers(60, LENGTH, BITS, 1), popularity_bits=BITS)
    words = pack_codes(signs(9, LENGTH, 3))
    for p in (None, 0.3, -1.0):
        want = index.search(words, 20, popularity_weight=p)
        assert_same(index.search(words[:, None], 20, popularity_weight=p), want)
    want = search_reranked(index, words, 5, query_vectors=signs(9, LENGTH, 4))
    assert_same(search_reranked(index, words[:, None], 5, query_vectors=signs(9, LENGTH, 4)), want)


def test_planes_of_one_query_without_a_first_axis_are_plain_queries():
    """[P, words] could be either: it is always P plain queries, as without graded ones."""
    index = make_index("rows")
    planes = pack_levels(weights(1, 70, 8, 2), 8)
    assert_same(index.search(planes[0], 5), index.search(np.ascontiguousarray(planes[0]), 5))
    assert index.search(planes[0], 5).ids.shape == (4, 5)
    assert index.search(planes, 5).ids.shape == (1, 5)


@pytest.mark.parametrize(
    ("queries", "message"),
    [
        (np.zeros((3, 5, 2), np.int64), r"bit planes int64 \[\*, 1 to 4, 2\] .*int64 \[3, 5, 2\]"),
        (np.zeros((3, 0, 2), np.int64), r"bit planes .*, got int64 \[3, 0, 2\]"),
        (np.zeros((3, 2, 1), np.int64), r"bit planes .*, got int64 \[3, 2, 1\]"),
        (np.zeros((3, 2, 70), np.float32), r"codes \[\*, 70\] .* float32 \[3, 2, 70\]"),
        (np.zeros((3, 2, 2), np.int32), r"codes \[\*, 70\] .* int32 \[3, 2, 2\]"),
        (np.zeros((1, 3, 2, 2), np.int64), r"packed int64 words .* int64 \[1, 3, 2, 2\]"),
        (np.full((3, 2, 2), -1), "zero bits past code_length 70"),
    ],
)
def test_queries_of_other_shapes_are_refused(queries, message):
    with pytest.raises(ValueError, match=f"^queries: expected .*{message}"):
        make_index("rows").search(queries)
    with pytest.raises(ValueError, match="^codes: expected packed int64 words"):
        HammingIndex(np.zeros((3, 2, 2), np.int64), code_length=70)
    with pytest.raises(ValueError, match="^codes: expected packed int64 words"):
        make_index("rows").add(np.zeros((3, 2, 2), np.int64))


@pytest.mark.parametrize("value", [1, 3, 7, 15])
def test_popularity_is_weighed_as_exactly_as_weights_allow(value):
    for bits in range(0, 17):
        items = np.where(np.arange(bits) < np.arange(bits + 1)[:, None], 1, -1)  # by level
        level = items.sum(axis=1)
        for p in np.linspace(-1, 1, 41):
            got = popularity_query_bits(bits, p, value)
            assert got.dtype == np.float32 and got.shape == (bits,)
            assert (np.abs(got) <= value).all() and (got % 2 == 1).all()
            # Each level's sum is one of the integers 4 apart that its parity allows.
            assert (np.abs(items @ got - p * value * level) <= 2).all()
            assert abs(got.sum() - p * value * bits) <= 1
        assert (popularity_query_bits(bits, 1, value) == value).all()
        assert (popularity_query_bits(bits, -1, value) == -value).all()


@pytest.mark.parametrize("value", [0, 2, -1, 1.5])
def test_values_of_popularity_are_odd(value):
    with pytest.raises(ValueError, match=f"value: expected an odd number > 0, got {value}"):
        popularity_query_bits(4, 0.5, value)


@pytest.mark.parametrize(("levels", "value"), [(2, 1), (2, 3), (4, 5), (8, 15)])
def test_the_dial(levels, value):
    items = thermometers(60, LENGTH, BITS, 1)
    index = HammingIndex.build(items, popularity_bits=BITS)
    queries = weights(9, LENGTH, levels, 2, BITS, value)
    planes = pack_levels(queries, levels)
    level, most = items[:, -BITS:].sum(axis=1), largest_weight(levels) * LENGTH
    for p in (None, 1, 0.4, 0, -0.7, -1):
        found = index.search(planes, 60, popularity_weight=p)
        weighed = queries.copy()
        weighed[:, -BITS:] = popularity_query_bits(BITS, 1 if p is None else p, value)
        scores = weighed @ items.T
        want = by_score(scores, np.ones((9, 60), bool))
        assert found.ids.tolist() == want
        taste = queries[:, :-BITS] @ items[:, :-BITS].T
        got = np.take_along_axis(
            most - 2 * found.distances.astype(np.int64), found.ids.argsort(), 1
        )
        assert (np.abs(got - taste - (1 if p is None else p) * value * level) <= 2).all()
    assert_same(index.search(planes, 60, popularity_weight=1), index.search(planes, 60))


def test_queries_may_have_different_values():
    index = HammingIndex.build(thermometers(60, LENGTH, BITS, 1), popularity_bits=BITS)
    parts = [weights(3, LENGTH, 4, seed, BITS, value) for seed, value in enumerate((7, 1, 3))]
    planes = pack_levels(np.concatenate(parts), 4)[[0, 3, 6, 1, 4, 7, 2, 5, 8]]
    whole = index.search(planes, 20, popularity_weight=0.3)
    for q in range(9):
        one = index.search(planes[[q]], 20, popularity_weight=0.3)
        assert_same(one, (whole[0][[q]], whole[1][[q]]))


@pytest.mark.parametrize("p", [None, 0.5])
def test_graded_queries_without_one_weight_of_popularity_are_refused(p):
    index = HammingIndex.build(thermometers(60, LENGTH, BITS, 1), popularity_bits=BITS)
    for at, wrong in ((-1, 1), (LENGTH - BITS, -3), (slice(-BITS, None), -1)):
        queries = weights(5, LENGTH, 2, 2, BITS, 3)
        queries[4, at] = wrong
        message = "queries: expected one odd weight from 1 to 3 in all of the last 6 .* in row 4"
        with pytest.raises(ValueError, match=message):
            index.search(pack_levels(queries, 2), popularity_weight=p)


def test_reranking_of_graded_candidates():
    codes, queries = signs(60, 70, 1), weights(9, 70, 4, 2)
    index, planes = make_index("rows"), pack_levels(queries, 4)
    vectors = queries.astype(np.float32)
    for depth in (12, 60):
        first = index.search(planes, depth)
        found = search_reranked(index, planes, 7, depth=depth, query_vectors=vectors)
        # The same scores, so the same order.
        np.testing.assert_array_equal(found.ids, first.ids[:, :7])
        np.testing.assert_array_equal(
            found.scores, (queries @ codes.T)[np.arange(9)[:, None], found.ids]
        )
    items = (np.random.default_rng(0).integers(-8, 9, (60, 5)) / 8).astype(np.float16)
    own = (np.random.default_rng(1).integers(-8, 9, (9, 5)) / 8).astype(np.float32)
    found = search_reranked(
        index, planes, 7, depth=20, query_vectors=own, item_vectors=items, deny=[[1]] * 9
    )
    candidates = index.search(planes, 20, deny=[[1]] * 9).ids
    scores = np.take_along_axis(own @ items.T.astype(np.float32), candidates, 1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :7]
    np.testing.assert_array_equal(found.ids, np.take_along_axis(candidates, order, 1))
    one = search_reranked(index, planes[:1], 7, query_vectors=vectors[:1])
    assert one.ids.shape == (1, 7)
    for given, message in (
        ({}, "queries: expected floats of 2 dimensions, got int64"),
        ({"query_vectors": vectors[0]}, "query_vectors: expected floats of 2 dimensions"),
        ({"query_vectors": vectors[:4]}, r"query_vectors: expected \[9, 70\], got \[4, 70\]"),
    ):
        with pytest.raises(ValueError, match=message):
            search_reranked(index, planes, 7, **given)
