"""benchmarks/quality/sweep.py: its runs, and tables of them."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks.quality import sweep


def run(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["sweep", *map(str, arguments)])
    sweep.main()


def test_every_table_has_stored_results(monkeypatch, capsys):
    run(monkeypatch, "--table")
    tables = capsys.readouterr().out.strip().split("\n\n")
    assert len(tables) == len(sweep.TABLES)
    assert all(len(table.splitlines()) > 3 for table in tables)


@pytest.mark.parametrize(
    "method", ["recall_hash", pytest.param("lightgcn", marks=pytest.mark.slow)]
)
def test_a_run_appends_what_it_was_made_with(method, monkeypatch, tmp_path):
    settings = ("code_length=16", "epochs=1", "validation_part=random", "train_cutoffs=20,50")
    words = [word for setting in settings for word in ("--set", setting)]
    run(monkeypatch, "sample", "--method", method, *words, "--results", tmp_path)
    [line] = (tmp_path / "sample.jsonl").read_text(encoding="utf-8").splitlines()
    entry = json.loads(line)
    assert entry["method"] == method and entry["settings"]["train_cutoffs"] == [20, 50]
    assert entry["settings"]["epochs"] == entry["epoch"] == 1
    assert entry["settings"]["validation_fraction"] == 0.2
    assert 0 < entry["validation"]["recall@50"] < 1
    assert entry["commit"] and entry["versions"]["torch"] and entry["threads"] >= 1
