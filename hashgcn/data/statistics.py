"""Statistics of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from hashgcn.data.interactions import Dataset

QUANTILES = (0, 0.25, 0.5, 0.75, 0.9, 0.99, 1)


def describe(data: Dataset) -> dict[str, Any]:
    """Counts users, items and pairs, and gives quantiles of their degrees in train.

    The density is train pairs / (users items). The q-quantile of N degrees is the smallest degree
    that at least q N of them do not exceed. A test pair is unknown to train if its user or its item
    has no train pair.

    Returns:
        A dict with the keys users, items, events (pairs and what was left out), train_pairs,
        test_pairs, density, order_in_time_known (whether that of each user's train items is),
        left_out (see Dataset),
        users_without_train, items_without_train, test_pairs_unknown_to_train, user_degrees and
        item_degrees, each {"mean": ..., "min": ..., "25%": ..., ..., "max": ...}, largest_users,
        the 5 users with most train pairs, each {"user": id, "train_pairs": ..., "share": ...}, and
        share_of_largest_users, the share of train pairs that 1% of the users, rounded up, have.

    Examples:
        >>> from hashgcn.data import Dataset, describe
        >>> found = describe(Dataset.from_pairs("toy", ([1, 1, 2], [7, 8, 7]), ([2], [8])))
        >>> found["train_pairs"], found["density"], found["user_degrees"]["mean"]
        (3, 0.75, 1.5)

    Note:
        Cost: O(pairs + N log N) for N users or items.
    """
    users, items = data.train.degrees(), data.train.popularity()
    unknown = (users[data.test.users()] == 0) | (items[data.test.ids] == 0)
    cells = len(users) * len(items)
    largest = np.argsort(-users, kind="stable")
    pairs = max(data.train.num_pairs, 1)
    return {
        "users": len(users),
        "items": len(items),
        "events": data.train.num_pairs + data.test.num_pairs + sum(data.left_out.values()),
        "train_pairs": data.train.num_pairs,
        "test_pairs": data.test.num_pairs,
        "density": data.train.num_pairs / cells if cells else 0.0,
        "order_in_time_known": data.train.order is not None,
        "left_out": dict(data.left_out),
        "users_without_train": int((users == 0).sum()),
        "items_without_train": int((items == 0).sum()),
        "test_pairs_unknown_to_train": int(unknown.sum()),
        "user_degrees": _quantiles(users),
        "item_degrees": _quantiles(items),
        "largest_users": [
            {
                "user": data.user_ids[row : row + 1].tolist()[0],
                "train_pairs": int(users[row]),
                "share": int(users[row]) / pairs,
            }
            for row in largest[:5].tolist()
        ],
        "share_of_largest_users": int(users[largest[: -(-len(users) // 100)]].sum()) / pairs,
    }


def _quantiles(degrees: np.ndarray) -> dict[str, float]:
    values = np.quantile(degrees, QUANTILES, method="inverted_cdf").tolist()
    names: dict[float, str] = {0: "min", 1: "max"}
    found = {names.get(q, f"{q:.0%}"): int(v) for q, v in zip(QUANTILES, values, strict=True)}
    return {"mean": round(float(degrees.mean()), 3), **found}
