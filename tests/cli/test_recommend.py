"""`hashgcn recommend` and `evaluate`: cold users, and ids that would steer a terminal."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from command_line import hashgcn

from hashgcn import metrics
from hashgcn.cli.tables import printable
from hashgcn.data import Interactions
from hashgcn.retrieval import HammingIndex, Recommender, pack_codes
from hashgcn.runs.opened import open_run

ESCAPES = ["\x1b[31mred", "two\nlines", "bell\a\x9b", "right\u202eleft", "plain ü 日本", "tab\t"]


@pytest.fixture
def run(tmp_path):
    """Codes of four users, of whom the last one has nothing, and six items; one is nobody's."""
    seen = Interactions.from_pairs([0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 1, 3], 4, 6)
    seen = Interactions.from_pairs(np.append(seen.users(), 2), np.append(seen.ids, 4), 4, 6)
    index = HammingIndex.build(np.ones((6, 8)), [*ESCAPES])
    users = ["ann", "\x1b]0;title\a", "cid", "dan"]
    Recommender(pack_codes(np.ones((4, 8))), users, index, seen).save(
        tmp_path / "codes.safetensors"
    )
    return tmp_path


def test_what_is_printed_for_people_cannot_steer_a_terminal(run):
    done = hashgcn("recommend", run, "--user", "\x1b]0;title\a", "ann", "\x1b[2Jnew", "--keep-seen")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 3 and all(line.isprintable() for line in lines)
    assert lines[0].startswith(r"\x1b]0;title\x07: \x1b[31mred (+8)  two\nlines (+8)  ")
    assert r"bell\x07\x9b (+8)  right\u202eleft (+8)  plain ü 日本 (+8)" in lines[0]
    assert lines[2].startswith(
        r"\x1b[2Jnew, the most popular: two\nlines (3 users)  \x1b[31mred (1 user)  "
    )
    done = hashgcn("recommend", run, "--user", "ann", "--keep-seen", "--json")
    assert json.loads(done.stdout)["items"] == ESCAPES[:5]


def test_printable():
    assert [printable(x) for x in ("a b", 7, "\x00\x7f\r", "\u2028\ue000")] == [
        *("a b", "7", r"\x00\x7f\r", r"\u2028\ue000")
    ]


def test_cold_users(run):
    done = hashgcn("recommend", run, "--user", "dan", "nobody", "ann", "-k", 2, "--json")
    assert done.returncode == 0, done.stderr
    dan, nobody, ann = map(json.loads, done.stdout.splitlines())
    for line, user in ((dan, "dan"), (nobody, "nobody")):
        assert line == {
            "user": user,
            "items": [ESCAPES[1], ESCAPES[0]],
            "scores": [3, 1],
            "cold": True,
        }
    assert ann == {"user": "ann", "items": ESCAPES[2:4], "scores": [8, 8], "cold": False}
    for user in ("dan", "nobody"):
        done = hashgcn("recommend", run, "--user", "ann", user, "--cold-users", "error")
        assert done.returncode == 1 and f"with items in train, got {user!r}" in done.stderr
    every = json.loads(hashgcn("recommend", run, "--user", "ann", "--json").stdout)["items"]
    asked = hashgcn("recommend", run, "--user", "ann", "--untrained-items", "--json")
    assert json.loads(asked.stdout)["items"] == [*every, ESCAPES[5]]


@pytest.mark.parametrize("name", ["recs.jsonl", "recs.csv", "recs.parquet"])
def test_all_users_to_a_file(run, name):
    recommender = Recommender.load(run / "codes.safetensors")
    (run / "stock.txt").write_text("\n".join([*ESCAPES[2:5], "new", ""]).replace("two\nlines", "x"))
    (run / "deny.jsonl").write_text('{"user": "ann", "items": ["plain ü 日本"]}\n\n')
    options = ("--allow", run / "stock.txt", "--deny", run / "deny.jsonl", "--ignore-unknown")
    want = recommender.recommend(
        recommender.user_ids, 3, allow=ESCAPES[2:5], deny=[ESCAPES[4:5], [], [], []]
    )
    done = hashgcn("recommend", run, "--all", "-k", 3, "--out", run / name, *options, "--quiet")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout == f"the items of 4 users saved to {run / name}\n"
    rows = [
        (user, rank, item, score, one["cold"])
        for user, one in zip(recommender.user_ids.tolist(), want.to_dicts(), strict=True)
        for rank, (item, score) in enumerate(zip(one["items"], one["scores"], strict=True), 1)
    ]
    assert len(rows) == 8 and want.counts.tolist() == [2, 2, 1, 3]
    if name == "recs.parquet":
        assert pl.read_parquet(run / name).rows() == rows
    elif name == "recs.csv":
        assert pl.read_csv(run / name).rows() == rows
    else:
        lines = [json.loads(x) for x in (run / name).read_text(encoding="utf-8").splitlines()]
        assert [(x["user"], x["items"]) for x in lines] == [
            (u, one["items"])
            for u, one in zip(recommender.user_ids.tolist(), want.to_dicts(), strict=True)
        ]
        done = hashgcn("recommend", run, "--user", "ann", "cid", "-k", 3, "--json", *options)
        assert done.stderr == "" and [*map(json.loads, done.stdout.splitlines())] == lines[::2]
    done = hashgcn("recommend", run, "--user", "nobody", "--out", run / name, "-k", 2)
    assert done.returncode == 0 and "1/1" in done.stderr
    assert done.stdout == f"the items of 1 user saved to {run / name}\n"


def test_arguments_that_do_not_fit(run):
    out, lists = ("--out", run / "recs.csv"), run / "lists.jsonl"
    (run / "stock.txt").write_text("new\n")
    (run / "bytes.txt").write_bytes(b"\xff\n")
    lists.write_text('{"user": "ann", "items": []}\n{"user": 7, "items": []}\n')
    for arguments, words in (
        ((), "--user: expected ids or --all, got neither"),
        (("--all", "--user", "ann", *out), "--user: expected ids or --all, got both"),
        (("--all",), "--out: expected a file with --all, got none"),
        (("--all", "--json", *out), "--json: expected it without --out, got both"),
        (("--all", "--out", run / "recs.txt"), "path: expected a name that ends in .parquet, "),
        (("--all", *out, "--cold-users", "error"), "users with items in train, got 'dan'"),
        (("--all", *out, "--allow", run / "stock.txt"), "allow: expected ids of the index, got"),
        (("--all", *out, "--deny", run / "bytes.txt"), "--deny: expected a file in UTF-8, got"),
        (("--all", *out, "--deny", lists), '{"user": str, "items": [...]} in every line of'),
        (("--all", *out, "--deny", run / "none.txt"), "none.txt"),
        (("--all", "--out", run / "none" / "recs.csv"), "no such folder"),
    ):
        done = hashgcn("recommend", run, *arguments, "--quiet")
        assert done.returncode == 1 and words in done.stderr, (arguments, done.stderr)
        assert not (run / "recs.csv").exists()


def test_cold_users_of_a_run_are_counted(tmp_path):
    """Ten users and an item of the file of test events are not in that of train."""
    events = [f"u{u},{i}" for u in range(40) for i in range(u % 2, 20, 2) if (u + i) % 5]
    (tmp_path / "train.csv").write_text("\n".join(["who,what", *events]) + "\n")
    later = [f"u{u},{i}" for u in range(35, 50) for i in (0, 1, 99)]
    (tmp_path / "test.csv").write_text("\n".join(["who,what", *later]) + "\n")
    columns = ("--user-column", "who", "--item-column", "what")
    options = ("--set", "epochs=1", "--set", "validation_fraction=0", "--code-length", 32)
    out = tmp_path / "run"
    done = hashgcn(
        *("train", tmp_path / "train.csv", "--test-file", tmp_path / "test.csv"),
        *(*columns, *options, "--out", out, "--quiet"),
    )
    assert done.returncode == 0, done.stderr
    line = (
        "cold in test: 10 users without train pairs, who get the most popular items, and 1 item, "
        "which are never found\n"
    )
    assert line in done.stdout
    done = hashgcn("evaluate", out)
    assert done.returncode == 0 and line in done.stdout
    found = json.loads(hashgcn("evaluate", out, "--json").stdout)
    written = json.loads((out / "metrics.json").read_text())
    for numbers in (found, written):
        assert (numbers["cold_test_users"], numbers["cold_test_items"]) == (10, 1)
    assert found["test"] == written["test"]
    done = hashgcn("report", out, "--out", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "10 test users without train pairs get the most popular items" in page
    assert "1 test item without train pairs is never found" in page


def test_graded_users_of_a_run(tmp_path):
    out = tmp_path / "run"
    options = ("--set", "epochs=1", "--set", "validation_fraction=0", "--code-length", 32)
    done = hashgcn("train", "sample", *options, "--set", "user_levels=4", "--out", out, "--quiet")
    assert done.returncode == 0, done.stderr
    graded = Recommender.load(out / "codes.safetensors")
    settings = json.loads((out / "settings.json").read_text())["settings"]
    assert settings["user_levels"] == graded.levels == 4
    done = hashgcn("recommend", out, "--user", "user-0003", "--json")
    found, want = json.loads(done.stdout), graded.recommend(["user-0003"])
    assert found["items"] == want.ids[0].tolist() and found["scores"] == want.scores[0].tolist()
    opened = open_run(out)
    assert repr(opened.model.recommender) == repr(graded)
    found = json.loads(hashgcn("evaluate", out, "--json").stdout)
    data = opened.data
    ids = graded.recommend(data.user_ids, 20, untrained_items=False).ids
    rows = graded.index.rows(ids.ravel()).reshape(ids.shape)
    want = metrics.evaluate_rankings(rows, np.arange(len(rows)), data.test, [20])
    assert found["test"]["recall@20"] == want["recall@20"]
    ties = found["ties"]["recall@20"]
    assert ties["lower"] < ties["expected"] < ties["upper"]
