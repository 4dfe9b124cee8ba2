"""Hand-over of an index: faiss, usearch, NumPy, Parquet, PostgreSQL, rows of Milvus and Qdrant.

A code becomes ceil(f / 8) bytes: bit j of byte b is dimension 8 b + j, and bits past the code
length are 0. Distances of such bytes are those of the index. Files are written atomically.

Some writers take GradedUsers, the codes of graded users, in place of an index. Other engines search
with a recommender's plain_user_codes, which are plain and find less.

write_recommendations writes what a recommender finds for many users.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from hashgcn.retrieval.export.bits import bit_strings, code_bytes
from hashgcn.retrieval.export.faiss import to_faiss, write_faiss
from hashgcn.retrieval.export.milvus import milvus_rows, write_milvus
from hashgcn.retrieval.export.numpy import write_numpy
from hashgcn.retrieval.export.parquet import write_parquet
from hashgcn.retrieval.export.postgres import write_postgres
from hashgcn.retrieval.export.qdrant import qdrant_rows, write_qdrant
from hashgcn.retrieval.export.recommendations import write_recommendations
from hashgcn.retrieval.export.usearch import to_usearch, write_usearch
from hashgcn.retrieval.export.users import GradedUsers
from hashgcn.retrieval.index import HammingIndex

# Writers of files, by name.
WRITERS: dict[str, Callable[[HammingIndex, str | os.PathLike[str]], None]] = {
    "index": HammingIndex.save,
    "faiss": write_faiss,
    "usearch": write_usearch,
    "numpy": write_numpy,
    "parquet": write_parquet,
    "postgres": write_postgres,
    "milvus": write_milvus,
    "qdrant": write_qdrant,
}
# Those that take graded users as well.
GRADED_WRITERS: dict[str, Callable[[GradedUsers, str | os.PathLike[str]], None]] = {
    "numpy": write_numpy,
    "parquet": write_parquet,
    "postgres": write_postgres,
    "qdrant": write_qdrant,
}

__all__ = [
    "GRADED_WRITERS",
    "WRITERS",
    "GradedUsers",
    "bit_strings",
    "code_bytes",
    "milvus_rows",
    "qdrant_rows",
    "to_faiss",
    "to_usearch",
    "write_faiss",
    "write_milvus",
    "write_numpy",
    "write_parquet",
    "write_postgres",
    "write_qdrant",
    "write_recommendations",
    "write_usearch",
]
