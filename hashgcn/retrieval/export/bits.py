"""Codes as other engines take them: bytes, and texts of zeros and ones."""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np

from hashgcn.retrieval.index import HammingIndex

CHUNK = 4096  # rows that are converted at a time


def code_bytes(words: np.ndarray, code_length: int) -> np.ndarray:
    """Converts packed codes to the bytes that other engines take.

    Args:
        words: int64 [N, ceil(f / 64)], packed (see pack_codes); or [N, P, ceil(f / 64)], bit planes
            (see pack_levels).
        code_length: f >= 1, the number of bits per code.

    Returns:
        uint8 [N, ceil(f / 8)] or [N, P, ceil(f / 8)]; np.unpackbits(..., axis=-1, count=f,
        bitorder="little") gives the bits. It is a view of words if these have as many bytes.

    Raises:
        ValueError: words of another shape or dtype.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.retrieval import pack_codes
        >>> from hashgcn.retrieval.export import bit_strings, code_bytes
        >>> words = pack_codes(np.array([[1, 1, -1, -1, -1, -1, -1, -1, 1]], np.int8))
        >>> code_bytes(words, code_length=9).tolist()
        [[3, 1]]
        >>> bit_strings(words, code_length=9)
        ['110000001']
    """
    width = (code_length + 63) // 64
    if words.dtype != np.int64 or words.ndim not in (2, 3) or words.shape[-1] != width:
        raise ValueError(
            f"words: expected int64 [*, {width}] (codes of {code_length} bits), "
            f"got {words.dtype} {list(words.shape)}"
        )
    little = np.ascontiguousarray(words, dtype="<i8")
    return np.ascontiguousarray(little.view(np.uint8)[..., : (code_length + 7) // 8])


def plain_bytes(index: HammingIndex) -> np.ndarray:
    """The bytes of an index, for engines that take plain codes alone."""
    if index.codes.ndim != 2:
        raise ValueError(
            "index: expected an index of plain codes, got graded users; their plain codes are "
            "Recommender.plain_user_codes"
        )
    return code_bytes(index.codes, index.code_length)


def bit_strings(words: np.ndarray, code_length: int) -> list[str]:
    """Converts packed codes to texts of f zeros and ones, dimension 0 first: PostgreSQL's bit(f).

    Args:
        words: int64 [N, ceil(f / 64)], as in code_bytes.
        code_length: as in code_bytes.

    Raises:
        ValueError: words of another shape or dtype.
    """
    bits = np.unpackbits(
        code_bytes(words, code_length), axis=1, count=code_length, bitorder="little"
    )
    return [row.tobytes().decode() for row in bits + np.uint8(ord("0"))]


def numeric_labels(index: HammingIndex) -> np.ndarray | None:
    """The int ids of an index, for engines that label rows by numbers; None if labels are rows."""
    ids = index.ids
    return None if ids.dtype.kind == "T" or np.array_equal(ids, np.arange(len(ids))) else ids


def imported(module: str, package: str) -> ModuleType:
    """An engine's Python module; an ImportError says which package to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{module} cannot be imported: pip install {package}") from error
