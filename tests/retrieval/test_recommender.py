"""Recommendations of known users, codes of new ones from the items they like, files."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

from hashgcn import metrics
from hashgcn.data import Dataset, Interactions, generate_sample
from hashgcn.errors import NotFittedError
from hashgcn.files import save_arrays
from hashgcn.models import METHODS, RecallHash
from hashgcn.retrieval import (
    HammingIndex,
    Recommendations,
    Recommender,
    pack_codes,
    state,
    unpack_codes,
)

LENGTH, BITS = 70, 6


def example(seed: int = 0, users: int = 40, items: int = 30) -> Recommender:
    """Random codes; the last two items are nobody's, the first user has none."""
    rng = np.random.default_rng(seed)
    pairs = [(u, i) for u in range(1, users) for i in rng.choice(items - 2, 1 + u % 7, False)]
    seen = Interactions.from_pairs(*np.array(pairs).T, users, items)
    codes = [rng.standard_normal((n, LENGTH)).astype(np.float32) for n in (users, items)]
    names = np.array([f"item {i}" for i in range(items)])
    index = HammingIndex.build(codes[1], names, popularity_bits=BITS)
    return Recommender(pack_codes(codes[0]), np.arange(users), index, seen)


def plain(model: Recommender, rows: list[int], recent_fraction: float = 0) -> np.ndarray:
    """Signs by the formula."""
    popularity = model.seen.popularity()
    codes = unpack_codes(model.index.codes, LENGTH).astype(np.float64)
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
        unpack_codes(codes, LENGTH), np.stack([plain(model, rows, fraction) for rows in lists])
    )


@pytest.mark.parametrize("pairs", [1, 7, 64])
def test_a_code_depends_on_its_own_items_alone(monkeypatch, pairs):
    model = example()
    every = Interactions(model.seen.ptr[1:], model.seen.ids, 30)  # the first user has none
    whole = model.fold_in(every)
    monkeypatch.setattr(state, "_PAIRS", pairs)
    np.testing.assert_array_equal(model.fold_in(every), whole)
    lists = [model.index.ids[rows][::-1] for rows in np.split(every.ids, every.ptr[1:-1])]
    np.testing.assert_array_equal(model.fold_in(lists), whole)
    np.testing.assert_array_equal(model.fold_in([list(lists[5]) * 2], num_threads=1), whole[[5]])


def test_no_users():
    assert example().fold_in([]).shape == (0, 2)


def test_search_of_folded_codes_has_weights_and_filters():
    model = example()
    liked = ["item 3", "item 9"]
    codes = model.fold_in([liked])
    for p in (None, 1.0, 0.0, -1.0):
        options = {"deny": [liked], "popularity_weight": p}
        found = model.search(codes, 5, untrained_items=True, **options)
        ids, distances = model.index.search(codes, 5, **options)
        np.testing.assert_array_equal(found.ids, ids)
        np.testing.assert_array_equal(found.scores, LENGTH - 2 * distances)
        assert not set(liked) & set(found.ids[0])
    few = model.search(codes[0], 6, allow=[*liked, "new"], deny=["item 9"], ignore_unknown=True)
    assert few.ids.tolist() == ["item 3", *[""] * 5] and few.counts == 1


def test_known_users_are_recommended_what_a_search_of_their_codes_finds():
    model = example()
    found = model.recommend([4, 11], k=40)
    assert isinstance(found, Recommendations) and found.scores.dtype == np.int32
    seen = [[f"item {i}" for i in model.seen.of_users(np.array([u])).ids] for u in (4, 11)]
    again = model.search(model.user_codes[[4, 11]], 40, deny=seen)
    np.testing.assert_array_equal(found.ids, again.ids)
    np.testing.assert_array_equal(found.scores, again.scores)
    assert found.counts.tolist() == [28 - len(x) for x in seen]
    assert (found.ids[0, found.counts[0] :] == "").all()
    assert (found.scores[0, found.counts[0] :] == -(2**31)).all()
    with_seen = model.recommend([4, 11], k=40, exclude_seen=False, untrained_items=True)
    assert with_seen.counts.tolist() == [30, 30]
    every = model.index.search(model.user_codes[[4, 11]], 40)
    np.testing.assert_array_equal(with_seen.ids, every.ids)
    assert model.recommend([4]).ids.shape == (1, 10)


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([["item 3", "item 99"]], "got 'item 99'"),
        (
            [["item 3"], []],
            "items: expected at least one item of train for every user, got none for user 1",
        ),
        ([["item 28", "item 29"]], "items: expected at least one item of train"),
        ([[3]], "items: expected ids of the index"),
        ([["item 3", "item 30"]], "items: expected ids of the index, got 'item 30'"),
    ],
)
def test_bad_items(items, words):
    with pytest.raises(ValueError, match=words):
        example().fold_in(items)


def test_unknown_items_are_passed_over_if_asked():
    model = example()
    codes = model.fold_in([["new", "item 3", "item 5"]], ignore_unknown=True)
    np.testing.assert_array_equal(codes, model.fold_in([["item 3", "item 5"]]))
    with pytest.raises(ValueError, match="items: expected at least one item of train"):
        model.fold_in([["item 3"], ["new"]], ignore_unknown=True)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, np.nan])
def test_bad_fractions(fraction):
    with pytest.raises(ValueError, match=r"recent_fraction: expected a number in \[0, 1\)"):
        example().fold_in([["item 3"]], recent_fraction=fraction)


def test_looks_copies_and_pickles():
    model = example()
    assert repr(model) == "Recommender(40 users, 30 items, codes of 70 bits)"
    model.recommend([4])  # fills the caches
    for other in (copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert repr(other) == repr(model)
        for mine, theirs in zip(
            other.recommend(model.user_ids), model.recommend(model.user_ids), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)


def test_another_process_unpickles_a_recommender(tmp_path):
    model = example()
    content = model, model.recommend([4, 7]), model.fold_in([["item 3"]])
    (tmp_path / "model").write_bytes(pickle.dumps(content))
    code = f"""
import pickle, sys
sys.modules["torch"] = None
model, found, codes = pickle.load(open({str(tmp_path / "model")!r}, "rb"))
again = model.recommend([4, 7])
assert (again.ids == found.ids).all() and (again.scores == found.scores).all()
assert (model.fold_in([["item 3"]]) == codes).all()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_files_keep_metadata_of_the_caller(tmp_path):
    model, path = example(), tmp_path / "codes"
    model.save(path)
    assert Recommender.load_with_metadata(path)[1] == {}
    metadata = {"method": "recall_hash", "settings": '{"ä": 1}'}
    model.save(path, metadata=metadata)
    again, found = Recommender.load_with_metadata(path)
    assert found == metadata
    for loaded in (again, Recommender.load(path)):
        for mine, theirs in zip(
            loaded.encode()[0].values(), model.encode()[0].values(), strict=True
        ):
            np.testing.assert_array_equal(mine, theirs)
    for name in ("format", "version", "code_length", "popularity_bits"):
        with pytest.raises(ValueError, match=f"metadata: expected names .*, got {name}"):
            model.save(path, metadata={name: "1"})
    with pytest.raises(ValueError, match="metadata: expected text for 'epochs', got int"):
        model.save(path, metadata={"epochs": 1})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"user_codes": np.zeros((40, 1), np.int64)}, r"packed int64 words \[\*, 2\]"),
        ({"user_codes": np.zeros((40, 2), np.int32)}, "int32"),
        ({"user_codes": np.full((40, 2), -1)}, "codes: expected zero bits past"),
        ({"user_codes": np.zeros((39, 2), np.int64)}, "ids: expected 39, one per code, got 40"),
        ({"users.ids": np.zeros(40, np.int64)}, "unique ids, got 0 twice"),
        ({"seen.ptr": np.array([0, 164])}, "seen: expected 40 users and 30 items|ptr"),
        ({"given": np.array([30])}, r"given: expected rows in \[0, 30\)"),
        ({"given": np.array([-1])}, r"given: expected rows in \[0, 30\)"),
        ({"given": np.zeros(1, np.int32)}, "given of dtype int32"),
        ({"seen.ptr": np.zeros(41, np.int32)}, "seen.ptr of dtype int32"),
        ({"user_scale": np.ones((40, 2), np.float32)}, "an array 'user_scale'"),
        ({"seen.ids": np.full(len(example().seen.ids), 99)}, r"ids: expected rows in \[0, 30\)"),
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
    data = generate_sample(num_users=300, num_items=200, mean_degree=25.0)
    held = np.arange(0, 300, 5)
    own = data.train.of_users(held)

    def recall(model: Recommender, codes: np.ndarray) -> float:
        ids = model.search(codes, 20, deny=own).ids
        rows = model.index.rows(ids.ravel()).reshape(ids.shape)
        return metrics.evaluate_rankings(rows, held, data.test, [20])["recall@20"]

    options = {"epochs": 3, "validation_fraction": 0, "code_length": 32}
    trained = RecallHash(**options).fit(data, progress=False).recommender
    model = RecallHash(**options).fit(without(data, held), progress=False)
    folded = recall(model.recommender, model.recommender.fold_in(own))
    assert folded > 0.9 * recall(trained, trained.user_codes[held])
    lists = [data.item_ids[data.train.of_users(held[[u]]).ids] for u in range(3)]
    np.testing.assert_array_equal(model.fold_in(lists), model.recommender.fold_in(own)[:3])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_folds_in(method):
    data = generate_sample(num_users=60, num_items=45, mean_degree=10.0)
    options = {"epochs": 1, "code_length": 24, "validation_fraction": 0}
    model = METHODS[method](**options).fit(data, progress=False)
    codes = model.fold_in([data.item_ids[:3]])
    assert model.index().search(codes, 5).ids.shape == (1, 5)
    found = model.recommend_from([data.item_ids[:3]], 5)
    again = model.recommender.search(codes, 5, deny=[data.item_ids[:3]])
    np.testing.assert_array_equal(found.ids, again.ids)


def test_fold_in_needs_a_fit():
    with pytest.raises(NotFittedError, match="RecallHash is not fitted yet"):
        RecallHash().fold_in([["a"]])
