"""Warm starts: rows by id, what is held out, flips, identity, and what does not fit."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from command_line import hashgcn

from hashgcn.data import Dataset, generate_sample
from hashgcn.models import METHODS, LightGCN, RecallHash
from hashgcn.models.base import loop_of
from hashgcn.retrieval import unpack_codes, unpack_levels
from hashgcn.runs.folder import Run
from hashgcn.train import loop as loops
from hashgcn.train.checkpoint import network_at_end
from hashgcn.train.start import Start

SETTINGS = {"code_length": 24, "epochs": 2, "batch_users": 32, "cutoffs": (5, 20)}
SETTINGS |= {"selection_metric": "recall@20", "validation_fraction": 0}


def pairs_of(data: Dataset, part: str, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    pairs = getattr(data, part)
    users, items = data.user_ids[pairs.users()[kept]], data.item_ids[pairs.ids[kept]]
    return users, items


@pytest.fixture(scope="module")
def both() -> tuple[Dataset, Dataset]:
    """Two data sets: some users, items and pairs are in one alone, and rows are others."""
    data = generate_sample(num_users=150, num_items=200, mean_degree=20.0)
    rng, found = np.random.default_rng(0), []
    for gone in (0, 1):
        parts = []
        for part in ("train", "test"):
            pairs = getattr(data, part)
            kept = (pairs.users() % 10 != gone) & (pairs.ids % 10 != 2 + gone)
            kept &= rng.random(pairs.num_pairs) < 0.9
            parts.append(pairs_of(data, part, kept))
        found.append(Dataset.from_pairs(f"week {gone}", *parts))
    assert found[0].item_ids.tolist() != found[1].item_ids.tolist()
    return found[0], found[1]


def fitted(data: Dataset, **options):
    return RecallHash(**SETTINGS).fit(data, progress=False, **options)


@pytest.fixture(scope="module")
def old(both, tmp_path_factory):
    """A run and its model; tests only read them."""
    folder = tmp_path_factory.mktemp("old")
    return folder, fitted(both[0], run=folder)


@pytest.fixture(scope="module")
def warm(both, old):
    return fitted(both[1], start=old[1])


def shared(one: np.ndarray, other: np.ndarray) -> list[tuple[int, int]]:
    rows = {raw: at for at, raw in enumerate(one.tolist())}
    return [(rows[raw], at) for at, raw in enumerate(other.tolist()) if raw in rows]


@pytest.mark.parametrize("method", METHODS)
def test_rows_follow_their_ids_and_new_ones_stay_as_drawn(method, both):
    before, after = both
    options = {"code_length": 48, "epochs": 1, "validation_fraction": 0}
    model = METHODS[method](**options).fit(before, progress=False)
    settings = model.settings
    graph = after.train.graph()
    drawn, filled = (model.network(graph, settings.network, 0) for _ in range(2))
    Start(model._end, after.user_ids, after.item_ids).fill(filled)
    users, items = (
        shared(getattr(before, name), getattr(after, name)) for name in ("user_ids", "item_ids")
    )
    assert 0 < len(users) < len(after.user_ids) and 0 < len(items) < len(after.item_ids)
    m, others = len(before.user_ids), len(after.user_ids)
    rows = {"users": users, "items": items}
    rows["nodes"] = users + [(m + old, others + new) for old, new in items]
    names = set()
    for name, value in filled.state_dict().items():
        end, kind = model._end.state[name], filled.rows_of.get(name)
        if kind is None:
            assert torch.equal(value, end)
            assert value.shape[0] not in (len(after.user_ids), len(after.item_ids))
            continue
        names.add(name)
        want = drawn.state_dict()[name].clone()
        for before_row, after_row in rows[kind]:
            want[after_row] = end[before_row]
        assert torch.equal(value, want)
    assert any(name != "popularity.level" for name in names)


def test_a_folder_and_a_model_are_the_same_start(both, old, warm):
    again = fitted(both[1], start=old[0])
    np.testing.assert_array_equal(again.recommender.user_codes, warm.recommender.user_codes)
    np.testing.assert_array_equal(again.recommender.index.codes, warm.recommender.index.codes)
    assert again.metrics.flipped == warm.metrics.flipped
    state = network_at_end(Run(old[0]).checkpoint)
    assert all(torch.equal(value, state[name]) for name, value in old[1]._end.state.items())


def test_flips_are_counted_by_id(both, old, warm):
    before, after = old[1].recommender, warm.recommender
    shares = warm.metrics.flipped
    users = [unpack_levels(x.user_codes, 24) for x in (before, after)]
    planes = [(x[..., None] + 3).astype(int) // 2 >> np.arange(2) & 1 for x in users]
    rows = np.array(shared(before.user_ids, after.user_ids)).T
    assert shares["users"] == round((planes[0][rows[0]] != planes[1][rows[1]]).mean(), 6)
    items = [unpack_codes(x.index.codes, 24) for x in (before, after)]
    rows = np.array(shared(before.index.ids, after.index.ids)).T
    assert shares["items"] == round((items[0][rows[0]] != items[1][rows[1]]).mean(), 6)
    # A fresh start has codes of its own.
    fresh = Start(old[1]._end, both[1].user_ids, both[1].item_ids).flipped(
        *(lambda x: (x.user_codes, x.index.codes))(fitted(both[1]).recommender)
    )
    assert shares["users"] < 0.8 * fresh["users"] and shares["items"] < 0.8 * fresh["items"]
    assert fitted(both[1]).metrics.flipped is None


def test_nobody_in_common(both, old):
    other = replace(
        both[1],
        user_ids=np.array([f"new {x}" for x in both[1].user_ids.tolist()]),
        item_ids=np.array([f"new {x}" for x in both[1].item_ids.tolist()]),
    )
    rate = {"learning_rate": 0.015}  # that of a fresh start
    found, fresh = (
        RecallHash(**SETTINGS, **rate).fit(other, progress=False, start=start)
        for start in (old[1], None)
    )
    assert found.metrics.flipped == {"users": None, "items": None}
    np.testing.assert_array_equal(found.recommender.user_codes, fresh.recommender.user_codes)


def interrupt_before(monkeypatch, number: int) -> None:
    """Ctrl-C during the given step of the run, from 1 on."""
    step, done = loops.Loop.step, []

    def counted(self, batch):
        done.append(batch)
        if len(done) == number:
            os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch)

    monkeypatch.setattr(loops.Loop, "step", counted)


@pytest.mark.parametrize("step", [1, 7, 12])
def test_a_resumed_run_equals_an_uninterrupted_one(both, old, tmp_path, monkeypatch, step):
    settings = SETTINGS | {"validation_fraction": 0.5}
    whole = RecallHash(**settings).fit(both[1], start=old[0], progress=False)
    with monkeypatch.context() as patch:
        interrupt_before(patch, step)
        with pytest.raises(KeyboardInterrupt):
            RecallHash(**settings).fit(both[1], start=old[0], run=tmp_path, progress=False)
    options = {"run": tmp_path, "resume": True, "progress": False}
    for wrong in ({}, {"start": whole}):
        with pytest.raises(ValueError, match="expected the same run, got one with another start"):
            RecallHash(**settings).fit(both[1], **options, **wrong)
    for _ in range(2):  # resumed, then taken from the finished run
        model = RecallHash(**settings).fit(both[1], start=old[1], **options)
        np.testing.assert_array_equal(model.recommender.user_codes, whole.recommender.user_codes)
        np.testing.assert_array_equal(model.recommender.index.codes, whole.recommender.index.codes)
        assert model.metrics.flipped == whole.metrics.flipped
        assert model.metrics.history == whole.metrics.history
    with pytest.raises(ValueError, match="expected the same run, got one with another start"):
        RecallHash(**settings).fit(both[1], **options)


def test_only_pairs_that_the_start_lacks_are_held_out(both, old):
    train, ids = both[1].train, (both[1].user_ids, both[1].item_ids)
    start = Start(old[1]._end, *ids)
    known = set(zip(*(x.tolist() for x in pairs_of(both[0], "train", slice(None))), strict=True))
    _, held = train.split(0.5, seed=0)
    part, new = start.hold_out(train, held)
    pairs = [(x.users() * x.num_items + x.ids).tolist() for x in (train, held, part, new)]
    want = [
        pair
        for pair in pairs[1]
        if (ids[0][pair // train.num_items], ids[1][pair % train.num_items]) not in known
    ]
    assert 0 < len(want) < len(pairs[1])
    assert pairs[3] == want and sorted(pairs[2] + pairs[3]) == pairs[0]
    settings = SETTINGS | {"validation_fraction": 0.5}
    found = RecallHash(**settings).fit(both[0], start=old[1], progress=False).metrics
    assert found.validation is None and len(found.history) == SETTINGS["epochs"]


def test_what_does_not_fit(both, old, tmp_path):
    data, (folder, model) = both[1], old
    for other, message in (
        (LightGCN(code_length=24), "start: expected a run of lightgcn, got one of recall_hash"),
        (RecallHash(code_length=32), "start: expected a run with code_length 32, got one with 24"),
        (
            RecallHash(code_length=24, user_levels=1),
            "start: expected a run with (popularity_bits|user_levels) .*, got one with",
        ),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            other.fit(data, start=folder, progress=False)
        with pytest.raises(ValueError, match=f"^{message}"):
            other.fit(data, start=model, progress=False)
    loaded = RecallHash.load(Run(folder).codes)
    for start, message in (
        (loaded, "start: expected a model that was fitted in this process, or the folder of a run"),
        (tmp_path / "none", "start: expected the folder of a finished run, got .*, which holds"),
    ):
        with pytest.raises(ValueError, match=f"^{message}"):
            fitted(data, start=start)
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("settings.json", "metrics.json", "codes.safetensors"):
        (bare / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ValueError, match=r"^start: expected .*, without its checkpoint$"):
        fitted(data, start=bare)
    (bare / "checkpoint.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors: "):
        fitted(data, start=bare)
    numbers = replace(data, user_ids=np.arange(len(data.user_ids)))
    with pytest.raises(
        ValueError, match=r"^data: expected ids of the start's users \(str\), got 0"
    ):
        fitted(numbers, start=model)


def test_the_command_line_says_how_much_changed(tmp_path):
    options = ("--code-length", 32, "--set", "epochs=1", "--set", "validation_fraction=0")
    options = (*options, "--quiet")
    first, second = tmp_path / "first", tmp_path / "second"
    assert hashgcn("train", "sample", "--out", first, *options).returncode == 0
    done = hashgcn("train", "sample", "--out", second, *options, "--from", first)
    assert done.returncode == 0, done.stderr
    flipped = json.loads((second / "metrics.json").read_text())["flipped"]
    assert 0 < flipped["users"] < 0.3 and 0 < flipped["items"] < 0.3
    line = f"bits that differ from {first}: {flipped['users']:.1%} of those of users and "
    assert f"{line}{flipped['items']:.1%} of those of items\n" in done.stdout
    assert json.loads((second / "settings.json").read_text())["start"]
    done = hashgcn("train", "sample", "--out", tmp_path / "third", "--from", tmp_path / "none")
    assert done.returncode == 1
    assert done.stderr.startswith("hashgcn: start: expected the folder of a finished run, got")


def test_settings_that_the_start_chose_are_taken_over(both):
    """So that the codes of both weeks mean the same; those that are given are not."""
    chosen = {"tau_score": 3.21, "popularity_bits": 3, "learning_rate": 0.0123}
    options = {"code_length": 24, "epochs": 1, "validation_fraction": 0.1}
    first = RecallHash(**options).fit(both[0], progress=False)
    end = replace(first._end, chosen=chosen, form=first._end.form | {"popularity_bits": 3})
    first._end = end
    given = RecallHash(**options, learning_rate=0.02)
    loop = loop_of(given, both[1].train, warm=Start(end, both[1].user_ids, both[1].item_ids))
    assert loop.begin == {"tau_score": 3.21, "popularity_bits": 3} and loop.search.most == 1
    rows = both[1].user_ids, both[1].item_ids
    free = loop_of(RecallHash(code_length=24), both[1].train, warm=Start(end, *rows))
    assert free.begin == {**chosen, "learning_rate": 0.005, "epochs": 2}
    with pytest.raises(ValueError, match="expected a run with popularity_bits 5, got one with 3"):
        RecallHash(**options, popularity_bits=5).fit(both[1], start=first, progress=False)
