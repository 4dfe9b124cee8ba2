"""Hand-over to PostgreSQL: a table of bit strings, as SQL."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from hashgcn.files import write_atomic
from hashgcn.retrieval.export.bits import CHUNK, bit_strings
from hashgcn.retrieval.export.users import GradedUsers
from hashgcn.retrieval.index import HammingIndex


def write_postgres(
    index: HammingIndex | GradedUsers, path: str | os.PathLike[str], *, table: str | None = None
) -> None:
    """Writes SQL that creates and fills a table of bit(f) codes, for psql or any driver.

    The table has the columns id (bigint or text, primary key), item_row (bigint) and code (bit(f),
    dimension 0 first), and needs no extension. The head of the file shows two queries that find
    items in the order of the index: one uses bit_count of PostgreSQL 14 or later, the other
    pgvector's Hamming operator.

    The column code of graded users is bit(f)[]: element p + 1 is plane p, as PostgreSQL counts from
    1. The head then shows how far an item is from a user.

    Args:
        index: the index to write.
        path: the file to create or replace.
        table: name of the new table, quoted as needed; by default items, and users for graded
            users, whose query in the head reads both.

    Raises:
        ValueError: a name or an id with NUL, which PostgreSQL does not allow, or a name with line
            breaks.

    Note:
        One transaction. Deterministic. Memory: a few thousand rows.
    """
    index = index.snapshot()
    ids, length = index.ids, index.code_length
    graded = index.codes.ndim == 3
    table = ("users" if graded else "items") if table is None else table
    if set(table) & set("\r\n"):  # the name also stands in comments, which they would end
        raise ValueError(f"table: expected a name without line breaks, got {table!r}")
    name, text = _quoted("table", table, '"'), ids.dtype.kind == "T"
    head = [
        *(_graded_queries if graded else _plain_queries)(name, index),
        "BEGIN;",
        "SET LOCAL standard_conforming_strings = on;",
        "SET LOCAL client_encoding = 'UTF8';",
        f"CREATE TABLE {name} (id {'text' if text else 'bigint'} PRIMARY KEY, "
        f"item_row bigint NOT NULL, code bit({length}){'[]' if graded else ''} NOT NULL);",
    ]

    def write(temporary: Path) -> None:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write("\n".join(head) + "\n")
            for start in range(0, len(index), CHUNK):
                rows = slice(start, start + CHUNK)
                codes = _literals(index.codes[rows], length)
                raws = [_quoted("index", x, "'") if text else x for x in ids[rows].tolist()]
                values = [
                    f"({raw}, {row}, {code})"
                    for row, (raw, code) in enumerate(zip(raws, codes, strict=True), start)
                ]
                file.write(f"INSERT INTO {name} VALUES\n" + ",\n".join(values) + ";\n")
            file.write("COMMIT;\n")

    write_atomic(path, write)


def _plain_queries(name: str, index: HammingIndex | GradedUsers) -> list[str]:
    """Comments that show how to find the nearest items of a code."""
    nearest = f"FROM {name} ORDER BY distance, item_row LIMIT 10"
    return [
        f"-- The 10 nearest of a code q, a bit({index.code_length}), on PostgreSQL 14 or later:",
        f"--   SELECT id, bit_count(code # q) AS distance {nearest};",
        "-- with pgvector 0.7 or later, which an index makes approximate and fast:",
        f"--   SELECT id, code <~> q AS distance {nearest};",
        f"--   CREATE INDEX ON {name} USING hnsw (code bit_hamming_ops);",
    ]


def _graded_queries(name: str, index: HammingIndex | GradedUsers) -> list[str]:
    """Comments that show how to find the nearest items of a graded user."""
    distance = " + ".join(
        f"{1 << plane} * bit_count(items.code # users.code[{plane + 1}])"
        for plane in range(index.codes.shape[1])
    )
    return [
        "-- The 10 nearest of a table items for a user of this one, on PostgreSQL 14 or later:",
        f"--   SELECT items.id, {distance} AS distance",
        f"--   FROM items, {name} AS users WHERE users.id = q ORDER BY distance, items.item_row "
        "LIMIT 10;",
    ]


def _literals(words: np.ndarray, length: int) -> list[str]:
    """Codes as SQL writes them: bits, or arrays of bits."""
    if words.ndim == 2:
        return [f"B'{bits}'" for bits in bit_strings(words, length)]
    planes = [bit_strings(words[:, plane], length) for plane in range(words.shape[1])]
    lists = (", ".join(f"B'{bits}'" for bits in one) for one in zip(*planes, strict=True))
    return [f"ARRAY[{one}]" for one in lists]


def _quoted(argument: str, text: str, quote: str) -> str:
    if "\0" in text:
        raise ValueError(f"{argument}: expected text without NUL for PostgreSQL, got {text!r}")
    return quote + text.replace(quote, 2 * quote) + quote
