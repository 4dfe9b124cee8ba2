"""The CUDA tier: every op on a GPU against the CPU; streams, graphs, errors, determinism."""

from __future__ import annotations

import pytest
import torch
from kernel_samples import CHOICES, cases
from samples import SAMPLES, all_samples, codes, csr, normal
from tolerances import EXACT, tolerance
from torch import Tensor

from hashgcn import ops
from hashgcn.graph import BipartiteGraph, Candidates
from hashgcn.nn import SmoothRecallLoss, real_score_tables

pytestmark = pytest.mark.cuda

NAMESPACE = torch.ops.hashgcn

# Codes are the same bits on every device, whatever their gradient.
SIGNS = ("sign_swish", "sign_swish_pack", "sign_ste", "sign_fourier")


@pytest.fixture(autouse=True)
def gpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if not torch._C._dispatch_has_kernel_for_dispatch_key("hashgcn::sign_swish", "CUDA"):
        pytest.skip("the CUDA library is not built (HASHGCN_CUDA=1 make build)")
    yield
    ops.check_errors(torch.empty(0, device="cuda"))


def ids_of(case) -> str:
    return f"{case[0]}: {case[1]}"


ALL = all_samples()


def on_gpu(op: str, args: tuple) -> tuple:
    moved = [x.cuda() if isinstance(x, Tensor) else x for x in args]
    at = {"score_tables_backward": 10, "smooth_rank_backward": 9}.get(op)
    if at is not None and moved[at] is not None:  # candidate_ids -> candidate_order
        moved[at + 2] = torch.argsort(moved[at], stable=True)
    return tuple(moved)


def as_tuple(x) -> tuple:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def assert_same(op: str, got, want) -> None:
    for mine, theirs in zip(as_tuple(got), as_tuple(want), strict=True):
        mine = mine.cpu()
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
        if op in (*EXACT, *SIGNS):
            assert torch.equal(mine, theirs)
            continue
        if mine.numel() == 0:
            continue
        # The same sums in another order: ten times the CPU's distance from the reference.
        scale = max(1.0, theirs.double().abs().max().item())
        error = (mine.double() - theirs.double()).abs().max().item()
        assert error <= 10 * tolerance(op, theirs.dtype) * scale


@pytest.mark.parametrize("case", ALL, ids=ids_of)
def test_equals_the_cpu(case):
    op, _, args = case
    function = getattr(NAMESPACE, op)
    with torch.no_grad():
        assert_same(op, function(*on_gpu(op, args)), function(*args))


@pytest.mark.parametrize("case", ALL, ids=ids_of)
def test_opcheck(case):
    op, _, args = case
    moved = [
        x.detach().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x
        for x in on_gpu(op, args)
    ]
    torch.library.opcheck(getattr(NAMESPACE, op).default, tuple(moved))


@pytest.mark.parametrize("case", ALL, ids=ids_of)
def test_two_runs_give_the_same_bits(case):
    op, _, args = case
    moved = on_gpu(op, args)
    with torch.no_grad():
        first, second = (as_tuple(getattr(NAMESPACE, op)(*moved)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("family", "kernels"), CHOICES)
def test_chosen_kernels_equal_the_cpu(family, kernels):
    for op, name, args in (*cases(family, kernels, False), *cases(family, kernels, True)):
        function, moved = getattr(NAMESPACE, op), on_gpu(op, args)
        with ops.cuda_kernels(**{family: kernels}):
            first, second = (as_tuple(function(*moved)) for _ in range(2))
        assert_same(op, first, function(*args))
        assert all(map(torch.equal, first, second)), name


def problem(batch=64, users=100, items=3000, bits=64, device="cuda"):
    g = torch.Generator().manual_seed(0)
    ptr, ids = csr(g, users, items, 40)
    nothing = torch.zeros(0, dtype=torch.int64)
    graph = BipartiteGraph(ptr, ids, nothing, nothing, nothing).to(device)
    chosen = torch.randperm(users, generator=g)[:batch].to(device)
    make = lambda rows: codes(g, rows, bits, dtype=torch.float32).to(device)  # noqa: E731
    return make(batch), make(items), chosen, graph


def loss_and_gradients(user_codes, item_codes, users, graph):
    inputs = [x.detach().requires_grad_() for x in (user_codes, item_codes)]
    loss = SmoothRecallLoss((50,), 4.0)(*ops.score_tables(*inputs, users, graph))
    return (loss.detach(), *torch.autograd.grad(loss, inputs))


def test_recall_loss_equals_the_cpu():
    got = loss_and_gradients(*problem())
    want = loss_and_gradients(*problem(device="cpu"))
    for mine, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(mine.cpu(), theirs, rtol=1e-4, atol=1e-6)


def test_tables_of_real_scores_equal_the_cpu():
    g = torch.Generator().manual_seed(6)
    nothing = torch.zeros(0, dtype=torch.int64)
    graph = BipartiteGraph(
        *csr(g, 40, 700, 20), torch.zeros(701, dtype=torch.int64), nothing, nothing
    )
    rows = [normal(g, n, 16).double().requires_grad_() for n in (40, 700)]

    def run(device):
        users = torch.arange(40, device=device)
        tables = real_score_tables(*(x.to(device) for x in rows), users, graph.to(device))
        return [*tables, *torch.autograd.grad(SmoothRecallLoss((20,), 0.5)(*tables), rows)]

    first, again, want = run("cuda"), run("cuda"), run("cpu")
    for mine, repeated, theirs in zip(first, again, want, strict=True):
        assert torch.equal(mine, repeated)
        torch.testing.assert_close(mine.cpu(), theirs, rtol=1e-4, atol=1e-4)


def test_candidates_through_autograd():
    user_codes, item_codes, users, graph = problem()
    g = torch.Generator().manual_seed(1)
    lengths = torch.randint(0, 50, (len(users),), generator=g)
    ptr = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
    ids = torch.randint(0, len(item_codes), (int(ptr[-1]),), generator=g)
    weight = torch.rand(len(ids), generator=g)
    results = []
    for device in ("cuda", "cpu"):
        inputs = [x.detach().to(device).requires_grad_() for x in (user_codes, item_codes)]
        lists = Candidates(ptr.to(device), ids.to(device), weight.to(device))
        tables = ops.score_tables(*inputs, users.to(device), graph.to(device), lists)
        loss = SmoothRecallLoss((50,), 4.0)(*tables)
        results.append([x.cpu() for x in (loss.detach(), *torch.autograd.grad(loss, inputs))])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_a_training_step_is_captured_in_a_graph():
    arguments = problem()
    want = loss_and_gradients(*arguments)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            loss_and_gradients(*arguments)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        got = loss_and_gradients(*arguments)
    graph.replay()
    torch.cuda.synchronize()
    for mine, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_topk_and_propagation_on_another_stream():
    g = torch.Generator().manual_seed(0)
    x = normal(g, 5000, 64, dtype=torch.float32)
    want = ops.hamming_topk(*[ops.pack_codes(x)] * 2, 7, code_length=64)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        words = ops.pack_codes(x.cuda(non_blocking=True))
        got = ops.hamming_topk(words, words, 7, code_length=64)
    stream.synchronize()
    for mine, theirs in zip(got, want, strict=True):
        assert torch.equal(mine.cpu(), theirs)


@pytest.mark.parametrize("k", [2048, 2049, 5000])
def test_topk_beyond_the_limits_of_peers(k):
    g = torch.Generator().manual_seed(0)
    words = ops.pack_codes(normal(g, 5000, 64, dtype=torch.float32))
    want = ops.hamming_topk(words[:5], words, k, code_length=64)
    got = ops.hamming_topk(words[:5].cuda(), words.cuda(), k, code_length=64)
    for mine, theirs in zip(got, want, strict=True):
        assert torch.equal(mine.cpu(), theirs)


@pytest.mark.parametrize("k", [2048, 5000])
def test_weighted_topk_of_long_lists(k):
    g = torch.Generator().manual_seed(0)
    words = ops.pack_codes(normal(g, 10_000, 64, dtype=torch.float32)).view(5000, 2, 1)
    scale = normal(g, 5000, 2, dtype=torch.float32)
    inputs = words[:5], words, scale[:5], scale
    want = ops.weighted_hamming_topk(*inputs, k, code_length=64)
    got = ops.weighted_hamming_topk(*[x.cuda() for x in inputs], k, code_length=64)
    for mine, theirs in zip(got, want, strict=True):
        assert torch.equal(mine.cpu(), theirs)


def test_second_device():
    if torch.cuda.device_count() < 2:
        pytest.skip("one CUDA device")
    got = loss_and_gradients(*problem(device="cuda:1"))
    assert torch.cuda.current_device() == 0
    for mine, theirs in zip(got, loss_and_gradients(*problem()), strict=True):
        assert torch.equal(mine.cpu(), theirs.cpu())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ops.sign_swish(torch.tensor([float("nan")], device="cuda"), 1.0), "NaN"),
        (lambda: ops.sign_ste(torch.tensor([float("nan")], device="cuda")), "NaN"),
        (lambda: ops.tanh_continuation(torch.tensor([float("nan")], device="cuda"), 1.0), "NaN"),
        (lambda: ops.pack_codes(torch.full((1, 3), float("nan"), device="cuda")), "NaN"),
        (
            lambda: ops.sign_swish_pack(torch.full((1, 3), float("nan"), device="cuda"), 1.0),
            "NaN",
        ),
        (
            lambda: loss_and_gradients(*(2 * x if i < 1 else x for i, x in enumerate(problem()))),
            "+1",
        ),
        (lambda: ops.score_tables(*problem()[:2], problem()[2] + 1000, problem()[3]), "users"),
        (
            lambda: ops.weighted_hamming_topk(
                *[torch.ones(3, 1, 1, dtype=torch.int64, device="cuda")] * 2,
                *[torch.full((3, 1), float("nan"), device="cuda")] * 2,
                2,
                code_length=8,
            ),
            "query_scale",
        ),
    ],
)
def test_bad_values_are_raised_at_the_next_host_read(call, words):
    call()
    with pytest.raises(ValueError) as error:
        ops.check_errors(torch.empty(0, device="cuda"))
    assert words in str(error.value)
    ops.check_errors(torch.empty(0, device="cuda"))


@pytest.mark.parametrize(
    "call",
    [
        ops.sign_swish,
        ops.sign_swish_pack,
        ops.tanh_continuation,
        lambda x, zero: ops.sign_ste(x, scale=zero),
        lambda x, zero: ops.sign_fourier(x, scale=zero),
        lambda x, zero: ops.sign_guided(x, torch.ones(3, device="cuda").bool(), scale=zero),
    ],
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_slope_or_scale_of_zero_is_raised_at_the_next_host_read(call, dtype):
    x = torch.ones(3, 2, device="cuda", dtype=dtype)
    call(x, torch.tensor(0.0, device="cuda"))
    with pytest.raises(ValueError, match="beta and scale finite and positive"):
        ops.check_errors(x)
    ops.check_errors(x)


def test_compiled_with_graphs():
    user_codes, item_codes, users, graph = problem()

    def run(u, v):
        return SmoothRecallLoss((50,), 4.0)(*ops.score_tables(u, v, users, graph))

    compiled = torch.compile(run, mode="reduce-overhead", fullgraph=True)
    want = run(user_codes, item_codes)
    for _ in range(3):
        got = compiled(user_codes, item_codes)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=0)


def test_every_op_has_a_cuda_kernel():
    for name in SAMPLES:
        assert torch._C._dispatch_has_kernel_for_dispatch_key(f"hashgcn::{name}", "CUDA"), name


def test_training_on_the_gpu_learns():
    from hashgcn.data import generate_sample
    from hashgcn.models import RecallHash

    data = generate_sample(num_users=300, num_items=300, mean_degree=20.0)
    model = RecallHash(code_length=32, epochs=6).fit(data, device="cuda", progress=False)
    popularity = model.metrics["popularity_ranking"]
    assert model.metrics["test"]["recall@20"] > 1.5 * popularity["recall@20"]
