"""`make gpu-check`: everything that needs a GPU, in parts that can fail without stopping the rest.

    python tools/gpu_check.py [PART ...] [--minutes 9] [--data FOLDER] [--out FOLDER]
    python tools/gpu_check.py --device cpu        # a rehearsal: what can run without a GPU

Parts, in this order: facts (rates of the card), build (the libraries, unless they load),
correctness (tests/ops/test_cuda.py), kernels (times of every op beside its floor), train (Gowalla
from files), then the ops' samples under compute-sanitizer: memcheck, racecheck, initcheck,
synccheck. Nothing is downloaded; `make gpu-carry` fetches beforehand what a machine without a
network lacks.

Each part has a share of the minutes, and what it does not use goes to the next one. Tests run in
one process per op family, kernels in one per group of cases. Each process group is ended as a whole
when its time is up, so a process that hangs or breaks the GPU's context affects no other. --out
holds at most 8 files, written as results come: rows.jsonl, summary.json, and logs whose lines begin
with the name of the process.

A part passes, fails, runs out of time or is not run. The exit status is 0 if all parts pass; in a
rehearsal, if all parts pass that can run without a GPU.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from process_groups import Command, Groups, Log, Outcome

ROOT = Path(__file__).resolve().parent.parent
CUDA = Path("/usr/local/cuda/bin")
CARRIED = ROOT / "build" / "gpu-carry"
RUNS = ROOT / "build" / "gpu-check-runs"  # of training: not for --out, which holds few files
CORES = os.cpu_count() or 1
# Tests of more than 2^31 elements take about 10 GB each, six families have some: less than 80 GB.
AT_A_TIME = min(8, CORES)
LEAST_RECALL = 0.26  # recall@50 on Gowalla's test pairs

# Families of tests/ops/test_cuda.py: a test belongs to the first word in its id, or to the rest.
OPS = (
    *("hamming_topk", "score_tables", "smooth_rank", "propagate", "fixed_order_mm", "pack_codes"),
    *("sign_swish_backward", "sign_swish", "sign_ste", "sign_fourier", "sign_guided"),
    "tanh_continuation",
)
OTHERS = ("training", "compiled")
REST = "rest"
# Groups of benchmarks.gpu.rows, with their shares of the part's time.
GROUPS = {
    **{"elementwise": 1.2, "tables": 2.5, "propagation": 1.2, "ranks": 1.2},
    **{"topk": 2.0, "loss": 1.2, "steps": 1.5},
}

# Prints why each is not there, empty if it is.
PROBE = """
import json, sys
import torch

def gpu():
    torch.ones(1, device="cuda")

def library():
    import hashgcn._numpy
    import hashgcn.ops
    if device == "cuda":
        has = torch._C._dispatch_has_kernel_for_dispatch_key
        names = [n for n in torch._C._dispatch_get_all_op_names() if n.startswith("hashgcn::")]
        lacking = [name for name in names if not has(name, "CUDA")]
        assert not lacking, f"no CUDA kernel for {', '.join(lacking)}"
    hashgcn.ops.sign_swish(torch.ones(2, device=device), 1.0).sum().item()

def pydantic():
    import pydantic

device, found = sys.argv[1], {}
for question in (gpu, library, pydantic):
    try:
        question()
        found[question.__name__] = ""
    except Exception as error:
        found[question.__name__] = f"{type(error).__name__}: {error}".splitlines()[0]
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Part:
    """A part of the check.

    Attributes:
        minutes: its share of 9 minutes, which --minutes scales.
        rehearsal: its share in a rehearsal; 0 if it needs a GPU.
        commands: gives the commands it runs, or the reason why it cannot run.
        log: stem of the file that its output goes to.
        needs: "library" and "pydantic", as far as it needs them besides the GPU.
        order: "together", AT_A_TIME of them; "alone", one after the other, each with its share of
            the time; "chain", one after the other while they pass.
        shows: whether its output is printed, except for indented lines.
    """

    minutes: float
    rehearsal: float
    commands: Callable[[Check], list[Command] | str]
    log: str
    needs: tuple[str, ...] = ()
    order: str = "alone"
    shows: bool = False


class Check:
    """A run of the check: its options, what the machine lacks, and the running processes."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device: str = options.device
        self.cuda = self.device == "cuda"
        self.data: Path | None = options.data
        self.out: Path = options.out
        self.commit: str | None = options.commit
        self.groups = Groups(ROOT)
        self.lacks: dict[str, str] = {}  # gpu, library, pydantic: why it is missing, or empty

    def environment(self, at_a_time: int = 1) -> dict[str, str]:
        """The environment of children: this checkout and what was carried come first."""
        found = dict(os.environ)
        ours = [ROOT, CARRIED / "site"]
        modules = [str(path) for path in ours if path.is_dir()]
        modules += [found["PYTHONPATH"]] if found.get("PYTHONPATH") else []
        programs = [str(Path(sys.executable).parent), found.get("PATH", os.defpath), str(CUDA)]
        found["PYTHONPATH"] = os.pathsep.join(modules)
        found["PATH"] = os.pathsep.join(programs)
        found["PYTHONUNBUFFERED"] = "1"
        found.setdefault("TORCH_CUDA_ARCH_LIST", "9.0")
        # Waiting threads give way: spinning would take time from the other processes.
        found.setdefault("OMP_WAIT_POLICY", "passive")
        if at_a_time > 1:
            found["OMP_NUM_THREADS"] = str(max(1, CORES // at_a_time))
        if self.data is not None:
            found["HASHGCN_DATA"] = str(self.data)
        if self.commit is not None:
            found["HASHGCN_COMMIT"] = self.commit
        return found

    def look(self, seconds: float, log: Log) -> None:
        """Find out what the machine lacks."""
        command = Command("look", [sys.executable, "-c", PROBE, self.device])
        outcome = self.groups.run(command, min(60.0, seconds), self.environment(), log)
        answers = [line for line in outcome.last_lines if line.startswith("{")]
        if outcome.status == "passed" and answers:
            self.lacks = json.loads(answers[-1])
        else:
            last = outcome.last_lines[-1] if outcome.last_lines else ""
            reason = f"importing torch: {outcome.status}, {outcome.reason}: {last}"
            self.lacks = dict.fromkeys(("gpu", "library", "pydantic"), reason)

    def obstacle(self, part: Part) -> str:
        """What a part needs and the machine lacks, with the reason; empty if it can run."""
        if not self.cuda and part.rehearsal == 0:
            return "needs a GPU"
        needs = (*(("gpu",) if self.cuda else ()), *part.needs)
        return next((f"{name}: {self.lacks[name]}" for name in needs if self.lacks[name]), "")

    def is_excused(self, part: Part) -> bool:
        """Whether a part may go without running: a rehearsal needs neither GPU nor pydantic."""
        rest = [name for name in part.needs if name != "library"]
        lacks = part.rehearsal == 0 or any(self.lacks[name] for name in rest)
        return not self.cuda and lacks

    def run(self, name: str, part: Part, due: float) -> tuple[Outcome, dict[str, Outcome]]:
        """The outcome of a part and of each of its processes; `due` is a time.monotonic()."""
        started = time.monotonic()
        with open(self.out / f"{part.log}.log", "a", encoding="utf-8") as file:
            if not self.lacks:
                self.look(due - time.monotonic(), Log(file))
            commands = self.obstacle(part) or part.commands(self)
            if isinstance(commands, str):
                return Outcome("not run", commands), {}
            done = self.run_all(commands, part.order, due, Log(file, part.shows))
        if name == "build" and done:
            self.lacks = {}  # the next part looks again
        bad = {name: outcome for name, outcome in done.items() if outcome.status != "passed"}
        status = "passed"
        if bad:
            failed = any(outcome.status == "failed" for outcome in bad.values())
            status = "failed" if failed else "out of time"
        seconds = round(time.monotonic() - started, 1)
        return Outcome(status, ", ".join(bad), seconds), done

    def run_all(
        self, commands: list[Command], order: str, due: float, log: Log
    ) -> dict[str, Outcome]:
        if order == "together":
            return self.run_together(commands, due, log)
        done: dict[str, Outcome] = {}
        started, before = time.monotonic(), 0.0
        whole = sum(command.share for command in commands)
        for command in commands:
            before += command.share
            end = due if order == "chain" else started + (due - started) * before / whole
            done[command.name] = outcome = self.groups.run(
                command, end - time.monotonic(), self.environment(), log
            )
            if order == "chain" and outcome.status != "passed":
                break
        return done

    def run_together(self, commands: list[Command], due: float, log: Log) -> dict[str, Outcome]:
        environment = self.environment(min(AT_A_TIME, len(commands)))

        def run(command: Command) -> Outcome:
            return self.groups.run(command, due - time.monotonic(), environment, log)

        pool = ThreadPoolExecutor(AT_A_TIME)
        try:
            names = [command.name for command in commands]
            return dict(zip(names, pool.map(run, commands), strict=True))
        except BaseException:  # interrupted: the threads wait for their processes
            self.groups.end_all()
            raise
        finally:
            pool.shutdown()


def families() -> dict[str, str]:
    """Expressions for pytest -k, of which each test satisfies exactly one."""
    found, before = {}, ""
    for word in (*OPS, *OTHERS):
        found[word] = word + before
        before += f" and not {word}"
    found[REST] = before.removeprefix(" and ")
    return found


def pytest(expression: str) -> list[str]:
    options = ["-m", "cuda", "-vv", "-W", "default", "--tb=short"]
    options += ["-p", "no:cacheprovider", "-p", "no:faulthandler"]
    return [sys.executable, "-m", "pytest", "tests/ops/test_cuda.py", *options, "-k", expression]


# If all tests are skipped because there is no GPU, none has passed.
SOME_PASSED = r"\b[1-9]\d* passed"
SOME_SKIPPED = r"\b[1-9]\d* (passed|skipped)"  # in a rehearsal


def facts(check: Check) -> list[Command]:
    module = ["-m", "benchmarks.gpu.facts", "--device", check.device]
    return [Command("facts", [sys.executable, *module, "--out", str(check.out / "rows.jsonl")])]


def build(check: Check) -> list[Command]:
    if not check.lacks["library"]:
        return []
    folder = str(ROOT / "build" / "gpu-check-cmake")
    configure = ["cmake", "-G", "Ninja", "-S", str(ROOT), "-B", folder]
    configure += [f"-DPython_EXECUTABLE={sys.executable}", f"-DCMAKE_INSTALL_PREFIX={ROOT}"]
    configure += [f"-DHASHGCN_CUDA={int(check.cuda)}"]
    if check.cuda and shutil.which("nvcc") is None:
        configure += [f"-DCMAKE_CUDA_COMPILER={CUDA / 'nvcc'}"]
    look = [sys.executable, "-c", PROBE, check.device]
    return [
        Command("configure", configure),
        Command("compile", ["cmake", "--build", folder]),
        Command("install", ["cmake", "--install", folder]),
        Command("load", look, says=('"library": ""',)),
    ]


def correctness(check: Check) -> list[Command]:
    on, says = ({}, SOME_PASSED) if check.cuda else ({"HASHGCN_DEVICE": "cpu"}, SOME_SKIPPED)
    return [
        Command(name, pytest(expression), says=(says,), environment=on)
        for name, expression in families().items()
    ]


def kernels(check: Check) -> list[Command]:
    words = [sys.executable, "-m", "benchmarks.gpu.rows", "--device", check.device]
    words += ["--out", str(check.out / "rows.jsonl")] + ([] if check.cuda else ["--quick"])
    return [Command(name, [*words, name], share) for name, share in GROUPS.items()]


def train(check: Check) -> list[Command] | str:
    name = "gowalla" if check.cuda else "sample"
    words = [sys.executable, "-m", "hashgcn", "train", name, "--device", check.device, "--quiet"]
    if check.cuda:
        if check.data is None or not (check.data / name / "train.txt").is_file():
            return f"expected --data, a folder that holds gowalla/train.txt, got {check.data}"
        words += ["--data", str(check.data)]
    shutil.rmtree(RUNS / name, ignore_errors=True)  # training wants a new folder

    def recall() -> str:
        metrics = json.loads((RUNS / name / "metrics.json").read_text(encoding="utf-8"))
        found = metrics["test"]["recall@50"]
        if not check.cuda or found >= LEAST_RECALL:
            return ""
        return f"expected recall@50 of at least {LEAST_RECALL} on test, got {found:.4f}"

    return [Command(name, [*words, "--out", str(RUNS / name)], check=recall)]


def sanitizer(tool: str) -> Callable[[Check], list[Command] | str]:
    def commands(check: Check) -> list[Command] | str:
        program = shutil.which("compute-sanitizer", path=check.environment()["PATH"])
        if program is None:
            return f"expected compute-sanitizer on PATH or in {CUDA}"
        run = [program, "--tool", tool, "--target-processes", "all", "--error-exitcode", "1"]
        if tool == "memcheck":
            run += ["--report-api-errors", "no"]  # torch asks for what a card may not have
        if tool != "initcheck":  # which has to see what torch's kernels write
            run += ["--kernel-name", "kns=hashgcn"]
        # Torch keeps freed blocks, longer than their tensors and written before.
        off = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"} if tool in ("memcheck", "initcheck") else {}
        summary = "RACECHECK SUMMARY: 0 hazards" if tool == "racecheck" else "SUMMARY: 0 errors"
        return [
            Command(
                f"{tool} {name}",
                # Ports of processes that run at the same time must not meet.
                [*run, "--port", str(49152 + 16 * at)]
                + pytest(f"({expression}) and equals_the_cpu"),
                says=(SOME_PASSED, summary),
                environment=off,
            )
            for at, (name, expression) in enumerate(families().items())
            if name in OPS
        ]

    return commands


PARTS = {
    "facts": Part(0.7, 0.4, facts, "facts", shows=True),
    "build": Part(1.3, 1.4, build, "build", order="chain"),
    "correctness": Part(2.0, 4.5, correctness, "correctness", ("library",), order="together"),
    "kernels": Part(2.0, 2.0, kernels, "kernels", ("library",), shows=True),
    "train": Part(0.8, 0.7, train, "train", ("library", "pydantic"), shows=True),
    **{
        tool: Part(minutes, 0, sanitizer(tool), "sanitizers", ("library",), order="together")
        for tool, minutes in (
            *(("memcheck", 0.9), ("racecheck", 0.6)),
            *(("initcheck", 0.4), ("synccheck", 0.3)),
        )
    },
}


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--minutes", type=float, default=9.0, help="minutes for all parts together")
    parser.add_argument("--data", type=Path, help="folder that contains gowalla")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu-check")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--commit", help="commit of this copy, for the rows, if git cannot tell")
    options = parser.parse_args(arguments)
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown:
        parser.error(f"PART: expected some of {', '.join(PARTS)}, got {unknown[0]!r}")
    options.out = options.out.resolve()
    if options.data is None:
        named = os.environ.get("HASHGCN_DATA")
        places = [Path(named)] if named else []
        places += [CARRIED / "data", ROOT.parent / "shared" / "data"]
        options.data = next((place for place in places if place.is_dir()), None)
    elif not options.data.is_dir():
        parser.error(f"--data: expected a folder, got {options.data}")
    if options.data is not None:
        options.data = options.data.resolve()
    return options


def show(name: str, outcome: Outcome, processes: dict[str, Outcome]) -> None:
    reason = f": {outcome.reason}" if outcome.reason else ""
    print(f"{name}: {outcome.status}{reason}, {outcome.seconds} s", flush=True)
    for process, found in processes.items():
        if found.status != "passed":
            print(f"    {process}: {found.status}, {found.reason}, {found.seconds} s")
            print("".join(f"        {line}\n" for line in found.last_lines), end="", flush=True)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    check = Check(options)
    check.out.mkdir(parents=True, exist_ok=True)
    chosen = {name: part for name, part in PARTS.items() if name in (options.parts or PARTS)}
    for log in {part.log for part in chosen.values()}:
        (check.out / f"{log}.log").unlink(missing_ok=True)
    minutes = {name: p.minutes if check.cuda else p.rehearsal for name, p in PARTS.items()}
    due, whole = time.monotonic(), sum(minutes.values())
    summary: dict[str, dict[str, object]] = {}
    status = 0
    try:
        for name, part in chosen.items():
            due += 60 * options.minutes * minutes[name] / whole
            outcome, processes = check.run(name, part, due)
            show(name, outcome, processes)
            status |= outcome.status != "passed" and not check.is_excused(part)
            summary[name] = asdict(outcome) | {
                "processes": {
                    process: asdict(found)
                    | ({"last_lines": []} if found.status == "passed" else {})
                    for process, found in processes.items()
                }
            }
            text = json.dumps({"device": check.device, "parts": summary}, indent=1)
            (check.out / "summary.json").write_text(text + "\n", encoding="utf-8")
    finally:
        check.groups.end_all()
    print("; ".join(f"{name} {found['status']}" for name, found in summary.items()))
    return int(status)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # main() ends its processes first
    sys.exit(main())
