"""A finished run opened again: its model, its metrics and its data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hashgcn import data as datasets
from hashgcn.data import Dataset
from hashgcn.models import METHODS, HashModel, Metrics
from hashgcn.models.base import check_same
from hashgcn.runs.folder import Run


@dataclass(frozen=True, eq=False, repr=False)
class OpenedRun:
    """A finished run: its folder, its model with metrics, and its data.

    Attributes:
        run: the folder.
        model: the fitted model with its metrics.
        data: the data set that it was fitted to, read again when it is first asked for.
    """

    run: Run
    model: HashModel
    _asked: dict[str, Any]
    _moved: dict[str, Any]

    @property
    def metrics(self) -> Metrics:
        """What the fit came to."""
        assert self.model.metrics is not None  # open_run read them
        return self.model.metrics

    @cached_property
    def data(self) -> Dataset:
        """The data set; ValueError if it has other users, items or train pairs than the codes."""
        data = self._moved.get("data")
        if not isinstance(data, Dataset):
            data = self._read(data)
        assert self.model.recommender is not None
        check_same(self.model.recommender, data)
        return data

    def _read(self, moved: str | os.PathLike[str] | None) -> Dataset:
        """The data set from where it came from, or from where it has moved to."""
        origin = self._asked["data"]["origin"]
        if origin is None:
            if moved is None:
                name = self._asked["data"]["name"]
                raise ValueError(
                    f"data: expected a file, a folder or a Dataset for {self.run.folder}, whose "
                    f"data set {name!r} was made in memory, got None"
                )
            return datasets.load(moved)
        origin = dict(origin)
        if moved is not None:
            is_folder_of_sets = Path(moved).is_dir() and origin["name"] in datasets.PUBLISHED
            origin |= {"root": str(moved)} if is_folder_of_sets else {"name": str(moved)}
        if self._moved.get("test") is not None:
            origin["test"] = str(self._moved["test"])
        return datasets.load(**origin)

    def __repr__(self) -> str:
        return f"OpenedRun({str(self.run.folder)!r}, {type(self.model).__name__}, {self.metrics!r})"


def open_run(
    folder: str | os.PathLike[str],
    *,
    data: Dataset | str | os.PathLike[str] | None = None,
    test: str | os.PathLike[str] | None = None,
) -> OpenedRun:
    """Open the folder of a finished run, whether Python or the command line made it.

        >>> import tempfile, hashgcn
        >>> folder = tempfile.mkdtemp() + "/run"
        >>> model = hashgcn.RecallHash(code_length=32, epochs=1, validation_fraction=0)
        >>> model = model.fit(hashgcn.load("sample"), run=folder, progress=False)
        >>> opened = hashgcn.open_run(folder)
        >>> opened.data
        Dataset('sample', 2,000 users, 1,500 items, 56,396 train and 14,071 test pairs)
        >>> opened.metrics.test == model.metrics.test
        True

    Args:
        folder: the folder.
        data: where the data set is now, if it has moved: a file, a folder, or the data set itself.
        test: where the file of test events is now, if it has moved.

    Raises:
        FileNotFoundError: no finished run there.
        ValueError: damaged files; reading `data` raises it for other data.
    """
    run = Run(folder)
    asked, metrics = run.asked(), run.metrics()
    method = METHODS.get(asked["method"])
    if method is None:
        raise ValueError(
            f"{folder}: expected a run of {', '.join(METHODS)}, got {asked['method']!r}"
        )
    model = method.load(run.codes)
    try:
        model.metrics = Metrics(**metrics)
    except TypeError as error:
        raise ValueError(f"{folder}: expected the metrics of a run, got {error}") from error
    return OpenedRun(run, model, asked, {"data": data, "test": test})
