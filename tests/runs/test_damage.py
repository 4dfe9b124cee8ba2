"""Damaged files of a run: each is refused with one line, or changes nothing."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import write_lightgcn

from hashgcn.data import Dataset, generate_sample, load
from hashgcn.files import load_arrays, save_arrays
from hashgcn.models import RecallHash
from hashgcn.runs import report
from hashgcn.runs.folder import Run
from hashgcn.runs.opened import open_run
from hashgcn.train import loop as loops

SETTINGS = {"code_length": 16, "epochs": 2, "batch_users": 20, "cutoffs": (5, 50)}
# How many damages of each kind; a number in the environment tries more.
TRIES = int(os.environ.get("HASHGCN_DAMAGES", "25"))
ODD = [None, True, -1, 0, 1.5, 10**30, float("nan"), "", "x", "\ud800", [], [1], {}, {"a": 1}]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Dataset:
    """A data set that is read from a folder."""
    folder = tmp_path_factory.mktemp("data") / "small"
    data = generate_sample(num_users=60, num_items=70, mean_degree=12.0)
    return load(write_lightgcn(folder, data))


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> tuple[Path, RecallHash]:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    return folder, RecallHash(**SETTINGS).fit(data, run=folder, progress=False)


@pytest.fixture(scope="module")
def stopped(data, tmp_path_factory) -> Path:
    """A run that stands in the middle of the refit's last epoch."""
    folder, step = tmp_path_factory.mktemp("runs") / "stopped", loops.Loop.step

    def ending(self, batch):
        if self.position.phase == "refit" and self.position.step == 1:
            raise InterruptedError
        return step(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loops.Loop, "step", ending)
        with pytest.raises(InterruptedError):
            RecallHash(**SETTINGS, checkpoint_minutes=0).fit(data, run=folder, progress=False)
    return folder


def damaged_bytes(content: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, lost, repeated or cleared."""
    at, kind = rng.randrange(len(content)), rng.randrange(5)
    end = min(len(content), at + rng.choice([1, 1, 2, 8, 100]))
    if kind == 0:
        return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]
    if kind == 1:
        return content[:at]
    if kind == 2:
        return content[:at] + content[end:]
    if kind == 3:
        return content[:end] + content[at:]
    return content[:at] + bytes(end - at) + content[end:]


def damaged_json(content: Any, rng: random.Random) -> Any:
    """Valid JSON with one value that is lost, renamed or of another kind."""
    content = json.loads(json.dumps(content))
    places: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                walk(node[key])

    walk(content)
    node, key = rng.choice(places)
    kind = rng.randrange(4)
    if kind == 0:
        del node[key]
    elif kind == 1 and isinstance(node, dict):
        node[f"{key}x"] = node.pop(key)
    else:
        node[key] = rng.choice(ODD)
    return content


def one_line(call: Callable[..., object], *arguments: object) -> object:
    """What the call gives; None where it is refused, with one line that is not too long."""
    try:
        return call(*arguments)
    except (ValueError, OSError) as error:
        assert len(str(error).splitlines()) == 1 and len(str(error)) < 1000, error
        return None


def resumed(data: Dataset, run: Run) -> RecallHash:
    return RecallHash(**SETTINGS).fit(data, run=run.folder, resume=True, progress=False)


def copied(folder: Path, to: Path) -> Run:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(folder, to)
    return Run(to)


def opened(folder: Path, model: RecallHash, with_report: bool) -> bool:
    """Opens a run, whose metrics are then those of the model."""
    found = open_run(folder)
    assert found.model.evaluate(found.data).test == model.metrics.test
    assert repr(found) and found.metrics.columns()
    if with_report:
        report.write(found, found.run.report)
    return True


FINISHED = [
    ("settings.json", "bytes"),
    ("settings.json", "values"),
    ("metrics.json", "bytes"),
    ("metrics.json", "values"),
    ("codes.safetensors", "bytes"),
]


@pytest.mark.parametrize(("file", "kind"), FINISHED)
def test_damage_of_a_finished_run(data, finished, tmp_path, file, kind):
    folder, model = finished
    rng, content = random.Random(f"{file} {kind}"), (folder / file).read_bytes()
    refused = 0
    for at in range(TRIES):
        run = copied(folder, tmp_path / "run")
        if kind == "bytes":
            (run.folder / file).write_bytes(damaged_bytes(content, rng))
        else:
            (run.folder / file).write_text(json.dumps(damaged_json(json.loads(content), rng)))
        refused += one_line(opened, run.folder, model, at % 25 == 0) is None
        one_line(resumed, data, run)
    assert refused


@pytest.mark.parametrize("kind", ["bytes", "values", "arrays"])
def test_damage_of_a_checkpoint(data, finished, stopped, tmp_path, kind):
    rng, (_, model) = random.Random(kind), finished
    content = Run(stopped).checkpoint.read_bytes()
    arrays, metadata = load_arrays(Run(stopped).checkpoint, "hashgcn.checkpoint")
    whole, refused = resumed(data, copied(stopped, tmp_path / "run")), 0
    assert whole.metrics.columns() == model.metrics.columns()
    for _ in range(TRIES):
        run = copied(stopped, tmp_path / "run")
        if kind == "bytes":
            run.checkpoint.write_bytes(damaged_bytes(content, rng))
        else:
            values, texts = dict(arrays), {"format": metadata["format"]}
            texts |= {name: metadata[name] for name in ("position", "identity")}
            if kind == "values":
                name = rng.choice(["position", "identity"])
                texts[name] = json.dumps(damaged_json(json.loads(texts[name]), rng))
            else:
                damage_array(values, rng)
            save_arrays(run.checkpoint, values, texts)
        found = one_line(resumed, data, run)
        refused += found is None
        if isinstance(found, RecallHash) and kind == "bytes":
            np.testing.assert_array_equal(
                found.recommender.user_codes, model.recommender.user_codes
            )
    assert refused > TRIES / 2


def damage_array(arrays: dict[str, np.ndarray], rng: random.Random) -> None:
    """An array that is lost, renamed, of another dtype or of another shape."""
    name = rng.choice(sorted(arrays))
    array, kind = arrays.pop(name), rng.randrange(4)
    if kind == 1:
        arrays[rng.choice([f"{name}x", "network.", "optimizer.x.step", "optimizer.0.1.2"])] = array
    elif kind == 2:
        arrays[name] = array.astype(np.float64 if array.dtype != np.float64 else np.int8)
    elif kind == 3:
        arrays[name] = array.reshape(-1)[: rng.randrange(array.size)]


def test_json_that_is_too_deep(data, finished, stopped, tmp_path):
    deep = "[" * 100_000
    for file in ("settings.json", "metrics.json"):
        run = copied(finished[0], tmp_path / "run")
        (run.folder / file).write_text(deep)
        with pytest.raises(ValueError, match=f"{file}: expected JSON, got"):
            open_run(run.folder)
    arrays, metadata = load_arrays(Run(stopped).checkpoint, "hashgcn.checkpoint")
    run = copied(stopped, tmp_path / "run")
    texts = {"format": "hashgcn.checkpoint", "identity": metadata["identity"], "position": deep}
    save_arrays(run.checkpoint, arrays, texts)
    with pytest.raises(ValueError, match="cannot resume from this checkpoint"):
        resumed(data, run)
