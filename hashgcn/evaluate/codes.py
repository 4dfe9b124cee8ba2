"""What codes waste: dead bits, bits that copy others, and codes that several rows share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from hashgcn.data import Interactions
from hashgcn.ops import unpack_codes

# A bit that differs for fewer than 1% of the codes is constant, as one that has the same value or
# the other one in 99.5% of them, a correlation of 0.99, copies another.
_SAME, _COPY = 0.99, 0.99
# Rows of whose bits correlations are taken: their standard error is then below 0.004, and below
# 0.0001 for a correlation of 0.99.
_SAMPLE = 1 << 16
_ROWS = 1 << 12  # that are unpacked at a time; sums over them are exact in float32


@dataclass(frozen=True)
class Bits:
    """How a set of codes uses its bits.

    Attributes:
        share: float64 [f], the share of codes in which each bit is set.
        correlation: float64 [f, f], the correlation of each pair of bits; 0 for bits that are the
            same in all codes.
        distinct: the number of different codes.
        shared: the share of codes that equal another one.
    """

    share: np.ndarray
    correlation: np.ndarray
    distinct: int
    shared: float

    @property
    def constant(self) -> np.ndarray:
        """bool [f], True for bits that are the same in at least 99% of the codes."""
        return np.maximum(self.share, 1 - self.share) >= _SAME

    @property
    def copies(self) -> np.ndarray:
        """bool [f], True for bits that equal an earlier one or its complement.

        That is a correlation of at least 0.99 or at most -0.99. Constant bits copy none.
        """
        varies = ~self.constant
        alike = (np.abs(self.correlation) >= _COPY) & varies & varies[:, None]
        return np.tril(alike, -1).any(1)

    @property
    def mean_correlation(self) -> float:
        """The mean absolute correlation of all pairs of bits that vary; 0 if there are none."""
        varying = (self.share > 0) & (self.share < 1)
        of_pairs = np.abs(self.correlation[np.ix_(varying, varying)])
        count = len(of_pairs)
        return float((of_pairs.sum() - count) / (count * (count - 1))) if count > 1 else 0.0


@dataclass(frozen=True)
class CodeUse:
    """What codes waste. Taste bits are all but the popularity bits.

    Attributes:
        constant_user_bits: number of taste bits whose sign is the same for at least 99% of users:
            they rank all items alike for everybody, as popularity bits do.
        constant_item_bits: number of taste bits that are the same for at least 99% of items: they
            tell none apart.
        copied_item_bits: number of taste bits of items that copy an earlier one or its complement
            (|correlation| >= 0.99), and are not constant.
        shared_users, shared_items: share of users, and of items, whose code another one has.
    """

    constant_user_bits: int
    constant_item_bits: int
    copied_item_bits: int
    shared_users: float
    shared_items: float


def bits_of(words: np.ndarray, code_length: int) -> Bits:
    """The balance and correlation of the bits of packed codes, and how many codes differ.

        >>> import numpy as np
        >>> from hashgcn.evaluate import bits_of
        >>> from hashgcn.retrieval import pack_codes
        >>> found = bits_of(pack_codes(np.array([[1.0, -1], [1, -1], [-1, 1]])), code_length=2)
        >>> found.share.round(2).tolist(), found.copies.tolist(), round(found.shared, 2)
        ([0.67, 0.33], [False, True], 0.67)

    Args:
        words: int64 [N, ceil(f / 64)], packed codes; or [N, P, ceil(f / 64)], the bit planes of
            graded codes, of which `share` and `correlation` take the last, the signs, while codes
            are equal if all planes are.
        code_length: f >= 1.

    Returns:
        Bits. Correlations are those of all codes, or of every N / 65,536th if there are more.

    Raises:
        ValueError: words of another shape or dtype, or with bits past the code length.

    Deterministic. Cost: O(N f), a sort of N codes, and f^2 products for up to 65,536 of them.
    """
    signs = words if words.ndim == 2 else words[:, -1]
    step = max(1, -(-len(words) // _SAMPLE))
    share, mean = np.zeros(code_length), np.zeros(code_length)
    product, sampled = np.zeros((code_length, code_length)), 0
    for start in range(0, len(signs), _ROWS * step):
        part = np.array(signs[start : start + _ROWS * step])  # writable, as torch wants it
        codes = unpack_codes(torch.from_numpy(part), code_length).numpy()
        share += np.count_nonzero(codes > 0, 0)
        codes = codes[::step]
        mean += codes.sum(0)
        product += codes.T @ codes
        sampled += len(codes)
    mean, product = mean / max(sampled, 1), product / max(sampled, 1)
    spread = np.sqrt(np.maximum(1 - mean**2, 0))
    scale = np.divide(1, spread, out=np.zeros(code_length), where=spread > 0)
    correlation = (product - np.outer(mean, mean)) * np.outer(scale, scale)
    return Bits(share / max(len(words), 1), correlation, *_different(words))


def code_use(
    users: np.ndarray, items: np.ndarray, code_length: int, popularity_bits: int = 0
) -> CodeUse:
    """What the codes of users and items waste.

        >>> import numpy as np
        >>> from hashgcn.evaluate import code_use
        >>> from hashgcn.retrieval import pack_codes
        >>> users = pack_codes(np.array([[1.0, -1, 1], [1, 1, -1]]))
        >>> items = pack_codes(np.array([[1.0, -1, 1], [-1, 1, -1], [-1, 1, -1]]))
        >>> code_use(users, items, 3)
        CodeUse(constant_user_bits=1, constant_item_bits=0, copied_item_bits=2, \
shared_users=0.0, shared_items=0.6666666666666666)

    Args:
        users: int64 [m, ceil(f / 64)], or [m, P, ceil(f / 64)] for graded users.
        items: int64 [n, ceil(f / 64)].
        code_length: f, of which the last `popularity_bits` say how popular an item is.

    Raises:
        ValueError: as bits_of.

    Cost: that of bits_of for users and for items.
    """
    of_users, of_items = (bits_of(words, code_length) for words in (users, items))
    taste = slice(0, code_length - popularity_bits)
    return CodeUse(
        constant_user_bits=int(of_users.constant[taste].sum()),
        constant_item_bits=int(of_items.constant[taste].sum()),
        copied_item_bits=int(of_items.copies[taste].sum()),
        shared_users=of_users.shared,
        shared_items=of_items.shared,
    )


def twins(train: Interactions) -> tuple[float, float]:
    """The share of users whose items are those of another user, and so of items by their users.

    A graph tells twins apart by nothing: a code that they share is no waste of bits. Users and
    items without pairs do not count.

        >>> from hashgcn.data import Interactions
        >>> from hashgcn.evaluate import twins
        >>> twins(Interactions.from_pairs([0, 0, 1, 1, 2], [0, 1, 0, 1, 2], 3, 3))
        (0.6666666666666666, 0.6666666666666666)

    Args:
        train: the pairs.

    Sets of partners are compared by 64-bit sums of random keys: two of a million differ, but seem
    equal, with a probability of 3e-8. Deterministic. Cost: O(pairs), and a sort of the sums.
    """
    turned = Interactions.from_pairs(train.ids, train.users(), train.num_items, train.num_users)
    return _twins(train), _twins(turned)


def _twins(part: Interactions) -> float:
    keys = np.random.default_rng(0).integers(-(2**63), 2**63, part.num_items, np.int64)
    sums = np.append(0, np.cumsum(keys[part.ids], dtype=np.int64))  # modulo 2^64
    own = (sums[part.ptr[1:]] - sums[part.ptr[:-1]])[part.degrees() > 0]
    return _different(own[:, None])[1]


def _different(words: np.ndarray) -> tuple[int, float]:
    """The number of different codes, and the share of codes that equal another one."""
    if not len(words):
        return 0, 0.0
    rows = words.reshape(len(words), -1)
    ordered = rows[np.lexsort(rows.T)]
    first = np.append(True, (ordered[1:] != ordered[:-1]).any(1))
    alone = first & np.append(first[1:], True)
    return int(first.sum()), int((~alone).sum()) / len(rows)
