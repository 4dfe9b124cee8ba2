"""Cold users get the most popular items or an error, cold items nobody unless asked: one rule."""

from __future__ import annotations

import numpy as np
import pytest

from hashgcn.data import Dataset, Interactions
from hashgcn.data.cold import ColdRule, count_cold
from hashgcn.evaluate import (
    HammingRanking,
    RealRanking,
    evaluate_codes,
    evaluate_popularity,
    rank,
)
from hashgcn.metrics import evaluate_rankings
from hashgcn.models import METHODS
from hashgcn.ops import pack_codes as pack_tensor
from hashgcn.retrieval import HammingIndex, Recommender, pack_codes

LENGTH = 20
LOWEST = -(2**31)


def data(seed: int = 0) -> Dataset:
    """Users 40 to 49 have test items alone, item ids from 30 on no user in train."""
    rng = np.random.default_rng(seed)
    users = np.repeat(np.arange(40), 6)
    items = np.concatenate([rng.choice(30, 6, replace=False) for _ in range(40)])
    test_users = np.repeat(np.arange(50), 4)
    test_items = np.concatenate([rng.choice(45, 4, replace=False) for _ in range(50)])
    return Dataset.from_pairs("cold", (users, items), (test_users, test_items))


def made(found: Dataset, seed: int = 1) -> Recommender:
    """Random codes, but of cold items those of the first users: the nearest of all."""
    rng = np.random.default_rng(seed)
    users = rng.choice([-1.0, 1.0], (found.train.num_users, LENGTH))
    items = rng.choice([-1.0, 1.0], (found.train.num_items, LENGTH))
    untrained = np.flatnonzero(found.train.popularity() == 0)
    items[untrained] = users[: len(untrained)]
    index = HammingIndex.build(items, found.item_ids)
    return Recommender(pack_codes(users), found.user_ids, index, found.train)


def by_popularity(found: Dataset) -> list:
    popularity = found.train.popularity()
    rows = [row for row in np.argsort(-popularity, kind="stable") if popularity[row]]
    return [(found.item_ids[row].item(), int(popularity[row])) for row in rows]


def test_unknown_and_empty_users_get_the_most_popular_items():
    found = data()
    model, popular = made(found), by_popularity(found)
    ids, scores = model.recommend([7, 999, 45, -3], k=40)
    for row in (1, 2, 3):
        assert list(zip(ids[row].tolist(), scores[row].tolist(), strict=True)) == [
            *popular,
            *[(-1, LOWEST)] * (40 - len(popular)),
        ]
    assert scores.dtype == np.int32 and (scores[:, :-1] >= scores[:, 1:]).all()
    assert model.is_cold([7, 999, 45, -3]).tolist() == [False, True, True, True]
    alone = model.recommend([7], k=40)
    np.testing.assert_array_equal(ids[:1], alone.ids)
    np.testing.assert_array_equal(scores[:1], alone.scores)
    weighed = model.recommend([999], k=3, exclude_seen=False)
    assert weighed.ids[0].tolist() == [raw for raw, _ in popular[:3]]


def test_popularity_counts_and_not_the_row():
    train = Interactions.from_pairs([0, 1, 2, 0, 1, 0], [4, 4, 4, 2, 2, 0], 4, 6)
    index = HammingIndex.build(np.ones((6, 8)), list("abcdef"))
    model = Recommender(pack_codes(np.ones((4, 8))), list("wxyz"), index, train)
    for user in ("z", "nobody"):
        ids, scores = model.recommend([user], k=4)
        assert ids.tolist() == [["e", "c", "a", ""]]
        assert scores.tolist() == [[3, 2, 1, LOWEST]]
    ids, scores = model.recommend(["z"], k=6, untrained_items=True)
    assert ids.tolist() == [["e", "c", "a", "b", "d", "f"]]
    assert scores.tolist() == [[3, 2, 1, 0, 0, 0]]


def test_cold_users_are_an_error_where_that_is_asked_for():
    model = made(data())
    for users, first in (([7, 999], 999), ([45, 999], 45)):
        with pytest.raises(
            ValueError, match=f"users: expected ids of users with items.*got {first}"
        ):
            model.recommend(users, cold_users="error")
    assert model.recommend([7], cold_users="error").ids.shape == (1, 10)
    with pytest.raises(
        ValueError, match="items: expected at least one item of train .* for user 1"
    ):
        model.recommend_from([[1], [44]], cold_users="error")
    for call in (model.recommend, model.recommend_from):
        with pytest.raises(
            ValueError, match="cold_users: expected one of popular, error, got 'all'"
        ):
            call([], cold_users="all")
    with pytest.raises(
        ValueError, match=r"users: expected ids of users seen .*\(int64\), got 'ann'"
    ):
        model.recommend(["ann"])


def test_a_recommender_without_users():
    index = HammingIndex.build(np.ones((2, 8)))
    model = Recommender(np.zeros((0, 1), np.int64), [], index, Interactions([0], [], 2))
    assert model.recommend([3], k=2).ids.tolist() == [[-1, -1]]
    assert model.recommend([3], k=2, untrained_items=True).ids.tolist() == [[0, 1]]
    assert model.recommend([], k=2).ids.shape == (0, 2)


def test_items_that_nobody_has_are_ranked_only_if_asked_for():
    found = data()
    model = made(found)
    cold = set(found.item_ids[found.train.popularity() == 0].tolist())
    assert len(cold) == 15
    warm = np.arange(40)
    queries = model.user_codes[:40]
    for ids in (
        model.recommend(warm, k=45).ids,
        model.search(queries, 45).ids,
        model.search(queries, 45, allow=[*cold, 3, 5]).ids,
        model.search(queries, 45, deny=[3]).ids,
        model.recommend_from([[1, 2]] * 3, k=45).ids,
    ):
        assert not cold & set(ids.ravel().tolist())
    asked = model.recommend(warm, k=45, untrained_items=True).ids
    assert cold <= set(asked[0].tolist()) and asked[0, 0].item() in cold
    allowed = model.search(queries, 45, allow={*cold, 3}, untrained_items=True)
    assert (allowed.counts == 16).all()
    every = model.search(queries, 45, untrained_items=True)
    np.testing.assert_array_equal(every.ids, model.index.search(queries, 45).ids)


def test_new_users_are_recommended_to_by_what_they_like():
    found = data()
    model, popular = made(found), by_popularity(found)
    liked = [[1, 2, 44], [44, 43], [], [popular[0][0]]]
    ids, scores = model.recommend_from(liked, k=5)
    for row in (0, 3):
        own = model.fold_in([liked[row]])
        one = model.search(own, 5, deny=[liked[row]])
        np.testing.assert_array_equal(ids[row], one.ids[0])
        np.testing.assert_array_equal(scores[row], one.scores[0])
    for row in (1, 2):
        assert list(zip(ids[row].tolist(), scores[row].tolist(), strict=True)) == popular[:5]
    with_own = model.recommend_from([[1]], k=45, exclude_own=False).ids[0].tolist()
    assert 1 in with_own and 1 not in model.recommend_from([[1]], k=45).ids[0].tolist()
    unknown = model.recommend_from([[777]], k=3, ignore_unknown=True)
    assert unknown.ids[0].tolist() == [raw for raw, _ in popular[:3]]
    with pytest.raises(ValueError, match="items: expected ids of the index, got 777"):
        model.recommend_from([[777]])


def test_a_search_for_cold_users_keeps_every_filter():
    found = data()
    model, popular = made(found), [raw for raw, _ in by_popularity(found)]
    queries = model.user_codes[:3]
    options = {
        "deny": [[popular[0]], [popular[1], popular[1]], []],
        "allow": [*popular[:2], *popular[3:]],
    }
    ids, scores = model.search(queries, 4, cold=[False, True, True], **options)
    assert ids[1].tolist() == [popular[0], popular[3], popular[4], popular[5]]
    assert ids[2].tolist() == [popular[0], popular[1], popular[3], popular[4]]
    plain = model.search(queries, 4, **options)
    np.testing.assert_array_equal(ids[0], plain.ids[0])
    np.testing.assert_array_equal(scores[0], plain.scores[0])
    one = model.search(queries[1], 4, cold=True, deny=popular[1:2], allow=popular[:4])
    assert one.ids.tolist() == [popular[0], popular[2], popular[3], -1] and one.counts == 3
    for wrong in ([True], [1, 0, 1], np.zeros((3, 1), bool)):
        with pytest.raises(ValueError, match=r"cold: expected bool \[3\], one per query"):
            model.search(queries, cold=wrong)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_and_its_every_ranking_follows_the_rule(method):
    found = data()
    settings = {"code_length": 24, "epochs": 2, "cutoffs": (5, 20), "validation_fraction": 0}
    model = METHODS[method](selection_metric="recall@20", **settings).fit(found, progress=False)
    popular = by_popularity(found)
    ids, _ = model.recommend(found.user_ids, k=20)
    cold = set(found.item_ids[found.train.popularity() == 0].tolist())
    assert not cold & set(ids.ravel().tolist())
    assert (ids[40:] == [raw for raw, _ in popular[:20]]).all()
    with pytest.raises(
        ValueError, match="users: expected ids of users with items in train, got 40"
    ):
        model.recommend(found.user_ids, cold_users="error")
    # What is recommended is what is measured.
    rows = model.recommender.index.rows(ids.ravel()).reshape(ids.shape)
    wanted = evaluate_rankings(rows, np.arange(50), found.test, (5, 20))
    assert model.metrics.test == wanted
    assert (model.metrics.cold_test_users, model.metrics.cold_test_items) == (10, 15)
    assert repr(model.metrics).endswith("; 10 cold test users; 2 epochs)")
    graph = found.train.graph()
    network = model.network(graph, model.settings.network, 0)
    for name in network.rankings(model.settings.network):
        ranked = rank(network.ranking(graph, name), found.train, 20)
        assert (found.train.popularity()[ranked] > 0).all()
        assert (found.item_ids[ranked[40:]] == [raw for raw, _ in popular[:20]]).all()
    evaluation = model.evaluate(found)
    assert evaluation.test == wanted
    assert (evaluation.cold_test_users, evaluation.cold_test_items) == (10, 15)


@pytest.mark.parametrize("kind", ["hamming", "real"])
def test_rank_by_plain_python(kind):
    import torch

    found = data(3)
    g = torch.Generator().manual_seed(0)
    users, items = (torch.randn(n, 6, generator=g).round() for n in (50, len(found.item_ids)))
    ranking, scores = RealRanking(users, items), users @ items.T
    if kind == "hamming":
        ranking = HammingRanking(pack_tensor(users), pack_tensor(items), 6)
        scores = torch.where(users >= 0, 1, -1) @ torch.where(items >= 0, 1, -1).T
    popularity = found.train.popularity()
    for batch in (7, 4096):
        got = rank(ranking, found.train, 35, batch_users=batch)
        for user in range(50):
            own = set(found.train.of_users(np.array([user])).ids.tolist())
            key = -scores[user].numpy() if own else -popularity
            order = [j for j in np.argsort(key, kind="stable") if popularity[j] and j not in own]
            assert got[user].tolist() == (order + [-1] * 35)[:35]
    nobody = rank(ranking, None, len(found.item_ids))
    assert (np.sort(nobody) == np.arange(len(found.item_ids))).all()


def test_bounds_of_ties_hold_the_metrics_and_the_rule():
    """By going through random orders of ties for all users, cold ones too."""
    import torch

    found = data(5)
    g = torch.Generator().manual_seed(0)
    users, items = (torch.randn(n, 4, generator=g) for n in (50, len(found.item_ids)))
    ranking = HammingRanking(pack_tensor(users), pack_tensor(items), 4)
    evaluation = evaluate_codes(ranking, found, [5, 20])
    popularity, rng = found.train.popularity(), np.random.default_rng(0)
    near = (torch.where(users >= 0, 1, -1) @ torch.where(items >= 0, 1, -1).T).numpy()
    near[40:] = popularity
    recalls = []
    for _ in range(400):
        total = []
        for user in range(50):
            own = found.train.of_users(np.array([user])).ids
            order = np.lexsort((rng.random(len(popularity)), -near[user]))
            order = [j for j in order if popularity[j] and j not in own]
            wanted = found.test.of_users(np.array([user])).ids
            if len(wanted):
                total.append(len(set(order[:5]) & set(wanted)) / len(wanted))
        recalls.append(np.mean(total))
    bounds = evaluation.ties["recall@5"]
    assert np.mean(recalls) == pytest.approx(bounds["expected"], abs=5 * np.std(recalls) / 20)
    assert bounds["lower"] <= min(recalls) and max(recalls) <= bounds["upper"]
    for name, value in evaluation.test.items():
        low, high = (evaluation.ties[name][end] for end in ("lower", "upper"))
        assert low <= value <= high and evaluation.ties[name]["expected"] <= high
    assert evaluation.cold_test_users == 10 and evaluation.cold_test_items == 15


def test_popularity_does_not_rely_on_the_order_of_rows():
    found = data()
    shuffled = np.random.default_rng(0).permutation(len(found.item_ids))
    back = np.argsort(shuffled)
    parts = [
        Interactions.from_pairs(part.users(), back[part.ids], part.num_users, part.num_items)
        for part in (found.train, found.test)
    ]
    other = Dataset("shuffled", *parts, found.user_ids, found.item_ids[shuffled])
    rule = ColdRule(other.train)
    rows = rule.popular(20, other.train, ~rule.items)[0]
    wanted = evaluate_rankings(rows, np.arange(50), other.test, (5, 20))
    assert evaluate_popularity(other, (5, 20)) == wanted
    assert count_cold(other.train, other.test) == (10, 15)


def test_nobody_has_anything():
    rule = ColdRule(Interactions([0, 0, 0], [], 3))
    nothing = Interactions([0, 0], [], 3)
    assert rule.popular(2, nothing, ~rule.items)[0].tolist() == [[-1, -1]]
    assert rule.popular(2, nothing)[0].tolist() == [[0, 1]]
    empty = ColdRule(Interactions([0], [], 0))
    assert empty.popular(2, Interactions([0, 0], [], 0))[0].tolist() == [[-1, -1]]
