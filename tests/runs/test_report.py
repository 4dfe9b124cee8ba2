"""The page of a run: whole, closed in itself, and right in its numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from hashgcn import data as datasets
from hashgcn import models
from hashgcn.data import Interactions
from hashgcn.data.sample import generate_sample
from hashgcn.retrieval import HammingIndex, Recommender, pack_levels, unpack_codes
from hashgcn.runs import report as run_report
from hashgcn.runs.opened import OpenedRun, open_run
from hashgcn.runs.report import numbers

SECTIONS = ["Training", "Quality", "Codes", "Distances", "Popularity", "Neighbours", "Users"]
SMALL = {"epochs": 2, "cutoffs": (5, 50)}
DATA = generate_sample(num_users=90, num_items=75, mean_degree=14)


def in_time() -> datasets.Dataset:
    """Events with times, so that recent items and their order are known."""
    rows = [(f"u{u}", i, (7 * u + i) % 40) for u in range(60) for i in range(u % 2, 40, 2)]
    frame = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    return datasets.read_interactions(frame, user="user", item="item", time="time", split="last")


RUNS = {
    "recall_hash": (models.RecallHash, {"code_length": 32}, DATA),
    "without validation": (
        models.RecallHash,
        {"code_length": 96, "popularity_bits": 0, "validation_fraction": 0},
        DATA,
    ),
    "in time": (models.RecallHash, {"code_length": 32, "cutoffs": (5, 20, 50)}, in_time()),
    "scaled codes": (models.BGCH, {"code_length": 48}, DATA),
    "real-valued": (models.LightGCN, {"code_length": 16}, DATA),
}


class Case(NamedTuple):
    name: str
    opened: OpenedRun


def fitted(kind, settings, data, folder) -> OpenedRun:
    kind(**{**SMALL, **settings}).fit(data, progress=False, run=folder)
    return open_run(folder, data=data)


@pytest.fixture(scope="module", params=RUNS)
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return Case(request.param, fitted(*RUNS[request.param], folder))


def written(run, path, titles=None) -> str:
    run_report.write(run.opened, path, titles)
    return path.read_text(encoding="utf-8")


def titles_of(run) -> np.ndarray:
    count = run.opened.data.train.num_items
    return np.array([f"<script>alert('{at} & more')</script>" for at in range(count)])


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    return written(run, tmp_path_factory.mktemp("page") / "report.html", titles_of(run))


def tree(page: str) -> ElementTree.Element:
    doctype, _, rest = page.partition("\n")
    assert doctype == "<!DOCTYPE html>"
    return ElementTree.fromstring(rest)


def test_the_page_is_well_formed_and_has_every_section(page, run):
    root = tree(page)
    assert [node.text for node in root.iter("h2")] == SECTIONS
    method = type(run.opened.model).__name__
    assert root.find(".//h1").text == f"{method} on {run.opened.data.name}"
    pictures = list(root.iter("svg"))
    assert len(pictures) == 6
    assert all(picture.get("aria-label") for picture in pictures)
    cutoff = 50 if run.name != "in time" else 20
    assert f"{run.opened.metrics.test[f'recall@{cutoff}']:.4f}" in page


def test_the_page_says_how_codes_use_their_bits(page, run):
    use = run.opened.metrics.code_use
    assert use == run.opened.model.code_use()
    assert f"{use.shared_users:.1%} share their code with another" in page
    said = models.code_remarks(
        use, run.opened.data.train, run.opened.model.settings.network.taste_bits
    )
    assert ("The codes waste bits" in page) == bool(said)


def test_the_page_needs_nothing_from_outside(page):
    root = tree(page)
    assert "http" not in page and "@import" not in page
    assert not list(root.iter("script")) + list(root.iter("link"))
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    assert len(ids) == len(set(ids))
    links = [node.get(key) for node in root.iter() for key in ("href", "src") if node.get(key)]
    assert all(link.startswith("data:image/png") or link[1:] in ids for link in links)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)
    # What would be unreadable on a dark page follows the theme.
    assert "#12355b" not in page[page.index("</style>") :]


def test_the_page_says_what_the_method_has(page, run):
    assert ("set beforehand" in page) == (run.name == "without validation")
    popularity = run.opened.model.index().popularity_bits
    assert ("popularity weight of 0" in page) == bool(popularity)
    assert ("the latest of their" in page) == (run.name == "in time")
    for name, of in (("itq", "real-valued"), ("real", "real-valued"), ("scaled", "scaled codes")):
        assert (f'<th class="number">{name}</th>' in page) == (run.name == of)


def test_titles_are_shown_escaped_and_the_page_is_the_same_again(page, run, tmp_path):
    assert written(run, tmp_path / "again.html", titles_of(run)) == page
    root = tree(page)
    assert not list(root.iter("script"))
    assert any("<script>alert('" in (node.text or "") for node in root.iter("h3"))


@pytest.mark.parametrize("run", ["recall_hash"], indirect=True)
def test_without_titles_raw_ids_are_shown(run, tmp_path):
    root = tree(written(run, tmp_path / "report.html"))
    shown = {node.text for node in root.iter("h3")}
    assert shown & set(run.opened.data.item_ids.tolist())
    assert [node.text for node in root.iter("h2")] == SECTIONS


@pytest.mark.parametrize("method", [models.RecallHash, models.LightGCN])
@pytest.mark.parametrize("validation_fraction", [0.1, 0.0])
def test_without_test_pairs_the_page_has_what_needs_none(method, validation_fraction, tmp_path):
    nothing = DATA.test.where(np.zeros(DATA.test.num_pairs, dtype=bool))
    data = replace(DATA, test=nothing)
    settings = {"code_length": 32, "validation_fraction": validation_fraction}
    opened = fitted(method, settings, data, tmp_path / "run")
    page = written(Case("", opened), tmp_path / "report.html")
    root = tree(page)
    left = [name for name in SECTIONS if name not in ("Quality", "Distances")]
    assert [node.text for node in root.iter("h2")] == left
    assert len(list(root.iter("svg"))) == 4
    said = root.find(".//p").text
    if validation_fraction:
        value = opened.metrics.validation["recall@50"]
        assert f"no test pairs. Recall@50 is {value:.4f} on the held-out part" in said
    else:
        assert "neither test pairs nor a held-out part of train" in said
    assert "test items" not in page and "used once" not in page
    cards = [node for node in root.iter("div") if node.get("class") == "card"]
    assert len(cards) > 6  # of items and of users


def test_the_verdict_says_quality_and_coverage(page, run):
    said = tree(page).find(".//p").text
    metric = run.opened.model.settings.selection.selection_metric
    assert f"on test is {run.opened.metrics.test[metric]:.4f}; of a popularity ranking it" in said
    ids = run.opened.model.recommend(run.opened.data.user_ids, 10).ids
    found = set(ids.ravel().tolist()) & set(run.opened.data.item_ids.tolist())
    assert f"Of all items, {len(found) / len(run.opened.data.item_ids):.0%} in the top 10" in said


def test_read_titles(tmp_path):
    frame = pl.DataFrame(
        {"item": ["7", "8", "8", "9"], "title": ["Sieben, VII", "Acht", "Huit", None], "x": [1] * 4}
    )
    frame.write_csv(tmp_path / "items.csv")
    frame.write_csv(tmp_path / "items.tsv", separator="\t")
    frame.write_ndjson(tmp_path / "items.jsonl")
    frame.with_columns(pl.col("item").cast(pl.Int64)).write_parquet(tmp_path / "items.parquet")
    for ending in ("csv", "tsv", "jsonl", "parquet"):
        found = run_report.read_titles(tmp_path / f"items.{ending}", np.array([9, 8, 7, 6]))
        assert found.tolist() == ["9", "Acht", "Sieben, VII", "6"]
    named = run_report.read_titles(tmp_path / "items.csv", np.array(["8"]), ("item", "x"))
    assert named.tolist() == ["1"]


@pytest.mark.parametrize(
    ("name", "text", "columns", "words"),
    [
        ("none.csv", None, None, "no such file"),
        ("one.csv", "item\n7\n", None, "expected columns of ids and of titles, got item"),
        ("a.csv", "item,title\n7,x\n", ("item", "name"), "expected column 'name', got 'item', 't"),
        ("a.csv", "item,title\n8,x\n", None, "in column 'item', such as '7', got '8'"),
        ("a.csv", "item,title\n", None, "got 'no row'"),
        ("a.txt", "7 8\n", None, "expected a table in one of csv, tsv, jsonl, parquet, got lightg"),
        ("a.csv", b"item,title\n7,\xff\n", None, "a.csv, line 2: expected UTF-8"),
    ],
)
def test_titles_that_cannot_be_read(tmp_path, name, text, columns, words):
    path = tmp_path / name
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        run_report.read_titles(path, np.array([7]), columns)
    assert words in str(caught.value)


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_distances_are_those_of_all_pairs(levels):
    rng, most = np.random.default_rng(0), 12 * (2 * levels - 1)
    users, items = (rng.choice([-1.0, 1.0], (count, 12)) for count in (70, 31))
    users *= 2 * rng.integers(0, levels, users.shape) + 1
    train = Interactions.from_pairs(np.arange(70), rng.integers(0, 15, 70), 70, 31)
    test = Interactions.from_pairs(np.arange(70), rng.integers(15, 31, 70), 70, 31)
    index = HammingIndex.build(items)
    recommender = Recommender(pack_levels(users, levels), np.arange(70), index, train)
    found = numbers.distances(recommender, train, test)
    assert found.users == 70
    nearness = users @ items.T
    masks = {}
    for name, part in (("train", train), ("test", test)):
        masks[name] = np.zeros((70, 31), bool)
        masks[name][part.users(), part.ids] = True
    masks["other"] = ~(masks["train"] | masks["test"])
    pairs = nearness[masks["test"]][:, None] - nearness[masks["other"]]
    assert found.nearer() == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean(), rel=1e-12)
    for name, mask in masks.items():
        exact = np.bincount(((most - nearness[mask]) / 2).astype(int), minlength=most + 1)
        assert found.counts[name].tolist() == exact.tolist()


def test_shares_of_tenths():
    users = np.repeat(np.arange(20), 20 - np.arange(20))
    items = np.concatenate([np.arange(20 - user) for user in range(20)])
    train = Interactions.from_pairs(users, items, 20, 20)
    tenth = numbers.decile_of_items(train)
    assert tenth.tolist() == [at // 2 for at in range(20)]
    assert numbers.shares(np.array([[0, 1, 19, -1]]), tenth).tolist() == [2 / 3] + [0] * 8 + [1 / 3]
    assert numbers.coverage(np.array([[0, 1, 1, -1]]), 20) == 0.1
    shown = numbers.example_items(train, 4)
    assert sorted(shown.tolist()) == shown.tolist() and len(shown) == 4
    assert numbers.liked(train, 0, 3).tolist() == [0, 1, 2]


def test_neighbours_leave_the_item_itself_out():
    codes = np.random.default_rng(1).choice([-1.0, 1.0], (9, 16))
    nobody = Interactions(np.zeros(1, np.int64), np.zeros(0, np.int64), 9)
    index = HammingIndex.build(codes, ids=[f"i{at}" for at in range(9)])
    words = np.zeros((0, 1), np.int64)
    recommender = Recommender(words, np.zeros(0, np.int64), index, nobody)
    rows, distances = numbers.neighbours(recommender, np.array([3, 5]), 20)
    apart = (16 - codes @ codes.T) / 2
    for item, found, near in zip((3, 5), distances, rows, strict=True):
        assert item not in near and sorted(near) == [at for at in range(9) if at != item]
        assert found.tolist() == apart[item, near].tolist() == sorted(found)


def test_graded_users_are_named(tmp_path):
    opened = fitted(
        models.RecallHash, {"code_length": 32, "user_levels": 1}, DATA, tmp_path / "run"
    )
    before = opened.model.recommender
    assert "bits a dimension" not in written(Case("", opened), tmp_path / "plain.html")
    bits = before.index.popularity_bits
    codes = unpack_codes(before.user_codes, 32)
    codes[:, : 32 - bits : 2] *= 3
    graded = Recommender(pack_levels(codes, 2), before.user_ids, before.index, before.seen)
    opened.model.recommender = graded
    page = written(Case("", opened), tmp_path / "report.html")
    assert "4 bytes per item; users have 2 bits a dimension" in page
    assert (
        "Users have 2 bits a dimension, for weights from -3 to 3; only the signs are shown" in page
    )
    assert [node.text for node in tree(page).iter("h2")] == SECTIONS
