"""Filters, cold users and JSON in every call of a recommender, compared with plain Python."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from indexes import KINDS, make_ids, signs, weights

from hashgcn.data import Interactions
from hashgcn.models import RecallHash
from hashgcn.retrieval import (
    HammingIndex,
    Recommendations,
    Recommender,
    pack_codes,
    pack_levels,
    popularity_query_bits,
    search_reranked,
)

USERS, ITEMS, LENGTH, BITS = 12, 40, 30, 6
LOWEST = -(2**31)


class Plain:
    """A recommender and what it should answer; the last three items are nobody's."""

    def __init__(self, kind: str, levels: int) -> None:
        rng = np.random.default_rng(levels)
        self.levels, self.ids = levels, make_ids(kind, ITEMS)
        self.weights = weights(USERS, LENGTH, levels, 3, BITS, 1)
        self.signs = signs(ITEMS, LENGTH, 1)
        self.own = [set(rng.choice(ITEMS - 3, 1 + u % 5, False).tolist()) for u in range(USERS)]
        self.own[5] = set()
        users = [u for u, items in enumerate(self.own) for _ in items]
        items = [i for items in self.own for i in items]
        self.seen = Interactions.from_pairs(users, items, USERS, ITEMS)
        names = np.array([f"user {u}" for u in range(USERS)])
        codes = pack_levels(self.weights, levels)
        if levels == 1:
            codes = pack_codes(self.weights.astype(np.float32))
        index = HammingIndex.build(
            self.signs, None if kind == "rows" else self.ids, popularity_bits=BITS
        )
        self.model = Recommender(codes, names, index, self.seen)

    def answer(self, user: int, k: int, keep, seen=True, untrained=False, weight=1.0):
        """Raw ids and scores of user row `user`, -1 for an unknown one; keep: bool [n]."""
        own = self.own[user] if user >= 0 else set()
        count = self.seen.popularity()
        rows = [i for i in range(ITEMS) if keep[i] and (untrained or count[i])]
        rows = [i for i in rows if not (seen and i in own)]
        if own:
            query = self.weights[user].copy()
            query[LENGTH - BITS :] = popularity_query_bits(BITS, weight, 1)
            scores = (query @ self.signs.T).astype(int)
        else:
            scores = count
        best = sorted(rows, key=lambda i: (-scores[i], i))[:k]
        return self.ids[best].tolist(), [int(scores[i]) for i in best]


def filters(plain: Plain, num_users: int):
    """Arguments, and what they keep, bool [users, n]."""
    rng = np.random.default_rng(7)
    each, other = rng.random((2, num_users, ITEMS)) < 0.6
    one, ids = rng.random(ITEMS) < 0.6, plain.ids
    every = np.ones((num_users, ITEMS), bool)
    lists = [ids[row].tolist() for row in each]
    matrix = Interactions.from_pairs(*each.nonzero(), num_users, ITEMS)
    return [
        ({}, every),
        ({"allow": ids[one]}, every & one),
        ({"deny": set(ids[one].tolist())}, every & ~one),
        ({"allow": lists}, each),
        ({"deny": matrix}, ~each),
        ({"allow": matrix, "deny": [ids[row] for row in other]}, each & ~other),
        ({"allow": one, "deny": lists}, one & ~each),
        ({"allow": lists, "deny": one}, each & ~one),
        ({"allow": []}, ~every),
        ({"allow": [[]] * num_users}, ~every),
    ]


def assert_answers(found: Recommendations, want: list, cold: list[bool]) -> None:
    missing = "" if found.ids.dtype.kind == "T" else -1
    for row, (ids, scores) in enumerate(want):
        left = found.ids.shape[1] - len(ids)
        assert found.ids[row].tolist() == ids + [missing] * left
        assert found.scores[row].tolist() == scores + [LOWEST] * left
    assert found.cold.tolist() == cold
    dicts = [{"items": i, "scores": s, "cold": c} for (i, s), c in zip(want, cold, strict=True)]
    assert found.to_dicts() == json.loads(json.dumps(found.to_dicts())) == dicts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", [1, 2])
def test_recommend_has_every_filter_at_once(levels, kind):
    plain = Plain(kind, levels)
    rows = [3, -1, 5, 0, 11, 3, -1]
    users = [f"user {row}" if row >= 0 else f"new {at}" for at, row in enumerate(rows)]
    cold = [row in (-1, 5) for row in rows]
    for options, keep in filters(plain, len(rows)):
        for seen, untrained, weight in ((True, False, 1.0), (False, True, 0.0), (True, True, -0.5)):
            extra = {
                "exclude_seen": seen,
                "untrained_items": untrained,
                "popularity_weight": weight,
            }
            want = [
                plain.answer(row, 9, keep[at], seen, untrained, weight)
                for at, row in enumerate(rows)
            ]
            assert_answers(plain.model.recommend(users, 9, **options, **extra), want, cold)
    with pytest.raises(ValueError, match="users: expected ids of users with items .*'new 1'"):
        plain.model.recommend(users, cold_users="error")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", [1, 2])
def test_recommend_from_and_search_have_every_filter_at_once(levels, kind):
    plain = Plain(kind, levels)
    model, popularity = plain.model, plain.seen.popularity()
    liked = [[1, 2, 9], [], [ITEMS - 1], [4], [ITEMS - 1, 7]]
    liked[0][0] = int(popularity.argmax())
    cold = [not popularity[items].any() for items in liked]
    lists = [plain.ids[rows].tolist() for rows in liked]
    known = [at for at, is_cold in enumerate(cold) if not is_cold]
    codes = np.zeros((5, *model.user_codes.shape[1:]), np.int64)
    codes[known] = model.fold_in([lists[at] for at in known])
    for options, keep in filters(plain, 5):
        for with_own, weight in ((True, 0.5), (False, None)):
            found = model.recommend_from(
                lists, 8, exclude_own=not with_own, popularity_weight=weight, **options
            )
            assert found.cold.tolist() == cold
            if not with_own:
                keep = keep.copy()
                for at, rows in enumerate(liked):
                    keep[at, rows] = False
            mask = Interactions.from_pairs(*keep.nonzero(), 5, ITEMS)
            again = model.search(codes, 8, cold=cold, allow=mask, popularity_weight=weight)
            np.testing.assert_array_equal(found.ids, again.ids)
            np.testing.assert_array_equal(found.scores, again.scores)
            assert again.cold.tolist() == cold
            want = [plain.answer(-1, 8, row) for row in keep]
            for at, (ids, scores) in enumerate(want):
                if cold[at]:
                    one = found.to_dicts()[at]
                    assert (one["items"], one["scores"], one["cold"]) == (ids, scores, True)
                else:
                    trained = keep[at] & (popularity > 0)
                    assert set(found.to_dicts()[at]["items"]) <= set(plain.ids[trained].tolist())
                    assert found.counts[at] == min(8, trained.sum())


def test_a_batch_of_unknown_users_and_new_items_does_not_fail():
    plain = Plain("str", 2)
    model, new = plain.model, ["new item"]
    popular = plain.answer(-1, 3, np.ones(ITEMS, bool))
    found = model.recommend(["user 3", "new"], 3, allow=[*plain.ids, *new], ignore_unknown=True)
    assert found.cold.tolist() == [False, True]
    assert found.to_dicts()[1]["items"] == popular[0]
    found = model.recommend_from(
        [[popular[0][0]], new, []], 3, deny=[new, new, new], ignore_unknown=True
    )
    assert found.cold.tolist() == [False, True, True]
    assert found.to_dicts()[1] == found.to_dicts()[2] != found.to_dicts()[0]
    nothing = model.recommend(["user 3", "new"], 3, allow=new, ignore_unknown=True)
    assert nothing.to_dicts() == [
        {"items": [], "scores": [], "cold": False},
        {"items": [], "scores": [], "cold": True},
    ]
    for argument in ("allow", "deny"):
        for call in (
            lambda **x: model.recommend(["new"], **x),
            lambda **x: model.recommend_from([[plain.ids[3]]], **x),
            lambda **x: model.search(model.user_codes[:1], **x),
        ):
            with pytest.raises(ValueError, match=f"^{argument}: expected ids of the index, got 'n"):
                call(**{argument: new})
            with pytest.raises(ValueError, match=f"^{argument}: expected 1 lists of ids, one per"):
                call(**{argument: [[], []]})


def test_models_pass_every_argument_on():
    plain = Plain("str", 1)
    model = RecallHash()
    model.recommender = plain.model
    options = {"allow": [*plain.ids[:20], "new"], "deny": [plain.ids[:3]], "ignore_unknown": True}
    for mine, theirs in (
        (model.recommend(["user 3"], **options), plain.model.recommend(["user 3"], **options)),
        *[tuple(x.recommend_from([plain.ids[4:6]], **options) for x in (model, plain.model))],
    ):
        assert mine.to_dicts() == theirs.to_dicts() and mine.counts[0] == 10


def test_results_are_pairs_with_names_that_json_can_hold():
    plain = Plain("int", 2)
    users = ["user 3", "user 5", "new"]
    found = plain.model.recommend(users, 60)
    ids, scores = found
    assert ids is found.ids is found[0] and scores is found.scores is found[1]
    assert isinstance(found, tuple) and "cold=array" in repr(found)
    for other in (copy.deepcopy(found), copy.copy(found), pickle.loads(pickle.dumps(found))):
        assert json.dumps(other.to_dicts()) == json.dumps(found.to_dicts())
    one = plain.model.search(plain.model.fold_in([found.ids[2, :3]]), 4).to_dicts()
    single = Plain("int", 1).model
    query = single.user_codes[3]
    assert single.search(query, 4).to_dicts() == single.search(query[None], 4).to_dicts()
    assert single.search(query, 4).cold.shape == () and len(one) == 1
    popular = single.search(query, 4, cold=True)
    assert popular.cold and popular.to_dicts()[0]["cold"] is True
    near = single.index.search(query, 60, deny=plain.ids[:5])
    assert json.loads(json.dumps(near.to_dicts())) == [
        {"items": near.ids[:35].tolist(), "distances": near.distances[:35].tolist()}
    ]
    assert single.index.search(query[None], 60, deny=plain.ids[:5]).to_dicts() == near.to_dicts()
    real = search_reranked(single.index, signs(2, LENGTH, 4), 3, depth=50, allow=plain.ids[:2])
    assert json.loads(json.dumps(real.to_dicts()))[1]["cold"] is False
    assert [len(x["items"]) for x in real.to_dicts()] == [2, 2]
    assert [x["cold"] for x in found.to_dicts()] == [False, True, True]
