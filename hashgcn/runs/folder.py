"""The folder of a run: which files it holds, each written atomically."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashgcn import __version__
from hashgcn.files import write_text

if TYPE_CHECKING:
    from pydantic import BaseModel


class Run:
    """Paths of a run's files.

    settings.json    what was asked: method, data set, how it is read, settings
    metrics.json     what came out
    codes.safetensors       packed codes with raw ids, see hashgcn.retrieval.recommender
    checkpoint.safetensors  state of training; checkpoint.previous.safetensors is the one before
    curves.png       loss and validation metric by epoch
    report.html      the page of `hashgcn report`
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.settings = self.folder / "settings.json"
        self.metrics = self.folder / "metrics.json"
        self.codes = self.folder / "codes.safetensors"
        self.checkpoint = self.folder / "checkpoint.safetensors"
        self.previous_checkpoint = self.folder / "checkpoint.previous.safetensors"
        self.curves = self.folder / "curves.png"
        self.report = self.folder / "report.html"

    def has_checkpoint(self) -> bool:
        """Whether there is a state to resume, if only the one before."""
        return self.checkpoint.exists() or self.previous_checkpoint.exists()


def write_settings(
    run: Run,
    method: str,
    dataset: str,
    data: str | None,
    settings: BaseModel,
    reading: dict[str, Any] | None = None,
) -> None:
    """What was asked of a run.

    Args:
        method: its name.
        dataset, data: name and root of data.load.
        settings: of the method.
        reading: further arguments of data.load.
    """
    write_json(
        run.settings,
        {
            "method": method,
            "dataset": dataset,
            "data": data,
            "reading": reading or {},
            "settings": settings.model_dump(mode="json"),
            "version": __version__,
        },
    )


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Content of a run's JSON file; ValueError names a file that is not one."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; is {path.parent} the folder of a run?")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, got {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content
