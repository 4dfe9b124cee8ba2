"""benchmarks/settings.py, and the tables of docs/method.md that it makes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: object) -> str:
    command = [sys.executable, ROOT / "benchmarks" / "settings.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_page_holds_the_tables_of_the_results():
    page = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    tables = list(filter(None, run("--table").strip().split("\n\n")))
    for table in tables:
        assert table in page
    heads = {table.splitlines()[0] for table in tables}
    assert sum(page.count(head + "\n") for head in heads) == len(tables)


def test_a_run_appends_what_it_was_made_with(tmp_path):
    one = ("--set", "epochs=1", "--set", "validation_part=random")
    for method, more in (("recall_hash", ("--set", "train_cutoffs=20,50")), ("lightgcn", ())):
        run("sample", "--method", method, *one, *more, "--results", tmp_path)
    lines = (tmp_path / "sample.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    assert [entry["method"] for entry in entries] == ["recall_hash", "lightgcn"]
    for entry in entries:
        assert entry["settings"]["epochs"] == entry["epoch"] == 1
        assert entry["settings"]["validation_fraction"] == 0.2
        assert 0 < entry["validation"]["recall@50"] < 1
        assert entry["commit"] and entry["versions"]["torch"] and entry["threads"] >= 1
