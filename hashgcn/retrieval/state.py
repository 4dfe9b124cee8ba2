"""What a recommender knows at one moment, what can be asked of it, and the changes to it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.data.cold import ColdRule, ColdUsers, check_cold_users
from hashgcn.data.ids import raw_ids
from hashgcn.data.interactions import Interactions
from hashgcn.lazy import lazy
from hashgcn.levels import largest_weight, levels_of
from hashgcn.retrieval.codes import pack_codes, pack_levels, unpack_codes, unpack_levels
from hashgcn.retrieval.filters import Filters, parts_of
from hashgcn.retrieval.index import HammingIndex
from hashgcn.retrieval.lists import listed_interactions
from hashgcn.retrieval.results import MISSING_DISTANCE, Recommendations, lowest_score
from hashgcn.retrieval.table import CodeTable
from hashgcn.retrieval.words import popularity_mask, popularity_values, query_words

if TYPE_CHECKING:
    from hashgcn.retrieval.filters import ItemFilter
    from hashgcn.retrieval.lists import ItemLists

_PAIRS = 1 << 16  # pairs of a user and an item that are folded in at a time
_SAMPLE = 1 << 12  # users of train that fold_in is fitted to


@dataclass(frozen=True, eq=False)
class State:
    """Codes, raw ids and items seen. Nothing writes to it, so that calls need no lock.

    Attributes:
        users: their codes, as user_words gives them, and raw ids.
        index, seen: as those of Recommender.
        given: bool [n], True for items whose code `add` or `replace` was given.
    """

    users: CodeTable
    index: HammingIndex
    seen: Interactions
    given: np.ndarray

    @lazy
    def rule(self) -> ColdRule:
        return ColdRule(self.seen)

    @lazy
    def ranked(self) -> np.ndarray | None:
        """bool [n], False for items whose code says nothing; None if there are none."""
        ranked = ~self.rule.items | self.given
        return None if ranked.all() else ranked

    @lazy
    def item_weights(self) -> np.ndarray:
        return 1 / np.sqrt(np.maximum(self.rule.popularity, 1))

    @lazy
    def cold(self) -> np.ndarray:
        """bool [m + 1], True for cold users; the last one, row -1, is an unknown user."""
        return np.append(self.rule.users, True)

    @lazy
    def seen_or_none(self) -> Interactions:
        """`seen` with one more user, without items: an unknown one."""
        return Interactions(np.append(self.seen.ptr, self.seen.ptr[-1:]), self.seen.ids, len(self))

    def __reduce__(self) -> tuple:  # without what is cached
        return State, (self.users, self.index, self.seen, self.given)

    def __len__(self) -> int:
        return len(self.index)

    def user_rows(self, users: ArrayLike | Iterable, *, ignore_unknown: bool = False) -> np.ndarray:
        """Rows of raw user ids; -1 for an unknown one if that is no error."""
        return self.users.find(
            "users", users, unknown=ignore_unknown, owner="users seen in training"
        )

    def known_rows(self, users: np.ndarray | None, cold_users: ColdUsers) -> np.ndarray:
        """Rows of raw user ids, or of all users; -1 for an unknown one.

        A ValueError for a cold one if that is an error.
        """
        check_cold_users(cold_users)
        every = np.arange(len(self.users))
        rows = every if users is None else self.user_rows(users, ignore_unknown=True)
        cold = np.flatnonzero(self.cold[rows])
        if cold_users == "error" and len(cold):
            ids = self.users.ids_of(rows[cold[:1]]) if users is None else users[cold[:1]]
            first = ids.tolist()[0]
            raise ValueError(f"users: expected ids of users with items in train, got {first!r}")
        return rows

    @property
    def levels(self) -> int:
        """L, the number of sizes of the weights in the codes of users."""
        words = self.users.words
        return levels_of(words.shape[1]) if words.ndim == 3 else 1

    @lazy
    def popularity_value(self) -> int:
        """V, the weight of every popularity bit in the codes of users."""
        words, bits = self.users.words[:1], self.index.popularity_bits
        if self.levels == 1 or not bits or not len(words):
            return 1
        return int(popularity_values("user_codes", words, self.index.code_length, bits)[0])

    @lazy
    def thresholds(self) -> np.ndarray:
        """The sizes (see _sizes) from which fold_in takes the next weight, float64 [L - 1], rising.

        With them every weight has the same share in the codes that train gave to users and in those
        that fold_in makes of their items.
        """
        users = np.flatnonzero(self.seen.degrees())
        places = np.linspace(0, len(users) - 1, min(len(users), _SAMPLE)).astype(int)
        users = users[places]
        own = self.seen.of_users(users)
        sums = self._sums(own, self.item_weights[own.ids], self.index.codes, num_threads=1)
        sizes = np.concatenate([_sizes(part).ravel() for _, part in sums])
        trained = unpack_levels(self.users.words[users], self.index.code_length, num_threads=1)
        trained = np.sort(np.abs(trained[:, : self.taste]), axis=None)
        smaller = np.searchsorted(trained, 2.0 * np.arange(1, self.levels))
        return np.append(np.sort(sizes), np.inf)[smaller]

    @property
    def taste(self) -> int:
        """The number of bits of a code that are not popularity bits."""
        return self.index.code_length - self.index.popularity_bits

    def filters(
        self,
        allow: ItemFilter | None,
        deny: ItemFilter | None,
        num_queries: int,
        ignore_unknown: bool,
        untrained_items: bool,
    ) -> Filters:
        """What each of so many queries may get, by arguments of Recommender.search."""
        find = partial(self.index.rows, ignore_unknown=ignore_unknown)
        filters = Filters.of(allow, deny, num_queries, len(self), find)
        return filters if untrained_items or self.ranked is None else filters.only(self.ranked)

    def recommend(
        self,
        rows: np.ndarray,
        k: int,
        filters: Filters,
        *,
        exclude_seen: bool,
        popularity_weight: float | None,
        num_threads: int,
    ) -> Recommendations:
        """As Recommender.recommend, of user rows, int64 [Q]; -1 is an unknown user."""
        known = rows >= 0
        codes = np.zeros((len(rows), *self.users.words.shape[1:]), np.int64)
        codes[known] = self.users.words[rows[known]]
        if exclude_seen:
            nobody = len(self.users)
            filters = filters.without(self.seen_or_none.of_users(np.where(known, rows, nobody)))
        cold = self.cold[rows]
        return self.search(codes, k, filters, cold, popularity_weight, num_threads)

    def search(
        self,
        queries: np.ndarray,
        k: int,
        filters: Filters,
        cold: np.ndarray,
        popularity_weight: float | None,
        num_threads: int,
    ) -> Recommendations:
        """As Recommender.search, of [Q, ...] queries with cold, bool [Q]."""
        length, popular = self.index.code_length, np.flatnonzero(cold)
        queries = query_words(queries, length, num_threads)
        if queries.ndim == 3 and len(popular):
            queries = queries.copy()  # with some weight of popularity, as the index wants one
            queries[popular] = popularity_mask(length, self.index.popularity_bits)
        listed = filters.candidates()
        ids, distances = self.index.search(
            queries,
            k,
            allow=filters.mask if listed is None else listed,
            deny=filters.denied if listed is None else None,
            popularity_weight=popularity_weight,
            num_threads=num_threads,
        )
        levels = levels_of(queries.shape[1]) if queries.ndim == 3 else 1
        lowest = lowest_score(np.dtype(np.int32))
        scores = largest_weight(levels) * length - 2 * distances.astype(np.int64)
        scores[distances == MISSING_DISTANCE] = lowest
        if len(popular):
            if listed is not None:
                best, counts = self.rule.popular_of(k, listed.of_users(popular))
            else:
                nothing = np.zeros(len(popular) + 1, np.int64), np.zeros(0, np.int64)
                own = Interactions(*nothing, len(self))
                if filters.denied is not None:
                    own = filters.denied.of_users(popular)
                best, counts = self.rule.popular(k, own, filters.mask)
            ids[popular] = self.index.ids_of(best)
            scores[popular] = np.where(best < 0, lowest, counts)
        return Recommendations(ids, scores.astype(np.int32), cold)

    def liked(self, items: ItemLists, ignore_unknown: bool) -> tuple[Interactions, Interactions]:
        """The items of users, and without those that nobody has in train."""
        rows = partial(self.index.rows, ignore_unknown=ignore_unknown, argument="items")
        every = listed_interactions("items", items, len(self), rows)
        return every, every.where(~self.rule.items[every.ids])

    def fold_in(self, liked: Interactions, recent_fraction: float, num_threads: int) -> np.ndarray:
        """As Recommender.fold_in, of users who all have items of train, and of no others."""
        weights = self.item_weights[liked.ids]
        if recent_fraction:
            recency = liked.recency()
            if recency is None:
                raise ValueError(
                    f"recent_fraction: expected 0 for items without an order in time, "
                    f"got {recent_fraction}"
                )
            recent = recency > 1 - recent_fraction
            counts = np.bincount(liked.users()[recent], minlength=liked.num_users)
            ratio = np.sqrt(liked.degrees() / np.maximum(counts, 1))[liked.users()]
            weights = weights * np.where(recent, 1 + ratio, 1)
        words = np.empty((liked.num_users, *self.users.words.shape[1:]), np.int64)
        for rows, sums in self._sums(liked, weights, self.index.codes, num_threads):
            graded = np.full((len(sums), self.index.code_length), self.popularity_value, np.int8)
            own = np.where(sums >= 0, 1, -1)
            if self.levels > 1:
                own *= 1 + 2 * np.searchsorted(self.thresholds, _sizes(sums), side="right")
            graded[:, : self.taste] = own
            words[rows] = pack_levels(graded, self.levels).reshape(words[rows].shape)
        return words

    def buyers(self, users: ItemLists, ignore_unknown: bool) -> Interactions:
        """The users of new items, items over users, without those who have no items in train."""
        find = partial(self.user_rows, ignore_unknown=ignore_unknown)
        every = listed_interactions("users", users, len(self.users), find)
        return every.where(~self.rule.users[every.ids])

    def fold_in_items(self, buyers: Interactions, num_threads: int) -> np.ndarray:
        """As Recommender.fold_in_items, of items that all have users with items in train."""
        # On the sample and on Gowalla, weights of 1 / sqrt(number of items of the user) lost up to
        # 5% of Recall@50 for items of two or three users, and gained 1% at most for others.
        weights = np.ones(buyers.num_pairs)
        counts = self._positive_popularity_bits(buyers.degrees())
        length, bits = self.index.code_length, self.index.popularity_bits
        words = np.empty((buyers.num_users, self.index.codes.shape[1]), np.int64)
        for rows, sums in self._sums(buyers, weights, self.users.words, num_threads):
            signs = np.empty((len(sums), length), np.int8)
            signs[:, : self.taste] = np.where(sums >= 0, 1, -1)
            signs[:, self.taste :] = np.where(np.arange(bits) < counts[rows, None], 1, -1)
            words[rows] = pack_codes(signs, num_threads=num_threads)
        return words

    def _positive_popularity_bits(self, popularity: np.ndarray) -> np.ndarray:
        """How many popularity bits of items with so many users are +1, int64 as `popularity`.

        As many as the item of train has that stands at the same place, when these items are ordered
        by their numbers of users and the numbers of bits are ordered, too. Among items with as many
        users it is the middle place.
        """
        known = ~self.rule.items
        codes = unpack_codes(self.index.codes[known], self.index.code_length, num_threads=1)
        bits = np.sort((codes[:, self.taste :] > 0).sum(axis=1))
        users = np.sort(self.rule.popularity[known])
        below, upto = (np.searchsorted(users, popularity, side) for side in ("left", "right"))
        return bits[np.minimum((below + upto) // 2, len(bits) - 1)]

    def _sums(
        self, lists: Interactions, weights: np.ndarray, words: np.ndarray, num_threads: int
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """The weighted sums of lists of codes over the taste bits: rows, float64 [rows, taste].

        Args:
            lists: rows of codes, in lists of which none is empty.
            weights: float64 [pairs].
            words: the codes, plain or graded.
            num_threads: for unpacking.
        """
        for rows in parts_of(lists.ptr, _PAIRS):
            ptr = lists.ptr[rows.start : rows.stop + 1]
            own = slice(ptr[0], ptr[-1])
            some, length = words[lists.ids[own]], self.index.code_length
            codes = unpack_levels(some, length, num_threads=num_threads)[:, : self.taste]
            sums = np.add.reduceat(codes * weights[own, None], ptr[:-1] - ptr[0], axis=0)
            yield rows, sums

    def added(self, codes: np.ndarray, ids: ArrayLike | None) -> State:
        index = self.index.snapshot()
        index.add(codes, ids)
        seen = Interactions(self.seen.ptr, self.seen.ids, len(index), self.seen.order)
        given = np.append(self.given, np.ones(len(index) - len(self), dtype=bool))
        return replace(self, index=index, seen=seen, given=given)

    def added_from(self, users: ItemLists, ids: ArrayLike | None, ignore_unknown: bool) -> State:
        buyers = self.buyers(users, ignore_unknown)
        check_buyers(buyers)
        state, seen = self.added(self.fold_in_items(buyers, num_threads=0), ids), self.seen
        owners = np.concatenate([seen.users(), buyers.ids])
        items = np.concatenate([seen.ids, len(self) + buyers.users()])
        # Without an order in time, which nothing asks of the items seen.
        return replace(
            state, seen=Interactions.from_pairs(owners, items, seen.num_users, len(state))
        )

    def removed(self, ids: ArrayLike | Iterable) -> State:
        kept = np.ones(len(self), dtype=bool)
        kept[self.index.rows(ids, argument="ids")] = False
        index = self.index.snapshot()
        index.remove(self.index.ids_of(np.flatnonzero(~kept)))
        left = self.seen.where(kept[self.seen.ids])
        rows = (np.cumsum(kept) - 1)[left.ids]
        seen = Interactions(left.ptr, rows, len(index), left.order)
        return replace(self, index=index, seen=seen, given=self.given[kept])

    def replaced(self, ids: ArrayLike | Iterable, codes: np.ndarray) -> State:
        ids = raw_ids("ids", ids)
        index = self.index.snapshot()
        index.replace(ids, codes)
        given = self.given.copy()
        given[index.rows(ids)] = True
        return replace(self, index=index, given=given)


def _sizes(sums: np.ndarray) -> np.ndarray:
    """The sizes of sums [Q, taste], each relative to the user's root mean square."""
    scale = np.sqrt((sums * sums).sum(axis=1, keepdims=True) / max(sums.shape[1], 1))
    return np.divide(np.abs(sums), scale, out=np.zeros(sums.shape), where=scale > 0)


def check_fraction(recent_fraction: float) -> None:
    """Raises a ValueError for a fraction out of range."""
    if not 0 <= recent_fraction < 1:
        raise ValueError(f"recent_fraction: expected a number in [0, 1), got {recent_fraction}")


def check_liked(liked: Interactions) -> None:
    """Raises a ValueError that names the first user without items."""
    without = np.flatnonzero(liked.degrees() == 0)
    if len(without):
        raise ValueError(
            f"items: expected at least one item of train for every user, "
            f"got none for user {without[0]}"
        )


def check_buyers(buyers: Interactions) -> None:
    """Raises a ValueError that names the first item without users."""
    without = np.flatnonzero(buyers.degrees() == 0)
    if len(without):
        raise ValueError(
            f"users: expected at least one user with items in train for every item, "
            f"got none for item {without[0]}"
        )
