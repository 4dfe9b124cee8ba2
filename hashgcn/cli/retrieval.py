"""The commands recommend and export: what the codes of a run are for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hashgcn.cli import options
from hashgcn.cli.tables import counted, printable
from hashgcn.runs.folder import Run

if TYPE_CHECKING:
    import numpy as np
    from tqdm import tqdm

    from hashgcn.retrieval import Recommender
    from hashgcn.retrieval.export.recommendations import Batches


def recommend(
    run: options.RunFolder,
    user: Annotated[
        list[str] | None, typer.Option(help="Raw ids of users; several may follow.")
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", hidden=True)] = None,
    all_users: Annotated[
        bool, typer.Option("--all", help="Recommend to all users of the run; needs --out.")
    ] = False,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of items per user.")] = 10,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to create or replace, whose name ends in .parquet, .csv or .jsonl."
        ),
    ] = None,
    allow: Annotated[
        Path | None,
        typer.Option(
            help="File of the only items that may be recommended: one raw id per line; or .jsonl "
            'with {"user": ..., "items": [...]} per line, which holds for each user alone.'
        ),
    ] = None,
    deny: Annotated[
        Path | None,
        typer.Option(help="File of items that must not be recommended, in the same formats."),
    ] = None,
    ignore_unknown: Annotated[
        bool,
        typer.Option("--ignore-unknown", help="Skip items of these files that the run lacks."),
    ] = False,
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
    quiet: Annotated[bool, typer.Option(help="Show no progress bar.")] = False,
    as_json: options.Json = False,
) -> None:
    """Print or save the best items of users, from a run's codes.

    Each item comes with its score; for users who are unknown or have no items in train, with its
    number of users.

    Example: hashgcn recommend runs/gowalla --user 0 7 -k 20
    Example: hashgcn recommend runs/gowalla --all -k 50 --out recs.parquet
    """
    from hashgcn.retrieval import Recommender
    from hashgcn.retrieval.export.recommendations import check_path, write_recommendations

    wanted: list[Any] | None = (user or []) + (more or [])  # --user takes one, the others follow
    if bool(wanted) == all_users:
        raise ValueError(f"--user: expected ids or --all, got {'both' if all_users else 'neither'}")
    if out is None and all_users:
        raise ValueError("--out: expected a file with --all, got none")
    if out is not None:
        if as_json:
            raise ValueError("--json: expected it without --out, got both")
        check_path(out)
    recommender = Recommender.load(Run(run).codes)
    wanted = None if all_users else _of_kind("--user", wanted, recommender.user_ids)
    allowed, denied = (
        None if path is None else _items_of_file(option, path, recommender, wanted)
        for option, path in (("--allow", allow), ("--deny", deny))
    )
    batches = recommender.recommend_in_batches(
        wanted,
        k,
        exclude_seen=not keep_seen,
        allow=allowed,
        deny=denied,
        ignore_unknown=ignore_unknown,
        cold_users=cold_users,
        untrained_items=untrained_items,
        popularity_weight=popularity_weight,
    )
    if out is not None:
        from tqdm import tqdm

        total = len(recommender.user_codes if wanted is None else wanted)
        with tqdm(desc="recommend", total=total, unit="user", disable=quiet) as bar:
            write_recommendations(_shown(batches, bar), out)
        typer.echo(f"the items of {counted(total, 'user')} saved to {out}")
        return
    for raw_ids, found in batches:
        for raw, one in zip(raw_ids.tolist(), found.to_dicts(), strict=True):
            if as_json:
                typer.echo(json.dumps({"user": raw, **one}))
            else:
                typer.echo(_line(raw, **one))


def _line(user: object, items: list, scores: list[int], cold: bool) -> str:
    """A line for people."""
    shown = [counted(x, "user") if cold else f"{x:+d}" for x in scores]
    listed = (f"{printable(x)} ({value})" for x, value in zip(items, shown, strict=True))
    title = f"{printable(user)}, the most popular" if cold else printable(user)
    return f"{title}: " + "  ".join(listed)


def _shown(batches: Batches, bar: tqdm) -> Batches:
    """The same batches, each of which moves the bar."""
    for users, found in batches:
        yield users, found
        bar.update(len(users))


def _of_kind(option: str, texts: list[str] | None, known: np.ndarray) -> list[Any]:
    """Ids given as text, as integers where the known ones are."""
    texts = texts or []
    if known.dtype.kind != "i":
        return list(texts)
    ids = []
    for text in texts:
        try:
            ids.append(int(text))
        except ValueError:
            raise ValueError(f"{option}: expected an integer id, got {text!r}") from None
    return ids


def _items_of_file(
    option: str, path: Path, recommender: Recommender, wanted: list[Any] | None
) -> list[Any]:
    """The raw ids in a file: one list for all users, or one for each, in the order of `wanted`."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{option}: expected a file in UTF-8, got {path}: {error}") from None
    lines = [line.removesuffix("\r") for line in lines]
    if path.suffix != ".jsonl":
        return _of_kind(option, [line for line in lines if line], recommender.index.ids)
    user_ids = recommender.user_ids
    lists: dict[Any, list[Any]] = {}
    kind = int if user_ids.dtype.kind == "i" else str
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            content = json.loads(line)
            user, items = content["user"], content["items"]
        except (KeyError, TypeError, ValueError):
            user = items = None
        if type(user) is not kind or not isinstance(items, list):
            raise ValueError(
                f'{option}: expected {{"user": {kind.__name__}, "items": [...]}} in every line of '
                f"{path}, got another in line {number}"
            )
        lists.setdefault(user, []).extend(items)
    users = user_ids.tolist() if wanted is None else wanted
    return [lists.get(user, []) for user in users]


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
                    f"or --plain for their signs alone, which rank worse, got {to}; training with "
                    "user_levels=1 is best for engines that take signs alone"
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
