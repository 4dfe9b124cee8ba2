"""What is written for RecBole is read back as it was."""

from __future__ import annotations

import numpy as np
import pytest

from hashgcn.data import Interactions, generate_sample, read_interactions, write_inter

PAIRS = Interactions.from_pairs([0, 0, 2, 2, 2], [3, 1, 0, 3, 2], 3, 4, in_time=True)
PEOPLE, THINGS = ["ann", "bob", "cleo"], ["a b", "ü", '"q"', "7"]


def test_lines(tmp_path):
    write_inter(tmp_path / "x.inter", PAIRS, PEOPLE, THINGS)
    lines = (tmp_path / "x.inter").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "user_id:token\titem_id:token\ttimestamp:float"
    fields = [line.split("\t") for line in lines[1:]]
    assert [row[:2] for row in fields] == [
        *(["ann", "ü"], ["ann", "7"], ["cleo", "a b"], ["cleo", '"q"'], ["cleo", "7"])
    ]
    times = {(user, item): int(time) for user, item, time in fields}
    assert times["ann", "7"] < times["ann", "ü"]
    assert times["cleo", "a b"] < times["cleo", "7"] < times["cleo", '"q"']


@pytest.mark.parametrize("in_time", [False, True])
def test_read_back(tmp_path, in_time):
    data = generate_sample(num_users=80, num_items=60, mean_degree=12.0)
    rng = np.random.default_rng(0)
    parts = []
    for part in (data.train, data.test):
        order = rng.permutation(part.num_pairs)
        pairs = part.users()[order], part.ids[order]
        shape = (part.num_users, part.num_items)
        parts.append(Interactions.from_pairs(*pairs, *shape, in_time=in_time))
    for name, part in zip(("train", "test"), parts, strict=True):
        write_inter(tmp_path / f"{name}.inter", part, data.user_ids, data.item_ids)
    again = read_interactions(tmp_path / "train.inter", test=tmp_path / "test.inter")
    for name, part in zip(("train", "test"), parts, strict=True):
        got = getattr(again, name)
        assert (got.order is not None) == in_time
        for user in range(part.num_users):
            row = again.user_rows(data.user_ids[[user]])[0]
            own, back = (slice(x.ptr[u], x.ptr[u + 1]) for x, u in ((part, user), (got, row)))
            want, found = data.item_ids[part.ids[own]], again.item_ids[got.ids[back]]
            if in_time:
                want, found = want[part.order[own].argsort()], found[got.order[back].argsort()]
                assert want.tolist() == found.tolist()
            assert sorted(want) == sorted(found)


def test_integers_stay_integers(tmp_path):
    for ids in ([10, 20, 30], ["10", "20", "30"]):
        write_inter(tmp_path / "x.inter", PAIRS, ids, [5, -6, 7, 2**62])
        again = read_interactions(tmp_path / "x.inter", split="last")
        assert set(again.user_ids.tolist()) == {10, 30}
        assert set(again.item_ids.tolist()) == {5, -6, 7, 2**62}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"user_ids": PEOPLE[:2]}, "user_ids: expected 3 ids, one for each row, got 2"),
        ({"item_ids": [*THINGS, "x"]}, "item_ids: expected 4 ids, one for each row, got 5"),
        ({"user_ids": ["a\tb", "b", "c"]}, r"user_ids: expected text without tabs.*'a\\tb'"),
        ({"user_ids": ["a", "b", "c\n"]}, "user_ids: expected text without tabs"),
        ({"item_ids": ["", "b", "c", "d"]}, "item_ids: expected text .*got ''"),
        ({"item_ids": [0.5, 1.5, 2.5, 3.5]}, "item_ids: expected integers or strings"),
        (
            {"interactions": Interactions.from_pairs([], [], 3, 4)},
            "interactions: expected at least one pair, got none",
        ),
    ],
)
def test_refused(tmp_path, change, words):
    arguments = {"interactions": PAIRS, "user_ids": PEOPLE, "item_ids": THINGS} | change
    with pytest.raises(ValueError, match=words):
        write_inter(tmp_path / "x.inter", **arguments)
    assert not list(tmp_path.iterdir())


def test_ids_of_rows_without_pairs_are_not_written(tmp_path):
    write_inter(tmp_path / "x.inter", PAIRS, ["ann", "", "cleo"], THINGS)
    assert len((tmp_path / "x.inter").read_text().splitlines()) == 6


def test_no_such_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        write_inter(tmp_path / "nowhere" / "x.inter", PAIRS, PEOPLE, THINGS)
