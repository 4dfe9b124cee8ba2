"""Runs that are stopped, killed, started twice: nothing is lost, and nothing is mixed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from command_line import hashgcn, hashgcn_started
from folders import write_lightgcn

from hashgcn.data import Dataset, generate_sample
from hashgcn.models import RecallHash
from hashgcn.retrieval import Recommender
from hashgcn.runs.folder import Run
from hashgcn.train import loop as loops
from hashgcn.train.interrupt import ENDING, interruptible

SETTINGS = {"code_length": 24, "epochs": 3, "batch_users": 32, "cutoffs": (5, 20)}
SETTINGS["selection_metric"] = "recall@20"
STEPS = 5  # of an epoch


@pytest.fixture(scope="module")
def data() -> Dataset:
    return generate_sample(num_users=150, num_items=200, mean_degree=20.0)


def fitted(data: Dataset, minutes: float = 5, **options):
    model = RecallHash(**SETTINGS, checkpoint_minutes=minutes)
    return model.fit(data, progress=False, **options)


@pytest.fixture(scope="module")
def whole(data):
    """A model that was trained without a stop; tests only read it."""
    return fitted(data)


def assert_equal(model, whole) -> None:
    mine, theirs = model.recommender, whole.recommender
    np.testing.assert_array_equal(mine.user_codes, theirs.user_codes)
    np.testing.assert_array_equal(mine.index.codes, theirs.index.codes)
    assert model.metrics.history == whole.metrics.history
    assert model.metrics.columns() == whole.metrics.columns()


def at_step(monkeypatch, number: int, event) -> None:
    """Calls event() during a step of the run, from 1."""
    done, step = 0, loops.Loop.step

    def counted(self, batch):
        nonlocal done
        done += 1
        if done == number:
            event()
        return step(self, batch)

    monkeypatch.setattr(loops.Loop, "step", counted)


class Died(Exception):
    """What a kill is in this process: nothing is saved from here on."""


def die() -> None:
    raise Died


@pytest.mark.parametrize("step", [2, 4, 7, 16, 18])
def test_checkpoints_within_an_epoch_lose_no_step(data, whole, tmp_path, monkeypatch, step):
    with monkeypatch.context() as patch:
        at_step(patch, step, die)
        with pytest.raises(Died):
            fitted(data, minutes=0, run=tmp_path)
    done = 0
    original = loops.Loop.step

    def counted(self, batch):
        nonlocal done
        done += 1
        return original(self, batch)

    monkeypatch.setattr(loops.Loop, "step", counted)
    resumed = fitted(data, run=tmp_path, resume=True)
    assert_equal(resumed, whole)
    assert done == len(whole.metrics.history) * STEPS - (step - 1)


def test_checkpoints_come_as_often_as_the_setting_says(data, tmp_path, monkeypatch):
    saves, clock = [], [0.0]
    monkeypatch.setattr(
        loops.Checkpoints, "save", lambda self, position, *_: saves.append(position.step)
    )
    monkeypatch.setattr(loops.time, "monotonic", lambda: clock[0])
    step = loops.Loop.step

    def slow(self, batch):
        clock[0] += 61
        return step(self, batch)

    monkeypatch.setattr(loops.Loop, "step", slow)
    RecallHash(**SETTINGS | {"epochs": 1}, checkpoint_minutes=2, validation_fraction=0).fit(
        data, run=tmp_path, progress=False
    )
    assert saves == [2, 4, 0]  # after 122 and 244 seconds, and after the epoch


@contextlib.contextmanager
def handled(number: int, handler):
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("step", [2, STEPS, 17])
def test_a_signal_reaches_its_handler_when_a_checkpoint_is_saved(
    data, whole, tmp_path, monkeypatch, number, step
):
    seen = []

    def handler(number, frame):
        seen.append((number, Run(tmp_path).checkpoint.exists()))

    with handled(number, handler), monkeypatch.context() as patch:
        at_step(patch, step, lambda: os.kill(os.getpid(), number))
        with pytest.raises(KeyboardInterrupt):
            fitted(data, run=tmp_path)
        assert signal.getsignal(number) is handler
    assert seen == [(number, True)]
    assert_equal(fitted(data, run=tmp_path, resume=True), whole)


def test_a_signal_ends_the_validation_without_waiting_for_it(data, whole, tmp_path, monkeypatch):
    def long(*args, **options):
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the validation went on")

    with monkeypatch.context() as patch:
        patch.setattr(loops, "evaluate", long)
        with pytest.raises(KeyboardInterrupt):
            fitted(data, run=tmp_path)
    assert_equal(fitted(data, run=tmp_path, resume=True), whole)


def test_a_second_signal_is_not_held_back(data, tmp_path, monkeypatch):
    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the step went on")

    at_step(monkeypatch, 2, twice)
    with pytest.raises(KeyboardInterrupt):
        fitted(data, run=tmp_path)
    assert not Run(tmp_path).checkpoint.exists()


def test_an_ignored_signal_stays_ignored():
    with handled(signal.SIGHUP, signal.SIG_IGN), interruptible() as caught:
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGHUP)
        assert not caught


def test_a_folder_that_is_trained_into_is_refused_and_can_be_read(data, tmp_path, monkeypatch):
    fitted(data, run=tmp_path / "done")
    other = {}

    def second():
        def fit():
            try:
                fitted(data, run=tmp_path / "done", resume=True)
            except ValueError as error:
                other["thread"] = str(error)

        thread = threading.Thread(target=fit)
        thread.start()
        thread.join()
        command = [sys.executable, "-m", "hashgcn", "train", "sample", "--out", tmp_path / "done"]
        other["process"] = subprocess.run(
            [*command, "--resume"], capture_output=True, text=True, check=False
        )
        other["evaluate"] = hashgcn("evaluate", tmp_path / "done")

    with Run(tmp_path / "done").held():
        second()
    refusal = f"run: expected a folder of its own, got {tmp_path / 'done'}, which another training"
    assert other["thread"].startswith(refusal)
    assert other["process"].returncode == 1
    assert other["process"].stderr == f"hashgcn: {other['thread']}\n"
    assert other["evaluate"].returncode == 0
    fitted(data, run=tmp_path / "done", resume=True)


@pytest.mark.parametrize("words", [("sample", "--set", "colour=1"), ("nowhere",)])
def test_a_refused_command_makes_no_folder(tmp_path, words):
    done = hashgcn("train", *words, "--out", tmp_path / "run")
    assert done.returncode == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize("size", ["2", "many"])
def test_one_of_several_processes_is_refused(data, tmp_path, monkeypatch, size):
    monkeypatch.setenv("WORLD_SIZE", size)
    words = f"WORLD_SIZE: expected 1, as training runs in one process, got {size}"
    with pytest.raises(ValueError, match=words):
        fitted(data)
    done = hashgcn("train", "sample", "--out", tmp_path / "run")
    assert done.returncode == 1 and words in done.stderr and not (tmp_path / "run").exists()
    monkeypatch.setenv("WORLD_SIZE", "1")
    RecallHash(**SETTINGS | {"epochs": 1}).fit(data, progress=False)


@pytest.fixture(scope="module")
def small(tmp_path_factory, data) -> Path:
    """The data set as a folder in LightGCN's format."""
    folder = tmp_path_factory.mktemp("data") / "small"
    return write_lightgcn(folder, data)


def words(small: Path, out: Path) -> list[object]:
    """A training of a few hundred steps that saves after each."""
    options = ["--set", "epochs=12", "--set", "patience=12", "--set", "batch_users=32"]
    options += ["--set", "checkpoint_minutes=0", "--code-length", 24, "--quiet", "--resume"]
    return ["train", small, "--out", out, *options]


@pytest.fixture(scope="module")
def reference(tmp_path_factory, small):
    """The codes and the history of the command, not stopped."""
    out = tmp_path_factory.mktemp("reference") / "run"
    assert hashgcn(*words(small, out)).returncode == 0
    return outcome(out)


def outcome(out: Path):
    recommender = Recommender.load(Run(out).codes)
    codes = recommender.user_codes.tobytes(), recommender.index.codes.tobytes()
    return *codes, Run(out).metrics()["history"]


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        *(pytest.param(x, marks=pytest.mark.slow) for x in ENDING if x != signal.SIGTERM),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_one_command_repeated_until_it_succeeds(small, reference, tmp_path, number):
    out = tmp_path / "run"
    for delay in (0, 0.7):  # once in the middle of training, once in its imports or later
        process = hashgcn_started(*words(small, out))
        deadline = time.monotonic() + 120
        while not Run(out).checkpoint.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
        if number == signal.SIGKILL:
            assert process.returncode == -number
        else:
            assert process.returncode == 128 + number
            hint = "; continue with --resume"  # not in the imports, where nothing was begun
            assert stderr.replace(hint, "") == "hashgcn: interrupted\n"
    done = hashgcn(*words(small, out))
    assert done.returncode == 0, done.stderr
    assert outcome(out) == reference
    again = hashgcn(*words(small, out), "--json")
    assert again.returncode == 0
    said = f"hashgcn: {out} held the finished run; these are its metrics\n"
    assert again.stderr.startswith(said)
    assert json.loads(again.stdout) == Run(out).metrics()
