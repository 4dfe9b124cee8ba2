"""Sizes of the benchmarks: those of a real data set, and generated interactions of that shape."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

from hashgcn.data import Interactions


class Shape(NamedTuple):
    users: int
    items: int
    pairs: int


GOWALLA = Shape(29_858, 40_981, 810_128)
TINY = Shape(300, 400, 4_000)  # for quick runs, which test the suite


@cache
def interactions(shape: Shape) -> Interactions:
    """Random pairs with long-tailed users and items, numbered by popularity."""
    rng = np.random.default_rng(0)

    def draw(count: int) -> np.ndarray:
        weight = (np.arange(count) + 30.0) ** -0.7
        return rng.choice(count, size=int(1.25 * shape.pairs), p=weight / weight.sum())

    users, items = draw(shape.users), draw(shape.items)
    pairs = np.unique(rng.permutation(shape.users)[users] * shape.items + items)
    pairs = np.sort(rng.permutation(pairs)[: shape.pairs])
    return Interactions.from_pairs(
        pairs // shape.items, pairs % shape.items, shape.users, shape.items
    )
