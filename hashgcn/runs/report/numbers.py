"""The numbers in the report of a run: distances, popularity, examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hashgcn.data import Interactions
from hashgcn.levels import largest_weight
from hashgcn.retrieval import Recommender
from hashgcn.retrieval.codes import unpack_codes, unpack_levels

# Number of users whose distances are counted.
_SAMPLE = 2000
_DECILES = 10


@dataclass(frozen=True)
class Distances:
    """Histograms of the distances between users and items.

    Attributes:
        counts: the number of user-item pairs at each distance, int64 [(2L - 1) f + 1] where users
            have L levels, for "test" items, "train" items and all "other" items of the users.
        users: the number of users.
    """

    counts: dict[str, np.ndarray]
    users: int

    def nearer(self) -> float:
        """The probability that a test item is nearer than an "other" one; a tie counts half."""
        test, other = self.counts["test"].astype(float), self.counts["other"].astype(float)
        further = other.sum() - np.cumsum(other)
        return float((test * (further + other / 2)).sum() / (test.sum() * other.sum()))


def distances(recommender: Recommender, train: Interactions, test: Interactions) -> Distances:
    """The distances of all items from up to 2,000 users with test items, evenly spaced by row."""
    with_test = np.flatnonzero(test.degrees())
    places = np.linspace(0, len(with_test) - 1, min(len(with_test), _SAMPLE)).astype(int)
    users = with_test[places]
    length = recommender.index.code_length
    most = largest_weight(recommender.levels) * length
    items, bars = unpack_codes(recommender.index.codes, length), most + 1
    counts = {name: np.zeros(bars, np.int64) for name in ("test", "train", "other")}
    for start in range(0, len(users), 64):
        batch = users[start : start + 64]
        codes = unpack_levels(recommender.user_codes[batch], length)
        found = ((most - codes @ items.T) / 2).astype(np.int64)
        counts["other"] += np.bincount(found.ravel(), minlength=bars)
        for name, part in (("test", test), ("train", train)):
            rows = np.repeat(np.arange(len(batch)), part.degrees()[batch])
            columns = [part.ids[part.ptr[u] : part.ptr[u + 1]] for u in batch]
            own = np.bincount(found[rows, np.concatenate(columns)], minlength=bars)
            counts[name] += own
            counts["other"] -= own
    return Distances(counts, len(users))


def decile_of_items(train: Interactions) -> np.ndarray:
    """The tenth of the catalogue that each item is in, int64 [n]; 0 is the most popular one."""
    order = np.argsort(-train.popularity(), kind="stable")
    tenth = np.empty(train.num_items, np.int64)
    tenth[order] = np.arange(train.num_items) * _DECILES // train.num_items
    return tenth


def shares(items: np.ndarray, tenth: np.ndarray) -> np.ndarray:
    """The share of `items` that falls into each tenth, float64 [10]; rows of -1 do not count."""
    counts = np.bincount(tenth[items[items >= 0]], minlength=_DECILES)
    return counts / max(counts.sum(), 1)


def coverage(items: np.ndarray, num_items: int) -> float:
    """The share of the catalogue that occurs among the item rows; rows of -1 do not count."""
    return len(np.unique(items[items >= 0])) / num_items


def example_items(train: Interactions, count: int) -> np.ndarray:
    """Up to `count` item rows from popular to rare, evenly spaced over the train pairs."""
    popularity = train.popularity()
    order = np.argsort(-popularity, kind="stable")
    wanted = (np.arange(count) + 0.5) / count * popularity.sum()
    found = np.searchsorted(np.cumsum(popularity[order]), wanted)
    return order[np.unique(np.minimum(found, len(order) - 1))]


def example_users(train: Interactions, test: Interactions, count: int) -> np.ndarray:
    """Up to `count` rows of users, from few train items to many.

    All have train items, and test items unless there are none at all.
    """
    degrees = train.degrees()
    known = np.flatnonzero((degrees > 0) & ((test.degrees() > 0) | (test.num_pairs == 0)))
    known = known[np.argsort(degrees[known], kind="stable")]
    places = (np.arange(count) + 0.5) / count * len(known)
    return known[np.unique(places.astype(int))] if len(known) else known


def neighbours(recommender: Recommender, items: np.ndarray, k: int) -> tuple[np.ndarray, ...]:
    """The rows and distances of the k other items nearest to each item, int [len(items), k]."""
    index = recommender.index
    own = index.ids[items][:, None]
    ids, found = index.search(index.codes[items], min(k, len(index) - 1), deny=own)
    return index.rows(ids.ravel()).reshape(ids.shape), found


def liked(train: Interactions, user: int, count: int) -> np.ndarray:
    """A user's latest train items, or the most popular ones if the order is not known."""
    pairs = slice(train.ptr[user], train.ptr[user + 1])
    items = train.ids[pairs]
    if train.order is not None:
        return items[np.argsort(-train.order[pairs], kind="stable")][:count]
    return items[np.argsort(-train.popularity()[items], kind="stable")][:count]
