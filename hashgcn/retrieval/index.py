"""An index of item codes: exact search, filters, files."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.files import decode_ids, encode_ids, load_arrays, save_arrays
from hashgcn.ids import look_up
from hashgcn.ids import raw_ids as check_ids
from hashgcn.retrieval.codes import hamming_topk, pack, popularity_query_bits

_FORMAT = "hashgcn.index"


class HammingIndex:
    """Exact top-N by Hamming distance over packed codes.

    Args:
        codes: int64 or uint64 [n, ceil(f / 64)], packed (see pack); kept without a copy where
            contiguous. Among items at equal distance the first row comes first.
        code_length: f >= 1.
        ids: int or str [n], unique raw ids; 0 .. n - 1 if left out.
        popularity_bits: g in [0, f]; the last g bits of every code are the item's popularity as a
            thermometer, of which level c has the first (g + c) / 2 set.

    Raises:
        ValueError: codes of another shape or dtype, or with bits past the code length; ids that are
            not n unique integers or strings; popularity_bits out of range.

    Cost: O(n log n) for ids. Memory: the codes, the ids and 8 bytes an item to look ids up.
    """

    def __init__(
        self,
        codes: np.ndarray,
        *,
        code_length: int,
        ids: ArrayLike | None = None,
        popularity_bits: int = 0,
    ) -> None:
        if code_length < 1:
            raise ValueError(f"expected code_length >= 1, got {code_length}")
        if not 0 <= popularity_bits <= code_length:
            raise ValueError(
                f"expected popularity_bits in [0, {code_length}], got {popularity_bits}"
            )
        words = np.ascontiguousarray(_packed_words("codes", codes, code_length))
        used = code_length % 64
        if used and (words[:, -1].view(np.uint64) >> np.uint64(used)).any():
            raise ValueError(
                f"expected codes with zero bits past code_length {code_length}, "
                "got bits of a longer code"
            )
        self._words = words
        self._code_length = int(code_length)
        self._popularity_bits = int(popularity_bits)
        self._ids = self._order = None
        if ids is not None:
            self._ids = check_ids("ids", ids)
            if len(self._ids) != len(words):
                raise ValueError(f"expected ids for {len(words)} codes, got {len(self._ids)}")
            self._order = np.argsort(self._ids)
            ordered = self._ids[self._order]
            repeated = ordered[1:][ordered[1:] == ordered[:-1]]
            if len(repeated):
                raise ValueError(f"expected unique ids, got {repeated[0]!r} twice")

    @classmethod
    def build(
        cls, codes: np.ndarray, ids: ArrayLike | None = None, popularity_bits: int = 0
    ) -> HammingIndex:
        """An index of codes that are not packed yet: bits by the sign rule.

        Args:
            codes: float16, float32, float64, int8, int16 or int32 [n, f]; +1 and -1 or real values.
            ids: int or str [n], unique raw ids; 0 .. n - 1 if left out.
            popularity_bits: see HammingIndex.

        Raises:
            ValueError: see HammingIndex and pack.
        """
        words = pack(codes)
        return cls(words, code_length=codes.shape[1], ids=ids, popularity_bits=popularity_bits)

    @property
    def num_items(self) -> int:
        return len(self._words)

    @property
    def code_length(self) -> int:
        return self._code_length

    @property
    def popularity_bits(self) -> int:
        return self._popularity_bits

    @property
    def codes(self) -> np.ndarray:
        """The packed codes, int64 [n, ceil(f / 64)]."""
        return self._words

    @property
    def ids(self) -> np.ndarray:
        """The raw id of every row, int64 or str [n]."""
        return np.arange(self.num_items) if self._ids is None else self._ids

    def __len__(self) -> int:
        return self.num_items

    def __repr__(self) -> str:
        return (
            f"HammingIndex(num_items={self.num_items}, code_length={self.code_length}, "
            f"popularity_bits={self.popularity_bits})"
        )

    def search(
        self,
        queries: np.ndarray,
        k: int = 100,
        *,
        exclude: Sequence[ArrayLike] | tuple[np.ndarray, np.ndarray] | None = None,
        allow: ArrayLike | None = None,
        popularity: float = 1.0,
        num_threads: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest items of each query, in rising order of (distance, row).

        Args:
            queries: int64 or uint64 [Q, ceil(f / 64)], packed; or float16, float32, float64, int8,
                int16 or int32 [Q, f], +1 and -1 or real values.
            k: number of results, k >= 1; may exceed n.
            exclude: items that a query must not get: Q lists of raw ids, or a tuple (ptr, rows) of
                int64 [Q + 1] and int64 item rows, those of query q being rows[ptr[q]:ptr[q + 1]];
                in any order, repeats allowed.
            allow: raw ids, or bool [n]: the items that queries may get; all if left out.
            popularity: p in [-1, 1], the weight of popularity relative to training: the last g bits
                of every query are replaced by popularity_query_bits(g, p). Only 1 where g = 0.
            num_threads: queries are split among this many; 0 for one for each processor.

        Returns:
            distances int32 [Q, k] and raw ids int64 or str [Q, k]. Where fewer than k candidates
            are left: distance 2^31 - 1, id -1 or "".

        Raises:
            ValueError: queries of another shape or dtype, or packed for another length; ids that
                the index lacks; an argument out of range.

        Deterministic, for any batch and number of threads. Cost: Q n popcounts of f bits, and a
        look-up of every raw id. Peak extra memory: hamming_topk's, the results once more to turn
        rows into ids, and n bytes for allow.
        """
        words = self._query_words(queries, popularity, num_threads)
        exclude_ptr, exclude_ids = self._exclusions(exclude, len(words))
        distances, rows = hamming_topk(
            words,
            self._words,
            k,
            code_length=self.code_length,
            exclude_ptr=exclude_ptr,
            exclude_ids=exclude_ids,
            allow=self._mask(allow),
            num_threads=num_threads,
        )
        if self._ids is None:
            return distances, rows
        found = rows >= 0
        missing = "" if self._ids.dtype.kind == "U" else -1
        ids = np.full(rows.shape, missing, dtype=self._ids.dtype)
        ids[found] = self._ids[rows[found]]
        return distances, ids

    def rows(self, raw_ids: ArrayLike) -> np.ndarray:
        """Rows of raw ids, in their order.

        Args:
            raw_ids: int or str [m], as the index's ids.

        Returns:
            int64 [m].

        Raises:
            ValueError: an id that the index lacks; the message names the first.

        Cost: O(m log n).
        """
        if self._ids is not None:
            return look_up("raw_ids", self._ids, self._order, raw_ids, "the index")
        wanted = check_ids("raw_ids", raw_ids)
        if wanted.dtype.kind == "U" or (outside := (wanted < 0) | (wanted >= len(self))).any():
            first = wanted[0] if wanted.dtype.kind == "U" else wanted[outside][0]
            raise ValueError(f"raw_ids: expected ids of the index, got {first.item()!r}")
        return wanted

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the index to a file, atomically: after a failure the old file is untouched.

        Args:
            path: the file to create or replace; its folder exists.

        Raises:
            FileNotFoundError: no such folder.

        Equal indexes give equal bytes. Peak extra memory: one copy of the codes.
        """
        ids = {} if self._ids is None else encode_ids(self._ids)
        metadata = {
            "format": _FORMAT,
            "code_length": str(self.code_length),
            "popularity_bits": str(self.popularity_bits),
        }
        save_arrays(path, {"codes": self._words, **ids}, metadata)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> HammingIndex:
        """The index in a file that save wrote; nothing in it is executed.

        Args:
            path: the file.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a damaged or foreign file, or one of a newer version; the message names it.

        Cost: one read of the file, and O(n log n) for ids.
        """
        arrays, metadata = load_arrays(path, _FORMAT)
        try:
            words = arrays.pop("codes")
            return cls(
                words,
                code_length=int(metadata["code_length"]),
                ids=decode_ids(arrays) if arrays else None,
                popularity_bits=int(metadata["popularity_bits"]),
            )
        except KeyError as error:
            raise ValueError(f"{path}: expected {error} in the file, got none") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def _query_words(self, queries: np.ndarray, popularity: float, num_threads: int) -> np.ndarray:
        queries = np.asarray(queries)
        length, bits = self.code_length, self.popularity_bits
        if queries.dtype in (np.int64, np.uint64):
            words = _packed_words("queries", queries, length)
        elif queries.ndim == 2 and queries.shape[1] == length:
            words = pack(queries, num_threads=num_threads)
        else:
            raise ValueError(
                f"expected queries of shape [*, {length}] (or packed, int64), "
                f"got {queries.dtype} {list(queries.shape)}"
            )
        if bits == 0:
            if popularity != 1:
                raise ValueError(
                    f"expected popularity 1 for an index without popularity bits, got {popularity}"
                )
            return words
        replaced = np.full((2, length), -1, dtype=np.float32)
        replaced[0, length - bits :] = 1
        replaced[1, length - bits :] = popularity_query_bits(bits, popularity)
        mask, values = pack(replaced, num_threads=1)
        return (words & ~mask) | values

    def _exclusions(
        self, exclude: Sequence[ArrayLike] | tuple[np.ndarray, np.ndarray] | None, num_queries: int
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        if exclude is None:
            return None, None
        if isinstance(exclude, tuple):
            if len(exclude) != 2:
                raise ValueError(f"expected exclude as (ptr, rows), got {len(exclude)} entries")
            return exclude
        if len(exclude) != num_queries:
            raise ValueError(
                f"expected exclude with a list for each of {num_queries} queries, "
                f"got {len(exclude)}"
            )
        rows = [np.zeros(0, dtype=np.int64), *(self.rows(one) for one in exclude)]
        return np.cumsum([len(one) for one in rows]), np.concatenate(rows)

    def _mask(self, allow: ArrayLike | None) -> np.ndarray | None:
        if allow is None:
            return None
        array = np.asarray(allow)
        if array.dtype == bool:
            return array
        mask = np.zeros(self.num_items, dtype=bool)
        mask[self.rows(allow)] = True
        return mask


def _packed_words(argument: str, words: np.ndarray, code_length: int) -> np.ndarray:
    """The array as int64 words, without a copy."""
    words = np.asarray(words)
    width = (code_length + 63) // 64
    if words.dtype not in (np.int64, np.uint64) or words.ndim != 2 or words.shape[1] != width:
        raise ValueError(
            f"expected {argument} as packed int64 words [*, {width}] "
            f"(codes of {code_length} bits), got {words.dtype} {list(words.shape)}"
        )
    return words.view(np.int64)
