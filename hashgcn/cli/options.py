"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]
Threads = Annotated[int, typer.Option(min=0, help="Number of CPU threads; 0 for torch's default.")]
MovedData = Annotated[
    Path | None, typer.Option("--data", help="Where the run's data is now, if it has moved.")
]
MovedTest = Annotated[
    Path | None,
    typer.Option("--test-file", help="Where the run's test events are now, if they have moved."),
]
DataFolder = Annotated[
    Path | None,
    typer.Option("--data", help="Folder that holds the folder of a published data set."),
]
