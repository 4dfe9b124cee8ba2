"""Graded codes: a few odd weights per dimension, and the bit planes that they are packed into.

A graded code of L levels holds one of the weights ±1, ±3, ..., ±(2L - 1) in every dimension; L = 1
gives the plain codes of +1 and -1. With P = log2(L) + 1, a weight is q = sum over p of 2^p b_p with
b_p = ±1. Plane p of a packed code holds the bits of b_p, each plane as a plain code is packed: the
last plane is the sign of every weight. The score of a graded code and a plain one of f bits is then

    sum_w q_w d_w = (2^P - 1) f - 2 distance,   distance = sum over p of 2^p hamming(b_p, d).
"""

from __future__ import annotations

from numbers import Integral

# A power of two each, so that every combination of planes is a weight.
LEVELS = (1, 2, 4, 8)


def check_levels(levels: int) -> None:
    """Raises a ValueError unless there are codes of so many levels."""
    if isinstance(levels, bool) or not isinstance(levels, Integral) or levels not in LEVELS:
        raise ValueError(f"levels: expected one of 1, 2, 4 and 8, got {levels!r}")


def num_planes(levels: int) -> int:
    """P, the number of bit planes of a code."""
    return int(levels).bit_length()


def largest_weight(levels: int) -> int:
    """2L - 1, the largest weight of a dimension."""
    return 2 * levels - 1


def levels_of(planes: int) -> int:
    """L, by the number of bit planes."""
    return 1 << planes - 1
