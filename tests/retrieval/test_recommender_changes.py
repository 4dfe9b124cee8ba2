"""Changes of a recommender: items seen, popularity, fold-in and files follow the index."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
import pytest
from indexes import signs

from hashgcn.data import Interactions
from hashgcn.retrieval import HammingIndex, Recommender, pack_codes, unpack_codes

LENGTH, BITS, USERS, ITEMS = 24, 4, 25, 40


class Plain:
    """The same in dictionaries: codes by raw id in the order of rows, items seen by user."""

    def __init__(self, seed: int, kind: type) -> None:
        rng = np.random.default_rng(seed)
        self.kind = kind
        codes = signs(ITEMS, LENGTH, seed)
        self.codes = {self.raw(i): codes[i] for i in range(ITEMS)}
        self.users = {100 + u: signs(1, LENGTH, 1000 + u)[0] for u in range(USERS)}
        for code in self.users.values():
            code[-BITS:] = 1
        self.seen = {
            user: {self.raw(i) for i in rng.choice(ITEMS - 3, rng.integers(0, 7), replace=False)}
            for user in self.users
        }
        self.given: set = set()

    def raw(self, number: int):
        return self.kind(number * 7 + 3)

    def recommender(self) -> Recommender:
        row = {raw: at for at, raw in enumerate(self.codes)}
        pairs = [(u, row[i]) for u, user in enumerate(self.seen) for i in self.seen[user]]
        users, items = np.array(pairs).T
        index = HammingIndex.build(
            np.stack(list(self.codes.values())), list(self.codes), popularity_bits=BITS
        )
        seen = Interactions.from_pairs(users, items, USERS, ITEMS)
        return Recommender(
            pack_codes(np.stack(list(self.users.values()))), list(self.users), index, seen
        )

    def popularity(self) -> Counter:
        return Counter(raw for items in self.seen.values() for raw in items)

    def remove(self, ids: list) -> None:
        for raw in ids:
            self.codes.pop(raw, None)
            self.given.discard(raw)
            for items in self.seen.values():
                items.discard(raw)

    def put(self, ids: list, codes: np.ndarray) -> None:
        self.codes.update(zip(ids, codes, strict=True))
        self.given |= set(ids)

    def recommend(self, user, k: int) -> list:
        popularity, own = self.popularity(), self.seen.get(user, set())
        rows = {raw: at for at, raw in enumerate(self.codes)}
        candidates = [x for x in rows if x not in own and (popularity[x] or x in self.given)]
        if not own:
            best = sorted(candidates, key=lambda x: (-popularity[x], rows[x]))
            return [(x, popularity[x]) for x in best[:k]]
        scores = {x: int(self.users[user] @ self.codes[x]) for x in candidates}
        best = sorted(candidates, key=lambda x: (-scores[x], rows[x]))
        return [(x, scores[x]) for x in best[:k]]

    def fold_in(self, items: list) -> np.ndarray:
        popularity = self.popularity()
        known = [x for x in dict.fromkeys(items) if popularity[x]]
        total = sum(self.codes[x].astype(np.float64) / np.sqrt(popularity[x]) for x in known)
        total[-BITS:] = 1
        return np.where(total >= 0, 1, -1)


def assert_same(model: Recommender, plain: Plain) -> None:
    assert model.index.ids.tolist() == list(plain.codes)
    users = [*plain.users, 7]
    ids, scores = model.recommend(users, k=60)
    for user, found, values in zip(users, ids.tolist(), scores.tolist(), strict=True):
        wanted = plain.recommend(user, 60)
        count = len(wanted)
        assert list(zip(found, values, strict=True))[:count] == wanted
        assert set(values[count:]) <= {-(2**31)}
        assert not plain.seen.get(user, set()) & set(found)
    popularity = plain.popularity()
    liked = [x for x in plain.codes if popularity[x]]
    for items in (liked[:3], list(plain.codes)[-5:] + liked[-2:]):
        code = unpack_codes(model.fold_in([items]), LENGTH)[0]
        np.testing.assert_array_equal(code, plain.fold_in(items))
    assert model.trained_items.tolist() == [popularity[x] > 0 for x in plain.codes]


@pytest.mark.parametrize("kind", [int, str])
@pytest.mark.parametrize("seed", range(6))
def test_random_changes_equal_plain_python(seed, kind, tmp_path):
    plain = Plain(seed, kind)
    model, rng, fresh = plain.recommender(), np.random.default_rng(seed), ITEMS
    assert_same(model, plain)
    for step in range(12):
        known, what = list(plain.codes), rng.integers(3)
        count = int(rng.integers(1, 6))
        codes = signs(count, LENGTH, 50 * seed + step)
        some = [known[at] for at in rng.choice(len(known), count, replace=False)]
        if what == 0:
            new = [plain.raw(fresh + at) for at in range(count)]
            fresh += count
            model.add(codes, new)
            plain.put(new, codes)
        elif what == 1:
            model.remove([*some, some[0]])
            plain.remove(some)
        else:
            model.replace(some, pack_codes(codes))
            plain.put(some, codes)
        assert_same(model, plain)
        model.save(tmp_path / "codes")
        again = Recommender.load(tmp_path / "codes")
        assert_same(again, plain)
        for mine, theirs in zip(again.encode()[0].items(), model.encode()[0].items(), strict=True):
            assert mine[0] == theirs[0]
            np.testing.assert_array_equal(mine[1], theirs[1])


def test_an_item_that_comes_back_is_a_new_one():
    plain = Plain(0, str)
    model = plain.recommender()
    user = next(user for user, items in plain.seen.items() if len(items) > 1)
    raw = next(iter(plain.seen[user]))
    model.remove([raw])
    code = np.array(plain.users[user])
    model.add(code[None], [raw])
    assert model.recommend([user], k=1).ids.tolist() == [[raw]]
    with pytest.raises(ValueError, match="items: expected at least one item of train"):
        model.fold_in([[raw]])


def test_the_index_cannot_be_changed_behind_its_back():
    plain = Plain(1, int)
    given = plain.recommender().index
    model = plain.recommender()
    index = model.index
    index.remove(list(plain.codes)[:10])
    index.add(signs(3, LENGTH, 9), [-1, -2, -3])
    index.replace([-1], signs(1, LENGTH, 2))
    model.index.remove(list(plain.codes)[:1])
    assert len(model.index) == ITEMS
    assert_same(model, plain)
    other = Recommender(model.user_codes, model.user_ids, given, model.seen)
    given.remove(list(plain.codes)[:10])
    assert_same(other, plain)
    for name in ("index", "seen", "user_codes", "user_ids"):
        with pytest.raises(AttributeError):
            setattr(model, name, getattr(model, name))


def test_removing_everything_and_beginning_anew(tmp_path):
    plain = Plain(2, int)
    model = plain.recommender()
    model.remove(list(plain.codes))
    assert model.recommend([100, 7], k=2).ids.tolist() == [[-1, -1]] * 2
    model.save(tmp_path / "empty")
    model = Recommender.load(tmp_path / "empty")
    model.add(signs(2, LENGTH, 3), [5, 6])
    assert model.recommend([100], k=3).ids.tolist() == [[5, 6, -1]]  # nobody has items in train


def test_an_index_without_ids():
    seen = Interactions.from_pairs([0, 0, 1], [1, 2, 0], 2, 3)
    index = HammingIndex.build(signs(3, 8, 0))
    model = Recommender(pack_codes(signs(2, 8, 1)), [1, 2], index, seen)
    model.add(signs(1, 8, 2))
    assert model.index.ids.tolist() == [0, 1, 2, 3]
    model.remove([1])
    assert sorted(model.recommend([1], k=9).ids[0].tolist()) == [-1] * 7 + [0, 3]
    with pytest.raises(ValueError, match="ids: expected one per code for an index with ids"):
        model.add(signs(1, 8, 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.remove([3, 4]), "ids: expected ids of the index, got 4"),
        (lambda m: m.remove(["3"]), "ids: expected ids of the index"),
        (
            lambda m: m.add(signs(2, LENGTH, 0), [1, 3]),
            "ids: expected ids that the index lacks, got 3",
        ),
        (lambda m: m.add(signs(2, LENGTH, 0), [1]), "ids: expected 2, one per code, got 1"),
        (lambda m: m.add(signs(1, LENGTH + 1, 0), [1]), "codes: expected"),
        (lambda m: m.replace([3, 3], signs(2, LENGTH, 0)), "ids: expected unique ids, got 3 twice"),
        (lambda m: m.replace([3], signs(2, LENGTH, 0)), "ids: expected 2, one per code, got 1"),
        (
            lambda m: m.replace((x for x in [4]), signs(1, LENGTH, 0)),
            "ids: expected ids of the index",
        ),
    ],
)
def test_a_change_that_fails_changes_nothing(change, message):
    plain = Plain(3, int)
    model = plain.recommender()
    with pytest.raises(ValueError, match=f"^{message}"):
        change(model)
    assert_same(model, plain)


def test_sizes_have_to_fit():
    plain = Plain(0, int)
    model = plain.recommender()
    users, ids, index, seen = model.user_codes, model.user_ids, model.index, model.seen
    short = Interactions(seen.ptr[:-1], seen.ids[: seen.ptr[-2]], ITEMS)
    for part, wrong in (
        (short, "seen: expected 25 users and 40 items, as there are codes, got 24 and 40"),
        (Interactions(seen.ptr, seen.ids, 41), "seen: expected .*, got 25 and 41"),
    ):
        with pytest.raises(ValueError, match=wrong):
            Recommender(users, ids, index, part)
    with pytest.raises(ValueError, match="ids: expected 25, one per code, got 24"):
        Recommender(users, ids[:-1], index, seen)


def test_searches_see_a_state_before_a_change_or_after_it():
    """Two items of one user that come and go together, and never one of them alone."""
    seen = Interactions.from_pairs([0, 0, 1, 1], [0, 1, 0, 1], 3, 2)
    index = HammingIndex.build(np.ones((2, 8)), ["a", "b"])
    model = Recommender(pack_codes(np.ones((3, 8))), [0, 1, 2], index, seen)
    stop, wrong = threading.Event(), []

    def look() -> None:
        while not stop.is_set():
            ids, scores = model.recommend([0, 9], k=4)
            found = {x for x in ids[0].tolist() if x}, {x for x in ids[1].tolist() if x}
            if found not in ((set(), {"a", "b"}), ({"c", "d"}, {"a", "b", "c", "d"})):
                wrong.append((ids.tolist(), scores.tolist()))

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        model.add(np.ones((2, 8)), ["c", "d"])
        model.remove(["c", "d"])
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_files_name_the_items_whose_codes_were_given():
    model = Plain(0, str).recommender()
    assert "given" not in model.encode()[0]
    model.add(signs(2, LENGTH, 0), ["new", "newer"])
    model.replace(["3"], signs(1, LENGTH, 0))
    assert model.encode()[0]["given"].tolist() == [0, ITEMS, ITEMS + 1]
    model.remove(["new"])
    assert model.encode()[0]["given"].tolist() == [0, ITEMS]
