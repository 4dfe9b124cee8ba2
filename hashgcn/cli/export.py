"""Command line of hand-over: codes of a run or of an index for other engines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hashgcn.runs.folder import Run


def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a finished run, or a saved index.")
    ],
    to: Annotated[
        str,
        typer.Option(
            help="index, faiss, usearch, numpy, parquet, postgres (SQL), milvus (JSON) or qdrant "
            "(JSON lines)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="File to create or replace.")],
    users: Annotated[
        bool, typer.Option("--users", help="The users' codes, the queries, not the items'.")
    ] = False,
    table: Annotated[str | None, typer.Option(help="Of postgres: the new table's name.")] = None,
) -> None:
    """Codes of a run or an index for another engine.

    Example: hashgcn export runs/gowalla --to faiss --out items.faiss
    """
    from hashgcn.retrieval import HammingIndex, Recommender, export

    if to not in export.WRITERS:
        raise ValueError(f"--to: expected one of {', '.join(export.WRITERS)}, got {to!r}")
    if table is not None and to != "postgres":
        raise ValueError(f"--table: expected --to postgres with it, got {to}")
    if run.is_dir():
        recommender = Recommender.load(Run(run).codes)
        if recommender.scales is not None:
            raise ValueError(
                f"{run}: expected codes ranked by Hamming distance alone, got weighted ones"
            )
        index = recommender.index
        if users:
            index = HammingIndex(
                recommender.user_codes, code_length=index.code_length, ids=recommender.user_ids
            )
    elif users:
        raise ValueError(f"--users: expected the folder of a run with it, got {run}")
    else:
        index = HammingIndex.load(run, mmap=True)
    try:
        if table is None:
            export.WRITERS[to](index, out)
        else:
            export.write_postgres(index, out, table=table)
    except ImportError as error:
        raise ValueError(f"--to {to}: {error}") from error
    typer.echo(f"{len(index):,} codes of {index.code_length} bits saved to {out}")
