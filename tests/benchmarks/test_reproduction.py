"""`hashgcn reproduce`: rows, stored results, tables, and a small reproduction from end to end."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from command_line import hashgcn

from benchmarks.quality import results, rows, tables
from benchmarks.quality.rows import METRICS, ROWS, Row
from hashgcn import data, models
from hashgcn.files import load_arrays

POSTER = next(r for r in ROWS if (r.id, r.data_set) == ("recallhash-64-poster", "gowalla"))


def made_up(row: Row, seed: int, *values: float, **changes: object) -> results.Result:
    """A result with the given figures, as complete as a stored one."""
    test = dict(zip(METRICS, values, strict=True))
    ties = {m: {"expected": v, "lower": v - 0.01, "upper": v + 0.01} for m, v in test.items()}
    return {
        "seed": seed,
        "method": row.method,
        "settings": results.declared(row, seed),
        "test": test,
        "validation": test,
        "test_ties": ties,
        "epochs": 5,
        "train_seconds": 30.0 + seed,
        "selection_seconds": 60.0,
        "peak_rss_mb": 500.0 + seed,
        "bytes_per_item": {"test": 8},
        "cpu": "a processor",
        "threads": 2,
        "versions": {"hashgcn": "0.1.0", "torch": "2.13.0"},
        "commit": "0123456789abcdef",
        "dirty": False,
        **changes,
    }


def line_of(text: str, title: str) -> list[str]:
    """Cells of the first table line that begins so."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {title}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_every_row_can_be_made():
    assert len({(row.data_set, row.id) for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert results.declared(row, 1)["seed"] == 1
        assert re.fullmatch(r"[a-z0-9-]+", row.id) and row.data_set in rows.DATA_SETS
        assert row.groups and set(row.groups) <= set(rows.GROUPS)
        assert row.published is None or row.published in rows.PUBLISHED
    made = {(row.data_set, str(results.declared(row, 0) | {"": row.method})) for row in ROWS}
    assert len(made) == len(ROWS), "two rows train the same"
    lengths = {row.settings["code_length"] for row in rows.select(["curve"])}
    assert lengths == {16, 32, 48, 64, 96, 128, 256}


def test_a_row_with_an_unknown_method_or_setting_is_refused():
    with pytest.raises(ValueError, match="expected a method among .*RecallHash.*, got 'Hash'"):
        results.model(replace(POSTER, method="Hash"))
    with pytest.raises(ValueError, match="colour"):
        results.model(replace(POSTER, settings={"colour": 1}))


def test_select():
    assert {row.data_set for row in rows.select([])} == {"gowalla", "yelp2018"}
    both = rows.select(["table", "recallhash-64"])
    assert [row.id for row in both] == [row.id for row in rows.select(["table"])]
    assert {row.groups for row in both} == {("table",), ("table", "curve")}
    assert [row.data_set for row in rows.select(["popularity"], ["sample"])] == ["sample"]
    with pytest.raises(ValueError, match=r"expected table, curve, ablation .*, got 'tables'"):
        rows.select(["tables"])
    with pytest.raises(ValueError, match="expected a row on yelp2018, got 'recallhash-64-ste"):
        rows.select(["recallhash-64-ste-recall"], ["yelp2018"])
    with pytest.raises(ValueError, match="expected one of gowalla, yelp2018, sample, got 'movies'"):
        rows.select([], ["movies"])


def test_settings_given_as_text_are_numbers_in_the_rows():
    [row] = results.with_settings([POSTER], {"code_length": "16", "cutoffs": ["5", "50"]})
    assert row.settings["code_length"] == 16 and tuple(row.settings["cutoffs"]) == (5, 50)


def test_results_that_are_stored_at_once_are_all_kept(tmp_path):
    def store(seed):
        results.store(tmp_path, POSTER, made_up(POSTER, seed, 0.2, 0.3, 0.1, 0.15))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store, range(24)))
    assert [result["seed"] for result in results.read(tmp_path, POSTER)] == list(range(24))


def test_results_are_stored_by_seed_and_replaced(tmp_path):
    for seed in (2, 0):
        results.store(tmp_path, POSTER, made_up(POSTER, seed, 0.2, 0.3, 0.1, 0.15))
    assert [result["seed"] for result in results.read(tmp_path, POSTER)] == [0, 2]
    assert results.missing(tmp_path, POSTER) == [1]
    results.store(tmp_path, POSTER, made_up(POSTER, 2, 0.4, 0.3, 0.1, 0.15))
    assert [r["test"]["recall@50"] for r in results.read(tmp_path, POSTER)] == [0.2, 0.4]
    file = results.path(tmp_path, POSTER)
    before = file.read_bytes()
    results.write(tmp_path, POSTER, results.read(tmp_path, POSTER)[::-1])
    assert file.read_bytes() == before
    results.forget(tmp_path, POSTER, 0)
    assert results.missing(tmp_path, POSTER) == [0, 1]
    results.forget(tmp_path, POSTER, 2)
    assert not file.exists() and results.read(tmp_path, POSTER) == []


def test_a_result_of_other_settings_is_stale(tmp_path):
    result = made_up(POSTER, 0, 0.2, 0.3, 0.1, 0.15)
    assert results.differences(POSTER, result) == []
    later = replace(POSTER, settings=POSTER.settings | {"epochs": 9})
    assert results.differences(later, result) == ["epochs 8, now 9"]
    settings = {"code_length": 64}
    assert results.differences(replace(POSTER, method="LightGCN", settings=settings), result)
    # A setting that came later counts as its default; one that is gone does not.
    older = result | {"settings": {k: v for k, v in result["settings"].items() if k != "estimator"}}
    assert results.differences(POSTER, older) == []
    # A default that is chosen for the code length is compared by its value.
    assert result["settings"]["tau_score"] == pytest.approx(0.056 * 64)
    chosen = result | {"settings": result["settings"] | {"tau_score": 3.2}}
    assert results.differences(POSTER, chosen) == ["tau_score 3.2, now 3.584"]
    other = replace(POSTER, settings=POSTER.settings | {"estimator": "ste"})
    assert results.differences(other, older) == ["estimator signswish, now ste"]
    gone = result | {"settings": result["settings"] | {"colour": 1}}
    assert results.differences(POSTER, gone) == ["colour 1, now no setting"]

    results.store(tmp_path, later, result)
    assert results.missing(tmp_path, later) == [0, 1, 2]
    text = tables.markdown(tables.collect([later], tmp_path))
    assert line_of(text, "RecallHash, 64 bits, poster's form")[2] == "stale"
    assert "Gowalla, recallhash-64-poster, seed 0: epochs 8, now 9" in text
    results.store(tmp_path, later, made_up(later, 0, 0.2, 0.3, 0.1, 0.15))
    assert results.missing(tmp_path, later) == [1, 2]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "expected JSON"),
        ('{"row": "other", "data_set": "gowalla", "results": []}', "expected results of"),
        ('{"row": "recallhash-64-poster", "data_set": "gowalla", "results": [{}]}', "epochs"),
        ('{"row": "recallhash-64-poster", "data_set": "gowalla"}', "epochs"),
    ],
)
def test_a_file_that_holds_no_results_is_named(tmp_path, content, words):
    file = results.path(tmp_path, POSTER)
    file.parent.mkdir()
    file.write_text(content)
    with pytest.raises(ValueError, match=words) as error:
        results.read(tmp_path, POSTER)
    assert str(file) in str(error.value)


def test_table_of_made_up_results(tmp_path):
    with_bits, yelp = (
        next(r for r in ROWS if (r.id, r.data_set) == ("recallhash-64", name))
        for name in ("gowalla", "yelp2018")
    )
    # Twice, and half of, the published 0.23082; means of seeds that are 0.002 apart.
    results.store(tmp_path, POSTER, made_up(POSTER, 0, 0.11541 - 0.001, 0.3, 0.1, 0.15, epochs=8))
    results.store(tmp_path, POSTER, made_up(POSTER, 1, 0.11541 + 0.001, 0.3, 0.1, 0.15))
    results.store(tmp_path, with_bits, made_up(with_bits, 0, 0.46164, 0.31396, 0.2, 0.25))
    selected = [POSTER, with_bits, yelp]
    assert [
        line.split() for line in tables.listing(tables.listed(selected, tmp_path)).splitlines()
    ] == [
        ["gowalla", "recallhash-64-poster", "table", "curve", "ablation", "2", "of", "3"],
        ["gowalla", "recallhash-64", "table", "curve", "1", "of", "3"],
        ["yelp2018", "recallhash-64", "table", "curve", "not", "run"],
    ]
    content = tables.collect(selected, tmp_path)
    text = tables.markdown(content)

    header = line_of(text, " | seeds | Gowalla R@50")
    assert header[2:6] == ["Gowalla R@50", "Gowalla R@100", "Gowalla N@50", "Gowalla N@100"]
    assert len(header) == 10 and header[6] == "Yelp2018 R@50"
    proposed = line_of(text, "**Proposed**, published")
    assert proposed[2:6] == ["0.23082", "0.31396", "0.15109", "0.17424"]
    assert proposed[6:] == ["0.10140", "0.16348", "0.06016", "0.08035"]
    mine = line_of(text, "RecallHash, 64 bits, poster's form")
    assert mine[1:3] == ["2 of 3", "0.1154 ± 0.0014 (-50.0%) †"] and mine[6] == ""
    bits = line_of(text, "RecallHash, 64 bits, popularity bits")
    assert bits[1:4] == ["1 of 3, 0 of 3", "0.4616 (+100.0%)", "0.3140 (+0.0%)"]
    assert bits[6:] == ["not run"] * 4
    costs = text[text.index("## Cost") :]
    assert "| 8, 5 † | 30.5 | 60.0 | 501 | 8 |" in costs
    ties = line_of(text[text.index("## Ties") :], "RecallHash, 64 bits, poster's form")
    assert ties[1] == "0.1154 [0.1054, 0.1254]"
    assert "commit 0123456789" in text and "Stale" not in text

    entry = content["rows"][0]
    assert entry["figures"]["recall@50"]["percent"] == pytest.approx(-50)
    assert entry["figures"]["recall@50"]["ties"]["upper"] == pytest.approx(0.12541)
    assert tables.collect(selected, tmp_path) == content


def test_a_model_that_is_evaluated_in_two_ways_has_two_lines(tmp_path):
    row = replace(POSTER, rankings={"test": "codes", "test_real": "real-valued"})
    result = made_up(row, 0, 0.1, 0.2, 0.3, 0.4)
    assert results.differences(row, result) == ["no test_real"]
    result["test_real"] = dict(zip(METRICS, (0.23082, 0.4, 0.5, 0.6), strict=True))
    result["bytes_per_item"]["test_real"] = 256
    results.store(tmp_path, row, result)
    text = tables.markdown(tables.collect([row], tmp_path))
    assert line_of(text, f"{row.title('test')} ")[2] == "0.1000 (-56.7%)"
    assert line_of(text, f"{row.title('test_real')} ")[2] == "0.2308 (+0.0%)"
    costs = text[text.index("## Cost") :]
    assert line_of(costs, "Gowalla | RecallHash, 64 bits, poster's form, real-valued")[-1] == "256"
    assert "real-valued" not in text[text.index("## Ties") :]


def test_percent():
    assert tables.percent(0.25, 0.2) == pytest.approx(25)
    assert tables.percent(0.15109, 0.15109) == 0


def test_shortest_code_that_reaches_the_published_figure(tmp_path):
    curve = [r for r in rows.select(["curve"], ["gowalla"]) if "popularity_bits" in r.settings]
    recall = {16: 0.1, 32: 0.2, 64: 0.23082, 128: 0.3}  # 48, 96, 256 are not run
    for row in curve:
        if row.settings["code_length"] in recall:
            value = recall[row.settings["code_length"]]
            results.store(tmp_path, row, made_up(row, 0, value, 0.1, 0.1, 0.1))
    text = tables.markdown(tables.collect(curve, tmp_path))
    shortest = line_of(text[text.index("The shortest") :], "Gowalla")
    assert shortest == ["Gowalla", "poster's form", "≤ 64", *["none of 16, 32, 64, 128"] * 3]
    for row in curve:
        if row.settings["code_length"] == 48:
            results.store(tmp_path, row, made_up(row, 0, 0.2, 0.1, 0.1, 0.1))
    text = tables.markdown(tables.collect(curve, tmp_path))
    assert line_of(text[text.index("The shortest") :], "Gowalla")[2] == "64"


def test_ablation_is_compared_with_its_base(tmp_path):
    ablation = rows.select(["ablation"], ["gowalla"])
    for row, value in ((POSTER, 0.2), (ablation[1], 0.15)):
        results.store(tmp_path, row, made_up(row, 0, value, value, value, value))
    text = tables.markdown(tables.collect(ablation, tmp_path))
    text = text[text.index("## Ablation") :]
    assert line_of(text, f"Gowalla | {POSTER.title('test')}")[3] == "0.2000"
    assert line_of(text, f"Gowalla | {ablation[1].title('test')}")[3] == "0.1500 (-25.0%)"
    assert line_of(text, f"Gowalla | {ablation[2].title('test')}")[3] == "not run"


def test_settings_given_as_text_are_those_of_the_rows():
    [row] = results.with_settings([POSTER], {"recent_fraction": "0.0", "train_cutoffs": ["50"]})
    assert row == POSTER


def test_pictures_show_what_there_is(tmp_path):
    selected = rows.select(["table", "curve"])
    assert [path.suffix for path in tables.write(selected, tmp_path, tmp_path)] == [".json", ".md"]
    results.store(tmp_path, POSTER, made_up(POSTER, 0, 0.2, 0.3, 0.1, 0.15))
    written = tables.write(selected, tmp_path, tmp_path)
    assert [path.name for path in written[2:]] == ["table.png", "curve.png"]
    assert all(path.stat().st_size > 10_000 for path in written[2:])
    text = (tmp_path / "reproduction.md").read_text()
    assert "(table.png)" in text and "(curve.png)" in text
    with_sample = rows.select(["table"], ["gowalla", "sample"])  # nothing is published of it
    assert tables.write(with_sample, tmp_path, tmp_path)[-1].name == "table.png"
    assert json.loads((tmp_path / "reproduction.json").read_text())["rows"]


def reproduce(folder: Path, *arguments: object) -> list[str]:
    return [
        *("reproduce", *map(str, arguments), "--data-set", "sample", "--quiet"),
        *("--results", str(folder / "results"), "--work", str(folder / "work")),
        *("--out", str(folder / "out")),
    ]


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    """A small reproduction on the generated sample: two rows, one epoch."""
    folder = tmp_path_factory.mktemp("reproduced")
    names = ("popularity", "recallhash-32", "--seeds", 1, "--set", "epochs=1")
    done = hashgcn(*reproduce(folder, *names, "--run"))
    assert done.returncode == 0, done.stderr
    assert "[1/2] sample recallhash-32, seed 0\n[2/2] sample popularity" in done.stderr
    return folder, names, done.stdout


def test_a_small_reproduction(reproduced):
    folder, names, text = reproduced
    assert "missing or stale" not in text and "saved" in text
    [result] = json.loads((folder / "results/sample/recallhash-32.json").read_text())["results"]
    model = models.RecallHash(code_length=32, epochs=1).fit(data.load("sample"), progress=False)
    for key in ("test", "validation", "test_ties", "test_original_order", "epochs"):
        assert result[key] == model.metrics[key]
    assert result["settings"] == model.settings.resolved()
    assert (
        result["bytes_per_item"] == {"test": 4}
        and result["peak_rss_mb"] > 50
        and result["threads"] >= 1
    )
    assert result["cpu"] and result["versions"].keys() == {"hashgcn", "torch", "numpy", "python"}
    assert {"commit", "dirty", "device", "instruction_set", "train_seconds"} <= result.keys()
    [counted] = json.loads((folder / "results/sample/popularity.json").read_text())["results"]
    assert counted["test"] == model.metrics["popularity_ranking"]
    assert f"{counted['test']['recall@50']:.4f}" in line_of(text, "Popularity")[2]
    assert (folder / "out/table.png").exists() and (folder / "out/curve.png").exists()
    # The run's folder serves the other commands; its checkpoints are gone.
    [run] = (folder / "work/sample/recallhash-32").iterdir()
    assert hashgcn("evaluate", run, "--json").returncode == 0
    assert not list(run.glob("checkpoint*"))


def test_a_stored_result_is_not_trained_again(reproduced):
    folder, names, _ = reproduced
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    done = hashgcn(*reproduce(folder, *names, "--run"))
    assert done.returncode == 0 and "[1/" not in done.stderr, done.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*.json")} == before
    # With other settings it is stale.
    done = hashgcn(*reproduce(folder, "recallhash-32", "--seeds", 1, "--set", "epochs=2"))
    assert "seed 0: epochs 1, now 2" in done.stdout and "missing or stale: 1;" in done.stdout


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_an_interrupted_reproduction_goes_on(tmp_path, number, capfd):
    settings = {"code_length": 16, "epochs": 4, "patience": 4}
    names = ["recallhash-16", "--seeds", 1, "--run"]
    names += [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "hashgcn", *reproduce(tmp_path, *names)]
    stored = tmp_path / "results/sample/recallhash-16.json"
    # A shell's background job, as the tests may be, ignores SIGINT and hands that down.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        try:
            wait_for_checkpoint(tmp_path / "work")
        finally:
            process.send_signal(number)
        errors = process.stderr.read()
    wait_for_end(str(tmp_path))  # of the process that trains, which a killed one leaves behind
    assert not stored.exists()
    if number == signal.SIGINT:
        assert process.returncode == 130 and "interrupted; the same command goes on" in errors
    [run] = (tmp_path / "work/sample/recallhash-16").iterdir()
    _, metadata = load_arrays(run / "checkpoint.safetensors", "hashgcn.train.checkpoint")
    assert json.loads(metadata["position"])["history"]

    capfd.readouterr()
    done = hashgcn(*(word for word in command[3:] if word != "--quiet"))
    assert done.returncode == 0
    progress = capfd.readouterr().err  # of the process that trains
    assert "selection: " in progress and "selection:   0%" not in progress
    [result] = json.loads(stored.read_text())["results"]
    model = models.RecallHash(**settings).fit(data.load("sample"), progress=False)
    assert result["test"] == model.metrics["test"]


def wait_for_checkpoint(work: Path) -> None:
    until = time.monotonic() + 120
    while not list(work.rglob("checkpoint.safetensors")):
        assert time.monotonic() < until, "no checkpoint within two minutes"
        time.sleep(0.01)


def wait_for_end(argument: str) -> None:
    """Wait until no process has a command line with this in it."""
    until = time.monotonic() + 60
    while running := processes(argument):
        assert time.monotonic() < until, f"process {running} still trains"
        time.sleep(0.05)


def processes(argument: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if argument in path.read_text():
                found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("colour",), "ROW: expected table, curve, ablation or the id of a row"),
        (("--data-set", "movies"), "data set: expected one of gowalla, yelp2018, sample"),
        (("--force",), "--force: expected --run"),
        (("--set", "epochs=1"), "--set: expected --results"),
        (("--results", "{tmp}", "--set", "colour=1"), "--set: expected a setting of the rows'"),
        (("--run",), "--data: expected the folder that holds gowalla/train.txt"),
        (("--run", "--data", "{tmp}"), "gowalla/train.txt: no such file"),
        (("--run", "--data", "{tmp}", "--device", "cuda:77"), "--device"),
    ],
)
def test_errors_are_one_line(tmp_path, arguments, words):
    done = hashgcn("reproduce", *(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.returncode == 1
    assert done.stderr.startswith("hashgcn: ") and done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr


def test_data_of_other_counts_is_refused_and_the_rest_goes_on(tmp_path, capfd):
    folder = tmp_path / "gowalla"
    folder.mkdir()
    (folder / "train.txt").write_text("0 1 2\n1 2 3\n")
    (folder / "test.txt").write_text("0 3\n1 1\n")
    done = hashgcn(
        *("reproduce", "recallhash-16", "popularity", "--data-set", "gowalla", "--seeds", 1),
        *(
            "--run",
            "--data",
            tmp_path,
            "--results",
            tmp_path / "results",
            "--out",
            tmp_path / "out",
        ),
        *("--work", tmp_path / "work"),
    )
    assert done.returncode == 1
    errors = capfd.readouterr().err  # of the processes that train
    assert "expected (29858, 40981, 810128, 217242) users" in errors
    assert "got (2, 3, 4, 2)" in errors and "[2/2]" in done.stderr
    assert "2 runs failed: gowalla recallhash-16, seed 0 (exit status 1)" in done.stderr
    assert not (tmp_path / "results").exists()
