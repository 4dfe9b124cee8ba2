"""The command line as a person uses it."""

from __future__ import annotations

import json

import pytest
from command_line import hashgcn


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of the sample."""
    out = tmp_path_factory.mktemp("runs") / "sample"
    done = hashgcn("train", "sample", "--out", out, "--code-length", 32, "--set", "epochs=2")
    assert done.returncode == 0, done.stderr
    assert "recall@20" in done.stdout and "popularity" in done.stdout
    assert "selection" in done.stderr and "loss=" in done.stderr
    return out


def test_a_run_holds_its_files(run):
    names = {path.name for path in run.iterdir()}
    assert names >= {"settings.json", "metrics.json", "codes.safetensors", "curves.png"}
    settings = json.loads((run / "settings.json").read_text())
    assert settings["dataset"] == "sample" and settings["settings"]["code_length"] == 32


def test_evaluate_repeats_the_runs_metrics(run):
    done = hashgcn("evaluate", run, "--json")
    assert done.returncode == 0, done.stderr
    again, written = json.loads(done.stdout), json.loads((run / "metrics.json").read_text())
    for key in ("test", "test_original_order", "test_ties", "popularity_ranking"):
        assert again[key] == written[key]
    assert "users" in hashgcn("evaluate", run).stdout


def test_another_method_with_weighted_codes(tmp_path):
    out = tmp_path / "bgch"
    options = ("--set", "epochs=1", "--set", "validation_fraction=0", "--quiet")
    done = hashgcn("train", "sample", "--out", out, "--method", "bgch", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:3] == ["popularity", "test", "test_plain"]
    settings = json.loads((out / "settings.json").read_text())
    assert settings["method"] == "bgch" and settings["settings"]["code_length"] == 192
    again = json.loads(hashgcn("evaluate", out, "--json").stdout)
    written = json.loads((out / "metrics.json").read_text())
    for key in ("test", "test_original_order", "popularity_ranking"):
        assert again[key] == written[key]
    assert "test_ties" not in again and "test_ties" not in written
    line = hashgcn("recommend", out, "--user", "user-0003", "-k", 4).stdout
    assert line.startswith("user-0003: ") and line.count("(+") == 4


def test_recommend(run):
    done = hashgcn("recommend", run, "--user", "user-0003", "user-0100", "-k", 4)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["user-0003", "user-0100"]
    assert all(line.count("(") == 4 for line in lines)
    plain = json.loads(hashgcn("recommend", run, "--user", "user-0003", "-k", 4, "--json").stdout)
    assert len(plain["items"]) == len(plain["scores"]) == 4
    dialled = hashgcn("recommend", run, "--user", "user-0003", "--popularity", -1, "--json")
    assert json.loads(dialled.stdout)["items"][:4] != plain["items"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("recommend", "{run}", "--user", "nobody"),
            "expected ids of users seen in training, got 'nobody'",
        ),
        (("recommend", "{run}/missing", "--user", "x"), "no such file"),
        (("evaluate", "{run}/missing"), "no such file"),
        (("train", "sample", "--out", "{run}"), "expected a new folder"),
        (("train", "nowhere", "--out", "{run}/new"), "'sample'"),
        (("train", "gowalla", "--out", "{run}/new"), "root: expected the folder"),
        (("train", "gowalla", "--data", "{run}", "--out", "{run}/new"), "train.txt"),
        (("train", "sample", "--out", "{run}/new", "--set", "epochs"), "KEY=VALUE, got 'epochs'"),
        (("train", "sample", "--out", "{run}/new", "--set", "epochs=x"), "epochs: "),
        (("train", "sample", "--out", "{run}/new", "--set", "colour=1"), "colour: "),
        (
            ("train", "sample", "--out", "{run}/new", "--method", "x"),
            "--method: expected one of rec",
        ),
        (("train", "sample", "--out", "{run}/new", "--resume"), "no checkpoint"),
        (("train", "sample", "--out", "{run}/new", "--device", "cuda:77"), "device"),
    ],
)
def test_errors_are_one_line(run, arguments, words):
    done = hashgcn(*(str(a).format(run=run) for a in arguments))
    assert done.returncode == 1
    assert done.stderr.startswith("hashgcn: ") and done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr


def test_malformed_data_is_reported_with_file_line_and_content(tmp_path):
    (tmp_path / "train.txt").write_text("0 1 2\n1 x7 3\n")
    (tmp_path / "test.txt").write_text("0 3\n")
    done = hashgcn("train", tmp_path, "--out", tmp_path / "run")
    assert done.returncode == 1
    for words in ("train.txt", "2", "1 x7 3"):
        assert words in done.stderr


def test_help_fits_a_screen():
    text = hashgcn("--help").stdout
    assert len(text.splitlines()) < 40
    for command in ("train", "evaluate", "recommend", "reproduce"):
        assert command in text
        assert f"Example: hashgcn {command}" in hashgcn(command, "--help").stdout
