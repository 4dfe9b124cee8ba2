"""A second stage of search: the nearest codes, put into the order of real-valued scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from hashgcn.retrieval.codes import unpack
from hashgcn.retrieval.index import HammingIndex

_CHUNK_VALUES = 1 << 22  # of items' vectors gathered at a time


def search_reranked(
    index: HammingIndex,
    queries: np.ndarray,
    k: int = 100,
    *,
    depth: int | None = None,
    query_vectors: np.ndarray | None = None,
    item_vectors: np.ndarray | None = None,
    popularity: float = 1.0,
    **options: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of the `depth` items nearest in Hamming distance, by a real-valued score.

        asymmetric, without vectors: score(q, i) = <q, d_i>, real query, item's +1 and -1
        with vectors: score(q, i) = <query_vectors[q], item_vectors[row of i]>

    Args:
        index: what is searched. Changes wait for nothing: the search sees one state of it.
        queries: as of index.search; real values, float16, float32 or float64 [Q, f], where there
            are no query_vectors. One query without the first axis.
        k: number of results, 1 <= k <= depth.
        depth: number of candidates; 4 k if left out. Depth n ranks all items by the score.
        query_vectors: float16, float32 or float64 [Q, d] (one query: [d]). They may stand alone,
            with d = f: the real values where queries are packed.
        item_vectors: float16, float32 or float64 [n, d], in the order of rows; a memory map is read
            where it is needed. float16 is half the memory, and its scores are computed in float32.
        popularity: as of index.search; without item_vectors it also multiplies the last g numbers
            of a query.
        options: exclude, allow, deny, radius, ignore_unknown, num_threads of index.search.

    Returns:
        scores float32 [Q, k] and raw ids int64 or str [Q, k], in falling order of score, equal ones
        in the order of (distance, row). Where fewer candidates are left: score -inf, id -1 or "".

    Raises:
        ValueError: as index.search; k > depth; vectors of another shape or dtype, item_vectors
            without query_vectors, or neither vectors nor real queries; values that are not finite,
            of items as far as they are candidates.

    Deterministic, for any batch and number of threads. Cost: that of the search with k = depth, and
    Q depth d multiply-adds in one thread. Memory: 16 MiB of gathered vectors, or those of one query
    if that is more.
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
                f"item_vectors: expected floats [{len(index)}, d], a row for each item, "
                f"got {item_vectors.dtype} {list(item_vectors.shape)}"
            )
        width = item_vectors.shape[1]
    if own.shape != (*queries.shape[:-1], width):
        raise ValueError(
            f"query_vectors: expected [{', '.join(map(str, (*queries.shape[:-1], width)))}], "
            f"got {list(own.shape)}"
        )
    table, bits = index._table, index.popularity_bits
    _, rows = index._search_rows(table, queries, depth, popularity=popularity, **options)
    one = queries.ndim == 1
    if one:
        own, rows = own[None], rows[None]
    if item_vectors is None and bits and popularity != 1:
        own = np.concatenate([own[:, :-bits], own[:, -bits:] * np.float32(popularity)], axis=1)
    scores = np.empty(rows.shape, np.float32)
    size = max(1, _CHUNK_VALUES // max(depth * width, 1))
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        found = np.maximum(rows[part], 0)
        if not len(table):
            vectors = np.zeros((*found.shape, width), np.float32)
        elif item_vectors is None:
            codes = unpack(table.words[found.ravel()], width, num_threads=1)
            vectors = codes.reshape(*found.shape, width)
        else:
            vectors = item_vectors[found].astype(np.float32, copy=False)
        # Not a matrix product: its sums depend on how many queries there are.
        scores[part] = np.einsum("qcd,qd->qc", vectors, own[part])
    if item_vectors is not None and not np.isfinite(scores[rows >= 0]).all():
        raise ValueError("item_vectors: expected finite values, got others")
    scores[rows < 0] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    scores = np.take_along_axis(scores, best, axis=1)
    ids = table.ids_of(np.take_along_axis(rows, best, axis=1))
    return (scores[0], ids[0]) if one else (scores, ids)


def _vectors(argument: str, queries: np.ndarray, given: np.ndarray | None) -> np.ndarray:
    """Real-valued vectors of the queries, float32."""
    vectors = queries if given is None else np.asarray(given)
    if vectors.dtype.kind != "f" or vectors.ndim != queries.ndim:
        raise ValueError(
            f"{argument}: expected floats of {queries.ndim} dimensions, "
            f"got {vectors.dtype} {list(vectors.shape)}"
        )
    vectors = vectors.astype(np.float32, copy=False)
    if not np.isfinite(vectors).all():
        raise ValueError(f"{argument}: expected finite values, got others")
    return vectors
