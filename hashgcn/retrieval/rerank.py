"""A second stage of search: the nearest codes, in the order of real-valued scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hashgcn.retrieval.codes import unpack_codes
from hashgcn.retrieval.index import HammingIndex
from hashgcn.retrieval.results import Recommendations

if TYPE_CHECKING:
    from hashgcn.retrieval.filters import ItemFilter

_CHUNK_VALUES = 1 << 22  # values of item vectors that are gathered at a time


def search_reranked(
    index: HammingIndex,
    queries: np.ndarray,
    k: int = 10,
    *,
    depth: int | None = None,
    query_vectors: np.ndarray | None = None,
    item_vectors: np.ndarray | None = None,
    allow: ItemFilter | None = None,
    deny: ItemFilter | None = None,
    radius: int | None = None,
    ignore_unknown: bool = False,
    popularity_weight: float | None = None,
    num_threads: int = 0,
) -> Recommendations:
    """Finds the k best, by a real-valued score, of the `depth` items nearest in Hamming distance.

        without vectors: score(q, i) = <q, d_i>, the real-valued query and the item's +1 and -1
        with vectors:    score(q, i) = <query_vectors[q], item_vectors[row of i]>

    Args:
        index: the index to search. It may change meanwhile: the search sees one state of it.
        queries: as in index.search, graded ones too; float16, float32 or float64 [Q, f] unless
            there are query_vectors. A single query has no first axis.
        k: number of results per query, 1 <= k <= depth.
        depth: number of candidates per query; 4 k if left out. With depth n all items are ranked by
            the score.
        query_vectors: float16, float32 or float64 [Q, d], or [d] for a single query. Without
            item_vectors d is f: the real values of packed queries. A single graded query has
            [1, d].
        item_vectors: float16, float32 or float64 [n, d], in the order of rows; a memory map is read
            where it is needed. float16 needs half the memory; its scores are computed in float32.
        allow: as in index.search.
        deny: as in index.search.
        radius: as in index.search.
        ignore_unknown: as in index.search.
        popularity_weight: as in index.search; without item_vectors it also multiplies the last g
            values of a query.
        num_threads: as in index.search.

    Returns:
        Recommendations of raw ids and float32 scores [Q, k], in falling order of score; [k] for a
        single query. Items of equal score are in the order of (distance, row). Where fewer
        candidates are left, the rest has id -1 or "" and score -inf.

    Raises:
        ValueError: see index.search; k > depth; vectors of another shape or dtype, item_vectors
            without query_vectors, or packed queries without vectors; values that are not finite
            (those of items only if they are candidates).

    Examples:
        >>> import numpy as np
        >>> from hashgcn.retrieval import HammingIndex, search_reranked
        >>> index = HammingIndex.build(np.array([[1, 1, 1], [1, 1, -1], [-1, 1, 1]], np.int8))
        >>> query = np.array([0.5, 2.0, -0.25])
        >>> ids, scores = search_reranked(index, query, k=2)
        >>> ids.tolist(), scores.tolist()
        ([1, 0], [2.75, 2.25])

    Note:
        Deterministic for any batch and number of threads. Cost: that of the search with k = depth,
        and Q depth d multiply-adds in one thread. Memory: 16 MiB of gathered vectors, or those of
        one query if they are more.
    """
    depth = 4 * k if depth is None else depth
    if not 1 <= k <= depth:
        raise ValueError(f"k: expected 1 to depth {depth}, got {k}")
    index = index.snapshot()
    queries = np.asarray(queries)
    own = _vectors("queries" if query_vectors is None else "query_vectors", queries, query_vectors)
    width = index.code_length
    if item_vectors is not None:
        if query_vectors is None:
            raise ValueError("query_vectors: expected them with item_vectors, got none")
        if (
            item_vectors.dtype.kind != "f"
            or item_vectors.ndim != 2
            or len(item_vectors) != len(index)
        ):
            raise ValueError(
                f"item_vectors: expected floats [{len(index)}, d], one row per item, "
                f"got {item_vectors.dtype} {list(item_vectors.shape)}"
            )
        width = item_vectors.shape[1]
    # Not the planes of graded queries, which are always a batch.
    shape = [width] if queries.ndim < 2 else [len(queries), width]
    if list(own.shape) != shape:
        raise ValueError(f"query_vectors: expected {shape}, got {list(own.shape)}")
    rows = index.search(
        queries,
        depth,
        allow=allow,
        deny=deny,
        radius=radius,
        ignore_unknown=ignore_unknown,
        popularity_weight=popularity_weight,
        as_rows=True,
        num_threads=num_threads,
    ).ids
    single = queries.ndim == 1
    if single:
        own, rows = own[None], rows[None]
    bits = index.popularity_bits
    if item_vectors is None and bits and popularity_weight not in (None, 1):
        weighted = own[:, -bits:] * np.float32(popularity_weight)
        own = np.concatenate([own[:, :-bits], weighted], axis=1)
    scores = np.empty(rows.shape, np.float32)
    size = max(1, _CHUNK_VALUES // max(depth * width, 1))
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        found = np.maximum(rows[part], 0)
        if not len(index):
            vectors = np.zeros((*found.shape, width), np.float32)
        elif item_vectors is None:
            codes = unpack_codes(index.codes[found.ravel()], width, num_threads=1)
            vectors = codes.reshape(*found.shape, width)
        else:
            vectors = item_vectors[found].astype(np.float32, copy=False)
        # Not a matrix product: its sums depend on the number of queries.
        scores[part] = np.einsum("qcd,qd->qc", vectors, own[part])
    if item_vectors is not None and not np.isfinite(scores[rows >= 0]).all():
        raise ValueError("item_vectors: expected finite values, got others")
    scores[rows < 0] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(scores, best, axis=1)
    ids = index.ids_of(np.take_along_axis(rows, best, axis=1))
    return Recommendations(ids[0], scores[0]) if single else Recommendations(ids, scores)


def _vectors(argument: str, queries: np.ndarray, given: np.ndarray | None) -> np.ndarray:
    """Real-valued vectors of the queries, float32."""
    vectors = queries if given is None else np.asarray(given)
    axes = min(queries.ndim, 2)  # the third one is that of the planes of graded queries
    if vectors.dtype.kind != "f" or vectors.ndim != axes:
        raise ValueError(
            f"{argument}: expected floats of {axes} dimensions, "
            f"got {vectors.dtype} {list(vectors.shape)}"
        )
    vectors = vectors.astype(np.float32, copy=False)
    if not np.isfinite(vectors).all():
        raise ValueError(f"{argument}: expected finite values, got others")
    return vectors
