"""Packed codes, plain or graded, as an index and a recommender take them: checked, in words."""

from __future__ import annotations

import numpy as np

from hashgcn.levels import LEVELS, largest_weight, levels_of
from hashgcn.retrieval.codes import pack_levels, packed, packed_signs, popularity_query_bits


def query_words(codes: np.ndarray, code_length: int, num_threads: int) -> np.ndarray:
    """Queries as int64 words: [Q, ceil(f / 64)], or [Q, P, ceil(f / 64)] with P > 1 planes.

    Args:
        codes: packed, plain or graded, as hamming_topk takes them; or [Q, f], as pack_codes does.
        code_length: f.
        num_threads: for packing.
    """
    codes = np.asarray(codes)
    if codes.dtype in (np.int64, np.uint64) and codes.ndim == 3:
        return _planes("queries", codes, code_length)
    return plain_words("queries", codes, code_length, num_threads)


def plain_words(
    argument: str, codes: np.ndarray, code_length: int, num_threads: int = 0
) -> np.ndarray:
    """Plain codes, packed or not, as int64 words [N, ceil(f / 64)]."""
    codes = np.asarray(codes)
    if codes.dtype in (np.int64, np.uint64):
        return packed_words(argument, codes, code_length)
    if codes.ndim != 2 or codes.shape[1] != code_length:
        raise ValueError(
            f"{argument}: expected codes [*, {code_length}] (or packed, int64), "
            f"got {codes.dtype} {list(codes.shape)}{_advice(codes)}"
        )
    return packed(argument, codes, num_threads)


def packed_words(argument: str, words: np.ndarray, code_length: int) -> np.ndarray:
    """An array of plain packed codes as int64 words, without a copy."""
    words = np.asarray(words)
    width = (code_length + 63) // 64
    if words.dtype not in (np.int64, np.uint64) or words.ndim != 2 or words.shape[1] != width:
        raise ValueError(
            f"{argument}: expected packed int64 words [*, {width}] (codes of {code_length} bits), "
            f"got {words.dtype} {list(words.shape)}{_advice(words)}"
        )
    return words.view(np.int64)


def item_words(codes: np.ndarray, code_length: int) -> np.ndarray:
    """Packed codes of items as contiguous int64 words [n, ceil(f / 64)], checked."""
    return _without_more_bits("codes", packed_words("codes", codes, code_length), code_length)


def user_words(codes: np.ndarray, code_length: int, popularity_bits: int) -> np.ndarray:
    """Packed codes of users as contiguous int64 words, checked.

    Returns:
        [m, ceil(f / 64)], or [m, P, ceil(f / 64)] with P > 1 planes, where all users have the same
        weight in all of the last `popularity_bits` dimensions.
    """
    name, codes = "user_codes", np.asarray(codes)
    checked = _planes if codes.ndim == 3 else packed_words
    words = _without_more_bits(name, checked(name, codes, code_length), code_length)
    if words.ndim == 3 and popularity_bits:
        values = popularity_values(name, words, code_length, popularity_bits)
        others = np.flatnonzero(values != values[:1])
        if len(others):
            raise ValueError(
                f"{name}: expected the same popularity weight in all codes, {values[0]} as in row "
                f"0, got {values[others[0]]} in row {others[0]}"
            )
    return words


def popularity_values(
    argument: str, planes: np.ndarray, code_length: int, popularity_bits: int
) -> np.ndarray:
    """V, the weight of graded codes [N, P, words] in all of their last g > 0 dimensions, int64 [N].

    A ValueError unless it is one and the same odd weight > 0 within each code.
    """
    mask = popularity_mask(code_length, popularity_bits)
    own = planes & mask
    is_set, is_not = (own == mask).all(axis=2), (own == 0).all(axis=2)
    wrong = np.flatnonzero(~((is_set | is_not).all(axis=1) & is_set[:, -1]))
    if len(wrong):
        raise ValueError(
            f"{argument}: expected one odd weight from 1 to "
            f"{largest_weight(levels_of(planes.shape[1]))} in all of the last {popularity_bits} "
            f"dimensions of a graded code, got others in row {wrong[0]}"
        )
    return (2 * is_set - 1) @ (1 << np.arange(planes.shape[1]))


def popularity_mask(code_length: int, popularity_bits: int) -> np.ndarray:
    """int64 [ceil(f / 64)], in which the last g bits of a code are set."""
    signs = np.full((1, code_length), -1, np.float32)
    signs[0, code_length - popularity_bits :] = 1
    return packed_signs("popularity_bits", signs, num_threads=1)[0]


def with_popularity(
    words: np.ndarray, code_length: int, popularity_bits: int, popularity_weight: float
) -> np.ndarray:
    """Queries as query_words gives them, with another weight of popularity in the last g > 0 bits.

    That of a graded query is relative to its own weight V there (see popularity_values); plain ones
    have V = 1, whatever their bits are.
    """
    planes = words if words.ndim == 3 else words[:, None]
    values = np.ones(len(words), np.int64)
    if words.ndim == 3:
        values = popularity_values("queries", planes, code_length, popularity_bits)
    mask = popularity_mask(code_length, popularity_bits)
    replaced = planes & ~mask
    for value in np.unique(values).tolist():
        weights = np.full((1, code_length), -1, np.float32)
        weights[0, code_length - popularity_bits :] = popularity_query_bits(
            popularity_bits, popularity_weight, value
        )
        own = pack_levels(weights, levels_of(planes.shape[1])) & mask
        replaced[values == value] |= own
    return replaced.reshape(words.shape)


def _planes(argument: str, codes: np.ndarray, code_length: int) -> np.ndarray:
    """Graded codes [N, P, words] as int64, without a copy; of one plane as plain ones."""
    width, (_, count, words) = (code_length + 63) // 64, codes.shape
    if codes.dtype not in (np.int64, np.uint64) or words != width or not 0 < count <= len(LEVELS):
        raise ValueError(
            f"{argument}: expected bit planes int64 [*, 1 to {len(LEVELS)}, {width}] (codes of "
            f"{code_length} bits), got {codes.dtype} {list(codes.shape)}"
        )
    planes = codes.view(np.int64)
    return planes[:, 0] if count == 1 else planes


def _without_more_bits(argument: str, words: np.ndarray, code_length: int) -> np.ndarray:
    """The words in contiguous memory; a ValueError for bits past the code length."""
    words = np.ascontiguousarray(words)
    used = code_length % 64
    if used and (words[..., -1].view(np.uint64) >> np.uint64(used)).any():
        raise ValueError(
            f"{argument}: expected zero bits past code_length {code_length}, got bits of a longer "
            "code"
        )
    return words


def _advice(codes: np.ndarray) -> str:
    return "; packed bytes are for codes_from_bytes" if codes.dtype.itemsize == 1 else ""
