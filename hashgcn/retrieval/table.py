"""The content of an index at one moment: codes and raw ids in rows, and the changes to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from hashgcn.data.ids import find, raw_ids
from hashgcn.retrieval.texts import Texts

Ids: TypeAlias = np.ndarray | Texts


@dataclass(frozen=True, eq=False)
class CodeTable:
    """Packed codes with raw ids. Nothing writes to the arrays, so searches need no lock.

    Attributes:
        words: int64 [n, w].
        ids: int64 [n] or n strings, unique. None if the id of an item is its row.
        order: int64 [n], the argsort of ids; None if ids is None.
        mapped: ids and order are as a file holds them, and have not been checked.
    """

    words: np.ndarray
    ids: Ids | None = None
    order: np.ndarray | None = None
    mapped: bool = False

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
            raise ValueError(f"ids: expected unique ids, got {repeated.tolist()[0]!r} twice")
        return cls(words, Texts.of(ids) if ids.dtype.kind == "T" else ids, order)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of a file: codes; ids, or text and offsets (see encode_ids); their order."""
        arrays = {"codes": self.words}
        if self.ids is None:
            return arrays
        assert self.order is not None  # because there are ids
        if isinstance(self.ids, Texts):
            arrays |= {"text": self.ids.text, "offsets": self.ids.offsets}
        else:
            arrays["ids"] = self.ids
        return {**arrays, "order": self.order}

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
        expected = {"order": ("int64", (n,))}
        if "text" in rest:
            expected |= {"text": ("uint8", (rest["text"].size,)), "offsets": ("int64", (n + 1,))}
        else:
            expected["ids"] = ("int64", (n,))
        if found != expected:
            raise ValueError(
                f"expected ids int64 [{n}], or text uint8 [*] and offsets int64 [{n + 1}], and "
                f"order int64 [{n}], got {found}"
            )
        order = rest["order"]
        ids = Texts(rest["text"], rest["offsets"]) if "text" in rest else rest["ids"]
        if mapped:
            return cls(words, ids, order, mapped=True)
        known = ids.strings() if isinstance(ids, Texts) else ids
        inside = ((order >= 0) & (order < n)).all()
        if not inside or not (known[order][1:] > known[order][:-1]).all():
            raise ValueError("order: expected one that sorts unique ids, got another")
        return cls(words, ids, order)

    def __len__(self) -> int:
        return len(self.words)

    def all_ids(self) -> np.ndarray:
        """The raw id of every row, int64 or StringDType [n]; strings are decoded, O(n)."""
        if self.ids is None:
            return np.arange(len(self))
        return self.ids.strings() if isinstance(self.ids, Texts) else self.ids

    def ids_of(self, rows: np.ndarray) -> np.ndarray:
        """Raw ids of rows, in any shape; -1 or "" for row -1."""
        if self.ids is None:
            return rows
        found = rows >= 0
        if isinstance(self.ids, Texts):
            texts = np.full(rows.shape, "", dtype=np.dtypes.StringDType())
            texts[found] = self.ids.of_rows(rows[found])
            return texts
        ids = np.full(rows.shape, -1)
        ids[found] = self.ids[rows[found]]
        return ids

    def find(
        self,
        argument: str,
        ids: ArrayLike | Iterable,
        *,
        unknown: bool = False,
        owner: str = "the index",
    ) -> np.ndarray:
        """Rows of raw ids, int64 [len(ids)].

        Args:
            argument: what errors call `ids`.
            ids: int or str, as the table's ids; an array or any other iterable.
            unknown: give -1 for an id that is not in the table, in place of a ValueError.
            owner: what errors call the table.
        """
        ids = raw_ids(argument, ids)
        if self.ids is None:
            _check_kind(argument, ids, "i", owner)
            ids = ids.astype(np.int64, copy=False)
            rows = np.where((ids >= 0) & (ids < len(self)), ids, -1)
        else:
            assert self.order is not None
            rows = _found(argument, self.ids, self.order, ids, owner)
        if not unknown and (rows < 0).any():
            first = ids[rows < 0].tolist()[0]
            raise ValueError(f"{argument}: expected ids of {owner}, got {first!r}")
        return rows

    def added(self, words: np.ndarray, ids: ArrayLike | None) -> CodeTable:
        """The table with more rows at the end; without ids only if it has none itself."""
        both = np.concatenate([self.words, words])
        if ids is None:
            if self.ids is not None:
                raise ValueError("ids: expected one per code for an index with ids, got none")
            return CodeTable(both)
        new = CodeTable.of(words, ids)
        new_ids, new_order = new._keys()
        if not len(self):  # an empty table takes ids of either kind
            return CodeTable(words, new_ids, new_order)
        if not len(new):
            return self
        mine, order = self._keys()
        if isinstance(mine, Texts) and isinstance(new_ids, Texts):
            places, known = mine.find(order, new_ids)
        else:
            raw = new.all_ids()
            known = _found("ids", mine, order, raw, "the index")
            places = np.searchsorted(self.all_ids(), raw, sorter=order)
        if (known >= 0).any():
            first = new.ids_of(np.flatnonzero(known >= 0)[:1]).tolist()[0]
            raise ValueError(f"ids: expected ids that the index lacks, got {first!r}")
        # New ids are inserted into the order of the old ones, which need not be sorted again.
        order = np.insert(order, places[new_order], new_order + len(mine))
        return CodeTable(both, _joined_ids(mine, new_ids), order)

    def without(self, rows: np.ndarray) -> CodeTable:
        """The table without some rows. Those below move up, and every item keeps its id."""
        ids, order = self._keys()
        kept = np.ones(len(self), dtype=bool)
        kept[rows] = False
        renumbered = np.cumsum(kept) - 1
        left = ids.kept(kept) if isinstance(ids, Texts) else ids[kept]
        return CodeTable(self.words[kept], left, renumbered[order[kept[order]]])

    def replaced(self, rows: np.ndarray, words: np.ndarray) -> CodeTable:
        """The table with other codes in some rows, which are unique."""
        changed = np.array(self.words)
        changed[rows] = words
        return CodeTable(changed, self.ids, self.order, self.mapped)

    def _keys(self) -> tuple[Ids, np.ndarray]:
        """The ids and their order, checked."""
        if self.ids is None:
            return np.arange(len(self)), np.arange(len(self))
        table = CodeTable.from_arrays(self.arrays(), mapped=False) if self.mapped else self
        assert table.ids is not None and table.order is not None
        return table.ids, table.order


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


def _joined_ids(first: Ids, second: Ids) -> Ids:
    """Ids of one kind, one after another."""
    if isinstance(first, Texts):
        assert isinstance(second, Texts)
        return first.followed_by(second)
    assert not isinstance(second, Texts)
    return np.concatenate([first, second])


def _found(argument: str, known: Ids, order: np.ndarray, ids: np.ndarray, owner: str) -> np.ndarray:
    """Rows of raw ids among known ones, -1 for one that is unknown."""
    if isinstance(known, Texts):
        _check_kind(argument, ids, "T", owner)
        return known.find(order, Texts.of(ids))[1] if len(ids) else np.zeros(0, np.int64)
    return find(argument, known, order, ids, owner)


def _check_kind(argument: str, ids: np.ndarray, kind: str, owner: str) -> None:
    if len(ids) and ids.dtype.kind != kind:
        name = {"i": "int64", "T": "str"}[kind]
        raise ValueError(f"{argument}: expected ids of {owner} ({name}), got {ids.tolist()[0]!r}")
