"""Recommenders of graded users: what they recommend, codes of new users, files."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from indexes import assert_same, by_score, signs, thermometers, weights

from hashgcn.data import Interactions
from hashgcn.files import save_arrays
from hashgcn.levels import LEVELS
from hashgcn.retrieval import (
    HammingIndex,
    Recommender,
    pack_codes,
    pack_levels,
    popularity_query_bits,
    state,
    unpack_codes,
    unpack_levels,
)

GRADED = LEVELS[1:]
LENGTH, BITS = 70, 6


def example(levels: int, value: int = 1, users: int = 40, items: int = 30) -> Recommender:
    """Random codes; the last two items are nobody's, the first user has none."""
    rng = np.random.default_rng(levels)
    pairs = [(u, i) for u in range(1, users) for i in rng.choice(items - 2, 1 + u % 7, False)]
    seen = Interactions.from_pairs(*np.array(pairs).T, users, items)
    names = np.array([f"item {i}" for i in range(items)])
    index = HammingIndex.build(thermometers(items, LENGTH, BITS, 5), names, popularity_bits=BITS)
    codes = weights(users, LENGTH, levels, 6, BITS, value)
    return Recommender(pack_levels(codes, levels), np.arange(users) + 100, index, seen)


CASES = [(2, 1), (2, 3), (4, 5), (8, 1), (8, 15)]


@pytest.mark.parametrize(("levels", "value"), CASES)
def test_recommendations_are_those_of_float_scores(levels, value):
    model = example(levels, value)
    assert model.levels == levels
    users = unpack_levels(model.user_codes, LENGTH)
    items = unpack_codes(model.index.codes, LENGTH)
    scores = users @ items.T
    kept = np.ones(scores.shape, bool)
    kept[model.seen.users(), model.seen.ids] = False
    kept[:, ~model.trained_items] = False
    want = by_score(scores, kept)
    found = model.recommend(model.user_ids, k=40)
    assert found.scores.dtype == np.int32
    for user in range(1, 40):
        ids = found.ids[user, : found.counts[user]]
        assert ids.tolist() == [f"item {i}" for i in want[user]]
        assert found.scores[user, : len(ids)].tolist() == scores[user, want[user]].tolist()
    popularity = model.seen.popularity()
    cold = [f"item {i}" for i in np.argsort(-popularity, kind="stable")[:5]]
    found = model.recommend([100, 7, 103], k=5)  # without items, unknown, known
    assert found.ids[:2].tolist() == [cold, cold]
    assert found.ids[2].tolist() == [f"item {i}" for i in want[3][:5]]
    neutral = model.recommend([103], k=40, popularity_weight=0.25)
    weighed = users[[3]].copy()
    weighed[:, -BITS:] = popularity_query_bits(BITS, 0.25, value)
    order = by_score(weighed @ items.T, kept[[3]])[0]
    assert neutral.ids[0, : len(order)].tolist() == [f"item {i}" for i in order]


def test_one_level_equals_plain(tmp_path):
    graded = example(1)
    assert graded.user_codes.ndim == 2 and graded.levels == 1
    codes = weights(40, LENGTH, 1, 6, BITS)
    plain = Recommender(
        pack_codes(codes.astype(np.int8)), graded.user_ids, graded.index, graded.seen
    )
    assert repr(graded) == repr(plain) == "Recommender(40 users, 30 items, codes of 70 bits)"
    assert_same(graded.recommend(graded.user_ids, 20), plain.recommend(graded.user_ids, 20))
    assert_same([graded.fold_in([["item 3"]])], [plain.fold_in([["item 3"]])])
    for model, name in ((graded, "graded"), (plain, "plain")):
        model.save(tmp_path / name)
    assert (tmp_path / "graded").read_bytes() == (tmp_path / "plain").read_bytes()
    assert plain.plain_user_codes is plain.user_codes


@pytest.mark.parametrize("levels", GRADED)
def test_what_a_graded_recommender_says_of_its_users(levels):
    model = example(levels, 3)
    looks = f"Recommender(40 users, 30 items, codes of 70 bits, users of {levels} levels)"
    assert repr(model) == looks
    users = unpack_levels(model.user_codes, LENGTH)
    np.testing.assert_array_equal(unpack_codes(model.plain_user_codes, LENGTH), np.sign(users))
    model.fold_in([["item 3"]])
    again = pickle.loads(pickle.dumps(model))
    assert repr(again) == looks
    assert_same(again.recommend(model.user_ids), model.recommend(model.user_ids))


def test_queries_of_cold_users_may_be_anything():
    """Their weights of popularity, too."""
    model = example(4, 5)
    queries = np.concatenate([np.zeros((2, 3, 2), np.int64), model.user_codes[3:5]])
    cold = [True, True, False, False]
    found = model.search(queries, 5, cold=cold)
    want = model.recommend([100, 7, 103, 104], 5, exclude_seen=False)
    assert_same(found, want)
    assert not queries[:2].any()
    with pytest.raises(ValueError, match="queries: expected one odd weight from 1 to 7"):
        model.search(queries, 5)
    with pytest.raises(ValueError, match=r"queries: expected bit planes .* got int64 \[2, 3, 1\]"):
        model.search(queries[:2, :, :1], 5, cold=[True, True])


def test_queries_of_another_number_of_planes_have_scores_of_their_own():
    model = example(4, 5)
    plain = model.search(model.plain_user_codes[3:9], 28)
    items = unpack_codes(model.index.codes, LENGTH)
    want = unpack_codes(model.plain_user_codes[3:9], LENGTH) @ items[:28].T
    np.testing.assert_array_equal(plain.scores, -np.sort(-want, axis=1))


def sums(model: Recommender, rows: list[int]) -> np.ndarray:
    popularity = model.seen.popularity()
    rows = [i for i in dict.fromkeys(rows) if popularity[i]]
    codes = unpack_codes(model.index.codes, LENGTH)[rows, :-BITS].astype(np.float64)
    return (codes / np.sqrt(popularity[rows])[:, None]).sum(axis=0)


def shares(codes: np.ndarray, levels: int) -> np.ndarray:
    found = np.abs(codes[:, :-BITS]).ravel()
    return np.array([(found == 2 * at + 1).mean() for at in range(levels)])


def biased(levels: int, value: int, users: int = 300) -> Recommender:
    """Users of many items, whose codes have far more small weights than large ones."""
    rng = np.random.default_rng(0)
    pairs = [(u, i) for u in range(1, users) for i in rng.choice(198, 8 + u % 30, False)]
    seen = Interactions.from_pairs(*np.array(pairs).T, users, 200)
    index = HammingIndex.build(thermometers(200, LENGTH, BITS, 5), popularity_bits=BITS)
    size = np.minimum(rng.exponential(0.7, (users, LENGTH)).astype(int), levels - 1)
    codes = (2 * size + 1) * rng.choice([-1, 1], (users, LENGTH))
    codes[:, -BITS:] = value
    return Recommender(pack_levels(codes, levels), np.arange(users), index, seen)


@pytest.mark.parametrize(("levels", "value"), CASES)
def test_folded_codes_are_as_graded_as_trained_ones(levels, value):
    model = biased(levels, value)
    known = Interactions(model.seen.ptr[1:], model.seen.ids, 200)
    planes = model.fold_in(known)
    codes, trained = (unpack_levels(x, LENGTH) for x in (planes, model.user_codes[1:]))
    assert planes.shape == model.user_codes[1:].shape and planes.dtype == np.int64
    assert (codes[:, -BITS:] == value).all()
    np.testing.assert_allclose(shares(codes, levels), shares(trained, levels), atol=2e-3)
    own = np.stack([sums(model, list(known.of_users(np.array([u])).ids)) for u in range(299)])
    np.testing.assert_array_equal(np.sign(codes[:, :-BITS]), np.where(own >= 0, 1, -1))
    # Of one user, a larger sum never has a smaller weight.
    order = np.argsort(np.abs(own), axis=1)
    assert (np.diff(np.take_along_axis(np.abs(codes[:, :-BITS]), order, 1), axis=1) >= 0).all()


def test_the_grade_is_relative_to_the_users_own_sums():
    """So it is the same for few items and for many, and with weights of recent items."""
    model = biased(4, 3)
    thresholds = model._state.thresholds
    assert len(thresholds) == 3 and (np.diff(thresholds) > 0).all()
    for rows, recent in (([5, 9, 77, 3, 3], 0), (list(range(40)), 0), ([5], 0), (range(40), 8)):
        own = sums(model, rows)
        if recent:
            own += np.sqrt(len(rows) / recent) * sums(model, rows[-recent:])
        relative = np.abs(own) / np.sqrt((own**2).mean())
        want = np.where(own >= 0, 1, -1) * (1 + 2 * (relative[:, None] >= thresholds).sum(axis=1))
        got = unpack_levels(model.fold_in([rows], recent_fraction=recent / 40), LENGTH)
        np.testing.assert_array_equal(got[0, :-BITS], want)


@pytest.mark.parametrize("pairs", [1, 7, 64])
def test_a_graded_code_depends_on_its_own_items_alone(monkeypatch, pairs):
    model = biased(4, 3)
    every = Interactions(model.seen.ptr[1:], model.seen.ids, 200)
    whole, thresholds = model.fold_in(every), model._state.thresholds
    monkeypatch.setattr(state, "_PAIRS", pairs)
    again = biased(4, 3)
    np.testing.assert_array_equal(again.fold_in(every, num_threads=1), whole)
    np.testing.assert_array_equal(again._state.thresholds, thresholds)
    np.testing.assert_array_equal(again.fold_in(every.of_users(np.array([7, 3]))), whole[[7, 3]])


def test_thresholds_of_a_sample(monkeypatch):
    whole = biased(4, 3)._state.thresholds
    monkeypatch.setattr(state, "_SAMPLE", 100)
    some = biased(4, 3)._state.thresholds
    assert (some != whole).any()
    np.testing.assert_allclose(some, whole, rtol=0.1)
    np.testing.assert_array_equal(biased(4, 3)._state.thresholds, some)


def test_thresholds_follow_changes_and_few_users():
    model = example(4, 5)
    before = model._state.thresholds
    model.remove([f"item {i}" for i in range(20)])
    assert (model._state.thresholds != before).any()
    ids = model.index.ids[model.trained_items]
    assert model.fold_in([ids[:1]]).shape == (1, 3, 2)
    # Only popularity bits: there is no taste to grade.
    seen = Interactions.from_pairs([0], [0], 1, 2)
    index = HammingIndex.build(np.array([[1, 1], [1, -1]], np.int8), popularity_bits=2)
    model = Recommender(pack_levels(np.array([[3, 3]]), 2), [0], index, seen)
    np.testing.assert_array_equal(model.fold_in([[0]]), model.user_codes)
    # Sums that cancel have no size.
    seen = Interactions.from_pairs([0, 0], [0, 1], 1, 2)
    index = HammingIndex.build(np.array([[1, 1], [-1, -1]], np.int8))
    model = Recommender(pack_levels(np.array([[3, 1]]), 2), [0], index, seen)
    assert model.fold_in([[0, 1]]).shape == (1, 2, 1)


def test_new_users_get_what_a_search_of_their_codes_finds():
    model = biased(2, 3)
    lists = [[3, 5, 8], [198], [7], list(range(50))]
    found = model.recommend_from(lists, 9)
    codes = model.fold_in([lists[at] for at in (0, 2, 3)])
    want = model.search(codes, 9, deny=[lists[at] for at in (0, 2, 3)])
    for at, row in zip((0, 2, 3), range(3), strict=True):
        assert_same([x[at] for x in found], [x[row] for x in want])
    popularity = model.seen.popularity()
    assert found.ids[1].tolist() == np.argsort(-popularity, kind="stable")[:9].tolist()


@pytest.mark.parametrize(("levels", "value"), CASES)
def test_files_of_graded_users(levels, value, tmp_path):
    model, path = example(levels, value), tmp_path / "codes"
    model.add(signs(2, LENGTH, 9), ["new", "newer"])
    model.save(path, metadata={"more": "text"})
    header = json.loads(path.read_bytes()[8 : 8 + int.from_bytes(path.read_bytes()[:8], "little")])
    assert header["__metadata__"]["version"] == "3"
    assert header["user_codes"]["shape"] == [40, {2: 2, 4: 3, 8: 4}[levels], 2]
    again, metadata = Recommender.load_with_metadata(path)
    assert metadata == {"more": "text"} and repr(again) == repr(model)
    for mine, theirs in zip(again.encode()[0].items(), model.encode()[0].items(), strict=True):
        assert mine[0] == theirs[0]
        np.testing.assert_array_equal(mine[1], theirs[1])
    assert_same(again.recommend(model.user_ids), model.recommend(model.user_ids))
    assert_same([again.fold_in([["item 3"]])], [model.fold_in([["item 3"]])])


def with_bits(at: tuple, levels: int = 4) -> np.ndarray:
    """The codes of example(4, 5) with a bit turned round: (row, plane, dimension)."""
    planes = example(levels, 5).user_codes.copy()
    row, plane, dimension = at
    planes[row, plane, dimension // 64] ^= 1 << dimension % 64
    return planes


@pytest.mark.parametrize(
    ("users", "version", "message"),
    [
        (np.zeros((40, 5, 2), np.int64), 3, r"user_codes: expected bit planes .* \[40, 5, 2\]"),
        (np.zeros((40, 0, 2), np.int64), 3, r"user_codes: expected bit planes .* \[40, 0, 2\]"),
        (np.zeros((40, 2, 3), np.int64), 3, r"user_codes: expected bit planes .* \[40, 2, 3\]"),
        (np.zeros((40, 1, 2, 2), np.int64), 3, r"user_codes: expected packed int64 words .*"),
        (np.zeros((40, 2, 2), np.int32), 3, "user_codes of dtype int32"),
        (example(4, 5).user_codes[1:], 3, "ids: expected 39, one per code, got 40"),
        (with_bits((7, 1, 70)), 3, "user_codes: expected zero bits past code_length 70"),
        (with_bits((7, 1, 69)), 3, "user_codes: expected one odd weight from 1 to 7 .* in row 7"),
        (with_bits((7, 2, 64)), 3, "user_codes: expected one odd weight from 1 to 7 .* in row 7"),
        (
            np.concatenate([example(4, 5).user_codes[:7], example(4, 3).user_codes[7:]]),
            3,
            "expected the same popularity weight in all codes, 5 as in row 0, got 3 in row 7",
        ),
        (
            example(4, 5).user_codes,
            2,
            r"user_codes: expected \[m, words\] in version 2, got \[40, 3",
        ),
        (
            example(4, 5).plain_user_codes[:, None],
            2,
            r"user_codes: expected \[m, words\] in version 2, got \[40, 1, 2\]",
        ),
        (
            example(4, 5).plain_user_codes,
            3,
            r"user_codes: expected \[m, 2 to 4 planes, words\] in version 3, got \[40, 2\]",
        ),
        (
            example(4, 5).plain_user_codes[:, None],
            3,
            r"user_codes: expected \[m, 2 to 4 planes, words\] in version 3, got \[40, 1, 2\]",
        ),
        (example(4, 5).user_codes, 4, "expected version 2 or 3 of hashgcn.recommender, got 4"),
        (example(4, 5).plain_user_codes, 1, "expected version 2 or 3 of hashgcn.rec.*, got 1"),
    ],
)
def test_files_that_do_not_fit_together(users, version, message, tmp_path):
    arrays, metadata = example(4, 5).encode()
    metadata["format"] = "hashgcn.recommender"
    save_arrays(tmp_path / "codes", {**arrays, "user_codes": users}, metadata, version=version)
    with pytest.raises(ValueError, match=f"codes: (.* got )?{message}"):
        Recommender.load(tmp_path / "codes")


def test_graded_users_without_popularity_bits_or_without_users():
    seen = Interactions.from_pairs([0, 0, 1], [1, 2, 0], 2, 3)
    index = HammingIndex.build(signs(3, 8, 0))
    codes = weights(2, 8, 2, 1)
    model = Recommender(pack_levels(codes, 2), [1, 2], index, seen)
    best = int((codes[1] @ signs(3, 8, 0)[1:].T).argmax()) + 1
    assert model.recommend([2], k=1).ids.tolist() == [[best]]
    with pytest.raises(ValueError, match="popularity_weight: expected None for codes without"):
        model.recommend([2], popularity_weight=0.5)
    nobody = Interactions(np.zeros(1, np.int64), np.zeros(0, np.int64), 3)
    index = HammingIndex.build(signs(3, 8, 0), popularity_bits=2)
    empty = Recommender(np.zeros((0, 2, 1), np.int64), np.zeros(0, np.int64), index, nobody)
    assert empty.levels == 2 and empty.recommend([5], k=2).ids.tolist() == [[-1, -1]]


def test_graded_users_work_without_torch(tmp_path):
    model = example(4, 5)
    model.save(tmp_path / "codes")
    want = model.recommend([103], k=3), model.fold_in([["item 3"]])
    (tmp_path / "want").write_bytes(pickle.dumps(want))
    code = f"""
import pickle, sys
sys.modules["torch"] = None
from hashgcn.retrieval import Recommender
found, codes = pickle.load(open({str(tmp_path / "want")!r}, "rb"))
model = Recommender.load({str(tmp_path / "codes")!r})
again = model.recommend([103], k=3)
assert (again.ids == found.ids).all() and (again.scores == found.scores).all()
assert (model.fold_in([["item 3"]]) == codes).all()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
