"""The content of an index at one moment: codes and raw ids in rows, and the changes to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.data.ids import find, raw_ids


@dataclass(frozen=True, eq=False)
class CodeTable:
    """Packed codes with raw ids. Nothing writes to the arrays, so searches need no lock.

    Attributes:
        words: int64 [n, w].
        ids: int64 [n], str [n], or the UTF-8 of strings as bytes [n] (in a mapped file); unique.
            None if the id of an item is its row.
        order: int64 [n], the argsort of ids; None if ids is None.
    """

    words: np.ndarray
    ids: np.ndarray | None = None
    order: np.ndarray | None = None

    @classmethod
    def of(cls, words: np.ndarray, ids: ArrayLike | None) -> CodeTable:
        """A table of codes with ids in any order; a ValueError unless there is one id per code."""
        if ids is None or (isinstance(ids, range) and ids == range(len(words))):
            return cls(words)
        ids = raw_ids("ids", ids)
        if len(ids) != len(words):
            raise ValueError(f"ids: expected {len(words)}, one per code, got {len(ids)}")
        order = np.argsort(ids, kind="stable")
        ordered = ids[order]
        repeated = ordered[1:][ordered[1:] == ordered[:-1]]
        if len(repeated):
            raise ValueError(f"ids: expected unique ids, got {repeated[0].item()!r} twice")
        return cls(words, ids, order)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of a file: codes; ids (int64) or names (uint8 [n, bytes]); their order."""
        arrays = {"codes": self.words}
        if self.ids is None:
            return arrays
        assert self.order is not None  # because there are ids
        if self.ids.dtype.kind == "i":
            return {**arrays, "ids": self.ids, "order": self.order}
        # The same number of bytes per name: a mapped file is then an array of strings that NumPy
        # can search, and never larger than the strings are in memory.
        names = self.ids if self.ids.dtype.kind == "S" else np.char.encode(self.ids, "utf-8")
        names = np.ascontiguousarray(names).view(np.uint8).reshape(len(self), names.itemsize)
        return {**arrays, "names": names, "order": self.order}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], mapped: bool) -> CodeTable:
        """The inverse of `arrays`; a ValueError if the arrays do not fit together.

        Args:
            arrays: as in a file; "codes" has been checked.
            mapped: take the arrays as they are, without reading the order of ids.
        """
        rest = dict(arrays)
        words = rest.pop("codes")
        if not rest:
            return cls(words)
        n = len(words)
        found = {name: (x.dtype.name, x.shape) for name, x in rest.items()}
        kind, width = ("names", rest["names"].shape[1:]) if "names" in rest else ("ids", ())
        dtype = {"ids": "int64", "names": "uint8"}[kind]
        expected = {kind: (dtype, (n, *width)), "order": ("int64", (n,))}
        if found != expected or (kind == "names" and not (len(width) == 1 and width[0] >= 1)):
            raise ValueError(
                f"expected ids int64 [{n}] or names uint8 [{n}, *], and order int64 [{n}], "
                f"got {found}"
            )
        ids, order = rest[kind], rest["order"]
        if kind == "names":
            # Not a view: an array without rows has no bytes to view.
            ids = np.ndarray(n, f"S{width[0]}", ids) if n else np.zeros(0, f"S{width[0]}")
        if mapped:
            return cls(words, ids, order)
        ids = _decoded(ids)
        inside = ((order >= 0) & (order < n)).all()
        if not inside or not (ids[order][1:] > ids[order][:-1]).all():
            raise ValueError("order: expected one that sorts unique ids, got another")
        return cls(words, ids, order)

    def __len__(self) -> int:
        return len(self.words)

    def all_ids(self) -> np.ndarray:
        """The raw id of every row, int64 or str [n]."""
        return np.arange(len(self)) if self.ids is None else _decoded(self.ids)

    def ids_of(self, rows: np.ndarray) -> np.ndarray:
        """Raw ids of rows, in any shape; -1 or "" for row -1."""
        if self.ids is None:
            return rows
        missing = -1 if self.ids.dtype.kind == "i" else ""
        ids = np.full(rows.shape, missing, dtype=self.ids.dtype)
        found = rows >= 0
        ids[found] = self.ids[rows[found]]
        return _decoded(ids)

    def find(
        self, argument: str, ids: ArrayLike | Iterable, *, unknown: bool = False
    ) -> np.ndarray:
        """Rows of raw ids, int64 [len(ids)].

        Args:
            argument: what errors call `ids`.
            ids: int or str, as the table's ids; an array or any other iterable.
            unknown: give -1 for an id that is not in the table, in place of a ValueError.
        """
        ids = raw_ids(argument, ids)
        if self.ids is not None:
            assert self.order is not None
            rows = find(argument, self.ids, self.order, ids, "the index")
        else:
            if ids.dtype.kind == "U" and len(ids):
                raise ValueError(
                    f"{argument}: expected ids of the index (int64), got {ids.tolist()[0]!r}"
                )
            ids = ids.astype(np.int64, copy=False)
            rows = np.where((ids >= 0) & (ids < len(self)), ids, -1)
        if not unknown and (rows < 0).any():
            first = ids[rows < 0].tolist()[0]
            raise ValueError(f"{argument}: expected ids of the index, got {first!r}")
        return rows

    def added(self, words: np.ndarray, ids: ArrayLike | None) -> CodeTable:
        """The table with more rows at the end; without ids only if it has none itself."""
        both = np.concatenate([self.words, words])
        if ids is None:
            if self.ids is not None:
                raise ValueError("ids: expected one per code for an index with ids, got none")
            return CodeTable(both)
        new_ids, new_order = CodeTable.of(words, ids)._keys()
        if not len(self):
            return CodeTable(words, new_ids, new_order)  # an empty table takes ids of either kind
        mine, order = self._keys()
        known = find("ids", mine, order, new_ids, "the index")
        if (known >= 0).any():
            first = new_ids[known >= 0][0].item()
            raise ValueError(f"ids: expected ids that the index lacks, got {first!r}")
        # New ids are inserted into the order of the old ones, which need not be sorted again.
        places = np.searchsorted(mine, new_ids[new_order], sorter=order)
        order = np.insert(order, places, new_order + len(mine))
        return CodeTable(both, np.concatenate([mine, new_ids]), order)

    def without(self, rows: np.ndarray) -> CodeTable:
        """The table without some rows. Those below move up, and every item keeps its id."""
        ids, order = self._keys()
        kept = np.ones(len(self), dtype=bool)
        kept[rows] = False
        renumbered = np.cumsum(kept) - 1
        return CodeTable(self.words[kept], ids[kept], renumbered[order[kept[order]]])

    def replaced(self, rows: np.ndarray, words: np.ndarray) -> CodeTable:
        """The table with other codes in some rows, which are unique."""
        changed = np.array(self.words)
        changed[rows] = words
        return CodeTable(changed, self.ids, self.order)

    def _keys(self) -> tuple[np.ndarray, np.ndarray]:
        """The ids as int64 or str, and their order."""
        if self.ids is None:
            return np.arange(len(self)), np.arange(len(self))
        assert self.order is not None
        return _decoded(self.ids), self.order


def joined(tables: Sequence[CodeTable]) -> CodeTable:
    """Tables one after another; without ids the rows are numbered consecutively."""
    words = np.concatenate([table.words for table in tables])
    without = [table.ids is None for table in tables]
    if all(without):
        return CodeTable(words)
    ids = [table.all_ids() for table in tables]
    kinds = {array.dtype.kind for array in ids}
    if any(without) or len(kinds) > 1:
        raise ValueError(
            "indexes: expected int ids in all, str ids in all or ids in none, got a mixture"
        )
    return CodeTable.of(words, np.concatenate(ids))


def _decoded(ids: np.ndarray) -> np.ndarray:
    if ids.dtype.kind != "S":
        return ids
    if not ids.size:  # NumPy 1.26 would give floats
        return np.zeros(ids.shape, dtype=np.str_)
    try:
        return np.char.decode(ids, "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"ids: expected UTF-8, got {error}") from error
