"""A small generated data set with planted tastes."""

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
    """Generates users with one to three tastes, who choose items of a long-tailed popularity.

    An item has the weight 1 / (rank inside its taste + 3). A user spreads 1 - noise of their
    interest over their tastes and the rest over the catalogue, then draws items by weight, without
    replacement. Raw ids look like "user-0042" and "jazz-017".

    Args:
        seed: in [0, 2^64); equal arguments give equal data.
        num_users: at least 1.
        num_items: at least 15, split evenly over 15 tastes; items that nobody draws are left out.
        mean_degree: in [5, num_items], the mean number of items per user; each has at least 5.
        noise: in [0.001, 1], the share of a user's interest that lies outside their tastes.

    Returns:
        Dataset "sample", whose test pairs are a random 20% of each user's items.

    Raises:
        ValueError: an argument out of range.

    Examples:
        >>> from hashgcn.data import generate_sample
        >>> generate_sample(num_users=40, num_items=30, mean_degree=8)
        Dataset('sample', 40 users, 30 items, 246 train and 61 test pairs)

    Note:
        Time and memory: O(num_users num_items).
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
    # The smallest exponential variables with rates w are a weighted draw without replacement.
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
    # From uniform numbers, because NumPy may change the stream of its own exponentials.
    return -np.log1p(-rng.random(shape))
