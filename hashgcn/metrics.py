"""Ranking metrics: one value per user, averaged at the very end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from hashgcn.data.interactions import Interactions

# (hit, num_relevant, cutoff) -> one value per user, like recall and ndcg.
Measure = Callable[[np.ndarray, np.ndarray, int], np.ndarray]

# Number of users marked at a time. Their marks stay in cache: twice as fast as 256 on Gowalla.
_BLOCK = 64


def hits(ids: np.ndarray, users: np.ndarray, relevant: Interactions) -> np.ndarray:
    """Tells which recommended items are relevant to the user they are recommended to.

    Args:
        ids: int [Q, k], item rows, best first, no item twice in a row; -1 is padding.
        users: int [Q], rows of `relevant`.
        relevant: each user's relevant items, e.g. a data set's test.

    Returns:
        bool [Q, k]; False for padding.

    Raises:
        ValueError: shapes that do not fit together, an id or user out of range, an item twice.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.data import Interactions
        >>> from hashgcn.metrics import hits
        >>> relevant = Interactions.from_pairs([0, 0, 1], [2, 4, 1], num_users=2, num_items=5)
        >>> hits(np.array([[4, 0, 2], [3, 1, -1]]), np.array([0, 1]), relevant).tolist()
        [[True, False, True], [False, True, False]]

    Note:
        Cost: O(Q k + relevant pairs). Peak extra memory: 64 (n + 1) bytes.
    """
    ids, users = np.asarray(ids), np.asarray(users)
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise ValueError(f"ids: expected int [Q, k], got {ids.dtype} of shape {ids.shape}")
    if users.shape != ids.shape[:1] or users.dtype.kind not in "iu":
        raise ValueError(
            f"users: expected int [{len(ids)}], like ids, got {users.dtype} of shape {users.shape}"
        )
    _check_range("ids", ids, -1, relevant.num_items)
    _check_range("users", users, 0, relevant.num_users)

    hit = np.empty(ids.shape, dtype=bool)
    # The last column is never marked; padding, which is -1, reads it.
    marks = np.zeros((min(_BLOCK, len(ids)), relevant.num_items + 1), dtype=bool)
    for start in range(0, len(ids), _BLOCK):
        block = slice(start, start + _BLOCK)
        _check_unique(ids[block], start)
        begins, ends = relevant.ptr[users[block]], relevant.ptr[users[block] + 1]
        counts = ends - begins
        rows = np.repeat(np.arange(len(counts)), counts)
        pairs = np.arange(counts.sum()) + np.repeat(ends - np.cumsum(counts), counts)
        columns = relevant.ids[pairs]
        marks[rows, columns] = True
        hit[block] = np.take_along_axis(marks[: len(counts)], ids[block], axis=1)
        marks[rows, columns] = False
    return hit


def recall(hit: np.ndarray, num_relevant: np.ndarray, cutoff: int) -> np.ndarray:
    """Recall@K: the number of hits among the first K, divided by the number of relevant items.

    Args:
        hit: bool [Q, k], see hits.
        num_relevant: int [Q], the number of relevant items of each user.
        cutoff: K in [1, k].

    Returns:
        float64 [Q]; NaN for a user without relevant items.

    Raises:
        ValueError: shapes that do not fit together, K out of range, more hits than relevant items.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.metrics import recall
        >>> recall(np.array([[True, False, True]]), np.array([4]), cutoff=3).tolist()
        [0.5]
    """
    hit, num_relevant = _check_hits(hit, num_relevant, cutoff)
    return _ratio(hit[:, :cutoff].sum(axis=1), num_relevant)


def ndcg(hit: np.ndarray, num_relevant: np.ndarray, cutoff: int) -> np.ndarray:
    """NDCG@K with binary gains.

    This is the sum of 1 / log2(r + 1) over the ranks r <= K of hits, divided by the same sum over
    all ranks r <= min(K, number of relevant items).

    Args:
        hit: bool [Q, k], see hits.
        num_relevant: int [Q], the number of relevant items of each user.
        cutoff: K in [1, k].

    Returns:
        float64 [Q]; exactly 1 for a perfect ranking, NaN for a user without relevant items.

    Raises:
        ValueError: shapes that do not fit together, K out of range, more hits than relevant items.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.metrics import ndcg
        >>> ndcg(np.array([[True, True], [False, True]]), np.array([2, 1]), 2).round(3).tolist()
        [1.0, 0.631]

    Note:
        Memory: 16 Q K bytes.
    """
    hit, num_relevant = _check_hits(hit, num_relevant, cutoff)
    gains = np.where(hit[:, :cutoff], _discounts(cutoff), 0.0)
    return _ratio(_row_sums(gains), _cumulative_gain(cutoff)[np.minimum(num_relevant, cutoff)])


class Bounds(NamedTuple):
    """A metric under ties.

    Attributes:
        expected: float64 [Q], the mean over random orders of equal scores.
        lower: float64 [Q], with the relevant items last among equal scores.
        upper: float64 [Q], with the relevant items first among equal scores.
    """

    expected: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


class TieBounds(NamedTuple):
    """Recall and NDCG where the order of equal scores is unknown."""

    recall: Bounds
    ndcg: Bounds


def tie_expected(
    candidates: np.ndarray,
    relevant: np.ndarray,
    cutoff: int,
    *,
    unranked: np.ndarray | None = None,
) -> TieBounds:
    """Recall@K and NDCG@K if equal scores are in random order, with the bounds over all orders.

    For a score level with c candidates above it and t candidates on it, h of which are relevant,
    and with G(r) = sum over i <= r of 1 / log2(i + 1):

        E[hits]  = h (min(c + t, K) - min(c, K)) / t
        E[gains] = h (G(min(c + t, K)) - G(min(c, K))) / t

    The bounds put the relevant items of each level last and first.

    Args:
        candidates: whole numbers [Q, levels], the number of ranked items per level, the relevant
            ones included; levels are in rising order of score.
        relevant: whole numbers [Q, levels], the number of the user's relevant items per level.
        cutoff: K >= 1.
        unranked: int [Q], the number of the user's relevant items that are on no level, and never
            found; None for none.

    Returns:
        TieBounds; NaN for a user without relevant items.

    Raises:
        ValueError: shapes that do not fit together, counts that are negative or not whole, more
            relevant items than candidates on a level, K < 1.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.metrics import tie_expected
        >>> candidates, relevant = np.array([[9, 2, 1]]), np.array([[0, 1, 1]])
        >>> found = tie_expected(candidates, relevant, cutoff=2).recall
        >>> found.expected.tolist(), found.lower.tolist(), found.upper.tolist()
        ([0.75], [0.5], [1.0])

    Note:
        Cost: O(Q levels + K). Memory: about a dozen arrays [Q, levels].
    """
    tied = _counts("candidates", candidates)[:, ::-1]
    wanted = _counts("relevant", relevant)[:, ::-1]
    if wanted.shape != tied.shape:
        raise ValueError(
            f"relevant: expected shape {tied.shape}, like candidates, got {wanted.shape}"
        )
    if (wanted > tied).any():
        row, level = np.argwhere(wanted > tied)[0]
        raise ValueError(
            "relevant: expected no more than there are candidates on every level, got "
            f"{wanted[row, level]} of {tied[row, level]} in row {row}"
        )
    if cutoff < 1:
        raise ValueError(f"cutoff: expected K >= 1, got {cutoff}")

    num_relevant = wanted.sum(axis=1)
    if unranked is not None:
        more = np.asarray(unranked)
        if more.shape != num_relevant.shape or more.dtype.kind not in "iu" or (more < 0).any():
            raise ValueError(
                f"unranked: expected whole numbers >= 0 [{len(num_relevant)}], one per row of "
                f"candidates, got {more.dtype} of shape {more.shape}"
            )
        num_relevant = num_relevant + more
    last = np.cumsum(tied, axis=1)
    first = last - tied
    # Levels past the cutoff of every user add nothing, and in most tables most levels are.
    reached = max(1, np.count_nonzero((first < cutoff).any(axis=0)))
    tied, wanted, first, last = (x[:, :reached] for x in (tied, wanted, first, last))
    share = np.divide(wanted, tied, out=np.zeros(tied.shape), where=tied > 0)

    def bounds(gain: np.ndarray, ideal: np.ndarray) -> Bounds:
        # gain[r] is the sum of the metric if all ranks up to r hold relevant items.
        def gained(after: np.ndarray, until: np.ndarray) -> np.ndarray:
            return gain[np.minimum(until, cutoff)] - gain[np.minimum(after, cutoff)]

        return Bounds(
            expected=_ratio(_row_sums(share * gained(first, last)), ideal),
            lower=_ratio(_row_sums(gained(last - wanted, last)), ideal),
            upper=_ratio(_row_sums(gained(first, first + wanted)), ideal),
        )

    discounted = _cumulative_gain(cutoff)
    return TieBounds(
        recall=bounds(np.arange(cutoff + 1.0), num_relevant),
        ndcg=bounds(discounted, discounted[np.minimum(num_relevant, cutoff)]),
    )


def evaluate_rankings(
    ids: np.ndarray,
    users: np.ndarray,
    relevant: Interactions,
    cutoffs: Sequence[int],
    measures: Sequence[Measure] = (recall, ndcg),
) -> dict[str, float]:
    """Recall and NDCG at several cutoffs, averaged over the users who have relevant items.

    Args:
        ids: int [Q, k], item rows, best first, no item twice in a row; -1 is padding.
        users: int [Q], rows of `relevant`.
        relevant: each user's relevant items, e.g. a data set's test.
        cutoffs: each K in [1, k].
        measures: recall, ndcg, or functions with the same arguments and results.

    Returns:
        {"recall@K": mean, "ndcg@K": mean, ...}, in the order of the cutoffs.

    Raises:
        ValueError: see hits, recall and ndcg; or no user has relevant items.

    Examples:
        >>> import numpy as np
        >>> from hashgcn.data import Interactions
        >>> from hashgcn.metrics import evaluate_rankings
        >>> relevant = Interactions.from_pairs([0, 1], [2, 1], num_users=2, num_items=5)
        >>> evaluate_rankings(np.array([[2, 0], [3, 4]]), np.array([0, 1]), relevant, [1])
        {'recall@1': 0.5, 'ndcg@1': 0.5}
    """
    hit = hits(ids, users, relevant)
    num_relevant = relevant.degrees()[users]
    counted = num_relevant > 0
    if not counted.any():
        raise ValueError(
            f"relevant: expected items of at least one of the {len(hit)} users, got none"
        )
    hit, num_relevant = hit[counted], num_relevant[counted]
    return {
        f"{measure.__name__}@{cutoff}": float(measure(hit, num_relevant, cutoff).mean())
        for cutoff in cutoffs
        for measure in measures
    }


def _discounts(cutoff: int) -> np.ndarray:
    return 1 / np.log2(np.arange(2, cutoff + 2))


def _cumulative_gain(cutoff: int) -> np.ndarray:
    """G(r) for r = 0 .. K."""
    return np.concatenate([[0.0], np.cumsum(_discounts(cutoff))])


def _row_sums(values: np.ndarray) -> np.ndarray:
    # Added from left to right, like the ideal; np.sum groups the terms by memory layout.
    return np.cumsum(values, axis=1)[:, -1]


def _ratio(gained: np.ndarray, ideal: np.ndarray) -> np.ndarray:
    return np.divide(gained, ideal, out=np.full(len(gained), np.nan), where=ideal > 0)


def _counts(argument: str, table: np.ndarray) -> np.ndarray:
    table = np.asarray(table)
    if table.ndim != 2 or not table.shape[1]:
        raise ValueError(f"{argument}: expected [Q, levels], got shape {table.shape}")
    with np.errstate(invalid="ignore"):  # NaN and infinity fail the comparison below
        counts = table.astype(np.int64)
    wrong = (counts != table) | (counts < 0)
    if wrong.any():
        raise ValueError(f"{argument}: expected whole numbers >= 0, got {table[wrong][0]}")
    return counts


def _check_range(argument: str, rows: np.ndarray, low: int, high: int) -> None:
    outside = (rows < low) | (rows >= high)
    if outside.any():
        raise ValueError(f"{argument}: expected rows in [{low}, {high}), got {rows[outside][0]}")


def _check_unique(ids: np.ndarray, start: int) -> None:
    ordered = np.sort(ids, axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if repeated.any():
        row, column = np.argwhere(repeated)[0]
        raise ValueError(
            f"ids: expected no item twice in a row, got {ordered[row, column]} twice in row "
            f"{start + row}"
        )


def _check_hits(
    hit: np.ndarray, num_relevant: np.ndarray, cutoff: int
) -> tuple[np.ndarray, np.ndarray]:
    hit, num_relevant = np.asarray(hit), np.asarray(num_relevant)
    if hit.ndim != 2 or hit.dtype != bool:
        raise ValueError(f"hit: expected bool [Q, k], got {hit.dtype} of shape {hit.shape}")
    if num_relevant.shape != hit.shape[:1] or num_relevant.dtype.kind not in "iu":
        raise ValueError(
            f"num_relevant: expected int [{len(hit)}], like hit, "
            f"got {num_relevant.dtype} of shape {num_relevant.shape}"
        )
    if not 1 <= cutoff <= hit.shape[1]:
        raise ValueError(f"cutoff: expected K in [1, {hit.shape[1]}], got {cutoff}")
    found = hit[:, :cutoff].sum(axis=1)
    if (found > num_relevant).any():
        row = int((found > num_relevant).argmax())
        raise ValueError(
            f"num_relevant: expected at least the {found[row]} hits of row {row}, "
            f"got {num_relevant[row]}"
        )
    return hit, num_relevant
