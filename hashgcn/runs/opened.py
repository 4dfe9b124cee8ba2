"""A finished run opened again: its model, its metrics and its data."""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from hashgcn import data as datasets
from hashgcn.data import Dataset
from hashgcn.models import METHODS, HashModel, Metrics
from hashgcn.models.base import check_same, metrics_of
from hashgcn.runs.folder import Run
from hashgcn.settings import described
from hashgcn.train.checkpoint import fingerprint


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
        """The data set from the run, from where it came from, or from where it has moved to."""
        source = self._asked["data"]
        if source["origin"] is None:
            return self._of_memory(source) if moved is None else datasets.load(moved)
        try:
            origin = _origin().validate_python(source["origin"]).model_dump(exclude_unset=True)
        except ValidationError as error:
            raise self.run.damaged_settings(described(error)) from None
        if moved is not None:
            is_folder_of_sets = Path(moved).is_dir() and origin["name"] in datasets.PUBLISHED
            origin |= {"root": str(moved)} if is_folder_of_sets else {"name": str(moved)}
        if self._moved.get("test") is not None:
            origin["test"] = str(self._moved["test"])
        return datasets.load(**origin, progress=False)

    def _of_memory(self, source: dict[str, Any]) -> Dataset:
        recommender = self.model.recommender
        assert recommender is not None  # it was loaded
        ids = recommender.user_ids, recommender.index.ids
        data = self.run.data(recommender.seen, *ids)
        if data is None:
            raise ValueError(
                f"data: expected a file, a folder or a Dataset for {self.run.folder}, whose "
                f"data set {source['name']!r} was made in memory, got None"
            )
        if fingerprint(data.train, data.test) != source["pairs"]:
            raise ValueError(
                f"data: expected the pairs of the fit in {self.run.folder}, got others"
            )
        return data

    def __repr__(self) -> str:
        return f"OpenedRun({str(self.run.folder)!r}, {type(self.model).__name__}, {self.metrics!r})"


def _origin() -> TypeAdapter[BaseModel]:
    """What Dataset.origin may hold: arguments of load, and of read_interactions."""
    reading = inspect.signature(datasets.read_interactions, eval_str=True).parameters.values()
    known: dict[str, Any] = {
        x.name: (x.annotation, x.default) for x in reading if x.kind is x.KEYWORD_ONLY
    }
    del known["progress"]
    known |= {"name": (str, ...)} | dict.fromkeys(("root", "test", "item_file"), (str | None, None))
    return TypeAdapter(create_model("Origin", __config__=ConfigDict(extra="forbid"), **known))


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
    asked = run.asked()
    method = METHODS.get(asked["method"])
    if method is None:
        raise ValueError(
            f"{folder}: expected a run of {', '.join(METHODS)}, got {asked['method']!r}"
        )
    model = method.load(run.codes)
    model.metrics = metrics_of(run, model.settings)
    return OpenedRun(run, model, asked, {"data": data, "test": test})
