"""Interactions, datasets, the LightGCN reader and the generated sample."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hashgcn.data import Dataset, Interactions, describe, generate_sample, load, read_lightgcn
from hashgcn.metrics import evaluate_rankings

REPOSITORY = Path(__file__).resolve().parents[2]
REAL = Path(os.environ.get("HASHGCN_DATA", REPOSITORY.parent / "shared" / "data"))


def rows_of(interactions: Interactions) -> list[list[int]]:
    return [row.tolist() for row in np.split(interactions.ids, interactions.ptr[1:-1])]


def random_interactions(seed: int, num_users: int = 300, num_items: int = 200) -> Interactions:
    rng = np.random.default_rng(seed)
    pairs = 15 * num_users
    return Interactions.from_pairs(
        rng.integers(0, num_users, pairs), rng.integers(0, num_items, pairs), num_users, num_items
    )


class TestInteractions:
    def test_from_pairs_sorts_and_deduplicates(self):
        x = Interactions.from_pairs([2, 0, 2, 2, 0], [1, 3, 0, 1, 2], 4, 5)
        assert rows_of(x) == [[2, 3], [], [0, 1], []]
        assert (x.num_users, x.num_items, x.num_pairs) == (4, 5, 4)
        assert x.users().tolist() == [0, 0, 2, 2]
        assert x.degrees().tolist() == [2, 0, 2, 0]
        assert x.popularity().tolist() == [1, 1, 1, 1, 0]
        assert x.ptr.dtype == x.ids.dtype == x.users().dtype == x.popularity().dtype == np.int64

    def test_converts_to_contiguous_int64(self):
        x = Interactions(np.array([0, 1, 2], np.int32), np.arange(4, dtype=np.uint8)[::2], 3)
        assert rows_of(x) == [[0], [2]]
        assert x.ids.dtype == np.int64 and x.ids.flags.c_contiguous

    @pytest.mark.parametrize("shape", [(0, 0), (3, 0), (0, 3)])
    def test_no_pairs(self, shape):
        x = Interactions.from_pairs([], [], *shape)
        assert (x.num_users, x.num_items, x.num_pairs) == (*shape, 0)
        assert len(x.users()) == 0 and len(x.popularity()) == shape[1]
        kept, held = x.split(0.5, 0)
        assert kept.num_users == held.num_users == shape[0]

    @pytest.mark.parametrize(
        ("ptr", "ids", "message"),
        [
            ([], [], r"ptr: expected 0 .. 0"),
            ([1, 2], [0, 1], r"ptr: expected 0 .. 2 \(the length of ids\), got 1 .. 2"),
            ([0, 1], [0, 1], r"ptr: .* got 0 .. 1"),
            ([0, 2, 1, 2], [0, 1], r"ptr: .* got 2 then 1 at user 1"),
            ([0, 2], [0, 3], r"ids: expected rows in \[0, 3\), got 3"),
            ([0, 2], [-1, 0], r"ids: .* got -1"),
            ([0, 1, 1, 3], [2, 1, 1], r"ids: .* got 1 then 1 at user 2"),
            ([0, 3], [0, 2, 1], r"ids: .* got 2 then 1 at user 0"),
            ([0, 1], [0.0], r"ids: expected a 1-d integer array, got float64"),
            ([[0, 1]], [0], r"ptr: expected a 1-d integer array"),
        ],
    )
    def test_rejects_what_is_no_csr(self, ptr, ids, message):
        with pytest.raises(ValueError, match=message):
            Interactions(np.array(ptr, dtype=np.int64), np.array(ids), 3)

    @pytest.mark.parametrize(
        ("users", "items", "message"),
        [
            ([0, 1], [0], "items: expected 2 rows"),
            ([2], [0], r"users: expected rows in \[0, 2\), got 2"),
            ([0], [3], r"items: expected rows in \[0, 3\), got 3"),
            ([0], [-1], r"items: .* got -1"),
        ],
    )
    def test_from_pairs_rejects(self, users, items, message):
        with pytest.raises(ValueError, match=message):
            Interactions.from_pairs(users, items, 2, 3)

    def test_from_pairs_rejects_sizes_whose_product_wraps_around(self):
        with pytest.raises(ValueError, match=r"num_users \* num_items: expected less than 2\^63"):
            Interactions.from_pairs([5], [3], np.int64(8), np.int64(2**61))


class TestSplit:
    def test_parts_are_a_partition_and_users_keep_an_item(self):
        x = random_interactions(0)
        kept, held = x.split(0.9, seed=3)
        together = Interactions.from_pairs(
            np.concatenate([kept.users(), held.users()]),
            np.concatenate([kept.ids, held.ids]),
            x.num_users,
            x.num_items,
        )
        assert kept.num_pairs + held.num_pairs == x.num_pairs
        assert rows_of(together) == rows_of(x)
        assert (kept.degrees() >= np.minimum(x.degrees(), 1)).all()

    def test_seed_decides(self):
        x = random_interactions(1)
        first, again, other = (rows_of(x.split(0.3, seed)[1]) for seed in (5, 5, 6))
        assert first == again != other

    def test_last_holds_out_the_end_of_each_list(self):
        users = np.array([1, 0, 1, 1, 0, 1, 1, 0, 1])
        items = np.array(
            [7, 3, 2, 9, 1, 7, 0, 5, 4]
        )  # user 1's 7 comes back: its first place counts
        x = Interactions.from_pairs(users, items, 2, 10, in_time=True)
        assert rows_of(x) == [[1, 3, 5], [0, 2, 4, 7, 9]]
        np.testing.assert_allclose(x.recency(), [2 / 3, 1 / 3, 1, 0.8, 0.4, 1, 0.2, 0.6])
        assert Interactions.from_pairs(users, items, 2, 10).recency() is None
        for seed in range(5):
            kept, held = x.split(0.4, seed, "last")
            assert rows_of(held)[1] == [0, 4] and rows_of(held)[0] in ([5], [1, 5])
            assert held.num_pairs + kept.num_pairs == x.num_pairs
            # What is kept is still in time.
            assert rows_of(kept.split(0.3, seed, "last")[1])[1] in ([], [9])
        with pytest.raises(ValueError, match="part: expected random where the order is not"):
            Interactions.from_pairs(users, items, 2, 10).split(0.4, 0, "last")
        with pytest.raises(ValueError, match="order: expected 8 entries, as ids, got 2"):
            Interactions(x.ptr, x.ids, 10, x.order[:2])

    def test_a_user_does_not_depend_on_others(self):
        x, y, same = random_interactions(2), random_interactions(3), 200
        cut = y.ptr[same]
        # Other users before, and none after.
        before = Interactions(
            np.concatenate([y.ptr[:same], x.ptr[same:] - x.ptr[same] + cut]),
            np.concatenate([y.ids[:cut], x.ids[x.ptr[same] :]]),
            x.num_items,
        )
        alone = Interactions(x.ptr[: same + 1], x.ids[: x.ptr[same]], x.num_items)
        for fraction in (0.1, 0.5):
            expected = rows_of(x.split(fraction, 7)[1])
            assert rows_of(before.split(fraction, 7)[1])[same:] == expected[same:]
            assert rows_of(alone.split(fraction, 7)[1]) == expected[:same]

    def test_share_is_exact_on_average_and_even_over_items(self):
        # 20,000 rows of 4 items: a tenth is 0.4 of an item, which rounding would make 0.
        num_users = 20_000
        x = Interactions(np.arange(num_users + 1) * 4, np.tile(np.arange(4), num_users), 4)
        kept, held = x.split(0.1, seed=0)
        assert set(held.degrees()) == {0, 1}
        assert held.num_pairs / x.num_pairs == pytest.approx(0.1, abs=0.005)
        np.testing.assert_allclose(held.popularity() / held.num_pairs, 0.25, atol=0.02)

    def test_nothing_held_at_zero(self):
        x = random_interactions(4)
        kept, held = x.split(0, seed=0)
        assert held.num_pairs == 0 and rows_of(kept) == rows_of(x)

    @pytest.mark.parametrize(
        ("fraction", "seed", "message"),
        [
            (1, 0, "fraction"),
            (-0.1, 0, "fraction"),
            (float("nan"), 0, "fraction"),
            (0.1, -1, "seed"),
        ],
    )
    def test_rejects(self, fraction, seed, message):
        with pytest.raises(ValueError, match=f"{message}: expected"):
            random_interactions(0).split(fraction, seed)


class TestDataset:
    def test_items_are_numbered_by_train_popularity_then_id(self):
        data = Dataset.from_pairs(
            "toy",
            # Item 7 has three pairs but one user; 5 and 9 have two users, 3 and 7 one, 1 none.
            ([30, 30, 30, 10, 10, 20, 20, 10], [7, 7, 7, 9, 5, 5, 9, 3]),
            ([20, 40], [1, 7]),
        )
        assert data.user_ids.tolist() == [10, 20, 30, 40]
        assert data.item_ids.tolist() == [5, 9, 3, 7, 1]
        assert data.train.popularity().tolist() == [2, 2, 1, 1, 0]
        assert rows_of(data.train) == [[0, 1, 2], [0, 1], [3], []]
        assert rows_of(data.test) == [[], [4], [], [3]]

    @pytest.mark.parametrize("in_time", [False, True])
    def test_pairs_of_train_are_not_for_test(self, in_time):
        train, test = ([1, 2, 2], [5, 6, 5]), ([2, 1, 2, 3], [7, 5, 6, 5])
        data = Dataset.from_pairs("toy", train, test, in_time=in_time)
        assert data.item_ids[data.test.ids].tolist() == [7, 5]
        assert data.user_ids[data.test.users()].tolist() == [2, 3]
        assert data.left_out == {"repeated": 2}
        assert data.train.num_pairs == 3

    def test_strings(self):
        data = Dataset.from_pairs("toy", (["b", "a", "é"], ["y", "y", ""]), ([], []), users=["zoë"])
        assert data.user_ids.tolist() == ["a", "b", "zoë", "é"]
        assert data.item_ids.tolist() == ["y", ""]
        assert data.item_rows(["", "y", "y"]).tolist() == [1, 0, 0]
        assert data.train.degrees().tolist() == [1, 1, 0, 1]

    @pytest.mark.parametrize("as_text", [False, True])
    def test_rows_of_raw_ids(self, as_text):
        rng = np.random.default_rng(0)
        users, items = rng.integers(0, 60, 500) * 7, rng.integers(0, 90, 500) * 3 + 1
        if as_text:
            users, items = users.astype(str), items.astype(str)
        data = Dataset.from_pairs("toy", (users[:400], items[:400]), (users[400:], items[400:]))
        assert data.user_rows(data.user_ids).tolist() == list(range(data.train.num_users))
        assert data.item_rows(data.item_ids[::-1]).tolist()[::-1] == list(range(len(data.item_ids)))
        pairs = set(zip(users[:400].tolist(), items[:400].tolist(), strict=True))
        train_ids = data.user_ids[data.train.users()], data.item_ids[data.train.ids]
        assert set(zip(*(ids.tolist() for ids in train_ids), strict=True)) == pairs
        assert data.user_rows([]).tolist() == []

    @pytest.mark.parametrize(
        ("ids", "message"),
        [
            ([5, 6, 7], "user ids: expected ids of the dataset, got 6$"),
            ([99], "got 99$"),
            (["5"], "user ids: .* got '5'$"),
            ([5.0], "user ids: expected integers or strings, got float"),
            ([True], "got bool"),
            ([5, "a"], "got int and str"),
            (["5", "a\ud800"], r"expected ids without lone surrogates, got 'a.ud800'"),
            (np.array(["\udfff", "5"], dtype=">U2")[::-1], "lone surrogates, got '.udfff'"),
            (["\U0001f600\ue000\ud7ff"], "expected ids of the dataset"),
            (5, "expected a 1-d array"),
            ([2**63], "int64 range"),
        ],
    )
    def test_unknown_ids(self, ids, message):
        data = Dataset.from_pairs("toy", ([5, 8], [1, 1]), ([], []))
        with pytest.raises(ValueError, match=message):
            data.user_rows(ids)

    @pytest.mark.parametrize(
        ("train", "test", "message"),
        [
            (([], []), ([], []), "at least one pair"),
            (([1, 2], [1]), ([], []), "train_pairs: expected as many items as users"),
            (([1], [1]), (["1"], [1]), "user ids: expected all integers or all strings"),
            (([1], [1.5]), ([], []), "train_pairs: expected integers or strings"),
        ],
    )
    def test_from_pairs_rejects(self, train, test, message):
        with pytest.raises(ValueError, match=message):
            Dataset.from_pairs("toy", train, test)

    def test_rejects_parts_that_do_not_fit(self):
        x, y = Interactions([0, 1], [0], 2), Interactions([0, 1], [0], 3)
        with pytest.raises(ValueError, match=r"test: expected \(1, 2\).*got \(1, 3\)"):
            Dataset("toy", x, y, np.array([1]), np.array([1, 2]))
        with pytest.raises(ValueError, match="item_ids: expected unique ids, got 4 twice"):
            Dataset("toy", x, x, np.array([1]), np.array([4, 4]))
        with pytest.raises(ValueError, match="pairs that train lacks, got user row 0, item"):
            Dataset("toy", x, x, np.array([1]), np.array([4, 5]))


def write_folder(folder: Path, train: bytes, test: bytes = b"1 1\n") -> Path:
    (folder / "train.txt").write_bytes(train)
    (folder / "test.txt").write_bytes(test)
    return folder


class TestLightGCN:
    def test_reads(self, tmp_path):
        # A user on two lines, a repeated item, a user alone, blank lines, a missing last newline.
        train = b"4 10 11 10\n\n7\n4 12 \r\n \t\n2\t11 007"
        data = read_lightgcn(write_folder(tmp_path, train, b"\n2 99\n9223372036854775807\n"))
        assert data.name == tmp_path.name
        assert data.user_ids.tolist() == [2, 4, 7, 2**63 - 1]
        assert data.item_ids.tolist() == [11, 7, 10, 12, 99]
        assert rows_of(data.train) == [[0, 1], [0, 2, 3], [], []]
        assert rows_of(data.test) == [[4], [], [], []]

    def test_equals_a_plain_parse(self, tmp_path):
        rng = np.random.default_rng(0)
        lines = [rng.integers(0, 10 ** rng.integers(1, 19), rng.integers(1, 9)) for _ in range(400)]
        text = "".join(" ".join(map(str, line)) + "\n" for line in lines)
        data = read_lightgcn(write_folder(tmp_path, text.encode()))
        expected = {(int(line[0]), int(item)) for line in lines for item in line[1:]}
        users, items = data.user_ids[data.train.users()], data.item_ids[data.train.ids]
        assert set(zip(users.tolist(), items.tolist(), strict=True)) == expected
        assert {int(line[0]) for line in lines} <= set(data.user_ids.tolist())

    @pytest.mark.parametrize(
        ("text", "line", "token"),
        [
            (b"0 1\n2 x3 4\n", 2, "'x3'"),
            (b"0 1\r\n\r\n5 -2\r\n", 3, "'-2'"),
            (b"0 1.5\n", 1, "'1.5'"),
            (b"0 1_0\n", 1, "'1_0'"),
            (b"0 1\n1 9223372036854775808\n2 3\n", 2, "'9223372036854775808'"),
            (b"0 1\n1 100000000000000000000\n", 2, "'10000000"),
            (b"0 1\r1 2\r", 1, "1\\\\r1"),
            ("0 1\n1 é\n".encode(), 2, "'é'"),
            (b"0 1\n1 \xff\x00\n", 2, "'\ufffd"),
            (b"0 " + b"z" * 5000, 1, "'z{80}' in '0 z{78}'$"),
        ],
    )
    def test_malformed(self, tmp_path, text, line, token):
        write_folder(tmp_path, b"0 1\n", text)
        with pytest.raises(ValueError, match=rf"test\.txt, line {line}: .* got .*{token}"):
            read_lightgcn(tmp_path)

    @pytest.mark.parametrize("text", [b"", b"\n \n"])
    def test_empty(self, tmp_path, text):
        with pytest.raises(ValueError, match=r"train\.txt: .* empty file"):
            read_lightgcn(write_folder(tmp_path, text))

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"nowhere/train\.txt"):
            read_lightgcn(tmp_path / "nowhere")
        (tmp_path / "train.txt").write_bytes(b"0 1\n")
        with pytest.raises(FileNotFoundError, match=r"test\.txt: no such file"):
            read_lightgcn(tmp_path)


class TestLoad:
    def test_named_folder_or_root_itself(self, tmp_path):
        folder = tmp_path / "gowalla"
        folder.mkdir()
        write_folder(folder, b"0 1\n")
        for data in (load("gowalla", tmp_path), load("gowalla", root=str(folder)), load(folder)):
            assert data.name == "gowalla" and data.train.num_pairs == 1
        with pytest.raises(ValueError, match="root: expected the folder of yelp2018, got another"):
            load("yelp2018", folder)

    def test_errors(self, tmp_path):
        with pytest.raises(ValueError, match=r"root: expected the folder that holds gowalla"):
            load("gowalla")
        with pytest.raises(
            ValueError, match="name: expected one of 'sample', 'gowalla', 'yelp2018', 'amazon-book'"
        ):
            load("movies", tmp_path)
        with pytest.raises(FileNotFoundError, match=r"yelp2018/train\.txt"):
            load("yelp2018", tmp_path)


@pytest.fixture(scope="module")
def sample() -> Dataset:
    return load("sample")


class TestSample:
    def test_size(self, sample):
        assert (sample.train.num_users, sample.train.num_items) == (2000, 1500)
        assert 60_000 <= sample.train.num_pairs + sample.test.num_pairs <= 80_000
        share = sample.test.num_pairs / (sample.train.num_pairs + sample.test.num_pairs)
        assert share == pytest.approx(0.2, abs=0.01)
        assert sample.train.degrees().min() >= 1
        assert "user-0042" in sample.user_ids and "jazz-017" in sample.item_ids

    def test_train_and_test_are_apart_and_rows_by_popularity(self, sample):
        pairs = [
            set(zip(part.users().tolist(), part.ids.tolist(), strict=True))
            for part in (sample.train, sample.test)
        ]
        assert not pairs[0] & pairs[1]
        assert (np.diff(sample.train.popularity()) <= 0).all()

    def test_long_tail(self, sample):
        popularity = sample.train.popularity()
        assert popularity[: len(popularity) // 5].sum() > 0.4 * popularity.sum()

    def test_seed_decides(self, sample):
        again, other = generate_sample(0), generate_sample(1)
        assert np.array_equal(again.item_ids, sample.item_ids)
        assert np.array_equal(again.train.ids, sample.train.ids)
        assert not np.array_equal(other.train.ids, sample.train.ids)

    def test_tastes_say_three_times_what_popularity_says(self, sample):
        train, shape = sample.train, (sample.train.num_users, sample.train.num_items)
        names = [item.rsplit("-", 1)[0] for item in sample.item_ids]
        taste = np.unique(names, return_inverse=True)[1]
        share = np.zeros((shape[0], taste.max() + 1))
        np.add.at(share, (train.users(), taste[train.ids]), 1 / train.degrees()[train.users()])
        popularity = train.popularity().astype(float)
        found = {}
        for name, scores in (
            ("popularity", np.tile(popularity, (shape[0], 1))),
            ("tastes", share[:, taste] * popularity),
        ):
            scores[train.users(), train.ids] = -1
            ids = np.argsort(-scores, axis=1, kind="stable")[:, :20]
            found[name] = evaluate_rankings(ids, np.arange(shape[0]), sample.test, [20])[
                "recall@20"
            ]
        assert found["popularity"] > 0.03
        assert found["tastes"] > 3 * found["popularity"]

    @pytest.mark.parametrize(
        "arguments",
        [{"num_users": 0}, {"num_items": 14}, {"mean_degree": 4}, {"noise": 0}, {"seed": -1}],
    )
    def test_rejects(self, arguments):
        with pytest.raises(ValueError, match=f"{next(iter(arguments))}: expected"):
            generate_sample(**arguments)

    def test_extremes(self):
        data = generate_sample(num_users=3, num_items=15, mean_degree=15, noise=1)
        assert data.train.num_users == 3 and data.train.num_items <= 15


@pytest.mark.parametrize(
    ("name", "users", "items", "train", "test"),
    [
        ("gowalla", 29_858, 40_981, 810_128, 217_242),
        ("yelp2018", 31_668, 38_048, 1_237_259, 324_147),
    ],
)
def test_published_data(name, users, items, train, test):
    if not (REAL / name / "train.txt").is_file():
        pytest.skip(f"no {REAL / name}; HASHGCN_DATA names the folder that holds {name}/train.txt")
    data = load(name, REAL)
    assert (data.train.num_users, data.train.num_items) == (users, items)
    assert (data.train.num_pairs, data.test.num_pairs) == (train, test)
    order = np.lexsort((data.item_ids, -data.train.popularity()))
    assert np.array_equal(order, np.arange(items))
    with open(REAL / name / "train.txt") as file:
        user, *bought = map(int, file.readline().split())
    (row,) = data.user_rows([user])
    assert rows_of(data.train)[row] == sorted(data.item_rows(bought).tolist())


def test_import_is_light():
    code = (
        "import sys, hashgcn.data, hashgcn.metrics, hashgcn.files;"
        "print([m for m in ('torch', 'scipy', 'pandas', 'polars') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_describe_counts():
    data = Dataset.from_pairs(
        "toy", ([1, 1, 1, 2, 2], [5, 6, 5, 5, 7]), ([2, 3], [9, 5]), users=[1, 2, 3]
    )
    found = describe(data)
    assert (found["users"], found["items"], found["train_pairs"], found["test_pairs"]) == (
        3,
        4,
        4,
        2,
    )
    assert found["events"] == 4 + 2 + 1
    assert found["order_in_time_known"] == (data.train.order is not None)
    assert found["density"] == 4 / 12 and found["left_out"] == {"repeated": 1}
    assert (found["users_without_train"], found["items_without_train"]) == (1, 1)
    assert found["test_pairs_unknown_to_train"] == 2
    assert found["user_degrees"] == {
        **{"mean": 1.333, "min": 0, "25%": 0, "50%": 2, "75%": 2, "90%": 2, "99%": 2, "max": 2}
    }
