"""What the commands are."""

from __future__ import annotations

from typing import Annotated

import typer

from hashgcn import __version__
from hashgcn.cli import compare, data, info, report, retrieval, train

app = typer.Typer(
    help="Graph hashing for recommendation: binary codes for users and items.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data.app, name="data", help="List, fetch and describe data sets.")
for command in (
    *(train.train, report.evaluate, compare.compare, retrieval.recommend),
    *(retrieval.export, report.report, info.info),
):
    app.command()(command)


@app.callback(invoke_without_command=True)
def _main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
