"""Raw ids of users and items: checked once, looked up by binary search."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike


def raw_ids(argument: str, ids: ArrayLike) -> np.ndarray:
    """Raw ids as an int64 or str array [len(ids)]; ValueError names `argument` otherwise."""
    # A list goes through objects: numpy alone would turn [1, "a"] into strings without a word.
    array = np.asarray(ids) if hasattr(ids, "dtype") else np.asarray(ids, dtype=object)
    if array.ndim != 1:
        raise ValueError(f"{argument}: expected a 1-d array of ids, got shape {array.shape}")
    if not len(array) and array.dtype.kind != "U":  # np.array([]) is of floats
        return np.zeros(0, dtype=np.int64)
    if array.dtype.kind in "OT":
        for kind, dtype in ((Integral, np.int64), (str, np.str_)):
            if all(isinstance(x, kind) and not isinstance(x, bool) for x in array):
                array = (
                    _to_int64(argument, array) if dtype is np.int64 else _to_str(argument, array)
                )
                break
    if array.dtype.kind == "U":
        return _text(argument, array)
    if array.dtype.kind in "iu":
        return _to_int64(argument, array)
    raise ValueError(f"{argument}: expected integers or strings, got {_describe(array)}")


def _describe(array: np.ndarray) -> str:
    if array.dtype.kind != "O":
        return str(array.dtype)
    return " and ".join(sorted({type(x).__name__ for x in array}))


def _to_int64(argument: str, array: np.ndarray) -> np.ndarray:
    if len(array) and not -(2**63) <= int(array.min()) <= int(array.max()) < 2**63:
        raise ValueError(f"{argument}: expected ids in the int64 range, got {array.max()}")
    return np.ascontiguousarray(array, dtype=np.int64)


def _to_str(argument: str, array: np.ndarray) -> np.ndarray:
    for text in array:
        if text.endswith("\0"):
            raise ValueError(f"{argument}: expected ids that do not end in NUL, got {text!r}")
    return array.astype(np.str_)  # would drop it, and make two ids one


def _text(argument: str, array: np.ndarray) -> np.ndarray:
    """The same, of characters that files of codes, which are UTF-8, can hold."""
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    points = array.view(np.uint32).reshape(len(array), array.itemsize // 4)
    if points.max(initial=0) >= 0xD800:
        lone = ((points >= 0xD800) & (points < 0xE000)).any(axis=1)
        if lone.any():
            raise ValueError(
                f"{argument}: expected ids without lone surrogates, got {array[lone].tolist()[0]!r}"
            )
    return array


def find(
    argument: str, known: np.ndarray, order: np.ndarray, ids: ArrayLike, owner: str
) -> np.ndarray:
    """Rows of ids among known ones, int64 [len(ids)], in their order; -1 for one that is not known.

    Args:
        argument: what errors call `ids`.
        known: int64, str or, for strings, their UTF-8 as bytes [n]; unique.
        order: argsort of known; what it finds is compared, so that a wrong one finds nothing, or is
            refused.
        ids: what is looked up, int or str as known is.
        owner: what errors call `known`.

    Raises:
        ValueError: ids of another kind, an order that is none.

    Cost: O(len(ids) log n).
    """
    wanted = raw_ids(argument, ids)
    if not len(wanted):
        return np.zeros(0, dtype=np.int64)
    if ("i" if known.dtype.kind == "i" else "U") != wanted.dtype.kind:
        kind = "int64" if known.dtype.kind == "i" else "str"
        raise ValueError(
            f"{argument}: expected ids of {owner} ({kind}), got {wanted.tolist()[0]!r}"
        )
    if known.dtype.kind == "S":
        wanted = np.char.encode(wanted, "utf-8")
    if not len(known):
        return np.full(len(wanted), -1)
    # In the dtype of known: a longer one would make searchsorted convert all of it.
    keys = wanted.astype(known.dtype, copy=False)
    try:
        at = np.searchsorted(known, keys, sorter=order)
    except ValueError as error:
        raise ValueError(f"expected an order of {owner}'s ids, got another: {error}") from error
    rows = order[np.minimum(at, len(known) - 1)]
    inside = (rows >= 0) & (rows < len(known))
    return np.where(inside & (known[np.where(inside, rows, 0)] == wanted), rows, -1)


def look_up(
    argument: str, known: np.ndarray, order: np.ndarray, ids: ArrayLike, owner: str
) -> np.ndarray:
    """Rows of ids as find gives them; ValueError names the first that is not known."""
    rows = find(argument, known, order, ids, owner)
    if (rows < 0).any():
        unknown = raw_ids(argument, ids)[rows < 0].tolist()[0]
        raise ValueError(f"{argument}: expected ids of {owner}, got {unknown!r}")
    return rows
