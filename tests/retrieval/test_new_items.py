"""Codes of new items from their users: plain Python gives the same, and they are found at once."""

from __future__ import annotations

import numpy as np
import pytest
from indexes import assert_same, thermometers, weights
from scipy.sparse import csr_array

from hashgcn.data import Interactions
from hashgcn.levels import LEVELS
from hashgcn.retrieval import (
    HammingIndex,
    Recommender,
    pack_levels,
    state,
    unpack_codes,
    unpack_levels,
)

LENGTH, BITS, USERS, ITEMS = 70, 6, 40, 30


def example(levels: int = 1, bits: int = BITS) -> Recommender:
    """Random codes; the last two items are nobody's, the first user has none."""
    rng = np.random.default_rng(levels)
    pairs = [(u, i) for u in range(1, USERS) for i in rng.choice(ITEMS - 2, 1 + u % 7, False)]
    seen = Interactions.from_pairs(*np.array(pairs).T, USERS, ITEMS)
    names = np.array([f"item {i}" for i in range(ITEMS)])
    index = HammingIndex.build(thermometers(ITEMS, LENGTH, bits, 5), names, popularity_bits=bits)
    codes = weights(USERS, LENGTH, levels, 6, bits)
    users = pack_levels(codes, levels)
    return Recommender(users[:, 0] if levels == 1 else users, np.arange(USERS) + 100, index, seen)


def lists(count: int = 25) -> list[list[int]]:
    """Users of some items, by raw id, with repeats; the cold user 100 among them."""
    rng = np.random.default_rng(7)
    drawn = [rng.choice(USERS, 1 + at, True) + 100 for at in range(count)]
    return [[*users.tolist(), 100, 101 + at] for at, users in enumerate(drawn)]


def plain(model: Recommender, users: list[int]) -> list[int]:
    """The same in a loop over users and bits."""
    degrees, popularity = model.seen.degrees(), model.seen.popularity()
    trained = [i for i in range(len(popularity)) if popularity[i]]
    bits = model.index.popularity_bits
    codes, taste = unpack_levels(model.user_codes, LENGTH), LENGTH - bits
    own = sorted({u - 100 for u in users if degrees[u - 100]})
    code = []
    for j in range(taste):
        code.append(1 if sum(int(codes[u, j]) for u in own) >= 0 else -1)
    items = unpack_codes(model.index.codes, LENGTH)[trained, taste:]
    positive = sorted(int((row > 0).sum()) for row in items)
    fewer = sum(popularity[i] < len(own) for i in trained)
    as_many = sum(popularity[i] == len(own) for i in trained)
    count = positive[min(fewer + as_many // 2, len(positive) - 1)]
    return code + [1] * count + [-1] * (bits - count)


@pytest.mark.parametrize("bits", [0, BITS])
@pytest.mark.parametrize("levels", LEVELS)
def test_codes_equal_plain_python(levels, bits, monkeypatch):
    model = example(levels, bits)
    codes = model.fold_in_items(lists())
    assert codes.dtype == np.int64 and codes.shape == (25, 2)
    want = [plain(model, users) for users in lists()]
    assert unpack_codes(codes, LENGTH).tolist() == want
    assert len({sum(code[LENGTH - bits :]) for code in want}) > (2 if bits else 0)
    for threads in (1, 2, 3):
        assert_same([model.fold_in_items(lists(), num_threads=threads)], [codes])
    monkeypatch.setattr(state, "_PAIRS", 5)
    assert_same([model.fold_in_items(lists())], [codes])
    one = np.concatenate([model.fold_in_items([users]) for users in lists()])
    assert_same([one], [codes])


def test_users_come_as_lists_or_as_a_matrix():
    model = example(2)
    codes = model.fold_in_items(lists())
    dense = np.zeros((25, USERS))
    for item, users in enumerate(lists()):
        dense[item, np.array(users) - 100] = 1
    pairs = Interactions.from_pairs(*dense.nonzero(), 25, USERS)
    arrays = (np.array(users[::-1]) for users in lists())
    for given in (csr_array(dense), pairs, arrays, tuple(map(set, lists()))):
        assert_same([model.fold_in_items(given)], [codes])
    unknown = [[*users, 7] for users in lists()]
    assert_same([model.fold_in_items(unknown, ignore_unknown=True)], [codes])
    assert model.fold_in_items([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ([[101], [7]], "users: expected ids of users seen in training, got 7, in list 1"),
        ([["101"]], "users: expected ids of users seen in training"),
        (
            [[101], [100]],
            "users: expected at least one user with items in train for every item, got none for "
            "item 1",
        ),
        ([[]], "users: expected at least one user .* got none for item 0"),
        (csr_array(np.ones((1, 3))), r"users: expected a matrix of shape \[Q, 40\], got \[1, 3\]"),
        ({101}, "users: expected a list of ids per query, or a CSR matrix, got set"),
    ],
)
def test_errors(users, message):
    model = example()
    with pytest.raises(ValueError, match=f"^{message}"):
        model.fold_in_items(users)
    before = model.encode()[0]
    with pytest.raises(ValueError, match=f"^{message}"):
        model.add_from(users, ["x", "y"][: 2 if isinstance(users, list) else 1])
    after = model.encode()[0]
    assert list(before) == list(after)
    assert_same(before.values(), after.values())


@pytest.mark.parametrize("levels", [1, 2])
def test_items_are_found_at_once_and_not_by_their_own_users(levels, tmp_path):
    model, ids = example(levels), [f"new {at}" for at in range(25)]
    codes = model.fold_in_items(lists())
    index, cold = model.index, model.recommend([100, 7], 60)
    index.add(codes, ids)
    model.add_from(lists(), ids)
    assert_same([model.index.codes, model.index.ids], [index.codes, index.ids])
    found = model.recommend(model.user_ids, 60)
    for user, items in zip(model.user_ids.tolist(), found.ids.tolist(), strict=True):
        took = {name for name, users in zip(ids, lists(), strict=True) if user in users}
        want = set(ids) if user == 100 else set(ids) - took  # user 100 has no items in train
        assert want == {name for name in items if name.startswith("new")}
    # They have as many users as were given, without the cold one.
    again = model.recommend([100, 7], 60)
    assert again.cold.all() and cold.cold.all()
    scores = dict(zip(again.ids[0].tolist(), again.scores[0].tolist(), strict=True))
    assert [scores[x] for x in ids] == [len({*users} - {100}) for users in lists()]
    assert model.trained_items[-25:].all()
    model.save(tmp_path / "codes")
    other = Recommender.load(tmp_path / "codes")
    assert_same(other.recommend(model.user_ids, 60), found)
    assert_same([other.fold_in([ids[:2]])], [model.fold_in([ids[:2]])])
    with pytest.raises(ValueError, match="^ids: expected ids that the index lacks, got 'new 3'"):
        model.add_from([[101]], ["new 3"])


def test_an_item_goes_to_users_like_its_first_ones():
    """Two groups of users whose codes are opposite but for noise."""
    rng = np.random.default_rng(0)
    group, centre = np.arange(60) % 2, np.where(rng.random(LENGTH) < 0.5, 1, -1)
    noise = np.where(rng.random((60, LENGTH)) < 0.1, -1, 1)
    users = pack_levels(noise * centre * (2 * group - 1)[:, None], 1)[:, 0]
    index = HammingIndex.build(np.where(rng.random((20, LENGTH)) < 0.5, 1, -1).astype(np.int8))
    seen = Interactions.from_pairs(np.arange(60), np.arange(60) % 20, 60, 20)
    model = Recommender(users, np.arange(60), index, seen)
    model.add_from([[0, 2, 4], [1, 3, 5]], [20, 21])
    found = model.recommend(np.arange(6, 60), 1).ids[:, 0]
    assert (found == 20 + group[6:]).all()
