"""The CUDA tier: what a GPU has to show, op by op and in whole training steps.

    python -m pytest -m cuda tests/ops/test_cuda.py                        on a GPU
    HASHGCN_DEVICE=cpu python -m pytest -m cuda tests/ops/test_cuda.py     a rehearsal

An op is right if it is as near to float64 as the CPU's (tests/judge.py); integers and codes are
equal. Ids of tests of one op hold its name, those of whole steps, streams and graphs none.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from device_under_test import DEVICE, REHEARSAL, cut, needs_gpu, why_not
from judge import assert_error, assert_near, assert_right, run
from kernel_samples import more_samples
from samples import (
    UNTRACED,
    all_samples,
    codes,
    csr,
    ids_of,
    in_float64,
    normal,
    traced,
)
from torch import Tensor
from torch.nn.functional import pad
from training_steps import (
    LOSSES,
    ON_THE_DEVICE_ALONE,
    STEPS,
    begin,
)

from hashgcn import ops
from hashgcn.data import Interactions
from hashgcn.graph import BipartiteGraph, Candidates
from hashgcn.nn import SmoothRecallLoss, real_score_tables
from hashgcn.ops import reference
from hashgcn.ops.score_tables import candidate_order

# Warnings of torch about a GPU are shown, and fail nothing.
pytestmark = [pytest.mark.cuda, pytest.mark.filterwarnings("default")]

ROOT = Path(__file__).resolve().parents[2]
# Of the ops that have a kernel for the device; `make lint` names the others.
CASES = [
    case
    for case in (*all_samples(), *more_samples())
    if torch._C._dispatch_has_kernel_for_dispatch_key(f"hashgcn::{case[0]}", DEVICE.upper())
]
TRACED = traced(CASES)
NOTHING = (None, None, None)  # no candidate lists; no excluded items, no allow-list


@pytest.fixture(autouse=True, scope="module")
def device_is_there() -> None:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No error, and of the device's memory nothing that tests in other processes may need."""
    yield
    ops.check_errors(torch.empty(0, device=DEVICE))
    if not REHEARSAL and torch.cuda.memory_reserved() > 1 << 30:
        torch.cuda.empty_cache()


def there(args: tuple) -> tuple:
    """The same arguments on the device, laid out in memory as on the CPU."""

    def moved(x: object) -> object:
        if not isinstance(x, Tensor):
            return x
        count = x.untyped_storage().nbytes() // x.element_size()
        memory = x.detach().as_strided((count,), (1,), 0).to(DEVICE)
        return memory.as_strided(x.shape, x.stride(), x.storage_offset())

    return tuple(map(moved, args))


def arguments_there(op: str, args: tuple) -> tuple:
    """Arguments of an op's schema on the device, with what CUDA needs and the CPU does not."""
    moved = [*there(args)]
    at = {"score_tables_backward": 10, "smooth_rank_backward": 9}.get(op)
    if at is not None:  # candidate_ids -> candidate_order
        moved[at + 2] = candidate_order(moved[at])
    return tuple(moved)


# Every op on its samples


@pytest.mark.parametrize("case", CASES, ids=ids_of)
def test_equals_the_cpu(case):
    op, _, args = case
    assert_right(op, run(op, arguments_there(op, args)), args)


@pytest.mark.parametrize("case", CASES, ids=ids_of)
def test_opcheck(case):
    op, _, args = case
    moved = [
        x.requires_grad_(mine.requires_grad) if isinstance(x, Tensor) and mine is not None else x
        for x, mine in zip(arguments_there(op, args), args, strict=True)
    ]
    utils = (*UNTRACED, "test_aot_dispatch_dynamic") if ids_of(case) in TRACED else UNTRACED
    torch.library.opcheck(getattr(torch.ops.hashgcn, op).default, tuple(moved), test_utils=utils)


@pytest.mark.parametrize("case", CASES, ids=ids_of)
def test_two_runs_give_the_same_bits(case):
    op, _, args = case
    moved = arguments_there(op, args)
    for first, second in zip(run(op, moved), run(op, moved), strict=True):
        assert torch.equal(first, second)


# Real shapes: as many users, items and pairs as Gowalla has


@cache
def gowalla() -> BipartiteGraph:
    """Generated interactions of Gowalla's counts, with long tails of users and of items."""
    users, items, pairs = (cut(count) for count in (29_858, 40_981, 810_128))
    rng = np.random.default_rng(0)

    def draw(count: int) -> np.ndarray:
        weight = (np.arange(count) + 30.0) ** -0.7
        return rng.choice(count, size=pairs, p=weight / weight.sum())

    rows = rng.permutation(users)[draw(users)]
    return Interactions.from_pairs(rows, draw(items), users, items).graph()


def some(count: int, of: int, g: torch.Generator) -> Tensor:
    """Rising places among `of`: the first, the last, and others that are drawn."""
    ends = torch.arange(of)
    return torch.cat([ends[:8], ends[-8:], torch.randint(0, of, (count,), generator=g)]).unique()


def positives_among(graph: BipartiteGraph, items: Tensor) -> tuple[Tensor, Tensor]:
    """CSR of the users' positives that are some of the items, which rise, by their place there."""
    place = torch.full((graph.num_items,), -1)
    place[items] = torch.arange(len(items))
    found = place[graph.user_items]
    return pad((found >= 0).cumsum(0), (1, 0))[graph.user_ptr], found[found >= 0]


def check_score_tables(batch: int, bits: int, levels: int = 1, weighted: bool = False) -> None:
    """Tables and gradients of a batch and all items, judged on some of the users and items."""
    g, graph = torch.Generator().manual_seed(bits), gowalla()
    users = torch.randint(0, graph.num_users, (batch,), generator=g)
    largest = 2 * levels - 1
    user_codes = 2.0 * torch.randint(0, 2 * levels, (batch, bits), generator=g) - largest
    item_codes = codes(g, graph.num_items, bits, dtype=torch.float32)
    weights = torch.rand(graph.num_items, generator=g) if weighted else None
    lists = (graph.user_ptr, graph.user_items)
    args = there((user_codes, item_codes, users, *lists, *NOTHING, weights, levels))
    tables = run("score_tables", args)
    _, _, neg, pos = tables
    if not weighted:
        assert bool(((neg + pos).sum(1) == graph.num_items).all())
    rows = some(16, batch, g)
    rows_args = (user_codes[rows], item_codes, users[rows], *lists, *NOTHING)
    rest = (weights, levels)
    theirs = run("score_tables", (*rows_args, *rest))
    for mine, its in zip(tables, theirs, strict=True):
        torch.testing.assert_close(mine.cpu()[rows], its, rtol=1e-5 if weighted else 0, atol=0)

    grads = [normal(g, batch, largest * bits + 1, dtype=torch.float32) for _ in range(2)]
    gradients = run(
        "score_tables_backward", (*there(grads), neg, pos, *args[:-2], None, *args[-2:])
    )
    sent = (*grads, neg.cpu(), pos.cpu())
    items = some(2**20 // batch, graph.num_items, g)
    among = (users, *positives_among(graph, items), *NOTHING)
    chosen = None if weights is None else weights[items]
    judged = (
        (rows, (*(x[rows] for x in sent), *rows_args, None, *rest)),
        (items, (*sent, user_codes, item_codes[items], *among, None, chosen, levels)),
    )
    for number, (places, arguments) in enumerate(judged):
        theirs = run("score_tables_backward", arguments)[number]
        exact = run("score_tables_backward", in_float64(arguments))[number]
        what = f"gradient of {('users', 'items')[number]}"
        mine = gradients[number].cpu()[places]
        assert_near("score_tables_backward", mine, theirs, exact, what)


@pytest.mark.parametrize(
    ("batch", "bits"),
    [*((b, f) for b in (256, 2048) for f in (50, 64, 128)), (256, 256), (256, 1024)],
)
def test_score_tables_at_gowallas_size(batch, bits):
    check_score_tables(cut(batch), bits)


@pytest.mark.parametrize(
    ("bits", "levels", "weighted"), [(64, 2, False), (64, 4, True), (50, 1, True), (256, 8, False)]
)
def test_tables_of_graded_users_and_weighted_items(bits, levels, weighted):
    check_score_tables(cut(256), bits, levels, weighted)


def test_score_tables_beyond_2_31_pairs():
    batch = cut(65_536)
    assert REHEARSAL or batch * gowalla().num_items > 2**31
    check_score_tables(batch, 64)


@pytest.mark.parametrize("width", [50, 52, 64])
def test_propagate_at_gowallas_size(width):
    g, graph = torch.Generator().manual_seed(width), gowalla()
    x = normal(g, graph.num_users + graph.num_items, width, dtype=torch.float32)
    halves = (graph.user_ptr, graph.user_items, graph.item_ptr, graph.item_users)
    args = (x, *halves, graph.scale.float(), 1, 3)
    assert_right("propagate", run("propagate", there(args)), args)


@pytest.mark.parametrize(
    ("rows", "inner", "width"),
    [(2048, 65, 65), (70_839, 120, 68), (120, 70_839, 68)],
    ids=["a loss's tables", "dense, forward", "dense, gradient of the weight"],
)
def test_fixed_order_mm_at_gowallas_size(rows, inner, width):
    g = torch.Generator().manual_seed(rows)
    x = normal(g, cut(rows), cut(inner), dtype=torch.float32)
    args = (x, normal(g, cut(inner), width, dtype=torch.float32))
    assert_right("fixed_order_mm", run("fixed_order_mm", there(args)), args)


def ranks_of(graph: BipartiteGraph, users: Tensor) -> Tensor:
    """Where each user's positives stand among the ranks of a batch."""
    return pad(graph.user_ptr.diff()[users].cumsum(0), (1, 0))


def test_smooth_rank_at_gowallas_size():
    g, graph = torch.Generator().manual_seed(3), gowalla()
    users = torch.randperm(graph.num_users, generator=g)[: cut(256)]
    rows = [0.1 * normal(g, n, 64, dtype=torch.float32) for n in (len(users), graph.num_items)]
    offsets = ranks_of(graph, users)
    inputs = (*rows, users, graph.user_ptr, graph.user_items, offsets)
    size, tau = int(offsets[-1]), torch.tensor(0.085)
    args = (*inputs, size, tau, *NOTHING, None, True)
    assert_right("smooth_rank", run("smooth_rank", there(args)), args)
    args = (normal(g, size, dtype=torch.float32), *inputs, tau, *NOTHING, None, None, True)
    assert_right("smooth_rank_backward", run("smooth_rank_backward", there(args)), args)


def packed(g: torch.Generator, rows: int, bits: int) -> Tensor:
    return ops.pack_codes(normal(g, rows, bits, dtype=torch.float32))


def train_items(graph: BipartiteGraph, users: Tensor) -> tuple[Tensor, Tensor]:
    """Exclusion lists of the users' own items."""
    return ranks_of(graph, users), graph.positives(users)[1]


@pytest.mark.parametrize("bits", [64, 128, 256, 1024])
def test_hamming_topk_of_all_of_gowallas_users(bits):
    g, graph = torch.Generator().manual_seed(bits), gowalla()
    users, items = (packed(g, n, bits) for n in (graph.num_users, graph.num_items))
    everyone = (users, items, 100, bits, graph.user_ptr, graph.user_items, None)
    got = run("hamming_topk", there(everyone))
    judged = torch.arange(graph.num_users) if bits == 64 else some(4096, graph.num_users, g)
    args = (users[judged], items, 100, bits, *train_items(graph, judged), None)
    assert_right("hamming_topk", tuple(x.cpu()[judged] for x in got), args)


# Many elements

# Numbers after x, such that rounding moves no entry across the clip.
ELEMENTWISE = {
    "sign_swish": (1.75,),
    "sign_ste": (2.0, 1.0),
    "sign_fourier": (1.75, 1.0, 8),
    "tanh_continuation": (1.75,),
}
MANY = {"10^8 of float32": (10**8, torch.float32), "2^31 of bfloat16": (2**31 + 96, torch.bfloat16)}


def schema_of(op: str, numbers: tuple, dtype: torch.dtype) -> tuple:
    """The op's arguments after x: the first number as a 0-d tensor on the device."""
    compute = torch.promote_types(dtype, torch.float32)
    return (torch.tensor(numbers[0], dtype=compute, device=DEVICE), *numbers[1:])


def exact_elements(op: str, x: Tensor, grad: Tensor, numbers: tuple) -> tuple[Tensor, Tensor]:
    """Value and gradient of the reference in float64, wherever x is."""
    x = x.double().requires_grad_()
    value = getattr(reference, op)(x, *numbers)
    return value.detach(), torch.autograd.grad(value, x, grad.double())[0]


def chunks(count: int, size: int = 1 << 22) -> Iterator[slice]:
    return (slice(at, min(at + size, count)) for at in range(0, count, size))


@pytest.mark.parametrize("many", MANY)
@pytest.mark.parametrize("op", ELEMENTWISE)
def test_many_elements(op, many):
    count, dtype = MANY[many]
    x = torch.randn(cut(count, 1024), dtype=dtype, device=DEVICE)
    # Two tensors of the larger kind are enough of a GPU's memory.
    grad = torch.randn_like(x) if dtype == torch.float32 else x
    rest = schema_of(op, ELEMENTWISE[op], dtype)
    calls = {"": (x, *rest), "_backward": (grad, x, *rest)}
    for number, (suffix, args) in enumerate(calls.items()):
        (mine,) = run(op + suffix, args)
        few = [y[: 1 << 20] if isinstance(y, Tensor) and y.dim() else y for y in args]
        (theirs,) = run(op + suffix, tuple(y.cpu() if isinstance(y, Tensor) else y for y in few))
        head = exact_elements(op, *(y[: 1 << 20].cpu() for y in (x, grad)), ELEMENTWISE[op])
        largest, errors = [], []
        for part in chunks(len(x)):
            exact = exact_elements(op, x[part], grad[part], ELEMENTWISE[op])[number]
            largest.append(exact.abs().max())
            errors.append((mine[part] - exact).abs().max())
        worst = [torch.stack(y).max().item() for y in (errors, largest)]
        cpus = (theirs - head[number]).abs().max().item()
        assert_error(op, dtype, worst[0], cpus, worst[1], op + suffix)
        del mine


@pytest.mark.parametrize("many", MANY)
def test_sign_guided_of_many_elements(many):
    count, dtype = MANY[many]
    x = torch.randn(cut(count, 1024) // 32, 32, dtype=dtype, device=DEVICE)
    take_sign = torch.rand(len(x), device=DEVICE) < 0.5
    # Twice x is exact in every dtype.
    (mine,) = run("sign_guided", (x, take_sign, *schema_of("sign_guided", (2.0,), dtype)))
    for part in chunks(len(x), 1 << 17):
        exact = torch.where(take_sign[part, None], reference.sign(x[part]), 2 * x[part])
        assert torch.equal(mine[part], exact)


@pytest.mark.parametrize("many", MANY)
def test_pack_codes_of_many_elements(many):
    count, dtype = MANY[many]
    x = torch.randn(cut(count, 1024) // 96, 96, dtype=dtype, device=DEVICE)
    bits = torch.arange(64, device=DEVICE)
    (words,) = run("pack_codes", (x,))
    for part in chunks(len(x), 1 << 16):
        set_bits = pad(x[part] >= 0, (0, 32)).view(-1, 2, 64).long() << bits
        assert torch.equal(words[part], set_bits.sum(2))
    for part in chunks(len(x), 1 << 20):
        (unpacked,) = run("unpack_codes", (words[part], 96, dtype))
        assert torch.equal(unpacked, reference.sign(x[part]))


def count_bits(x: Tensor) -> Tensor:
    """Set bits of int64 words, by arithmetic."""
    x = x - (x >> 1 & 0x5555555555555555)
    x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333)
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0F
    return x * 0x0101010101010101 >> 56


def nearest(query: Tensor, items: Tensor, k: int, excluded: Tensor) -> tuple[Tensor, Tensor]:
    """Rows and distances of the k items of 64 bits nearest to one query, by torch."""
    count = len(items)
    keys = torch.empty(count, dtype=torch.int64, device=items.device)
    for part in chunks(count):
        row = torch.arange(part.start, part.stop, device=items.device)
        keys[part] = count_bits(items[part, 0] ^ query) * count + row
    keys[excluded] = torch.iinfo(torch.int64).max
    keys = keys.topk(k, largest=False, sorted=True).values
    return keys % count, (keys // count).int()


@pytest.mark.parametrize(("k", "with_lists"), [(10, False), (1000, True)])
def test_hamming_topk_among_10_8_items(k, with_lists):
    items = torch.empty(cut(10**8, 256), 1, dtype=torch.int64, device=DEVICE)
    items.random_(-(2**63), None)
    # Two items, the last one among them, and a word that hardly is one.
    queries = torch.cat([items[-1:], items[len(items) // 2][None], items[:1] ^ items[1:2]])
    none = torch.empty(0, dtype=torch.int64, device=DEVICE)
    lists = [none] * 3
    if with_lists:  # in no order, of those that would be found
        lists = [
            nearest(q, items, 2 * k, none)[0][torch.randperm(2 * k, device=DEVICE)[:k]]
            for q in queries[:2]
        ] + [none]
    lengths = torch.tensor([0, *map(len, lists)], device=DEVICE)
    exclusions = (lengths.cumsum(0), torch.cat(lists)) if with_lists else (None, None)
    ids, distances = run("hamming_topk", (queries, items, k, 64, *exclusions, None))
    for number, (query, excluded) in enumerate(zip(queries, lists, strict=True)):
        want = nearest(query, items, k, excluded)
        assert torch.equal(ids[number], want[0]) and torch.equal(distances[number], want[1])


def seconds(function: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    started = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def test_hamming_topk_with_a_long_list_in_no_order():
    g = torch.Generator().manual_seed(1)
    count, length = 200_000, 100_000
    ids = torch.cat([torch.randint(0, count, (length,), generator=g), torch.tensor([3, 1, 2])])
    ptr = torch.tensor([0, 0, length, len(ids)])
    args = (packed(g, 3, 64), packed(g, count, 64), 50, 64, ptr, ids, None)
    moved = there(args)
    assert_right("hamming_topk", run("hamming_topk", moved), args)
    if not REHEARSAL:
        assert min(seconds(lambda: run("hamming_topk", moved)) for _ in range(3)) < 0.2


@pytest.mark.parametrize("k", [2048, 2049, 5000])
def test_hamming_topk_of_many_results(k):
    g = torch.Generator().manual_seed(0)
    args = (packed(g, 5, 64), packed(g, 5000, 64), k, 64, *NOTHING)
    assert_right("hamming_topk", run("hamming_topk", there(args)), args)


# TF32, which rounds float32 products to 11 bits, is for products of torch's own


@pytest.fixture
def precision() -> Iterator[Callable[[str], None]]:
    """Sets torch's precision of float32 products, and puts it back."""
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


def test_fixed_order_mm_counts_exactly_whatever_the_precision(precision):
    g = torch.Generator().manual_seed(0)
    counts = torch.randint(0, 40_982, (512, 65), generator=g)
    below = torch.ones(65, 65, dtype=torch.int64).tril()
    precision("high")
    (got,) = run("fixed_order_mm", there((counts.float(), below.float())))
    assert torch.equal(got.cpu().long(), counts @ below)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_have_the_same_bits_whatever_the_precision(loss, precision):
    step = begin(f"loss {loss}", DEVICE)
    results = []
    for chosen in ("highest", "high"):
        precision(chosen)
        results.append(step())
    assert all(map(torch.equal, *results))


# Training steps


@pytest.mark.parametrize("name", STEPS)
def test_a_training_step_is_the_cpus(name):
    """In float32, to 1e-5 in the loss and to 1e-4 of the largest entry in gradients."""
    got, again, want = begin(name, DEVICE)(), begin(name, DEVICE)(), begin(name, "cpu")()
    for number, (mine, repeated, theirs) in enumerate(zip(got, again, want, strict=True)):
        assert torch.equal(mine, repeated)
        mine, bound = mine.cpu(), 1e-4 if number else 1e-5
        error, largest = (mine - theirs).abs().max().item(), theirs.abs().max().item()
        assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
        assert error <= bound * largest, f"result {number}: {error:.3g} of {largest:.3g}"


@needs_gpu
@pytest.mark.parametrize("name", STEPS)
def test_a_training_step_does_not_wait(name):
    step = begin(name, DEVICE)
    step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def captured(function: Callable[[], tuple]) -> tuple:
    """What a function returns, from a replay of its capture."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = function()
    graph.replay()
    torch.cuda.synchronize()
    return results


@needs_gpu
@pytest.mark.parametrize("name", ON_THE_DEVICE_ALONE)
def test_a_captured_training_step_has_the_same_bits(name):
    step = begin(name, DEVICE)
    want = step()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    assert all(map(torch.equal, captured(step), want))


def problem(device: str) -> tuple[Tensor, Tensor, Tensor, BipartiteGraph]:
    """Codes of a batch and of all items, the batch's users and their graph."""
    g = torch.Generator().manual_seed(0)
    ptr, ids = csr(g, 100, 3000, 40)
    nothing = torch.zeros(0, dtype=torch.int64)
    graph = BipartiteGraph(ptr, ids, torch.zeros(3001, dtype=torch.int64), nothing, nothing)
    users = torch.randperm(100, generator=g)[:64]
    tables = [codes(g, rows, 64, dtype=torch.float32).to(device) for rows in (64, 3000)]
    return *tables, users.to(device), graph.to(device)


def loss_and_gradients(
    user_rows: Tensor, item_rows: Tensor, tables: Callable[..., tuple]
) -> tuple[Tensor, ...]:
    """A recall loss on tables(user_rows, item_rows), and its gradients."""
    inputs = [x.detach().requires_grad_() for x in (user_rows, item_rows)]
    loss = SmoothRecallLoss((50,), 4.0)(*tables(*inputs))
    return (loss.detach(), *torch.autograd.grad(loss, inputs))


def assert_as_on_the_cpu(run_on: Callable[[str], tuple]) -> None:
    first, again, want = run_on(DEVICE), run_on(DEVICE), run_on("cpu")
    for mine, repeated, theirs in zip(first, again, want, strict=True):
        assert torch.equal(mine, repeated)
        torch.testing.assert_close(mine.cpu(), theirs, rtol=1e-4, atol=1e-6)


def test_candidates_through_autograd():
    g = torch.Generator().manual_seed(1)
    lengths = torch.randint(0, 50, (64,), generator=g)
    ids = torch.randint(0, 3000, (int(lengths.sum()),), generator=g)
    lists = Candidates(pad(lengths.cumsum(0), (1, 0)), ids, torch.rand(len(ids), generator=g))

    def run_on(device: str) -> tuple:
        *rows, users, graph = problem(device)
        moved = Candidates(*(x.to(device) for x in lists))
        return loss_and_gradients(*rows, lambda u, v: ops.score_tables(u, v, users, graph, moved))

    assert_as_on_the_cpu(run_on)


def test_tables_of_real_scores():
    def run_on(device: str) -> tuple:
        *rows, users, graph = problem(device)
        noisy = [0.1 * x.double() * torch.linspace(1, 2, 64).to(x.device) for x in rows]
        return loss_and_gradients(*noisy, lambda u, v: real_score_tables(u, v, users, graph))

    assert_as_on_the_cpu(run_on)


def test_training_learns():
    pytest.importorskip("pydantic", reason="the settings of methods need pydantic")
    from hashgcn.data import generate_sample
    from hashgcn.evaluate import evaluate_popularity
    from hashgcn.models import RecallHash

    data = generate_sample(num_users=300, num_items=300, mean_degree=20.0)
    model = RecallHash(code_length=32, epochs=6).fit(data, device=DEVICE, progress=False)
    popularity = evaluate_popularity(data, [20])
    assert model.metrics.test["recall@20"] > 1.5 * popularity["recall@20"]


# Streams, graphs and errors


@needs_gpu
def test_results_on_another_stream():
    g = torch.Generator().manual_seed(0)
    x = normal(g, 5000, 64, dtype=torch.float32)
    want = ops.hamming_topk(*[ops.pack_codes(x)] * 2, 7, code_length=64)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        words = ops.pack_codes(x.to(DEVICE, non_blocking=True))
        got = ops.hamming_topk(words, words, 7, code_length=64)
    stream.synchronize()
    for mine, theirs in zip(got, want, strict=True):
        assert torch.equal(mine.cpu(), theirs)


@needs_gpu
def test_a_second_device():
    if torch.cuda.device_count() < 2:
        pytest.skip("one CUDA device")
    got, want = begin("loss recall", "cuda:1")(), begin("loss recall", "cuda:0")()
    assert torch.cuda.current_device() == 0
    for mine, theirs in zip(got, want, strict=True):
        assert torch.equal(mine.cpu(), theirs.cpu())


@needs_gpu
def test_compiled_with_graphs():
    user_codes, item_codes, users, graph = problem(DEVICE)

    def loss(u: Tensor, v: Tensor) -> Tensor:
        return SmoothRecallLoss((50,), 4.0)(*ops.score_tables(u, v, users, graph))

    compiled = torch.compile(loss, mode="reduce-overhead", fullgraph=True)
    want = loss(user_codes, item_codes)
    for _ in range(3):
        got = compiled(user_codes, item_codes)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=0)


def python(script: str) -> subprocess.CompletedProcess:
    """A script in a process of its own, whose errors and first uses of the device are its own."""
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


# torch has used the device, hashgcn has not.
CAPTURE_AT_FIRST = """
import torch
from hashgcn import ops
from hashgcn.graph import BipartiteGraph

g = torch.Generator().manual_seed(0)
x = torch.randn(256, 64, generator=g)
item_codes = torch.where(torch.randn(3000, 64, generator=g) >= 0, 1.0, -1.0)
ids = torch.randint(1, 150, (256, 20), generator=g).cumsum(1).flatten()
none = torch.zeros(0, dtype=torch.int64)
graph = BipartiteGraph(torch.arange(257) * 20, ids, none.new_zeros(3001), none, none)

def run(x, item_codes, users, graph):
    codes = ops.sign_swish(x, 1.5)
    return codes, *ops.score_tables(codes, item_codes, users, graph)

inputs = x, item_codes, torch.arange(256)
want = run(*inputs, graph)
moved = [y.cuda() for y in inputs]
graph = graph.to("cuda")
torch.cuda.synchronize()
captured = torch.cuda.CUDAGraph()
with torch.cuda.graph(captured):
    got = run(*moved, graph)
captured.replay()
torch.cuda.synchronize()
assert all(torch.equal(a.cpu(), b) for a, b in zip(got, want))
"""


@needs_gpu
def test_a_capture_may_be_the_first_use():
    done = python(CAPTURE_AT_FIRST)
    assert done.returncode == 0, done.stderr


# torch's own indexing out of bounds, which the device finds after the call has returned.
EARLIER_ERROR = """
import time
import torch
from hashgcn import ops

x, beta = torch.ones(4, device="cuda"), torch.ones((), device="cuda")
run = torch.ops.hashgcn.sign_swish.default
run(x, beta)
torch.cuda.synchronize()
x[torch.tensor([7], device="cuda")]
time.sleep(1)
run(x, beta)
"""


@needs_gpu
def test_an_error_of_other_code_is_not_raised_as_an_ops():
    done = python(EARLIER_ERROR)
    assert done.returncode != 0 and "earlier work" in done.stderr, done.stderr


def with_nan(*shape: int) -> Tensor:
    return torch.full(shape, math.nan, device=DEVICE)


def tables_of(factor: float, more: int) -> tuple:
    user_codes, item_codes, users, graph = problem(DEVICE)
    return ops.score_tables(factor * user_codes, item_codes, users + more, graph)


BAD_VALUES = {
    "swish": (lambda: ops.sign_swish(with_nan(1), 1.0), "NaN"),
    "ste": (lambda: ops.sign_ste(with_nan(1)), "NaN"),
    "tanh": (lambda: ops.tanh_continuation(with_nan(1), 1.0), "NaN"),
    "packing": (lambda: ops.pack_codes(with_nan(1, 3)), "NaN"),
    "codes": (lambda: tables_of(2, 0), r"\+1"),
    "users": (lambda: tables_of(1, 1000), "users"),
}


@needs_gpu
@pytest.mark.parametrize("name", BAD_VALUES)
def test_bad_values_are_raised_at_the_next_host_read(name):
    call, words = BAD_VALUES[name]
    call()
    with pytest.raises(ValueError, match=words):
        ops.check_errors(torch.empty(0, device=DEVICE))
    ops.check_errors(torch.empty(0, device=DEVICE))


SCALED: dict[str, Callable[[Tensor, Tensor], object]] = {
    "swish": ops.sign_swish,
    "tanh": ops.tanh_continuation,
    "ste": lambda x, zero: ops.sign_ste(x, scale=zero),
    "fourier": lambda x, zero: ops.sign_fourier(x, scale=zero),
    "guided": lambda x, zero: ops.sign_guided(x, x[:, 0] > 0, scale=zero),
}


@needs_gpu
@pytest.mark.parametrize("name", SCALED)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_slope_or_scale_of_zero_is_raised_at_the_next_host_read(name, dtype):
    x = torch.ones(3, 2, device=DEVICE, dtype=dtype)
    SCALED[name](x, torch.tensor(0.0, device=DEVICE))
    with pytest.raises(ValueError, match="beta and scale finite and positive"):
        ops.check_errors(x)
    ops.check_errors(x)
