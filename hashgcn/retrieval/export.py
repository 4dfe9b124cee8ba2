"""Hand-over of an index: faiss, usearch, NumPy, Parquet, PostgreSQL, rows of Milvus and Qdrant.

A code becomes ceil(f / 8) bytes, bit j of byte b being dimension 8 b + j; bits past the code length
are 0. Distances of such bytes are those of the index. Files are written atomically.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from hashgcn.files import write_atomic
from hashgcn.retrieval.codes import unpack
from hashgcn.retrieval.index import HammingIndex

if TYPE_CHECKING:
    import faiss
    import usearch.index

_CHUNK = 4096  # rows turned into text at a time


def code_bytes(words: np.ndarray, code_length: int) -> np.ndarray:
    """Packed codes as the bytes that other engines take.

    Args:
        words: int64 [N, ceil(f / 64)], packed (see pack).
        code_length: f >= 1.

    Returns:
        uint8 [N, ceil(f / 8)]; np.unpackbits(..., axis=1, count=f, bitorder="little") gives the
        bits. A view of words where f > 64 w - 8.

    Raises:
        ValueError: words of another shape or dtype.

    Deterministic. Cost and memory: a copy, or nothing where it is a view.
    """
    width = (code_length + 63) // 64
    if words.dtype != np.int64 or words.ndim != 2 or words.shape[1] != width:
        raise ValueError(
            f"words: expected int64 [*, {width}] (codes of {code_length} bits), "
            f"got {words.dtype} {list(words.shape)}"
        )
    little = np.ascontiguousarray(words, dtype="<i8")
    return np.ascontiguousarray(little.view(np.uint8)[:, : (code_length + 7) // 8])


def bit_strings(words: np.ndarray, code_length: int) -> list[str]:
    """Packed codes as texts of f zeros and ones, dimension 0 first: PostgreSQL's bit(f).

    Args:
        words, code_length: as of code_bytes.

    Raises:
        ValueError: as of code_bytes.

    Deterministic. Cost O(N f).
    """
    bits = np.unpackbits(
        code_bytes(words, code_length), axis=1, count=code_length, bitorder="little"
    )
    return [row.tobytes().decode() for row in bits + np.uint8(ord("0"))]


def to_faiss(index: HammingIndex) -> faiss.IndexBinary:
    """faiss's exact binary index of the same codes, of 8 ceil(f / 8) bits.

    Queries are code_bytes; faiss.write_index_binary writes it to a file. Items at equal distance
    may come in another order than here.

    Args:
        index: with int ids an IndexBinaryIDMap, whose labels they are; with str ids or none an
            IndexBinaryFlat, whose labels are rows: index.ids[label] is the id.

    Raises:
        ImportError: faiss is not installed.

    Deterministic. Cost and memory: a copy of the codes.
    """
    library = _library("faiss", "faiss-cpu")
    index = index.snapshot()
    codes = code_bytes(index.codes, index.code_length)
    flat = library.IndexBinaryFlat(8 * codes.shape[1])
    labels = _labels(index)
    if labels is None:
        flat.add(codes)
        return flat
    mapped = library.IndexBinaryIDMap(flat)
    mapped.add_with_ids(codes, labels)
    return mapped


def to_usearch(index: HammingIndex) -> usearch.index.Index:
    """usearch's graph of the same codes, by Hamming distance; search(..., exact=True) scans all.

    Queries are code_bytes; its method save writes it to a file.

    Args:
        index: int ids, from 0, are the keys; with str ids or none the keys are rows.

    Raises:
        ImportError: usearch is not installed.
        ValueError: a negative id.

    Not deterministic: threads link the graph in the order they come. Cost: O(n log n) distances.
    """
    library = _library("usearch.index", "usearch")
    index = index.snapshot()
    codes = code_bytes(index.codes, index.code_length)
    labels = _labels(index)
    if labels is not None and len(labels) and labels.min() < 0:
        raise ValueError(f"index: expected ids from 0 for usearch, got {labels.min()}")
    graph = library.Index(
        ndim=8 * codes.shape[1],
        metric=library.MetricKind.Hamming,
        dtype=library.ScalarKind.B1,
    )
    if len(codes):
        keys = np.arange(len(codes)) if labels is None else labels
        graph.add(keys.astype(np.uint64), codes)
    return graph


def milvus_rows(index: HammingIndex) -> Iterator[dict[str, Any]]:
    """Rows for a Milvus collection: {"id": int or str, "code": bytes}.

    Of a field BINARY_VECTOR of 8 ceil(f / 8) dimensions, with the metric HAMMING.

    Deterministic. Memory: a copy of the codes.
    """
    index = index.snapshot()
    codes = code_bytes(index.codes, index.code_length)
    for raw, code in zip(index.ids, codes, strict=True):
        yield {"id": raw.item(), "code": code.tobytes()}


def qdrant_rows(index: HammingIndex) -> Iterator[dict[str, Any]]:
    """Points for a Qdrant collection: {"id": row, "vector": +1 and -1 [f], "payload": {"id": raw}}.

    Of vectors of size f with the distance Dot: the score is f - 2 x Hamming distance, and binary
    quantization keeps all of it.

    Deterministic. Memory: a few thousand rows.
    """
    index = index.snapshot()
    ids = index.ids
    for start in range(0, len(index), _CHUNK):
        signs = unpack(index.codes[start : start + _CHUNK], index.code_length)
        for row, sign in enumerate(signs.tolist(), start):
            yield {"id": row, "vector": sign, "payload": {"id": ids[row].item()}}


def write_faiss(index: HammingIndex, path: str | os.PathLike[str]) -> None:
    """to_faiss(index) in a file that faiss.read_index_binary reads. Raises: as to_faiss."""
    library, converted = _library("faiss", "faiss-cpu"), to_faiss(index)
    write_atomic(path, lambda temporary: library.write_index_binary(converted, str(temporary)))


def write_usearch(index: HammingIndex, path: str | os.PathLike[str]) -> None:
    """to_usearch(index) in a file that usearch's Index.restore reads. Raises: as to_usearch."""
    converted = to_usearch(index)
    write_atomic(path, lambda temporary: converted.save(str(temporary)))


def write_numpy(index: HammingIndex, path: str | os.PathLike[str]) -> None:
    """An .npz file for numpy.load: codes (code_bytes), ids (int64 or str [n]) and code_length."""
    index = index.snapshot()

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            np.savez(
                file,
                codes=code_bytes(index.codes, index.code_length),
                ids=index.ids,
                code_length=index.code_length,
            )

    write_atomic(path, write)


def write_parquet(index: HammingIndex, path: str | os.PathLike[str]) -> None:
    """A Parquet file of columns id (int64 or text) and code (binary, code_bytes), in row order.

    Memory: the codes as Python's bytes, some 40 bytes an item.
    """
    import polars

    index = index.snapshot()
    codes = [code.tobytes() for code in code_bytes(index.codes, index.code_length)]
    kind = polars.String if index.ids.dtype.kind == "U" else polars.Int64
    ids = polars.Series("id", index.ids.tolist(), dtype=kind)
    frame = polars.DataFrame([ids, polars.Series("code", codes, dtype=polars.Binary)])
    write_atomic(path, frame.write_parquet)


def write_postgres(
    index: HammingIndex, path: str | os.PathLike[str], *, table: str = "items"
) -> None:
    """SQL that makes and fills a table of bit(f) codes, for psql or any driver.

    Of columns id (bigint or text, primary key), item_row (bigint) and code (bit(f), dimension 0
    first). It needs no extension: the queries in its head use bit_count on PostgreSQL 14 or later,
    or pgvector's Hamming operator, and have the order of the index.

    Args:
        index: what is written.
        path: the file.
        table: name of the new table, quoted as needed.

    Raises:
        ValueError: a name or an id with a character that PostgreSQL has not (NUL), a name with line
            breaks.

    One transaction. Deterministic. Memory: a few thousand rows.
    """
    index = index.snapshot()
    ids, length = index.ids, index.code_length
    if set(table) & set("\r\n"):  # it stands in comments too, which they would end
        raise ValueError(f"table: expected a name without line breaks, got {table!r}")
    name, text = _quoted(table, '"'), ids.dtype.kind == "U"
    nearest = f"FROM {name} ORDER BY distance, item_row LIMIT 10"
    head = [
        f"-- The 10 nearest of a code q, a bit({length}), on PostgreSQL 14 or later:",
        f"--   SELECT id, bit_count(code # q) AS distance {nearest};",
        "-- with pgvector 0.7 or later, which an index makes approximate and fast:",
        f"--   SELECT id, code <~> q AS distance {nearest};",
        f"--   CREATE INDEX ON {name} USING hnsw (code bit_hamming_ops);",
        "BEGIN;",
        "SET LOCAL standard_conforming_strings = on;",
        "SET LOCAL client_encoding = 'UTF8';",
        f"CREATE TABLE {name} (id {'text' if text else 'bigint'} PRIMARY KEY, "
        f"item_row bigint NOT NULL, code bit({length}) NOT NULL);",
    ]

    def write(temporary: Path) -> None:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write("\n".join(head) + "\n")
            for start in range(0, len(index), _CHUNK):
                rows = slice(start, start + _CHUNK)
                codes = bit_strings(index.codes[rows], length)
                raws = [_quoted(x, "'") if text else x for x in ids[rows].tolist()]
                values = [
                    f"({raw}, {row}, B'{code}')"
                    for row, (raw, code) in enumerate(zip(raws, codes, strict=True), start)
                ]
                file.write(f"INSERT INTO {name} VALUES\n" + ",\n".join(values) + ";\n")
            file.write("COMMIT;\n")

    write_atomic(path, write)


def write_milvus(index: HammingIndex, path: str | os.PathLike[str]) -> None:
    """A JSON file {"rows": [...]} for Milvus's import; in it "code" is a list of bytes."""

    def write(temporary: Path) -> None:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write('{"rows": [')
            for at, row in enumerate(milvus_rows(index)):
                file.write(",\n" if at else "\n")
                file.write(json.dumps({**row, "code": list(row["code"])}, ensure_ascii=False))
            file.write("\n]}\n")

    write_atomic(path, write)


def write_qdrant(index: HammingIndex, path: str | os.PathLike[str]) -> None:
    """qdrant_rows as JSON lines, each the arguments of a PointStruct."""

    def write(temporary: Path) -> None:
        with open(temporary, "w", encoding="utf-8") as file:
            for row in qdrant_rows(index):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")

    write_atomic(path, write)


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


def _library(module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"{module} cannot be imported: pip install {package}") from error


def _labels(index: HammingIndex) -> np.ndarray | None:
    """int ids; None where labels are rows."""
    ids = index.ids
    return None if ids.dtype.kind == "U" or np.array_equal(ids, np.arange(len(ids))) else ids


def _quoted(text: str, quote: str) -> str:
    if "\0" in text:
        raise ValueError(f"expected text without NUL for PostgreSQL, got {text!r}")
    return quote + text.replace(quote, 2 * quote) + quote
