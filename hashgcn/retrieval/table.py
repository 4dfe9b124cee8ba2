"""What an index holds at one moment: codes and raw ids in rows, and how changes make the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.data.ids import find, raw_ids
from hashgcn.files import decode_ids


@dataclass(frozen=True, eq=False)
class CodeTable:
    """Packed codes with raw ids. Nothing writes to its arrays: a search reads one without a lock.

    Attributes:
        words: int64 [n, w].
        ids: int64 [n], str [n], or the UTF-8 of strings as bytes [n] (of a mapped file); unique.
            None: an item's id is its row.
        order: argsort of ids, int64 [n]; None with ids None.
    """

    words: np.ndarray
    ids: np.ndarray | None = None
    order: np.ndarray | None = None

    @classmethod
    def of(cls, words: np.ndarray, ids: ArrayLike | None) -> CodeTable:
        """Codes with ids in any order; ValueError if these are not as many, or not unique."""
        if ids is None or (isinstance(ids, range) and ids == range(len(words))):
            return cls(words)
        ids = raw_ids("ids", ids)
        if len(ids) != len(words):
            raise ValueError(f"expected ids for {len(words)} codes, got {len(ids)}")
        order = np.argsort(ids, kind="stable")
        ordered = ids[order]
        repeated = ordered[1:][ordered[1:] == ordered[:-1]]
        if len(repeated):
            raise ValueError(f"expected unique ids, got {repeated[0].item()!r} twice")
        return cls(words, ids, order)

    def arrays(self) -> dict[str, np.ndarray]:
        """What a file holds: codes; ids or, of strings, names (uint8 [n, bytes]); their order."""
        arrays = {"codes": self.words}
        if self.ids is None:
            return arrays
        assert self.order is not None  # as ids are there
        if self.ids.dtype.kind == "i":
            return {**arrays, "ids": self.ids, "order": self.order}
        # As many bytes for each: a mapped file is then an array of strings that NumPy can search,
        # and never larger than the strings are in memory.
        names = self.ids if self.ids.dtype.kind == "S" else np.char.encode(self.ids, "utf-8")
        names = np.ascontiguousarray(names).view(np.uint8).reshape(len(self), names.itemsize)
        return {**arrays, "names": names, "order": self.order}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], mapped: bool) -> CodeTable:
        """The inverse of arrays(), and of files of version 1; ValueError if they do not fit.

        Args:
            arrays: "codes" has been checked.
            mapped: take everything as it is; the order of ids is not read.
        """
        rest = dict(arrays)
        words, order = rest.pop("codes"), rest.pop("order", None)
        if not rest and order is None:
            return cls(words)
        if order is None:
            return cls.of(words, decode_ids(rest))
        n = len(words)
        found = {name: (x.dtype.name, x.shape) for name, x in {**rest, "order": order}.items()}
        kind, width = ("ids", ()) if "ids" in rest else ("names", rest["names"].shape[1:])
        dtype = {"ids": "int64", "names": "uint8"}[kind]
        expected = {kind: (dtype, (n, *width)), "order": ("int64", (n,))}
        if found != expected or (kind == "names" and not (len(width) == 1 and width[0] >= 1)):
            raise ValueError(
                f"expected ids int64 [{n}] or names uint8 [{n}, *], and order int64 [{n}], "
                f"got {found}"
            )
        ids = rest[kind]
        if kind == "names":
            # Not view: an array without rows has no bytes to view.
            ids = np.ndarray(n, f"S{width[0]}", ids) if n else np.zeros(0, f"S{width[0]}")
        if mapped:
            return cls(words, ids, order)
        ids = _decoded(ids)
        inside = ((order >= 0) & (order < n)).all()
        if not inside or not (ids[order][1:] > ids[order][:-1]).all():
            raise ValueError("expected an order that sorts unique ids, got another")
        return cls(words, ids, order)

    def __len__(self) -> int:
        return len(self.words)

    def all_ids(self) -> np.ndarray:
        """The raw id of every row, int64 or str [n]."""
        return np.arange(len(self)) if self.ids is None else _decoded(self.ids)

    def ids_of(self, rows: np.ndarray) -> np.ndarray:
        """Raw ids of rows, of any shape; -1 or "" for row -1."""
        if self.ids is None:
            return rows
        missing = -1 if self.ids.dtype.kind == "i" else ""
        ids = np.full(rows.shape, missing, dtype=self.ids.dtype)
        found = rows >= 0
        ids[found] = self.ids[rows[found]]
        return _decoded(ids)

    def find(self, argument: str, ids: ArrayLike, *, unknown: bool = False) -> np.ndarray:
        """Rows of raw ids, int64 [len(ids)]; ValueError names the first that is not in the table.

        Args:
            unknown: -1 for such an id instead.
        """
        if self.ids is not None:
            assert self.order is not None
            rows = find(argument, self.ids, self.order, ids, "the index")
        else:
            rows = raw_ids(argument, ids)
            if not len(rows):
                return np.zeros(0, dtype=np.int64)
            if rows.dtype.kind == "U":
                raise ValueError(
                    f"{argument}: expected ids of the index (int64), got {rows.tolist()[0]!r}"
                )
            rows = np.where((rows >= 0) & (rows < len(self)), rows, -1)
        if not unknown and (rows < 0).any():
            first = raw_ids(argument, ids)[rows < 0].tolist()[0]
            raise ValueError(f"{argument}: expected ids of the index, got {first!r}")
        return rows

    def added(self, words: np.ndarray, ids: ArrayLike | None) -> CodeTable:
        """With more rows at the end. Without ids only where there are none yet."""
        both = np.concatenate([self.words, words])
        if ids is None:
            if self.ids is not None:
                raise ValueError("expected ids for an index that has ids, got none")
            return CodeTable(both)
        new_ids, new_order = CodeTable.of(words, ids)._keys()
        if not len(self):
            return CodeTable(words, new_ids, new_order)  # of either kind
        mine, order = self._keys()
        known = find("ids", mine, order, new_ids, "the index")
        if (known >= 0).any():
            first = new_ids[known >= 0][0].item()
            raise ValueError(f"expected ids that the index lacks, got {first!r}")
        # New ids are put into the order of the old ones, which need not be sorted again.
        places = np.searchsorted(mine, new_ids[new_order], sorter=order)
        order = np.insert(order, places, new_order + len(mine))
        return CodeTable(both, np.concatenate([mine, new_ids]), order)

    def without(self, rows: np.ndarray) -> CodeTable:
        """Without rows; those below move up, and every item keeps its id."""
        ids, order = self._keys()
        kept = np.ones(len(self), dtype=bool)
        kept[rows] = False
        renumbered = np.cumsum(kept) - 1
        return CodeTable(self.words[kept], ids[kept], renumbered[order[kept[order]]])

    def replaced(self, rows: np.ndarray, words: np.ndarray) -> CodeTable:
        """With other codes in unique rows."""
        changed = np.array(self.words)
        changed[rows] = words
        return CodeTable(changed, self.ids, self.order)

    def _keys(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids that are neither None nor bytes, and their order."""
        if self.ids is None:
            return np.arange(len(self)), np.arange(len(self))
        assert self.order is not None
        return _decoded(self.ids), self.order


def joined(tables: Sequence[CodeTable]) -> CodeTable:
    """Tables one after another; without ids the rows are numbered on."""
    words = np.concatenate([table.words for table in tables])
    without = [table.ids is None for table in tables]
    if all(without):
        return CodeTable(words)
    ids = [table.all_ids() for table in tables]
    kinds = {array.dtype.kind for array in ids}
    if any(without) or len(kinds) > 1:
        raise ValueError(
            "expected indexes that all have int ids, all str ids or all none, got a mixture"
        )
    return CodeTable.of(words, np.concatenate(ids))


def _decoded(ids: np.ndarray) -> np.ndarray:
    if ids.dtype.kind != "S":
        return ids
    try:
        return np.char.decode(ids, "utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"ids: expected UTF-8, got {error}") from error
