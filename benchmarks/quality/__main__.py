"""The published table beside ours: `python -m benchmarks.quality`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import command
from benchmarks.harness.machine import RESULTS
from benchmarks.quality import results, runs, tables
from benchmarks.quality import rows as declared


def main(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="ROW", help="Rows or groups, see --list. Default: all."),
    ] = None,
    run: Annotated[bool, typer.Option("--run", help="Train what has no stored result.")] = False,
    data: Annotated[
        Path | None, typer.Option(help="Folder that contains gowalla and yelp2018; for --run.")
    ] = None,
    data_set: Annotated[
        list[str] | None,
        typer.Option(
            help="gowalla, yelp2018 or sample; may be repeated. Default: gowalla and yelp2018."
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Use the seeds 0 to N-1 instead of the rows' own.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for tables and pictures.")] = Path(
        "build/reproduction"
    ),
    stored: Annotated[
        Path | None,
        typer.Option("--results", help="Folder of results. Default: benchmarks/results/quality."),
    ] = None,
    work: Annotated[Path, typer.Option(help="Folder for the runs' folders.")] = Path(
        "runs/reproduction"
    ),
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a setting, with --results elsewhere."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="With --run: train stored results again.")
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 for torch's default.")] = 0,
    show: Annotated[
        bool, typer.Option("--list", help="List the rows, their groups and what is stored.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress bars.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make the published table beside ours from the stored results.

    With --run, what is missing is trained first. Each result is stored at once, and an interrupted
    run continues where it was.

    Example: python -m benchmarks.quality table --data data --run
    """
    if force and not run:
        raise ValueError("--force: expected --run with it, got none")
    if settings and stored is None:
        raise ValueError("--set: expected --results with a folder of the trial's own, got none")
    stored = stored or RESULTS / "quality"
    rows = declared.select(names or [], data_set or [])
    if seeds is not None:
        rows = declared.with_seeds(rows, seeds)
    rows = results.with_settings(rows, settings or [])
    if show:
        listed = tables.listed(rows, stored)
        typer.echo(json.dumps(listed, indent=1) if as_json else tables.listing(listed))
        return
    failed = []
    if run:
        runs.check_device(device)
        runs.check_data(rows, data)
        if force:
            runs.forget(rows, stored, work)
        try:
            failed = runs.run_missing(
                rows,
                data=data,
                stored=stored,
                work=work,
                device=device,
                threads=threads,
                progress=not quiet,
            )
        except KeyboardInterrupt:
            again = " without --force" if force else ""
            typer.echo(f"benchmarks: interrupted; continue with the same command{again}", err=True)
            raise typer.Exit(130) from None
    written = tables.write(rows, stored, out)
    typer.echo(written[0 if as_json else 1].read_text(encoding="utf-8"))
    for path in written:
        typer.echo(f"saved {path}", err=as_json)
    if failed:
        raise ValueError(f"{len(failed)} runs failed: {'; '.join(failed)}")
    absent = sum(len(results.missing(stored, row)) for row in rows)
    if absent:
        typer.echo(f"missing or stale: {absent}; --run trains them", err=as_json)


app = command.app(main)

if __name__ == "__main__":
    app()
