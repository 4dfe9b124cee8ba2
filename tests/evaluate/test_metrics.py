"""Ranking metrics against plain loops, and ties against every order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from hashgcn.data import Interactions
from hashgcn.metrics import evaluate_rankings, hits, ndcg, recall, tie_expected


def plain_recall(hit: list[bool], num_relevant: int, cutoff: int) -> float:
    return sum(hit[:cutoff]) / num_relevant


def plain_ndcg(hit: list[bool], num_relevant: int, cutoff: int) -> float:
    gained = sum(1 / math.log2(rank + 1) for rank, h in enumerate(hit[:cutoff], 1) if h)
    best = sum(1 / math.log2(rank + 1) for rank in range(1, min(cutoff, num_relevant) + 1))
    return gained / best


def ranked_problem(seed: int, num_users: int = 700, num_items: int = 90, k: int = 40):
    rng = np.random.default_rng(seed)
    relevant = Interactions.from_pairs(
        rng.integers(0, num_users, 5 * num_users),
        rng.integers(0, num_items, 5 * num_users),
        num_users,
        num_items,
    )
    users = rng.permutation(num_users)[: num_users - 30]
    ids = np.argsort(rng.random((len(users), num_items)), axis=1)[:, :k]
    ids[np.arange(k) >= rng.integers(k // 2, k + 1, (len(users), 1))] = -1
    return ids, users, relevant


class TestHits:
    @pytest.mark.parametrize("num_users", [31, 256, 287, 700])
    def test_equals_set_membership(self, num_users):
        ids, users, relevant = ranked_problem(num_users, num_users)
        wanted = [set(row) for row in np.split(relevant.ids.tolist(), relevant.ptr[1:-1])]
        expected = [[i in wanted[u] for i in row] for u, row in zip(users, ids, strict=True)]
        found = hits(ids, users, relevant)
        assert found.dtype == bool and found.any()
        assert np.array_equal(found, expected)

    def test_padding_is_no_hit_where_everything_is_relevant(self):
        relevant = Interactions([0, 3], [0, 1, 2], 3)
        assert hits(np.array([[2, -1, 0, -1]]), np.array([0]), relevant).tolist() == [
            [True, False, True, False]
        ]

    def test_repeated_users_and_no_users(self):
        relevant = Interactions([0, 1, 1], [2], 3)
        ids = np.array([[2], [2], [2]])
        assert hits(ids, np.array([0, 1, 0]), relevant).tolist() == [[True], [False], [True]]
        assert hits(ids[:0], np.array([], dtype=int), relevant).shape == (0, 1)

    @pytest.mark.parametrize(
        ("ids", "users", "message"),
        [
            ([[3]], [0], r"ids: expected rows in \[-1, 3\), got 3"),
            ([[-2]], [0], r"ids: .* got -2"),
            ([[0]], [1], r"users: expected rows in \[0, 1\), got 1"),
            ([[0]], [-1], r"users: .* got -1"),
            ([0], [0], r"ids: expected int \[Q, k\]"),
            ([[0.0]], [0], r"ids: expected int \[Q, k\], got float64"),
            ([[0]], [0, 0], r"users: expected int \[1\]"),
            ([[0, 1, 0]], [0], "ids: expected no item twice in a row, got 0 twice in row 0"),
            ([[-1, -1], [2, 2]], [0, 0], "ids: .* got 2 twice in row 1"),
        ],
    )
    def test_rejects(self, ids, users, message):
        with pytest.raises(ValueError, match=message):
            hits(np.array(ids), np.array(users), Interactions([0, 1], [0], 3))


class TestRecallAndNdcg:
    def test_by_hand(self):
        hit = np.array([[True, False, True], [False, False, True], [False, False, False]])
        num_relevant = np.array([2, 5, 1])
        assert recall(hit, num_relevant, 3).tolist() == [1, 0.2, 0]
        assert recall(hit, num_relevant, 2).tolist() == [0.5, 0, 0]
        second, third = 1 / math.log2(3), 1 / 2
        np.testing.assert_allclose(
            ndcg(hit, num_relevant, 3),
            [(1 + third) / (1 + second), third / (1 + second + third), 0],
            rtol=1e-15,
        )

    @pytest.mark.parametrize("cutoff", [1, 2, 20, 40])
    def test_equal_plain_loops(self, cutoff):
        ids, users, relevant = ranked_problem(1)
        num_relevant = relevant.degrees()[users]
        hit = hits(ids, users, relevant)[num_relevant > 0]
        num_relevant = num_relevant[num_relevant > 0]
        for metric, plain in ((recall, plain_recall), (ndcg, plain_ndcg)):
            expected = [
                plain(h, r, cutoff)
                for h, r in zip(hit.tolist(), num_relevant.tolist(), strict=True)
            ]
            np.testing.assert_allclose(metric(hit, num_relevant, cutoff), expected, rtol=1e-14)

    def test_perfect_ranking_is_exactly_one(self):
        num_relevant = np.arange(1, 101)
        hit = np.arange(100) < num_relevant[:, None]
        for cutoff in (1, 7, 50, 100):
            assert (ndcg(hit, num_relevant, cutoff) == 1).all()
        assert (recall(hit, num_relevant, 100) == 1).all()

    def test_bits_do_not_depend_on_batches_or_layout(self):
        rng = np.random.default_rng(2)
        hit = rng.random((500, 100)) < 0.3
        num_relevant = hit.sum(axis=1) + rng.integers(0, 9, 500)
        for metric in (recall, ndcg):
            whole = metric(hit, num_relevant, 100)
            assert np.array_equal(whole, metric(np.asfortranarray(hit), num_relevant, 100))
            for size in (1, 3, 256):
                parts = [
                    metric(hit[i : i + size], num_relevant[i : i + size], 100)
                    for i in range(0, 500, size)
                ]
                assert np.array_equal(whole, np.concatenate(parts))

    @pytest.mark.parametrize("metric", [recall, ndcg])
    def test_nan_without_relevant_items(self, metric):
        values = metric(np.array([[False], [True]]), np.array([0, 1]), 1)
        assert np.isnan(values[0]) and values[1] == 1

    @pytest.mark.parametrize("metric", [recall, ndcg])
    @pytest.mark.parametrize(
        ("hit", "num_relevant", "cutoff", "message"),
        [
            ([[True]], [1], 0, r"cutoff: expected K in \[1, 1\], got 0"),
            ([[True]], [1], 2, r"cutoff: .* got 2"),
            ([[1]], [1], 1, r"hit: expected bool"),
            ([True], [1], 1, r"hit: expected bool \[Q, k\]"),
            ([[True]], [1, 1], 1, r"num_relevant: expected int \[1\]"),
            ([[True]], [1.0], 1, r"num_relevant: expected int \[1\]"),
            ([[True, True]], [1], 2, r"num_relevant: expected at least the 2 hits of row 0, got 1"),
        ],
    )
    def test_rejects(self, metric, hit, num_relevant, cutoff, message):
        with pytest.raises(ValueError, match=message):
            metric(np.array(hit), np.array(num_relevant), cutoff)


class TestTies:
    @pytest.mark.parametrize("cutoff", [1, 2, 4, 6, 9])
    def test_every_order(self, cutoff):
        candidates = np.array(
            [[2, 0, 3, 1], [0, 6, 0, 0], [1, 4, 0, 1], [3, 0, 0, 3], [1, 1, 1, 1]]
        )
        relevant = np.array([[1, 0, 2, 0], [0, 2, 0, 0], [0, 3, 0, 1], [1, 0, 0, 0], [1, 0, 1, 0]])
        found = tie_expected(candidates, relevant, cutoff)
        for row in range(len(candidates)):
            groups = [
                list(set(itertools.permutations([True] * h + [False] * (t - h))))
                for t, h in zip(candidates[row][::-1], relevant[row][::-1], strict=True)
            ]
            orders = [sum(order, ()) for order in itertools.product(*groups)]
            for bounds, plain in ((found.recall, plain_recall), (found.ndcg, plain_ndcg)):
                values = [plain(order, relevant[row].sum(), cutoff) for order in orders]
                expected = [np.mean(values), min(values), max(values)]
                np.testing.assert_allclose([b[row] for b in bounds], expected, rtol=1e-12)

    def test_random_orders_of_many(self):
        rng = np.random.default_rng(0)
        candidates, cutoff = rng.integers(0, 40, 17), 60
        relevant = rng.binomial(candidates, 0.2)
        found = tie_expected(candidates[None], relevant[None], cutoff)
        level = np.repeat(np.arange(17), candidates)
        wanted = np.concatenate(
            [np.arange(t) < h for t, h in zip(candidates, relevant, strict=True)]
        )
        hit = np.stack([wanted[np.lexsort((rng.random(len(level)), -level))] for _ in range(4000)])
        num_relevant = np.full(len(hit), relevant.sum())
        for bounds, metric in ((found.recall, recall), (found.ndcg, ndcg)):
            values = metric(hit, num_relevant, cutoff)
            error = values.std() / math.sqrt(len(values))
            assert values.mean() == pytest.approx(bounds.expected[0], abs=5 * error)
            assert bounds.lower[0] <= values.min() and values.max() <= bounds.upper[0]

    def test_without_ties_it_is_the_plain_metric(self):
        rng = np.random.default_rng(1)
        relevant = (rng.random((50, 30)) < 0.2).astype(np.float32)
        relevant[:, 3] = 1
        found = tie_expected(np.ones((50, 30), np.float32), relevant, 20)
        hit, num_relevant = relevant[:, ::-1] > 0, relevant.sum(axis=1).astype(int)
        for bounds, metric in ((found.recall, recall), (found.ndcg, ndcg)):
            for values in bounds:
                np.testing.assert_allclose(values, metric(hit, num_relevant, 20), rtol=1e-14)

    def test_bits_do_not_depend_on_batches_or_layout(self):
        rng = np.random.default_rng(2)
        candidates = rng.integers(0, 30, (64, 33))
        relevant = rng.binomial(candidates, 0.2)
        whole = tie_expected(candidates, relevant, 50)
        single = [tie_expected(candidates[i : i + 1], relevant[i : i + 1], 50) for i in range(64)]
        other = tie_expected(np.asfortranarray(candidates), np.asfortranarray(relevant), 50)
        for metric, bound in itertools.product(range(2), range(3)):
            assert np.array_equal(whole[metric][bound], [s[metric][bound][0] for s in single])
            assert np.array_equal(whole[metric][bound], other[metric][bound])

    def test_items_on_no_level_are_never_found(self):
        candidates, relevant = (
            np.array([[2, 3], [2, 3], [1, 0]]),
            np.array([[1, 1], [0, 0], [0, 0]]),
        )
        found = tie_expected(candidates, relevant, 9, unranked=np.array([2, 1, 0]))
        # As one more level, below as many items as the cutoff has places.
        more, wanted = np.array([[2, 9], [1, 9], [1, 9]]), np.array([[2, 0], [1, 0], [0, 0]])
        same = tie_expected(np.hstack([more, candidates]), np.hstack([wanted, relevant]), 9)
        for metric, bound in itertools.product(range(2), range(3)):
            np.testing.assert_array_equal(found[metric][bound], same[metric][bound])
        assert found.recall.expected[:2].tolist() == [0.5, 0] and np.isnan(found.recall.lower[2])
        for wrong in ([1], [1, 1, -1], [1.0, 1, 1]):
            with pytest.raises(ValueError, match=r"unranked: expected whole numbers >= 0 \[3\]"):
                tie_expected(candidates, relevant, 9, unranked=np.array(wrong))

    def test_nan_without_relevant_items(self):
        found = tie_expected(np.array([[3, 0]]), np.array([[0, 0]]), 2)
        assert all(np.isnan(values[0]) for bounds in found for values in bounds)

    @pytest.mark.parametrize(
        ("candidates", "relevant", "cutoff", "message"),
        [
            ([[1, 2]], [[1, 3]], 1, r"relevant: .* got 3 of 2 in row 0"),
            ([[1, 2]], [[1, -1]], 1, "relevant: expected whole numbers >= 0, got -1"),
            ([[1, 2.5]], [[1, 1]], 1, "candidates: expected whole numbers.*2.5"),
            ([[1, math.nan]], [[1, 1]], 1, "candidates: expected whole numbers.*nan"),
            ([[1, math.inf]], [[1, 1]], 1, "candidates: expected whole numbers.*inf"),
            ([[1, 2]], [[1]], 1, r"relevant: expected shape \(1, 2\)"),
            ([1, 2], [1, 2], 1, r"candidates: expected \[Q, levels\]"),
            ([[1, 2]], [[1, 1]], 0, "cutoff: expected K >= 1, got 0"),
        ],
    )
    def test_rejects(self, candidates, relevant, cutoff, message):
        with pytest.raises(ValueError, match=message):
            tie_expected(np.array(candidates), np.array(relevant), cutoff)


class TestEvaluate:
    def test_means_over_users_with_relevant_items(self):
        relevant = Interactions([0, 2, 2, 3], [0, 3, 1], 4)
        ids = np.array([[0, 1], [0, 1], [2, 1]])
        found = evaluate_rankings(ids, np.arange(3), relevant, [1, 2])
        assert list(found) == ["recall@1", "ndcg@1", "recall@2", "ndcg@2"]
        assert found["recall@1"] == 0.25 and found["recall@2"] == 0.75
        assert found["ndcg@1"] == 0.5
        second = 1 / math.log2(3)
        assert found["ndcg@2"] == pytest.approx((1 / (1 + second) + second) / 2, rel=1e-15)
        assert all(type(value) is float for value in found.values())

    def test_other_measures_by_name(self):
        def hit_rate(hit, num_relevant, cutoff):
            return hit[:, :cutoff].any(axis=1).astype(float)

        relevant = Interactions([0, 2], [0, 3], 4)
        found = evaluate_rankings(np.array([[1, 0]]), np.array([0]), relevant, [2], [hit_rate])
        assert found == {"hit_rate@2": 1.0}

    def test_no_relevant_items(self):
        relevant = Interactions([0, 0, 1], [0], 2)
        with pytest.raises(ValueError, match="relevant: expected items of at least one of the"):
            evaluate_rankings(np.array([[0]]), np.array([0]), relevant, [1])
