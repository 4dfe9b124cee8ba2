"""Hand-over to faiss: an exact binary index."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hashgcn.files import write_atomic
from hashgcn.retrieval.export.bits import imported, numeric_labels, plain_bytes
from hashgcn.retrieval.index import HammingIndex

if TYPE_CHECKING:
    import faiss


def to_faiss(index: HammingIndex) -> faiss.IndexBinary:
    """Makes faiss's exact binary index of the same codes, of 8 ceil(f / 8) bits.

    Queries are code_bytes. Items at equal distance may come in another order than here.

    Args:
        index: with int ids the result is an IndexBinaryIDMap, whose labels they are; otherwise an
            IndexBinaryFlat, whose labels are rows: index.ids[label] is the id.

    Raises:
        ImportError: faiss is not installed.

    Note:
        Deterministic. Memory: a copy of the codes.
    """
    library = imported("faiss", "faiss-cpu")
    index = index.snapshot()
    codes = plain_bytes(index)
    flat = library.IndexBinaryFlat(8 * codes.shape[1])
    labels = numeric_labels(index)
    if labels is None:
        flat.add(codes)
        return flat
    mapped = library.IndexBinaryIDMap(flat)
    mapped.add_with_ids(codes, labels)
    return mapped


def write_faiss(index: HammingIndex, path: str | os.PathLike[str]) -> None:
    """Writes to_faiss(index) to a file that faiss.read_index_binary reads.

    Raises:
        ImportError: faiss is not installed.
        OSError: the system's error, with the path.

    Note:
        Memory: two copies of the codes.
    """
    library, converted = imported("faiss", "faiss-cpu"), to_faiss(index)
    # Not faiss itself: its errors, such as those of a full disk, are no OSErrors.
    content = library.serialize_index_binary(converted)
    write_atomic(path, lambda temporary: temporary.write_bytes(content.data))
