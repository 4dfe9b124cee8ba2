"""The CUDA kernels as host code: every op against the reference on every sample."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path

import pytest
import torch
from judge import assert_close, expected
from kernel_samples import MANY, more_samples
from samples import all_samples, as_tuple, ids_of, in_float64
from tolerances import tolerance
from torch import Tensor

pytestmark = pytest.mark.emulated

ALL = [*all_samples(), *more_samples()]
FORWARD, BACKWARD, RANDOM = 0, 1, 2024  # of tests/emulated/emulator.h


@pytest.fixture(scope="session")
def library() -> ctypes.CDLL:
    if "HASHGCN_EMULATED" not in os.environ:
        pytest.fail("expected HASHGCN_EMULATED, the library that `make test-emulate` builds")
    path = Path(os.environ["HASHGCN_EMULATED"])
    torch.ops.load_library(path)
    loaded = ctypes.CDLL(str(path))
    loaded.hashgcn_emulated_case.restype = ctypes.c_char_p
    return loaded


@pytest.fixture
def run(library):
    """Runs an op's kernels, with the threads of a block in an order; forgets value errors."""

    def call(op: str, args: tuple, order: int = FORWARD) -> tuple[Tensor, ...]:
        if not torch._C._dispatch_has_kernel_for_dispatch_key(f"hashgcn_emulated::{op}", "CPU"):
            pytest.skip("no CUDA kernel; `make lint` names such ops")
        library.hashgcn_emulated_order(ctypes.c_uint64(order))
        with torch.no_grad():
            return as_tuple(getattr(torch.ops.hashgcn_emulated, op)(*args))

    yield call
    value_errors(library)


def value_errors(library) -> list[str]:
    """What kernels found wrong with values since the last call."""
    try:
        torch.ops.hashgcn_emulated.check_errors(torch.zeros(1))
    except ValueError as error:
        return str(error).removeprefix("hashgcn::check_errors: expected ").split("; expected ")
    return []


def with_order(op: str, args: tuple) -> tuple:
    """The same arguments with what CUDA needs and the CPU does not."""
    at = {"score_tables_backward": 10, "smooth_rank_backward": 9}.get(op)
    if at is None or args[at] is None:
        return args
    return (*args[: at + 2], torch.argsort(args[at], stable=True), *args[at + 3 :])


@pytest.mark.parametrize("case", ALL, ids=ids_of)
def test_value_is_the_references(case, run, library):
    op, _, args = case
    want = expected(op, args if tolerance(op, torch.float64) is None else in_float64(args))
    got = run(op, with_order(op, args))
    assert_close(op, got, want)
    assert value_errors(library) == []


@pytest.mark.parametrize("case", ALL, ids=ids_of)
def test_bits_do_not_depend_on_the_order_of_threads(case, run):
    op, _, args = case
    args = with_order(op, args)
    first, *others = (run(op, args, order) for order in (FORWARD, BACKWARD, RANDOM))
    for other in others:
        for mine, theirs in zip(first, other, strict=True):
            assert torch.equal(mine, theirs)


def indices(args: tuple) -> list[int]:
    """Places of the arguments that kernels follow into memory."""
    return [
        at
        for at, x in enumerate(args)
        if isinstance(x, Tensor) and x.dtype == torch.int64 and x.dim() == 1 and len(x)
    ]


# The smallest sample of several rows for each set of optional arguments and kind of kernel.
MISUSED: dict[tuple, tuple[str, str, tuple]] = {}
for case in sorted(ALL, key=lambda case: -sum(x.numel() for x in case[2] if hasattr(x, "numel"))):
    op, _, args = case
    if indices(args) and len(args[0]) > 4:
        kind = args[0].dtype, op == "hamming_topk" and len(args[0]) >= MANY
        MISUSED[op, kind, tuple(x is None for x in args)] = case


@pytest.mark.parametrize("case", MISUSED.values(), ids=ids_of)
def test_bad_indices_are_found_and_lead_nowhere(case, run, library):
    """Kernels stay inside their buffers whatever the values are, and say that they are bad."""
    op, _, args = case
    args = with_order(op, args)
    ends = torch.iinfo(torch.int64)
    for at in indices(args):
        for value in (-2, -1, 2**40, ends.min, ends.max):
            # One bad entry may be of a row that the batch does not read.
            for place in (0, len(args[at]) // 2, -1, slice(None)):
                bad = args[at].clone()
                bad[place] = value
                try:
                    run(op, (*args[:at], bad, *args[at + 1 :]))
                except RuntimeError as error:
                    # What is computed is unspecified: rows that overlap are written twice.
                    assert re.search("(candidate_gradients|sort_exclusions).*: a race", str(error))
                found = value_errors(library)
                # -1 is padding among users.
                assert found or value == -1 or place != slice(None), (at, value)


ROWS = (torch.tensor([0, 1]), torch.tensor([0, 2, 3]), torch.tensor([0, 2, 2]))


@pytest.mark.parametrize(
    ("at", "value", "text"),
    [
        (0, [0, 7], "users that are rows of the graph or -1"),
        (1, [0, 2, 1], "ptr (graph.user_ptr) to rise"),
        (1, [0, 2, 9], "ptr (graph.user_ptr) to rise"),
        (2, [0, 2, 3], "ids (graph.user_items) of items that exist"),
        (2, [2, 0, 2], "ids (graph.user_items) strictly increasing"),
    ],
)
@pytest.mark.parametrize("op", ["score_tables", "smooth_rank"])
def test_faults_of_rows_have_texts_of_their_own(op, at, value, text, run, library):
    rows = [torch.tensor(value) if i == at else x for i, x in enumerate(ROWS)]
    codes = torch.ones(2, 4), torch.ones(3, 4)
    rest = (torch.tensor([0, 2, 3]), 3, torch.tensor(1.0)) if op == "smooth_rank" else ()
    last = True if op == "smooth_rank" else 1
    run(op, (*codes, *rows, *rest, None, None, None, None, last))
    # Rows of other lengths do not fit the offsets either.
    (found,) = (x for x in value_errors(library) if not x.startswith("offsets"))
    assert found.startswith(text)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("op", ["score_tables", "smooth_rank"])
def test_bad_item_weights_are_found(op, value, run, library):
    codes, weights = (torch.ones(2, 4), torch.ones(3, 4)), torch.tensor([1.0, value, 0.0])
    rest = (torch.tensor([0, 2, 3]), 3, torch.tensor(1.0)) if op == "smooth_rank" else ()
    last = True if op == "smooth_rank" else 1
    run(op, (*codes, *ROWS, *rest, None, None, None, weights, last))
    assert [x.split(" ")[0] for x in value_errors(library)] == ["item_weights"]


@pytest.mark.parametrize("value", [0.0, 2.0, 5.0, float("nan")])
def test_bad_weights_of_users_are_found(value, run, library):
    codes = torch.tensor([[1.0, 3.0], [value, -3.0]]), torch.ones(3, 2)
    run("score_tables", (*codes, *ROWS, None, None, None, None, 2))
    assert [x.split(" ")[0] for x in value_errors(library)] == ["user_codes"]


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_products_of_counts_are_exact_whatever_torch_allows_its_own(precision, run):
    """Numbers of 24 bits, of which TF32 keeps 11 and bfloat16 8."""
    x = torch.tensor([[2.0**24 - 1, 2.0**23 + 1, 3.0]])
    torch.set_float32_matmul_precision(precision)
    try:
        (got,) = run("fixed_order_mm", (x, torch.eye(3)))
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(got, x)


@pytest.mark.parametrize("planes", [0, 1, 4])
@pytest.mark.parametrize("count", [2, MANY])
def test_bits_past_the_code_length_are_found_and_lead_nowhere(count, planes, run, library):
    """Distances are then longer than those of the code length."""
    ones = torch.full((count, planes, 1) if planes else (count, 1), -1)
    items = torch.zeros(300, 1).long()
    run("hamming_topk", (ones, items, 10, 3, None, None, None))
    assert value_errors(library)
    run("hamming_histogram", (ones, items, 3, None, None))
    assert value_errors(library)


@pytest.mark.parametrize("queries", [2, MANY])
def test_long_lists_in_any_order(queries, run):
    """Falling, and equal ids: what makes comparisons of neighbours quadratic."""
    n = 3000
    words = torch.arange(n)[:, None] % 64
    lists = [torch.arange(n - 1, 9, -1), torch.full((n,), 11)]
    lists += [torch.zeros(0, dtype=torch.int64)] * (queries - 2)
    ptr = torch.tensor([0, *map(len, lists)]).cumsum(0)
    args = (words[:queries], words, 20, 64, ptr, torch.cat(lists), None)
    for got, want in zip(run("hamming_topk", args), expected("hamming_topk", args), strict=True):
        assert torch.equal(got, want)


NUMBERS = [i * i % 101 for i in range(96)]
NEXT = NUMBERS[1:] + NUMBERS[:1]


@pytest.mark.parametrize("order", [FORWARD, BACKWARD, RANDOM])
@pytest.mark.parametrize(
    ("case", "want"),
    {
        # What right kernels write.
        "rotate": NEXT,
        "rotate in place": NEXT,
        "sum": [sum(NUMBERS[:64])],
        "warp functions": [1] * 96,
        "half a warp": [3] * 16,
        "shared memory": [15] * 96,
        "alignment": [1] * 96,
        "atomic count": [NUMBERS[0] + 3 * 96],
        # What is said of wrong ones.
        "rotate without a barrier": "nobody wrote|another thread's write at .*cases.cu:",
        "rotate in place without a barrier": "another thread's (read|write) at .*cases.cu:",
        "sum without warp barriers": "nobody wrote|another thread's (read|write)",
        "a thread ends before a barrier": "barrier at .*cases.cu:.* not reached by .* that ended",
        "two barriers": "barrier at .* not reached by a thread that waits at",
        "a lane is missing": "does not come to __shfl_sync",
        "a lane outside the mask is read": "reads a lane that is not of the mask",
        "a lane outside the mask calls": "a lane that is not of its mask",
        "behind shared memory": "outside of a shared variable",
        "before shared memory": "outside of a shared variable",
        "shared memory that is not written": "nobody wrote",
        "behind global memory": "outside of memory at .*cases.cu:",
        "before global memory": "outside of memory",
        "count": "another thread's write",
        "blocks that race": "another thread's (read|write)",
        "too many threads": "invalid configuration",
        "too much shared memory": "invalid configuration",
        "shared memory of both kinds": "more than 48 KiB",
    }.items(),
)
def test_what_the_emulator_finds(case, want, order, library):
    library.hashgcn_emulated_order(ctypes.c_uint64(order))
    x, out = (torch.tensor(NUMBERS, dtype=torch.int32) for _ in range(2))
    pointers = (ctypes.c_void_p(t.data_ptr()) for t in (x, out))
    error = library.hashgcn_emulated_case(case.encode(), *pointers)
    if isinstance(want, str):
        assert error is not None and re.search(want, error.decode()), error
    else:
        assert error is None and out[: len(want)].tolist() == want
