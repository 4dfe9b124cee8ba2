"""`python -m benchmarks.quality`: rows, stored results, tables, and runs on the sample."""

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

from benchmarks.harness.machine import RESULTS, ROOT
from benchmarks.quality import results, rows, runs, tables
from benchmarks.quality.__main__ import app
from benchmarks.quality.rows import METRICS, ROWS, Row
from hashgcn import data, models
from hashgcn.files import load_arrays

PAPER = next(r for r in ROWS if (r.id, r.data_set) == ("recallhash-64-paper", "gowalla"))


def made_up(row: Row, seed: int, *values: float, **changes: object) -> results.Result:
    """A result with the given figures, as complete as a stored one."""
    test = dict(zip(METRICS, values, strict=True))
    ties = {m: {"expected": v, "lower": v - 0.01, "upper": v + 0.01} for m, v in test.items()}
    return {
        "row": row.id,
        "seed": seed,
        "method": row.method,
        "settings": results.declared(row, seed),
        "test": test,
        "rankings": {},
        "validation": test,
        "ties": ties,
        "epochs": 5,
        "train_seconds": 30.0 + seed,
        "selection_seconds": 60.0,
        "peak_memory_mb": 500.0 + seed,
        "bytes_per_item": {"codes": 8},
        "cpu": "a processor",
        "threads": 2,
        "versions": {"hashgcn": "0.1.0", "torch": "2.13.0"},
        "commit": "0123456789",
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
    with pytest.raises(ValueError, match="expected a method among recall_hash, .*, got 'Hash'"):
        results.model(replace(PAPER, method="Hash"))
    with pytest.raises(ValueError, match="colour"):
        results.model(replace(PAPER, settings={"colour": 1}))


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


def test_settings_given_as_text_are_those_of_the_rows():
    [row] = results.with_settings([PAPER], ["code_length=16", "cutoffs=50,100", "patience=3"])
    assert row.settings == PAPER.settings | {
        **{"code_length": 16, "cutoffs": [50, 100], "patience": 3}
    }
    popularity = next(row for row in ROWS if row.method == "popularity")
    assert results.with_settings([popularity, PAPER], ["patience=3"])[0] == popularity
    with pytest.raises(ValueError, match="--set: expected a setting of the rows' methods, got 'x'"):
        results.with_settings([PAPER], ["x=1"])


def test_results_that_are_stored_at_once_are_all_kept(tmp_path):
    def store(seed):
        results.store(tmp_path, PAPER, made_up(PAPER, seed, 0.2, 0.3, 0.1, 0.15))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store, range(24)))
    assert [result["seed"] for result in results.read(tmp_path, PAPER)] == list(range(24))


def test_results_are_stored_by_seed_and_replaced(tmp_path):
    for seed in (2, 0):
        results.store(tmp_path, PAPER, made_up(PAPER, seed, 0.2, 0.3, 0.1, 0.15))
    assert [result["seed"] for result in results.read(tmp_path, PAPER)] == [0, 2]
    assert results.missing(tmp_path, PAPER) == [1]
    results.store(tmp_path, PAPER, made_up(PAPER, 2, 0.4, 0.3, 0.1, 0.15))
    assert [r["test"]["recall@50"] for r in results.read(tmp_path, PAPER)] == [0.2, 0.4]
    results.forget(tmp_path, PAPER, 0)
    assert results.missing(tmp_path, PAPER) == [0, 1]
    results.forget(tmp_path, PAPER, 2)
    assert results.read(tmp_path, PAPER) == []


def test_a_result_of_other_settings_is_stale(tmp_path):
    result = made_up(PAPER, 0, 0.2, 0.3, 0.1, 0.15)
    assert results.differences(PAPER, result) == []
    later = replace(PAPER, settings=PAPER.settings | {"epochs": 9})
    assert results.differences(later, result) == ["epochs 8 instead of 9"]
    settings = {"code_length": 64}
    assert results.differences(replace(PAPER, method="lightgcn", settings=settings), result)
    # A setting that came later counts as its default; one that is gone does not.
    older = result | {"settings": {k: v for k, v in result["settings"].items() if k != "estimator"}}
    assert results.differences(PAPER, older) == []
    # A default that is chosen for the code length is compared by its value.
    assert result["settings"]["tau_score"] == pytest.approx(0.056 * 64)
    chosen = result | {"settings": result["settings"] | {"tau_score": 3.2}}
    assert results.differences(PAPER, chosen) == ["tau_score 3.2 instead of 3.584"]
    other = replace(PAPER, settings=PAPER.settings | {"estimator": "ste"})
    assert results.differences(other, older) == ["estimator signswish instead of ste"]
    gone = result | {"settings": result["settings"] | {"colour": 1}}
    assert results.differences(PAPER, gone) == ["colour 1, which is no setting"]

    results.store(tmp_path, later, result)
    assert results.missing(tmp_path, later) == [0, 1, 2]
    text = tables.markdown(tables.collect([later], tmp_path))
    assert line_of(text, "RecallHash, 64 bits, the paper's form")[2] == "stale"
    assert "Gowalla, recallhash-64-paper, seed 0: epochs 8 instead of 9" in text
    results.store(tmp_path, later, made_up(later, 0, 0.2, 0.3, 0.1, 0.15))
    assert results.missing(tmp_path, later) == [1, 2]


@pytest.mark.parametrize(
    ("line", "words"),
    [("{", "line 1: expected JSON"), ("[]", "one without"), ('{"row": "a"}', "one without bytes")],
)
def test_a_line_that_is_no_result_is_named(tmp_path, line, words):
    file = results.path(tmp_path, "gowalla")
    file.write_text(line + "\n")
    with pytest.raises(ValueError, match=words) as error:
        results.read(tmp_path, PAPER)
    assert str(file) in str(error.value)


def test_stored_results_are_those_of_rows():
    for name in rows.PUBLISHED["Proposed"]:
        of_name = {row.id: row for row in ROWS if row.data_set == name}
        found = [r for row in of_name.values() for r in results.read(RESULTS / "quality", row)]
        lines = results.path(RESULTS / "quality", name).read_text().splitlines()
        assert len(lines) == len(found)
        for result in found:
            assert results.differences(of_name[result["row"]], result) == []


def test_table_of_made_up_results(tmp_path):
    with_bits, yelp = (
        next(r for r in ROWS if (r.id, r.data_set) == ("recallhash-64", name))
        for name in ("gowalla", "yelp2018")
    )
    # Twice, and half of, the published 0.23082; means of seeds that are 0.002 apart.
    results.store(tmp_path, PAPER, made_up(PAPER, 0, 0.11541 - 0.001, 0.3, 0.1, 0.15, epochs=8))
    results.store(tmp_path, PAPER, made_up(PAPER, 1, 0.11541 + 0.001, 0.3, 0.1, 0.15))
    results.store(tmp_path, with_bits, made_up(with_bits, 0, 0.46164, 0.31396, 0.2, 0.25))
    selected = [PAPER, with_bits, yelp]
    assert [
        line.split() for line in tables.listing(tables.listed(selected, tmp_path)).splitlines()
    ] == [
        ["gowalla", "recallhash-64-paper", "table", "curve", "ablation", "2", "of", "3"],
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
    mine = line_of(text, "RecallHash, 64 bits, the paper's form")
    assert mine[1:3] == ["2 of 3", "0.1154 ± 0.0014 (-50.0%) †"] and mine[6] == ""
    bits = line_of(text, "RecallHash, 64 bits, popularity bits")
    assert bits[1:4] == ["1 of 3, 0 of 3", "0.4616 (+100.0%)", "0.3140 (+0.0%)"]
    assert bits[6:] == ["not run"] * 4
    costs = text[text.index("## Cost") :]
    assert "| 8, 5 † | 30.5 | 60.0 | 501 | 8 |" in costs
    ties = line_of(text[text.index("## Ties") :], "RecallHash, 64 bits, the paper's form")
    assert ties[1] == "0.1154 [0.1054, 0.1254]"
    assert "commit 0123456789" in text and "Stale" not in text

    entry = content["rows"][0]
    assert entry["figures"]["recall@50"]["percent"] == pytest.approx(-50)
    assert entry["figures"]["recall@50"]["ties"]["upper"] == pytest.approx(0.12541)
    assert tables.collect(selected, tmp_path) == content


def test_a_model_that_is_evaluated_in_two_ways_has_two_lines(tmp_path):
    row = replace(PAPER, rankings={"codes": "codes", "real": "real-valued"})
    result = made_up(row, 0, 0.1, 0.2, 0.3, 0.4)
    assert results.differences(row, result) == ["no ranking real"]
    result["rankings"]["real"] = dict(zip(METRICS, (0.23082, 0.4, 0.5, 0.6), strict=True))
    result["bytes_per_item"]["real"] = 256
    results.store(tmp_path, row, result)
    text = tables.markdown(tables.collect([row], tmp_path))
    assert line_of(text, f"{row.title('codes')} ")[2] == "0.1000 (-56.7%)"
    assert line_of(text, f"{row.title('real')} ")[2] == "0.2308 (+0.0%)"
    costs = text[text.index("## Cost") :]
    assert (
        line_of(costs, "Gowalla | RecallHash, 64 bits, the paper's form, real-valued")[-1] == "256"
    )
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
    assert shortest == ["Gowalla", "the paper's form", "≤ 64", *["none of 16, 32, 64, 128"] * 3]
    for row in curve:
        if row.settings["code_length"] == 48:
            results.store(tmp_path, row, made_up(row, 0, 0.2, 0.1, 0.1, 0.1))
    text = tables.markdown(tables.collect(curve, tmp_path))
    assert line_of(text[text.index("The shortest") :], "Gowalla")[2] == "64"


def test_ablation_is_compared_with_its_base(tmp_path):
    ablation = rows.select(["ablation"], ["gowalla"])
    for row, value in ((PAPER, 0.2), (ablation[1], 0.15)):
        results.store(tmp_path, row, made_up(row, 0, value, value, value, value))
    text = tables.markdown(tables.collect(ablation, tmp_path))
    text = text[text.index("## Ablation") :]
    assert line_of(text, f"Gowalla | {PAPER.title('codes')}")[3] == "0.2000"
    assert line_of(text, f"Gowalla | {ablation[1].title('codes')}")[3] == "0.1500 (-25.0%)"
    assert line_of(text, f"Gowalla | {ablation[2].title('codes')}")[3] == "not run"


def test_pictures_show_what_there_is(tmp_path):
    selected = rows.select([PAPER.id, "popularity"], ["gowalla"])
    assert [path.suffix for path in tables.write(selected, tmp_path, tmp_path)] == [".json", ".md"]
    results.store(tmp_path, PAPER, made_up(PAPER, 0, 0.2, 0.3, 0.1, 0.15))
    written = tables.write(selected, tmp_path, tmp_path)
    assert [path.name for path in written[2:]] == ["table.png", "curve.png"]
    assert all(path.stat().st_size > 10_000 for path in written[2:])
    text = (tmp_path / "reproduction.md").read_text()
    assert "(table.png)" in text and "(curve.png)" in text
    assert json.loads((tmp_path / "reproduction.json").read_text())["rows"]


@pytest.fixture
def reproduce(invoke, tmp_path):
    """reproduce(*arguments) runs the command on the sample, with folders of the test's own."""
    folders = ("--results", tmp_path / "results", "--work", tmp_path / "work")
    options = ("--data-set", "sample", "--quiet", "--out", tmp_path / "out")
    return lambda *arguments: invoke(app, *arguments, *options, *folders)


def small_row(id: str, **settings: object) -> Row:
    row = next(row for row in ROWS if (row.id, row.data_set) == (id, "sample"))
    return replace(row, settings=row.settings | settings)


def test_a_row_is_trained_and_stored(tmp_path):
    stored, work = tmp_path / "results", tmp_path / "work"
    row = small_row("recallhash-16", epochs=1, batch_users=1000)
    popularity = small_row("popularity")
    for each in (row, popularity):
        options = {"data": None, "device": "cpu", "progress": False}
        runs.train(each, 0, stored=stored, work=work, **options)
        assert results.missing(stored, each) == []
    [run] = (work / "sample/recallhash-16").iterdir()
    assert not list(run.glob("checkpoint*"))
    model = models.RecallHash.load(run / "codes.safetensors")
    found = model.evaluate(data.load("sample"))
    [result] = results.read(stored, row)
    assert result["test"] == found.test and result["ties"] == found.ties
    assert result["validation"].keys() == found.test.keys() and result["epochs"] == 1
    assert result["settings"] == model.settings.resolved()
    assert result["bytes_per_item"] == {"codes": 2} and result["peak_memory_mb"] > 50
    assert result["cpu"] and result["versions"].keys() == {"hashgcn", "torch", "numpy", "python"}
    [counted] = results.read(stored, popularity)
    assert counted["test"] == found.popularity
    text = tables.markdown(tables.collect([row, popularity], stored))
    assert line_of(text, "Popularity")[2] == f"{counted['test']['recall@50']:.4f}"


def test_the_command_runs_what_is_missing(reproduce, monkeypatch, tmp_path):
    asked = []

    def in_process(arguments):
        asked.append((arguments["row"]["id"], arguments["seed"]))
        return 0

    monkeypatch.setattr(runs, "_in_process", in_process)
    row = small_row("recallhash-32", epochs=1)
    results.store(tmp_path / "results", row, made_up(row, 0, 0.1, 0.2, 0.3, 0.4))
    names = ("recallhash-32", "--seeds", 2, "--set", "epochs=1")
    done = reproduce(*names, "--run")
    assert done.exit_code == 0 and asked == [("recallhash-32", 1)]
    assert "[1/1] sample recallhash-32, seed 1\n" in done.stderr
    assert "missing or stale: 1;" in done.stdout and "saved" in done.stdout
    done = reproduce("recallhash-32", "--seeds", 1, "--set", "epochs=2")
    assert "seed 0: epochs 1 instead of 2" in done.stdout

    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "_in_process", interrupted)
    done = reproduce(*names, "--run", "--force")
    assert done.exit_code == 130 and "continue with the same command without --force" in done.stderr
    monkeypatch.setattr(runs, "_in_process", lambda arguments: 3)
    done = reproduce(*names, "--run")
    assert done.exit_code == 1
    assert "2 runs failed: sample recallhash-32, seed 0 (exit status 3)" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_reproduction_goes_on(tmp_path, number):
    settings = {"code_length": 16, "epochs": 3, "patience": 3}
    command = [sys.executable, "-m", "benchmarks.quality", "recallhash-16", "--run"]
    command += ["--seeds", "1", "--data-set", "sample", "--out", str(tmp_path / "out")]
    command += ["--results", str(tmp_path / "results"), "--work", str(tmp_path / "work")]
    command += [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
    # A shell's background job, as the tests may be, ignores SIGINT and hands that down.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    pipes = {"stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    with subprocess.Popen([*command, "--quiet"], preexec_fn=heed, **pipes) as process:
        try:
            wait_for_checkpoint(tmp_path / "work")
        finally:
            process.send_signal(number)
        errors = process.stderr.read()
    wait_for_end(str(tmp_path))  # of the process that trains, which a killed one leaves behind
    row = small_row("recallhash-16", **settings)
    assert results.read(tmp_path / "results", row) == []
    if number == signal.SIGINT:
        assert process.returncode == 130 and "interrupted; continue with" in errors
    [run] = (tmp_path / "work/sample/recallhash-16").iterdir()
    _, metadata = load_arrays(run / "checkpoint.safetensors", "hashgcn.checkpoint")
    assert json.loads(metadata["position"])["history"]

    done = subprocess.run(command, stdout=subprocess.DEVNULL, **pipes)
    assert done.returncode == 0, done.stderr
    assert "selection: " in done.stderr and "selection:   0%" not in done.stderr
    [result] = results.read(tmp_path / "results", row)
    model = models.RecallHash(**settings).fit(data.load("sample"), progress=False)
    assert result["test"] == model.metrics.test


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
        (("--results", "{tmp}", "--set", "epochs=x"), "epochs: "),
        (("--run",), "--data: expected the folder that holds gowalla/train.txt"),
        (("--run", "--data", "{tmp}"), "gowalla/train.txt: no such file"),
        (("--run", "--data", "{tmp}", "--device", "cuda:77"), "--device"),
    ],
)
def test_errors_are_one_line(tmp_path, invoke, arguments, words):
    done = invoke(app, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.exit_code == 1
    assert done.stderr.startswith("benchmarks: ") and done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr


def test_data_of_other_counts_is_refused(tmp_path):
    folder = tmp_path / "gowalla"
    folder.mkdir()
    (folder / "train.txt").write_text("0 1 2\n1 2 3\n")
    (folder / "test.txt").write_text("0 3\n1 1\n")
    options = {"stored": tmp_path, "work": tmp_path, "device": "cpu", "progress": False}
    with pytest.raises(ValueError, match=r"expected \(29858, .*\) users.*, got \(2, 3, 4, 2\)"):
        runs.train(PAPER, 0, data=str(folder), **options)
