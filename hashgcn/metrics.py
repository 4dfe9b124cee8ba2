"""Ranking metrics: one value for each user, averaged at the very end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from hashgcn.data.interactions import Interactions

# (hit, num_relevant, cutoff) -> one value for each user, as recall and ndcg.
Measure = Callable[[np.ndarray, np.ndarray, int], np.ndarray]

# Users marked at a time, so that their marks stay in cache: twice as fast as 256 on Gowalla.
_BLOCK = 64


def hits(ids: np.ndarray, users: np.ndarray, relevant: Interactions) -> np.ndarray:
    """Whether each recommended item is one of the user's relevant items.

    Args:
        ids: int [Q, k], item rows in rank order, none twice in a row; -1 for padding.
        users: int [Q], rows of `relevant`.
        relevant: the items that count, e.g. a dataset's test.

    Returns:
        bool [Q, k]; False at padding.

    Raises:
        ValueError: shapes that do not fit, an id or user out of range.

    Deterministic. Cost: O(Q k + relevant pairs). Peak extra memory: 64 (n + 1) bytes.
    """
    ids, users = np.asarray(ids), np.asarray(users)
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise ValueError(f"ids: expected int [Q, k], got {ids.dtype} of shape {ids.shape}")
    if users.shape != ids.shape[:1] or users.dtype.kind not in "iu":
        raise ValueError(
            f"users: expected int [{len(ids)}], as ids, got {users.dtype} of shape {users.shape}"
        )
    _check_range("ids", ids, -1, relevant.num_items)
    _check_range("users", users, 0, relevant.num_users)

    hit = np.empty(ids.shape, dtype=bool)
    # The last column is never marked: padding, -1, reads it.
    marks = np.zeros((min(_BLOCK, len(ids)), relevant.num_items + 1), dtype=bool)
    for start in range(0, len(ids), _BLOCK):
        block = slice(start, start + _BLOCK)
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
    """Recall@K = hits among the first K / relevant items.

    Args:
        hit: bool [Q, k], see hits.
        num_relevant: int [Q], relevant items of each user.
        cutoff: K in [1, k].

    Returns:
        float64 [Q]; NaN for a user without relevant items.

    Raises:
        ValueError: shapes that do not fit, K out of range, more hits than relevant items.

    A user's value does not depend on the other rows. Cost: O(Q k).
    """
    hit, num_relevant = _check_hits(hit, num_relevant, cutoff)
    return _ratio(hit[:, :cutoff].sum(axis=1), num_relevant)


def ndcg(hit: np.ndarray, num_relevant: np.ndarray, cutoff: int) -> np.ndarray:
    """NDCG@K with binary gains.

    sum over hits at ranks r <= K of 1 / log2(r + 1), divided by the same sum over ranks
    1 .. min(K, relevant items).

    Args:
        hit: bool [Q, k], see hits.
        num_relevant: int [Q], relevant items of each user.
        cutoff: K in [1, k].

    Returns:
        float64 [Q]; NaN for a user without relevant items; a perfect ranking gives exactly 1.

    Raises:
        ValueError: shapes that do not fit, K out of range, more hits than relevant items.

    A user's value does not depend on the other rows. Cost: O(Q k), memory 16 Q K bytes.
    """
    hit, num_relevant = _check_hits(hit, num_relevant, cutoff)
    gains = np.where(hit[:, :cutoff], _discounts(cutoff), 0.0)
    return _ratio(_row_sums(gains), _cumulative_gain(cutoff)[np.minimum(num_relevant, cutoff)])


def ndcg_of_hits(hit: np.ndarray, num_relevant: np.ndarray, cutoff: int) -> np.ndarray:
    """NDCG@K as some published code computes it: ideal for the items that were found. Inflated.

    The same sum as in ndcg, divided by the same sum of the user's hits in the whole list moved to
    the front: relevant items that the list lacks cost nothing, and a single hit at rank 1 gives 1.
    The longer the list, the lower the value. It is at least ndcg, and not comparable with it.

    Args:
        hit: bool [Q, k], see hits; k is the length of the list. 100 where HashGNN's code reports
            it, 1000 in BGCH's, whose metrics are those of its authors' other methods.
        num_relevant: int [Q], relevant items of each user.
        cutoff: K in [1, k].

    Returns:
        float64 [Q]; 0 where the list has no hit, NaN for a user without relevant items.

    Raises:
        ValueError: as ndcg.

    A user's value does not depend on the other rows. Cost: O(Q k), memory 16 Q K bytes.

    Source: metrics_rs.py of HashGNN (arXiv 2003.01917), utils.py of BGCH (arXiv 2304.00241).
    """
    hit, num_relevant = _check_hits(hit, num_relevant, cutoff)
    found = hit.sum(axis=1)
    values = ndcg(hit[:, :cutoff], found, cutoff)
    return np.where(num_relevant > 0, np.nan_to_num(values), np.nan)


class Bounds(NamedTuple):
    """A metric under ties: float64 [Q] each."""

    expected: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


class TieBounds(NamedTuple):
    """Recall and NDCG when only the order between different scores is known."""

    recall: Bounds
    ndcg: Bounds


def tie_expected(candidates: np.ndarray, relevant: np.ndarray, cutoff: int) -> TieBounds:
    """Recall@K and NDCG@K over a random order inside each group of equal scores, with bounds.

    For a score level with c candidates strictly above it, t on it, h of them relevant, and
    G(r) = sum over i <= r of 1 / log2(i + 1):

        E[hits]  = h (min(c + t, K) - min(c, K)) / t
        E[gains] = h (G(min(c + t, K)) - G(min(c, K))) / t

    The bounds put the relevant items last, or first, in their group.

    Args:
        candidates: whole numbers [Q, levels], ascending score: the items that are ranked, the
            relevant ones included.
        relevant: whole numbers [Q, levels]: the user's relevant items.
        cutoff: K >= 1.

    Returns:
        TieBounds; NaN for a user without relevant items.

    Raises:
        ValueError: shapes that do not fit, counts that are negative or not whole, more relevant
            items than candidates on a level, K < 1.

    A user's value does not depend on the other rows. Cost: O(Q levels + K), memory about a dozen
    arrays [Q, levels].
    """
    tied = _counts("candidates", candidates)[:, ::-1]
    wanted = _counts("relevant", relevant)[:, ::-1]
    if wanted.shape != tied.shape:
        raise ValueError(
            f"relevant: expected shape {tied.shape}, as candidates, got {wanted.shape}"
        )
    if (wanted > tied).any():
        row, level = np.argwhere(wanted > tied)[0]
        raise ValueError(
            f"relevant: expected at most candidates on every level, got {wanted[row, level]} "
            f"of {tied[row, level]} in row {row}"
        )
    if cutoff < 1:
        raise ValueError(f"cutoff: expected K >= 1, got {cutoff}")

    num_relevant = wanted.sum(axis=1)
    last = np.cumsum(tied, axis=1)
    first = last - tied
    # Levels that are past the cutoff for everybody add nothing: most of a table's.
    reached = max(1, np.count_nonzero((first < cutoff).any(axis=0)))
    tied, wanted, first, last = (x[:, :reached] for x in (tied, wanted, first, last))
    share = np.divide(wanted, tied, out=np.zeros(tied.shape), where=tied > 0)

    def bounds(gain: np.ndarray, ideal: np.ndarray) -> Bounds:
        # gain[r]: the metric's sum if every rank up to r held a relevant item.
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
    """Recall and NDCG at several cutoffs, averaged over the users that have relevant items.

    Args:
        ids: int [Q, k], item rows in rank order, none twice in a row; -1 for padding.
        users: int [Q], rows of `relevant`.
        relevant: the items that count, e.g. a dataset's test.
        cutoffs: K in [1, k].
        measures: recall, ndcg, ndcg_of_hits, or a function called alike.

    Returns:
        {"recall@K": mean, "ndcg@K": mean, ...} in the order of cutoffs.

    Raises:
        ValueError: as hits, recall and ndcg; no user with relevant items.

    Deterministic. Cost: O(Q k len(cutoffs)).
    """
    hit = hits(ids, users, relevant)
    num_relevant = relevant.degrees()[users]
    counted = num_relevant > 0
    if not counted.any():
        raise ValueError(
            f"relevant: expected items for some of the users, got none for all {len(hit)}"
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
    """G(r) of ranks 0 .. K."""
    return np.concatenate([[0.0], np.cumsum(_discounts(cutoff))])


def _row_sums(values: np.ndarray) -> np.ndarray:
    # Added from left to right, as the ideal is: np.sum groups terms by memory layout.
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
        raise ValueError(f"{argument}: expected counts, whole and >= 0, got {table[wrong][0]}")
    return counts


def _check_range(argument: str, rows: np.ndarray, low: int, high: int) -> None:
    outside = (rows < low) | (rows >= high)
    if outside.any():
        raise ValueError(f"{argument}: expected rows in [{low}, {high}), got {rows[outside][0]}")


def _check_hits(
    hit: np.ndarray, num_relevant: np.ndarray, cutoff: int
) -> tuple[np.ndarray, np.ndarray]:
    hit, num_relevant = np.asarray(hit), np.asarray(num_relevant)
    if hit.ndim != 2 or hit.dtype != bool:
        raise ValueError(f"hit: expected bool [Q, k], got {hit.dtype} of shape {hit.shape}")
    if num_relevant.shape != hit.shape[:1] or num_relevant.dtype.kind not in "iu":
        raise ValueError(
            f"num_relevant: expected int [{len(hit)}], as hit, "
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
