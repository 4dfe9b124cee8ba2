"""Recommendations from trained codes, and their file; works in a process that has no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.data.interactions import Interactions
from hashgcn.files import decode_ids, encode_ids, load_arrays, save_arrays
from hashgcn.ids import look_up
from hashgcn.retrieval.codes import weighted_topk
from hashgcn.retrieval.index import HammingIndex

_FORMAT = "hashgcn.recommender"


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
            ids: raw item ids [Q, k], best first, and scores: int32 [Q, k], <b_u, d_i>. Where a user
            has fewer than k items left: id -1 or "", score -f - 1. With scales: float32 scores,
            -inf where there are fewer.

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
        if scales is None:
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
        missing = "" if self.index.ids.dtype.kind == "U" else -1
        ids = np.append(self.index.ids, np.array([missing], dtype=self.index.ids.dtype))[found]
        return ids, scores

    def user_rows(self, users: ArrayLike) -> np.ndarray:
        """Rows of raw user ids; ValueError names the first unknown one."""
        order = np.argsort(self.user_ids)
        return look_up("users", self.user_ids, order, users, "users seen in training")

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
        index = HammingIndex(
            arrays["item_codes"],
            code_length=int(metadata["code_length"]),
            ids=ids["items"],
            popularity_bits=int(metadata["popularity_bits"]),
        )
        seen = Interactions(arrays["seen.ptr"], arrays["seen.ids"], len(index))
        codes = arrays["user_codes"]
        if not len(codes) == len(ids["users"]) == seen.num_users:
            raise ValueError(f"{len(codes)} codes for {len(ids['users'])} users")
        scales = None
        if "user_scale" in arrays:
            scales = (arrays["user_scale"], arrays["item_scale"])
        return cls(codes, ids["users"], index, seen, scales)
