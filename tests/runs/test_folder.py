"""A run's folder: what Python makes the command line opens, and the reverse, for every method."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import hashgcn
from folders import write_lightgcn

import hashgcn as package
from hashgcn.data import generate_sample
from hashgcn.models import METHODS, HashModel
from hashgcn.retrieval import Recommender
from hashgcn.runs.folder import Run

FILES = {"settings.json", "metrics.json", "codes.safetensors", "checkpoint.safetensors"}
FILES |= {"checkpoint.previous.safetensors", "curves.png", ".lock"}
SHORT = {"epochs": 2, "validation_fraction": 0, "code_length": 48}
SHORT_OPTIONS = [part for name, value in SHORT.items() for part in ("--set", f"{name}={value}")]


@pytest.fixture(scope="module", params=METHODS)
def method(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A small data set in LightGCN's format, in a folder of its own."""
    folder = tmp_path_factory.mktemp("data") / "small"
    data = generate_sample(num_users=150, num_items=200, mean_degree=20.0)
    return write_lightgcn(folder, data)


@pytest.fixture(scope="module")
def made_in_python(method, small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("python") / method
    model = METHODS[method](**SHORT).fit(package.load(small), run=folder, progress=False)
    return folder, model


def test_a_run_made_in_python_opens_in_the_command_line(made_in_python):
    folder, model = made_in_python
    assert {path.name for path in folder.iterdir()} == FILES
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    done = hashgcn("evaluate", folder, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["test"] == model.metrics.test
    done = hashgcn("report", folder)
    assert done.returncode == 0, done.stderr
    assert f"{model.metrics.test['recall@50']:.4f}" in (folder / "report.html").read_text("utf-8")
    done = hashgcn("recommend", folder, "--user", 3, "-k", 4, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"] == model.recommend([3], k=4).ids[0].tolist()
    assert hashgcn("export", folder, "--to", "numpy", "--out", folder / "x.npz").returncode == 0


def test_a_run_of_the_command_line_opens_in_python(method, small, tmp_path, made_in_python):
    out = tmp_path / "run"
    done = hashgcn(*("train", small, "--method", method, "--out", out, "--quiet"), *SHORT_OPTIONS)
    assert done.returncode == 0, done.stderr
    opened, (_, model) = package.open_run(out), made_in_python
    assert type(opened.model) is METHODS[method]
    assert opened.model.settings == model.settings
    assert opened.metrics.test == model.metrics.test
    assert opened.metrics.rankings == model.metrics.rankings
    np.testing.assert_array_equal(opened.model.recommender.user_codes, model.recommender.user_codes)
    assert opened.model.evaluate(opened.data).test == model.metrics.test
    assert repr(opened.data) == repr(package.load(small))
    assert method.replace("_", "") in repr(opened).lower()


def test_save_and_load(made_in_python, tmp_path):
    folder, model = made_in_python
    model.save(tmp_path / "model")
    for path in (tmp_path / "model", folder / "codes.safetensors"):
        for kind in (type(model), HashModel):
            loaded = kind.load(path)
            assert type(loaded) is type(model) and loaded.settings == model.settings
            users = [1, 100]
            for mine, theirs in zip(loaded.recommend(users), model.recommend(users), strict=True):
                np.testing.assert_array_equal(mine, theirs)
    other = METHODS["hashrec" if model.method != "hashrec" else "bgch"]
    with pytest.raises(
        ValueError, match=f"expected a file of {other.__name__}, got {model.method}"
    ):
        other.load(tmp_path / "model")
    model.recommender.save(tmp_path / "codes")
    with pytest.raises(ValueError, match=r"expected a file of HashModel, got no method"):
        HashModel.load(tmp_path / "codes")
    assert np.array_equal(
        Recommender.load(tmp_path / "model").user_codes, model.recommender.user_codes
    )
    again = pickle.loads(pickle.dumps(model))
    assert again.metrics == model.metrics and again.settings == model.settings


@pytest.mark.parametrize("in_time", [True, False])
def test_data_made_in_memory_is_kept_with_the_run(tmp_path, in_time):
    data = generate_sample(num_users=150, num_items=200, mean_degree=20.0)
    if in_time:
        order = np.random.default_rng(0).permutation(data.train.num_pairs)
        data = replace(data, train=replace(data.train, order=order))
    folder = tmp_path / "run"
    model = package.RecallHash(**SHORT).fit(data, run=folder, progress=False)
    assert json.loads((folder / "settings.json").read_text())["method"] == "recall_hash"
    opened = package.open_run(folder)
    assert repr(opened.data) == repr(data)
    for mine, theirs in ((opened.data.train, data.train), (opened.data.test, data.test)):
        np.testing.assert_array_equal(mine.ptr, theirs.ptr)
        np.testing.assert_array_equal(mine.ids, theirs.ids)
    if in_time:
        np.testing.assert_array_equal(opened.data.train.order, order)
    done = hashgcn("evaluate", folder, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["test"] == model.metrics.test
    assert hashgcn("report", folder).returncode == 0

    opened = package.open_run(folder, data=data)
    assert opened.data is data and opened.model.evaluate(data).test == opened.metrics.test
    other = generate_sample(seed=1, num_users=150, num_items=200, mean_degree=20.0)
    with pytest.raises(ValueError, match="data: expected the items of the fit, got others"):
        assert package.open_run(folder, data=other).data
    (folder / "data.safetensors").unlink()
    done = hashgcn("evaluate", folder)
    assert done.returncode == 1 and "whose data set 'sample' was made in memory" in done.stderr


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("settings.json", "{", "settings.json: expected JSON, got"),
        ("settings.json", "[1]", "settings.json: expected a JSON object with method, settings"),
        (
            "settings.json",
            '{"method": "x", "settings": {}, "data": {"name": "", "origin": null, "pairs": ""}}',
            "expected a run of recall",
        ),
        (
            "settings.json",
            '{"method": "recall_hash", "settings": {}, "data": {"name": 3}}',
            "settings.json: expected a JSON object with name, origin, pairs, got another",
        ),
        ("metrics.json", "{}", "metrics.json: expected a JSON object with test, history"),
        (
            "metrics.json",
            '{"test": {}, "history": []}',
            "metrics.json: expected the metrics of a run",
        ),
        ("metrics.json", None, "metrics.json: no such file; is .* the folder of a run"),
        ("codes.safetensors", "", "codes.safetensors: "),
    ],
)
def test_damaged_folders_are_refused(tmp_path, file, content, words):
    data = generate_sample(num_users=150, num_items=200, mean_degree=20.0)
    package.RecallHash(**SHORT | {"epochs": 1}).fit(data, run=tmp_path / "run", progress=False)
    path = tmp_path / "run" / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        package.open_run(tmp_path / "run")


def test_paths_of_a_run(tmp_path):
    run = Run(tmp_path)
    run.check_is_new()
    run.previous_checkpoint.touch()  # what a run that stopped between two renames leaves
    with pytest.raises(ValueError, match="which holds an unfinished run; resume it"):
        run.check_is_new()
