"""The commands evaluate and report: what a finished run came to."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hashgcn.cli import options


def evaluate(
    run: options.RunFolder,
    data: options.MovedData = None,
    test_file: options.MovedTest = None,
    threads: options.Threads = 0,
    as_json: options.Json = False,
) -> None:
    """Print the test metrics of a run's codes.

    All items are ranked for all users. Beside the metrics stand those of ranking by popularity, of
    ties broken by raw id, and the bounds that the order of ties leaves open. It says so if
    popularity or ItemKNN beats the codes, or if they waste bits.

    Example: hashgcn evaluate runs/gowalla
    """
    import time

    import torch

    from hashgcn.cli.tables import cold_line, metrics_table, ties_table
    from hashgcn.models import code_remarks, remarks
    from hashgcn.runs.opened import open_run

    if threads:
        torch.set_num_threads(threads)
    opened = open_run(run, data=data, test=test_file)
    interactions, started = opened.data, time.perf_counter()
    found = opened.model.evaluate(interactions)
    seconds = time.perf_counter() - started
    metric = opened.model.settings.selection.selection_metric
    use, index = opened.model.code_use(), opened.model.index()
    taste_bits = index.code_length - index.popularity_bits
    said = code_remarks(use, interactions.train, taste_bits)
    said += remarks(found.test, interactions, metric)
    if as_json:
        content = {**asdict(found), "code_use": asdict(use), "remarks": said}
        content["evaluation_seconds"] = round(seconds, 3)
        typer.echo(json.dumps(content, indent=2))
        return
    columns = {"popularity": found.popularity, "codes": found.test}
    columns |= {"original order": found.original_order, **ties_table(found.ties)}
    typer.echo(metrics_table(columns))
    for line in (cold_line(found.cold_test_users, found.cold_test_items), *said):
        if line:
            typer.echo(line)
    users = int((interactions.test.degrees() > 0).sum())
    typer.echo(
        f"{users:,} users and {interactions.test.num_items:,} items, evaluated in {seconds:.2f} s "
        f"({torch.get_num_threads()} threads)"
    )


def report(
    run: options.RunFolder,
    titles: Annotated[
        Path | None,
        typer.Option(help="CSV, TSV, JSON lines or Parquet file with the titles of the items."),
    ] = None,
    title_columns: Annotated[
        str | None,
        typer.Option(
            metavar="ID,TITLE", help="Columns of --titles; by default its first two columns."
        ),
    ] = None,
    data: options.MovedData = None,
    test_file: options.MovedTest = None,
    out: Annotated[Path | None, typer.Option(help="The page; by default RUN/report.html.")] = None,
) -> None:
    """Write an HTML report of a run.

    It begins with a verdict in words, and shows curves, quality, codes, distances, popularity and
    examples, in one HTML file that needs no network. A run without test pairs (--split none) has a
    report without quality and distances.

    Example: hashgcn report runs/plays --titles tracks.csv --title-columns track_id,name
    """
    columns = tuple(title_columns.split(",")) if title_columns is not None else None
    if columns is not None and (titles is None or len(columns) != 2):
        raise ValueError(
            f"--title-columns: expected ID,TITLE and --titles with it, got {title_columns!r}"
        )
    from hashgcn.runs import report as page
    from hashgcn.runs.opened import open_run

    opened = open_run(run, data=data, test=test_file)
    names = None
    if titles is not None:
        names = page.read_titles(titles, opened.data.item_ids, columns)
    path = out or opened.run.report
    page.write(opened, path, names)
    typer.echo(f"saved {path}")
