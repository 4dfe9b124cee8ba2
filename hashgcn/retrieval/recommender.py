"""Recommendations from trained codes, and their file; it works in a process without torch."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.data.ids import look_up
from hashgcn.data.interactions import Interactions
from hashgcn.files import decode_ids, encode_ids, load_arrays, save_arrays, stated_number
from hashgcn.retrieval.codes import pack_codes, unpack_codes
from hashgcn.retrieval.index import HammingIndex
from hashgcn.retrieval.lists import is_matrix, listed_rows
from hashgcn.retrieval.results import MISSING_DISTANCE, Recommendations, lowest_score

if TYPE_CHECKING:
    from hashgcn.retrieval.lists import ItemLists

_FORMAT = "hashgcn.recommender"
_ARRAYS = ("user_codes", "item_codes", "seen.ptr", "seen.ids")
_OWN_METADATA = ("code_length", "format", "popularity_bits", "version")
_PAIRS = 1 << 16  # pairs of a user and an item that are folded in at a time


@dataclass(frozen=True, eq=False, repr=False)
class Recommender:
    """The codes of users and items, with raw ids and the items that each user has seen.

    A recommender can be copied and pickled, and used by any number of threads.

    Attributes:
        user_codes: int64 [m, ceil(f / 64)], packed.
        user_ids: int64 or str [m].
        index: the codes and raw ids of the items.
        seen: the items that recommendations leave out, by user: those of train.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.data import Interactions
        >>> from hashgcn.retrieval import HammingIndex, Recommender, pack_codes
        >>> users = pack_codes(np.array([[1, 1, 1], [-1, -1, -1]], np.int8))
        >>> items = np.array([[1, 1, -1], [1, 1, 1], [-1, -1, 1]], np.int8)
        >>> index = HammingIndex.build(items, ids=["apple", "pear", "rake"])
        >>> seen = Interactions.from_pairs([0, 1], [1, 2], 2, 3)
        >>> recommender = Recommender(users, np.array([7, 8]), index, seen)
        >>> recommender
        Recommender(2 users, 3 items, codes of 3 bits)
        >>> ids, scores = recommender.recommend([8, 7], k=2)
        >>> ids.tolist(), scores.tolist()
        ([['apple', 'pear'], ['apple', 'rake']], [[-1, -3], [1, -1]])
        >>> new_user = recommender.fold_in([["pear"]])
        >>> recommender.search(new_user, k=1, exclude=[["pear"]]).ids.tolist()
        [['apple']]
    """

    user_codes: np.ndarray
    user_ids: np.ndarray
    index: HammingIndex
    seen: Interactions

    def __repr__(self) -> str:
        return (
            f"Recommender({len(self.user_codes):,} users, {len(self.index):,} items, "
            f"codes of {self.index.code_length} bits)"
        )

    def recommend(
        self,
        users: ArrayLike | Iterable,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        popularity_weight: float | None = None,
        num_threads: int = 0,
    ) -> Recommendations:
        """Finds the k best items of each user.

        Args:
            users: raw ids [Q].
            k: number of items per user, k >= 1.
            exclude_seen: leave out the items that the user has in train.
            popularity_weight: p in [-1, 1], the weight of popularity relative to training; None
                weighs it as in training. Codes without popularity bits have no other weight.
            num_threads: number of threads; 0 uses one per processor.

        Returns:
            Recommendations of raw ids [Q, k] and int32 scores `<b_u, d_i>`, best first. Where a
            user has fewer than k items left, the rest has id -1 or "" and score -2^31.

        Raises:
            ValueError: an unknown user, k < 1, or a weight out of range.

        Note:
            Deterministic. Cost: Q n counts of f bits.
        """
        rows = self.user_rows(users)
        return self.search(
            self.user_codes[rows],
            k,
            exclude=self.seen.of_users(rows) if exclude_seen else None,
            popularity_weight=popularity_weight,
            num_threads=num_threads,
        )

    def search(
        self,
        queries: np.ndarray,
        k: int = 10,
        *,
        exclude: ItemLists | None = None,
        allow: ArrayLike | Iterable | None = None,
        deny: ArrayLike | Iterable | None = None,
        ignore_unknown: bool = False,
        popularity_weight: float | None = None,
        num_threads: int = 0,
    ) -> Recommendations:
        """Finds the k best items of each query; `recommend` searches with the users' codes.

        Args:
            queries: as in HammingIndex.search, for instance the codes that `fold_in` gives.
            k: number of items per query, k >= 1.
            exclude: the items that each query must not get, as in HammingIndex.search.
            allow: the only items that queries may get, as in HammingIndex.search.
            deny: items that no query may get, as in HammingIndex.search.
            ignore_unknown: skip ids in exclude, allow and deny that the index lacks.
            popularity_weight: as in recommend.
            num_threads: number of threads; 0 uses one per processor.

        Returns:
            Recommendations [Q, k], as those of recommend; [k] for a single query.

        Raises:
            ValueError: see HammingIndex.search.

        Note:
            Deterministic. Cost: Q n counts of f bits.
        """
        ids, distances = self.index.search(
            queries,
            k,
            exclude=exclude,
            allow=allow,
            deny=deny,
            ignore_unknown=ignore_unknown,
            popularity_weight=popularity_weight,
            num_threads=num_threads,
        )
        scores = self.index.code_length - 2 * distances.astype(np.int64)
        scores[distances == MISSING_DISTANCE] = lowest_score(np.dtype(np.int32))
        return Recommendations(ids, scores.astype(np.int32))

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
        items in training. Popularity bits are +1, as those of every user.

        Args:
            items: the items of each user: iterables of raw ids, repeats count once; or a CSR matrix
                [Q, n] over rows (scipy.sparse, of which stored entries other than 0 count, or
                hashgcn.data.Interactions).
            recent_fraction: in [0, 1). If it is not 0, each user's items are in order of time, and
                this fraction of them, at least one, is recent: 0.1 if the model was trained on data
                in order of time. With 0 the order makes no difference.
            ignore_unknown: skip raw ids that the index lacks, for instance of newer items.
            num_threads: number of threads; 0 uses one per processor.

        Returns:
            int64 [Q, ceil(f / 64)], packed, for `search` or `index.search`.

        Raises:
            ValueError: an id that the index lacks (unless ignored), recent_fraction out of range or
                with items whose order is unknown, or a user without any item of train.

        Note:
            Deterministic; a user's code does not depend on the other users. Cost: O(pairs f).
            Memory: 2^16 f float64, or f float64 per item of the user with most items.
        """
        if not 0 <= recent_fraction < 1:
            raise ValueError(f"recent_fraction: expected a number in [0, 1), got {recent_fraction}")
        liked = self._liked(items, ignore_unknown)
        without = np.flatnonzero(liked.degrees() == 0)
        if len(without):
            raise ValueError(
                f"items: expected at least one item of train for every user, "
                f"got none for user {without[0]}"
            )
        weights = self._item_weights[liked.ids]
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
        length = self.index.code_length
        taste = length - self.index.popularity_bits
        words = np.empty((liked.num_users, self.index.codes.shape[1]), np.int64)
        start = 0
        while start < len(words):
            end = np.searchsorted(liked.ptr, liked.ptr[start] + _PAIRS, side="right") - 1
            end = max(int(end), start + 1)
            first, ptr = liked.ptr[start], liked.ptr[start : end + 1]
            own = slice(first, ptr[-1])
            codes = unpack_codes(self.index.codes[liked.ids[own]], length, num_threads=num_threads)
            sums = np.add.reduceat(codes * weights[own, None], ptr[:-1] - first, axis=0)
            sums[:, taste:] = 1
            words[start:end] = pack_codes(sums, num_threads=num_threads)
            start = end
        return words

    def _liked(self, items: ItemLists, ignore_unknown: bool) -> Interactions:
        """The items to fold in, without those that nobody has in train."""
        find = partial(self.index.rows, ignore_unknown=ignore_unknown, argument="items")
        ptr, rows = listed_rows("items", items, len(self.index), find)
        if isinstance(items, Interactions):
            liked = items
        else:
            users = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
            shape = (len(ptr) - 1, len(self.index))
            liked = Interactions.from_pairs(users, rows, *shape, in_time=not is_matrix(items))
        return liked.where(self.trained_items[liked.ids])

    @cached_property
    def trained_items(self) -> np.ndarray:
        """bool [n], True for items that some user has in train: the codes of others say nothing."""
        return self.seen.popularity() > 0

    @cached_property
    def _item_weights(self) -> np.ndarray:
        return 1 / np.sqrt(np.maximum(self.seen.popularity(), 1))

    def user_rows(self, users: ArrayLike | Iterable) -> np.ndarray:
        """Finds the rows of raw user ids, int64 [Q]; a ValueError names the first unknown one."""
        return look_up("users", self.user_ids, self._user_order, users, "users seen in training")

    @cached_property
    def _user_order(self) -> np.ndarray:
        return np.argsort(self.user_ids)

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
        save_arrays(path, arrays, {**metadata, **own})

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
        arrays, metadata = load_arrays(path, _FORMAT)
        try:
            recommender = cls.decode(arrays, metadata)
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{path}: expected the codes of a trained model, got {error}"
            ) from error
        return recommender, {k: v for k, v in metadata.items() if k not in _OWN_METADATA}

    def encode(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """The arrays and the metadata of a file, without its format."""
        arrays = {"user_codes": self.user_codes, "item_codes": self.index.codes}
        arrays |= {"seen.ptr": self.seen.ptr, "seen.ids": self.seen.ids}
        for name, ids in (("users", self.user_ids), ("items", self.index.ids)):
            arrays |= {f"{name}.{part}": array for part, array in encode_ids(ids).items()}
        return arrays, {
            "code_length": str(self.index.code_length),
            "popularity_bits": str(self.index.popularity_bits),
        }

    @classmethod
    def decode(cls, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> Recommender:
        """The inverse of `encode`; a KeyError or a ValueError if the content is damaged."""
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
        # An index checks the codes and ids of users as it does those of items.
        users = HammingIndex(arrays["user_codes"], code_length=length, ids=ids["users"])
        if len(users) != seen.num_users:
            raise ValueError(f"{len(users)} codes for {seen.num_users} users")
        return cls(users.codes, ids["users"], index, seen)
