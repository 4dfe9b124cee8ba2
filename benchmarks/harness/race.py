"""Times our op and what a user would run instead, in turns, on one input; one row per case.

pytest-benchmark times our op. Its `setup`, which runs untimed before every round, takes one timing
of each baseline. The rounds interleave, so drift of the machine affects all contenders alike.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.harness import bounds, machine, memory
from hashgcn import _numpy

# Seconds before each timing: the threads of another OpenMP runtime keep spinning for milliseconds
# after their work, on the cores that the next contender needs.
PAUSE = 0.01
# Number of rounds by the seconds that a first run may take; anything slower gets FEWEST.
ROUNDS = ((0.1, 15), (0.5, 9), (2.0, 5))
FEWEST = 3
# Seconds above which the first run also serves to measure memory.
SLOW = 2.0
# A baseline whose formula asks for more than this part of the free memory is not run.
MEMORY_PART = 0.5


@dataclass(frozen=True)
class Work:
    """The least that a case has to do. If all counts are 0, no bound is known.

    Attributes:
        formula: the formula of the counts, in words.
        bytes: bytes read and written.
        popcounts, full_adders: operations on 64-bit words.
        multiply_adds: operations on numbers of the case's dtype.
        working_set: bytes that are touched repeatedly; they decide which level of memory gives the
            bound. `bytes` if None.
    """

    formula: str
    bytes: int = 0
    popcounts: int = 0
    full_adders: int = 0
    multiply_adds: int = 0
    working_set: int | None = None

    def bound(self, ceilings: dict[str, Any]) -> float:
        """The least seconds that the machine needs: the slower of memory and arithmetic.

        Args:
            ceilings: see bounds.measure.
        """
        resident = self.bytes if self.working_set is None else self.working_set
        counts = ("popcounts", "full_adders", "multiply_adds")
        arithmetic = sum(getattr(self, count) / ceilings[count] for count in counts)
        return max(self.bytes / bounds.copy_rate(ceilings, resident), arithmetic)


@dataclass(frozen=True)
class Case:
    """One line of the report: an op on one input.

    Attributes:
        op: stem of the benchmark's file.
        name: what is computed, in words.
        shape: sizes by name.
        work: the least work, which gives the bound.
        mode: forward, backward, both, or how the work is requested.
        dtype: dtype of the input.
        input: where codes or interactions come from.
        curve: the size in `shape`, or "threads", that a scaling picture varies.
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
        name: its name in tables.
        run: what is timed. It takes what `prepare` returns, if there is a `prepare`.
        prepare: called untimed before every run, e.g. the forward pass of a backward mode.
        check: (our result, its result) -> how they agree; raises AssertionError if they do not.
            None if it does other work than ours; `note` then says which.
        share: fraction of the case's work that `run` does; its time is divided by it.
        ours: our op on that fraction, for the check; None where the share is 1.
        note: what a reader has to know.
        estimated_bytes: extra memory by formula; decides whether it is run at all.
        most_rounds: upper limit of the rounds, for what takes minutes.
        memory_full: extra memory of the whole work by formula, where share < 1.
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

    def once(self) -> Any:
        return self.run(self.prepare()) if self.prepare else self.run()

    def time(self, pause: float = PAUSE) -> float:
        """Seconds of one run, including the release of its result."""
        arguments = (self.prepare(),) if self.prepare else ()
        time.sleep(pause)
        started = time.perf_counter()
        self.run(*arguments)
        return time.perf_counter() - started


@dataclass(frozen=True)
class Skipped:
    """A contender that cannot run here, with the reason."""

    name: str
    reason: str


def best_chunk(
    name: str, form: Callable[[int], Contender], sizes: tuple[int, ...], quick: bool
) -> Contender:
    """The chunked contender with the fastest chunk size, by the better of two timings.

    Args:
        name: the contender's name, to which the size is added.
        form: gives the contender with chunks of a size.
        sizes: at least five sizes.
        quick: take the first size, for tests.
    """
    assert len(sizes) >= 5
    forms = {size: form(size) for size in sizes}
    if quick:
        sizes = sizes[:1]
    seconds = {}
    for size in sizes:
        forms[size].once()  # some sizes make a compiled form compile again
        seconds[size] = min(forms[size].time() for _ in range(2))
    size = min(seconds, key=seconds.__getitem__)
    chosen = forms[size]
    chosen.name = f"{name}, chunks of {size}"
    return chosen


@dataclass
class Timing:
    """Median, 20th and 80th percentile of the seconds of some rounds."""

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
    """Compare the results, measure memory and time all contenders in turns.

    Args:
        benchmark: pytest-benchmark's fixture.
        case: what is computed.
        ours: our op.
        baselines: what it is compared with.
        threads: number of threads, already set.
        environment: fields that describe the run, see `environment`.
        quick: use the fewest rounds.

    Returns:
        the case's row, see benchmarks.harness.rows.

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
    results: list[dict[str, Any]] = []
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
        ours.run(*arguments)  # releases the result inside the timing, as Contender.time does

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
            "share": baseline.share,
            "memory_full": baseline.memory_full,
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
        "baselines": results,
        "skipped": skipped,
        "others": others.share,
        "ceilings": ceilings,
        **environment,
    }
    return with_ratios(row)


def with_ratios(row: dict[str, Any]) -> dict[str, Any]:
    """The row with what follows from its times: percent of the bound and each baseline's ratio."""
    bound, median = row["bound"], row["median"]
    baselines = [{**b, "ratio": b["median"] / median} for b in row["baselines"]]
    percent = 100 * bound / median if bound else None
    return {**row, "percent_of_bound": percent, "baselines": baselines}


@dataclass
class _First:
    result: Any
    memory: int | None
    rounds: int


def _first_run(contender: Contender) -> _First:
    """The result to check, the peak extra memory and the number of rounds, from one or two runs."""
    peak = memory.Peak()
    arguments = (contender.prepare(),) if contender.prepare else ()
    started = time.perf_counter()
    with peak:
        result = contender.run(*arguments)
    seconds = time.perf_counter() - started
    if seconds < SLOW:  # Libraries and thread pools are up: this run shows its own memory and time.
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
    """Set the number of threads of torch and of the libraries that have a global setting."""
    torch.set_num_threads(threads)
    try:
        import faiss
    except ImportError:
        return
    faiss.omp_set_num_threads(threads)


def close(relative: float, of_largest: float = 0.0) -> Callable[[Any, Any], str]:
    """A check of tensors, or sequences of them, by elements.

    Args:
        relative: relative tolerance.
        of_largest: absolute tolerance as a fraction of the largest entry.
    """

    def check(mine: Any, theirs: Any) -> str:
        worst = 0.0
        for a, b in _pairs(mine, theirs):
            largest = b.abs().max().item()
            torch.testing.assert_close(a, b, rtol=relative, atol=of_largest * largest)
            worst = max(worst, (a - b).abs().max().item() / (largest or 1))
        return f"to {worst:.0e} of the largest" if worst else "equal"

    return check


def equal(mine: Any, theirs: Any) -> str:
    """A check of tensors, or sequences of them, for equal values."""
    for a, b in _pairs(mine, theirs):
        assert torch.equal(a, b)
    return "equal"


def _pairs(mine: Any, theirs: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    if isinstance(mine, torch.Tensor):
        return [(mine, theirs)]
    return list(zip(mine, theirs, strict=True))


def environment() -> dict[str, Any]:
    """The fields of a row that say where and with what it was measured."""
    return {
        "machine": machine.describe(),
        "versions": machine.versions(),
        "commit": machine.commit(),
        "date": machine.today(),
    }
