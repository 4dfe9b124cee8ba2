"""HashRecommender has the conventions of implicit's recommenders, and refuses bad input by name."""

from __future__ import annotations

import inspect
import io
import pickle
import subprocess
import sys
import types
import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from hashgcn.compat.implicit import HashRecommender
from hashgcn.errors import NotFittedError
from hashgcn.files import load_arrays, save_arrays
from hashgcn.models import METHODS
from hashgcn.retrieval import Recommender, pack_levels, unpack_codes

LOWEST = -np.finfo(np.float32).max
SIZE = 20
USERS = np.arange(SIZE)


def board(size: int = SIZE) -> sparse.csr_matrix:
    """Users like the items of their own parity, but for the one of their own number."""
    liked = np.add.outer(np.arange(size), np.arange(size)) % 2 == 0
    return sparse.csr_matrix((liked & ~np.eye(size, dtype=bool)).astype(np.float64))


def fit(matrix, method: str = "recall_hash", **settings: Any) -> HashRecommender:
    settings = {"epochs": 3} | settings
    return HashRecommender(method, **settings).fit(matrix, show_progress=False)


@pytest.fixture(scope="module")
def liked() -> sparse.csr_matrix:
    return board()


# Settings with which a few epochs find the right answers on the board.
PAIRS = {"code_length": 32, "batch_pairs": 64}
SETTINGS: dict[str, dict[str, Any]] = {
    "recall_hash": {},
    "lightgcn": {"code_length": 32},
    "bgch": PAIRS | {"layers": 1, "learning_rate": 0.05, "epochs": 5},
    "hashgnn": PAIRS | {"learning_rate": 0.01, "epochs": 5},
    "hashrec": PAIRS | {"learning_rate": 0.1, "epochs": 10},
}


@cache
def fitted(method: str) -> HashRecommender:
    return fit(board(), method, **SETTINGS[method])


@pytest.fixture(scope="class")
def model(request) -> HashRecommender:
    """A recommender of the test class's method, fitted to the board."""
    return fitted(getattr(request.cls, "method", "recall_hash"))


class Conventions:
    """What every method has to do on a board whose right answers are known."""

    method: str

    def test_the_withheld_item_comes_first(self, model, liked):
        ids, scores = model.recommend(USERS, liked, N=3)
        assert ids.shape == scores.shape == (SIZE, 3)
        assert (ids.dtype, scores.dtype) == (np.int32, np.float32)
        np.testing.assert_array_equal(ids[:, 0], USERS)
        assert (np.diff(scores) <= 0).all()
        assert model.recommend(0, liked[0])[0].shape == (10,)

    @pytest.mark.parametrize("single", [7, np.int32(7), np.array(7)])
    def test_a_single_user_is_its_row_of_a_batch(self, model, liked, single):
        many = model.recommend([6, 9, 7, 9], liked[[6, 9, 7, 9]], N=4)
        one = model.recommend(single, liked[7], N=4)
        for row, batch in zip(one, many, strict=True):
            np.testing.assert_array_equal(row, batch[2])
            np.testing.assert_array_equal(batch[1], batch[3])

    def test_more_than_there_are(self, model, liked):
        ids, scores = model.recommend(USERS[:2], liked[:2], N=1000)
        assert ids.shape == (2, 1000)
        left = SIZE - liked[0].nnz
        assert (ids[:, :left] >= 0).all() and (ids[:, left:] == -1).all()
        assert (scores[:, left:] == LOWEST).all()
        assert set(ids[0]) - {-1} == set(range(SIZE)) - set(liked[0].indices)
        one_ids, one_scores = model.recommend(0, liked[0], N=1000)
        np.testing.assert_array_equal(one_ids, ids[0, :left])
        np.testing.assert_array_equal(one_scores, scores[0, :left])

    def test_without_the_filter_no_items_are_asked_for(self, model, liked):
        with_them = model.recommend(USERS, liked, filter_already_liked_items=False)
        without = model.recommend(USERS, None, filter_already_liked_items=False)
        for a, b in zip(with_them, without, strict=True):
            np.testing.assert_array_equal(a, b)
        assert np.isin(without[0][0], liked[0].indices).any()

    def test_the_filter_is_what_is_passed(self, model):
        ids, _ = model.recommend(0, sparse.csr_matrix((1, SIZE)), N=SIZE)
        assert sorted(ids) == list(range(SIZE))

    def test_filter_items(self, model, liked):
        for left_out in ([0], (0, 4), np.array([3, 0, 0])):
            ids, _ = model.recommend(USERS, liked, N=SIZE, filter_items=left_out)
            assert not np.isin(ids, left_out).any()
            assert np.isin(np.setdiff1d(range(SIZE), left_out), ids).all()

    def test_items_are_all_returned_and_ones_own_are_last(self, model, liked):
        for given in ([6, 5, 4, 3, 2, 1], np.arange(1, 7), [1, 2, 3, 4, 5, 6, 6]):
            ids, scores = model.recommend(0, liked[0], items=given, N=20)
            assert set(ids[:3]) == {1, 3, 5} and set(ids[3:]) == {2, 4, 6}
            assert (scores[3:] == LOWEST).all() and (scores[:3] > LOWEST).all()
            batch, _ = model.recommend(USERS, liked, items=given, N=20)
            assert batch.shape == (SIZE, 6)
            np.testing.assert_array_equal(np.sort(batch), np.tile(np.arange(1, 7), (SIZE, 1)))
            np.testing.assert_array_equal(batch[0], ids)
            assert set(model.recommend(0, liked[0], items=given, N=2)[0]) < {1, 3, 5}

    def test_items_without_the_filter_are_in_the_order_of_scores(self, model):
        ids, scores = model.recommend(0, None, items=[9, 2, 14], filter_already_liked_items=False)
        everything, _ = model.recommend(0, None, N=SIZE, filter_already_liked_items=False)
        assert ids.tolist() == [i for i in everything if i in (9, 2, 14)]
        assert (np.diff(scores) <= 0).all()

    def test_recalculated_users(self, model, liked):
        ids, scores = model.recommend(USERS, liked, N=1, recalculate_user=True)
        np.testing.assert_array_equal(ids[:, 0], USERS)
        one = model.recommend(0, liked[11], N=1, recalculate_user=True)
        assert (one[0][0], one[1][0]) == (ids[11, 0], scores[11, 0])

    def test_new_users(self, model):
        rows = sparse.csr_matrix(USERS[None] % 2 == np.array([[0], [1]]))
        rows[0, 8] = rows[1, 3] = 0
        rows.eliminate_zeros()
        ids, _ = model.recommend(np.array([1000, 2000]), rows, N=1, recalculate_user=True)
        assert ids[:, 0].tolist() == [8, 3]

    @pytest.mark.parametrize("kind", ["items", "users"])
    def test_similar_are_itself_then_its_kind(self, model, kind):
        similar = getattr(model, f"similar_{kind}")
        ids, scores = similar(USERS, N=10)
        assert ids.shape == scores.shape == (SIZE, 10)
        assert (ids.dtype, scores.dtype) == (np.int32, np.float32)
        np.testing.assert_array_equal(ids[:, 0], USERS)
        np.testing.assert_allclose(scores[:, 0], 1, rtol=1e-6)
        assert (ids % 2 == USERS[:, None] % 2).all()
        assert (np.diff(scores) <= 1e-6).all() and (scores >= -1.00001).all()
        one_ids, one_scores = similar(3)
        np.testing.assert_array_equal(one_ids, ids[3])
        np.testing.assert_array_equal(one_scores, scores[3])
        ids, scores = similar(USERS[:2], N=70)
        assert ids.shape == (2, 70) and (ids[:, SIZE:] == -1).all()
        assert (scores[:, SIZE:] == LOWEST).all()
        assert sorted(similar(0, N=70)[0]) == list(range(SIZE))

    @pytest.mark.parametrize("kind", ["items", "users"])
    def test_similar_filters(self, model, kind):
        similar = getattr(model, f"similar_{kind}")
        ids, _ = similar(USERS, N=8, **{f"filter_{kind}": np.arange(4) * 5})
        assert (ids % 5 != 0).all() and (ids >= 0).all()
        chosen = np.arange(10)
        ids, _ = similar(USERS, N=10, **{kind: chosen})
        np.testing.assert_array_equal(np.sort(ids), np.tile(chosen, (SIZE, 1)))
        np.testing.assert_array_equal(ids[:10, 0], chosen)
        assert set(similar(0, N=30, **{kind: [4, 2]})[0]) == {2, 4}
        assert similar(USERS, N=30, **{kind: [4, 2]})[0].shape == (SIZE, 2)

    def test_no_users_at_all(self, model):
        ids, scores = model.recommend([], sparse.csr_matrix((0, SIZE)), N=4)
        assert ids.shape == scores.shape == (0, 4)
        assert model.similar_items([], N=4)[0].shape == (0, 4)

    def test_path_open_file_and_pickle(self, model, liked, tmp_path):
        path = tmp_path / "model.npz"
        model.save(str(path))
        memory = io.BytesIO()
        model.save(memory)
        assert memory.getvalue() == path.read_bytes()
        memory.seek(0)
        for other in (
            HashRecommender.load(str(path)),
            model.load(path),
            HashRecommender.load(memory),
            pickle.loads(pickle.dumps(model)),
        ):
            assert repr(other) == repr(model) and other.settings == model.settings
            for call in (
                lambda m: m.recommend(USERS, liked),
                lambda m: m.similar_items(1),
                lambda m: m.similar_users(USERS),
            ):
                for x, y in zip(call(model), call(other), strict=True):
                    np.testing.assert_array_equal(x, y)


class TestRecallHash(Conventions):
    method = "recall_hash"


class TestLightGCN(Conventions):
    method = "lightgcn"


class TestBGCH(Conventions):
    method = "bgch"


class TestHashGNN(Conventions):
    method = "hashgnn"


class TestHashRec(Conventions):
    method = "hashrec"


def test_every_method_is_tested():
    assert {tested.method for tested in Conventions.__subclasses__()} == set(METHODS)


class TestPopularity:
    def test_its_weight(self):
        rng = np.random.default_rng(0)
        share = 1 / (1 + np.arange(60))
        matrix = sparse.csr_matrix((rng.random((200, 60)) < share * 6).astype(np.float32))
        model = fit(matrix)
        popularity = np.asarray((matrix != 0).sum(axis=0)).ravel()

        def mean(p: float | None) -> float:
            ids, _ = model.recommend(np.arange(200), matrix, popularity_weight=p)
            return popularity[ids].mean()

        assert mean(None) == mean(1.0) > mean(0.0) > mean(-1.0)
        near, scores = model.similar_items(np.arange(60), popularity_weight=1.0)
        taste, _ = model.similar_items(np.arange(60))
        assert popularity[near].mean() > popularity[taste].mean()
        assert scores.dtype == np.float32 and (near[:, 0] == np.arange(60)).all()

    def test_codes_without_it(self, liked):
        model = fit(liked, epochs=1, popularity_bits=0)
        assert model.recommend(0, liked[0], popularity_weight=1.0)[0].shape == (10,)
        with pytest.raises(ValueError, match="popularity_weight: expected None for codes without"):
            model.recommend(0, liked[0], popularity_weight=0.0)
        with pytest.raises(ValueError, match="popularity_weight: expected 0 for codes without"):
            model.similar_items(0, popularity_weight=1.0)


class TestUnknown:
    def test_users_without_items_get_the_most_popular(self):
        liked = sparse.csr_matrix(np.tri(8, 6, dtype=bool)[:, ::-1])  # item 5 has most users
        model = fit(liked, epochs=1)
        rows = sparse.csr_matrix(np.eye(3, 6, dtype=bool)[[1, 2]])
        rows[0, 1] = False
        rows.eliminate_zeros()
        ids, scores = model.recommend([50, 60], rows, N=4, recalculate_user=True)
        assert ids[0].tolist() == [5, 4, 3, 2]
        assert scores[0].tolist() == [8, 7, 6, 5]  # their numbers of users
        want = model.recommender.search(model.recommender.fold_in([[2]]), 6).ids[0]
        assert ids[1].tolist() == [i for i in want if i != 2][:4]
        ids, _ = model.recommend(9, rows[0], recalculate_user=True, filter_items=[4], N=9)
        assert ids.tolist() == [5, 3, 2, 1, 0]

    def test_the_items_of_a_user_of_fit_give_their_trained_code(self):
        rng = np.random.default_rng(0)
        dense = (rng.random((60, 30)) < 0.2).astype(np.float32)
        dense[9] = dense[4]  # two users with the same items
        matrix = sparse.csr_matrix(dense)
        model = fit(matrix, code_length=16)
        fitted, every = model.recommender, np.arange(60)
        codes = fitted.user_codes
        assert (fitted.fold_in(fitted.seen) != codes).any()
        trained = model.recommend(every, matrix)
        for other in (every, 1000 + every, every[::-1]):
            again = model.recommend(other, matrix, recalculate_user=True)
            same = np.arange(60) != 9 if other is not every else slice(None)
            for x, y in zip(again, trained, strict=True):
                np.testing.assert_array_equal(x[same], y[same])
        first = model.recommend(1000, matrix[9], recalculate_user=True)
        np.testing.assert_array_equal(first[1], trained[1][4])
        # One item more or less is another user, with the code that fold_in makes.
        dense[:, 7] = 1 - dense[:, 7]
        changed = sparse.csr_matrix(dense)
        known = {tuple(row.indices) for row in matrix}
        new = [u for u in every if tuple(changed[u].indices) not in known and changed[u].nnz]
        assert len(new) > 50
        ids, scores = model.recommend(new, changed[new], recalculate_user=True)
        lists = [changed[u].indices for u in new]
        found = fitted.search(fitted.fold_in(lists), 10, deny=lists)
        np.testing.assert_array_equal(ids, found.ids)
        np.testing.assert_array_equal(scores, found.scores)

    def test_items_are_not_recalculated(self, model, liked):
        with pytest.raises(NotImplementedError, match="recalculate_item"):
            model.similar_items(0, recalculate_item=True, item_users=liked.T.tocsr()[0])
        np.testing.assert_array_equal(
            model.similar_items(0, item_users=liked.T.tocsr()[0])[0], model.similar_items(0)[0]
        )

    def test_rows_and_columns_without_entries(self, liked):
        dense = liked.toarray()
        for one in (12, 19):
            dense[one] = dense[:, one] = 0
        matrix = sparse.csr_matrix(dense)
        model = fit(matrix)
        ids, _ = model.similar_items(USERS, N=SIZE)
        others = np.setdiff1d(USERS, [12, 19])
        assert not np.isin(ids[others], [12, 19]).any()
        assert ids[12, 0] == 12 and (ids[12, 1:] == -1).all()
        assert model.similar_items(12)[0].tolist() == [12]
        ids, _ = model.recommend(USERS, matrix, N=SIZE)
        assert not np.isin(ids, [12, 19]).any()
        # The user without items gets the most popular ones; named items are ranked all the same.
        ids, scores = model.recommend(12, matrix[12], N=5)
        popularity = np.asarray(matrix.sum(axis=0)).ravel()
        np.testing.assert_array_equal(ids, np.argsort(-popularity, kind="stable")[:5])
        np.testing.assert_array_equal(scores, popularity[ids])
        assert model.similar_users(12)[0].tolist() == [12]
        assert not np.isin(model.similar_users(others, N=SIZE)[0], [12, 19]).any()
        assert set(model.recommend(0, matrix[0], items=[12, 1])[0]) == {12, 1}


class TestFit:
    def test_other_formats_warn(self, liked):
        want = fit(liked, epochs=1).recommender
        for form in ("tocoo", "tolil", "tocsc"):
            with pytest.warns(UserWarning, match="user_items: expected CSR, converted from"):
                other = fit(getattr(liked, form)(), epochs=1)
            np.testing.assert_array_equal(other.recommender.user_codes, want.user_codes)

    def test_the_warning_is_that_of_implicit_where_it_is_loaded(self, liked, monkeypatch):
        class ParameterWarning(Warning):
            pass

        utils = types.ModuleType("implicit.utils")
        utils.ParameterWarning = ParameterWarning
        monkeypatch.setitem(sys.modules, "implicit.utils", utils)
        with pytest.warns(ParameterWarning) as caught:
            fit(liked.tocoo(), epochs=1)
        assert issubclass(caught[0].category, UserWarning)

    def test_only_where_entries_are_matters(self, liked):
        want = fit(liked, epochs=1).recommender
        twice = liked.copy()
        twice.indices = np.append(twice.indices, twice.indices[-1:])
        twice.data = np.append(twice.data, 2.0)
        twice.indptr = np.append(twice.indptr[:-1], twice.indptr[-1] + 1)
        entries = liked.tocoo()
        where = np.append(entries.row, 0), np.append(entries.col, 1)
        stored_zero = sparse.csr_matrix((np.append(entries.data, 0), where), shape=liked.shape)
        assert stored_zero.nnz == liked.nnz + 1
        forms = [liked.astype(t) for t in (np.int64, bool)]
        for form in (*forms, liked * 0.3, sparse.csr_array(liked), twice, stored_zero):
            got = fit(form, epochs=1).recommender
            np.testing.assert_array_equal(got.user_codes, want.user_codes)
            np.testing.assert_array_equal(got.index.codes, want.index.codes)

    def test_the_callers_matrix_stays_as_it_is(self, liked):
        before = liked.copy()
        fit(liked, epochs=1).recommend(0, liked[0])
        assert (before != liked).nnz == 0

    def test_callback(self, liked):
        calls = []
        model = HashRecommender(epochs=2)
        assert model.fit(liked, False, lambda *entry: calls.append(entry)) is model
        assert [epoch for epoch, _, _ in calls] == [0, 1]
        assert all(seconds > 0 and np.isfinite(loss) for _, seconds, loss in calls)

    def test_number_of_threads(self, liked):
        import torch

        before = torch.get_num_threads()
        one = fit(liked, epochs=1, num_threads=1)
        assert torch.get_num_threads() == before
        np.testing.assert_array_equal(
            one.recommender.user_codes, fit(liked, epochs=1, num_threads=2).recommender.user_codes
        )

    @pytest.mark.parametrize("shape", [(1, 6), (6, 1), (1, 1)])
    def test_one_user_or_one_item(self, shape):
        matrix = sparse.csr_matrix(np.ones(shape))
        model = fit(matrix)
        users, empty = np.arange(shape[0]), sparse.csr_matrix(shape)
        ids, _ = model.recommend(users, empty, N=8)
        expected = np.append(np.arange(shape[1]), np.full(8 - shape[1], -1))
        np.testing.assert_array_equal(np.sort(ids), np.tile(np.sort(expected), (shape[0], 1)))
        assert (model.recommend(users, matrix)[0] == -1).all()
        assert len(model.recommend(0, matrix[0])[0]) == 0
        assert len(model.similar_users(0)[0]) == shape[0]

    def test_again_with_another_matrix(self, liked):
        model = fit(liked, epochs=1)
        model.fit(board(10), show_progress=False)
        assert model.recommend(0, board(10)[0], N=30)[0].max() < 10

    def test_a_selection_of_epochs_can_be_asked_for(self, liked):
        model = fit(liked, epochs=2, validation_fraction=0.1)
        assert model.settings["validation_fraction"] == 0.1
        np.testing.assert_array_equal(model.recommend(USERS, liked, N=1)[0].shape, (SIZE, 1))


class TestFiles:
    def test_before_fit(self, tmp_path):
        model = HashRecommender(code_length=32, train_cutoffs=(5, 10))
        model.save(tmp_path / "model")
        loaded = HashRecommender.load(tmp_path / "model")
        assert vars(loaded) == vars(model)
        assert vars(pickle.loads(pickle.dumps(model))) == vars(model)
        assert repr(model) == "HashRecommender('recall_hash', not fitted)"
        loaded.settings["epochs"] = 1
        loaded.fit(board(), show_progress=False)
        assert loaded.recommender.index.code_length == 32
        assert repr(loaded).endswith(
            "'recall_hash', 20 users, 20 items, codes of 32 bits, users of 2 levels)"
        )

    def test_without_torch(self, model, liked, tmp_path):
        model.save(tmp_path / "model")
        (tmp_path / "pickle").write_bytes(pickle.dumps((model, liked)))
        code = f"""
import pickle, sys
sys.modules["torch"] = None
import numpy as np
from hashgcn.compat.implicit import HashRecommender
unpickled, liked = pickle.load(open({str(tmp_path / "pickle")!r}, "rb"))
for model in (unpickled, HashRecommender.load({str(tmp_path / "model")!r})):
    for recalculate in (False, True):
        ids, _ = model.recommend(np.arange(20), liked, N=1, recalculate_user=recalculate)
        assert ids[:, 0].tolist() == list(range(20))
    assert model.similar_items(3)[0][0] == model.similar_users(3)[0][0] == 3
"""
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_foreign_and_damaged_files(self, model, tmp_path):
        with pytest.raises(FileNotFoundError, match="nothing"):
            HashRecommender.load(tmp_path / "nothing")
        (tmp_path / "text").write_text("hello")
        with pytest.raises(ValueError, match="text: not a safetensors file"):
            HashRecommender.load(tmp_path / "text")
        model.recommender.save(tmp_path / "codes")
        with pytest.raises(ValueError, match="expected format 'hashgcn.estimator'"):
            HashRecommender.load(tmp_path / "codes")
        model.save(tmp_path / "model")
        with pytest.raises(ValueError, match="expected format 'hashgcn.recommender'"):
            Recommender.load(tmp_path / "model")


def with_entry(value: float) -> sparse.csr_matrix:
    matrix = board()
    matrix.data[3] = value
    return matrix


class TestContainers:
    """A list of ids may be any iterable; a row of a sparse array is one user's items."""

    @pytest.mark.parametrize(
        "make",
        [
            *(set, frozenset, tuple, np.array, iter, pd.Series, torch.tensor),
            lambda ids: dict.fromkeys(ids).keys(),
            lambda ids: (x for x in ids),
        ],
    )
    def test_lists_of_ids(self, model, liked, make):
        for name, options in (("items", {}), ("filter_items", {"N": SIZE})):
            ids = [1, 2, 3, 5, 8]
            wanted = model.recommend(USERS, liked, **{name: ids}, **options)
            got = model.recommend(USERS, liked, **{name: make(ids)}, **options)
            for x, y in zip(got, wanted, strict=True):
                np.testing.assert_array_equal(x, y)
        for kind in ("items", "users"):
            similar = getattr(model, f"similar_{kind}")
            for name in (kind, f"filter_{kind}"):
                wanted, got = similar(3, **{name: [3, 4, 7]}), similar(3, **{name: make([3, 4, 7])})
                np.testing.assert_array_equal(got[0], wanted[0])

    def test_no_list_of_ids(self, model, liked):
        for wrong in ("12", {1: 2}, {"a"}, {1.5}, 7.5):
            with pytest.raises(ValueError, match="items: expected an integer or a 1-d array"):
                model.recommend(0, liked[0], items=wrong)
        with pytest.raises(ValueError, match="userid: expected an integer or a 1-d array"):
            model.recommend({0, 1}, liked[:2])
        with pytest.raises(ValueError, match="items: expected at least one id, got none"):
            model.recommend(0, liked[0], items=set())

    def test_a_row_of_a_sparse_array(self, model, liked):
        array = sparse.csr_array(liked)
        assert array[3].ndim == 1
        for options in ({}, {"recalculate_user": True}):
            for x, y in zip(
                model.recommend(3, array[3], **options),
                model.recommend(3, liked[3], **options),
                strict=True,
            ):
                np.testing.assert_array_equal(x, y)
        with pytest.raises(ValueError, match=r"user_items: expected a matrix \[m, n\], got shape"):
            fit(array[3])


class TestBadInput:
    @pytest.mark.parametrize(
        ("matrix", "words"),
        [
            (np.eye(3), "user_items: expected a SciPy sparse matrix, got ndarray"),
            (None, "user_items: expected a SciPy sparse matrix, got NoneType"),
            (sparse.csr_matrix((3, 4)), "user_items: expected a matrix with entries, got none"),
            (sparse.csr_matrix((0, 4)), "got none of 0 x 4"),
            (sparse.csr_matrix((4, 0)), "got none of 4 x 0"),
            (sparse.csr_matrix(np.zeros((2, 2))), "got none of 2 x 2"),
            (with_entry(np.nan), "user_items: expected finite numbers >= 0, got nan"),
            (with_entry(np.inf), "user_items: expected finite numbers >= 0, got inf"),
            (with_entry(-2.0), "user_items: expected finite numbers >= 0, got -2"),
            (board().astype(complex), "got complex128"),
        ],
    )
    def test_fit(self, matrix, words):
        with pytest.raises(ValueError, match=words):
            HashRecommender(epochs=1).fit(matrix, show_progress=False)

    @pytest.mark.parametrize(
        ("options", "error", "words"),
        [
            ({"method": "als"}, ValueError, "method: expected one of recall_hash.*got 'als'"),
            ({"code_length": 0}, ValueError, "code_length"),
            ({"colour": 1}, ValueError, "colour"),
        ],
    )
    def test_settings(self, options, error, words):
        with pytest.raises(error, match=words):
            HashRecommender(**options)

    @pytest.mark.parametrize(
        "call",
        [
            lambda m: m.recommend(0, board()[0]),
            lambda m: m.similar_items(0),
            lambda m: m.similar_users(0),
        ],
    )
    def test_not_fitted(self, call):
        with pytest.raises(NotFittedError, match="HashRecommender is not fitted yet: call fit"):
            call(HashRecommender())

    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({"userid": 20}, IndexError, r"userid: expected ids in \[0, 20\), got 20"),
            ({"userid": -1}, IndexError, "userid: .*got -1"),
            ({"userid": [0, 99]}, IndexError, "userid: .*got 99"),
            ({"userid": "ann"}, ValueError, "userid: expected an integer"),
            ({"userid": 1.5}, ValueError, "userid: expected an integer"),
            ({"userid": [[0]]}, ValueError, r"userid: .*shape \(1, 1\)"),
            ({"user_items": board()[0].tocsc()}, ValueError, "user_items: expected a CSR"),
            ({"user_items": board()[0].tocoo()}, ValueError, "user_items: expected a CSR"),
            ({"user_items": board()[0].toarray()}, ValueError, "got ndarray"),
            ({"user_items": None}, ValueError, "user_items: expected a CSR .*got NoneType"),
            ({"user_items": board()}, ValueError, "1 x 20, got 20 x 20"),
            ({"userid": [0, 1]}, ValueError, "2 x 20, got 1 x 20"),
            ({"user_items": board(10)[0]}, ValueError, "1 x 20, got 1 x 10"),
            ({"user_items": with_entry(np.nan)[0]}, ValueError, "expected finite numbers"),
            ({"N": 0}, ValueError, "N: expected an integer >= 1, got 0"),
            ({"N": 2.5}, ValueError, "N: expected an integer >= 1, got 2.5"),
            ({"items": [0, 20]}, IndexError, r"items: expected ids in \[0, 20\), got 20"),
            ({"items": [-1, 2]}, IndexError, "items: .*got -1"),
            ({"items": []}, ValueError, "items: expected at least one id, got none"),
            ({"items": [1], "filter_items": [2]}, ValueError, "items, filter_items: .*got both"),
            ({"filter_items": [20]}, IndexError, "filter_items: .*got 20"),
            ({"popularity_weight": 2.0}, ValueError, r"popularity_weight: expected a number in"),
        ],
    )
    def test_recommend(self, model, change, error, words):
        with pytest.raises(error, match=words):
            model.recommend(**{"userid": 0, "user_items": board()[0], **change})

    @pytest.mark.parametrize("kind", ["items", "users"])
    @pytest.mark.parametrize(
        ("change", "error", "words"),
        [
            ({"id": 20}, IndexError, r"id: expected ids in \[0, 20\), got 20"),
            ({"id": "ann"}, ValueError, "id: expected an integer"),
            ({"N": 0}, ValueError, "N: expected an integer >= 1, got 0"),
            ({"only": [20]}, IndexError, r"(items|users): expected ids in \[0, 20\), got 20"),
            ({"only": [1], "filter": [2]}, ValueError, "expected one of them, got both"),
            ({"only": []}, ValueError, "expected at least one id, got none"),
            ({"filter": [-3]}, IndexError, "filter_(items|users): .*got -3"),
        ],
    )
    def test_similar(self, model, kind, change, error, words):
        names = {"id": f"{kind[:-1]}id", "only": kind, "filter": f"filter_{kind}", "N": "N"}
        given = {names[name]: value for name, value in ({"id": 0} | change).items()}
        with pytest.raises(error, match=words):
            getattr(model, f"similar_{kind}")(**given)


@pytest.fixture(scope="module")
def theirs(liked):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        als = pytest.importorskip("implicit.als", reason="implicit is not installed")
        model = als.AlternatingLeastSquares(factors=8, iterations=5, random_state=0)
        model.fit(liked, show_progress=False)
    return model


class TestBesideImplicit:
    """The same calls on implicit's matrix factorisation: signatures, shapes, types, errors."""

    @pytest.mark.parametrize("name", ["fit", "recommend", "similar_items", "similar_users"])
    def test_parameters(self, theirs, name):
        wanted = inspect.signature(getattr(theirs, name)).parameters
        ours = inspect.signature(getattr(HashRecommender(), name)).parameters
        assert [p for p, x in ours.items() if x.kind != x.KEYWORD_ONLY] == list(wanted)
        assert all(ours[p].default == x.default for p, x in wanted.items())

    @pytest.mark.parametrize(
        "call",
        [
            lambda m, x: m.recommend(0, x[0]),
            lambda m, x: m.recommend(np.int64(3), x[3], N=1),
            lambda m, x: m.recommend(USERS, x, N=7),
            lambda m, x: m.recommend(USERS[:1], x[:1]),
            lambda m, x: m.recommend([4, 2], x[[4, 2]], filter_items=[1, 3]),
            lambda m, x: m.recommend(0, None, filter_already_liked_items=False),
            lambda m, x: m.recommend(USERS, x, N=5, recalculate_user=True),
            lambda m, x: m.similar_items(2),
            lambda m, x: m.similar_items(USERS, N=6, filter_items=[0]),
            lambda m, x: m.similar_users(2, N=4),
            lambda m, x: m.similar_users(USERS, filter_users=[0]),
        ],
    )
    def test_shapes_and_types(self, model, theirs, liked, call):
        for ours, wanted in zip(call(model, liked), call(theirs, liked), strict=True):
            assert isinstance(ours, np.ndarray)
            assert (ours.shape, ours.dtype) == (wanted.shape, wanted.dtype)

    @pytest.mark.parametrize(
        "call",
        [
            lambda m, x: m.recommend(0, x[0], items=np.arange(1, 7, dtype=np.int32), N=20),
            lambda m, x: m.recommend(USERS, x, items=[1, 2, 3, 5]),
            lambda m, x: m.similar_items(USERS, N=3, items=[5, 6, 7]),
            lambda m, x: m.similar_users(USERS, N=3, users=[5, 6, 7]),
        ],
    )
    def test_lists_of_ids(self, model, theirs, liked, call):
        """Theirs have the type of the list; ours are int32 always."""
        (ids, scores), (their_ids, their_scores) = call(model, liked), call(theirs, liked)
        assert (ids.shape, scores.shape) == (their_ids.shape, their_scores.shape)
        assert (ids.dtype, scores.dtype) == (np.int32, their_scores.dtype)
        np.testing.assert_array_equal(np.sort(ids), np.sort(their_ids))

    @pytest.mark.parametrize(
        "call",
        [
            lambda m, x: m.recommend(0, x),
            lambda m, x: m.recommend(0, x[0].tocoo()),
            lambda m, x: m.recommend([0, 1], x[0]),
            lambda m, x: m.recommend(0, x[0], items=[1], filter_items=[2]),
            lambda m, x: m.recommend(0, x[0], items=[1, -3]),
            lambda m, x: m.recommend(0, x[0], items=[1, 300]),
            lambda m, x: m.recommend(700, x[0]),
            lambda m, x: m.similar_items(700),
            lambda m, x: m.similar_users(0, users=[1, 300]),
        ],
    )
    def test_errors(self, model, theirs, liked, call):
        with pytest.raises((ValueError, IndexError)) as wanted:
            call(theirs, liked)
        with pytest.raises(wanted.type):
            call(model, liked)


@pytest.fixture(scope="module")
def plain() -> HashRecommender:
    return fit(board(), "recall_hash", user_levels=1)


@pytest.fixture(scope="module")
def graded(plain) -> HashRecommender:
    """The plain one, with users of random sizes: of the same signs and popularity 3."""
    model = pickle.loads(pickle.dumps(plain))
    before = plain.recommender
    length, bits = before.index.code_length, before.index.popularity_bits
    codes = unpack_codes(before.user_codes, length)
    codes *= np.random.default_rng(0).choice([1, 3], codes.shape)
    codes[:, length - bits :] = 3
    model.recommender = Recommender(
        pack_levels(codes, 2), before.user_ids, before.index, before.seen
    )
    return model


def test_graded_users(plain, graded, liked, tmp_path):
    assert repr(graded).endswith("codes of 64 bits, users of 2 levels)")
    ids, scores = graded.recommend(USERS, liked, N=3)
    want = graded.recommender.recommend(USERS, 3)
    np.testing.assert_array_equal(ids, want.ids)
    np.testing.assert_array_equal(scores, want.scores)
    # Users of fit get their own codes back; a new one is folded in; one without items is cold.
    rows = sparse.vstack([liked[4], liked[4, :].multiply(USERS < 7).tocsr(), liked[:1] * 0]).tocsr()
    rows.eliminate_zeros()
    again, _ = graded.recommend([4, 99, 98], rows, N=3, recalculate_user=True)
    np.testing.assert_array_equal(again[0], ids[4])
    own = [rows[1].indices.tolist()]
    np.testing.assert_array_equal(again[1], graded.recommender.recommend_from(own, 3).ids[0])
    cold, _ = fitted("recall_hash").recommend(98, rows[2], N=3, recalculate_user=True)
    np.testing.assert_array_equal(again[2], cold)
    for mine, theirs in zip(
        graded.similar_users(USERS, 5), plain.similar_users(USERS, 5), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    graded.save(tmp_path / "model")
    loaded = HashRecommender.load(tmp_path / "model")
    assert repr(loaded) == repr(graded)
    for mine, theirs in zip(
        loaded.recommend(USERS, liked), graded.recommend(USERS, liked), strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)


def test_versions_of_files(plain, graded, tmp_path):
    """2 for plain users and without a fit, 3 for graded ones, and nothing else."""
    versions = (2, 3)
    for model, version in ((plain, 2), (HashRecommender(), 2), (graded, 3)):
        model.save(tmp_path / "model")
        arrays, metadata = load_arrays(tmp_path / "model", "hashgcn.estimator", version=versions)
        assert metadata.pop("version") == str(version)
        save_arrays(tmp_path / "model", arrays, metadata, version=5 - version)
        with pytest.raises(ValueError, match=f"expected an estimator, got .*version {5 - version}"):
            HashRecommender.load(tmp_path / "model")
