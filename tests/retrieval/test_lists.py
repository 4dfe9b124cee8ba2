"""What a query may get and what a user likes: one meaning for every container."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from indexes import KINDS, assert_same, make_ids, make_index, oracle, signs, weights

from hashgcn.data import Interactions
from hashgcn.levels import largest_weight
from hashgcn.retrieval import (
    HammingIndex,
    Recommender,
    filters,
    pack_codes,
    pack_levels,
    search_reranked,
)

QUERIES = signs(11, 70, 2)
ROWS = [np.random.default_rng(q).integers(0, 60, 3 * (q % 4) + 1) for q in range(11)]


def objects(parts: list) -> np.ndarray:
    array = np.empty(len(parts), dtype=object)
    array[:] = parts
    return array


# Name: container of Q lists, made of lists of ids.
CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "tuple of tuples": lambda parts: tuple(tuple(x.tolist()) for x in parts),
    "generator": lambda parts: (x for x in parts),
    "generator of generators": lambda parts: ((y for y in x.tolist()) for x in parts),
    "sets": lambda parts: [set(x.tolist()) for x in parts],
    "object array": objects,
    "first of zip": lambda parts: (x for x, _ in zip(parts, range(len(parts)), strict=True)),
    "frozensets in a tuple": lambda parts: tuple(frozenset(x.tolist()) for x in parts),
    "keys": lambda parts: [dict.fromkeys(x.tolist()).keys() for x in parts],
    "values": lambda parts: dict(enumerate(parts)).values(),
    "map": lambda parts: map(iter, parts),
    "pandas of lists": lambda parts: pd.Series([x.tolist() for x in parts]),
    "lists of pandas": lambda parts: [pd.Series(x) for x in parts],
    "polars of lists": lambda parts: pl.Series([x.tolist() for x in parts]),
    "lists of polars": lambda parts: [pl.Series(x.tolist()) for x in parts],
    "np.split": lambda parts: np.split(
        np.concatenate(parts), np.cumsum([len(x) for x in parts])[:-1]
    ),
}


def csr(rows: list[np.ndarray], form=scipy.sparse.csr_matrix, num_items: int = 60):
    users = np.repeat(np.arange(len(rows)), [len(x) for x in rows])
    values = np.ones(len(users), np.float32)
    matrix = form((values, (users, np.concatenate(rows))), shape=(len(rows), num_items))
    return matrix


MATRICES = {
    "csr_matrix": lambda: csr(ROWS),
    "csr_array": lambda: csr(ROWS, scipy.sparse.csr_array),
    "bool": lambda: csr(ROWS).astype(bool),
    "interactions": lambda: Interactions.from_pairs(*csr(ROWS).nonzero(), 11, 60),
}


def kept() -> np.ndarray:
    mask = np.ones((11, 60), dtype=bool)
    for q, rows in enumerate(ROWS):
        mask[q, rows] = False
    return mask


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("container", CONTAINERS)
def test_lists_of_queries_mean_the_same_in_every_container(container, kind):
    index, ids = make_index(kind), make_ids(kind, 60)
    make, lists = CONTAINERS[container], [ids[rows] for rows in ROWS]
    for argument, mask in (("deny", kept()), ("allow", ~kept())):
        expected = oracle(signs(60, 70, 1), QUERIES, 60, ids, mask)
        assert_same(index.search(QUERIES, 60, **{argument: make(lists)}), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("matrix", MATRICES)
def test_lists_of_queries_may_be_a_matrix_over_rows(matrix, kind):
    index, ids = make_index(kind), make_ids(kind, 60)
    expected = oracle(signs(60, 70, 1), QUERIES, 60, ids, ~kept())
    assert_same(index.search(QUERIES, 60, allow=MATRICES[matrix]()), expected)
    expected = oracle(signs(60, 70, 1), QUERIES, 60, ids, kept())
    assert_same(index.search(QUERIES, 60, deny=MATRICES[matrix]()), expected)
    got = search_reranked(index, QUERIES, 60, depth=60, deny=MATRICES[matrix]())
    assert (got.counts == kept().sum(1)).all()
    if matrix != "interactions":
        one = index.search(QUERIES[3], 60, deny=MATRICES[matrix]()[[3]])
        assert_same(one, (expected[0][3], expected[1][3]))


def test_two_lists_in_a_tuple_are_two_lists():
    index = make_index("rows")
    found = index.search(QUERIES[:2], 60, deny=(np.array([0, 1, 1]), np.array([7])))
    assert not {0, 1} & set(found.ids[0].tolist()) and 7 in found.ids[0]
    assert 7 not in found.ids[1] and {0, 1} <= set(found.ids[1].tolist())


# Name: two lists of the ids 0, 1 and of 7, 9, in containers whose lists have equal lengths.
PAIRS = {
    "two arrays": lambda: (np.array([0, 1]), np.array([7, 9])),
    "tuple of an array": lambda: tuple(np.array([[0, 1], [7, 9]])),
    "array": lambda: np.array([[0, 1], [7, 9]]),
    "columns in memory": lambda: np.asfortranarray([[0, 1], [7, 9]]),
    "objects": lambda: np.array([[0, 1], [7, 9]], dtype=object),
    "zip": lambda: zip([0, 7], [1, 9], strict=True),
    "split": lambda: np.split(np.array([0, 1, 7, 9]), [2]),
    "tuple of split": lambda: tuple(np.split(np.array([0, 1, 7, 9]), 2)),
    "tensor": lambda: torch.tensor([[0, 1], [7, 9]]),
    "tensors": lambda: (torch.tensor([0, 1]), torch.tensor([7, 9], dtype=torch.int32)),
    "unbound": lambda: torch.tensor([[0, 1], [7, 9]]).unbind(),
    "ranges": lambda: (range(2), range(7, 11, 2)),
    "a pointer and rows": lambda: (np.array([0, 1]), np.array([7, 9, 9])),
}


@pytest.mark.parametrize("form", PAIRS)
def test_two_lists_are_one_for_each_query(form):
    index = make_index("rows")
    found = index.search(QUERIES[:2], 60, deny=PAIRS[form]()).ids
    left_out = [set(range(60)) - set(row.tolist()) for row in found]
    assert left_out == [{0, 1}, {7, 9}]
    model = recommender("rows")
    expected = model.fold_in([[0, 1], [7, 9]])
    np.testing.assert_array_equal(model.fold_in(PAIRS[form]()), expected)
    got = model.search(QUERIES[:2], 60, deny=PAIRS[form]()).ids
    np.testing.assert_array_equal(got, found)
    cold = model.search(QUERIES[:2], 60, cold=[True, True], deny=PAIRS[form]()).ids
    assert [set(range(60)) - set(row.tolist()) for row in cold] == [{0, 1}, {7, 9}]
    with pytest.raises(ValueError, match=r"^deny: expected 3 lists of ids, one per query, got 2"):
        index.search(QUERIES[:3], 5, deny=PAIRS[form]())
    with pytest.raises(ValueError, match=r"^deny: expected"):  # one query has one list
        index.search(QUERIES[0], 5, deny=PAIRS[form]())


# Name: the ids 3, 8 and 5, which a filter or the list of a single query may hold.
SINGLE = {
    "list": lambda ids: ids,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "keys": lambda ids: dict.fromkeys(ids).keys(),
    "values": lambda ids: dict(enumerate(ids)).values(),
    "generator": lambda ids: (x for x in ids),
    "iterator": iter,
    "array": np.array,
    "repeats": lambda ids: [*ids, *ids],
    "objects": lambda ids: np.array(ids, dtype=object),
    "pandas": pd.Series,
    "pandas index": pd.Index,
    "polars": pl.Series,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("container", SINGLE)
def test_filters_take_ids_in_any_container(container, kind):
    index, model = make_index(kind), recommender(kind)
    ids = make_ids(kind, 60)[[3, 8, 5]].tolist()
    rest = set(make_ids(kind, 60).tolist()) - set(ids)
    make = SINGLE[container]
    for search in (index.search, model.search):
        allowed = search(QUERIES, 60, allow=make(ids))
        assert (allowed.counts == 3).all() and set(allowed.ids[4, :3].tolist()) == set(ids)
        denied = search(QUERIES, 60, deny=make(ids))
        assert (denied.counts == 57).all() and set(denied.ids[4, :57].tolist()) == rest
        single = search(QUERIES[2], 60, deny=make(ids))
        assert single.counts == 57 and set(single.ids[:57].tolist()) == rest
    np.testing.assert_array_equal(model.fold_in([make(ids)]), model.fold_in([ids]))
    if kind == "rows":
        tensor = torch.tensor(ids)
        for options in ({"allow": tensor}, {"deny": tensor}, {"deny": [tensor] * 11}):
            wanted = {
                name: [ids] * 11 if isinstance(given, list) else ids
                for name, given in options.items()
            }
            np.testing.assert_array_equal(
                index.search(QUERIES, 9, **options).ids, index.search(QUERIES, 9, **wanted).ids
            )


@pytest.mark.parametrize("make", [np.array, pd.Series, torch.tensor, pl.Series, list, tuple])
def test_filters_take_masks_in_any_container(make):
    index = make_index("rows")
    mask = [i in (3, 8, 5) for i in range(60)]
    assert set(index.search(QUERIES, 3, allow=make(mask)).ids.ravel().tolist()) == {3, 8, 5}
    assert not {3, 8, 5} & set(index.search(QUERIES, 57, deny=make(mask)).ids.ravel().tolist())
    with pytest.raises(
        ValueError, match=r"^allow: expected raw ids or bool \[60\], got bool \[2\]"
    ):
        index.search(QUERIES, allow=make([True, False]))


@pytest.mark.parametrize(
    ("filtered", "message"),
    [
        ({1: 2}, "expected a list or an array of ids, got dict"),
        ("ab", "expected a list or an array of ids, got str"),
        (7, r"expected a 1-d array of ids, got shape \(\)"),
        (np.array([[1, 2]]), "expected 11 lists of ids, one per query, got 1"),
        ([1.5], "expected integers or strings, got float"),
        (np.array([1.0, np.nan]), "expected integers or strings, got float64"),
        ({3, 60}, "expected ids of the index, got 60"),
        ({"3"}, r"expected ids of the index \(int64\), got '3'"),
        ({3, None}, "expected integers or strings, got"),
    ],
)
def test_filters_refuse(filtered, message):
    for argument in ("allow", "deny"):
        for search in (make_index("rows").search, recommender("rows").search):
            with pytest.raises(ValueError, match=f"^{argument}: {message}"):
                search(QUERIES, **{argument: filtered})


def test_a_row_of_a_sparse_array_is_one_list():
    array = csr(ROWS, scipy.sparse.csr_array)
    index, model = make_index("rows"), recommender("rows")
    for row in (array[3], array[3].tocsr()):
        assert row.ndim == 1
        for search in (index.search, model.search):
            got = search(QUERIES[3], 60, deny=row).ids
            np.testing.assert_array_equal(got, search(QUERIES[3], 60, deny=array[[3]]).ids)
        np.testing.assert_array_equal(model.fold_in(row), model.fold_in(array[[3]]))
    with pytest.raises(ValueError, match=r"^deny: expected a matrix of shape \[2, 60\], got \[1, "):
        index.search(QUERIES[:2], deny=row)


def test_sets_have_no_order_in_time():
    model = recommender("rows")
    with pytest.raises(ValueError, match="recent_fraction: expected 0 for items without an order"):
        model.fold_in([[3, 5, 8], {3, 5, 8}], recent_fraction=0.3)
    lists = [dict.fromkeys([9, 3, 5]).keys(), (x for x in (5, 9))]
    np.testing.assert_array_equal(
        model.fold_in(lists, recent_fraction=0.3),
        model.fold_in([[9, 3, 5], [5, 9]], recent_fraction=0.3),
    )


def test_entries_of_a_matrix_count_where_they_are_stored_and_not_zero():
    matrix = csr([np.array([4, 9]), np.array([4])])
    matrix.data[0] = 0
    repeated = scipy.sparse.csr_matrix(
        (np.ones(3), np.array([9, 4, 9]), np.array([0, 2, 3])), shape=(2, 60)
    )
    longer = matrix.copy()  # SciPy allows arrays that are longer than the last pointer
    longer.data, longer.indices = np.append(longer.data, 1), np.append(longer.indices, 5)
    index = make_index("rows")
    for given, left_out in ((matrix, [{9}, {4}]), (repeated, [{4, 9}, {9}]), (longer, [{9}, {4}])):
        found = index.search(QUERIES[:2], 60, deny=given).ids
        assert [set(range(60)) - set(row.tolist()) for row in found] == left_out


def broken(indices: list[int], ptr: list[int]) -> scipy.sparse.csr_matrix:
    matrix = csr([np.array([1]), np.array([2])])
    matrix.indices, matrix.indptr = np.array(indices, np.int32), np.array(ptr, np.int32)
    return matrix


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([[1]], "expected 2 lists of ids, one per query, got 1"),
        ((x for x in ([1], [2], [3])), "expected 2 lists of ids, one per query, got 3"),
        ({0: [1], 1: [2]}, "expected a list or an array of ids, got dict"),
        ("ab", "expected a list or an array of ids, got str"),
        (7, r"expected a 1-d array of ids, got shape \(\)"),
        (np.array(7), r"expected a 1-d array of ids, got shape \(\)"),
        (["ab", "cd"], r"expected ids of the index \(int64\), got 'ab'"),
        ([1, [2]], "expected integers or strings, got int and list"),
        ([[1], 2], r"expected a 1-d array of ids, got shape \(\), in list 1"),
        ([True, 1], "expected integers or strings, got bool and int"),
        ([{1: 2}, []], "expected a list or an array of ids, got dict"),
        (np.zeros((2, 60), bool), "expected integers or strings, got bool"),
        ([[1], [60]], "expected ids of the index, got 60, in list 1"),
        ({(1,), (2,)}, r"expected a 1-d array of ids, got shape \(2, 1\)"),
        (frozenset([(1,), (2,)]), r"expected a 1-d array of ids, got shape \(2, 1\)"),
        (pd.DataFrame({"a": [1, 2]}), r"expected a 1-d array of ids, got shape \(2, 1\)"),
        (pl.DataFrame({"a": [1, 2]}), r"expected a 1-d array of ids, got shape \(2, 1\)"),
        (torch.ones(2, 60).to_sparse(), "expected a list of ids per query, .*, got Tensor"),
        (torch.ones(2, 60).to_sparse_csr(), "expected a list of ids per query, .*, got Tensor"),
        (torch.tensor(3), r"expected a 1-d array of ids, got shape \(\)"),
        (torch.ones(2, 3, device="meta"), "expected ids, got .*meta.*, in list 0"),
        (np.zeros((2, 1, 1), int), r"expected a 1-d array of ids, got shape \(1, 1\), in list 0"),
        (torch.zeros(2, 3), "expected integers or strings, got float32"),
        ([[1], [2.0]], "expected integers or strings, got float, in list 1"),
        (pd.Series(["ab", "cd"]), r"expected ids of the index \(int64\), got 'ab'"),
        ([(3, [4, 5]), (6, [7])], "expected .*in list 0"),
        ([["1"], []], r"expected ids of the index \(int64\), got '1'"),
        (csr(ROWS[:2]).tocsc(), "expected a 2-d CSR matrix, got CSC"),
        (csr(ROWS[:3]), r"expected a matrix of shape \[2, 60\], got \[3, 60\]"),
        (csr(ROWS[:2], num_items=61), r"expected a matrix of shape \[2, 60\], got \[2, 61\]"),
        (Interactions.from_pairs([0], [1], 1, 60), r"expected .* \[2, 60\], got \[1, 60\]"),
        (broken([1, 60], [0, 1, 2]), "expected a valid CSR matrix, got indices out of range"),
        (broken([1, -1], [0, 1, 2]), "expected a valid CSR matrix, got indices out of range"),
        (broken([1, 2], [0, 3, 2]), "expected a valid CSR matrix, got indices out of range"),
        (broken([1, 2], [0, 1, 3]), "expected a valid CSR matrix, got indices out of range"),
    ],
)
def test_lists_of_queries_refuse(lists, message):
    index = make_index("rows")
    lists = list(lists) if isinstance(lists, Iterator) else lists
    for argument in ("allow", "deny"):
        with pytest.raises(ValueError, match=f"^{argument}: {message}"):
            index.search(QUERIES[:2], 5, **{argument: lists})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("levels", [1, 2, 8])
@pytest.mark.parametrize("pairs", [1, 40, 1 << 18])
def test_lists_to_allow_and_to_deny_together(monkeypatch, pairs, levels, kind):
    monkeypatch.setattr(filters, "_PAIRS", pairs)
    index, ids = make_index(kind), make_ids(kind, 60)
    own = weights(11, 70, levels, 2)
    queries = pack_levels(own, levels) if levels > 1 else pack_codes(own.astype(np.float32))
    rng = np.random.default_rng(levels)
    allowed, denied = rng.random((2, 11, 60)) < 0.5
    allowed[4] = False
    mask = rng.random(60) < 0.7
    distances = (largest_weight(levels) * 70 - own @ signs(60, 70, 1).T.astype(np.int64)) // 2
    each = {"allow": [ids[row] for row in allowed], "deny": [ids[row] for row in denied]}
    for options, keep in (
        (each, allowed & ~denied),
        ({"allow": each["allow"]}, allowed),
        ({**each, "deny": ids[~mask]}, allowed & mask),
        ({**each, "allow": mask}, mask & ~denied),
        ({**each, "allow": [*ids[mask]]}, mask & ~denied),
    ):
        for k in (1, 7, 60):
            found = index.search(queries, k, **options)
            for q in range(11):
                rows = np.flatnonzero(keep[q])
                best = rows[np.lexsort((rows, distances[q, rows]))][:k]
                assert found.counts[q] == len(best)
                assert found.ids[q, : len(best)].tolist() == ids[best].tolist()
                got = found.distances[q, : len(best)]
                assert got.tolist() == distances[q, best].tolist()
            assert (found.distances[found.distances > 10**6] == 2**31 - 1).all()
    if levels == 1:
        near = index.search(queries, 60, radius=33, **each)
        whole = index.search(queries, 60, **each)
        assert near.counts.tolist() == (whole.distances <= 33).sum(1).tolist()
        one = index.search(queries[3], 9, allow=each["allow"][3], deny=each["deny"][3])
        many = index.search(queries, 9, **each)
        assert_same(one, (many.ids[3], many.distances[3]))
    for k in (0, 1.5):
        with pytest.raises(ValueError, match="^k: expected a number"):
            index.search(queries, k, allow=each["allow"])


def recommender(kind: str) -> Recommender:
    """Every item is liked by someone, so that fold_in takes all of them."""
    rng = np.random.default_rng(5)
    seen = Interactions.from_pairs(rng.integers(0, 9, 300), np.arange(300) % 60, 9, 60)
    ids = None if kind == "rows" else make_ids(kind, 60)
    index = HammingIndex.build(signs(60, 70, 1), ids)
    return Recommender(pack_codes(signs(9, 70, 3)), np.arange(9), index, seen)


@pytest.mark.parametrize("kind", KINDS)
def test_fold_in_means_the_same_in_every_container(kind):
    model, ids = recommender(kind), make_ids(kind, 60)
    expected = model.fold_in([ids[rows].tolist() for rows in ROWS])
    assert expected.shape == (11, 2)
    for make in CONTAINERS.values():
        given = make([ids[rows] for rows in ROWS])
        np.testing.assert_array_equal(model.fold_in(given), expected)
    for make in MATRICES.values():
        np.testing.assert_array_equal(model.fold_in(make()), expected)
    for make in SINGLE.values():
        np.testing.assert_array_equal(
            model.fold_in([make(ids[:3].tolist())]), model.fold_in([ids[:3]])
        )


def test_fold_in_takes_the_order_of_lists_and_of_interactions_in_time():
    model = recommender("rows")
    lists = [np.random.default_rng(q).permutation(60)[: q + 2] for q in range(11)]
    users = np.repeat(np.arange(11), [len(x) for x in lists])
    liked = Interactions.from_pairs(users, np.concatenate(lists), 11, 60, in_time=True)
    expected = model.fold_in(lists, recent_fraction=0.3)
    np.testing.assert_array_equal(model.fold_in(liked, recent_fraction=0.3), expected)
    assert (model.fold_in(lists) != expected).any()
    for unordered in (csr(lists), Interactions.from_pairs(users, np.concatenate(lists), 11, 60)):
        with pytest.raises(ValueError, match="recent_fraction: expected 0 for items without an"):
            model.fold_in(unordered, recent_fraction=0.3)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([["new"]], "expected ids of the index, got 'new'"),
        ((["new"], ["new"]), "expected ids of the index, got 'new'"),
        ([[3]], r"expected ids of the index \(str\), got 3"),
        ("new", "expected a list of ids per query, or a CSR matrix, got str"),
        ({"a": ["new"]}, "expected a list of ids per query, or a CSR matrix, got dict"),
        (["new"], "expected a list or an array of ids, got str"),
        (csr(ROWS).tocoo(), "expected a 2-d CSR matrix, got COO"),
        (csr(ROWS, num_items=61), r"expected a matrix of shape \[Q, 60\], got \[11, 61\]"),
        (broken([1, 60], [0, 1, 2]), "expected a valid CSR matrix, got indices out of range"),
        (csr([np.array([3]), np.array([], int)]), "expected at least one item .* for user 1"),
        ({("new",)}, "expected a list of ids per query, or a CSR matrix, got set"),
        (pd.DataFrame({"a": [1, 2]}), "expected a list of ids per query, .*, got DataFrame"),
    ],
)
def test_fold_in_refuses(items, message):
    with pytest.raises(ValueError, match=f"^items: {message}"):
        recommender("str").fold_in(items)
