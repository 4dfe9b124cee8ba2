"""What a query excludes and what a user likes: one meaning for every container."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from indexes import KINDS, assert_same, make_ids, make_index, oracle, signs

from hashgcn.data import Interactions
from hashgcn.retrieval import HammingIndex, Recommender, pack_codes, search_reranked

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
    "zip": lambda parts: (x for x, _ in zip(parts, range(len(parts)), strict=True)),
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
def test_exclude_means_the_same_in_every_container(container, kind):
    index, ids = make_index(kind), make_ids(kind, 60)
    given = CONTAINERS[container]([ids[rows] for rows in ROWS])
    expected = oracle(signs(60, 70, 1), QUERIES, 60, ids, kept())
    assert_same(index.search(QUERIES, 60, exclude=given), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("matrix", MATRICES)
def test_exclude_may_be_a_matrix_over_rows(matrix, kind):
    index, ids = make_index(kind), make_ids(kind, 60)
    expected = oracle(signs(60, 70, 1), QUERIES, 60, ids, kept())
    assert_same(index.search(QUERIES, 60, exclude=MATRICES[matrix]()), expected)
    got = search_reranked(index, QUERIES, 60, depth=60, exclude=MATRICES[matrix]())
    assert (got.counts == kept().sum(1)).all()
    if matrix != "interactions":
        one = index.search(QUERIES[3], 60, exclude=MATRICES[matrix]()[[3]])
        assert_same(one, (expected[0][3], expected[1][3]))


def test_two_lists_in_a_tuple_are_two_lists():
    index = make_index("rows")
    found = index.search(QUERIES[:2], 60, exclude=(np.array([0, 1, 1]), np.array([7])))
    assert not {0, 1} & set(found.ids[0].tolist()) and 7 in found.ids[0]
    assert 7 not in found.ids[1] and {0, 1} <= set(found.ids[1].tolist())


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
        found = index.search(QUERIES[:2], 60, exclude=given).ids
        assert [set(range(60)) - set(row.tolist()) for row in found] == left_out


def broken(indices: list[int], ptr: list[int]) -> scipy.sparse.csr_matrix:
    matrix = csr([np.array([1]), np.array([2])])
    matrix.indices, matrix.indptr = np.array(indices, np.int32), np.array(ptr, np.int32)
    return matrix


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        ([[1]], "expected 2 lists of ids, one per query, got 1"),
        ((x for x in ([1], [2], [3])), "expected 2 lists of ids, one per query, got 3"),
        ({0: [1], 1: [2]}, "expected a list of ids per query, or a CSR matrix, got dict"),
        ("ab", "expected a list of ids per query, or a CSR matrix, got str"),
        (7, "expected a list of ids per query, or a CSR matrix, got int"),
        (np.array(7), "expected a list of ids per query, or a CSR matrix, got ndarray"),
        (["ab", "cd"], "expected a list or an array of ids, got str"),
        ([{1: 2}, []], "expected a list or an array of ids, got dict"),
        ([1, 2], r"expected a 1-d array of ids, got shape \(\)"),
        (np.zeros((2, 60), bool), "expected integers or strings, got bool"),
        ([[1], [60]], "expected ids of the index, got 60"),
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
def test_exclude_refuses(exclude, message):
    with pytest.raises(ValueError, match=f"^exclude: {message}"):
        make_index("rows").search(QUERIES[:2], 5, exclude=exclude)


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
    assert len(model.fold_in((ids[:3], ids[5:8]))) == 2


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
    ],
)
def test_fold_in_refuses(items, message):
    with pytest.raises(ValueError, match=f"^items: {message}"):
        recommender("str").fold_in(items)
