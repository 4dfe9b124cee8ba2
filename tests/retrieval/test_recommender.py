"""Users that were not trained get codes from the items they like."""

from __future__ import annotations

import numpy as np
import pytest

from hashgcn import metrics
from hashgcn.data import Dataset, Interactions, generate_sample
from hashgcn.files import save_arrays
from hashgcn.models import METHODS, RecallHash
from hashgcn.retrieval import HammingIndex, Recommender, pack, recommender, unpack

LENGTH, BITS = 70, 6


def example(seed: int = 0, users: int = 40, items: int = 30) -> Recommender:
    """Random codes; the last two items are nobody's, the first user has none."""
    rng = np.random.default_rng(seed)
    pairs = [(u, i) for u in range(1, users) for i in rng.choice(items - 2, 1 + u % 7, False)]
    seen = Interactions.from_pairs(*np.array(pairs).T, users, items)
    codes = [rng.standard_normal((n, LENGTH)).astype(np.float32) for n in (users, items)]
    names = np.array([f"item {i}" for i in range(items)])
    index = HammingIndex.build(codes[1], names, popularity_bits=BITS)
    return Recommender(pack(codes[0]), np.arange(users), index, seen)


def plain(model: Recommender, rows: list[int], recent_fraction: float = 0) -> np.ndarray:
    """Signs by the formula."""
    popularity = model.seen.popularity()
    codes = unpack(model.index.codes, LENGTH).astype(np.float64)
    rows = [i for i in dict.fromkeys(rows) if popularity[i]]
    layer = codes[rows] / np.sqrt(popularity[rows])[:, None]
    sums = layer.sum(axis=0) / np.sqrt(len(rows))
    last = [k for k in range(len(rows)) if (k + 1) / len(rows) > 1 - recent_fraction]
    sums += layer[last].sum(axis=0) / np.sqrt(max(len(last), 1))
    sums[-BITS:] = 1
    return np.where(sums >= 0, 1, -1)


@pytest.mark.parametrize("fraction", [0, 0.1, 0.4])
def test_the_formula(fraction):
    model, rng = example(), np.random.default_rng(1)
    lists = [list(rng.integers(0, 28, length)) for length in (3, 1, 12, 5)]
    lists += [[28, 4], [7, 7, 9]]
    codes = model.fold_in([model.index.ids[rows] for rows in lists], recent_fraction=fraction)
    assert codes.dtype == np.int64 and codes.shape == (len(lists), 2)
    np.testing.assert_array_equal(
        unpack(codes, LENGTH), np.stack([plain(model, rows, fraction) for rows in lists])
    )


@pytest.mark.parametrize("pairs", [1, 7, 64])
def test_a_code_depends_on_its_own_items_alone(monkeypatch, pairs):
    model = example()
    every = model.seen.ptr[1:], model.seen.ids  # without the first user, who has none
    whole = model.fold_in(every)
    monkeypatch.setattr(recommender, "_PAIRS", pairs)
    np.testing.assert_array_equal(model.fold_in(every), whole)
    lists = [model.index.ids[rows][::-1] for rows in np.split(every[1], every[0][1:-1])]
    np.testing.assert_array_equal(model.fold_in(lists), whole)
    np.testing.assert_array_equal(model.fold_in([list(lists[5]) * 2], num_threads=1), whole[[5]])


def test_no_users():
    assert example().fold_in([]).shape == (0, 2)


def test_search_of_folded_codes_has_the_dial_and_filters():
    model = example()
    liked = ["item 3", "item 9"]
    codes, rows = model.fold_in([liked]), model.index.rows(liked)
    for p in (1.0, 0.0, -1.0):
        exclude = (np.array([0, 2]), rows)
        ids, scores = model.search(codes, 5, exclude=exclude, popularity=p)
        distances, same = model.index.search(codes, 5, exclude=[liked], popularity=p)
        np.testing.assert_array_equal(ids, same)
        np.testing.assert_array_equal(scores, LENGTH - 2 * distances)
        assert not set(liked) & set(ids[0])


def test_known_users_are_recommended_what_a_search_of_their_codes_finds():
    model = example()
    ids, scores = model.recommend([4, 0], k=40)
    found = model.search(model.user_codes[[4, 0]], 40, exclude=model.seen.rows(np.array([4, 0])))
    np.testing.assert_array_equal(ids, found[0])
    np.testing.assert_array_equal(scores, found[1])
    assert (ids[0] == "").sum() == 10 + len(model.seen.rows(np.array([4]))[1])


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([["item 3", "item 99"]], "got 'item 99'"),
        (
            [["item 3"], []],
            "items: expected at least one item .* for every user, got none for .* 1",
        ),
        ([["item 28", "item 29"]], "items: expected at least one item that someone has in train"),
        ([[3]], "items: expected ids of the index"),
        ([["item 3", "item 30"]], "items: expected ids of the index, got 'item 30'"),
        ((np.array([0, 1]), np.array([30])), r"items: expected rows in \[0, 30\), got 30"),
        ((np.array([0, 1]), np.array([-1])), r"items: expected rows in \[0, 30\), got -1"),
        ((np.array([0, 2]), np.array([1])), r"items: expected ptr to rise from 0 to 1"),
        ((np.array([0, 2, 1]), np.array([1])), "items: expected ptr to rise from 0 to 1"),
        ((np.array([0, 1]), np.array([np.nan])), "expected a 1-d integer array, got float64"),
    ],
)
def test_bad_items(items, words):
    with pytest.raises(ValueError, match=words):
        example().fold_in(items)


def test_unknown_items_are_passed_over_if_asked():
    model = example()
    codes = model.fold_in([["new", "item 3", "item 5"]], ignore_unknown=True)
    np.testing.assert_array_equal(codes, model.fold_in([["item 3", "item 5"]]))
    with pytest.raises(ValueError, match="items: expected at least one item that someone has"):
        model.fold_in([["item 3"], ["new"]], ignore_unknown=True)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, np.nan])
def test_bad_fractions(fraction):
    with pytest.raises(ValueError, match=r"recent_fraction: expected a number in \[0, 1\)"):
        example().fold_in([["item 3"]], recent_fraction=fraction)


def test_scales_go_with_weighted_codes():
    model = example()
    with pytest.raises(ValueError, match=r"scales: expected none, got float32 \[1, 2\]"):
        model.search(model.user_codes[:1], scales=np.ones((1, 2), np.float32))
    ones = [np.ones((n, 2), np.float32) for n in (40, 30)]
    model = Recommender(model.user_codes, model.user_ids, model.index, model.seen, tuple(ones))
    with pytest.raises(ValueError, match=r"scales: expected float32 \[Q, 2\], got none"):
        model.search(model.user_codes[:1])
    with pytest.raises(NotImplementedError, match="weighted segments"):
        model.fold_in([["item 3"]])
    allow = np.arange(30) < 4
    ids, _ = model.search(model.user_codes[:1], 6, scales=ones[0][:1], allow=allow)
    assert set(ids[0]) == {"", "item 0", "item 1", "item 2", "item 3"}


ONES = {f"{kind}_scale": np.ones((n, 2), np.float32) for kind, n in (("user", 40), ("item", 30))}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"user_codes": np.zeros((40, 1), np.int64)}, r"packed int64 words \[\*, 2\]"),
        ({"user_codes": np.zeros((40, 2), np.int32)}, "int32"),
        ({"user_codes": np.full((40, 2), -1)}, "bits of a longer code"),
        ({"user_codes": np.zeros((39, 2), np.int64)}, "ids for 39 codes, got 40"),
        ({"users.ids": np.zeros(40, np.int64)}, "unique ids, got 0 twice"),
        ({"seen.ptr": np.array([0, 164])}, "40 codes for 1 users|ptr"),
        ({"user_scale": ONES["user_scale"]}, "item_scale"),
        (ONES | {"user_scale": np.ones((1, 2), np.float32)}, r"scales float32 \[1, 2\], not"),
        (ONES | {"item_scale": np.ones((30, 2))}, r"scales float64 \[30, 2\], not"),
        (ONES | {"item_scale": np.full((30, 2), 2e15, np.float32)}, r"of at most 2\^48"),
        (ONES | {"item_scale": np.full((30, 2), np.nan, np.float32)}, "not finite"),
        (ONES | {"item_scale": np.ones((30, 3), np.float32)}, "3 segments for codes of 70 bits"),
        (ONES | {"item_scale": np.ones((), np.float32)}, "0 segments"),
    ],
)
def test_files_that_do_not_fit_together(change, words, tmp_path):
    arrays, metadata = example().encode()
    save_arrays(tmp_path / "codes", arrays | change, metadata | {"format": "hashgcn.recommender"})
    with pytest.raises(ValueError, match=f"codes: expected the codes of a .*, got .*({words})"):
        Recommender.load(tmp_path / "codes")


def without(data: Dataset, users: np.ndarray) -> Dataset:
    train = data.train.where(~np.isin(data.train.users(), users))
    return Dataset(data.name, train, data.test, data.user_ids, data.item_ids)


def test_users_held_out_of_training_fare_nearly_as_well():
    data = generate_sample(num_users=500, num_items=300, mean_degree=30.0)
    held = np.arange(0, 500, 5)
    own = data.train.rows(held)

    def recall(model: Recommender, codes: np.ndarray) -> float:
        ids, _ = model.search(codes, 20, exclude=own)
        rows = model.index.rows(ids.ravel()).reshape(ids.shape)
        return metrics.evaluate_rankings(rows, held, data.test, [20])["recall@20"]

    options = {"epochs": 6, "validation_fraction": 0}
    trained = RecallHash(**options).fit(data, progress=False).recommender
    model = RecallHash(**options).fit(without(data, held), progress=False)
    folded = recall(model.recommender, model.recommender.fold_in(own))
    assert folded > 0.9 * recall(trained, trained.user_codes[held])
    lists = [data.item_ids[data.train.rows(held[[u]])[1]] for u in range(3)]
    np.testing.assert_array_equal(model.fold_in(lists), model.recommender.fold_in(own)[:3])


@pytest.mark.parametrize("method", ["recall_hash", "lightgcn", "hashrec", "hashgnn"])
def test_every_method_with_plain_codes_folds_in(method):
    data = generate_sample(num_users=60, num_items=45, mean_degree=10.0)
    model = METHODS[method](epochs=1, code_length=24).fit(data, progress=False)
    codes = model.fold_in([data.item_ids[:3]])
    assert model.index().search(codes, 5)[1].shape == (1, 5)


def test_fold_in_needs_a_fit():
    with pytest.raises(ValueError, match="RecallHash is not fitted yet"):
        RecallHash().fold_in([["a"]])
