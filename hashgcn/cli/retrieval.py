"""The commands recommend and export: what the codes of a run are for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hashgcn.cli import options
from hashgcn.cli.tables import counted, printable
from hashgcn.runs.folder import Run


def recommend(
    run: options.RunFolder,
    user: Annotated[list[str], typer.Option(help="Raw ids of users; several may follow.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", hidden=True)] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of items per user.")] = 10,
    popularity_weight: Annotated[
        float | None,
        typer.Option(min=-1, max=1, help="Weight of popularity; by default 1, as trained."),
    ] = None,
    keep_seen: Annotated[
        bool, typer.Option(help="Recommend items that the user already has, too.")
    ] = False,
    cold_users: Annotated[
        Literal["popular", "error"],
        typer.Option(help="What users get who are unknown or have no items in train."),
    ] = "popular",
    untrained_items: Annotated[
        bool,
        typer.Option("--untrained-items", help="Rank the items, too, that nobody has in train."),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Print the best items of users, from a run's codes.

    Each item comes with its score; for users who are unknown or have no items in train, with its
    number of users.

    Example: hashgcn recommend runs/gowalla --user 0 7 -k 20
    """
    from hashgcn.retrieval import Recommender

    recommender = Recommender.load(Run(run).codes)
    wanted: list[Any] = user + (more or [])  # --user takes one value, the others follow it
    if recommender.user_ids.dtype.kind == "i":
        for at, text in enumerate(wanted):
            try:
                wanted[at] = int(text)
            except ValueError:
                raise ValueError(f"--user: expected an integer id, got {text!r}") from None
    found = recommender.recommend(
        wanted,
        k,
        exclude_seen=not keep_seen,
        cold_users=cold_users,
        untrained_items=untrained_items,
        popularity_weight=popularity_weight,
    )
    cold = recommender.is_cold(wanted).tolist()
    for raw, is_cold, ids, scores, count in zip(wanted, cold, *found, found.counts, strict=True):
        items, values = ids[:count].tolist(), scores[:count].tolist()
        if as_json:
            line = {"user": raw, "items": items, "scores": values, "cold": is_cold}
            typer.echo(json.dumps(line))
            continue
        shown = [counted(x, "user") if is_cold else f"{x:+d}" for x in values]
        listed = (f"{printable(x)} ({value})" for x, value in zip(items, shown, strict=True))
        title = f"{printable(raw)}, the most popular" if is_cold else printable(raw)
        typer.echo(f"{title}: " + "  ".join(listed))


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
        bool,
        typer.Option(
            "--users", help="Export the codes of users, which are the queries, not items."
        ),
    ] = False,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain",
            help="With --users: the signs of graded codes alone, which every engine takes.",
        ),
    ] = False,
    table: Annotated[
        str | None,
        typer.Option(
            help="Name of the new table, for --to postgres; items, or users with --users."
        ),
    ] = None,
) -> None:
    """Export the codes of a run or an index to another engine.

    Example: hashgcn export runs/gowalla --to faiss --out items.faiss
    """
    from hashgcn.retrieval import HammingIndex, Recommender, export

    codes: HammingIndex | export.GradedUsers
    if to not in export.WRITERS:
        raise ValueError(f"--to: expected one of {', '.join(export.WRITERS)}, got {to!r}")
    if plain and not users:
        raise ValueError("--plain: expected --users with it, got it alone")
    if table is not None and to != "postgres":
        raise ValueError(f"--table: expected --to postgres with it, got {to}")
    if run.is_dir():
        recommender = Recommender.load(Run(run).codes)
        codes = recommender.index
        if users and recommender.levels > 1 and not plain:
            if to not in export.GRADED_WRITERS:
                raise ValueError(
                    f"--to: expected one of {', '.join(export.GRADED_WRITERS)} for graded users, "
                    f"or --plain for their signs alone, got {to}"
                )
            codes = export.GradedUsers.of(recommender)
        elif users:
            codes = HammingIndex(
                recommender.plain_user_codes,
                code_length=codes.code_length,
                ids=recommender.user_ids,
            )
    elif users:
        raise ValueError(f"--users: expected the folder of a run with it, got {run}")
    else:
        codes = HammingIndex.load(run, mmap=True, verify=True)
    try:
        if to == "postgres":
            name = ("users" if users else "items") if table is None else table
            export.write_postgres(codes, out, table=name)
        elif isinstance(codes, HammingIndex):
            export.WRITERS[to](codes, out)
        else:
            export.GRADED_WRITERS[to](codes, out)
    except ImportError as error:
        raise ValueError(f"--to {to}: {error}") from error
    planes = f" in {codes.codes.shape[1]} planes" if codes.codes.ndim == 3 else ""
    typer.echo(f"{len(codes):,} codes of {codes.code_length} bits{planes} saved to {out}")
