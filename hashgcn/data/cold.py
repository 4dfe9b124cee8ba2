"""The rule for cold users and items, which all that recommends or evaluates follows.

A user who is unknown or has no items in train is cold: no code says what they like. They get the
most popular items, those with most users in train; of equally popular ones the smaller row comes
first. The score of an item is then its number of users. An item without users in train is cold,
too, and nobody gets it unless it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np

from hashgcn.data.interactions import Interactions
from hashgcn.lazy import lazy

ColdUsers: TypeAlias = Literal["popular", "error"]


def check_cold_users(cold_users: str) -> None:
    """Raises a ValueError unless the argument of that name has one of its values."""
    if cold_users not in get_args(ColdUsers):
        raise ValueError(
            f"cold_users: expected one of {', '.join(get_args(ColdUsers))}, got {cold_users!r}"
        )


@dataclass(frozen=True, eq=False)
class ColdRule:
    """Who is cold in train, and what cold users get.

    Args:
        train: the items of each user.

    Examples:
        >>> from hashgcn.data import Interactions
        >>> from hashgcn.data.cold import ColdRule
        >>> rule = ColdRule(Interactions.from_pairs([0, 0, 2], [1, 3, 3], 3, 4))
        >>> rule.users.tolist(), rule.items.tolist()
        ([False, True, False], [True, False, True, False])
        >>> rows, scores = rule.popular(3, Interactions([0, 0, 1], [3], 4), ~rule.items)
        >>> rows.tolist(), scores.tolist()
        ([[3, 1, -1], [1, -1, -1]], [[2, 1, -1], [1, -1, -1]])
    """

    train: Interactions

    @lazy
    def popularity(self) -> np.ndarray:
        """The number of users of every item, int64 [n]."""
        return self.train.popularity()

    @lazy
    def users(self) -> np.ndarray:
        """bool [m], True for users without items in train."""
        return self.train.degrees() == 0

    @lazy
    def items(self) -> np.ndarray:
        """bool [n], True for items without users in train."""
        return self.popularity == 0

    @lazy
    def order(self) -> np.ndarray:
        """The item rows, from the most popular on; equally popular ones by row."""
        return np.argsort(-self.popularity, kind="stable")

    def popular(
        self, k: int, exclude: Interactions, allow: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """What cold users get.

        Args:
            k: number of items per user.
            exclude: Q users over n items: those that each must not get.
            allow: bool [n], False for items that nobody gets; None allows all.

        Returns:
            Item rows and their numbers of users, int64 [Q, k]; both are -1 where there are fewer.
        """
        order = self.order if allow is None else self.order[allow[self.order]]
        rows = np.full((exclude.num_users, k), -1)
        rows[:, : len(order)] = order[:k]
        for user in np.flatnonzero(exclude.degrees()):
            own = exclude.ids[exclude.ptr[user] : exclude.ptr[user + 1]]
            best = order[: k + len(own)]
            best = best[~np.isin(best, own)][:k]
            rows[user, : len(best)], rows[user, len(best) :] = best, -1
        return rows, self._counts(rows)

    @lazy
    def places(self) -> np.ndarray:
        """The place of every item row in `order`, int64 [n]."""
        places = np.empty(len(self.order), np.int64)
        places[self.order] = np.arange(len(self.order))
        return places

    def popular_of(self, k: int, listed: Interactions) -> tuple[np.ndarray, np.ndarray]:
        """What cold users get of the items that are listed for each; see `popular`."""
        users = listed.users()
        ids = listed.ids[np.lexsort((self.places[listed.ids], users))]
        place = np.arange(len(ids)) - listed.ptr[users]
        rows, best = np.full((listed.num_users, k), -1), place < k
        rows[users[best], place[best]] = ids[best]
        return rows, self._counts(rows)

    def _counts(self, rows: np.ndarray) -> np.ndarray:
        return np.where(rows >= 0, np.append(self.popularity, -1)[rows], -1)


def count_cold(train: Interactions, test: Interactions) -> tuple[int, int]:
    """The numbers of users and of items that have test pairs but none in train."""
    rule = ColdRule(train)
    users = (test.degrees() > 0) & rule.users
    return int(users.sum()), int(((test.popularity() > 0) & rule.items).sum())
