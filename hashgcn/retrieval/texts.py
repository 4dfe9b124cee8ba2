"""Raw ids that are strings, in plain arrays: what an index holds in memory and in its file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hashgcn import _numpy
from hashgcn.files import decode_ids, decode_texts, encode_ids


@dataclass(frozen=True, eq=False)
class Texts:
    """Strings one after another, at the cost of what they are long. Nothing writes to the arrays.

    Not arrays of NumPy's StringDType: they have locks, and a process that forks while a thread
    reads one would leave its lock held in the child for ever.

    Attributes:
        text: uint8 [bytes], the UTF-8 of all.
        offsets: int64 [n + 1]; string i is text[offsets[i]:offsets[i + 1]].
    """

    text: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, strings: np.ndarray) -> Texts:
        """Those of a StringDType array [n]."""
        return cls(**encode_ids(strings))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def strings(self) -> np.ndarray:
        """All of them, StringDType [n]; a ValueError if the arrays are damaged."""
        return decode_ids({"text": self.text, "offsets": self.offsets})

    def of_rows(self, rows: np.ndarray) -> np.ndarray:
        """Those of some rows [m], StringDType; a ValueError if the arrays are damaged there."""
        starts, ends = self.offsets[rows], self.offsets[rows + 1]
        if ((starts < 0) | (ends < starts) | (ends > len(self.text))).any():
            raise ValueError(f"offsets: expected them to rise from 0 to {len(self.text)}")
        return decode_texts(self.text, starts, ends)

    def find(self, order: np.ndarray, wanted: Texts) -> tuple[np.ndarray, np.ndarray]:
        """Looks strings up by binary search.

        Args:
            order: int64 [n], the rows in rising order of their strings. Hits are verified: with
                another order a string may be missed, but never gets the row of another one.
            wanted: m strings.

        Returns:
            int64 [m] each: the number of strings here that are smaller, and rows, -1 for none.
        """
        return _numpy.find_texts(self.text, self.offsets, order, wanted.text, wanted.offsets)

    def kept(self, mask: np.ndarray) -> Texts:
        """Those where the mask, bool [n], is True."""
        lengths = np.diff(self.offsets)
        offsets = np.concatenate([[0], np.cumsum(lengths[mask])])
        return Texts(self.text[np.repeat(mask, lengths)], offsets)

    def followed_by(self, other: Texts) -> Texts:
        """These, then the others."""
        text = np.concatenate([self.text, other.text])
        return Texts(text, np.concatenate([self.offsets, other.offsets[1:] + len(self.text)]))
