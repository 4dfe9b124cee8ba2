"""`make gpu-check` without a GPU: how its parts end, its benchmarks, and its compiled loops."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from unittest import mock

import pytest
import torch
from _pytest.mark.expression import Expression

from benchmarks.gpu import facts
from benchmarks.gpu import rows as gpu_rows
from benchmarks.gpu.cases import Case

ROOT = Path(__file__).resolve().parents[2]
THERE = {"gpu": "", "library": "", "pydantic": ""}


@pytest.fixture
def gpu_check(monkeypatch) -> ModuleType:
    """tools/gpu_check.py on a machine that has everything, or so it says."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    import gpu_check

    monkeypatch.setattr(gpu_check.Check, "look", lambda self, *_: self.lacks.update(THERE))
    return gpu_check


def python(name: str, code: str, gpu_check: ModuleType, **options):
    return gpu_check.Command(name, [sys.executable, "-c", code], **options)


def run(gpu_check, monkeypatch, tmp_path, parts: dict, *arguments: str) -> tuple[int, dict]:
    """Exit status and summary of a run of other parts."""
    monkeypatch.setattr(gpu_check, "PARTS", parts)
    status = gpu_check.main([*arguments, "--out", str(tmp_path / "out")])
    return status, json.loads((tmp_path / "out" / "summary.json").read_text())["parts"]


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_what_hangs_is_ended_with_all_that_it_started(gpu_check, monkeypatch, tmp_path, capsys):
    pid = tmp_path / "pid"
    child = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    command = f"[{sys.executable!r}, '-c', {child!r}]"
    code = f"import subprocess; print('so far', flush=True); subprocess.run({command})"
    hangs, works = python("hangs", code, gpu_check), python("works", "print(1)", gpu_check)
    parts = {
        "first": gpu_check.Part(1, 1, lambda _: [hangs, works], "first", order="together"),
        "second": gpu_check.Part(1, 1, lambda _: [works], "second"),
    }
    started = time.monotonic()
    arguments = ("--device", "cpu", "--minutes", "0.08")
    status, summary = run(gpu_check, monkeypatch, tmp_path, parts, *arguments)
    assert time.monotonic() - started < 4.8 and status == 1
    assert not is_alive(int(pid.read_text()))
    assert summary["first"]["status"] == "out of time" and summary["first"]["reason"] == "hangs"
    assert summary["first"]["processes"]["works"]["status"] == "passed"
    assert summary["second"]["status"] == "passed"
    assert summary["first"]["processes"]["hangs"]["last_lines"] == ["so far"]
    assert "so far" in capsys.readouterr().out
    log = (tmp_path / "out" / "first.log").read_text()
    assert "hangs: so far\n" in log and "works: 1\n" in log


def test_one_after_the_other_a_hang_costs_its_own_share(gpu_check, monkeypatch, tmp_path):
    hangs = python("hangs", "import time; time.sleep(600)", gpu_check)
    works = python("works", "print(1)", gpu_check)
    parts = {"alone": gpu_check.Part(1, 1, lambda _: [hangs, works], "alone")}
    _, summary = run(gpu_check, monkeypatch, tmp_path, parts, "--minutes", "0.08")
    states = {name: p["status"] for name, p in summary["alone"]["processes"].items()}
    assert states == {"hangs": "out of time", "works": "passed"}


@pytest.mark.parametrize(
    ("code", "options", "words"),
    [
        ("print('all is well'); raise SystemExit('a bad kernel')", {}, "exit status 1"),
        ("print('a bad kernel'); import os; os.abort()", {}, "ended by SIGABRT"),
        ("print('a bad kernel')", {"says": (r"\d passed",)}, r"expected its output to hold \d"),
        ("print('a bad kernel')", {"check": lambda: "recall of 0"}, "recall of 0"),
        ("print('a bad kernel')", {"check": lambda: {}["test"]}, "KeyError: 'test'"),
    ],
)
def test_what_fails_is_named_with_its_last_lines(
    gpu_check, monkeypatch, tmp_path, capsys, code, options, words
):
    fails = python("fails", code, gpu_check, **options)
    works = python("works", "print(1)", gpu_check)
    parts = {"chosen": gpu_check.Part(1, 1, lambda _: [fails, works], "chosen")}
    status, summary = run(gpu_check, monkeypatch, tmp_path, parts)
    assert status == 1 and summary["chosen"]["status"] == "failed"
    process = summary["chosen"]["processes"]["fails"]
    assert words in process["reason"] and process["last_lines"][-1] == "a bad kernel"
    shown = capsys.readouterr().out
    assert "chosen: failed: fails" in shown and words in shown and "a bad kernel" in shown
    assert summary["chosen"]["processes"]["works"]["status"] == "passed"


def test_a_chain_ends_where_it_breaks(gpu_check, monkeypatch, tmp_path):
    commands = [python(name, code, gpu_check) for name, code in (("a", "1 / 0"), ("b", "1"))]
    parts = {"build": gpu_check.Part(1, 1, lambda _: commands, "build", order="chain")}
    _, summary = run(gpu_check, monkeypatch, tmp_path, parts)
    assert list(summary["build"]["processes"]) == ["a"]


@pytest.mark.parametrize(
    ("device", "lacks", "statuses"),
    [
        ("cpu", ("gpu",), (0, 0, 0)),
        ("cpu", ("gpu", "pydantic"), (0, 0, 0)),
        ("cpu", ("library",), (1, 1, 0)),
        ("cuda", ("pydantic",), (0, 1, 0)),
        ("cuda", ("gpu",), (1, 1, 1)),
    ],
)
def test_what_is_not_run_fails_unless_it_is_a_rehearsal_of_less(
    gpu_check, monkeypatch, tmp_path, device, lacks, statuses
):
    found = THERE | dict.fromkeys(lacks, "is not there")
    monkeypatch.setattr(gpu_check.Check, "look", lambda self, *_: self.lacks.update(found))
    works = [python("works", "print(1)", gpu_check)]
    parts = {
        name: dataclasses.replace(gpu_check.PARTS[name], commands=lambda _: works)
        for name in ("correctness", "train", "memcheck")
    }
    for name, status in zip(parts, statuses, strict=True):
        arguments = (name, "--device", device)
        got, summary = run(gpu_check, monkeypatch, tmp_path, parts, *arguments)
        ran = summary[name]["status"] == "passed"
        assert got == status and summary[name]["status"] in ("passed", "not run")
        assert ran or summary[name]["reason"] == "needs a GPU" or "is not there" in str(summary)


def test_there_are_at_most_8_files(gpu_check, monkeypatch, tmp_path):
    rows = tmp_path / "out" / "rows.jsonl"
    writes = gpu_check.Command("writes", ["sh", "-c", f"echo {{}} >>{rows}"])
    parts = {
        name: dataclasses.replace(part, commands=lambda _: [writes])
        for name, part in gpu_check.PARTS.items()
    }
    for _ in range(2):
        status, summary = run(gpu_check, monkeypatch, tmp_path, parts)
        assert status == 0 and list(summary) == list(gpu_check.PARTS)
    assert len(list((tmp_path / "out").iterdir())) == 8


def test_the_parts_take_9_minutes(gpu_check):
    parts = gpu_check.PARTS.values()
    assert sum(part.minutes for part in parts) == pytest.approx(9)
    assert sum(part.rehearsal for part in parts) == pytest.approx(9)


def test_errors_list_the_parts(gpu_check, capsys, tmp_path):
    with pytest.raises(SystemExit) as error:
        gpu_check.main(["colour", "--out", str(tmp_path)])
    assert error.value.code == 2
    assert f"expected some of {', '.join(gpu_check.PARTS)}, got 'colour'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        gpu_check.main(["--data", str(tmp_path / "none"), "--out", str(tmp_path)])
    assert "--data: expected a folder, got " in capsys.readouterr().err


def test_children_find_this_checkout_and_what_was_carried(gpu_check, monkeypatch, tmp_path):
    (tmp_path / "site").mkdir()
    monkeypatch.setattr(gpu_check, "CARRIED", tmp_path)
    monkeypatch.setenv("PYTHONPATH", "/of/the/user")
    monkeypatch.delenv("TORCH_CUDA_ARCH_LIST", raising=False)
    options = gpu_check.parse(["--data", str(tmp_path), "--commit", "abc"])
    found = gpu_check.Check(options).environment(at_a_time=4)
    places = [str(ROOT), str(tmp_path / "site"), "/of/the/user"]
    assert found["PYTHONPATH"].split(os.pathsep) == places
    assert found["PATH"].split(os.pathsep)[-1] == "/usr/local/cuda/bin"
    assert found["HASHGCN_DATA"] == str(tmp_path) and found["HASHGCN_COMMIT"] == "abc"
    assert found["TORCH_CUDA_ARCH_LIST"] == "9.0" and int(found["OMP_NUM_THREADS"]) >= 1


def test_sanitizers_see_each_ops_samples(gpu_check, monkeypatch, tmp_path):
    (tmp_path / "compute-sanitizer").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    check = gpu_check.Check(gpu_check.parse(["--out", str(tmp_path)]))
    for tool in ("memcheck", "racecheck", "initcheck", "synccheck"):
        commands = gpu_check.PARTS[tool].commands(check)
        assert len(commands) == len(gpu_check.OPS)
        words = [" ".join(command.words) for command in commands]
        assert len({re.search(r"--port (\d+)", line)[1] for line in words}) == len(words)
        uncached = tool in ("memcheck", "initcheck")
        for command, line in zip(commands, words, strict=True):
            assert f"--tool {tool} " in line and line.endswith("and equals_the_cpu")
            assert ("PYTORCH_NO_CUDA_MEMORY_CACHING" in command.environment) == uncached
            assert ("--report-api-errors no" in line) == (tool == "memcheck")


def families_of(gpu_check: ModuleType, names: list[str]) -> dict[str, list[str]]:
    """The tests of each family, by the rules of pytest -k."""
    found: dict[str, list[str]] = {}
    for family, expression in gpu_check.families().items():
        chosen = Expression.compile(expression)
        found[family] = [name for name in names if chosen.evaluate(name.__contains__)]
    return found


def test_each_test_is_of_one_family(gpu_check):
    names = [f"test_{op}_equals_the_cpu" for op in gpu_check.OPS]
    names += ["test_sign_swish_backward_of_large_inputs", "test_streams", "test_compiled_training"]
    found = families_of(gpu_check, names)
    assert sorted(sum(found.values(), [])) == sorted(names)
    assert found["rest"] == ["test_streams"]
    assert all(f"test_{op}_equals_the_cpu" in found[op] for op in gpu_check.OPS)


@pytest.mark.slow
def test_the_families_part_the_tests(gpu_check):
    command = [*gpu_check.pytest("test"), "--collect-only"]
    command.remove("-vv")
    environment = os.environ | {"HASHGCN_DEVICE": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    names = re.findall(r"::(\S+)", done.stdout)
    found = families_of(gpu_check, names)
    assert sorted(sum(found.values(), [])) == sorted(names) and len(names) > 100
    for family, tests in found.items():
        assert tests, family
        if family in gpu_check.OPS:
            assert any("equals_the_cpu" in test for test in tests), family


def test_what_is_carried_is_listed(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import gpu_carry

    source, older = tmp_path / "a.cu", tmp_path / "a.so"
    source.touch()
    older.touch()
    os.utime(older, (0, 0))
    monkeypatch.setattr(gpu_carry, "FOLDER", tmp_path / "carried")
    monkeypatch.setattr(gpu_carry, "fetch", lambda: None)
    assert gpu_carry.is_older(older, source) and not gpu_carry.is_older(source, older)
    with pytest.raises(SystemExit, match="--data: expected gowalla/train.txt in it, got "):
        gpu_carry.main(["--data", str(tmp_path)])
    for name in gpu_carry.DATASETS:
        (tmp_path / name).mkdir()
        for file in ("train.txt", "test.txt"):
            (tmp_path / name / file).write_text("0 1\n" * 2**18)
    assert gpu_carry.main(["--data", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "carried  4.0 MiB\n" in said and "hashgcn/lib/libhashgcn_cpu.so" in said
    assert re.search(r"In all [\d.]+ MiB, [\d.]+ of them the checkout", said)
    assert re.search(r'make gpu-check GPU_CHECK="--commit \w{10,}"', said)


# The benchmarks


def measured_rows(out: Path, *groups: str) -> list[dict]:
    """Rows of the facts that need no GPU and of the cases of some groups, on tiny inputs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for module, words in ((facts, []), (gpu_rows, ["--quick", *groups])):
            words = [module.__name__, "--device", "cpu", "--out", str(out), *words]
            with mock.patch.object(sys, "argv", words):
                assert module.main() == 0
    finally:
        torch.set_num_threads(before)
    return [json.loads(line) for line in out.read_text().splitlines()]


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[dict]:
    return measured_rows(tmp_path_factory.mktemp("gpu") / "rows.jsonl")


@pytest.mark.slow
def test_every_case_has_a_floor_and_an_error(rows):
    cases = [row for row in rows if row["kind"] == "case"]
    expected = {
        *("sign_swish", "sign_swish_backward", "pack_codes", "propagate"),
        *("score_tables", "score_tables_backward", "smooth_rank", "smooth_rank_backward"),
        *("fixed_order_mm", "hamming_topk, train items left out", "hamming_topk, one query"),
        *("recall loss, forward and backward", "training step"),
    }
    assert {row["name"] for row in cases} == expected
    for row in cases:
        assert 0 < row["p20"] <= row["median"] <= row["p80"] and row["method"] == "a clock"
        assert row["floor_kind"] in row["floors"]
        for floor in row["floors"].values():
            assert floor["amount"] == eval(floor["formula"], {}, row["shape"]) > 0
        longest = max(floor["h200"] for floor in row["floors"].values())
        assert row["h200_floor"] == longest
        assert row["right"] and row["commit"] and row["versions"]["torch"] and row["quick"]
        if row["name"] != "training step":  # which a captured one is compared with
            assert row["error"] == "equal" or row["error"] < 1e-5 > row["plain_error"]
    widths = {row["shape"]["width"] for row in cases if row["name"] == "propagate"}
    bits = {row["shape"]["bits"] for row in cases if row["name"] == "score_tables_backward"}
    assert widths == {50, 52, 64} and bits == {64, 128, 256, 1024}


def test_floors_take_the_rates_that_were_measured(tmp_path):
    found = measured_rows(tmp_path / "rows.jsonl", "elementwise")
    rates = {row["name"]: row["value"] for row in found if row["kind"] == "fact"}
    assert rates["bytes"] > 0 and rates["tensor_multiply_adds"] > 0
    reasons = [row["reason"] for row in found if row["kind"] == "fact" and row["value"] is None]
    assert set(reasons) == {"needs a GPU"}
    swish = next(row for row in found if row["name"] == "sign_swish" and row["kind"] == "case")
    assert swish["right"] and swish["error"] == "equal"
    assert swish["floor"] == pytest.approx(1e6 * 8 * swish["shape"]["elements"] / rates["bytes"])
    assert swish["ratio"] == pytest.approx(swish["median"] / swish["floor"])


def test_there_is_no_floor_without_a_rate():
    case = Case("tables", {"pairs": 8}, lambda: None, {"popcounts": "pairs"})
    assert gpu_rows.floors(case, {"bytes": 1.0})["floor"] is None
    found = gpu_rows.floors(case, {"popcounts": 4.0})
    assert found["floor"] == 2e6 and found["floor_kind"] == "popcounts"


@pytest.mark.slow
def test_baselines_and_kernels_are_timed(rows):
    cases = [row for row in rows if row["kind"] == "case"]
    names = {name for row in cases for name in row["baselines"]}
    assert names == {"torch.sparse", "matmul, mask, topk", "plain torch, 32 users at a time"}
    profiled = [row for row in rows if row["kind"] == "kernels"]
    assert [(r["name"], r["shape"]) for r in profiled] == [(r["name"], r["shape"]) for r in cases]
    for row in profiled:
        assert all(k["microseconds"] > 0 and k["launches"] > 0 for k in row["kernels"])
        if row["name"] == "score_tables":
            assert "hashgcn::score_tables" in [kernel["kernel"] for kernel in row["kernels"]]


@pytest.mark.parametrize(
    ("error", "plain", "right"), [(9e-6, 1e-9, True), (2e-5, 6e-6, True), (2e-5, 4e-6, False)]
)
def test_wrong_is_above_a_bound_and_above_the_plain_ones_error(error, plain, right):
    exact = torch.tensor([1.0, -4.0], dtype=torch.float64)
    case = Case(
        *("a sum", {}, lambda: exact + torch.tensor([4 * error, 0.0])),
        exact=lambda: (exact,),
        plain=lambda: (exact - torch.tensor([0.0, 4 * plain]),),
    )
    found = gpu_rows.judged(case)
    assert found["error"] == pytest.approx(error) and found["plain_error"] == pytest.approx(plain)
    assert found["right"] == right


@pytest.mark.parametrize("values", [[1.0, float("nan")], [1.0, 3.0]])
def test_nan_and_other_integers_are_wrong(values):
    exact = torch.tensor([1.0, 2.0])
    case = Case("counts", {}, lambda: torch.tensor(values), exact=lambda: (exact,))
    assert not gpu_rows.judged(case)["right"]
    case.plain = lambda: (exact,)
    assert not gpu_rows.judged(case)["right"]


def test_facts_are_of_the_card_at_hand(tmp_path):
    rows = [
        {"kind": "fact", "name": "bytes", "gpu": gpu, "value": value}
        for gpu, value in (("A", 1.0), ("A", 2.0), ("B", 3.0), ("A", None))
    ]
    path = tmp_path / "rows.jsonl"
    assert facts.measured(path, "A") == {}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert facts.measured(path, "A") == {"bytes": 2.0}


@pytest.mark.slow
def test_the_loops_compile_with_their_instructions(tmp_path):
    """For compute capability 9.0a, warnings as errors; nothing of wgmma's product is dropped."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc")
    options = ("-Werror", "all-warnings", "-Xptxas", "-v")
    targets = ("arch=compute_90a,code=sm_90a",)
    said = facts.compile_loops(nvcc, tmp_path / "loops.so", *options, targets=targets)
    kernel = said[said.index("bit_products_wgmma") :]
    assert int(re.search(r"Used (\d+) registers", kernel)[1]) > 128  # the sums alone are 128
    library = (tmp_path / "loops.so").read_bytes()
    for name in facts.LOOPS:
        assert f"measure_{name}\0".encode() in library
