"""The items that belong to each query: lists of raw ids, or a CSR matrix over rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.data.interactions import Interactions

if TYPE_CHECKING:
    from scipy.sparse import csr_array, csr_matrix

    ItemLists: TypeAlias = Iterable[Any] | csr_matrix | csr_array | Interactions


def is_matrix(lists: object) -> bool:
    """Whether the argument is a matrix over rows, sparse or Interactions, and not lists of ids."""
    return isinstance(lists, Interactions) or hasattr(lists, "tocsr")


def listed_rows(
    argument: str,
    lists: ItemLists,
    num_items: int,
    find: Callable[[Any], np.ndarray],
    *,
    num_lists: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The item rows of each query as CSR, in the order of each list.

    Args:
        argument: what errors call `lists`.
        lists: an iterable with an order, of iterables of raw ids: one for each query, whatever the
            containers are, so that a tuple of two arrays is two lists. Or scipy.sparse CSR or
            Interactions [Q, n] over rows, of which entries count that are stored and not zero; a
            sparse array [n] is one row.
        num_items: n.
        find: rows of raw ids, -1 for one that is passed over.
        num_lists: Q, the number of lists that is expected; any if left out.

    Returns:
        ptr, int64 [Q + 1], and rows, int64: those of query q are rows[ptr[q]:ptr[q + 1]].

    Raises:
        ValueError: lists of another type or number, a matrix of another format or shape; whatever
            `find` raises, with the number of the list.
    """
    if is_matrix(lists):
        ptr, rows, width = _csr(argument, lists)
        if width != num_items or num_lists not in (None, len(ptr) - 1):
            expected = ["Q" if num_lists is None else num_lists, num_items]
            raise ValueError(
                f"{argument}: expected a matrix of shape [{', '.join(map(str, expected))}], "
                f"got [{len(ptr) - 1}, {width}]"
            )
        return ptr, rows
    found = []
    for number, one in enumerate(_lists(argument, lists)):
        try:
            found.append(find(one))
        except (RuntimeError, TypeError, ValueError) as error:
            # Such as a tensor of another device, which says itself what is wrong.
            name = "" if isinstance(error, ValueError) else f"{argument}: expected ids, got "
            at = "" if num_lists == 1 else f", in list {number}"
            raise ValueError(f"{name}{error}{at}") from error
    if num_lists not in (None, len(found)):
        raise ValueError(
            f"{argument}: expected {num_lists} lists of ids, one per query, got {len(found)}"
        )
    kept = [np.zeros(0, dtype=np.int64), *(rows[rows >= 0] for rows in found)]
    return np.cumsum([len(rows) for rows in kept]), np.concatenate(kept)


def listed_interactions(
    argument: str,
    lists: ItemLists,
    num_items: int,
    find: Callable[[Any], np.ndarray],
    *,
    num_lists: int | None = None,
) -> Interactions:
    """As listed_rows, but sorted; the order of lists, unless one is a set, is that in time."""
    if not is_matrix(lists):
        lists = list(_lists(argument, lists))
    ptr, rows = listed_rows(argument, lists, num_items, find, num_lists=num_lists)
    if isinstance(lists, Interactions):
        return lists
    ordered = isinstance(lists, list) and not any(_is_set(one) for one in lists)
    users = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    return Interactions.from_pairs(users, rows, len(ptr) - 1, num_items, in_time=ordered)


def item_mask(
    argument: str,
    items: ArrayLike | Iterable,
    num_items: int,
    find: Callable[[Any], np.ndarray],
) -> np.ndarray:
    """bool [n], True for items that are given as raw ids, in any iterable, or as such a mask.

    Args:
        argument: what errors call `items`.
        items: raw ids, or bool [n].
        num_items: n.
        find: rows of raw ids, -1 for one that is passed over.

    Raises:
        ValueError: a mask of another shape; whatever `find` raises.
    """
    is_mask = hasattr(items, "dtype") and np.asarray(items).dtype == bool
    if isinstance(items, (list, tuple)) and items:
        is_mask = all(isinstance(x, (bool, np.bool_)) for x in items)
    if is_mask:
        mask = np.asarray(items)
        if mask.shape != (num_items,):
            raise ValueError(
                f"{argument}: expected raw ids or bool [{num_items}], got bool {list(mask.shape)}"
            )
        return mask
    rows, mask = find(items), np.zeros(num_items, dtype=bool)
    mask[rows[rows >= 0]] = True
    return mask


def _lists(argument: str, lists: Any) -> Iterable[Any]:
    """The argument, if it can be iterated over list by list, in an order that means something."""
    # Tables would be read by column, sets in any order, and sparse tensors cannot be iterated over.
    refused = isinstance(lists, (str, bytes, Mapping)) or _is_set(lists)
    refused |= hasattr(lists, "columns") or getattr(lists, "is_sparse", False)
    refused |= "sparse" in str(getattr(lists, "layout", ""))
    if refused or not isinstance(lists, Iterable) or getattr(lists, "ndim", 1) == 0:
        raise ValueError(
            f"{argument}: expected a list of ids per query, or a CSR matrix, "
            f"got {type(lists).__name__}"
        )
    return lists


def _is_set(one: object) -> bool:
    return isinstance(one, (set, frozenset))


def _csr(argument: str, matrix: Any) -> tuple[np.ndarray, np.ndarray, int]:
    if isinstance(matrix, Interactions):
        return matrix.ptr, matrix.ids, matrix.num_items
    if matrix.ndim == 1:  # a row of a csr_array, which SciPy gives in another format
        matrix = matrix.reshape(1, -1).tocsr()
    if matrix.format != "csr" or matrix.ndim != 2:
        raise ValueError(
            f"{argument}: expected a 2-d CSR matrix, got {matrix.format.upper()} "
            f"of {matrix.ndim} dimensions"
        )
    width = matrix.shape[-1]
    ptr, rows = (np.asarray(x, dtype=np.int64) for x in (matrix.indptr, matrix.indices))
    rows = rows[: ptr[-1]]
    # SciPy does not check what it is built from, and search would read past the ends.
    rises = ptr[0] == 0 and (ptr[1:] >= ptr[:-1]).all() and ptr[-1] == len(rows)
    if not rises or not ((rows >= 0) & (rows < width)).all():
        raise ValueError(f"{argument}: expected a valid CSR matrix, got indices out of range")
    stored = np.asarray(matrix.data[: len(rows)]) != 0
    return np.concatenate([[0], np.cumsum(stored)])[ptr], rows[stored], width
