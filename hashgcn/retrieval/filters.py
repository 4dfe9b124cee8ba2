"""Which items a query may get: one list for all queries or one list for each, in rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.data.interactions import Interactions
from hashgcn.retrieval.lists import is_matrix, item_mask, listed_rows
from hashgcn.retrieval.results import MISSING_DISTANCE, Neighbours

if TYPE_CHECKING:
    from hashgcn.retrieval.lists import ItemLists

    ItemFilter: TypeAlias = ArrayLike | ItemLists

_PAIRS = 1 << 18  # pairs of a query and a listed item whose distances are counted at a time


@dataclass(frozen=True, eq=False)
class Filters:
    """What each of Q queries may get of n items; what is None leaves nothing out.

    Attributes:
        mask: bool [n], False for items that no query may get.
        denied: Q queries over n items: those that each must not get.
        allowed: Q queries over n items: the only ones that each may get.
    """

    mask: np.ndarray | None = None
    denied: Interactions | None = None
    allowed: Interactions | None = None

    @classmethod
    def of(
        cls,
        allow: ItemFilter | None,
        deny: ItemFilter | None,
        num_queries: int,
        num_items: int,
        find: Callable[..., np.ndarray],
    ) -> Filters:
        """The filters that these arguments of a search ask for.

        Args:
            allow: the only items that may be found: raw ids or bool [n], for all queries; or Q
                lists of raw ids or a CSR matrix [Q, n], one for each query.
            deny: items that must not be found, in the same forms.
            num_queries: Q.
            num_items: n.
            find: rows of raw ids, -1 for one that is passed over; called with `argument`.

        Raises:
            ValueError: another form; whatever `find` raises.
        """
        filters = cls()
        if allow is not None:
            listed = _listed("allow", allow, num_queries, num_items, find)
            if isinstance(listed, Interactions):
                filters = replace(filters, allowed=listed)
            else:
                filters = filters.only(listed)
        if deny is not None:
            listed = _listed("deny", deny, num_queries, num_items, find)
            if isinstance(listed, Interactions):
                filters = filters.without(listed)
            else:
                filters = filters.only(~listed)
        return filters

    def only(self, mask: np.ndarray) -> Filters:
        """The same, with nothing that the mask, bool [n], leaves out."""
        return replace(self, mask=mask if self.mask is None else self.mask & mask)

    def without(self, own: Interactions) -> Filters:
        """The same, without the items that belong to each query."""
        if self.denied is None:
            return replace(self, denied=own)
        users = np.concatenate([self.denied.users(), own.users()])
        rows = np.concatenate([self.denied.ids, own.ids])
        both = Interactions.from_pairs(users, rows, own.num_users, own.num_items)
        return replace(self, denied=both)

    def of_queries(self, queries: np.ndarray) -> Filters:
        """The filters of some queries, int64 rows."""
        denied, allowed = (
            None if lists is None else lists.of_users(queries)
            for lists in (self.denied, self.allowed)
        )
        return Filters(self.mask, denied, allowed)

    def candidates(self) -> Interactions | None:
        """What each query may get, if there are lists of it, without what it must not get."""
        if self.allowed is None:
            return None
        left, n = self.allowed, max(self.allowed.num_items, 1)
        if self.mask is not None:
            left = left.where(self.mask[left.ids])
        if self.denied is not None:
            denied = self.denied.users() * n + self.denied.ids
            left = left.where(~np.isin(left.users() * n + left.ids, denied))
        return left


def nearest_listed(
    queries: np.ndarray, items: np.ndarray, k: int, listed: Interactions
) -> Neighbours:
    """The k nearest of the items that are listed for each query, as hamming_topk gives them.

    Args:
        queries: int64 [Q, W] or [Q, P, W], packed.
        items: int64 [n, W], packed.
        k: number of results per query.
        listed: Q queries over n items.

    Note:
        Cost: one count of P W words for each listed item, whatever n is, and a sort. Memory: some
        16 (P W + 4) bytes for each of 2^18 listed items, or of one query's if they are more.
    """
    planes = queries.reshape(len(queries), -1, items.shape[1]).view(np.uint64)
    weights = 2 ** np.arange(planes.shape[1])
    rows = np.full((len(queries), k), -1)
    distances = np.full(rows.shape, MISSING_DISTANCE, np.int32)
    for part in parts_of(listed.ptr, _PAIRS):
        ptr = listed.ptr[part.start : part.stop + 1]
        own = listed.ids[ptr[0] : ptr[-1]]
        query = np.repeat(np.arange(part.start, part.stop), np.diff(ptr))
        differ = planes[query] ^ items[own, None].view(np.uint64)
        found = np.bitwise_count(differ).sum(axis=2, dtype=np.int64) @ weights
        order = np.lexsort((own, found, query))
        place = np.arange(len(order)) - (ptr[:-1] - ptr[0])[query - part.start]
        best = place < k
        at, order = (query[best], place[best]), order[best]
        rows[at], distances[at] = own[order], found[order]
    return Neighbours(rows, distances)


def parts_of(ptr: np.ndarray, most: int) -> Iterator[slice]:
    """Consecutive rows of a CSR with at most so many entries together, or of one row with more."""
    start, rows = 0, len(ptr) - 1
    while start < rows:
        end = int(np.searchsorted(ptr, ptr[start] + most, side="right")) - 1
        yield slice(start, end := max(end, start + 1))
        start = end


def _listed(
    argument: str,
    items: Any,
    num_queries: int,
    num_items: int,
    find: Callable[..., np.ndarray],
) -> np.ndarray | Interactions:
    """bool [n] of one list for all queries, or the items that are listed for each."""
    find = partial(find, argument=argument)
    if isinstance(items, Iterator):
        items = list(items)  # it is looked at first
    is_each = _is_for_each(items)
    # A mask is as long as the index, which for a few items and one query takes longer than a list.
    if not is_each and argument == "deny" and num_queries == 1 and not _holds_bools(items):
        items, is_each = [items], True
    if not is_each:
        return item_mask(argument, items, num_items, find)
    ptr, rows = listed_rows(argument, items, num_items, find, num_lists=num_queries)
    if isinstance(items, Interactions):
        return items
    queries = np.repeat(np.arange(num_queries), np.diff(ptr))
    return Interactions.from_pairs(queries, rows, num_queries, num_items)


def _is_for_each(items: Any) -> bool:
    """Whether an argument holds one list for each query; otherwise it is one list for all."""
    if is_matrix(items):
        return True
    if _is_text_or_set(items) or not isinstance(items, Iterable) or hasattr(items, "columns"):
        return False
    axes = getattr(items, "ndim", 1)
    if axes != 1 or (isinstance(items, np.ndarray) and items.dtype != object):
        return axes > 1
    first = next(iter(items), None)
    return isinstance(first, Iterable) and not isinstance(first, (str, bytes)) and _has_axis(first)


def _is_text_or_set(items: object) -> bool:
    return isinstance(items, (str, bytes, dict, set, frozenset))


def _has_axis(one: object) -> bool:
    return getattr(one, "ndim", 1) > 0  # scalars of NumPy and torch have none


def _holds_bools(items: Any) -> bool:
    if hasattr(items, "dtype"):
        return np.asarray(items).dtype == bool
    return isinstance(items, (list, tuple)) and any(isinstance(x, (bool, np.bool_)) for x in items)
