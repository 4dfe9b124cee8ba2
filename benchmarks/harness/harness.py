"""Times our op and what a user would run instead, in turns, on one input; one row a case.

pytest-benchmark times our op. Its `setup`, which runs untimed before every round, takes one timing
of each baseline: rounds interleave, so that drift of the machine hits all contenders alike, and the
statistics of our op are pytest-benchmark's own.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from benchmarks.harness import bounds, machine, memory
from hashgcn import _numpy

# Seconds before each timing: threads of another OpenMP runtime spin for milliseconds after their
# work, on the cores that the next contender needs.
PAUSE = 0.01
# Rounds by the seconds of a first run; what takes longer than the last gets FEWEST.
ROUNDS = ((0.1, 15), (0.5, 9), (2.0, 5))
FEWEST = 3
# Longer than this, the first run has to do for the peak of memory too.
SLOW = 2.0
# A form whose formula asks for more than this part of free memory is not run.
MEMORY_PART = 0.5


@dataclass(frozen=True)
class Work:
    """What a case has to do at least: counts by the formula in words. All 0: no bound is known.

    Attributes:
        bytes: read and written.
        popcounts, full_adders: of 64-bit words. multiply_adds: of numbers of the case's dtype.
        working_set: bytes that are touched again and again, which decide whose bandwidth is the
            bound; `bytes` if left out.
    """

    formula: str
    bytes: int = 0
    popcounts: int = 0
    full_adders: int = 0
    multiply_adds: int = 0
    working_set: int | None = None

    def bound(self, ceilings: dict[str, Any]) -> float:
        """Seconds below which the machine cannot do it: the slower of memory and arithmetic."""
        resident = self.bytes if self.working_set is None else self.working_set
        counts = ("popcounts", "full_adders", "multiply_adds")
        arithmetic = sum(getattr(self, count) / ceilings[count] for count in counts)
        return max(self.bytes / bounds.copy_rate(ceilings, resident), arithmetic)


@dataclass(frozen=True)
class Case:
    """One line of the report: an op on one input.

    Attributes:
        op: stem of the benchmark's file. name: what is computed, for people.
        mode: forward, backward, both, or how the work is asked for.
        shape: sizes by name. dtype: of the input.
        input: where codes or interactions come from.
        curve: the size in `shape` that a scaling picture varies.
        note: what a reader has to know.
    """

    op: str
    name: str
    shape: dict[str, int]
    work: Work
    mode: str = "forward"
    dtype: str = "float32"
    input: str = "random"
    curve: str | None = None
    note: str | None = None


@dataclass
class Contender:
    """A way to compute a case, or part of it.

    Attributes:
        run: what is timed. It takes what `prepare` returns, if there is a `prepare`.
        prepare: untimed, before every run: the forward pass of a backward mode.
        check: (our result, its result) -> how they agree; raises AssertionError if they do not.
            None: `note` says what it does instead of the same work.
        share: the part of the case's work that run does; its time is divided by it.
        ours: our op on that part, for the check; None where the share is 1.
        estimated_bytes: extra memory by formula; decides whether the form is run at all.
        memory_full: extra memory of the whole work by formula, where share < 1.
        most_rounds: for what takes minutes.
    """

    name: str
    run: Callable[..., Any]
    prepare: Callable[[], Any] | None = None
    check: Callable[[Any, Any], str] | None = None
    share: float = 1.0
    ours: Callable[[], Any] | None = None
    note: str | None = None
    estimated_bytes: int = 0
    most_rounds: int = 99
    memory_full: int | None = None
    sweep: dict[int, float] = field(default_factory=dict)

    def once(self) -> Any:
        return self.run(self.prepare()) if self.prepare else self.run()

    def time(self, pause: float = PAUSE) -> float:
        """Seconds of one run, its result's release included."""
        arguments = (self.prepare(),) if self.prepare else ()
        time.sleep(pause)
        started = time.perf_counter()
        self.run(*arguments)
        return time.perf_counter() - started


@dataclass(frozen=True)
class Skipped:
    """A contender that cannot run here, and why."""

    name: str
    reason: str


def best_chunk(
    name: str, form: Callable[[int], Contender], sizes: tuple[int, ...], quick: bool
) -> Contender:
    """The chunked form with the size whose faster of two timings is least, after a first run.

    Args:
        form: the contender with chunks of a size; sizes: at least five.
        quick: the first size alone, for tests.
    """
    assert len(sizes) >= 5
    forms = {size: form(size) for size in sizes}
    if quick:
        sizes = sizes[:1]
    seconds = {}
    for size in sizes:
        forms[size].once()  # compiled forms are compiled for some sizes anew
        seconds[size] = min(forms[size].time() for _ in range(2))
    size = min(seconds, key=seconds.__getitem__)
    chosen = forms[size]
    chosen.name, chosen.sweep = f"{name}, chunks of {size}", seconds
    return chosen


@dataclass
class Timing:
    median: float
    p20: float
    p80: float
    rounds: int

    @classmethod
    def of(cls, seconds: list[float], share: float = 1.0) -> Timing:
        at = sorted(value / share for value in seconds)
        last = len(at) - 1
        return cls(statistics.median(at), at[round(0.2 * last)], at[round(0.8 * last)], len(at))


def run_case(
    benchmark: Any,
    case: Case,
    ours: Contender,
    baselines: list[Contender | Skipped],
    *,
    threads: int,
    environment: dict[str, Any],
    quick: bool,
) -> dict[str, Any]:
    """Check, measure memory, time in turns; returns the case's row. quick: the fewest rounds.

    Raises:
        AssertionError: a baseline's result differs from ours; nothing is timed then.
    """
    skipped = {b.name: b.reason for b in baselines if isinstance(b, Skipped)}
    contenders = [b for b in baselines if isinstance(b, Contender)]
    free = memory.available()
    for baseline in list(contenders):
        if baseline.estimated_bytes > MEMORY_PART * free:
            contenders.remove(baseline)
            skipped[baseline.name] = (
                f"needs {baseline.estimated_bytes / 2**30:.1f} GiB by formula, "
                f"{free / 2**30:.1f} GiB are free"
            )

    first = _first_run(ours)
    rounds = {id(ours): first.rounds}
    results = []
    for baseline in contenders:
        found = _first_run(baseline)
        rounds[id(baseline)] = found.rounds
        agreement = None
        if baseline.check is not None:
            mine = first.result if baseline.ours is None else baseline.ours()
            agreement = baseline.check(mine, found.result)
        results.append({"agreement": agreement, "memory": found.memory})
        found.result = None
    first.result = None
    gc.collect()

    seconds: dict[int, list[float]] = {id(b): [] for b in contenders}
    pause = 0 if quick else PAUSE
    if quick:
        rounds = {key: min(count, FEWEST) for key, count in rounds.items()}
    total = max(rounds.values())
    current = 0

    def take_baselines() -> tuple[tuple, dict]:
        nonlocal current
        for baseline in contenders:
            share_of_rounds = rounds[id(baseline)]
            # Spread over all rounds: true for exactly share_of_rounds of them.
            if (current + 1) * share_of_rounds // total > current * share_of_rounds // total:
                seconds[id(baseline)].append(baseline.time(pause))
        current += 1
        arguments = (ours.prepare(),) if ours.prepare else ()
        time.sleep(pause)
        return arguments, {}

    def timed(*arguments: Any) -> None:
        ours.run(*arguments)  # its result is released inside the timing, as in Contender.time

    benchmark.group = f"{case.op}: {case.name}"
    with machine.Others() as others:
        benchmark.pedantic(timed, setup=take_baselines, rounds=total)

    timing = Timing.of(benchmark.stats.stats.data)
    ceilings = bounds.measure(threads)
    bound = case.work.bound(ceilings)
    for baseline, result in zip(contenders, results, strict=True):
        theirs = Timing.of(seconds[id(baseline)], baseline.share)
        result |= {
            "name": baseline.name,
            **asdict(theirs),
            "ratio": theirs.median / timing.median,
            "share": baseline.share,
            "memory_full": baseline.memory_full,
            "sweep": baseline.sweep,
            "note": baseline.note,
        }
    row = {
        **{key: value for key, value in asdict(case).items() if key != "work"},
        "threads": threads,
        "instruction_set": _numpy.instruction_set(),
        **asdict(timing),
        "memory": first.memory,
        "work": asdict(case.work),
        "bound": bound,
        "percent_of_bound": 100 * bound / timing.median if bound else None,
        "baselines": results,
        "skipped": skipped,
        "others": others.share,
        "ceilings": ceilings,
        **environment,
    }
    benchmark.extra_info.update(work=row["work"], percent_of_bound=row["percent_of_bound"])
    return row


@dataclass
class _First:
    result: Any
    memory: int | None
    rounds: int


def _first_run(contender: Contender) -> _First:
    """The result to be checked, peak extra memory and the number of rounds, from a run or two."""
    peak = memory.Peak()
    arguments = (contender.prepare(),) if contender.prepare else ()
    started = time.perf_counter()
    with peak:
        result = contender.run(*arguments)
    seconds = time.perf_counter() - started
    if seconds < SLOW:  # Libraries and pools have come up: now its own memory, and its own time.
        del arguments, result
        gc.collect()
        arguments = (contender.prepare(),) if contender.prepare else ()
        started = time.perf_counter()
        with peak:
            result = contender.run(*arguments)
        seconds = time.perf_counter() - started
    rounds = next((count for limit, count in ROUNDS if seconds < limit), FEWEST)
    return _First(result, peak.bytes, min(rounds, contender.most_rounds))


def set_threads(threads: int) -> None:
    """Of torch, and of what other libraries take by a global setting."""
    torch.set_num_threads(threads)
    try:
        import faiss
    except ImportError:
        return
    faiss.omp_set_num_threads(threads)


def close(relative: float, of_largest: float = 0.0) -> Callable[[Any, Any], str]:
    """Check of tensors, or sequences of them: elementwise, with a part of the largest entry."""

    def check(mine: Any, theirs: Any) -> str:
        worst = 0.0
        for a, b in _pairs(mine, theirs):
            largest = b.abs().max().item()
            torch.testing.assert_close(a, b, rtol=relative, atol=of_largest * largest)
            worst = max(worst, (a - b).abs().max().item() / (largest or 1))
        return f"to {worst:.0e} of the largest" if worst else "equal"

    return check


def equal(mine: Any, theirs: Any) -> str:
    """Check of tensors, or sequences of them: the same bits."""
    for a, b in _pairs(mine, theirs):
        assert torch.equal(a, b)
    return "equal"


def _pairs(mine: Any, theirs: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    if isinstance(mine, torch.Tensor):
        return [(mine, theirs)]
    return list(zip(mine, theirs, strict=True))


def environment() -> dict[str, Any]:
    """What a row says of where and of what it was measured."""
    return {
        "machine": machine.describe(),
        "versions": machine.versions(),
        "commit": machine.commit(),
        "date": machine.today(),
    }
