"""Codes as NumPy arrays: packing, unpacking, exact top-k, the popularity bits of a query."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import floor

import numpy as np

from hashgcn.retrieval.results import Neighbours

try:
    from hashgcn import _numpy
except ImportError as error:
    raise ImportError(
        "hashgcn's compiled NumPy module is missing; build it with "
        "`make build`, or `pip install --no-build-isolation -e .`"
    ) from error

_COMPILED_ERROR = re.compile(r"hashgcn::\w+: expected (\w+) (?:as (a NumPy array)|(.*?)), got (.*)")
_NOUNS = {"k": "a number", "code_length": "a number", "num_threads": "a number"}
_NOUNS["exclude_ids"] = "rows"


def pack_codes(x: np.ndarray, *, num_threads: int = 0) -> np.ndarray:
    """Packs the signs of x into 64-bit words.

    Bit j of word w is 1 where x[:, 64 w + j] >= 0, so that 0 and -0 count as +1. Bits past the code
    length are 0. On a little-endian machine the bytes of a row are those of a binary vector of
    faiss, if the code length is a multiple of 64.

    Args:
        x: float16, float32, float64, int8, int16 or int32 [N, f] with f >= 1: codes of +1 and -1,
            or real values.
        num_threads: number of threads; 0 uses one per processor.

    Returns:
        int64 [N, ceil(f / 64)].

    Raises:
        ValueError: x contains NaN, is not two-dimensional, or has another dtype.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.retrieval import pack_codes, unpack_codes
        >>> words = pack_codes(np.array([[0.5, -2.0, 0.0], [-1.0, -1.0, 1.0]]))
        >>> words.tolist()
        [[5], [4]]
        >>> unpack_codes(words, code_length=3).tolist()
        [[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]]

    Note:
        Deterministic for any number of threads. Cost: O(N f). Contiguous floats need no extra
        memory; integers are copied to float32.
    """
    return packed("x", x, num_threads)


def packed(argument: str, x: np.ndarray, num_threads: int = 0) -> np.ndarray:
    """As pack_codes; errors call x by the name of the caller's argument."""
    if isinstance(x, np.ndarray) and x.dtype.kind == "i" and x.dtype.itemsize < 8:
        x = x.astype(np.float32)
    with _errors_of_callers(x=argument):
        return _numpy.pack_codes(x, num_threads)


def unpack_codes(words: np.ndarray, code_length: int, *, num_threads: int = 0) -> np.ndarray:
    """Unpacks words into codes of +1 and -1: the inverse of pack_codes.

    Args:
        words: int64 or uint64 [N, ceil(f / 64)].
        code_length: f >= 1, the number of bits per code.
        num_threads: number of threads; 0 uses one per processor.

    Returns:
        float32 [N, f].

    Raises:
        ValueError: words have another shape or dtype, or bits past the code length.

    Note:
        Deterministic for any number of threads. Cost: O(N f). Contiguous words need no extra
        memory.
    """
    with _errors_of_callers():
        return _numpy.unpack_codes(words, code_length, num_threads)


def hamming_topk(
    queries: np.ndarray,
    items: np.ndarray,
    k: int = 10,
    *,
    code_length: int,
    exclude_ptr: np.ndarray | None = None,
    exclude_ids: np.ndarray | None = None,
    allow: np.ndarray | None = None,
    num_threads: int = 0,
) -> Neighbours:
    """Finds the k nearest items of each query by Hamming distance.

    Items at equal distance are ranked by row, the smaller row first.

    Args:
        queries: int64 or uint64 [Q, ceil(f / 64)], packed codes (see pack_codes).
        items: int64 or uint64 [n, ceil(f / 64)]; a read-only memory map is not copied.
        k: number of results per query, k >= 1; it may exceed n.
        code_length: f >= 1, the number of bits per code.
        exclude_ptr: int64 [Q + 1]; query q must not get the item rows
            exclude_ids[exclude_ptr[q]:exclude_ptr[q + 1]].
        exclude_ids: int64, item rows in any order; repeats are allowed.
        allow: bool [n], False for the items that no query may get.
        num_threads: number of threads; 0 uses one per processor. The queries are divided among the
            threads, or the items if there are few queries.

    Returns:
        Neighbours of int64 rows and int32 distances [Q, k], in rising order of (distance, row).
        Where fewer than k candidates are left, the rest has id -1 and distance 2^31 - 1.

    Raises:
        ValueError: shapes or dtypes do not fit, k < 1, a code was packed for another length, or an
            excluded row is out of range.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.retrieval import hamming_topk, pack_codes
        >>> items = pack_codes(np.array([[1, 1, 1], [1, 1, -1], [-1, -1, -1]], np.int8))
        >>> found = hamming_topk(items[:1], items, k=2, code_length=3)
        >>> found.ids.tolist(), found.distances.tolist()
        ([[0, 1]], [[0, 1]])

    Note:
        Deterministic for any batch and number of threads. Cost: Q n counts of f bits, after one
        read of all codes if f % 64 != 0. Peak extra memory per thread: 2 MiB, or 2 k + 64 pairs of
        12 bytes and the longest exclusion list if that is more, and the results once more if a
        thread has fewer than 256 queries. There is never a table of Q x n.
    """
    if (exclude_ptr is None) != (exclude_ids is None):
        raise ValueError("exclude_ptr, exclude_ids: expected both or neither, got one of them")
    with _errors_of_callers():
        return Neighbours(
            *_numpy.hamming_topk(
                queries, items, k, code_length, exclude_ptr, exclude_ids, allow, num_threads
            )
        )


def popularity_query_bits(popularity_bits: int, popularity_weight: float) -> np.ndarray:
    """The query's half of the popularity bits, for a weight of popularity.

    An item of popularity level c has the first (g + c) / 2 of its g popularity bits set, a
    thermometer. The inner product of the returned bits with it lies within 2 of p c. To that end
    round(g (1 + p) / 2) of them are +1, spread evenly: with a = (1 + p) / 2 and m that count,
    floor(t a + (m - g a) / 2 + 1/2) of the first t bits are +1.

    Args:
        popularity_bits: g >= 0.
        popularity_weight: p in [-1, 1]. 1 weighs popularity as in training, 0 leaves it out (to
            within 2), -1 reverses it.

    Returns:
        float32 [g], +1 or -1.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> from hashgcn.retrieval import popularity_query_bits
        >>> popularity_query_bits(6, 1.0).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
        >>> popularity_query_bits(6, 0.0).tolist()
        [1.0, -1.0, 1.0, -1.0, 1.0, -1.0]
    """
    if popularity_bits < 0:
        raise ValueError(f"popularity_bits: expected a number >= 0, got {popularity_bits}")
    if not -1 <= popularity_weight <= 1:
        raise ValueError(
            f"popularity_weight: expected a number in [-1, 1], got {popularity_weight}"
        )
    # Exact fractions: in floating point neighbouring counts could differ by 2.
    half = Fraction(1, 2)
    share = (1 + Fraction(float(popularity_weight))) / 2
    count = floor(popularity_bits * share + half)
    shift = (count - popularity_bits * share) / 2 + half
    pluses = [floor(t * share + shift) for t in range(popularity_bits + 1)]
    return (2 * np.diff(pluses) - 1).astype(np.float32)


@contextmanager
def _errors_of_callers(**names: str) -> Iterator[None]:
    """Errors of the compiled module in the package's style, by the names of the caller's arguments.

    "hashgcn::pack_codes: expected x without NaN, got NaN" becomes "codes: expected an array without
    NaN, got NaN" with x="codes".
    """
    try:
        yield
    except ValueError as error:
        found = _COMPILED_ERROR.fullmatch(str(error))
        if found is None:
            raise
        argument, array, condition, got = found.groups()
        expected = array or f"{_NOUNS.get(argument, 'an array')} {condition}"
        name = names.get(argument, argument)
        raise ValueError(f"{name}: expected {expected}, got {got}") from error
