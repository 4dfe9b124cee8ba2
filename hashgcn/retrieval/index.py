"""An index of item codes: exact search, filters, changes, files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.files import load_arrays, save_arrays, stated_number
from hashgcn.retrieval.codes import codes_from_bytes, hamming_topk, packed
from hashgcn.retrieval.filters import Filters, nearest_listed
from hashgcn.retrieval.locks import ChangeLock
from hashgcn.retrieval.results import MISSING_DISTANCE, Neighbours
from hashgcn.retrieval.table import CodeTable, joined
from hashgcn.retrieval.texts import Texts
from hashgcn.retrieval.words import (
    item_words,
    packed_words,
    plain_words,
    query_words,
    with_popularity,
)

if TYPE_CHECKING:
    from hashgcn.retrieval.filters import ItemFilter

_FORMAT = "hashgcn.index"
_VERSION = 3


class HammingIndex:
    """Exact top-k by Hamming distance over packed codes.

    Any number of threads may search while others add, remove or replace items: a search sees the
    index as it was before a change or after it, never in between. Changes wait for each other. A
    process may fork meanwhile. An index can be copied and pickled; both copy the codes and the ids.

    Args:
        codes: int64 or uint64 [n, ceil(f / 64)], packed (see pack_codes); not copied if contiguous.
            Among items at equal distance the one in the smaller row comes first.
        code_length: f >= 1, the number of bits per code.
        ids: int or str [n], unique raw ids. If left out, the id of an item is its row, which needs
            no memory; range(n) means the same.
        popularity_bits: g in [0, f]. The last g bits of every code are the popularity of the item
            as a thermometer: level c has the first (g + c) / 2 bits set.

    Raises:
        ValueError: codes of another shape or dtype, or with bits past the code length; ids that are
            not n unique integers or strings; popularity_bits out of range.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.retrieval import HammingIndex
        >>> codes = np.array([[1, 1, 1, 1], [1, 1, 1, -1], [-1, -1, -1, -1]], np.int8)
        >>> index = HammingIndex.build(codes, ids=["apple", "pear", "rake"])
        >>> index
        HammingIndex(3 codes of 4 bits, str ids)
        >>> found = index.search(codes[:2], k=2)
        >>> found.ids.tolist()
        [['apple', 'pear'], ['pear', 'apple']]
        >>> found.distances.tolist()
        [[0, 1], [0, 1]]
        >>> ids, distances = index.search(codes[0], k=2, deny=["apple"])  # a single query
        >>> ids.tolist()
        ['pear', 'rake']

    Note:
        Cost: O(n log n) for ids. Memory: the codes, the ids, and 8 bytes per item to look ids up.
        An id that is a string takes its UTF-8 and 8 bytes, however long others are.
    """

    def __init__(
        self,
        codes: np.ndarray,
        *,
        code_length: int,
        ids: ArrayLike | None = None,
        popularity_bits: int = 0,
    ) -> None:
        words = item_words(codes, _checked_length(code_length, popularity_bits))
        self._set(CodeTable.of(words, ids), code_length, popularity_bits)

    def _set(self, table: CodeTable, code_length: int, popularity_bits: int) -> None:
        # Each search takes the table once; changes replace it as a whole.
        self._table = table
        self._code_length = int(code_length)
        self._popularity_bits = int(popularity_bits)
        self._changing = ChangeLock()

    @classmethod
    def _of(cls, table: CodeTable, code_length: int, popularity_bits: int) -> HammingIndex:
        index = cls.__new__(cls)
        index._set(table, code_length, popularity_bits)
        return index

    def __reduce__(self) -> tuple:  # a lock cannot be pickled
        return HammingIndex._of, (self._table, self._code_length, self._popularity_bits)

    @classmethod
    def build(
        cls,
        codes: np.ndarray,
        ids: ArrayLike | None = None,
        *,
        code_length: int | None = None,
        popularity_bits: int = 0,
    ) -> HammingIndex:
        """Packs codes by the sign rule, and makes an index of them.

        Args:
            codes: [n, f], one value per bit: codes of +1 and -1 (int8, int16, int32, float16,
                float32 or float64), codes of True and False (bool), or real values, some of them
                negative. See pack_codes.
            ids: int or str [n], unique raw ids; the rows if left out.
            code_length: f, to be certain of it; the second length of codes if left out.
            popularity_bits: see HammingIndex.

        Raises:
            ValueError: see HammingIndex and pack_codes; codes of another length than code_length.
        """
        words = packed("codes", codes)
        length = codes.shape[1]
        if code_length not in (None, length):
            raise ValueError(
                f"codes: expected {code_length} values per code, got {codes.dtype} "
                f"{list(codes.shape)}; packed bytes are for HammingIndex.from_bytes"
            )
        return cls(words, code_length=length, ids=ids, popularity_bits=popularity_bits)

    @classmethod
    def from_bytes(
        cls,
        octets: np.ndarray,
        ids: ArrayLike | None = None,
        *,
        bit_order: Literal["big", "little"],
        code_length: int | None = None,
        popularity_bits: int = 0,
    ) -> HammingIndex:
        """Makes an index of bytes that hold one bit per dimension, as other libraries give them.

        Queries of such bytes are codes_from_bytes(octets, code_length, bit_order=...).

        Args:
            octets: uint8 or int8 [n, ceil(f / 8)]; see codes_from_bytes.
            ids: int or str [n], unique raw ids; the rows if left out.
            bit_order: "big" for numpy.packbits, sentence-transformers, Cohere and Mistral; "little"
                for faiss and hashgcn's exports; see codes_from_bytes.
            code_length: f; 8 for each byte if left out.
            popularity_bits: see HammingIndex.

        Raises:
            ValueError: see HammingIndex and codes_from_bytes.

        Examples:
            >>> import numpy as np
            >>> from hashgcn.retrieval import HammingIndex, codes_from_bytes
            >>> vectors = np.array([[0.5, -2.0, 1.0, -0.5, -1.0, -3.0, -1.0, 2.0], [-1.0] * 8])
            >>> octets = np.packbits(vectors > 0, axis=1)
            >>> index = HammingIndex.from_bytes(octets, ["fig", "kiwi"], bit_order="big")
            >>> index
            HammingIndex(2 codes of 8 bits, str ids)
            >>> query = codes_from_bytes(octets[:1], bit_order="big")
            >>> index.search(query, k=2).distances.tolist()
            [[0, 3]]
        """
        words = codes_from_bytes(octets, code_length, bit_order=bit_order)
        length = 8 * np.shape(octets)[1] if code_length is None else code_length
        return cls(words, code_length=length, ids=ids, popularity_bits=popularity_bits)

    @classmethod
    def merge(cls, indexes: Sequence[HammingIndex]) -> HammingIndex:
        """Makes one index of the items of several, the rows of the first one first.

        A search of it gives what searching all of them and sorting by (distance, row) would.

        Args:
            indexes: one or more, with equal code_length and popularity_bits. All have int ids, all
                have str ids, or none has ids: then rows are numbered consecutively, so that row r
                of the second index is n + r after the n rows of the first.

        Raises:
            ValueError: indexes that do not fit together, or an id that occurs in two of them.

        Note:
            Cost: O(n log n) for n ids in all. Memory: a copy of everything.
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
        """n, the number of items."""
        return len(self._table)

    @property
    def code_length(self) -> int:
        """f, the number of bits per code."""
        return self._code_length

    @property
    def popularity_bits(self) -> int:
        """g, the number of bits at the end of a code that hold the popularity of the item."""
        return self._popularity_bits

    @property
    def codes(self) -> np.ndarray:
        """The packed codes, int64 [n, ceil(f / 64)]."""
        return self._table.words

    @property
    def ids(self) -> np.ndarray:
        """The raw id of every row, int64 or StringDType [n]; strings are decoded, O(n)."""
        return self._table.all_ids()

    def __len__(self) -> int:
        return self.num_items

    def __repr__(self) -> str:
        table, bits = self._table, self.popularity_bits
        of_popularity = f", {bits} of them popularity" if bits else ""
        kind = "no" if table.ids is None else "str" if isinstance(table.ids, Texts) else "int"
        return (
            f"HammingIndex({len(table):,} codes of {self.code_length} bits{of_popularity}, "
            f"{kind} ids)"
        )

    def snapshot(self) -> HammingIndex:
        """The index as it is now, O(1): later changes of either one do not affect the other."""
        return self._of(self._table, self._code_length, self._popularity_bits)

    def search(
        self,
        queries: np.ndarray,
        k: int = 10,
        *,
        allow: ItemFilter | None = None,
        deny: ItemFilter | None = None,
        radius: int | None = None,
        ignore_unknown: bool = False,
        popularity_weight: float | None = None,
        as_rows: bool = False,
        num_threads: int = 0,
    ) -> Neighbours:
        """Finds the k nearest items of each query.

        Args:
            queries: int64 or uint64 [Q, ceil(f / 64)], packed; or [Q, f], codes or real values as
                in build. A single query has no first axis. Graded queries are packed bit planes
                [Q, P, ceil(f / 64)], see pack_levels, and always have three axes: a single one is
                [1, P, ceil(f / 64)], as [P, ceil(f / 64)] are P plain queries.
            k: number of results per query, k >= 1; it may exceed n.
            allow: the only items that may be found. For all queries: raw ids in any iterable, or
                bool [n]. For each query its own: Q iterables of raw ids, or a CSR matrix [Q, n]
                over rows (scipy.sparse, of which stored entries other than 0 count, or
                hashgcn.data.Interactions). Ids come in any order, repeats are allowed.
            deny: items that must not be found, in the same forms.
            radius: r >= 0, the largest distance of a result, in the weights of a graded query;
                there are still at most k of them.
            ignore_unknown: skip ids in allow and deny that the index lacks, for instance because
                another thread has just removed them. Matrices and masks refer to rows: take
                a snapshot of an index that changes meanwhile.
            popularity_weight: p in [-1, 1], the weight of popularity relative to training: the last
                g bits of every query are replaced by popularity_query_bits(g, p). None weighs
                popularity as in training, like 1. Codes without popularity bits have no other
                weight. A graded query has one weight V > 0 in its last g dimensions, which
                popularity_query_bits(g, p, V) replaces.
            as_rows: give rows in place of raw ids.
            num_threads: number of threads that queries are divided among, at most one per
                processor; 0 for OMP_NUM_THREADS, or for one per processor.

        Returns:
            Neighbours of raw ids (int64 or StringDType) and int32 distances [Q, k], in rising order
            of (distance, row); [k] for a single query. Distances are as hamming_topk gives them.
            Where fewer than k candidates are left, the rest has id -1 or "" and distance 2^31 - 1.

        Raises:
            ValueError: queries of another shape or dtype, or packed for another length; graded ones
                without such a weight of popularity; ids that the index lacks; an argument out of
                range.

        Examples:
            >>> import numpy as np
            >>> from hashgcn.retrieval import HammingIndex
            >>> codes = np.array([[1, 1, 1, 1], [1, 1, 1, -1], [-1, -1, -1, -1]], np.int8)
            >>> index = HammingIndex.build(codes, ids=[10, 20, 30])
            >>> found = index.search(codes[:2], k=3, deny=[[10, 30], []], radius=2)
            >>> found.ids.tolist(), found.counts.tolist()
            ([[20, -1, -1], [20, 10, -1]], [1, 2])

        Note:
            Deterministic for any batch and number of threads. Cost: Q n counts of f bits, and the
            look-up of every raw id. Peak extra memory: that of hamming_topk, the results once more
            to turn rows into ids, and n bytes for each of allow and deny. Where each query has a
            list of its own to allow, only these items are counted, whatever n is.
        """
        index, queries = self.snapshot(), np.asarray(queries)
        if radius is not None and not radius >= 0:  # NaN neither
            raise ValueError(f"radius: expected a number >= 0, got {radius}")
        single = queries.ndim == 1
        if single:
            queries = queries[None]
        words = index._query_words(queries, popularity_weight, num_threads)
        find = partial(index.rows, ignore_unknown=ignore_unknown)
        filters = Filters.of(allow, deny, len(words), len(index), find)
        listed, denied = filters.candidates(), filters.denied
        if listed is not None:
            hamming_topk(words[:0], index.codes[:0], k, code_length=index.code_length)  # checks k
            rows, distances = nearest_listed(words, index.codes, k, listed)
        else:
            rows, distances = hamming_topk(
                words,
                index.codes,
                k,
                code_length=index.code_length,
                exclude_ptr=None if denied is None else denied.ptr,
                exclude_ids=None if denied is None else denied.ids,
                allow=filters.mask,
                num_threads=num_threads,
            )
        if radius is not None:
            far = distances > radius
            rows[far], distances[far] = -1, MISSING_DISTANCE
        ids = rows if as_rows else index._table.ids_of(rows)
        return Neighbours(ids[0], distances[0]) if single else Neighbours(ids, distances)

    def rows(
        self,
        raw_ids: ArrayLike | Iterable,
        *,
        ignore_unknown: bool = False,
        argument: str = "raw_ids",
        owner: str = "the index",
    ) -> np.ndarray:
        """Finds the rows of raw ids, in their order.

        Args:
            raw_ids: int or str [m], as the ids of the index.
            ignore_unknown: give row -1 for an id that the index lacks, in place of an error.
            argument: what errors call the ids.
            owner: what errors call the index.

        Returns:
            int64 [m].

        Raises:
            ValueError: an id that the index lacks; the message names the first.

        Note:
            Cost: O(m log n).
        """
        return self._table.find(argument, raw_ids, unknown=ignore_unknown, owner=owner)

    def ids_of(self, rows: np.ndarray) -> np.ndarray:
        """Gives the raw ids of rows: the inverse of `rows`.

        Args:
            rows: int64 of any shape, in [-1, n); -1 is no item.

        Returns:
            int64 or StringDType, of the shape of rows; -1 or "" for row -1.

        Raises:
            ValueError: a row out of range.
        """
        table, rows = self._table, np.asarray(rows, dtype=np.int64)
        outside = rows[(rows < -1) | (rows >= len(table))]
        if len(outside):
            raise ValueError(f"rows: expected rows in [-1, {len(table)}), got {outside[0]}")
        return table.ids_of(rows)

    def add(self, codes: np.ndarray, ids: ArrayLike | None = None) -> None:
        """Adds items after the last row.

        Args:
            codes: m codes, packed or not, as the queries of search; popularity bits included.
            ids: int or str [m], unique and new. They may be left out as long as the index has no
                ids and nothing was removed; the items then have ids n .. n + m - 1.

        Raises:
            ValueError: codes of another shape or dtype; ids that are missing, repeated or known.
                The index is then unchanged.

        Note:
            Cost of any change: a copy of codes and ids, O(n), while searches continue in the old
            ones, and O(m log m) for the changed items. Prefer few changes of many items. An index
            that was mapped from a file is in memory afterwards.
        """
        words = self._item_words(codes)
        self._change(lambda table: table.added(words, ids))

    def remove(self, ids: ArrayLike | Iterable) -> None:
        """Removes items; the rows below them move up, so that the order of the others stays.

        Every other item keeps its raw id. An index without ids stores them from now on, and `add`
        then needs ids.

        Args:
            ids: int or str [m], repeats allowed.

        Raises:
            ValueError: an id that the index lacks; the index is then unchanged.

        Note:
            Cost: see add.
        """
        self._change(lambda table: table.without(table.find("ids", ids)))

    def replace(self, ids: ArrayLike | Iterable, codes: np.ndarray) -> None:
        """Gives items other codes; their rows stay.

        Args:
            ids: int or str [m], unique.
            codes: m codes, packed or not, as the queries of search.

        Raises:
            ValueError: an id that the index lacks or that occurs twice, or codes that do not fit;
                the index is then unchanged.

        Note:
            Cost: see add.
        """
        words = self._item_words(codes)

        def change(table: CodeTable) -> CodeTable:
            rows = table.find("ids", ids)
            if len(rows) != len(words):
                raise ValueError(f"ids: expected {len(words)}, one per code, got {len(rows)}")
            sorted_rows = np.sort(rows)
            repeated = sorted_rows[1:][sorted_rows[1:] == sorted_rows[:-1]]
            if len(repeated):
                first = table.ids_of(repeated).tolist()[0]
                raise ValueError(f"ids: expected unique ids, got {first!r} twice")
            return table.replaced(rows, words)

        self._change(change)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the index to a file, atomically: after a failure the old file is untouched.

        Args:
            path: the file to create or replace; its folder must exist.

        Raises:
            FileNotFoundError: the folder does not exist.
            OSError: the system's error, for instance on a full disk, with the path.

        Note:
            Equal indexes give equal bytes. If two processes save to the same path at the same time,
            the last one to finish wins, and readers get the whole of one of them. What an index
            that is mapped from a file saves is what that file holds: verify it when it is loaded.
        """
        metadata = {
            "format": _FORMAT,
            "code_length": str(self.code_length),
            "popularity_bits": str(self.popularity_bits),
        }
        save_arrays(path, self._table.arrays(), metadata, version=_VERSION)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, mmap: bool = False, verify: bool = False
    ) -> HammingIndex:
        """Reads an index that `save` wrote; nothing in the file is executed.

        Args:
            path: the file.
            mmap: leave the content in the file, and read it where searches touch it; processes
                share the pages. Meanwhile the file may be replaced, as `save` does, but not written
                to in place. Damage within codes or ids is not noticed, or only where it is met,
                unless the file is verified.
            verify: read a mapped file once to compare codes and ids with their checksums. A file
                that is not mapped is always compared.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a damaged or foreign file, or one of another version; the message names it.

        Note:
            Cost: one read of the file. Mapped: a read of its header, whatever n is, and of the file
            if it is verified.
        """
        arrays, metadata = load_arrays(
            path, _FORMAT, version=_VERSION, map_file=mmap, verify=verify
        )
        try:
            length, bits = (stated_number(metadata, x) for x in ("code_length", "popularity_bits"))
            words = packed_words("codes", arrays["codes"], _checked_length(length, bits))
            if not mmap:
                words = item_words(words, length)
            return cls._of(CodeTable.from_arrays({**arrays, "codes": words}, mmap), length, bits)
        except KeyError as error:
            raise ValueError(f"{path}: expected {error} in the file, got none") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def _change(self, change: Callable[[CodeTable], CodeTable]) -> None:
        with self._changing:
            self._table = change(self._table)

    def _item_words(self, codes: np.ndarray) -> np.ndarray:
        return item_words(plain_words("codes", codes, self.code_length), self.code_length)

    def _query_words(
        self, queries: np.ndarray, popularity_weight: float | None, num_threads: int
    ) -> np.ndarray:
        length, bits = self.code_length, self.popularity_bits
        words = query_words(queries, length, num_threads)
        if bits == 0:
            if popularity_weight not in (None, 1):
                raise ValueError(
                    "popularity_weight: expected None for codes without popularity bits, "
                    f"got {popularity_weight}"
                )
            return words
        weight = 1 if popularity_weight is None else popularity_weight
        return with_popularity(words, length, bits, weight)


def _checked_length(code_length: int, popularity_bits: int) -> int:
    if code_length < 1:
        raise ValueError(f"code_length: expected a number >= 1, got {code_length}")
    if not 0 <= popularity_bits <= code_length:
        raise ValueError(
            f"popularity_bits: expected a number in [0, {code_length}], got {popularity_bits}"
        )
    return code_length
