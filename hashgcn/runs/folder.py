"""The folder of a run: nothing else knows which files it holds, and how they are written."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hashgcn import __version__
from hashgcn.data.interactions import Dataset, Interactions
from hashgcn.files import load_arrays, save_arrays, write_text

_DATA_FORMAT = "hashgcn.data"
_NONE = type(None)


class Run:
    """The files of a run.

    settings.json    what was asked for: method, settings, and where the data came from
    data.safetensors        of data that was made in memory, what codes.safetensors lacks of it
    metrics.json     what came out, see hashgcn.models.Metrics; written last
    codes.safetensors       the codes, see hashgcn.retrieval.Recommender
    checkpoint.safetensors  state of training; checkpoint.previous.safetensors is the one before
    curves.png       loss and validation metric by epoch
    report.html      the page of `hashgcn report`
    .lock            locked by the process that trains

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
        self.settings = self.folder / "settings.json"
        self._data = self.folder / "data.safetensors"
        self._metrics = self.folder / "metrics.json"
        self._curves = self.folder / "curves.png"
        self._lock = self.folder / ".lock"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """The folder, made if there is none, for one training alone; a thread may hold it twice.

        The system gives it back when the process ends, however that happens.

        Raises:
            ValueError: another training holds it.
        """
        from filelock import FileLock, Timeout

        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._lock.resolve(), timeout=0, is_singleton=True)
        try:
            lock.acquire()
        except Timeout:
            raise ValueError(
                f"run: expected a folder of its own, got {self.folder}, which another training "
                "is writing to"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def check_is_free(self) -> None:
        """Raise a ValueError if a training holds the folder; nothing is made."""
        if self._lock.exists():
            with self.held():
                pass

    def check_is_new(self) -> None:
        """Raise a ValueError if the folder holds a run."""
        begun = self.checkpoint.exists() or self.previous_checkpoint.exists()
        if self.is_finished() or begun:
            kind = "a finished run" if self.is_finished() else "an unfinished run"
            hint = "" if self.is_finished() else "; resume it (--resume)"
            raise ValueError(
                f"run: expected a new folder, got {self.folder}, which holds {kind}{hint}"
            )

    def is_finished(self) -> bool:
        """Whether the folder holds the end of a run."""
        return self._metrics.exists()

    def begin(
        self,
        method: str,
        settings: dict[str, Any],
        data: Dataset,
        pairs: str,
        start: str | None = None,
    ) -> None:
        """Write what is asked for, and what `data` needs to find the data again.

        Args:
            method, settings: name of the method, its settings by name.
            data: what is trained on.
            pairs: its fingerprint, see hashgcn.train.checkpoint.
            start: that of the run that it begins from, see hashgcn.train.start.
        """
        if data.origin is None:
            arrays = {"test.ptr": data.test.ptr, "test.ids": data.test.ids}
            more = {"train.order": data.train.order, "train.weights": data.train.weights}
            arrays |= {name: array for name, array in more.items() if array is not None}
            save_arrays(self._data, arrays, {"format": _DATA_FORMAT})
        else:
            self._data.unlink(missing_ok=True)  # of a run that came to nothing
        source = {"name": data.name, "origin": data.origin, "pairs": pairs}
        asked = {"method": method, "settings": settings, "data": source}
        asked |= {} if start is None else {"start": start}
        self._write(self.settings, {"version": __version__, **asked})

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
        content = self._read(self.settings, method=str, settings=dict, data=dict)
        self._check(self.settings, content["data"], name=str, origin=(dict, _NONE), pairs=str)
        return content

    def data(self, train: Interactions, user_ids: Any, item_ids: Any) -> Dataset | None:
        """The data set that was made in memory; None if it was not.

        Args:
            train, user_ids, item_ids: of the codes.

        Raises:
            ValueError: the file is damaged.
        """
        if not self._data.exists():
            return None
        arrays, _ = load_arrays(self._data, _DATA_FORMAT)
        try:
            order, weights = (arrays.pop(f"train.{x}", None) for x in ("order", "weights"))
            test = Interactions(arrays.pop("test.ptr"), arrays.pop("test.ids"), train.num_items)
            if arrays:
                raise ValueError(f"an array {next(iter(arrays))!r}")
            known = Interactions(train.ptr, train.ids, train.num_items, order, weights)
            return Dataset(self.asked()["data"]["name"], known, test, user_ids, item_ids)
        except (KeyError, ValueError) as error:
            raise ValueError(f"{self._data}: expected the data of the run, got {error}") from error

    def metrics(self) -> dict[str, Any]:
        """The metrics of a finished run; errors as of `asked`."""
        return self._read(self._metrics, test=dict, history=list)

    def damaged_metrics(self, reason: object) -> ValueError:
        """The error that metrics.json does not hold the metrics of the run."""
        return ValueError(f"{self._metrics}: expected the metrics of a run, got {reason}")

    def damaged_settings(self, reason: object) -> ValueError:
        """The error that settings.json does not hold what a run was asked for."""
        return ValueError(f"{self.settings}: expected the settings of a run, got {reason}")

    def _write(self, path: Path, content: dict[str, Any]) -> None:
        write_text(path, json.dumps(content, indent=2) + "\n")

    def _read(self, path: Path, **types: Any) -> dict[str, Any]:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; is {self.folder} the folder of a run?")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: expected JSON, got {error}") from error
        self._check(path, content, **types)
        return content

    def _check(self, path: Path, content: Any, **types: Any) -> None:
        found = content if isinstance(content, dict) else {}
        if not all(name in found and isinstance(found[name], kind) for name, kind in types.items()):
            raise ValueError(f"{path}: expected a JSON object with {', '.join(types)}, got another")
