"""Recommendations from trained codes, and their file; it works in a process without torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.data.cold import ColdUsers, check_cold_users
from hashgcn.data.ids import raw_ids
from hashgcn.data.interactions import Interactions
from hashgcn.files import decode_ids, encode_ids, load_arrays, save_arrays, stated_number
from hashgcn.retrieval.index import HammingIndex
from hashgcn.retrieval.locks import ChangeLock
from hashgcn.retrieval.results import Recommendations
from hashgcn.retrieval.state import State, check_buyers, check_fraction, check_liked
from hashgcn.retrieval.table import CodeTable
from hashgcn.retrieval.words import user_words

if TYPE_CHECKING:
    from hashgcn.retrieval.filters import ItemFilter
    from hashgcn.retrieval.lists import ItemLists

_FORMAT = "hashgcn.recommender"
# Versions of files with the codes of plain users and of graded ones.
FILE_VERSIONS = _PLAIN, _GRADED = 2, 3
_ARRAYS = ("user_codes", "item_codes", "seen.ptr", "seen.ids", "given")
_OWN_METADATA = ("code_length", "format", "popularity_bits", "version")


class Recommender:
    """The codes of users and items, with raw ids and the items that each user has seen.

    A recommender can be copied and pickled. Any number of threads may use it while others add,
    remove or replace items: each call sees it as it was before a change or after it, never in
    between.

    A user is cold who is unknown or has no items in train, so that no code says what they like:
    they get the most popular items. An item is cold, too, that nobody has in train, unless its code
    came from `add` or `replace`: nobody gets it, unless that is asked for.

    Args:
        user_codes: int64 or uint64 [m, ceil(f / 64)], packed; or [m, P, ceil(f / 64)], the bit
            planes of graded codes (see pack_levels). Popularity bits have the same weight V > 0 in
            the graded codes of all users.
        user_ids: int or str [m], unique raw ids.
        index: the codes and raw ids of n items, as they are now: later changes of that index do not
            affect the recommender.
        seen: m users over n items, those of train, in rows as those of the codes.

    Raises:
        ValueError: codes, ids and items seen that do not fit together.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.data import Interactions
        >>> from hashgcn.retrieval import HammingIndex, Recommender, pack_codes
        >>> users = pack_codes(np.array([[1, 1, 1], [-1, -1, -1]], np.int8))
        >>> items = np.array([[1, 1, -1], [1, 1, 1], [-1, -1, 1]], np.int8)
        >>> index = HammingIndex.build(items, ids=["apple", "pear", "rake"])
        >>> seen = Interactions.from_pairs([0, 0, 1, 1], [1, 2, 0, 2], 2, 3)
        >>> recommender = Recommender(users, np.array([7, 8]), index, seen)
        >>> recommender
        Recommender(2 users, 3 items, codes of 3 bits)
        >>> ids, scores = recommender.recommend([8, 7], k=1)
        >>> ids.tolist(), scores.tolist()
        ([['pear'], ['apple']], [[-3], [1]])
        >>> ids, scores = recommender.recommend([99], k=3)  # unknown: the most popular items
        >>> ids.tolist(), scores.tolist()
        ([['rake', 'apple', 'pear']], [[2, 1, 1]])
        >>> ids, scores = recommender.recommend_from([["pear"]], k=1)  # by what a new user likes
        >>> ids.tolist()
        [['apple']]
    """

    def __init__(
        self,
        user_codes: np.ndarray,
        user_ids: ArrayLike,
        index: HammingIndex,
        seen: Interactions,
    ) -> None:
        index = index.snapshot()
        words = user_words(user_codes, index.code_length, index.popularity_bits)
        users = CodeTable.of(words, user_ids)
        if (seen.num_users, seen.num_items) != (len(users), len(index)):
            raise ValueError(
                f"seen: expected {len(users)} users and {len(index)} items, as there are codes, "
                f"got {seen.num_users} and {seen.num_items}"
            )
        given = np.zeros(len(index), dtype=bool)
        self._set(State(users, index, seen, given))

    def _set(self, state: State) -> None:
        # Each call takes the state once; changes replace it as a whole.
        self._state = state
        self._changing = ChangeLock()

    @classmethod
    def _of(cls, state: State) -> Recommender:
        recommender = cls.__new__(cls)
        recommender._set(state)
        return recommender

    def __reduce__(self) -> tuple:  # a lock cannot be pickled
        return Recommender._of, (self._state,)

    @property
    def user_codes(self) -> np.ndarray:
        """The packed codes of the users, int64 [m, ceil(f / 64)]; graded [m, P, ceil(f / 64)]."""
        return self._state.users.words

    @property
    def plain_user_codes(self) -> np.ndarray:
        """The signs of the users' codes, int64 [m, ceil(f / 64)]: plain codes for other engines.

        Those of graded users are their last plane: a search with it finds less than with all. Those
        of plain users are user_codes.
        """
        words = self._state.users.words
        return np.ascontiguousarray(words[:, -1]) if words.ndim == 3 else words

    @property
    def levels(self) -> int:
        """L: users' codes hold weights ±1, ±3, ..., ±(2 L - 1); 1 for plain codes of +1 and -1."""
        return self._state.levels

    @property
    def user_ids(self) -> np.ndarray:
        """The raw id of every user, int64 or str [m]; strings are decoded, O(m)."""
        return self._state.users.all_ids()

    @property
    def index(self) -> HammingIndex:
        """The codes and raw ids of the items as they are now; changes of it change nothing here."""
        return self._state.index.snapshot()

    @property
    def seen(self) -> Interactions:
        """The items that recommendations leave out, by user: those of train."""
        return self._state.seen

    def __repr__(self) -> str:
        state = self._state
        graded = f", users of {state.levels} levels" if state.levels > 1 else ""
        return (
            f"Recommender({len(state.users):,} users, {len(state):,} items, "
            f"codes of {state.index.code_length} bits{graded})"
        )

    def recommend(
        self,
        users: ArrayLike | Iterable,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        allow: ItemFilter | None = None,
        deny: ItemFilter | None = None,
        ignore_unknown: bool = False,
        cold_users: ColdUsers = "popular",
        untrained_items: bool = False,
        popularity_weight: float | None = None,
        num_threads: int = 0,
    ) -> Recommendations:
        """Finds the k best items of each user.

        Args:
            users: raw ids [Q].
            k: number of items per user, k >= 1.
            exclude_seen: leave out the items that the user has in train.
            allow: the only items that users may get: one list for all or one for each, as in
                HammingIndex.search.
            deny: items that users must not get, in the same forms.
            ignore_unknown: skip ids in allow and deny that the index lacks.
            cold_users: what a user gets who is unknown or has no items in train: the most
                "popular" items, those with most users in train first, then by row; or an "error".
            untrained_items: rank the items, too, that nobody has in train; `allow` alone does not
                ask for them.
            popularity_weight: p in [-1, 1], the weight of popularity relative to training; None
                weighs it as in training. Codes without popularity bits have no other weight.
            num_threads: at most one per processor is used; 0 for OMP_NUM_THREADS, or all.

        Returns:
            Recommendations of raw ids [Q, k] and int32 scores, best first: `<b_u, d_i>`, where b_u
            are the weights of a graded user, for cold users the number of users that the item has
            in train; `cold` says who these are. Where a user has fewer than k items left, the rest
            has id -1 or "" and score -2^31.

        Raises:
            ValueError: ids of another kind, a cold user where that is an error, k < 1, an item in
                allow or deny that the index lacks (unless ignored), or an argument out of range.

        Examples:
            >>> import numpy as np
            >>> from hashgcn.data import Interactions
            >>> from hashgcn.retrieval import HammingIndex, Recommender, pack_codes
            >>> codes = np.array([[1, 1, 1], [1, 1, -1], [-1, 1, 1], [-1, -1, 1]], np.int8)
            >>> index = HammingIndex.build(codes, ids=["apple", "pear", "plum", "rake"])
            >>> seen = Interactions.from_pairs([0, 0, 1, 1], [0, 3, 1, 2], 2, 4)
            >>> recommender = Recommender(pack_codes(codes[:2]), ["ann", "ben"], index, seen)
            >>> options = {"allow": ["plum", "pear", "rake"], "deny": [["pear"], [], ["rake"]]}
            >>> found = recommender.recommend(["ann", "ben", "new"], k=2, **options)
            >>> found.ids.tolist(), found.cold.tolist()
            ([['plum', ''], ['rake', ''], ['pear', 'plum']], [False, False, True])

        Note:
            Deterministic. Cost: Q n counts of f bits, with graded users Q P n.
        """
        state, ids = self._state, raw_ids("users", users)
        rows = state.known_rows(ids, cold_users)
        return state.recommend(
            rows,
            k,
            state.filters(allow, deny, len(rows), ignore_unknown, untrained_items),
            exclude_seen=exclude_seen,
            popularity_weight=popularity_weight,
            num_threads=num_threads,
        )

    def recommend_in_batches(
        self,
        users: ArrayLike | Iterable | None = None,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        allow: ItemFilter | None = None,
        deny: ItemFilter | None = None,
        ignore_unknown: bool = False,
        cold_users: ColdUsers = "popular",
        untrained_items: bool = False,
        popularity_weight: float | None = None,
        batch_users: int = 4096,
        num_threads: int = 0,
    ) -> Iterator[tuple[np.ndarray, Recommendations]]:
        """Finds the k best items of many users, a batch at a time; `recommend` finds the same.

        Args:
            users: raw ids [Q]; None for all users, in the order of user_ids.
            k: as in recommend.
            exclude_seen: as in recommend.
            allow: as in recommend.
            deny: as in recommend.
            ignore_unknown: as in recommend.
            cold_users: as in recommend.
            untrained_items: as in recommend.
            popularity_weight: as in recommend.
            batch_users: the number of users of a batch, at least 1; it changes no result.
            num_threads: as in recommend.

        Returns:
            Raw ids of users and their Recommendations, batch by batch, of the recommender as it was
            at the call. Without users there is one batch, which is empty.

        Raises:
            ValueError: as in recommend; batch_users < 1.

        Note:
            Deterministic. Cost: that of recommend. Memory: that of one batch, a row number for each
            user, and the items in allow and deny.
        """
        if batch_users < 1:
            raise ValueError(f"batch_users: expected a number >= 1, got {batch_users}")
        state, ids = self._state, None if users is None else raw_ids("users", users)
        rows = state.known_rows(ids, cold_users)
        filters = state.filters(allow, deny, len(rows), ignore_unknown, untrained_items)

        def batch(start: int) -> tuple[np.ndarray, Recommendations]:
            own = np.arange(start, min(start + batch_users, len(rows)))
            found = state.recommend(
                rows[own],
                k,
                filters.of_queries(own),
                exclude_seen=exclude_seen,
                popularity_weight=popularity_weight,
                num_threads=num_threads,
            )
            return state.users.ids_of(rows[own]) if ids is None else ids[own], found

        return map(batch, range(0, max(len(rows), 1), batch_users))

    def recommend_from(
        self,
        items: ItemLists,
        k: int = 10,
        *,
        exclude_own: bool = True,
        allow: ItemFilter | None = None,
        deny: ItemFilter | None = None,
        recent_fraction: float = 0.0,
        ignore_unknown: bool = False,
        cold_users: ColdUsers = "popular",
        untrained_items: bool = False,
        popularity_weight: float | None = None,
        num_threads: int = 0,
    ) -> Recommendations:
        """Finds the k best items of new users by the items that they like: fold_in, then search.

        Args:
            items: as in fold_in.
            k: number of items per user, k >= 1.
            exclude_own: leave out the user's own `items`.
            allow: as in recommend.
            deny: as in recommend.
            recent_fraction: as in fold_in.
            ignore_unknown: skip ids in items, allow and deny that the index lacks.
            cold_users: what a user gets none of whose items anybody has in train: the most
                "popular" items, or an "error".
            untrained_items: as in recommend.
            popularity_weight: as in recommend.
            num_threads: at most one per processor is used; 0 for OMP_NUM_THREADS, or all.

        Returns:
            Recommendations [Q, k], as those of recommend.

        Raises:
            ValueError: see fold_in and recommend.

        Note:
            Deterministic. Cost: that of fold_in, and Q n counts of f bits, with graded users Q P n.
        """
        check_cold_users(cold_users)
        check_fraction(recent_fraction)
        state = self._state
        own, liked = state.liked(items, ignore_unknown)
        cold = liked.degrees() == 0
        if cold_users == "error":
            check_liked(liked)
        filters = state.filters(allow, deny, len(cold), ignore_unknown, untrained_items)
        known = np.flatnonzero(~cold)
        codes = np.zeros((len(cold), *state.users.words.shape[1:]), np.int64)
        codes[known] = state.fold_in(liked.of_users(known), recent_fraction, num_threads)
        if exclude_own:
            filters = filters.without(own)
        return state.search(codes, k, filters, cold, popularity_weight, num_threads)

    def search(
        self,
        queries: np.ndarray,
        k: int = 10,
        *,
        cold: ArrayLike | None = None,
        allow: ItemFilter | None = None,
        deny: ItemFilter | None = None,
        ignore_unknown: bool = False,
        untrained_items: bool = False,
        popularity_weight: float | None = None,
        num_threads: int = 0,
    ) -> Recommendations:
        """Finds the k best items of each query; `recommend` searches with the users' codes.

        Args:
            queries: as in HammingIndex.search, for instance the codes that `fold_in` gives.
            k: number of items per query, k >= 1.
            cold: bool [Q], True for queries of cold users, who get the most popular items whatever
                the query is; None if none is.
            allow: the only items that may be found, as in HammingIndex.search.
            deny: items that must not be found, as in HammingIndex.search.
            ignore_unknown: skip ids in allow and deny that the index lacks.
            untrained_items: as in recommend.
            popularity_weight: as in recommend.
            num_threads: at most one per processor is used; 0 for OMP_NUM_THREADS, or all.

        Returns:
            Recommendations [Q, k], as those of recommend; [k] for a single query.

        Raises:
            ValueError: see HammingIndex.search; `cold` of another shape.

        Note:
            Deterministic. Cost: Q n counts of f bits, with graded users Q P n.
        """
        state, queries = self._state, np.asarray(queries)
        single = queries.ndim == 1
        if single:
            queries = queries[None]
        is_cold = np.zeros(len(queries), bool) if cold is None else np.atleast_1d(np.asarray(cold))
        if is_cold.dtype != bool or is_cold.shape != queries.shape[:1]:
            raise ValueError(
                f"cold: expected bool [{len(queries)}], one per query, "
                f"got {is_cold.dtype} {list(is_cold.shape)}"
            )
        filters = state.filters(allow, deny, len(queries), ignore_unknown, untrained_items)
        found = state.search(queries, k, filters, is_cold, popularity_weight, num_threads)
        return Recommendations(*(x[0] for x in (*found, found.cold))) if single else found

    def fold_in(
        self,
        items: ItemLists,
        *,
        recent_fraction: float = 0.0,
        ignore_unknown: bool = False,
        num_threads: int = 0,
    ) -> np.ndarray:
        """Makes codes of new users from the items that they like.

        The code is the sign of the sum of w_i d_i over the user's items i, where w_i is
        1 / sqrt(number of users of i in train): a layer of LightGCN with codes in place of
        embeddings. Of S items the r recent ones have weight w_i (1 + sqrt(S / r)), like recent
        items in training. Popularity bits are +1, as those of every user. Items that nobody has in
        train do not count. `recommend_from` recommends by such codes, and to cold users as well.

        Where users are graded, so is the code: a sum of size s, relative to the root mean square of
        the user's sums, gets the weight 1 + 2 (number of thresholds <= s) with its sign. The L - 1
        thresholds are such that, over the users of train, every weight is as frequent as in the
        codes that training gave them. Popularity bits have the weight V, as those of every user.

        The items of a user of train give a code near the trained one, not always the same:
        training is more than this one layer.

        Args:
            items: the items of each user: iterables of raw ids, repeats count once; or a CSR matrix
                [Q, n] over rows (scipy.sparse, of which stored entries other than 0 count, or
                hashgcn.data.Interactions).
            recent_fraction: in [0, 1). If it is not 0, each user's items are in order of time, and
                this fraction of them, at least one, is recent: 0.1 if the model was trained on data
                in order of time. With 0 the order makes no difference.
            ignore_unknown: skip raw ids that the index lacks, for instance of newer items.
            num_threads: at most one per processor is used; 0 for OMP_NUM_THREADS, or all.

        Returns:
            int64 [Q, ceil(f / 64)], packed, for `search` or `index.search`; [Q, P, ceil(f / 64)]
            where users are graded.

        Raises:
            ValueError: an id that the index lacks (unless ignored), recent_fraction out of range or
                with items whose order is unknown, or a user without any item of train.

        Note:
            Deterministic; a user's code does not depend on the other users. Cost: O(pairs f).
            Memory: 2^16 f float64, or f float64 per item of the user with most items. Where users
            are graded, the first call after a change finds the thresholds, from all users of train
            or from 4,096 of them, evenly spaced by row; it needs 20 f bytes for each.
        """
        check_fraction(recent_fraction)
        state = self._state
        _, liked = state.liked(items, ignore_unknown)
        check_liked(liked)
        return state.fold_in(liked, recent_fraction, num_threads)

    def fold_in_items(
        self,
        users: ItemLists,
        *,
        ignore_unknown: bool = False,
        num_threads: int = 0,
    ) -> np.ndarray:
        """Makes codes of new items from the users who took them.

        The code is the sign of the sum of b_u over the item's users u, where b_u is the code of the
        user, whose weights count where users are graded. Users who have no items in train do not
        count.

        An item gets as many positive popularity bits as the item of train that stands at the same
        place: items of train are ordered by their numbers of users, and their numbers of positive
        bits are ordered, too. An item with few users so far is thus an unpopular one.

        The users of an item of train give a code near the trained one, not always the same:
        training is more than this one layer.

        Args:
            users: the users of each item: iterables of raw ids, repeats count once; or a CSR matrix
                [Q, m] over rows (scipy.sparse, of which stored entries other than 0 count, or
                hashgcn.data.Interactions).
            ignore_unknown: skip raw ids of users whom training has not seen.
            num_threads: at most one per processor is used; 0 for OMP_NUM_THREADS, or all.

        Returns:
            int64 [Q, ceil(f / 64)], packed, for `add` or `index.add`.

        Raises:
            ValueError: an id of an unknown user (unless ignored), or an item without any user who
                has items in train.

        Examples:
            >>> import numpy as np
            >>> from hashgcn.data import Interactions
            >>> from hashgcn.retrieval import HammingIndex, Recommender, pack_codes, unpack_codes
            >>> users = pack_codes(np.array([[1, 1, 1], [1, -1, -1]], np.int8))
            >>> index = HammingIndex.build(np.array([[1, 1, -1], [-1, 1, -1]], np.int8))
            >>> seen = Interactions.from_pairs([0, 0, 1], [0, 1, 1], 2, 2)
            >>> recommender = Recommender(users, ["ann", "ben"], index, seen)
            >>> codes = recommender.fold_in_items([["ann"], ["ben"]])
            >>> unpack_codes(codes, code_length=3).tolist()
            [[1.0, 1.0, 1.0], [1.0, -1.0, -1.0]]

        Note:
            Deterministic; an item's code does not depend on the other new items. Cost: O(pairs f),
            with graded users O(pairs P f), and O(n f) for the popularity bits. Memory: 2^16 f
            float64, or f float64 per user of the item with most users, and n f float32.
        """
        state = self._state
        buyers = state.buyers(users, ignore_unknown)
        check_buyers(buyers)
        return state.fold_in_items(buyers, num_threads)

    @property
    def trained_items(self) -> np.ndarray:
        """bool [n], True for items that some user has in train: the codes of others say nothing."""
        return ~self._state.rule.items

    def user_rows(self, users: ArrayLike | Iterable) -> np.ndarray:
        """Finds the rows of raw user ids, int64 [Q]; a ValueError names the first unknown one."""
        return self._state.user_rows(users)

    def is_cold(self, users: ArrayLike | Iterable) -> np.ndarray:
        """Whether each raw user id is unknown or of a user without items in train, bool [Q]."""
        state = self._state
        return state.cold[state.user_rows(users, ignore_unknown=True)]

    def add(self, codes: np.ndarray, ids: ArrayLike | None = None) -> None:
        """Adds items, which no user has seen.

        They are recommended by the codes that they are given. They have no users in train: cold
        users get them last, and `fold_in` does not count them.

        Args:
            codes: as in HammingIndex.add.
            ids: as in HammingIndex.add.

        Raises:
            ValueError: see HammingIndex.add. The recommender is then unchanged.

        Note:
            Cost of any change: a copy of the codes, the ids and the items seen, while other threads
            go on with the old ones. Prefer few changes of many items.
        """
        self._change(lambda state: state.added(codes, ids))

    def add_from(
        self,
        users: ItemLists,
        ids: ArrayLike | None = None,
        *,
        ignore_unknown: bool = False,
    ) -> None:
        """Adds new items by the users who took them: fold_in_items, then add.

        Unlike after `add`, these users have seen the items and are not recommended them, and
        `fold_in` and what cold users get count them. Users who have no items in train stay cold.

        Args:
            users: as in fold_in_items.
            ids: as in HammingIndex.add.
            ignore_unknown: as in fold_in_items.

        Raises:
            ValueError: see fold_in_items and HammingIndex.add. The recommender is then unchanged.

        Note:
            Cost: those of fold_in_items and add, and O(pairs log pairs) for the items seen.
        """
        self._change(lambda state: state.added_from(users, ids, ignore_unknown))

    def remove(self, ids: ArrayLike | Iterable) -> None:
        """Removes items, from the items seen as well; all others keep their ids and users.

        Args:
            ids: int or str [r], repeats allowed.

        Raises:
            ValueError: an unknown id; the recommender is then unchanged.

        Note:
            A user who has no other item in train is cold from now on. Cost: see add.
        """
        self._change(lambda state: state.removed(ids))

    def replace(self, ids: ArrayLike | Iterable, codes: np.ndarray) -> None:
        """Gives items other codes; their users stay.

        Args:
            ids: as in HammingIndex.replace.
            codes: as in HammingIndex.replace.

        Raises:
            ValueError: see HammingIndex.replace. The recommender is then unchanged.

        Note:
            Cost: see add.
        """
        self._change(lambda state: state.replaced(ids, codes))

    def _change(self, change: Callable[[State], State]) -> None:
        with self._changing:
            self._state = change(self._state)

    def save(self, path: str | os.PathLike[str], *, metadata: dict[str, str] | None = None) -> None:
        """Writes everything to one safetensors file, atomically.

        Args:
            path: the file to create or replace; its folder must exist.
            metadata: more text to keep in the file, by name; `load` ignores it, and
                `load_with_metadata` gives it back.

        Raises:
            ValueError: metadata with a name that the file uses itself, or that is not text.
            FileNotFoundError: the folder does not exist.
            OSError: the system's error, with the path.
        """
        arrays, own = self.encode()
        own["format"], metadata = _FORMAT, metadata or {}
        taken = sorted(set(metadata) & set(_OWN_METADATA))
        if taken:
            raise ValueError(f"metadata: expected names that the file does not use, got {taken[0]}")
        save_arrays(path, arrays, {**metadata, **own}, version=self.file_version)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recommender:
        """Reads what `save` wrote; nothing in the file is executed.

        Args:
            path: the file.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a damaged or foreign file; the message names it.
        """
        return cls.load_with_metadata(path)[0]

    @classmethod
    def load_with_metadata(cls, path: str | os.PathLike[str]) -> tuple[Recommender, dict[str, str]]:
        """Reads a recommender, and the metadata that `save` was given.

        Args:
            path: the file.

        Returns:
            The recommender; the metadata, {} if none was given.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a damaged or foreign file; the message names it.
        """
        arrays, metadata = load_arrays(path, _FORMAT, version=FILE_VERSIONS)
        try:
            recommender = cls.decode(arrays, metadata)
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{path}: expected the codes of a trained model, got {error}"
            ) from error
        return recommender, {k: v for k, v in metadata.items() if k not in _OWN_METADATA}

    @property
    def file_version(self) -> int:
        """The version of a file that holds what `encode` gives."""
        return _PLAIN if self.levels == 1 else _GRADED

    def encode(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """The arrays and the metadata of a file, without its format and version."""
        state = self._state
        index, seen = state.index, state.seen
        arrays = {"user_codes": state.users.words, "item_codes": index.codes}
        arrays |= {"seen.ptr": seen.ptr, "seen.ids": seen.ids}
        if state.given.any():
            arrays["given"] = np.flatnonzero(state.given)
        for name, ids in (("users", state.users.all_ids()), ("items", index.ids)):
            arrays |= {f"{name}.{part}": array for part, array in encode_ids(ids).items()}
        return arrays, {
            "code_length": str(index.code_length),
            "popularity_bits": str(index.popularity_bits),
        }

    @classmethod
    def decode(cls, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> Recommender:
        """What `encode` gave, with a version; a KeyError or a ValueError if it is damaged."""
        for name, array in arrays.items():
            if name in _ARRAYS and array.dtype != np.int64:
                raise ValueError(f"{name} of dtype {array.dtype}")
            if name not in _ARRAYS and not name.startswith(("users.", "items.")):
                raise ValueError(f"an array {name!r}")
        ids = {
            name: decode_ids(
                {
                    key.removeprefix(f"{name}."): array
                    for key, array in arrays.items()
                    if key.startswith(f"{name}.")
                }
            )
            for name in ("users", "items")
        }
        length = stated_number(metadata, "code_length")
        index = HammingIndex(
            arrays["item_codes"],
            code_length=length,
            ids=ids["items"],
            popularity_bits=stated_number(metadata, "popularity_bits"),
        )
        seen = Interactions(arrays["seen.ptr"], arrays["seen.ids"], len(index))
        recommender = cls(arrays["user_codes"], ids["users"], index, seen)
        version = stated_number(metadata, "version")
        shape = arrays["user_codes"].shape
        if version != recommender.file_version or shape != recommender.user_codes.shape:
            planes = "m, 2 to 4 planes, words" if version == _GRADED else "m, words"
            raise ValueError(
                f"user_codes: expected [{planes}] in version {version}, got {list(shape)}"
            )
        given, rows = np.zeros(len(index), dtype=bool), arrays.get("given", np.zeros(0, np.int64))
        if rows.ndim != 1 or ((rows < 0) | (rows >= len(index))).any():
            raise ValueError(f"given: expected rows in [0, {len(index)}), got others")
        given[rows] = True
        return cls._of(replace(recommender._state, given=given))
