"""Recommendations from trained codes, and their file; works in a process that has no torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.data.ids import look_up
from hashgcn.data.interactions import Interactions
from hashgcn.files import decode_ids, encode_ids, load_arrays, save_arrays, stated_number
from hashgcn.retrieval.codes import LARGEST_SCALE, pack, unpack, weighted_topk
from hashgcn.retrieval.index import HammingIndex

_FORMAT = "hashgcn.recommender"
# Pairs that are folded in at a time.
_PAIRS = 1 << 16


@dataclass(frozen=True, eq=False)
class Recommender:
    """The codes of users and items, with raw ids and the items each user has seen.

    Attributes:
        user_codes: int64 [m, ceil(f / 64)], packed.
        user_ids: int64 or str [m].
        index: the items' codes and raw ids.
        seen: the items of every user that recommendations leave out.
        scales: float32 [m, S] and [n, S] where codes are S segments that are weighted (see
            retrieval.codes.weighted_topk); the index alone does without them.
    """

    user_codes: np.ndarray
    user_ids: np.ndarray
    index: HammingIndex
    seen: Interactions
    scales: tuple[np.ndarray, np.ndarray] | None = None

    def recommend(
        self,
        users: ArrayLike,
        k: int = 10,
        *,
        filter_already_liked_items: bool = True,
        popularity: float = 1.0,
        num_threads: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items of each user.

        Args:
            users: raw ids [Q].
            k: number of items, k >= 1.
            filter_already_liked_items: leave out the items a user has in train.
            popularity: weight of popularity relative to training, in [-1, 1]; only 1 for codes
                without popularity bits.
            num_threads: 0 for one for each processor.

        Returns:
            ids: raw item ids [Q, k], best first, and scores: int32 [Q, k], `<b_u, d_i>`. Where a
            user has fewer than k items left: id -1 or "", score -f - 1. With scales: float32
            scores, -inf where there are fewer.

        Raises:
            ValueError: an unknown user, k < 1, popularity out of range.

        Deterministic. Cost: Q n popcounts of f bits.
        """
        rows = self.user_rows(users)
        return self.search(
            self.user_codes[rows],
            k,
            scales=None if self.scales is None else self.scales[0][rows],
            exclude=self.seen.rows(rows) if filter_already_liked_items else None,
            popularity=popularity,
            num_threads=num_threads,
        )

    def search(
        self,
        codes: np.ndarray,
        k: int = 10,
        *,
        scales: np.ndarray | None = None,
        exclude: tuple[np.ndarray, np.ndarray] | None = None,
        allow: np.ndarray | None = None,
        popularity: float = 1.0,
        num_threads: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best items of each code; recommend is this with the codes of known users.

        Args:
            codes: int64 [Q, ceil(f / 64)], packed, e.g. of fold_in.
            k, popularity, num_threads: as in recommend.
            scales: float32 [Q, S], where codes are weighted segments.
            exclude: (ptr, rows), int64 [Q + 1] and item rows; allow: bool [n]; as in
                HammingIndex.search.

        Returns:
            ids and scores, as recommend.

        Raises:
            ValueError: as HammingIndex.search; scales where codes have none, or the reverse.

        Deterministic. Cost: Q n popcounts of f bits.
        """
        if (scales is None) != (self.scales is None):
            has = "none" if self.scales is None else f"float32 [Q, {self.scales[1].shape[1]}]"
            got = "none" if scales is None else f"{scales.dtype} {list(scales.shape)}"
            raise ValueError(f"scales: expected {has}, got {got}")
        length = self.index.code_length
        if scales is None or self.scales is None:
            distances, ids = self.index.search(
                codes,
                k,
                exclude=exclude,
                allow=allow,
                popularity=popularity,
                num_threads=num_threads,
            )
            scores = length - 2 * np.minimum(distances, length + 1).astype(np.int64)
            return ids, np.maximum(scores, -length - 1).astype(np.int32)
        if popularity != 1:
            raise ValueError(f"popularity: expected 1 for weighted codes, got {popularity}")
        exclude_ptr, exclude_ids = (None, None) if exclude is None else exclude
        scores, found = weighted_topk(
            codes,
            self.index.codes,
            scales,
            self.scales[1],
            k,
            code_length=length,
            exclude_ptr=exclude_ptr,
            exclude_ids=exclude_ids,
            allow=allow,
        )
        return self.index.ids_of(found), scores

    def fold_in(
        self,
        items: Sequence[ArrayLike] | tuple[np.ndarray, np.ndarray],
        *,
        recent_fraction: float = 0.0,
        ignore_unknown: bool = False,
        num_threads: int = 0,
    ) -> np.ndarray:
        """Codes of users that were not trained, from the items they like.

        sign of sum over a user's items i of w_i d_i, w_i = 1 / sqrt(users of i in train): a layer
        of LightGCN with codes in place of embeddings. Of S items the r recent ones have weight
        w_i (1 + sqrt(S / r)), as recent items have in training. Popularity bits are +1, as every
        user's.

        Args:
            items: a list of raw ids for each user, repeats count once; or a tuple (ptr, rows) of
                int64 [Q + 1] and item rows, user q's being rows[ptr[q]:ptr[q + 1]].
            recent_fraction: in [0, 1); where it is not 0, a user's items are in order of time, and
                the last of them, at least one, are recent: 0.1 where the model was trained on data
                in order of time. With 0 the order makes no difference.
            ignore_unknown: pass over raw ids that the index lacks, e.g. of items that are newer.
            num_threads: 0 for one for each processor.

        Returns:
            int64 [Q, ceil(f / 64)], packed; for search, or index.search.

        Raises:
            ValueError: ids that the index lacks (unless ignored), rows or recent_fraction out of
                range, a user without an item that someone has in train.
            NotImplementedError: codes of weighted segments.

        Deterministic; a user's code does not depend on the others. Cost O(pairs f). Memory:
        2^16 f float64, or those of the user with most items.
        """
        if self.scales is not None:
            raise NotImplementedError("fold_in: codes of weighted segments need their scales too")
        if not 0 <= recent_fraction < 1:
            raise ValueError(f"recent_fraction: expected a number in [0, 1), got {recent_fraction}")
        liked = self._liked(items, ignore_unknown)
        without = np.flatnonzero(liked.degrees() == 0)
        if len(without):
            raise ValueError(
                "items: expected at least one item that someone has in train for every user, "
                f"got none for user {without[0]}"
            )
        weights = self._item_weights[liked.ids]
        if recent_fraction:
            time = liked.time()
            assert time is not None  # _liked keeps the order
            recent = time > 1 - recent_fraction
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
            codes = unpack(self.index.codes[liked.ids[own]], length, num_threads=num_threads)
            sums = np.add.reduceat(codes * weights[own, None], ptr[:-1] - first, axis=0)
            sums[:, taste:] = 1
            words[start:end] = pack(sums, num_threads=num_threads)
            start = end
        return words

    def _liked(
        self, items: Sequence[ArrayLike] | tuple[np.ndarray, np.ndarray], ignore_unknown: bool
    ) -> Interactions:
        """Items to fold in, in the order given, but for those that are nobody's in train."""
        if isinstance(items, tuple):
            ptr, rows = (np.asarray(part) for part in items)
            lengths = np.diff(ptr)
            if (
                ptr.ndim != 1
                or not len(ptr)
                or ptr[0]
                or ptr[-1] != len(rows)
                or (lengths < 0).any()
            ):
                raise ValueError(
                    f"items: expected ptr to rise from 0 to {len(rows)}, the length of rows, "
                    f"got {ptr}"
                )
        else:
            table = self.index._table
            found = [table.find("items", one, unknown=ignore_unknown) for one in items]
            found = [rows[rows >= 0] for rows in found]
            lengths = np.array([len(one) for one in found], dtype=np.int64)
            rows = np.concatenate([np.zeros(0, np.int64), *found])
        users = np.repeat(np.arange(len(lengths)), lengths)
        shape = (len(lengths), len(self.index))
        liked = Interactions.from_pairs(users, rows, *shape, in_time=True)
        return liked.where(self.trained_items[liked.ids])

    @cached_property
    def trained_items(self) -> np.ndarray:
        """bool [n]: items that some user has in train; codes of others say nothing."""
        return self.seen.popularity() > 0

    @cached_property
    def _item_weights(self) -> np.ndarray:
        return 1 / np.sqrt(np.maximum(self.seen.popularity(), 1))

    def user_rows(self, users: ArrayLike) -> np.ndarray:
        """Rows of raw user ids; ValueError names the first unknown one."""
        return look_up("users", self.user_ids, self._user_order, users, "users seen in training")

    @cached_property
    def _user_order(self) -> np.ndarray:
        return np.argsort(self.user_ids)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to one safetensors file, atomically."""
        arrays, metadata = self.encode()
        save_arrays(path, arrays, {"format": _FORMAT, **metadata})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recommender:
        """Read what save wrote; ValueError names a file that is damaged or something else."""
        arrays, metadata = load_arrays(path, _FORMAT)
        try:
            return cls.decode(arrays, metadata)
        except (KeyError, ValueError) as error:
            raise ValueError(
                f"{path}: expected the codes of a trained model, got {error}"
            ) from error

    def encode(self) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Arrays and metadata of a file, without its format."""
        arrays = {"user_codes": self.user_codes, "item_codes": self.index.codes}
        if self.scales is not None:
            arrays |= {"user_scale": self.scales[0], "item_scale": self.scales[1]}
        arrays |= {"seen.ptr": self.seen.ptr, "seen.ids": self.seen.ids}
        for name, ids in (("users", self.user_ids), ("items", self.index.ids)):
            arrays |= {f"{name}.{part}": array for part, array in encode_ids(ids).items()}
        return arrays, {
            "code_length": str(self.index.code_length),
            "popularity_bits": str(self.index.popularity_bits),
        }

    @classmethod
    def decode(cls, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> Recommender:
        """What encode encoded; KeyError or ValueError if it is damaged."""
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
        # Users are checked as items are.
        users = HammingIndex(arrays["user_codes"], code_length=length, ids=ids["users"])
        if len(users) != seen.num_users:
            raise ValueError(f"{len(users)} codes for {seen.num_users} users")
        scales = None
        if "user_scale" in arrays:
            scales = (arrays["user_scale"], arrays["item_scale"])
            _check_scales(scales, (len(users), len(index)), length)
        return cls(users.codes, ids["users"], index, seen, scales)


def _check_scales(
    scales: tuple[np.ndarray, np.ndarray], counts: tuple[int, int], length: int
) -> None:
    segments = scales[1].shape[-1] if scales[1].ndim else 0
    if segments < 1 or length % segments:
        raise ValueError(f"scales of {segments} segments for codes of {length} bits")
    for scale, count in zip(scales, counts, strict=True):
        shape = (count, segments)
        fits = scale.dtype == np.float32 and scale.shape == shape
        if not fits or not (np.abs(scale) <= LARGEST_SCALE).all():
            raise ValueError(
                f"scales {scale.dtype} {list(scale.shape)}, not finite float32 {list(shape)} "
                "of at most 2^48"
            )
