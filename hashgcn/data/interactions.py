"""Interactions of users with items in CSR form, and data sets that map raw ids to rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.data.ids import look_up, raw_ids
from hashgcn.lazy import lazy

if TYPE_CHECKING:
    from hashgcn.graph import BipartiteGraph


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """The items of every user, in CSR form.

    Args:
        ptr: int64 [m + 1]; user u's items are ids[ptr[u]:ptr[u + 1]].
        ids: int64 [pairs], item rows in [0, n), strictly increasing for each user.
        num_items: n >= 0.
        order: int64 [pairs], a key that sorts each user's items in order of time; None if that
            order is not known.

    Raises:
        ValueError: arrays that are not such a CSR, or an order of another length.

    Examples:
        >>> from hashgcn.data import Interactions
        >>> pairs = Interactions(ptr=[0, 2, 2, 3], ids=[0, 4, 4], num_items=5)
        >>> pairs
        Interactions(3 users, 5 items, 3 pairs)
        >>> pairs.degrees().tolist(), pairs.popularity().tolist()
        ([2, 0, 1], [1, 0, 0, 0, 2])
    """

    ptr: np.ndarray
    ids: np.ndarray
    num_items: int
    order: np.ndarray | None = None

    def __post_init__(self) -> None:
        ptr, ids = _rows("ptr", self.ptr), _rows("ids", self.ids)
        if self.order is not None:
            order = _rows("order", self.order)
            if len(order) != len(ids):
                raise ValueError(f"order: expected {len(ids)} entries, as ids, got {len(order)}")
            object.__setattr__(self, "order", order)
        if len(ptr) < 1 or ptr[0] != 0 or ptr[-1] != len(ids):
            ends = f"{ptr[0]} .. {ptr[-1]}" if len(ptr) else "no entry"
            raise ValueError(f"ptr: expected 0 .. {len(ids)} (the length of ids), got {ends}")
        falls = np.flatnonzero(ptr[1:] < ptr[:-1])
        if len(falls):
            u = falls[0]
            raise ValueError(
                f"ptr: expected a non-decreasing array, got {ptr[u]} then {ptr[u + 1]} at user {u}"
            )
        _check_range("ids", ids, self.num_items)
        out_of_order = ids[1:] <= ids[:-1]
        starts = ptr[(ptr > 0) & (ptr < len(ids))]
        out_of_order[starts - 1] = False
        if out_of_order.any():
            p = int(out_of_order.argmax())
            u = int(np.searchsorted(ptr, p, side="right")) - 1
            raise ValueError(
                f"ids: expected strictly increasing items for each user, "
                f"got {ids[p]} then {ids[p + 1]} at user {u}"
            )
        object.__setattr__(self, "ptr", ptr)
        object.__setattr__(self, "ids", ids)
        object.__setattr__(self, "num_items", int(self.num_items))

    @classmethod
    def from_pairs(
        cls,
        users: ArrayLike,
        items: ArrayLike,
        num_users: int,
        num_items: int,
        *,
        in_time: bool = False,
    ) -> Interactions:
        """Sorts pairs into CSR form. A repeated pair counts once, at its first place.

        Args:
            users: int [pairs], rows in [0, num_users).
            items: int [pairs], rows in [0, num_items).
            num_users: m >= 0.
            num_items: n >= 0; m n < 2^63.
            in_time: whether each user's pairs are in order of time, which is then kept in `order`.

        Raises:
            ValueError: lengths that differ, a row out of range.

        Examples:
            >>> from hashgcn.data import Interactions
            >>> pairs = Interactions.from_pairs([1, 0, 1], [2, 0, 0], num_users=2, num_items=3)
            >>> pairs.ptr.tolist(), pairs.ids.tolist()
            ([0, 1, 3], [0, 0, 2])

        Note:
            Cost: O(pairs log pairs).
        """
        users, items = _rows("users", users), _rows("items", items)
        if len(users) != len(items):
            raise ValueError(f"items: expected {len(users)} rows, as users, got {len(items)}")
        _check_range("users", users, num_users)
        _check_range("items", items, num_items)
        if int(num_users) * int(num_items) >= 2**63:  # NumPy's integers would wrap around
            raise ValueError(
                f"num_users * num_items: expected less than 2^63, got {num_users} * {num_items}"
            )
        width = max(int(num_items), 1)
        keys, order = users * width + items, None
        # Not np.unique: since NumPy 2.3 it hashes, which takes 40 times as long on Gowalla.
        if in_time:
            order = np.argsort(keys, kind="stable")
            keys = keys[order]
        else:
            keys = np.sort(keys)
        first = np.diff(keys, prepend=-1) != 0
        users, ids = np.divmod(keys[first], width)
        ptr = _offsets(np.bincount(users, minlength=num_users))
        return cls(ptr, ids, num_items, None if order is None else order[first])

    @property
    def num_users(self) -> int:
        """m, including users without items."""
        return len(self.ptr) - 1

    @property
    def num_pairs(self) -> int:
        """The number of pairs of a user and an item."""
        return len(self.ids)

    def users(self) -> np.ndarray:
        """The user row of every pair, int64 [pairs]."""
        return np.repeat(np.arange(self.num_users), self.degrees())

    def degrees(self) -> np.ndarray:
        """The number of items of every user, int64 [m]."""
        return np.diff(self.ptr)

    def popularity(self) -> np.ndarray:
        """The number of users of every item, int64 [n]."""
        return np.bincount(self.ids, minlength=self.num_items)

    def recency(self) -> np.ndarray | None:
        """k / degree for a user's k-th item in time, float64 [pairs]; None without `order`."""
        if self.order is None:
            return None
        users, place = self.users(), np.empty(self.num_pairs, np.int64)
        place[np.lexsort((self.order, users))] = np.arange(self.num_pairs)
        return (place - self.ptr[users] + 1) / self.degrees()[users]

    def graph(self) -> BipartiteGraph:
        """The bipartite graph that networks are trained on, on the CPU. This needs torch."""
        import torch

        from hashgcn.graph import BipartiteGraph

        recency = self.recency()
        return BipartiteGraph.from_csr(
            torch.tensor(self.ptr),
            torch.tensor(self.ids),
            self.num_items,
            None if recency is None else torch.tensor(recency),
        )

    def __repr__(self) -> str:
        return (
            f"Interactions({self.num_users:,} users, {self.num_items:,} items, "
            f"{self.num_pairs:,} pairs)"
        )

    def split(
        self, fraction: float, seed: int, part: Literal["random", "last"] = "random"
    ) -> tuple[Interactions, Interactions]:
        """Holds out a fraction of each user's items: random ones, or the last in order of time.

        held of u = min(floor(fraction * degree + r_u), degree - 1), with r_u uniform in [0, 1).
        This stochastic rounding makes the expected share exact for users with few items too. All
        random numbers are hashes of (seed, user row, item row), so the split is the same on every
        machine, and what is held out of a user's items depends on that user's items alone.

        Args:
            fraction: in [0, 1).
            seed: in [0, 2^64).
            part: "random" or "last", which needs `order`.

        Returns:
            kept, held: each pair is in one of them. A user with items keeps at least one.

        Raises:
            ValueError: an argument out of range, or "last" without a known order.

        Examples:
            >>> from hashgcn.data import Interactions
            >>> pairs = Interactions.from_pairs([0, 0, 0, 0], [3, 1, 0, 2], 1, 4, in_time=True)
            >>> kept, held = pairs.split(0.5, seed=0, part="last")
            >>> kept.ids.tolist(), held.ids.tolist()
            ([1, 3], [0, 2])

        Note:
            Cost: O(pairs log pairs).
        """
        if not 0 <= fraction < 1:
            raise ValueError(f"fraction: expected a number in [0, 1), got {fraction}")
        if not 0 <= seed < 2**64:
            raise ValueError(f"seed: expected an integer in [0, 2^64), got {seed}")
        degrees = self.degrees()
        user_key = _mix(
            _mix(np.array([seed], np.uint64)) ^ np.arange(self.num_users, dtype=np.uint64)
        )
        # No item has column num_items, so a user's rounding is independent of the items' keys.
        rounding = _mix(user_key ^ np.uint64(self.num_items)) >> np.uint64(11)
        held_count = np.floor(fraction * degrees + rounding * 2.0**-53).astype(np.int64)
        held_count = np.minimum(held_count, np.maximum(degrees - 1, 0))

        users = self.users()
        if part == "last":
            if self.order is None:
                raise ValueError("part: expected random where the order is not known, got last")
            first_held = -self.order
        else:
            first_held = _mix(user_key[users] ^ self.ids.astype(np.uint64))
        held = np.empty(self.num_pairs, dtype=bool)
        place = np.arange(self.num_pairs) - self.ptr[users]
        held[np.lexsort((first_held, users))] = place < held_count[users]
        return self.where(~held), self.where(held)

    def of_users(self, users: np.ndarray) -> Interactions:
        """The interactions of some users, of whom the first one given is row 0.

        Args:
            users: int64 [Q], rows in [0, m), in any order; rows may repeat.
        """
        begins = self.ptr[users]
        lengths = self.ptr[users + 1] - begins
        ptr = _offsets(lengths)
        pairs = np.repeat(begins - ptr[:-1], lengths) + np.arange(ptr[-1])
        order = None if self.order is None else self.order[pairs]
        # Valid as this one is: for one user checks take twice as long as all that is done here.
        part = object.__new__(Interactions)
        vars(part).update(ptr=ptr, ids=self.ids[pairs], num_items=self.num_items, order=order)
        return part

    def where(self, chosen: np.ndarray) -> Interactions:
        """The pairs that the mask `chosen`, bool [pairs], selects."""
        counts = np.bincount(self.users()[chosen], minlength=self.num_users)
        order = None if self.order is None else self.order[chosen]
        return Interactions(_offsets(counts), self.ids[chosen], self.num_items, order)


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Train and test interactions over the same rows, and the raw ids of those rows.

    Rankings break ties by item row, and `from_pairs` numbers items by their popularity in train.

    Args:
        name: its name in reports.
        train: m users, n items.
        test: m users, n items. No pair is in both, as train items are left out of rankings.
        user_ids: int64 or str [m], unique raw ids.
        item_ids: int64 or str [n], unique raw ids.
        left_out: the number of events that did not become pairs, by reason.
        origin: the arguments of data.load that read the same data set again; None if it was made
            in memory. A run stores them, so that it can be opened later without them.
        test_is_later: whether test has the last pairs in time, or none: what is chosen on a part of
            train is then chosen on the last pairs of train.

    Raises:
        ValueError: sizes that differ, repeated ids, ids that are neither integers nor strings, a
            pair that is in both train and test.
    """

    name: str
    train: Interactions
    test: Interactions
    user_ids: np.ndarray
    item_ids: np.ndarray
    left_out: dict[str, int] = field(default_factory=dict)
    origin: dict[str, Any] | None = None
    test_is_later: bool = False

    def __repr__(self) -> str:
        train, test = self.train, self.test
        return (
            f"Dataset({self.name!r}, {train.num_users:,} users, {train.num_items:,} items, "
            f"{train.num_pairs:,} train and {test.num_pairs:,} test pairs)"
        )

    def __post_init__(self) -> None:
        for attribute in ("user_ids", "item_ids"):
            ids = raw_ids(attribute, getattr(self, attribute))
            object.__setattr__(self, attribute, ids)
            ordered = np.sort(ids)
            repeated = ordered[1:][ordered[1:] == ordered[:-1]]
            if len(repeated):
                raise ValueError(
                    f"{attribute}: expected unique ids, got {repeated.tolist()[0]!r} twice"
                )
        expected = (len(self.user_ids), len(self.item_ids))
        for attribute in ("train", "test"):
            part = getattr(self, attribute)
            if (part.num_users, part.num_items) != expected:
                raise ValueError(
                    f"{attribute}: expected {expected} users and items, as in user_ids and "
                    f"item_ids, got {(part.num_users, part.num_items)}"
                )
        both = np.flatnonzero(are_in(self.train, self.test))
        if len(both):
            user, item = self.test.users()[both[0]], self.test.ids[both[0]]
            raise ValueError(
                f"test: expected pairs that train lacks, got user row {user}, item row {item}"
            )

    @classmethod
    def from_pairs(
        cls,
        name: str,
        train_pairs: tuple[ArrayLike, ArrayLike],
        test_pairs: tuple[ArrayLike, ArrayLike],
        users: ArrayLike = (),
        *,
        in_time: bool = False,
    ) -> Dataset:
        """Makes a data set of raw ids; its users and items are those of train and test together.

        Users are numbered by id, items by falling train popularity and then by id. Items of equal
        score are ranked by row, so among them the more popular item comes first.

        Args:
            name: its name in reports.
            train_pairs: (user ids, item ids), each int or str [pairs]; repeated pairs count once.
            test_pairs: likewise, with ids of the same kinds. Pairs of train are left out.
            users: ids of users to keep even if no pair contains them.
            in_time: whether each user's pairs are in order of time.

        Raises:
            ValueError: no pairs at all, lengths that differ, ids of different kinds.

        Examples:
            >>> from hashgcn.data import Dataset
            >>> users, items = ["ann", "ann", "ben"], [30, 10, 10]
            >>> data = Dataset.from_pairs("toy", (users, items), (["ben"], [30]))
            >>> data
            Dataset('toy', 2 users, 2 items, 3 train and 1 test pairs)
            >>> data.item_ids.tolist()  # 10 is the more popular item
            [10, 30]

        Note:
            Cost: O(pairs log pairs).
        """
        train_users, train_items = _raw_pairs("train_pairs", train_pairs)
        test_users, test_items = _raw_pairs("test_pairs", test_pairs)
        user_ids, user_rows = _union("user", train_users, test_users, raw_ids("users", users))
        item_ids, item_rows = _union("item", train_items, test_items)
        cut = len(train_users)
        end = cut + len(test_users)
        shape = (len(user_ids), len(item_ids))

        train = Interactions.from_pairs(user_rows[:cut], item_rows[:cut], *shape)
        by_popularity = np.argsort(-train.popularity(), kind="stable")
        item_rows = np.argsort(by_popularity)[item_rows]
        train = Interactions.from_pairs(user_rows[:cut], item_rows[:cut], *shape, in_time=in_time)
        test = Interactions.from_pairs(user_rows[cut:end], item_rows[cut:], *shape, in_time=in_time)
        test = test.where(~are_in(train, test))
        repeated = end - train.num_pairs - test.num_pairs
        left_out = {"repeated": repeated} if repeated else {}
        return cls(name, train, test, user_ids, item_ids[by_popularity], left_out)

    def user_rows(self, ids: ArrayLike) -> np.ndarray:
        """The rows of raw user ids, int64 [len(ids)]. A ValueError names the first unknown id."""
        return look_up("user ids", self.user_ids, self._user_order, ids, "the dataset")

    def item_rows(self, ids: ArrayLike) -> np.ndarray:
        """The rows of raw item ids, int64 [len(ids)]. A ValueError names the first unknown id."""
        return look_up("item ids", self.item_ids, self._item_order, ids, "the dataset")

    @lazy
    def _user_order(self) -> np.ndarray:
        return np.argsort(self.user_ids)

    @lazy
    def _item_order(self) -> np.ndarray:
        return np.argsort(self.item_ids)


def _rows(argument: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or (array.dtype.kind not in "iu" and array.size):
        raise ValueError(
            f"{argument}: expected a 1-d integer array, got {array.dtype} of shape {array.shape}"
        )
    return np.ascontiguousarray(array, dtype=np.int64)


def _check_range(argument: str, rows: np.ndarray, size: int) -> None:
    outside = (rows < 0) | (rows >= size)
    if outside.any():
        raise ValueError(f"{argument}: expected rows in [0, {size}), got {rows[outside][0]}")


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])


def _mix(x: np.ndarray) -> np.ndarray:
    """The output of SplitMix64 at state x, a bijection of uint64 whose bits look random."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _raw_pairs(argument: str, pairs: tuple[ArrayLike, ArrayLike]) -> tuple[np.ndarray, np.ndarray]:
    users, items = (raw_ids(argument, ids) for ids in pairs)
    if len(users) != len(items):
        raise ValueError(
            f"{argument}: expected as many items as users ({len(users)}), got {len(items)}"
        )
    return users, items


def are_in(some: Interactions, others: Interactions) -> np.ndarray:
    """Whether each pair of `others` is one of `some`, bool [pairs]; both have the same shape."""
    known, wanted = (part.users() * part.num_items + part.ids for part in (some, others))
    # Both are sorted; np.isin would sort them again.
    return np.append(known, -1)[np.searchsorted(known, wanted)] == wanted


def _union(kind: str, *parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sorted unique ids of all parts, and the position of each given id among them."""
    given = [part for part in parts if len(part)]
    if not given:
        raise ValueError("train_pairs, test_pairs: expected at least one pair, got none")
    if len({part.dtype.kind for part in given}) > 1:
        raise ValueError(f"{kind} ids: expected all integers or all strings, got both")
    ids = np.concatenate(given)
    if ids.dtype.kind != "T":
        low, high = int(ids.min()), int(ids.max())
        # Dense ids need no sort, which would take half the time of reading Gowalla.
        if high - low < 4 * len(ids):
            present = np.zeros(high - low + 1, dtype=bool)
            present[ids - low] = True
            return np.flatnonzero(present) + low, (np.cumsum(present) - 1)[ids - low]
    return np.unique(ids, return_inverse=True)
