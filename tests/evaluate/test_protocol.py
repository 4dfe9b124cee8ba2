"""Rankings: the order rule, what is left out, and that batches change nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hashgcn.data import Interactions, generate_sample
from hashgcn.data.cold import ColdRule
from hashgcn.evaluate import (
    HammingRanking,
    Ranking,
    RealRanking,
    evaluate,
    evaluate_codes,
    evaluate_original_order,
    evaluate_popularity,
    evaluate_ties,
    rank,
)
from hashgcn.ops import pack_codes, pack_levels, unpack_codes

NUM_USERS, NUM_ITEMS, WIDTH = 300, 90, 6


def seen_pairs(num_users: int = NUM_USERS) -> Interactions:
    rng = np.random.default_rng(0)
    users, items = rng.integers(0, num_users, 2000), rng.integers(0, NUM_ITEMS, 2000)
    return Interactions.from_pairs(users, items, num_users, NUM_ITEMS)


def graded_users(levels: int) -> torch.Tensor:
    """Random odd weights, [NUM_USERS, WIDTH]."""
    g = torch.Generator().manual_seed(1)
    return 2.0 * torch.randint(0, 2 * levels, (NUM_USERS, WIDTH), generator=g) - (2 * levels - 1)


def problem(name: str) -> tuple[Ranking, np.ndarray]:
    """A ranking with many ties, and its scores."""
    g = torch.Generator().manual_seed(0)
    users, items = (torch.randn(n, WIDTH, generator=g) for n in (NUM_USERS, NUM_ITEMS))
    if name == "hamming":
        scores = torch.where(users >= 0, 1, -1) @ torch.where(items >= 0, 1, -1).T
        return HammingRanking(pack_codes(users), pack_codes(items), WIDTH), scores.numpy()
    if name == "graded":
        users, signs = graded_users(4), torch.where(items >= 0, 1.0, -1.0)
        ranking = HammingRanking(pack_levels(users, 4), pack_codes(items), WIDTH)
        return ranking, (users @ signs.T).numpy()
    # Small whole numbers: exact products, and ties.
    users, items = users.round(), items.round()
    return RealRanking(users, items), (users @ items.T).numpy()


@pytest.mark.parametrize("name", ["hamming", "graded", "real"])
@pytest.mark.parametrize("k", [1, 10, NUM_ITEMS, NUM_ITEMS + 5])
@pytest.mark.parametrize("masked", [True, False])
def test_order_is_by_score_then_row(name, k, masked):
    ranking, scores = problem(name)
    seen = seen_pairs() if masked else None
    got = rank(ranking, seen, k, batch_users=128)
    for user in range(NUM_USERS):
        own = set(seen.ids[seen.ptr[user] : seen.ptr[user + 1]].tolist()) if masked else set()
        # Users without items are cold: they get the most popular ones.
        key = -seen.popularity() if masked and not own else -scores[user]
        order = [j for j in np.argsort(key, kind="stable").tolist() if j not in own]
        assert got[user].tolist() == (order + [-1] * (k + NUM_ITEMS))[:k]


@pytest.mark.parametrize("name", ["hamming", "graded", "real"])
def test_batches_and_threads_change_nothing(name, threads):
    ranking, _ = problem(name)
    if name == "real":
        g = torch.Generator().manual_seed(1)
        ranking = RealRanking(
            torch.randn(NUM_USERS, 64, generator=g), ranking.items.repeat(1, 11)[:, :64]
        )
    seen = seen_pairs()
    threads(1)
    want = rank(ranking, seen, 20)
    for count, batch in ((1, 7), (2, 4096), (3, 100)):
        threads(count)
        np.testing.assert_array_equal(rank(ranking, seen, 20, batch_users=batch), want)


@pytest.mark.parametrize("name", ["hamming", "graded", "real"])
def test_original_order_renumbers_items(name):
    data = generate_sample(num_users=NUM_USERS, num_items=NUM_ITEMS, mean_degree=15.0)
    n = data.train.num_items
    ranking, _ = problem(name)
    ranking = ranking.with_items(torch.arange(n))
    order = torch.from_numpy(np.argsort(data.item_ids, kind="stable"))
    back = order.numpy()[rank(ranking.with_items(order), None, 5)]
    found = evaluate_original_order(ranking, data, [5])
    assert found.keys() == {"recall@5", "ndcg@5"}
    assert found != evaluate(ranking, data.train, data.test, [5])
    # Equal scores now come in the order of raw ids.
    ties = rank(ranking, None, 5) != back
    assert ties.any()


def test_bytes_per_item():
    assert problem("real")[0].bytes_per_item == 4 * WIDTH
    words = torch.zeros(3, 2, dtype=torch.int64)
    assert HammingRanking(words, words, 65).bytes_per_item == 9


@pytest.mark.parametrize("name", ["hamming", "graded", "real"])
def test_users_and_items_have_to_be_the_same(name):
    ranking, _ = problem(name)
    seen, fewer = seen_pairs(), seen_pairs(NUM_USERS - 1)
    with pytest.raises(ValueError, match="seen: expected 300 users, as in ranking, got 299"):
        rank(ranking, fewer, 5)
    with pytest.raises(
        ValueError, match="relevant: expected 300 users and 90 items, .* 299 and 90"
    ):
        evaluate(ranking, seen, fewer, [5])
    wide = Interactions(seen.ptr, seen.ids, NUM_ITEMS + 1)
    with pytest.raises(
        ValueError, match="relevant: expected 300 users and 90 items, .* 300 and 91"
    ):
        evaluate(ranking, seen, wide, [5])


@pytest.mark.parametrize("cutoffs", [[], [0], [5, -1], [2.5], [True], ["5"]])
def test_cutoffs_are_checked(cutoffs):
    ranking, _ = problem("hamming")
    data = generate_sample(num_users=NUM_USERS, num_items=NUM_ITEMS, mean_degree=15.0)
    calls = [
        lambda: evaluate(ranking, seen_pairs(), seen_pairs(), cutoffs),
        lambda: evaluate_popularity(data, cutoffs),
        lambda: evaluate_ties(ranking, data, cutoffs),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="cutoffs: expected integers >= 1, got"):
            call()


def test_cutoffs_past_the_catalogue_and_users_with_nothing_left():
    """Of 3 items user 0 has all, user 1 two, user 2 one; user 3 has no test item."""
    train = Interactions.from_pairs([0, 0, 0, 1, 1, 2, 3], [0, 1, 2, 0, 1, 0, 2], 4, 3)
    words = pack_codes(torch.ones(4, 8)), pack_codes(torch.ones(3, 8))
    ranking = HammingRanking(*words, 8)
    assert rank(ranking, train, 5).tolist() == [
        [-1] * 5,
        [2, -1, -1, -1, -1],
        [1, 2, -1, -1, -1],
        [0, 1, -1, -1, -1],
    ]
    relevant = Interactions.from_pairs([1, 2], [2, 2], 4, 3)
    found = evaluate(ranking, train, relevant, [1, 2, 50])
    assert [found[f"recall@{k}"] for k in (1, 2, 50)] == [0.5, 1, 1]
    assert found["ndcg@50"] == pytest.approx((1 + 1 / np.log2(3)) / 2)
    # What a user has seen is never found: it counts as missed.
    own = Interactions.from_pairs([0, 2], [1, 0], 4, 3)
    assert evaluate(ranking, train, own, [50])["recall@50"] == 0


def test_levels():
    assert problem("hamming")[0].levels == 1
    assert [
        HammingRanking(
            pack_levels(graded_users(x), x), torch.zeros(3, 1, dtype=torch.int64), 6
        ).levels
        for x in (1, 2, 4, 8)
    ] == [1, 2, 4, 8]
    assert problem("graded")[0].bytes_per_item == problem("hamming")[0].bytes_per_item == 1


def test_one_plane_ranks_and_measures_as_plain_users():
    data = generate_sample(num_users=NUM_USERS, num_items=NUM_ITEMS, mean_degree=15.0)
    plain, _ = problem("hamming")
    plain = plain.with_items(torch.arange(data.train.num_items))
    one = replace(plain, users=plain.users[:, None])
    assert evaluate_codes(one, data, [5, 20]) == evaluate_codes(plain, data, [5, 20])


def test_real_valued_users_and_signs_of_items_are_a_real_ranking():
    """Weights as floats against unpacked items rank as their planes do, ties too."""
    graded, scores = problem("graded")
    real = RealRanking(graded_users(4), unpack_codes(graded.items, WIDTH))
    seen = seen_pairs()
    np.testing.assert_array_equal(rank(real, seen, 30), rank(graded, seen, 30))
    assert real.bytes_per_item == 4 * WIDTH
    users = torch.randn(NUM_USERS, WIDTH, generator=torch.Generator().manual_seed(3))
    best = rank(RealRanking(users, real.items), None, 1)[:, 0]
    np.testing.assert_array_equal(best, (users @ real.items.T).numpy().argmax(1))


@pytest.mark.parametrize("levels", [1, 2, 4, 8])
def test_bounds_under_ties_are_exact(levels):
    """Against every user's scores, and all orders of ties by hand: worst, best and the mean."""
    data = generate_sample(num_users=NUM_USERS, num_items=NUM_ITEMS, mean_degree=15.0)
    n, users = data.train.num_items, graded_users(levels)
    g = torch.Generator().manual_seed(2)
    items = torch.where(torch.randn(n, WIDTH, generator=g) >= 0, 1.0, -1.0)
    ranking = HammingRanking(pack_levels(users, levels), pack_codes(items), WIDTH)
    scores = (users @ items.T).numpy()
    rule = ColdRule(data.train)
    assert not rule.users.any()
    found = evaluate_ties(ranking, data, [1, 7], batch_users=64)
    ends = {"expected": [], "lower": [], "upper": []}
    for user in np.flatnonzero(data.test.degrees()):
        train, test = (
            part.ids[part.ptr[user] : part.ptr[user + 1]] for part in (data.train, data.test)
        )
        left = np.setdiff1d(np.flatnonzero(~rule.items), train)
        own = scores[user]
        last, first, mean = 0.0, 0.0, 0.0
        for item in np.intersect1d(test, left):
            above = (own[left] > own[item]).sum()
            tied, mine = (own[left] == own[item]).sum(), (own[test] == own[item]).sum()
            share = min(max(7 - above, 0), tied) / tied
            mean += share
            first += min(max(7 - above, 0), mine) / mine
            last += min(max(7 - above - (tied - mine), 0), mine) / mine
        for end, value in (("expected", mean), ("lower", last), ("upper", first)):
            ends[end].append(value / len(test))
    for end, values in ends.items():
        assert found["recall@7"][end] == pytest.approx(np.mean(values), rel=1e-12), end
    recall = evaluate(ranking, data.train, data.test, [7])["recall@7"]
    assert found["recall@7"]["lower"] < recall < found["recall@7"]["upper"]
