"""Recommendations of all users in batches and as files: what recommend gives, for every user."""

from __future__ import annotations

import csv
import json
import tracemalloc

import numpy as np
import polars as pl
import pytest
from indexes import make_ids, signs

from hashgcn.data import Interactions
from hashgcn.retrieval import HammingIndex, Recommender, pack_codes
from hashgcn.retrieval.export import write_recommendations

USERS, ITEMS = 23, 30


def model(kind: str = "str", users: int = USERS) -> Recommender:
    rng = np.random.default_rng(0)
    pairs = [(u, i) for u in range(users) if u % 5 for i in rng.choice(ITEMS, 1 + u % 7, False)]
    seen = Interactions.from_pairs(*np.array(pairs).reshape(-1, 2).T, users, ITEMS)
    names = [f'user "{u}",\n{"ü" * (u % 3)}' for u in range(users)] if kind == "str" else None
    index = HammingIndex.build(signs(ITEMS, 20, 1), make_ids(kind, ITEMS), popularity_bits=4)
    users_ids = np.arange(users) * 7 if names is None else names
    return Recommender(pack_codes(signs(users, 20, 2)), users_ids, index, seen)


def options(recommender: Recommender, users: int) -> list[dict]:
    ids = recommender.index.ids
    lists = [ids[u % 9 : u % 9 + 12].tolist() for u in range(users)]
    return [
        {},
        {"allow": ids[:17], "deny": lists, "popularity_weight": 0.0},
        {"allow": lists, "deny": ids[3:5], "exclude_seen": False, "untrained_items": True},
        {"allow": []},
    ]


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("kind", ["int", "str"])
@pytest.mark.parametrize("batch_users", [1, 5, 23, 4096])
def test_files_hold_what_recommend_gives(batch_users, kind, tmp_path):
    recommender = model(kind)
    some = [*recommender.user_ids[[4, 0, 9]].tolist(), 10**6 if kind == "int" else "new"]
    for users in (None, some):
        every = recommender.user_ids if users is None else users
        for given in options(recommender, len(every)):
            found = recommender.recommend(every, 6, **given)
            want = [
                {"user": user, **one}
                for user, one in zip(list(every), found.to_dicts(), strict=True)
            ]
            rows = [
                (x["user"], rank, item, score, x["cold"])
                for x in want
                for rank, (item, score) in enumerate(zip(x["items"], x["scores"], strict=True), 1)
            ]
            for name in ("a.jsonl", "a.csv", "a.parquet"):
                batches = recommender.recommend_in_batches(
                    users, 6, batch_users=batch_users, **given
                )
                write_recommendations(batches, tmp_path / name)
            assert lines(tmp_path / "a.jsonl") == want
            with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
                head, *read = csv.reader(file)
            assert head == ["user", "rank", "item", "score", "cold"]
            text = [[*map(str, row[:4]), str(row[4]).lower()] for row in rows]
            assert read == text
            frame = pl.read_parquet(tmp_path / "a.parquet")
            assert frame.columns == head and frame.rows() == rows
            text_or_int = pl.String if kind == "str" else pl.Int64
            assert frame.dtypes == [text_or_int, pl.Int64, text_or_int, pl.Int32, pl.Boolean]


def test_batches_are_of_one_state_and_arguments_are_checked_at_the_call():
    recommender = model()
    want = recommender.recommend(recommender.user_ids, 4)
    batches = recommender.recommend_in_batches(k=4, batch_users=10)
    recommender.remove(recommender.index.ids[:9])
    found = list(batches)
    assert [len(users) for users, _ in found] == [10, 10, 3]
    np.testing.assert_array_equal(np.concatenate([one.ids for _, one in found]), want.ids)
    np.testing.assert_array_equal(np.concatenate([one.cold for _, one in found]), want.cold)
    for wrong, words in (
        ({"batch_users": 0}, "batch_users: expected a number >= 1, got 0"),
        ({"cold_users": "error"}, "users: expected ids of users with items in train, got 'user"),
        ({"cold_users": "all"}, "cold_users: expected one of popular, error"),
        ({"deny": ["new"]}, "deny: expected ids of the index, got 'new'"),
        ({"allow": [[]]}, "allow: expected 23 lists of ids, one per query, got 1"),
        ({"users": [3]}, r"users: expected ids of users seen in training \(str\), got 3"),
    ):
        with pytest.raises(ValueError, match=f"^{words}"):
            recommender.recommend_in_batches(**wrong)
    with pytest.raises(ValueError, match="^k: expected a number"):
        next(recommender.recommend_in_batches(k=0))


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_what_fails_half_way_leaves_the_old_file(name, tmp_path):
    recommender, path = model(), tmp_path / name

    def failing():
        batches = recommender.recommend_in_batches(batch_users=5)
        yield next(batches)
        yield next(batches)
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        write_recommendations(failing(), path)
    assert list(tmp_path.iterdir()) == []
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half way"):
        write_recommendations(failing(), path)
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "old"
    with pytest.raises(FileNotFoundError, match="no such folder"):
        write_recommendations(failing(), tmp_path / "none" / name)


def test_names_that_say_no_kind():
    for name in ("a.txt", "a", "a.csv.gz"):
        with pytest.raises(ValueError, match=r"^path: expected a name that ends in .*, got 'a"):
            write_recommendations([], name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_a_recommender_without_users(name, tmp_path):
    index = HammingIndex.build(np.ones((2, 8)), ["a", "b"])
    nobody = Recommender(np.zeros((0, 1), np.int64), [], index, Interactions([0], [], 2))
    write_recommendations(nobody.recommend_in_batches(), tmp_path / name)
    if name == "a.parquet":
        assert pl.read_parquet(tmp_path / name).shape == (0, 5)
    else:
        head = "user,rank,item,score,cold\n" if name == "a.csv" else ""
        assert (tmp_path / name).read_text() == head


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_memory_is_that_of_a_batch(name, tmp_path):
    """But for some numbers for each user, such as their row."""
    peaks = []
    for users in (2000, 8000):
        recommender = model("int", users)
        recommender.recommend([0])  # what is cached is made once
        write_recommendations(recommender.recommend_in_batches([0]), tmp_path / name)
        tracemalloc.start()
        batches = recommender.recommend_in_batches(k=20, batch_users=500)
        write_recommendations(batches, tmp_path / name)
        peaks.append(tracemalloc.get_traced_memory()[1] - 8 * 3 * users)
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0], peaks
