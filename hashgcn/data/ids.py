"""Raw ids of users and items: checked once, then looked up by binary search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike

# Text of any length at the cost of its own bytes: one long id does not widen the others.
TEXT = np.dtypes.StringDType()


def raw_ids(argument: str, ids: ArrayLike | Iterable) -> np.ndarray:
    """Raw ids as an array.

    Args:
        argument: what errors call `ids`.
        ids: integers in the range of int64, or strings: an array or any other iterable.

    Returns:
        int64 or StringDType [len(ids)]; int64 if there are none.

    Raises:
        ValueError: ids that are neither all integers nor all strings, or that contain lone
            surrogates (UTF-8 has none).

    Examples:
        >>> from hashgcn.data.ids import raw_ids
        >>> raw_ids("users", [3, 1]).tolist()
        [3, 1]
        >>> raw_ids("users", ["fig", "kiwi"])
        array(['fig', 'kiwi'], dtype=StringDType())
        >>> raw_ids("users", [3, "a"])
        Traceback (most recent call last):
        ValueError: users: expected integers or strings, got int and str
    """
    if isinstance(ids, (str, bytes, Mapping)):
        raise ValueError(f"{argument}: expected a list or an array of ids, got {_kind(ids)}")
    if hasattr(ids, "dtype"):
        array = np.asarray(ids)
    else:
        if isinstance(ids, Iterable) and not hasattr(ids, "__array__"):
            ids = list(ids)
        # Through objects: NumPy alone would silently turn [1, "a"] into strings.
        array = np.asarray(ids, dtype=object)
    if array.ndim != 1:
        raise ValueError(f"{argument}: expected a 1-d array of ids, got shape {array.shape}")
    if array.dtype == TEXT:
        return np.ascontiguousarray(array)
    if not len(array) and array.dtype.kind != "U":  # np.array([]) holds floats
        return np.zeros(0, dtype=np.int64)
    if array.dtype.kind in "iu":
        return _to_int64(argument, array)
    if array.dtype.kind == "U":
        return _to_text(argument, array)
    if array.dtype.kind in "OT":
        array = array.astype(object)  # a StringDType with missing values among them
        if all(isinstance(x, Integral) and not isinstance(x, bool) for x in array):
            return _to_int64(argument, array)
        if all(isinstance(x, str) for x in array):
            return _to_text(argument, array)
    kinds = sorted({_kind(x) for x in array}) if array.dtype.kind == "O" else [str(array.dtype)]
    advice = ""
    if array.dtype.kind == "f":
        advice = (
            "; integers become floats where one is missing: leave those out, then convert with "
            "astype('int64')"
        )
    raise ValueError(f"{argument}: expected integers or strings, got {' and '.join(kinds)}{advice}")


def _kind(value: object) -> str:
    return type(value).__name__


def _to_int64(argument: str, array: np.ndarray) -> np.ndarray:
    if len(array) and not -(2**63) <= int(array.min()) <= int(array.max()) < 2**63:
        raise ValueError(f"{argument}: expected ids in the int64 range, got {array.max()}")
    return np.ascontiguousarray(array, dtype=np.int64)


def _to_text(argument: str, array: np.ndarray) -> np.ndarray:
    try:
        return array.astype(TEXT)
    except (UnicodeEncodeError, TypeError):  # of strings as objects, of NumPy's fixed-width ones
        for text in array.tolist():
            if any("\ud800" <= x <= "\udfff" for x in text):
                raise ValueError(
                    f"{argument}: expected ids without lone surrogates, got {text!r}"
                ) from None
        raise


def find(
    argument: str, known: np.ndarray, order: np.ndarray, ids: ArrayLike | Iterable, owner: str
) -> np.ndarray:
    """Finds the rows of ids among known ones.

    Args:
        argument: what errors call `ids`.
        known: int64 or StringDType [n], unique.
        order: argsort of `known`. Hits are verified, so a corrupt order can miss ids but never
            gives a wrong row.
        ids: int or str, as `known`; an array or any other iterable.
        owner: what errors call `known`.

    Returns:
        int64 [len(ids)], rows of `known` in the order of `ids`; -1 for an unknown id.

    Raises:
        ValueError: ids of another kind, or an order that is not one.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.data.ids import find, raw_ids
        >>> known = raw_ids("items", ["pear", "apple", "fig"])
        >>> find("items", known, np.argsort(known), ["fig", "kiwi"], "the shop").tolist()
        [2, -1]

    Note:
        Cost: O(len(ids) log n).
    """
    wanted = raw_ids(argument, ids)
    if not len(wanted):
        return np.zeros(0, dtype=np.int64)
    if known.dtype.kind != wanted.dtype.kind:
        kind = "int64" if known.dtype.kind == "i" else "str"
        raise ValueError(
            f"{argument}: expected ids of {owner} ({kind}), got {wanted.tolist()[0]!r}"
        )
    if not len(known):
        return np.full(len(wanted), -1)
    try:
        if known.dtype.kind == "T":
            at = _places(known, order, wanted)
        else:
            at = np.searchsorted(known, wanted, sorter=order)
    except (IndexError, ValueError) as error:
        raise ValueError(f"expected an order of {owner}'s ids, got another: {error}") from error
    rows = order[np.minimum(at, len(known) - 1)]
    inside = (rows >= 0) & (rows < len(known))
    return np.where(inside & (known[np.where(inside, rows, 0)] == wanted), rows, -1)


def _places(known: np.ndarray, order: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """What np.searchsorted would give, which reads StringDType out of bounds (NumPy 2.4)."""
    low, high = np.zeros(len(wanted), np.int64), np.full(len(wanted), len(known))
    for _ in range(len(known).bit_length()):
        middle, left = (low + high) // 2, low < high
        less = left & (known[order[np.minimum(middle, len(known) - 1)]] < wanted)
        low = np.where(less, middle + 1, low)
        high = np.where(left & ~less, middle, high)
    return low


def look_up(
    argument: str, known: np.ndarray, order: np.ndarray, ids: ArrayLike | Iterable, owner: str
) -> np.ndarray:
    """Finds the rows of ids as `find` does; a ValueError names the first unknown id."""
    ids = raw_ids(argument, ids)
    rows = find(argument, known, order, ids, owner)
    if (rows < 0).any():
        raise ValueError(f"{argument}: expected ids of {owner}, got {ids[rows < 0].tolist()[0]!r}")
    return rows
