from __future__ import annotations

from collections.abc import Callable

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner


@pytest.fixture(scope="session")
def invoke() -> Callable[..., Result]:
    """invoke(app, *arguments) runs a command in this process."""

    def run(app: typer.Typer, *arguments: object) -> Result:
        return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)

    return run
