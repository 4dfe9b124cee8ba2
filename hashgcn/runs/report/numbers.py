"""What a run's report shows, in numbers: bits, distances, popularity, examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hashgcn.data import Interactions
from hashgcn.retrieval import Recommender
from hashgcn.retrieval.codes import unpack

# Users of a sample, and bars of a histogram of real-valued scores.
_SAMPLE = 2000
_BARS = 60
_DECILES = 10


@dataclass(frozen=True)
class Bits:
    """How the bits of a set of codes are used.

    Args:
        share: of the codes that have the bit set, float64 [f].
        correlation: of each two bits, float64 [f, f]; 0 for a bit that is the same in all codes.
        distinct: number of different codes.
    """

    share: np.ndarray
    correlation: np.ndarray
    distinct: int

    @property
    def constant(self) -> int:
        """Bits that are the same in all codes."""
        return int(((self.share == 0) | (self.share == 1)).sum())

    @property
    def mean_correlation(self) -> float:
        """Mean absolute correlation of two different bits that vary; 0 if there are none."""
        varying = (self.share > 0) & (self.share < 1)
        of_pairs = np.abs(self.correlation[np.ix_(varying, varying)])
        count = len(of_pairs)
        return float((of_pairs.sum() - count) / (count * (count - 1))) if count > 1 else 0.0


def bits(words: np.ndarray, code_length: int) -> Bits:
    """Balance and correlation of packed codes, int64 [N, ceil(f / 64)]. Cost O(N f^2)."""
    share, product = np.zeros(code_length), np.zeros((code_length, code_length))
    for start in range(0, len(words), 4096):
        codes = unpack(words[start : start + 4096], code_length).astype(np.float64)
        share += codes.sum(0)
        product += codes.T @ codes
    mean, product = share / len(words), product / len(words)
    spread = np.sqrt(np.maximum(1 - mean**2, 0))
    scale = np.divide(1, spread, out=np.zeros(code_length), where=spread > 0)
    correlation = (product - np.outer(mean, mean)) * np.outer(scale, scale)
    return Bits((mean + 1) / 2, correlation, len(np.unique(words, axis=0)))


@dataclass(frozen=True)
class Distances:
    """How far items are from users: of the test items, the train items and all others.

    Args:
        edges: of the bars, float64 [bars + 1]; of Hamming distances each bar holds one distance.
        counts: user-item pairs in each bar, by name.
        of_scores: the values are scores of weighted segments, of which greater is nearer.
        users: number of users whose items are counted.
    """

    edges: np.ndarray
    counts: dict[str, np.ndarray]
    of_scores: bool
    users: int

    def nearer(self) -> float:
        """Probability that a test item is nearer than another one; half of a tie. By bars."""
        test, other = self.counts["test"].astype(float), self.counts["other"].astype(float)
        further = other.sum() - np.cumsum(other)
        won = (test * (further + other / 2)).sum() / (test.sum() * other.sum())
        return float(1 - won if self.of_scores else won)


def distances(recommender: Recommender, train: Interactions, test: Interactions) -> Distances:
    """Histograms over all items, of at most 2,000 users with test items, evenly spread.

    Scores further out than all but 0.1% of some users' are counted in the first or last bar.
    """
    with_test = np.flatnonzero(test.degrees())
    places = np.linspace(0, len(with_test) - 1, min(len(with_test), _SAMPLE)).astype(int)
    users = with_test[places]
    batches = [users[start : start + 64] for start in range(0, len(users), 64)]
    items = unpack(recommender.index.codes, recommender.index.code_length)
    if recommender.scales is None:
        edges = np.arange(items.shape[1] + 2) - 0.5
    else:
        some = _separations(recommender, items, batches[0])
        low, high = np.quantile(some, (0.0005, 0.9995))
        edges = np.linspace(low, high, _BARS + 1)
    bars, width = len(edges) - 1, edges[1] - edges[0]
    counts = {name: np.zeros(bars, np.int64) for name in ("test", "train", "other")}
    for batch in batches:
        found = (_separations(recommender, items, batch) - edges[0]) / width
        found = np.clip(found, 0, bars - 1).astype(np.int64)
        counts["other"] += np.bincount(found.ravel(), minlength=bars)
        for name, part in (("test", test), ("train", train)):
            rows = np.repeat(np.arange(len(batch)), part.degrees()[batch])
            columns = [part.ids[part.ptr[u] : part.ptr[u + 1]] for u in batch]
            own = np.bincount(found[rows, np.concatenate(columns)], minlength=bars)
            counts[name] += own
            counts["other"] -= own
    return Distances(edges, counts, recommender.scales is not None, len(users))


def _separations(recommender: Recommender, items: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Hamming distance, or score of weighted segments, of users and all items, [users, n]."""
    codes = unpack(recommender.user_codes[users], items.shape[1])
    if recommender.scales is None:
        return (items.shape[1] - codes @ items.T) / 2
    weighted = [
        (x.reshape(*scale.shape, -1) * scale[:, :, None]).reshape(x.shape)
        for x, scale in ((codes, recommender.scales[0][users]), (items, recommender.scales[1]))
    ]
    return weighted[0] @ weighted[1].T


def decile_of_items(train: Interactions) -> np.ndarray:
    """Tenth of the catalogue that an item is in, 0 for the most popular in train, int64 [n]."""
    order = np.argsort(-train.popularity(), kind="stable")
    tenth = np.empty(train.num_items, np.int64)
    tenth[order] = np.arange(train.num_items) * _DECILES // train.num_items
    return tenth


def shares(items: np.ndarray, tenth: np.ndarray) -> np.ndarray:
    """Share of item rows that each tenth of the catalogue has, float64 [10]; -1 is left out."""
    counts = np.bincount(tenth[items[items >= 0]], minlength=_DECILES)
    return counts / max(counts.sum(), 1)


def coverage(items: np.ndarray, num_items: int) -> float:
    """Share of the catalogue that is among the item rows."""
    return len(np.unique(items[items >= 0])) / num_items


def example_items(train: Interactions, count: int) -> np.ndarray:
    """Item rows from popular to rare, evenly spread over the train pairs, int64 [<= count]."""
    popularity = train.popularity()
    order = np.argsort(-popularity, kind="stable")
    wanted = (np.arange(count) + 0.5) / count * popularity.sum()
    found = np.searchsorted(np.cumsum(popularity[order]), wanted)
    return order[np.unique(np.minimum(found, len(order) - 1))]


def example_users(train: Interactions, test: Interactions, count: int) -> np.ndarray:
    """User rows with train and test items, evenly spread over the number of train items."""
    degrees = train.degrees()
    known = np.flatnonzero((degrees > 0) & (test.degrees() > 0))
    known = known[np.argsort(degrees[known], kind="stable")]
    places = (np.arange(count) + 0.5) / count * len(known)
    return known[np.unique(places.astype(int))] if len(known) else known


def neighbours(recommender: Recommender, items: np.ndarray, k: int) -> tuple[np.ndarray, ...]:
    """Hamming distances and rows of the k nearest other items of each item, int [len(items), k]."""
    index = recommender.index
    ptr = np.arange(len(items) + 1)
    found, ids = index.search(index.codes[items], min(k, len(index) - 1), exclude=(ptr, items))
    return found, index.rows(ids.ravel()).reshape(ids.shape)


def liked(train: Interactions, user: int, count: int) -> np.ndarray:
    """The latest train items of a user, or the most popular ones where no order is known."""
    pairs = slice(train.ptr[user], train.ptr[user + 1])
    items = train.ids[pairs]
    if train.order is not None:
        return items[np.argsort(-train.order[pairs], kind="stable")][:count]
    return items[np.argsort(-train.popularity()[items], kind="stable")][:count]
