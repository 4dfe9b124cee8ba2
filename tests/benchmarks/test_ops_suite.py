"""The benchmarks of ops: how a case is timed and stored, and the report of the rows."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from matplotlib.figure import Figure

from benchmarks import report
from benchmarks.harness import bounds, machine, race, rows
from benchmarks.harness.race import Case, Contender, Work
from benchmarks.ops.__main__ import FOLDER
from benchmarks.ops.__main__ import app as ops_app
from hashgcn import ops

CEILINGS = {
    "copy": {1 << 20: 8e10, 24 << 20: 4e10, 512 << 20: 2e10},
    **{"popcounts": 1e10, "full_adders": 2e10, "multiply_adds": 5e10},
}
STORED = sorted(machine.RESULTS.glob("ops-*.jsonl"))


class Benchmark:
    """What run_case needs of pytest-benchmark's fixture."""

    def __init__(self):
        self.stats = SimpleNamespace(stats=SimpleNamespace(data=[]))

    def pedantic(self, function, setup, rounds):
        for _ in range(rounds):
            arguments, _ = setup()
            started = time.perf_counter()
            function(*arguments)
            self.stats.stats.data.append(time.perf_counter() - started)


@pytest.fixture
def raced(monkeypatch):
    """raced(*baselines): the row of a case in which ours adds ones."""
    monkeypatch.setattr(bounds, "measure", lambda threads: CEILINGS)
    x = torch.zeros(1000)

    def run(*baselines: Contender, **fields: object) -> dict:
        case = Case("add", "ones", {"items": len(x)}, Work("8 n bytes", bytes=8 * len(x)), **fields)
        ours = Contender("ours", lambda: x + 1)
        options = {"threads": 1, "environment": race.environment(), "quick": True}
        return race.run_case(Benchmark(), case, ours, list(baselines), **options)

    gc.freeze()  # a case collects several times
    yield run
    gc.unfreeze()


def test_a_case_is_compared_and_timed(raced):
    ones = torch.ones(1000)
    row = raced(
        Contender("clone", ones.clone, check=race.equal),
        Contender("part", lambda: ones[:500].clone(), share=0.5, note="half of it"),
        Contender("large", ones.clone, estimated_bytes=2**60),
        race.Skipped("absent", "not installed"),
    )
    assert row["rounds"] == race.FEWEST and 0 < row["p20"] <= row["median"] <= row["p80"]
    assert row["bound"] == pytest.approx(8000 / 8e10)
    assert row["percent_of_bound"] == pytest.approx(100 * row["bound"] / row["median"])
    assert [b["name"] for b in row["baselines"]] == ["clone", "part"]
    assert [b["agreement"] for b in row["baselines"]] == ["equal", None]
    for baseline in row["baselines"]:
        assert baseline["ratio"] == pytest.approx(baseline["median"] / row["median"])
    assert row["skipped"]["absent"] == "not installed" and "GiB" in row["skipped"]["large"]
    assert row["commit"] and row["versions"]["torch"] and row["machine"]["cores"] >= 1


def test_a_wrong_baseline_is_not_timed(raced):
    with pytest.raises(AssertionError):
        raced(Contender("zeros", lambda: torch.zeros(1000), check=race.equal))


def test_rows_are_read_as_they_were_measured(raced, tmp_path):
    path = tmp_path / "rows.jsonl"
    row = raced(Contender("clone", torch.ones(1000).clone, check=race.equal))
    other = raced(curve="items")
    for each in (row, other, row | {"median": 1.0}):
        rows.append(path, each)
    assert len(path.read_text().splitlines()) == 4  # the conditions once
    latest, second = rows.read([path])
    assert latest["median"] == 1.0 and second["curve"] == "items"
    rows.compact(path)
    assert len(path.read_text().splitlines()) == 3 and rows.read([path]) == [latest, second]
    for key, value in json.loads(json.dumps(other)).items():
        same = pytest.approx(value) if isinstance(value, float) else value
        assert second[key] == same, key


def test_a_child_is_not_another_process(monkeypatch):
    """A row that times a whole command is not marked for the command's own work."""
    ticks = os.sysconf("SC_CLK_TCK")
    before = os.times()

    def stat(path: str, pattern: str) -> list[str]:
        now = os.times()
        own = sum(now[:4]) - sum(before[:4])
        return [f"{round(own * ticks)} 0 0 {round((now.elapsed - before.elapsed) * ticks)} 0 0 0 0"]

    monkeypatch.setattr(machine, "_lines", stat)
    with machine.Others() as others:
        code = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass"
        subprocess.run([sys.executable, "-c", code], check=True)
    assert others.share < 0.1


def test_machines_of_one_processor_name_have_files_of_their_own(monkeypatch):
    names = []
    for sets in (["avx512", "avx2", "baseline"], ["avx2", "baseline"]):
        monkeypatch.setattr(machine._numpy, "instruction_sets", lambda sets=sets: sets)
        machine.describe.cache_clear()
        names.append(machine.slug())
        assert machine.describe()["instructions"] == sets[0]
    machine.describe.cache_clear()
    assert [name.rsplit("-", 1)[1] for name in names] == ["avx512", "avx2"]


def test_two_files_are_compared(raced, tmp_path, invoke):
    row = raced() | {"p20": 1.0, "median": 1.1, "p80": 1.2}
    steady = row | {"name": "twos"}
    slow = {"p20": 2.0, "median": 2.2, "p80": 2.4}
    for name, found in (("a", [row, steady]), ("b", [row | slow, steady, row | {"name": "new"}])):
        for each in found:
            rows.append(tmp_path / name, each)
    done = invoke(report.app, "--compare", tmp_path / "a", tmp_path / "b")
    lines = done.stdout.splitlines()
    assert lines[2].endswith("| 1.1 s | 2.2 s | 0.50× | slower |") and "add: ones" in lines[2]
    assert lines[3].endswith("| 1.1 s | 1.1 s | 1.00× |  |") and "add: twos" in lines[3]
    assert lines[-1] == "2 cases; 1 that one of them lacks."
    for other, words in (("nowhere", "a file or a commit, got 'nowhere'"),):
        done = invoke(report.app, "--compare", tmp_path / "a", other)
        assert done.exit_code == 1 and words in done.stderr


def test_results_of_a_commit_are_compared(raced, tmp_path, invoke, monkeypatch):
    folder = tmp_path / "benchmarks" / "results"
    folder.mkdir(parents=True)
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    monkeypatch.setattr(machine, "RESULTS", folder)
    row = raced()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", tmp_path]
    subprocess.run([*git, "init", "-q"], check=True)
    for factor in (1, 2):
        changed = {key: factor * row[key] for key in ("p20", "median", "p80")}
        path = folder / "ops-some-machine.jsonl"
        path.unlink(missing_ok=True)
        rows.append(path, row | changed)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "rows"], check=True)
    done = invoke(report.app, "--compare", "HEAD~1", "HEAD")
    assert done.exit_code == 0 and "| 0.50× |" in done.stdout


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_rows_are_compact(path, tmp_path):
    best = path.stem.rsplit("-", 1)[1]
    assert {row["machine"]["instructions"] for row in rows.read([path])} == {best}
    copied = tmp_path / path.name
    copied.write_bytes(path.read_bytes())
    rows.compact(copied)
    assert copied.read_bytes() == path.read_bytes()
    assert {row["op"] for row in rows.read([path])} <= {*ops.__all__, "data", "epoch", "train"}


def test_the_report_holds_every_row_and_says_where_ours_is_slower(
    raced, tmp_path, invoke, monkeypatch
):
    # Drawing takes seconds; the slow test of the suite draws.
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: path.write_bytes(b"png"))
    fast = Contender("a | slow one", lambda: time.sleep(0.001), note="waits")
    measured = [
        raced(fast, Contender("clone", torch.ones(1000).clone, check=race.equal)),
        *(
            raced(fast, curve="items") | {"shape": {"items": items}, "note": "scaled"}
            for items in (100, 1000)
        ),
    ]
    measured[0]["baselines"][1]["median"] = measured[0]["median"] / 2
    for row in measured:
        rows.append(tmp_path / "rows.jsonl", row)
    done = invoke(report.app, tmp_path / "rows.jsonl", "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    text = (tmp_path / "benchmarks.md").read_text()
    lost = text[text.index("Where ours is slower") : text.index("Against the machine")]
    assert lost.count("0.50×") == 1 and "| clone |" in lost
    assert "#### ones (forward)" in text and "| waits |" in text and "### Scaling" in text
    pictures = sorted(path.name for path in tmp_path.glob("pictures/*.png"))
    assert len(pictures) == 4 and all(f"(pictures/{name})" in text for name in pictures)


@pytest.mark.parametrize(
    ("app", "arguments", "words"),
    [
        (ops_app, ("colour",), "OP: expected one of"),
        (ops_app, ("--cpu", "mmx"), "--cpu: expected some of"),
        (report.app, ("{tmp}/none.jsonl",), "no such file"),
        (report.app, ("{tmp}/other.jsonl",), "line 1: expected a benchmark's row"),
        (report.app, ("{tmp}/empty.jsonl",), "at least one row"),
    ],
)
def test_errors_are_one_line(tmp_path, invoke, app, arguments, words):
    (tmp_path / "other.jsonl").write_text('{"op": 1}\n')
    (tmp_path / "empty.jsonl").write_text("")
    done = invoke(app, *(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.exit_code == 1
    assert done.stderr.startswith("benchmarks: ") and done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr


@pytest.mark.slow
def test_the_suite_runs_on_tiny_sizes(tmp_path, invoke):
    pytest.importorskip("pytest_benchmark")
    path = tmp_path / "rows.jsonl"
    files = {file.stem.removeprefix("bench_") for file in FOLDER.glob("bench_*.py")}
    files -= {"train", "scaling"}
    done = invoke(ops_app, *sorted(files), "--quick", "--threads", 1, "--rows", path)
    assert done.exit_code == 0
    measured = rows.read([path])
    # fixed_order_mm multiplies small tables of losses: it is timed as a part of them.
    others = {"TopK", "check_errors", "fixed_order_mm"}
    public = set(ops.__all__) - others
    assert {row["op"] for row in measured} >= public | {"data", "epoch"}
    for row in measured:
        assert row["bound"] > 0 and row["work"]["formula"]
        # Either a result was compared with ours, or the note says what else it is.
        assert all(b["agreement"] or b["note"] for b in row["baselines"]), row["name"]
    for op in ("hamming_topk", "score_tables"):
        assert {r["input"].split(",")[0] for r in measured if r["op"] == op} >= {
            "random",
            "trained",
        }
    from hashgcn import _numpy

    expected = {_numpy.instruction_set()}
    expected |= {"avx2"} if _numpy.instruction_sets()[0] == "avx512" else set()
    assert {row["instruction_set"] for row in measured} == expected
    done = invoke(report.app, path, "--out", tmp_path / "report")
    assert done.exit_code == 0, done.stderr
    pictures = list(tmp_path.glob("report/pictures/*.png"))
    assert pictures and all(picture.stat().st_size > 5000 for picture in pictures)
