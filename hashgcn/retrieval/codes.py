"""Codes as NumPy arrays: packing, unpacking, exact top-N, the popularity bits of a query."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np

try:
    from hashgcn import _numpy
except ImportError as error:
    raise ImportError(
        "hashgcn's compiled NumPy module is missing; build it with "
        "`make build`, or `pip install --no-build-isolation -e .`"
    ) from error

# Of a weighted segment, as kMaxScale of csrc/core: a score stays finite.
LARGEST_SCALE = 2.0**48


def pack(x: np.ndarray, *, num_threads: int = 0) -> np.ndarray:
    """Bits of the signs of x: bit j of word w is 1 iff x[:, 64 w + j] >= 0.

    0 and -0 count as +1; bits past the code length are 0. On a little-endian machine the rows are
    byte-identical to faiss's binary vectors where the code length is a multiple of 64.

    Args:
        x: float32, float64, float16, int8, int16 or int32 [N, f], f >= 1; codes or real values.
        num_threads: 0 for one for each processor.

    Returns:
        int64 [N, ceil(f / 64)].

    Raises:
        ValueError: x holds NaN, is not two-dimensional, or has another dtype.

    Deterministic, for any number of threads. Cost O(N f); no extra memory for contiguous floats,
    a float32 copy of integers.
    """
    if isinstance(x, np.ndarray) and x.dtype.kind == "i" and x.dtype.itemsize < 8:
        x = x.astype(np.float32)
    return _numpy.pack_codes(x, num_threads)


def unpack(words: np.ndarray, code_length: int, *, num_threads: int = 0) -> np.ndarray:
    """The +1 and -1 of packed codes; the inverse of pack.

    Args:
        words: int64 or uint64 [N, ceil(f / 64)].
        code_length: f >= 1, the number of bits of a code.
        num_threads: 0 for one for each processor.

    Returns:
        float32 [N, f].

    Raises:
        ValueError: words has another shape or dtype, or bits past the code length.

    Deterministic. Cost O(N f), no extra memory for contiguous words.
    """
    return _numpy.unpack_codes(words, code_length, num_threads)


def hamming_topk(
    queries: np.ndarray,
    items: np.ndarray,
    k: int,
    *,
    code_length: int,
    exclude_ptr: np.ndarray | None = None,
    exclude_ids: np.ndarray | None = None,
    allow: np.ndarray | None = None,
    num_threads: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest items of each query by Hamming distance, smaller row first among equals.

    Args:
        queries: int64 or uint64 [Q, ceil(f / 64)], packed codes (see pack).
        items: int64 or uint64 [n, ceil(f / 64)]; a read-only memory map is not copied.
        k: number of results, k >= 1; may exceed n.
        code_length: f >= 1, the number of bits of a code.
        exclude_ptr: int64 [Q + 1] and exclude_ids: int64: item rows that query q must not get are
            exclude_ids[exclude_ptr[q]:exclude_ptr[q + 1]], in any order, repeats allowed.
        allow: bool [n], False for items that no query may get.
        num_threads: queries (or items, where there are few queries) are split among this many; 0
            for one for each processor.

    Returns:
        distances int32 [Q, k] and ids int64 [Q, k], in rising order of (distance, row). Where fewer
        than k candidates are left: id -1, distance 2^31 - 1.

    Raises:
        ValueError: shapes or dtypes that do not fit, k < 1, a code packed for another length, an
            excluded row out of range.

    Deterministic, for any batch and number of threads. Cost: Q n counts of f bits, after one read
    of all codes where f % 64 != 0. Peak extra memory for each thread: 2 MiB, or 2k + 64 pairs of 12
    bytes and the longest exclusion if that is more, and the results once more where it has fewer
    than 256 queries; never Q x n.
    """
    return _numpy.hamming_topk(
        queries, items, k, code_length, exclude_ptr, exclude_ids, allow, num_threads
    )


def weighted_topk(
    queries: np.ndarray,
    items: np.ndarray,
    query_scale: np.ndarray,
    item_scale: np.ndarray,
    k: int,
    *,
    code_length: int,
    exclude_ptr: np.ndarray | None = None,
    exclude_ids: np.ndarray | None = None,
    allow: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k items of highest score, where a code is several segments with a scale each.

        score(q, i) = sum over segments l of a[q, l] c[i, l] <b_ql, d_il>

    In float32 in the order of l: the ids and scores of hashgcn.ops.weighted_hamming_topk, bit for
    bit, from plain products. For a few queries at a time.

    Args:
        queries: int64 [Q, ceil(f / 64)], packed; f bits are S segments of f / S, one after another.
        items: int64 [n, ceil(f / 64)].
        query_scale: a, float32 [Q, S], at most 2^48 in magnitude.
        item_scale: c, float32 [n, S], likewise.
        k: number of results, k >= 1; may exceed n.
        code_length: f, a multiple of S.
        exclude_ptr, exclude_ids, allow: as in hamming_topk.

    Returns:
        scores float32 [Q, k] and ids int64 [Q, k], in falling order of score, then rising of row.
        Where fewer than k candidates are left: id -1, score -inf.

    Raises:
        ValueError: shapes or dtypes that do not fit, k < 1, an excluded row out of range, a scale
            that is NaN, infinite or too large.

    Deterministic. Cost Q n f multiply-adds and Q sorts of n. Memory: n f and, for 64 queries at a
    time, 64 n floats.
    """
    segments = item_scale.shape[-1]
    for name, scale, rows in (("query", query_scale, queries), ("item", item_scale, items)):
        if scale.shape != (len(rows), segments) or scale.dtype != np.float32:
            raise ValueError(
                f"{name}_scale: expected float32 {[len(rows), segments]}, "
                f"got {scale.dtype} {list(scale.shape)}"
            )
        if not (np.abs(scale) <= LARGEST_SCALE).all():
            raise ValueError(f"{name}_scale: expected finite values, at most 2^48, got others")
    if k < 1:
        raise ValueError(f"k: expected a number >= 1, got {k}")
    if segments < 1 or code_length % segments:
        raise ValueError(f"code_length: expected a multiple of {segments}, got {code_length}")
    if (exclude_ptr is None) != (exclude_ids is None):
        raise ValueError("exclude_ptr, exclude_ids: expected both or neither, got one of them")
    # NumPy would take row -1 for the last item, and ids in place of a mask for rows from the end.
    if exclude_ptr is not None and exclude_ids is not None:
        if (
            exclude_ptr.shape != (len(queries) + 1,)
            or exclude_ptr[0] != 0
            or exclude_ptr[-1] != len(exclude_ids)
            or (exclude_ptr[1:] < exclude_ptr[:-1]).any()
        ):
            raise ValueError(
                f"exclude_ptr: expected {len(queries) + 1} numbers that rise from 0 to "
                f"{len(exclude_ids)}, the length of exclude_ids, got {exclude_ptr}"
            )
        outside = exclude_ids[(exclude_ids < 0) | (exclude_ids >= len(items))]
        if len(outside):
            raise ValueError(
                f"exclude_ids: expected item rows in [0, {len(items)}), got {outside[0]}"
            )
    if allow is not None and (allow.dtype != bool or allow.shape != (len(items),)):
        raise ValueError(
            f"allow: expected bool [{len(items)}], got {allow.dtype} {list(allow.shape)}"
        )
    items = unpack(items, code_length)
    found = np.full((len(queries), k), -1), np.full((len(queries), k), -np.inf, np.float32)
    kept = min(k, len(items))
    for start in range(0, len(queries), 64):
        batch = slice(start, start + 64)
        codes = unpack(queries[batch], code_length)
        scores = np.zeros((len(codes), len(items)), np.float32)
        for segment in range(segments):
            bits = slice(
                segment * (code_length // segments), (segment + 1) * (code_length // segments)
            )
            scale = query_scale[batch, segment, None] * item_scale[:, segment]
            scores += scale * (codes[:, bits] @ items[:, bits].T)
        if exclude_ptr is not None and exclude_ids is not None:
            ptr = exclude_ptr[start : start + len(codes) + 1]
            rows = np.repeat(np.arange(len(codes)), np.diff(ptr))
            scores[rows, exclude_ids[ptr[0] : ptr[-1]]] = -np.inf
        if allow is not None:
            scores[:, ~allow] = -np.inf
        ids = np.argsort(-scores, axis=1, kind="stable")[:, :kept]
        values = np.take_along_axis(scores, ids, axis=1)
        found[0][batch, :kept] = np.where(values == -np.inf, -1, ids)
        found[1][batch, :kept] = values
    return found[1], found[0]


def popularity_query_bits(popularity_bits: int, popularity: float) -> np.ndarray:
    """The query's half of the popularity bits: their inner product with level c is near p c.

    round(g (1 + p) / 2) of the g bits are +1, spread evenly: with a = (1 + p) / 2 and m that count,
    floor(t a + (m - g a) / 2 + 1/2) of the first t are, which keeps the inner product with the
    thermometer of every level c within 2 of p c.

    Args:
        popularity_bits: g >= 0.
        popularity: p in [-1, 1]: 1 weighs popularity as it was trained, 0 leaves it out (to within
            2), -1 turns it round.

    Returns:
        float32 [g], +1 or -1.

    Raises:
        ValueError: an argument outside its range.

    Deterministic. Cost O(g).
    """
    if popularity_bits < 0:
        raise ValueError(f"expected popularity_bits >= 0, got {popularity_bits}")
    if not -1 <= popularity <= 1:
        raise ValueError(f"expected popularity in [-1, 1], got {popularity}")
    # Exact fractions: in floating point neighbouring counts could differ by 2.
    half = Fraction(1, 2)
    share = (1 + Fraction(float(popularity))) / 2
    count = floor(popularity_bits * share + half)
    shift = (count - popularity_bits * share) / 2 + half
    pluses = [floor(t * share + shift) for t in range(popularity_bits + 1)]
    return (2 * np.diff(pluses) - 1).astype(np.float32)
