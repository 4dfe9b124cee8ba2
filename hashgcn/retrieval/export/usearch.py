"""Hand-over to usearch: a graph by Hamming distance."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from hashgcn.files import write_atomic
from hashgcn.retrieval.export.bits import imported, numeric_labels, plain_bytes
from hashgcn.retrieval.index import HammingIndex

if TYPE_CHECKING:
    import usearch.index


def to_usearch(index: HammingIndex) -> usearch.index.Index:
    """Makes usearch's graph of the same codes, by Hamming distance.

    Queries are code_bytes; search(..., exact=True) scans all codes.

    Args:
        index: int ids >= 0 are the keys; with str ids or none the keys are rows.

    Raises:
        ImportError: usearch is not installed.
        ValueError: a negative id.

    Note:
        Not deterministic: threads link the graph in the order in which they run. Cost: O(n log n)
        distances.
    """
    library = imported("usearch.index", "usearch")
    index = index.snapshot()
    codes = plain_bytes(index)
    labels = numeric_labels(index)
    if labels is not None and len(labels) and labels.min() < 0:
        raise ValueError(f"index: expected ids >= 0 for usearch, got {labels.min()}")
    graph = library.Index(
        ndim=8 * codes.shape[1],
        metric=library.MetricKind.Hamming,
        dtype=library.ScalarKind.B1,
    )
    if len(codes):
        keys = np.arange(len(codes)) if labels is None else labels
        graph.add(keys.astype(np.uint64), codes)
    return graph


def write_usearch(index: HammingIndex, path: str | os.PathLike[str]) -> None:
    """Writes to_usearch(index) to a file that usearch's Index.restore reads.

    Raises:
        ImportError: usearch is not installed.
        ValueError: a negative id.
        OSError: the system's error, with the path.

    Note:
        Memory: the graph twice.
    """
    # Not usearch itself: its errors, such as those of a full disk, are no OSErrors.
    content = to_usearch(index).save()
    write_atomic(path, lambda temporary: temporary.write_bytes(content))
