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


def test_data_without_test_pairs(tmp_path):
    folder, out = tmp_path / "few", tmp_path / "run"
    folder.mkdir()
    (folder / "train.txt").write_text("0 1 2 3\n1 2 3 4\n2 0 1 4\n")
    (folder / "test.txt").write_text("0\n")
    options = ("--set", "epochs=1", "--set", "validation_fraction=0", "--quiet")
    done = hashgcn("train", folder, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("no test metrics: few has no test pairs\n1 epochs in ")
    assert hashgcn("recommend", out, "--user", 0, "-k", 2).returncode == 0
    done = hashgcn("evaluate", out)
    assert done.returncode == 1 and "expected items for some of the users" in done.stderr


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


def events(folder, name="plays.csv"):
    """A file of events in which users like the items of their own parity."""
    rows = [f"u{u},{i},{(7 * u + i) % 40}" for u in range(60) for i in range(u % 2, 40, 2)]
    path = folder / name
    path.write_text("\n".join(["who,what,when", *rows]) + "\n")
    return path


def test_a_file_of_events_from_training_to_recommendations(tmp_path):
    path, out = events(tmp_path), tmp_path / "run"
    columns = ("--user-column", "who", "--item-column", "what", "--time-column", "when")
    options = ("--split", "last", "--set", "epochs=2", "--set", "validation_part=last", "--quiet")
    done = hashgcn("train", path, "--out", out, *columns, *options, "--code-length", 32)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("plays: 60 users, 40 items, 1,140 train and 60 test pairs\n")
    settings = json.loads((out / "settings.json").read_text())
    assert settings["dataset"] == str(path) and settings["reading"]["split"] == "last"

    moved = path.rename(tmp_path / "moved.csv")
    assert "plays.csv: no such file" in hashgcn("evaluate", out).stderr
    again = hashgcn("evaluate", out, "--data", moved, "--json")
    assert again.returncode == 0, again.stderr
    written = json.loads((out / "metrics.json").read_text())
    assert json.loads(again.stdout)["test"] == written["test"]
    assert hashgcn("recommend", out, "--user", "u3", "-k", 2).stdout.startswith("u3: ")


def test_data_info(tmp_path):
    path, plot = events(tmp_path), tmp_path / "degrees.png"
    columns = ("--user-column", "who", "--item-column", "what", "--k-core", 3)
    done = hashgcn("data", "info", path, *columns, "--plot", plot)
    assert done.returncode == 0, done.stderr
    assert "60 users, 40 items" in done.stdout and plot.stat().st_size > 1000
    found = json.loads(hashgcn("data", "info", path, *columns, "--json").stdout)
    assert found["users"] == 60 and found["user_degrees"]["max"] <= 20
    assert found["density"] == found["train_pairs"] / 2400


def test_data_list():
    text = hashgcn("data", "list").stdout
    assert all(name in text for name in ("sample", "gowalla", "yelp2018", "amazon-book"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("train", "{run}/metrics.json", "--out", "{run}/new"),
            "expected a name that ends in one of .csv",
        ),
        (
            ("train", "{run}/settings.json", "--out", "{run}/new", "--format", "jsonl"),
            "expected UTF-8 JSON lines, got a damaged one",
        ),
        (("train", "sample", "--out", "{run}/new", "--k-core", "5"), "k_core: expected a file of"),
        (("data", "fetch", "movies"), "name: expected one of gowalla"),
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
