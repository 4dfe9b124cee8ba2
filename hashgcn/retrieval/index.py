"""An index of item codes: exact search, filters, changes, files."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.files import load_arrays, save_arrays, stated_number
from hashgcn.retrieval.codes import hamming_topk, pack, popularity_query_bits
from hashgcn.retrieval.table import CodeTable, joined

_FORMAT = "hashgcn.index"
_VERSION = 2  # 1: without an order of ids, strings as encode_ids has them
_FAR = 2**31 - 1  # distance where there is no result


class HammingIndex:
    """Exact top-N by Hamming distance over packed codes.

    Any number of threads may search while others add, remove or replace items: a search sees the
    index as it was before a change or after it, never in between. Changes wait for each other.

    Args:
        codes: int64 or uint64 [n, ceil(f / 64)], packed (see pack); kept without a copy where
            contiguous. Among items at equal distance the first row comes first.
        code_length: f >= 1.
        ids: int or str [n], unique raw ids; 0 .. n - 1 if left out, which like range(n) costs
            nothing.
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
        words = _item_words(codes, _checked_length(code_length, popularity_bits))
        self._set(CodeTable.of(words, ids), code_length, popularity_bits)

    def _set(self, table: CodeTable, code_length: int, popularity_bits: int) -> None:
        # What searches read: taken once by each, and replaced as a whole.
        self._table = table
        self._code_length = int(code_length)
        self._popularity_bits = int(popularity_bits)
        self._changing = threading.Lock()

    @classmethod
    def _of(cls, table: CodeTable, code_length: int, popularity_bits: int) -> HammingIndex:
        index = cls.__new__(cls)
        index._set(table, code_length, popularity_bits)
        return index

    def __reduce__(self) -> tuple:  # a lock cannot be pickled
        return HammingIndex._of, (self._table, self._code_length, self._popularity_bits)

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

    @classmethod
    def merge(cls, indexes: Sequence[HammingIndex]) -> HammingIndex:
        """One index of the items of several, the rows of the first one first.

        Searching it gives what searching all of them and sorting by (distance, row) would.

        Args:
            indexes: one or more, of one code length and number of popularity bits. Their ids are
                all int, all str, or left out in all of them: rows are then numbered on, so that row
                r of the second is n + r after the n rows of the first.

        Raises:
            ValueError: indexes that differ in this, an id that two of them have.

        Cost: O(n log n) for ids, of the n items in all. Memory: a copy of everything.
        """
        if not len(indexes):
            raise ValueError("indexes: expected one or more, got none")
        first = indexes[0]
        for index in indexes[1:]:
            for name in ("code_length", "popularity_bits"):
                want, got = getattr(first, name), getattr(index, name)
                if want != got:
                    raise ValueError(f"indexes: expected {name} {want} in all, got {got}")
        table = joined([index._table for index in indexes])
        return cls._of(table, first.code_length, first.popularity_bits)

    @property
    def num_items(self) -> int:
        """n."""
        return len(self._table)

    @property
    def code_length(self) -> int:
        """f."""
        return self._code_length

    @property
    def popularity_bits(self) -> int:
        """g."""
        return self._popularity_bits

    @property
    def codes(self) -> np.ndarray:
        """The packed codes, int64 [n, ceil(f / 64)]."""
        return self._table.words

    @property
    def ids(self) -> np.ndarray:
        """The raw id of every row, int64 or str [n]; O(n) of strings in a mapped file."""
        return self._table.all_ids()

    def __len__(self) -> int:
        return self.num_items

    def __repr__(self) -> str:
        return (
            f"HammingIndex(num_items={self.num_items}, code_length={self.code_length}, "
            f"popularity_bits={self.popularity_bits})"
        )

    def snapshot(self) -> HammingIndex:
        """This index as it is now: later changes of the one are not seen by the other. O(1)."""
        return self._of(self._table, self._code_length, self._popularity_bits)

    def search(
        self,
        queries: np.ndarray,
        k: int = 100,
        *,
        exclude: Sequence[ArrayLike] | tuple[np.ndarray, np.ndarray] | None = None,
        allow: ArrayLike | None = None,
        deny: ArrayLike | None = None,
        radius: int | None = None,
        ignore_unknown: bool = False,
        popularity: float = 1.0,
        num_threads: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest items of each query, in rising order of (distance, row).

        Args:
            queries: int64 or uint64 [Q, ceil(f / 64)], packed; or float16, float32, float64, int8,
                int16 or int32 [Q, f], +1 and -1 or real values. One query without the first axis.
            k: number of results, k >= 1; may exceed n.
            exclude: items that a query must not get: Q lists of raw ids (one query: its list), or a
                tuple (ptr, rows) of int64 [Q + 1] and int64 item rows, those of query q being
                rows[ptr[q]:ptr[q + 1]]; in any order, repeats allowed.
            allow: raw ids, or bool [n]: the items that queries may get; all if left out.
            deny: raw ids, or bool [n]: items that no query may get.
            radius: results are at most at this distance, r >= 0; still at most k of them.
            ignore_unknown: pass over ids in exclude, allow and deny that the index lacks, which
                other threads may just have removed. Rows and bool [n] do not suit an index that
                changes meanwhile: take a snapshot first.
            popularity: p in [-1, 1], the weight of popularity relative to training: the last g bits
                of every query are replaced by popularity_query_bits(g, p). Only 1 where g = 0.
            num_threads: queries are split among this many; 0 for one for each processor.

        Returns:
            distances int32 [Q, k] and raw ids int64 or str [Q, k]; [k] for one query. Where fewer
            than k candidates are left: distance 2^31 - 1, id -1 or "".

        Raises:
            ValueError: queries of another shape or dtype, or packed for another length; ids that
                the index lacks; an argument out of range.

        Deterministic, for any batch and number of threads. Cost: Q n popcounts of f bits, and a
        look-up of every raw id. Peak extra memory: hamming_topk's, the results once more to turn
        rows into ids, and n bytes for each of allow and deny.
        """
        table = self._table
        distances, rows = self._search_rows(
            table,
            queries,
            k,
            exclude=exclude,
            allow=allow,
            deny=deny,
            radius=radius,
            ignore_unknown=ignore_unknown,
            popularity=popularity,
            num_threads=num_threads,
        )
        return distances, table.ids_of(rows)

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
        return self._table.find("raw_ids", raw_ids)

    def ids_of(self, rows: np.ndarray) -> np.ndarray:
        """Raw ids of rows, the inverse of `rows`.

        Args:
            rows: int64 of any shape, in [-1, n); -1 is no item.

        Returns:
            int64 or str, of the shape of rows; -1 or "" for row -1.

        Raises:
            ValueError: a row out of range.
        """
        table, rows = self._table, np.asarray(rows, dtype=np.int64)
        outside = rows[(rows < -1) | (rows >= len(table))]
        if len(outside):
            raise ValueError(f"rows: expected rows in [-1, {len(table)}), got {outside[0]}")
        return table.ids_of(rows)

    def add(self, codes: np.ndarray, ids: ArrayLike | None = None) -> None:
        """Puts items after the last row.

        Args:
            codes: [m, ...], packed or not as the queries of search; popularity bits included.
            ids: int or str [m], unique and new; may be left out as long as the index was made
                without ids and nothing was removed, the items then being n .. n + m - 1.

        Raises:
            ValueError: codes of another shape or dtype, ids that are missing, repeated or known.
                The index is then unchanged.

        Cost of each change: a copy of codes and ids, O(n), while searches go on in the old ones,
        and O(m log m) for the items changed: make few changes of many items. An index that was
        mapped from a file is in memory afterwards.
        """
        words = self._words_of(codes)
        self._change(lambda table: table.added(words, ids))

    def remove(self, ids: ArrayLike) -> None:
        """Takes items out; rows below them move up, so that the order among the others stays.

        Every other item keeps its raw id, also where ids were left out: they are stored from now
        on, and `add` needs them.

        Args:
            ids: int or str [m], repeats allowed.

        Raises:
            ValueError: an id that the index lacks; the index is then unchanged.

        Cost: as of add.
        """
        self._change(lambda table: table.without(table.find("ids", ids)))

    def replace(self, ids: ArrayLike, codes: np.ndarray) -> None:
        """Gives items other codes; their rows stay.

        Args:
            ids: int or str [m], unique.
            codes: [m, ...], as of add.

        Raises:
            ValueError: an id that the index lacks or that comes twice, codes that do not fit; the
                index is then unchanged.

        Cost: as of add.
        """
        words = self._words_of(codes)

        def change(table: CodeTable) -> CodeTable:
            rows = table.find("ids", ids)
            if len(rows) != len(words):
                raise ValueError(f"expected ids for {len(words)} codes, got {len(rows)}")
            sorted_rows = np.sort(rows)
            repeated = sorted_rows[1:][sorted_rows[1:] == sorted_rows[:-1]]
            if len(repeated):
                first = table.ids_of(repeated)[0].item()
                raise ValueError(f"expected unique ids, got {first!r} twice")
            return table.replaced(rows, words)

        self._change(change)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the index to a file, atomically: after a failure the old file is untouched.

        Args:
            path: the file to create or replace; its folder exists.

        Raises:
            FileNotFoundError: no such folder.
            OSError: what the system says, as on a full disk, with the path.

        Equal indexes give equal bytes. Two that save to one path at a time: the last to end wins,
        and a reader gets the whole of one of them. Peak extra memory: the ids' UTF-8, each as long
        as the longest.
        """
        table = self._table
        metadata = {
            "format": _FORMAT,
            "code_length": str(self.code_length),
            "popularity_bits": str(self.popularity_bits),
        }
        save_arrays(path, table.arrays(), metadata, version=_VERSION)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, mmap: bool = False) -> HammingIndex:
        """The index in a file that save wrote; nothing in it is executed.

        Args:
            path: the file.
            mmap: leave the content in the file, which is read where searches touch it; pages
                are shared between processes. Others may save to the path meanwhile, but not write
                to the file in place. Damage within codes or ids shows only where it is met.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a damaged or foreign file, or one of a newer version; the message names it.

        Cost: one read of the file. Mapped: that of its header, whatever n is; a result's or a
        filter's string id is then decoded each time. Ids in a file of version 1, which has no order
        of them, are read and sorted.
        """
        arrays, metadata = load_arrays(path, _FORMAT, version=_VERSION, map_file=mmap)
        try:
            length, bits = (stated_number(metadata, x) for x in ("code_length", "popularity_bits"))
            words = _packed_words("codes", arrays["codes"], _checked_length(length, bits))
            if not mmap:
                words = _item_words(words, length)
            return cls._of(CodeTable.from_arrays({**arrays, "codes": words}, mmap), length, bits)
        except KeyError as error:
            raise ValueError(f"{path}: expected {error} in the file, got none") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def _change(self, change: Callable[[CodeTable], CodeTable]) -> None:
        with self._changing:
            self._table = change(self._table)

    def _search_rows(
        self,
        table: CodeTable,
        queries: np.ndarray,
        k: int,
        *,
        exclude: Sequence[ArrayLike] | tuple[np.ndarray, np.ndarray] | None = None,
        allow: ArrayLike | None = None,
        deny: ArrayLike | None = None,
        radius: int | None = None,
        ignore_unknown: bool = False,
        popularity: float = 1.0,
        num_threads: int = 0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """search, in a table, with rows in place of raw ids."""
        queries = np.asarray(queries)
        if radius is not None and radius < 0:
            raise ValueError(f"expected radius >= 0, got {radius}")
        one = queries.ndim == 1
        if one:
            queries = queries[None]
            if exclude is not None:
                exclude = [cast(ArrayLike, exclude)]  # ids of one query, and no lists of them
        words = self._query_words(queries, popularity, num_threads)
        exclude_ptr, exclude_ids = _exclusions(table, exclude, len(words), ignore_unknown)
        mask = None if allow is None else _mask(table, "allow", allow, ignore_unknown)
        if deny is not None:
            denied = _mask(table, "deny", deny, ignore_unknown)
            mask = ~denied if mask is None else mask & ~denied
        distances, rows = hamming_topk(
            words,
            table.words,
            k,
            code_length=self.code_length,
            exclude_ptr=exclude_ptr,
            exclude_ids=exclude_ids,
            allow=mask,
            num_threads=num_threads,
        )
        if radius is not None:
            far = distances > radius
            distances[far], rows[far] = _FAR, -1
        return (distances[0], rows[0]) if one else (distances, rows)

    def _words_of(self, codes: np.ndarray) -> np.ndarray:
        """Codes of items, packed or not, as words."""
        codes = np.asarray(codes)
        if codes.dtype in (np.int64, np.uint64):
            return _item_words(codes, self.code_length)
        if codes.ndim != 2 or codes.shape[1] != self.code_length:
            raise ValueError(
                f"expected codes of shape [*, {self.code_length}] (or packed, int64), "
                f"got {codes.dtype} {list(codes.shape)}"
            )
        return pack(codes)

    def _query_words(self, queries: np.ndarray, popularity: float, num_threads: int) -> np.ndarray:
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
    table: CodeTable,
    exclude: Sequence[ArrayLike] | tuple[np.ndarray, np.ndarray] | None,
    num_queries: int,
    ignore_unknown: bool,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    if exclude is None:
        return None, None
    if isinstance(exclude, tuple):
        if len(exclude) != 2:
            raise ValueError(f"expected exclude as (ptr, rows), got {len(exclude)} entries")
        ptr, rows = exclude
        return np.asarray(ptr), np.asarray(rows)
    if len(exclude) != num_queries:
        raise ValueError(
            f"expected exclude with a list for each of {num_queries} queries, got {len(exclude)}"
        )
    found = [table.find("exclude", one, unknown=ignore_unknown) for one in exclude]
    lists = [np.zeros(0, dtype=np.int64), *(one[one >= 0] for one in found)]
    return np.cumsum([len(one) for one in lists]), np.concatenate(lists)


def _mask(table: CodeTable, argument: str, items: ArrayLike, ignore_unknown: bool) -> np.ndarray:
    """bool [n], True for the items given."""
    array = np.asarray(items)
    if array.dtype == bool:
        if array.shape != (len(table),):
            raise ValueError(
                f"expected {argument} of shape [{len(table)}], got {list(array.shape)}"
            )
        return array
    rows = table.find(argument, items, unknown=ignore_unknown)
    mask = np.zeros(len(table), dtype=bool)
    mask[rows[rows >= 0]] = True
    return mask


def _checked_length(code_length: int, popularity_bits: int) -> int:
    if code_length < 1:
        raise ValueError(f"expected code_length >= 1, got {code_length}")
    if not 0 <= popularity_bits <= code_length:
        raise ValueError(f"expected popularity_bits in [0, {code_length}], got {popularity_bits}")
    return code_length


def _item_words(codes: np.ndarray, code_length: int) -> np.ndarray:
    """Packed codes as contiguous int64 words, checked."""
    words = np.ascontiguousarray(_packed_words("codes", codes, code_length))
    used = code_length % 64
    if used and (words[:, -1].view(np.uint64) >> np.uint64(used)).any():
        raise ValueError(
            f"expected codes with zero bits past code_length {code_length}, "
            "got bits of a longer code"
        )
    return words


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
