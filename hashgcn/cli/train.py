"""The command train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hashgcn.cli import data as cli_data
from hashgcn.cli import options
from hashgcn.cli.signals import Ended
from hashgcn.runs.folder import Run
from hashgcn.settings import from_text
from hashgcn.train.processes import check_alone


@cli_data.with_reading
def train(
    dataset: Annotated[
        str,
        typer.Argument(
            help="A name of `hashgcn data list`, a folder in LightGCN's format, or events: a file, "
            "a folder of files or a pattern in quotes."
        ),
    ],
    out: Annotated[Path, typer.Option(help="New folder for the run's files.")],
    data: options.DataFolder = None,
    reading: Any = None,
    method: Annotated[
        str, typer.Option(help="recall_hash, lightgcn, bgch, hashgnn or hashrec.")
    ] = "recall_hash",
    code_length: Annotated[
        int | None,
        typer.Option(help="Total number of bits of a code; by default the method's."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    seed: Annotated[
        int, typer.Option(help="Seed of initial values, training order and validation part.")
    ] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting; may be repeated."),
    ] = None,
    threads: options.Threads = 0,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="Folder of a finished run of the same method, whose embeddings this one begins "
            "from.",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Begin the run, or continue it, or print the metrics of its end."
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option(help="Show no progress bar.")] = False,
    as_json: options.Json = False,
) -> None:
    """Train codes and evaluate them on the test pairs.

    Settings that are not given and the number of epochs are chosen on a part of train; the model is
    then fitted to all of train and evaluated once. Everything is saved to a folder; --json prints
    its metrics.json.

    Example: hashgcn train plays.csv --user-column user --item-column track --out runs/plays
    """
    check_alone()
    run = Run(out)
    run.check_is_free()
    if not resume:
        run.check_is_new()

    import torch

    from hashgcn.cli.tables import cold_line, metrics_table, trials_table
    from hashgcn.data.catalogue import is_file_of_events, load
    from hashgcn.evaluate import evaluate_popularity
    from hashgcn.models import METHODS, code_remarks, fields, remarks

    if method not in METHODS:
        raise ValueError(f"--method: expected one of {', '.join(METHODS)}, got {method!r}")
    given: dict[str, Any] = {"seed": seed}
    if code_length is not None:
        given["code_length"] = code_length
    model = METHODS[method](**given | from_text(settings or [], fields(METHODS[method].network)))
    if threads:
        torch.set_num_threads(threads)
    check_device(device)
    try:
        interactions = load(dataset, data, progress=not quiet, **reading)
        if is_file_of_events(dataset):
            typer.echo(cli_data.summary(interactions), err=as_json)
        finished = run.is_finished()
        model.fit(
            interactions, device=device, run=out, start=start, resume=resume, progress=not quiet
        )
    except Ended as end:
        typer.echo("hashgcn: interrupted; continue with --resume", err=True)
        raise typer.Exit(128 + end.number) from None
    metrics = model.metrics
    assert metrics is not None  # as it is fitted
    if finished:
        typer.echo(f"hashgcn: {out} held the finished run; these are its metrics", err=True)
    index = model.index()
    taste_bits = index.code_length - index.popularity_bits
    said = code_remarks(metrics.code_use or model.code_use(), interactions.train, taste_bits)
    if metrics.test:
        said += remarks(metrics.test, interactions, model.settings.selection.selection_metric)
    if as_json:
        typer.echo(json.dumps(metrics.to_json(), indent=2))
        for line in said:
            typer.echo(line, err=True)
        return
    if len(metrics.trials) > 1:
        metric = model.settings.selection.selection_metric
        typer.echo(trials_table(metrics, metric))
    if metrics.test:
        popularity = evaluate_popularity(interactions, model.settings.selection.cutoffs)
        typer.echo(metrics_table({"popularity": popularity, **metrics.columns()}))
        cold = cold_line(metrics.cold_test_users, metrics.cold_test_items)
        said = [cold, *said] if cold else said
    else:
        typer.echo(f"no test metrics: {interactions.name} has no test pairs")
    for line in said:
        typer.echo(line)
    typer.echo(
        f"{metrics.epochs} epochs in {metrics.train_seconds:.1f} s, selected in "
        f"{metrics.selection_seconds:.1f} s; peak memory {metrics.peak_memory_mb:.0f} MB"
    )
    if metrics.flipped is not None:
        shares = " and ".join(
            f"{share:.1%} of those of {name}"
            for name, share in metrics.flipped.items()
            if share is not None
        )
        typer.echo(f"bits that differ from {start}: {shares or 'none in common'}")
    typer.echo(f"saved to {out}")


def check_device(name: str) -> None:
    """Raise a ValueError if torch has no such device here."""
    import torch

    try:
        torch.zeros(1, device=name).item()
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"--device: expected a device of this machine, got {name!r}: {reason}"
        ) from error
