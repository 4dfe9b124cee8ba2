"""A small generated dataset with planted tastes."""

from __future__ import annotations

import numpy as np

from hashgcn.data.interactions import Dataset, Interactions

_TASTES = (
    "jazz",
    "sci-fi",
    "cooking",
    "hiking",
    "techno",
    "history",
    "anime",
    "gardening",
    "opera",
    "western",
    "chess",
    "photography",
    "metal",
    "poetry",
    "cycling",
)
_LEAST = 5


def generate_sample(
    seed: int = 0,
    num_users: int = 2000,
    num_items: int = 1500,
    mean_degree: float = 35.0,
    noise: float = 0.1,
) -> Dataset:
    """Users with one to three tastes choose items of a long-tailed popularity.

    An item's weight is 1 / (rank inside its taste + 3). A user spreads 1 - noise of its interest
    over its tastes and the rest over the catalogue, then draws items by weight, without
    replacement. Raw ids read as "user-0042" and "jazz-017".

    Args:
        seed: in [0, 2^64).
        num_users: at least 1.
        num_items: at least 15, split evenly over 15 tastes; items that nobody draws are left out.
        mean_degree: in [5, num_items], the mean number of items of a user, who has at least 5.
        noise: in [0.001, 1], the share of interest outside the user's tastes.

    Returns:
        Dataset "sample": 20% of each user's items, at random, are its test items.

    Raises:
        ValueError: an argument out of range.

    Deterministic given the arguments. Cost: O(num_users num_items) time and memory.
    """
    for argument, value, low, high in (
        ("seed", seed, 0, 2**64 - 1),
        ("num_users", num_users, 1, np.inf),
        ("num_items", num_items, len(_TASTES), np.inf),
        ("mean_degree", mean_degree, _LEAST, num_items),
        ("noise", noise, 0.001, 1),
    ):
        if not low <= value <= high:
            raise ValueError(f"{argument}: expected a number in [{low}, {high}], got {value}")

    rng = np.random.default_rng(seed)
    taste = np.arange(num_items) % len(_TASTES)
    weight = 1 / (np.arange(num_items) // len(_TASTES) + 3)
    weight /= np.bincount(taste, weight)[taste]

    liked = np.argsort(rng.random((num_users, len(_TASTES))), axis=1)
    interest = np.zeros((num_users, len(_TASTES)))
    shares = _exponential(rng, (num_users, 3))
    shares *= np.arange(3) < 1 + (3 * rng.random((num_users, 1))).astype(int)
    np.put_along_axis(interest, liked[:, :3], shares / shares.sum(axis=1, keepdims=True), axis=1)
    interest = (1 - noise) * interest + noise / len(_TASTES)

    degrees = _LEAST + (mean_degree - _LEAST) * _exponential(rng, num_users)
    degrees = np.minimum(degrees.astype(int), num_items)
    # The smallest of exponentials with rates w are a draw by weight without replacement.
    arrival = _exponential(rng, (num_users, num_items)) / (interest[:, taste] * weight)
    rank = np.argsort(np.argsort(arrival, axis=1), axis=1)
    users, items = np.nonzero(rank < degrees[:, None])

    kept, held = Interactions.from_pairs(users, items, num_users, num_items).split(0.2, seed)
    user_ids = np.array([f"user-{row:04d}" for row in range(num_users)])
    item_ids = np.array(
        [f"{_TASTES[taste[row]]}-{row // len(_TASTES) + 1:03d}" for row in range(num_items)]
    )
    return Dataset.from_pairs(
        "sample",
        (user_ids[kept.users()], item_ids[kept.ids]),
        (user_ids[held.users()], item_ids[held.ids]),
    )


def _exponential(rng: np.random.Generator, shape: int | tuple[int, ...]) -> np.ndarray:
    # From uniform numbers: NumPy may change the stream of its own exponentials.
    return -np.log1p(-rng.random(shape))
