"""The items that belong to each query: lists of raw ids, or a CSR matrix over rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

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
        lists: an iterable of iterables of raw ids; or scipy.sparse CSR or Interactions [Q, n] over
            rows, of which entries count that are stored and not zero.
        num_items: n.
        find: rows of raw ids, -1 for one that is passed over.
        num_lists: Q, the number of lists that is expected; any if left out.

    Returns:
        ptr, int64 [Q + 1], and rows, int64: those of query q are rows[ptr[q]:ptr[q + 1]].

    Raises:
        ValueError: lists of another type or number, a matrix of another format or shape; whatever
            `find` raises.
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
    if (
        isinstance(lists, (str, bytes, Mapping))
        or not isinstance(lists, Iterable)
        or getattr(lists, "ndim", 1) == 0
    ):
        raise ValueError(
            f"{argument}: expected a list of ids per query, or a CSR matrix, "
            f"got {type(lists).__name__}"
        )
    found = [find(one) for one in lists]
    if num_lists not in (None, len(found)):
        raise ValueError(
            f"{argument}: expected {num_lists} lists of ids, one per query, got {len(found)}"
        )
    kept = [np.zeros(0, dtype=np.int64), *(rows[rows >= 0] for rows in found)]
    return np.cumsum([len(rows) for rows in kept]), np.concatenate(kept)


def _csr(argument: str, matrix: Any) -> tuple[np.ndarray, np.ndarray, int]:
    if isinstance(matrix, Interactions):
        return matrix.ptr, matrix.ids, matrix.num_items
    if matrix.format != "csr" or matrix.ndim != 2:
        raise ValueError(
            f"{argument}: expected a 2-d CSR matrix, got {matrix.format.upper()} "
            f"of {matrix.ndim} dimensions"
        )
    ptr, rows = (np.asarray(x, dtype=np.int64) for x in (matrix.indptr, matrix.indices))
    rows = rows[: ptr[-1]]
    # SciPy does not check what it is built from, and search would read past the ends.
    rises = ptr[0] == 0 and (ptr[1:] >= ptr[:-1]).all() and ptr[-1] == len(rows)
    if not rises or not ((rows >= 0) & (rows < matrix.shape[1])).all():
        raise ValueError(f"{argument}: expected a valid CSR matrix, got indices out of range")
    stored = np.asarray(matrix.data[: len(rows)]) != 0
    return np.concatenate([[0], np.cumsum(stored)])[ptr], rows[stored], matrix.shape[1]
