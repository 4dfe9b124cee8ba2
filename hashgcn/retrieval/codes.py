"""Codes as NumPy arrays: packing, unpacking, exact top-k, the popularity bits of a query."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from math import floor
from typing import Literal

import numpy as np

from hashgcn import _numpy
from hashgcn.levels import LEVELS, check_levels, largest_weight, num_planes
from hashgcn.retrieval.results import Neighbours

_COMPILED_ERROR = re.compile(r"hashgcn::\w+: expected (\w+) (?:as (a NumPy array)|(.*?)), got (.*)")
_NOUNS = {"k": "a number", "code_length": "a number", "num_threads": "a number"}
_NOUNS["exclude_ids"] = "rows"
_ADVICE = "; give 0 and 1 as bool, and packed bytes to codes_from_bytes"
_CHUNK_VALUES = 1 << 20  # that are checked or converted at a time
# So many words of items are compared in one compiled call, a second or two, before Python can react
# to a signal. Fewer queries than these would share too few reads of the items.
_CALL_WORDS = 1 << 32
_CALL_QUERIES = 64
_REVERSED = np.packbits(
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1), axis=1, bitorder="little"
)[:, 0]


def pack_codes(x: np.ndarray, *, num_threads: int = 0) -> np.ndarray:
    """Packs the signs of x into 64-bit words.

    Bit j of word w is 1 where x[:, 64 w + j] >= 0, so that 0 and -0 count as +1. Bits past the code
    length are 0. On a little-endian machine the bytes of a row are those of a binary vector of
    faiss, if the code length is a multiple of 64.

    Args:
        x: [N, f] with f >= 1. Integers (int8, int16 or int32): codes of +1 and -1. bool: codes of
            True for +1 and False for -1. Floats (float16, float32 or float64): codes of +1 and -1,
            or real values, some of them negative.
        num_threads: at most one per processor is used; 0 for OMP_NUM_THREADS, or all.

    Returns:
        int64 [N, ceil(f / 64)].

    Raises:
        ValueError: x contains NaN, is not two-dimensional, or has another dtype; integers other
            than +1 and -1; floats that cannot be codes, because they are 0 and 1, or 64 or more
            without a negative one that are not all +1. The sign of every one of them would be +1.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.retrieval import pack_codes, unpack_codes
        >>> words = pack_codes(np.array([[0.5, -2.0, 0.0], [-1.0, -1.0, 1.0]]))
        >>> words.tolist()
        [[5], [4]]
        >>> unpack_codes(words, code_length=3).tolist()
        [[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]]

    Note:
        Deterministic for any number of threads. Cost: O(N f). Contiguous input needs no extra
        memory beyond some MiB. hashgcn.ops.pack_codes packs the signs of any floats.
    """
    return packed("x", x, num_threads)


def packed(argument: str, x: np.ndarray, num_threads: int = 0) -> np.ndarray:
    """As pack_codes; errors call x by the name of the caller's argument."""
    if isinstance(x, np.ndarray) and x.ndim == 2 and x.shape[1]:
        if x.dtype == np.uint8:
            raise ValueError(f"{argument}: expected codes, got uint8{_ADVICE}")
        if x.dtype == bool or (x.dtype.kind == "i" and x.dtype.itemsize < 8):
            return _packed_signs(argument, x)
        if x.dtype.kind == "f":
            _check_negative(argument, x)
    return packed_signs(argument, x, num_threads)


def packed_signs(argument: str, x: np.ndarray, num_threads: int = 0) -> np.ndarray:
    """The packed signs of any floats."""
    with _errors_of_callers(x=argument):
        return _numpy.pack_codes(x, num_threads)


def _packed_signs(argument: str, x: np.ndarray) -> np.ndarray:
    """Words of codes that are integers or bool."""
    octets = np.empty((len(x), (x.shape[1] + 7) // 8), np.uint8)
    for rows in _chunks(x):
        part = x[rows]
        wrong = np.abs(part) != 1  # the least int8 is its own absolute value
        if part.dtype != bool and wrong.any():
            row, column = np.unravel_index(wrong.argmax(), wrong.shape)
            raise ValueError(
                f"{argument}: expected +1 and -1 where codes are integers, got "
                f"{part[row, column]} in row {rows.start + row}{_ADVICE}"
            )
        octets[rows] = np.packbits(part > 0, axis=1, bitorder="little")
    return _words_of(octets)


def _check_negative(argument: str, x: np.ndarray) -> None:
    """Refuses floats whose signs say nothing: 0 and 1, or many without a negative one."""
    some, zeros, ones = False, False, True
    for rows in _chunks(x):
        part = x[rows]
        if (part < 0).any():
            return
        some |= not ((part == 0) | (part == 1)).all()
        zeros, ones = zeros or not part.all(), ones and (part == 1).all()
    # Fewer may be positive by chance. NaN is refused by the kernel.
    if (not some and zeros) or (some and x.size >= 64 and not np.isnan(x).any()):
        what = "real values that are all >= 0" if some else "only 0 and 1"
        raise ValueError(
            f"{argument}: expected codes of +1 and -1, or real values of both signs, got {what}"
            f"{_ADVICE}"
        )


def _chunks(x: np.ndarray) -> Iterator[slice]:
    """Consecutive rows, so few at a time that work on them needs little memory."""
    step = max(1, _CHUNK_VALUES // x.shape[1])
    for start in range(0, len(x), step):
        yield slice(start, min(start + step, len(x)))


def _words_of(octets: np.ndarray) -> np.ndarray:
    """Words of bytes in the order of a little-endian machine."""
    words = np.zeros((len(octets), (octets.shape[1] + 7) // 8), "<i8")
    words.view(np.uint8)[:, : octets.shape[1]] = octets
    return words.astype(np.int64, copy=False)


def codes_from_bytes(
    octets: np.ndarray,
    code_length: int | None = None,
    *,
    bit_order: Literal["big", "little"],
) -> np.ndarray:
    """Makes packed codes of bytes that hold one bit per dimension, as other libraries do.

    Args:
        octets: uint8 [N, ceil(f / 8)]; or int8, each byte less 128, as sentence-transformers,
            Cohere and Mistral give embeddings of the type `binary` (`ubinary` is uint8). Bytes that
            were only cast to int8 are octets.view("uint8").
        code_length: f; 8 for each byte if left out.
        bit_order: "little": dimension 8 b + j is bit j of byte b, as in hashgcn's exports and
            faiss. "big": it is bit 7 - j, as from numpy.packbits and the libraries above.

    Returns:
        int64 [N, ceil(f / 64)], as from pack_codes.

    Raises:
        ValueError: another dtype or shape, a bit order that is neither, or bits past the code
            length.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.retrieval import codes_from_bytes, pack_codes
        >>> vectors = np.array([[0.5, -2.0, 1.0, -0.5, -1.0, -3.0, -1.0, 2.0, 0.5]])
        >>> octets = np.packbits(vectors > 0, axis=1)
        >>> octets.tolist()
        [[161, 128]]
        >>> codes_from_bytes(octets, 9, bit_order="big").tolist(), pack_codes(vectors).tolist()
        ([[389]], [[389]])

    Note:
        Deterministic. Cost: O(N f / 8). The inverse of hashgcn.retrieval.export.code_bytes, with
        the bit order "little".
    """
    octets = np.asarray(octets)
    if octets.dtype not in (np.uint8, np.int8) or octets.ndim != 2 or not octets.shape[1]:
        raise ValueError(
            f"octets: expected uint8 or int8 [*, ceil(code_length / 8)], "
            f"got {octets.dtype} {list(octets.shape)}"
        )
    length = 8 * octets.shape[1] if code_length is None else code_length
    if length < 1 or (length + 7) // 8 != octets.shape[1]:
        raise ValueError(
            f"code_length: expected {8 * octets.shape[1] - 7} to {8 * octets.shape[1]} for "
            f"{octets.shape[1]} bytes a code, got {length}"
        )
    if bit_order not in ("big", "little"):
        raise ValueError(f"bit_order: expected 'big' or 'little', got {bit_order!r}")
    if octets.dtype == np.int8:
        octets = octets.view(np.uint8) ^ np.uint8(128)
    if bit_order == "big":
        octets = _REVERSED[octets]
    past = octets[:, -1] >> np.uint8(length % 8) if length % 8 else np.zeros(0)
    if past.any():
        raise ValueError(
            f"octets: expected zero bits past code_length {length}, got others in row "
            f"{past.nonzero()[0][0]}"
        )
    return _words_of(octets)


def unpack_codes(words: np.ndarray, code_length: int, *, num_threads: int = 0) -> np.ndarray:
    """Unpacks words into codes of +1 and -1: the inverse of pack_codes.

    Args:
        words: int64 or uint64 [N, ceil(f / 64)].
        code_length: f >= 1, the number of bits per code.
        num_threads: at most one per processor is used; 0 for OMP_NUM_THREADS, or all.

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


def pack_levels(codes: np.ndarray, levels: int) -> np.ndarray:
    """Packs graded codes into bit planes: q = sum over p of 2^p b_p, with b_p = ±1.

    Args:
        codes: any signed integers or floats [N, f] with f >= 1, weights ±1, ±3, ..., ±(2L - 1).
        levels: L, one of 1, 2, 4 and 8.

    Returns:
        int64 [N, P, ceil(f / 64)] with P = log2(L) + 1. Plane p holds b_p as pack_codes packs it;
        the last plane is the sign of every weight.

    Raises:
        ValueError: another number of levels, another dtype or shape, or other weights.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.retrieval import pack_levels, unpack_levels
        >>> planes = pack_levels(np.array([[3, 1, -1, -3]]), levels=2)
        >>> planes.tolist()  # 3 = 2 + 1, 1 = 2 - 1, -1 = -2 + 1, -3 = -2 - 1
        [[[5], [3]]]
        >>> unpack_levels(planes, code_length=4).tolist()
        [[3.0, 1.0, -1.0, -3.0]]

    Note:
        Deterministic, and the words of hashgcn.ops.pack_levels. Cost: O(P N f). Extra memory: some
        MiB.
    """
    check_levels(levels)
    if not isinstance(codes, np.ndarray):
        raise ValueError(f"codes: expected a NumPy array, got {type(codes).__name__}")
    if codes.ndim != 2 or not codes.shape[1] or codes.dtype.kind not in "if":
        raise ValueError(
            f"codes: expected signed integers or floats [*, code_length >= 1], "
            f"got {codes.dtype} {list(codes.shape)}"
        )
    bound, planes = largest_weight(levels), num_planes(levels)
    octets = np.empty((len(codes), planes, (codes.shape[1] + 7) // 8), np.uint8)
    for rows in _chunks(codes):
        part = codes[rows]
        with np.errstate(invalid="ignore"):  # of infinity the remainder is NaN
            right = (np.abs(part) <= bound) & (part % 2 == 1)
        if not right.all():
            row, column = np.unravel_index(right.argmin(), right.shape)
            raise ValueError(
                f"codes: expected odd weights from -{bound} to {bound}, got {part[row, column]} in "
                f"row {rows.start + row}"
            )
        index = ((part + bound) / 2).astype(np.uint8)
        for p in range(planes):
            octets[rows, p] = np.packbits(index >> p & 1, axis=1, bitorder="little")
    words = _words_of(octets.reshape(-1, octets.shape[2]))
    return words.reshape(len(codes), planes, words.shape[1])


def unpack_levels(planes: np.ndarray, code_length: int, *, num_threads: int = 0) -> np.ndarray:
    """Unpacks bit planes into the weights of graded codes: the inverse of pack_levels.

    Args:
        planes: int64 or uint64 [N, P, ceil(f / 64)] with 1 <= P <= 4; or [N, ceil(f / 64)], plain
            codes.
        code_length: f >= 1, the number of dimensions of a code.
        num_threads: at most one per processor is used; 0 for OMP_NUM_THREADS, or all.

    Returns:
        float32 [N, f].

    Raises:
        ValueError: planes have another shape or dtype, or bits past the code length.

    Note:
        Deterministic for any number of threads. Cost: O(P N f). Extra memory: as much as the
        result.
    """
    with _errors_of_callers(words="planes"):
        if not isinstance(planes, np.ndarray) or planes.ndim != 3:
            return _numpy.unpack_codes(planes, code_length, num_threads)
        if not 1 <= planes.shape[1] <= len(LEVELS):
            raise ValueError(
                f"planes: expected [*, 1 to {len(LEVELS)} planes, words], got {list(planes.shape)}"
            )
        weights = _numpy.unpack_codes(planes[:, 0], code_length, num_threads)
        for p in range(1, planes.shape[1]):
            weights += 2**p * _numpy.unpack_codes(planes[:, p], code_length, num_threads)
        return weights


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

    Items at equal distance are ranked by row, the smaller row first. A graded query holds odd
    weights q_w = sum over p of 2^p b_pw with b_pw = ±1, as pack_levels takes them. Its distance
    from an item d is sum over p of 2^p hamming(b_p, d) = ((2^P - 1) f - sum_w q_w d_w) / 2, so that
    the nearest item is the one of the largest score.

    Args:
        queries: int64 or uint64 [Q, ceil(f / 64)], packed codes (see pack_codes); or
            [Q, P, ceil(f / 64)] with 1 <= P <= 4, the bit planes of graded ones (see pack_levels).
        items: int64 or uint64 [n, ceil(f / 64)]; a read-only memory map is not copied.
        k: number of results per query, k >= 1; it may exceed n.
        code_length: f >= 1, the number of bits per code; (2^P - 1) f <= 2^31 - 2.
        exclude_ptr: int64 [Q + 1]; query q must not get the item rows
            exclude_ids[exclude_ptr[q]:exclude_ptr[q + 1]].
        exclude_ids: int64, item rows in any order; repeats are allowed.
        allow: bool [n], False for the items that no query may get.
        num_threads: at most one per processor is used; 0 for OMP_NUM_THREADS, or all. The queries
            are divided among the threads, or the items if there are few queries.

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
        Deterministic for any batch and number of threads. Cost: Q P n counts of f bits, after one
        read of all codes if f % 64 != 0. Peak extra memory per thread: 2 MiB, or 2 k + 64 pairs of
        12 bytes and the longest exclusion list if that is more, and the results once more if a
        thread has fewer than 256 queries. There is never a table of Q x n. Ctrl-C ends a search
        after the queries at hand, a second or two; among 10^9 items these are 64 queries.
    """
    if (exclude_ptr is None) != (exclude_ids is None):
        raise ValueError("exclude_ptr, exclude_ids: expected both or neither, got one of them")
    with _errors_of_callers():

        def nearest(own: np.ndarray, ptr: np.ndarray | None, rows: np.ndarray | None) -> tuple:
            return _numpy.hamming_topk(own, items, k, code_length, ptr, rows, allow, num_threads)

        step = _queries_at_once(queries, items, k, exclude_ptr, exclude_ids)
        if step is None:
            return Neighbours(*nearest(queries, exclude_ptr, exclude_ids))
        items = np.ascontiguousarray(items)
        ids = np.empty((len(queries), k), np.int64)
        distances = np.empty((len(queries), k), np.int32)
        for start in range(0, len(queries), step):
            part, ptr, rows = slice(start, start + step), None, None
            if exclude_ptr is not None and exclude_ids is not None:
                ptr = exclude_ptr[start : start + step + 1]
                ptr, rows = ptr - ptr[0], exclude_ids[ptr[0] : ptr[-1]]
            ids[part], distances[part] = nearest(queries[part], ptr, rows)
        return Neighbours(ids, distances)


def _queries_at_once(
    queries: np.ndarray,
    items: np.ndarray,
    k: int,
    exclude_ptr: np.ndarray | None,
    exclude_ids: np.ndarray | None,
) -> int | None:
    """The number of queries for one compiled call; None for all, or if the arguments are wrong."""
    arrays = isinstance(queries, np.ndarray) and isinstance(items, np.ndarray)
    if not arrays or queries.ndim not in (2, 3) or items.ndim != 2 or k < 1:
        return None
    planes = queries.shape[1] if queries.ndim == 3 else 1
    step = max(_CALL_QUERIES, _CALL_WORDS // max(planes * items.size + k, 1))
    if step >= len(queries):
        return None
    if exclude_ptr is not None and exclude_ids is not None:
        ptr = exclude_ptr
        if not isinstance(ptr, np.ndarray) or ptr.dtype != np.int64 or ptr.ndim != 1:
            return None
        if len(ptr) != len(queries) + 1 or ptr[0] != 0 or ptr[-1] != len(exclude_ids):
            return None
        if (ptr[1:] < ptr[:-1]).any():
            return None
    return step


def popularity_query_bits(
    popularity_bits: int, popularity_weight: float, value: int = 1
) -> np.ndarray:
    """The query's half of the popularity bits, for a weight of popularity.

    An item of popularity level c has the first (g + c) / 2 of its g popularity bits set, a
    thermometer. In training, users have V in all of them, which adds V c to a score. The inner
    product of the returned weights with the item's bits lies within 2 of p V c. To that end, with
    a = (1 + p V) / 2 and m = floor(g a + 1/2), the first t weights add up to
    2 floor(t a + (m - g a) / 2 + 1/2) - t. Of a plain query, V = 1, m weights are +1, spread
    evenly.

    Args:
        popularity_bits: g >= 0.
        popularity_weight: p in [-1, 1]. 1 weighs popularity as in training, 0 leaves it out (to
            within 2), -1 reverses it.
        value: V, odd and > 0: the weight of every popularity bit in the codes of users, 1 unless
            they are graded.

    Returns:
        float32 [g], odd weights from -V to V.

    Raises:
        ValueError: an argument is out of range.

    Examples:
        >>> from hashgcn.retrieval import popularity_query_bits
        >>> popularity_query_bits(6, 1.0).tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
        >>> popularity_query_bits(6, 0.0).tolist()
        [1.0, -1.0, 1.0, -1.0, 1.0, -1.0]
        >>> popularity_query_bits(6, 0.5, value=3).tolist()
        [3.0, 1.0, 1.0, 1.0, 3.0, 1.0]
    """
    if popularity_bits < 0:
        raise ValueError(f"popularity_bits: expected a number >= 0, got {popularity_bits}")
    if not -1 <= popularity_weight <= 1:
        raise ValueError(
            f"popularity_weight: expected a number in [-1, 1], got {popularity_weight}"
        )
    if value < 1 or value % 2 != 1:
        raise ValueError(f"value: expected an odd number > 0, got {value}")
    # Exact fractions: in floating point neighbouring counts could differ by 2.
    half = Fraction(1, 2)
    share = (1 + Fraction(float(popularity_weight)) * int(value)) / 2
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
