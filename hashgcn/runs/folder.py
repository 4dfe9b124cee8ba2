"""The folder of a run: nothing else knows which files it holds, and how they are written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from hashgcn import __version__
from hashgcn.files import write_text


class Run:
    """The files of a run.

    settings.json    what was asked for: method, settings, and where the data came from
    metrics.json     what came out, see hashgcn.models.Metrics
    codes.safetensors       the codes, see hashgcn.retrieval.Recommender
    checkpoint.safetensors  state of training; checkpoint.previous.safetensors is the one before
    curves.png       loss and validation metric by epoch
    report.html      the page of `hashgcn report`

    Each of them is written atomically.

    Args:
        folder: made when the run begins.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.codes = self.folder / "codes.safetensors"
        self.checkpoint = self.folder / "checkpoint.safetensors"
        self.previous_checkpoint = self.folder / "checkpoint.previous.safetensors"
        self.report = self.folder / "report.html"
        self._settings = self.folder / "settings.json"
        self._metrics = self.folder / "metrics.json"
        self._curves = self.folder / "curves.png"

    def begin(
        self,
        method: str,
        settings: dict[str, Any],
        data: str,
        origin: dict[str, Any] | None,
        *,
        resume: bool = False,
    ) -> None:
        """Write what was asked for.

        Args:
            method, settings: name of the method, its settings by name.
            data, origin: name of the data set, see data.Dataset.
            resume: whether the folder may hold a run.

        Raises:
            ValueError: the folder holds a run, and resume is False.
        """
        if not resume:
            self.check_is_new()
        self.folder.mkdir(parents=True, exist_ok=True)
        asked = {"method": method, "settings": settings, "data": {"name": data, "origin": origin}}
        self._write(self._settings, {"version": __version__, **asked})

    def check_is_new(self) -> None:
        """Raise a ValueError if the folder holds a run."""
        begun = self.checkpoint.exists() or self.previous_checkpoint.exists()
        if self._metrics.exists() or begun:
            kind = "a finished run" if self._metrics.exists() else "an unfinished run"
            hint = "" if self._metrics.exists() else "; resume it (--resume)"
            raise ValueError(
                f"run: expected a new folder, got {self.folder}, which holds {kind}{hint}"
            )

    def finish(self, metrics: dict[str, Any], metric: str) -> None:
        """Write what came out, beside the codes.

        Args:
            metrics: Metrics as JSON holds them.
            metric: the one that chose the number of epochs.
        """
        from hashgcn.runs.curves import save_curves

        save_curves(metrics["history"], metric, metrics["epochs"], self._curves)
        self._write(self._metrics, metrics)

    def asked(self) -> dict[str, Any]:
        """What `begin` wrote; ValueError if it is damaged, FileNotFoundError if there is no run."""
        return self._read(self._settings, ("method", "settings", "data"))

    def metrics(self) -> dict[str, Any]:
        """The metrics of a finished run; errors as of `asked`."""
        return self._read(self._metrics, ("test", "history"))

    def _write(self, path: Path, content: dict[str, Any]) -> None:
        write_text(path, json.dumps(content, indent=2) + "\n")

    def _read(self, path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; is {self.folder} the folder of a run?")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: expected JSON, got {error}") from error
        if not isinstance(content, dict) or not all(key in content for key in keys):
            raise ValueError(f"{path}: expected a JSON object with {', '.join(keys)}, got another")
        return content
