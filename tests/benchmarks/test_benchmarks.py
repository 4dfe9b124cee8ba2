"""The benchmark suite on tiny sizes, its report, and what the command line says of this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import hashgcn

from benchmarks import report as benchmark_report

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("pytest_benchmark")


@pytest.fixture(scope="module")
def rows_file(tmp_path_factory):
    """Rows of a quick run: every usual case, and the scaling curves of one op."""
    path = tmp_path_factory.mktemp("rows") / "bench-here.jsonl"
    ops = [p.stem.removeprefix("bench_") for p in (ROOT / "benchmarks").glob("bench_*.py")]
    done = hashgcn(
        *("bench", *sorted(set(ops) - {"train", "scaling"})),
        *("--quick", "--threads", 1, "--rows", path),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return path


@pytest.fixture(scope="module")
def rows(rows_file):
    return [json.loads(line) for line in rows_file.read_text().splitlines()]


def test_rows_say_what_was_measured(rows):
    assert {row["op"] for row in rows} >= {"hamming_topk", "score_tables", "propagate", "epoch"}
    for row in rows:
        assert 0 < row["p20"] <= row["median"] <= row["p80"] and row["rounds"] == 3
        assert row["bound"] > 0 and row["work"]["formula"] and row["commit"]
        assert row["percent_of_bound"] == pytest.approx(100 * row["bound"] / row["median"])
        assert row["machine"]["cores"] >= 1 and row["versions"]["torch"]
        for baseline in row["baselines"]:
            assert baseline["ratio"] == pytest.approx(baseline["median"] / row["median"])
            # Either its result was compared with ours, or it says what else it does.
            assert baseline["agreement"] or baseline["note"]
            if "chunks of" in baseline["name"]:
                assert baseline["sweep"]
        for reason in row["skipped"].values():
            assert reason


def test_narrow_cases_run_on_narrower_instruction_sets(rows):
    import hashgcn._numpy as module

    expected = {module.instruction_set()}
    if module.instruction_sets()[0] == "avx512":
        expected.add("avx2")
    assert {row["instruction_set"] for row in rows} == expected


def test_codes_random_and_trained_are_timed(rows):
    for op in ("hamming_topk", "weighted_hamming_topk", "score_tables"):
        inputs = {row["input"].split(",")[0] for row in rows if row["op"] == op}
        assert inputs >= {"random", "trained"}


def test_report_holds_every_row_and_says_where_ours_is_slower(rows_file, rows, tmp_path):
    done = hashgcn("report", "--benchmarks", rows_file, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "index.html").read_text()
    text = (tmp_path / "benchmarks.md").read_text()
    names = {baseline["name"] for row in rows for baseline in row["baselines"]}
    for name in names | {row["name"] for row in rows}:
        assert f"| {name} |" in text or f"### {name} (" in text.replace("#### ", "### "), name
    assert 'src="data:image/png' in page and "http" not in page.replace("http-equiv", "")
    for picture in tmp_path.glob("pictures/*.png"):
        assert f"pictures/{picture.name}" in text
    lost = [b for r in rows for b in r["baselines"] if b["ratio"] < 1 and b["agreement"]]
    section = text[text.index("Where ours is slower") : text.index("Against the machine")]
    assert section.count("×") == len(lost)


def test_the_latest_row_of_a_case_counts(rows, tmp_path):
    first = {**rows[0], "median": 1.0}
    later = {**rows[0], "median": 2.0, "date": "2999-01-01"}
    path = tmp_path / "bench-two.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (first, rows[1], later)))
    found = benchmark_report.read_rows([path])
    assert len(found) == 2 and found[0]["median"] == 2.0


def test_curves_are_drawn(rows, tmp_path):
    curve = [
        {**rows[0], "curve": "items", "shape": {**rows[0]["shape"], "items": items}}
        for items in (100, 1000)
    ]
    benchmark_report.write(curve, tmp_path)
    assert "## Scaling" in (tmp_path / "benchmarks.md").read_text()
    assert list(tmp_path.glob("pictures/scaling-*.png"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("bench", "colour"), "OP: expected one of"),
        (("bench", "--cpu", "mmx"), "--cpu: expected some of"),
        (("report", "--benchmarks", "{tmp}/none.jsonl"), "no such file"),
        (("report", "--benchmarks", "{tmp}/other.jsonl"), "line 2: expected a benchmark's row"),
        (("report", "--benchmarks", "{tmp}/empty.jsonl"), "at least one row"),
    ],
)
def test_errors_are_one_line(rows_file, tmp_path, arguments, words):
    (tmp_path / "other.jsonl").write_text(rows_file.read_text().splitlines()[0] + '\n{"op": 1}\n')
    (tmp_path / "empty.jsonl").write_text("")
    done = hashgcn(*(argument.format(tmp=tmp_path) for argument in arguments))
    assert done.returncode == 1
    assert done.stderr.startswith("hashgcn: ") and done.stderr.count("\n") == 1, done.stderr
    assert words in done.stderr


def test_info_says_what_is_live():
    import hashgcn.ops as ops
    from hashgcn import __version__

    done = hashgcn("info", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["version"] == __version__
    assert set(found["cpu_kernels"]) == set(ops.__all__) - {"check_errors"}
    assert found["instruction_set"] in found["instruction_sets"]
    assert found["cuda_kernels"]  # names, or why there are none
    text = hashgcn("info").stdout
    for words in (__version__, found["instruction_set"], found["torch"]):
        assert words in text
