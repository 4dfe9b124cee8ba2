"""The command compare: codes beside baselines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hashgcn.cli import data as cli_data
from hashgcn.cli import options


@cli_data.with_reading
def compare(
    dataset: Annotated[
        str, typer.Argument(help="A name, a folder, a file or a pattern, as for train.")
    ],
    data: options.DataFolder = None,
    reading: Any = None,
    code_lengths: Annotated[
        str, typer.Option(metavar="BITS,...", help="Numbers of bits of RecallHash's codes.")
    ] = "32,64,128",
    ease_items: Annotated[
        int, typer.Option(help="Leave EASE out where there are more items.")
    ] = 10_000,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of training and of the validation part.")] = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting that RecallHash and LightGCN share; may be repeated.",
        ),
    ] = None,
    threads: options.Threads = 0,
    out: Annotated[
        Path | None, typer.Option(help="Folder for compare.json and compare.png.")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="Show no progress bar.")] = False,
    as_json: options.Json = False,
) -> None:
    """Compare codes with baselines on one split.

    These are popularity, ItemKNN, EASE, ALS if the package implicit is installed, and LightGCN.
    Settings are chosen on a part of train, and test is looked at once.

    Example: hashgcn compare plays.csv --user-column user --item-column track --out compared
    """
    try:
        lengths = tuple(int(x) for x in code_lengths.split(","))
    except ValueError:
        raise ValueError(
            f"--code-lengths: expected numbers such as 32,64, got {code_lengths!r}"
        ) from None

    import torch

    from hashgcn import models
    from hashgcn.cli.tables import comparison_table
    from hashgcn.cli.train import check_device
    from hashgcn.data import load
    from hashgcn.runs.comparison import save_comparison
    from hashgcn.settings import from_text

    if threads:
        torch.set_num_threads(threads)
    check_device(device)
    shared = models.fields(models.RecallHash.network)
    interactions = load(dataset, data, progress=not quiet, **reading)
    typer.echo(cli_data.summary(interactions), err=as_json)
    found = models.compare(
        interactions,
        code_lengths=lengths,
        seed=seed,
        device=device,
        most_ease_items=ease_items,
        progress=not quiet,
        settings=from_text(settings or [], shared),
    )
    if out is not None:
        save_comparison(found, out)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=2))
        return
    typer.echo(comparison_table(found.rows))
    for name, reason in found.skipped.items():
        typer.echo(f"skipped {name}: {reason}")
    typer.echo(found.verdict)
    if out is not None:
        typer.echo(f"saved {out / 'compare.json'} and {out / 'compare.png'}")
