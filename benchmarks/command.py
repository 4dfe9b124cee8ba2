"""What the commands of this folder share: errors of the caller's making are one line on stderr."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer


def app(function: Callable[..., None]) -> typer.Typer:
    """A command line of one command, made of a function with typer's annotations."""

    @functools.wraps(function)
    def command(*arguments: Any, **options: Any) -> None:
        try:
            function(*arguments, **options)
        except (ValueError, OSError) as error:
            typer.echo(f"benchmarks: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(1) from None

    made = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    made.command()(command)
    return made
