"""The second stage: candidates by Hamming distance, order by real-valued scores."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from indexes import KINDS, assert_same, make_ids, make_index, signs

from hashgcn import metrics
from hashgcn.data import generate_sample
from hashgcn.retrieval import HammingIndex, Recommendations, pack_codes, search_reranked

ROOT = Path(__file__).resolve().parents[2]
RNG = np.random.default_rng(0)
# Multiples of 1/8: sums are exact in any order, and scores tie.
REAL = (RNG.integers(-8, 9, (11, 70)) / 8).astype(np.float32)
QUERY_VECTORS = (RNG.integers(-8, 9, (11, 5)) / 8).astype(np.float32)
ITEM_VECTORS = (RNG.integers(-8, 9, (60, 5)) / 8).astype(np.float16)
CODES = signs(60, 70, 1)


def expected(index, queries, scores, k, depth, **options):
    """Stable sort of the candidates, query by query; scores float32 [Q, n] by row."""
    ids = index.search(queries, depth, **options).ids
    shape, missing = (len(queries), k), "" if ids.dtype.kind == "T" else -1
    best, found = np.full(shape, -np.inf, np.float32), np.full(shape, missing, ids.dtype)
    for q in range(len(queries)):
        rows = index.rows(ids[q][ids[q] != missing])
        rows = rows[np.argsort(-scores[q, rows], kind="stable")][:k]
        best[q, : len(rows)], found[q, : len(rows)] = scores[q, rows], index.ids[rows]
    return found, best


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("k", "depth"), [(1, 1), (7, 20), (20, 20), (15, 64)])
def test_order_of_the_candidates(kind, k, depth):
    index, ids = make_index(kind), make_ids(kind, 60)
    options = {"allow": ids[20:], "radius": 36, "deny": [ids[q : q + 30] for q in range(11)]}
    for given in ({}, options):
        want = expected(index, REAL, REAL @ CODES.T, k, depth, **given)
        assert_same(search_reranked(index, REAL, k, depth=depth, **given), want)
        packed = {"query_vectors": REAL.astype(np.float64)}
        assert_same(
            search_reranked(index, pack_codes(REAL), k, depth=depth, **packed, **given), want
        )
        scores = QUERY_VECTORS @ ITEM_VECTORS.T.astype(np.float32)
        want = expected(index, REAL, scores, k, depth, **given)
        for dtype in (np.float16, np.float32, np.float64):
            vectors = {"query_vectors": QUERY_VECTORS, "item_vectors": ITEM_VECTORS.astype(dtype)}
            got = search_reranked(index, REAL, k, depth=depth, **vectors, **given)
            assert_same(got, want)
            got = search_reranked(
                index,
                pack_codes(REAL)[0],
                k,
                depth=depth,
                allow=given.get("allow"),
                query_vectors=QUERY_VECTORS[0],
                item_vectors=ITEM_VECTORS,
            )
            one = expected(index, REAL[:1], scores[:1], k, depth, allow=given.get("allow"))
            assert_same(got, (one[0][0], one[1][0]))


def test_depth_of_all_items_is_the_ranking_by_score():
    index = make_index("rows")
    found = search_reranked(index, REAL, 60, depth=60)
    assert isinstance(found, Recommendations) and (found.counts == 60).all()
    np.testing.assert_array_equal(found.scores, -np.sort(-(REAL @ CODES.T), axis=1))
    assert_same(search_reranked(index, REAL), search_reranked(index, REAL, 10, depth=40))


def test_scores_do_not_depend_on_the_batch(monkeypatch):
    index, queries = make_index("rows"), RNG.standard_normal((11, 70)).astype(np.float32)
    whole = search_reranked(index, queries, 9)
    for q in range(11):
        one = search_reranked(index, queries[q], 9)
        assert_same(one, (whole[0][q], whole[1][q]))
    monkeypatch.setattr("hashgcn.retrieval.rerank._CHUNK_VALUES", 1)
    assert_same(search_reranked(index, queries, 9), whole)


def test_popularity_weighs_the_last_numbers_of_a_query():
    index = HammingIndex.build(CODES, popularity_bits=10)
    for p in (-1.0, 0.0, 0.5, 1.0, None):
        weighed = REAL.copy()
        weighed[:, -10:] *= 1 if p is None else p
        found = search_reranked(index, REAL, 60, depth=60, popularity_weight=p)
        np.testing.assert_array_equal(found.scores, -np.sort(-(weighed @ CODES.T), axis=1))
    assert (REAL[:, -10:] != 0).any()


def test_an_empty_index():
    index = make_index("str", 0)
    ids, scores = search_reranked(index, REAL, 3)
    assert (scores == -np.inf).all() and (ids == "").all() and scores.shape == (11, 3)
    vectors = {"query_vectors": QUERY_VECTORS, "item_vectors": ITEM_VECTORS[:0]}
    assert (search_reranked(index, REAL, 3, **vectors).ids == "").all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, "k: expected 1 to depth 0, got 0"),
        ({"k": 5, "depth": 4}, "k: expected 1 to depth 4, got 5"),
        ({"queries": pack_codes(REAL)}, "queries: expected floats of 2 dimensions, got int64"),
        ({"query_vectors": REAL[0]}, r"query_vectors: expected floats of 2 dim.* float32 \[70\]"),
        ({"query_vectors": REAL[:3]}, r"query_vectors: expected \[11, 70\], got \[3, 70\]"),
        ({"query_vectors": QUERY_VECTORS}, r"query_vectors: expected \[11, 70\], got \[11, 5\]"),
        ({"query_vectors": np.full_like(REAL, np.inf)}, "query_vectors: expected finite values"),
        ({"item_vectors": ITEM_VECTORS}, "query_vectors: expected them with item_vectors"),
        (
            {"query_vectors": QUERY_VECTORS, "item_vectors": ITEM_VECTORS[:9]},
            r"item_vectors: expected floats \[60, d\].*, got float16 \[9, 5\]",
        ),
        (
            {"query_vectors": QUERY_VECTORS, "item_vectors": ITEM_VECTORS.astype(int)},
            "item_vectors: expected floats .*, got int64",
        ),
        (
            {
                "query_vectors": QUERY_VECTORS,
                "item_vectors": np.full((60, 5), np.nan, np.float16),
            },
            "item_vectors: expected finite values",
        ),
        ({"radius": -1}, "radius: expected a number >= 0, got -1"),
        ({"popularity_weight": 0.5}, "popularity_weight: expected None for codes without"),
        ({"deny": [[1]]}, "deny: expected 11 lists of ids, one per query, got 1"),
    ],
)
def test_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        search_reranked(make_index("rows"), **{"queries": REAL, "k": 5, **changes})


def test_recall_rises_on_the_sample():
    """Codes by signs of a real-valued model: the second stage gets back what the signs lost."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import svds

    data = generate_sample(num_users=400, num_items=500, mean_degree=25.0)
    train = data.train
    matrix = csr_matrix(
        (np.ones(train.num_pairs), train.ids, train.ptr), (train.num_users, train.num_items)
    )
    users, weights, items = svds(matrix, 32, random_state=0)
    users, items = (users * weights).astype(np.float32), items.T.astype(np.float32)
    index = HammingIndex.build(items)

    def recall(ids):
        found = metrics.evaluate_rankings(ids, np.arange(len(ids)), data.test, [20])
        return found["recall@20"]

    first = recall(index.search(users, 20, deny=train).ids)
    asymmetric = recall(search_reranked(index, users, 20, depth=100, deny=train).ids)
    vectors = {"query_vectors": users, "item_vectors": items.astype(np.float16)}
    real = recall(search_reranked(index, users, 20, depth=100, deny=train, **vectors).ids)
    full = {"query_vectors": users, "item_vectors": items}
    exact = recall(search_reranked(index, users, 20, depth=500, deny=train, **full).ids)
    assert 1.1 * first < asymmetric < real < exact
    assert real > 1.5 * first and real > 0.7 * exact


@pytest.mark.slow
def test_recall_of_a_trained_model_rises(real_data):
    """The rows of docs/serving.md, made again."""
    command = [sys.executable, ROOT / "benchmarks" / "quality" / "rerank.py", real_data]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    made, documented = (
        {
            name: [float(value) for value in values.split(" | ")]
            for name, values in re.findall(r"^\| (.+: \w+) \| (0\.\d.*) \|$", text, re.M)
        }
        for text in (printed, (ROOT / "docs" / "retrieval.md").read_text(encoding="utf-8"))
    )
    assert len(made) == 9 and made.keys() == documented.keys()
    for name, values in made.items():
        assert values == pytest.approx(documented[name], rel=0.02)
    for name in ("sample, `RecallHash`", "Gowalla, `RecallHash`"):
        codes, *others = (made[f"{name}: {way}"][2] for way in ("codes", "asymmetric", "vectors"))
        assert min(others) > codes
