"""Comparisons: the verdict's words, equal chances, and that rows are what other ways give."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from command_line import hashgcn

from hashgcn.data import Dataset, Interactions, generate_sample
from hashgcn.evaluate import CodeUse, evaluate, popularity
from hashgcn.models import (
    Compared,
    RecallHash,
    code_remarks,
    compare,
    comparison,
    remarks,
    verdict,
)

DATA = generate_sample(num_users=120, num_items=70, mean_degree=14)


def row(name, recall, size, code_length=None) -> Compared:
    test = {"recall@20": 0.0, "recall@50": recall, "ndcg@20": 0.0}
    return Compared(name, code_length, test, 0.0, 0.0, size, 0.0, {}, 1)


def rows(popular=0.1, knn=0.5, real=0.4, codes=0.47) -> list[Compared]:
    return [
        row("popularity", popular, 4),
        row("ItemKNN", knn, 256),
        row("LightGCN", real, 260),
        row("LightGCN signs", 0.9, 8),  # are codes, too
        row("codes 32", 0.99, 4, 32),
        row("codes 64", codes, 8, 64),
        row("codes 128", 0.99, 16, 128),
    ]


@pytest.mark.parametrize(
    "given, expected",
    [
        (
            {},
            "64-bit codes keep 94% of the Recall@50 of ItemKNN, the best baseline, in 1/32 of its "
            "memory.",
        ),
        (
            {"codes": 0.55},
            "64-bit codes have 110% of the Recall@50 of ItemKNN, the best baseline, in 1/32 of its "
            "memory.",
        ),
        (
            {"popular": 0.6, "codes": 0.3},
            "64-bit codes keep 50% of the Recall@50 of popularity, the best baseline, in 2.0 times "
            "its memory. They lose to popularity, which has 0.6000.",
        ),
        (
            {"popular": 0.0, "knn": 0.0, "real": 0.0, "codes": 0.1},
            "No baseline finds a test item; 64-bit codes have a Recall@50 of 0.1000.",
        ),
    ],
)
def test_verdict(given, expected):
    assert verdict(rows(**given)) == expected


def test_rows_are_what_fit_and_evaluate_give(monkeypatch):
    monkeypatch.setitem(sys.modules, "implicit", None)
    settings = {"epochs": 2, "seed": 1}
    found = compare(DATA, code_lengths=(32,), settings=settings)
    of = {row.name: row for row in found.rows}
    assert list(of) == ["popularity", "ItemKNN", "EASE", "LightGCN", "LightGCN signs", "codes 32"]
    assert list(found.skipped) == ["ALS"] and "pip install implicit" in found.skipped["ALS"]
    model = RecallHash(code_length=32, **settings).fit(DATA, progress=False)
    expected = {"codes 32": model.metrics.test}
    expected["popularity"] = evaluate(popularity(DATA.train), DATA.train, DATA.test, (20, 50))
    for name, test in expected.items():
        assert of[name].test == {key: test[key] for key in of[name].test}
    assert of["codes 32"].setting == {"epochs": model.metrics.epochs}
    assert {of[name].tried for name in ("ItemKNN", "EASE")} == {6}
    assert of["EASE"].bytes_per_item == 4 * DATA.train.num_items
    assert of["codes 32"].bytes_per_item == 4 and of["LightGCN"].bytes_per_item == 260


def test_settings_are_chosen_without_test():
    """Other test pairs give the same settings, as train alone chooses."""
    m, n = DATA.train.num_users, DATA.train.num_items
    missing = np.ones((m, n), bool)
    missing[DATA.train.users(), DATA.train.ids] = False
    test = Interactions.from_pairs(np.arange(m), missing.argmax(1), m, n)
    other = Dataset("other", DATA.train, test, DATA.user_ids, DATA.item_ids)
    few = {"code_lengths": (16,), "settings": {"epochs": 1}}
    one, two = (compare(data, **few) for data in (DATA, other))
    assert [x.setting for x in one.rows] == [x.setting for x in two.rows]
    assert [x.test for x in one.rows] != [x.test for x in two.rows]


def test_ease_is_skipped_where_items_are_many():
    found = compare(DATA, code_lengths=(16,), most_ease_items=60, settings={"epochs": 1})
    assert "EASE" not in [x.name for x in found.rows]
    assert found.skipped["EASE"] == "70 items, more than 60"


def test_settings_of_each_baseline_are_equally_many():
    assert {len(tried) for tried in comparison.TRIED.values()} == {6}


def test_errors():
    none = Interactions.from_pairs([], [], DATA.train.num_users, DATA.train.num_items)
    with pytest.raises(ValueError, match="data: expected test pairs to compare on, got none in x"):
        compare(Dataset("x", DATA.train, none, DATA.user_ids, DATA.item_ids))
    with pytest.raises(ValueError, match="code_lengths: expected at least one number of bits"):
        compare(DATA, code_lengths=())
    with pytest.raises(ValueError, match="validation_fraction: expected one that holds out"):
        compare(DATA, settings={"validation_fraction": 0})


def test_remarks(monkeypatch):
    metric, best = "recall@50", {"recall@50": 1.0}
    assert remarks(best, DATA, metric) == []
    first, second = remarks({"recall@50": 0.0}, DATA, metric)
    popular = evaluate(popularity(DATA.train), DATA.train, DATA.test, (50,))[metric]
    assert first.startswith(
        "The codes lose to popularity and to ItemKNN: their recall@50 is 0.0000"
    )
    assert f"popularity has {popular:.4f}" in first
    assert "hashgcn compare" in second
    monkeypatch.setattr(comparison, "_MOST_SCORES", 120 * 70 - 1)  # one more than fits
    first, _ = remarks({"recall@50": 0.0}, DATA, metric)
    assert first == (
        f"The codes lose to popularity: their recall@50 is 0.0000, popularity has {popular:.4f}."
    )


def test_code_remarks():
    """One line, and only for what is beyond the twins of the data."""
    pairs = [(u, i) for u in range(100) for i in range(100) if i == u or (u < 40 and i < 40)]
    train = Interactions.from_pairs(*zip(*pairs, strict=True), 100, 100)  # 0.4 are twins
    nothing = CodeUse(2, 2, 2, 0.58, 0.94)
    assert code_remarks(nothing, train, 50) == []
    (line,) = code_remarks(CodeUse(3, 0, 0, 0.0, 0.0), train, 50)
    assert line == (
        "The codes waste bits: 3 of 50 taste bits are the same for 99% of users. "
        "To try next: learning_rate=0.005."
    )
    few = Interactions.from_pairs(*zip(*pairs[:-1], strict=True), 100, 100)
    assert code_remarks(CodeUse(3, 0, 0, 0.0, 0.0), few, 50) == []
    in_time = replace(train, order=np.arange(train.num_pairs))
    (line,) = code_remarks(CodeUse(3, 4, 5, 0.59, 0.95), in_time, 50)
    assert line == (
        "The codes waste bits: 3 of 50 taste bits are the same for 99% of users; 4 of 50 taste "
        "bits are the same for 99% of items; 5 of 50 taste bits copy another one; 59% of users "
        "share their code, and so their ranking; 95% of items share their code, and so their "
        "place in every ranking. To try next: learning_rate=0.005, recent_scale=0.3 "
        "where recent items count, twice the code_length."
    )
    few = train.where(train.ids < 99)
    assert code_remarks(CodeUse(3, 4, 5, 0.59, 0.95), few, 50) == []


def test_command_line(tmp_path):
    path = tmp_path / "plays.csv"
    pairs = [f"u{u},{i}" for u in range(60) for i in range(u % 2, 40, 2)]
    path.write_text("\n".join(["who,what", *pairs]) + "\n")
    options = ("--user-column", "who", "--item-column", "what", "--set", "epochs=1", "--quiet")
    few = (*options, "--code-lengths", "16,32")
    done = hashgcn("compare", path, *few, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "plays: 60 users, 40 items, 960 train and 240 test pairs"
    columns = "Recall@20 Recall@50 NDCG@20 fit s bytes/item ms/user tried"
    assert lines[1].split() == columns.split() and lines[2].startswith("popularity")
    assert len({len(line) for line in lines[1:8]}) == 1
    written = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert written["verdict"] in lines
    assert (tmp_path / "out" / "compare.png").read_bytes().startswith(b"\x89PNG")
    again = json.loads(hashgcn("compare", path, *few, "--json").stdout)
    assert [x["test"] for x in again["rows"]] == [x["test"] for x in written["rows"]]
    wrong = hashgcn("compare", path, *options, "--code-lengths", "many")
    assert wrong.returncode == 1 and "--code-lengths: expected numbers such as" in wrong.stderr
