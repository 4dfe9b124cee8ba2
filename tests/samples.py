"""Sample arguments of every op: correctness, gradients, opcheck and compilation all use them.

Each sample is (name, args) with args as the op's schema takes them. Floats are float64 unless the
dtype is what the sample is about; inputs that can require a gradient do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

import hashgcn.ops  # noqa: F401  (registers the ops)

SAMPLES: dict[str, Callable[[], Iterator[tuple[str, tuple]]]] = {}


def samples_of(op: str) -> Callable:
    def register(function: Callable) -> Callable:
        SAMPLES[op] = lambda: function(torch.Generator().manual_seed(len(op)))
        return function

    return register


def all_samples() -> list[tuple[str, str, tuple]]:
    return [(op, name, args) for op in sorted(SAMPLES) for name, args in SAMPLES[op]()]


def ids_of(case: tuple[str, str, tuple]) -> str:
    """Op and name: a test's id."""
    return f"{case[0]}: {case[1]}"


def as_tuple(x: object) -> tuple:
    return tuple(x) if isinstance(x, (tuple, list)) else (x,)


def in_float64(args: tuple) -> tuple:
    """The same arguments with every float as float64."""

    def convert(x: object) -> object:
        if isinstance(x, Tensor) and x.is_floating_point():
            return x.detach().double().requires_grad_(x.requires_grad)
        return x

    return tuple(map(convert, args))


def traced(cases: list[tuple[str, str, tuple]]) -> set[str]:
    """Ids of one case of each kind; dtypes and sizes, which a fake kernel passes on, make no kind.

    Tracing is nearly all of opcheck's time.
    """

    def kind(x: object) -> object:
        if not isinstance(x, Tensor):
            return x if isinstance(x, bool) else type(x)
        return x.requires_grad, x.is_contiguous(), x.dim(), x.numel() == 0

    return set({(case[0], *map(kind, case[2])): ids_of(case) for case in reversed(cases)}.values())


# The parts of opcheck that do not trace.
UNTRACED = ("test_schema", "test_autograd_registration", "test_faketensor")


def normal(g: torch.Generator, *shape: int, dtype=torch.float64, grad=False) -> Tensor:
    return torch.randn(shape, generator=g, dtype=dtype).requires_grad_(grad)


def codes(g: torch.Generator, *shape: int, dtype=torch.float64, grad=False) -> Tensor:
    return torch.where(torch.randn(shape, generator=g) >= 0, 1, -1).to(dtype).requires_grad_(grad)


def csr(g: torch.Generator, rows: int, num_items: int, longest: int) -> tuple[Tensor, Tensor]:
    """Random rows of strictly increasing ids, some of them empty."""
    lengths = torch.randint(0, min(longest, num_items) + 1, (rows,), generator=g)
    lengths[::5] = 0
    parts = [torch.randperm(num_items, generator=g)[:n].sort().values for n in lengths.tolist()]
    ids = torch.cat([*parts, torch.zeros(0, dtype=torch.int64)])
    return torch.nn.functional.pad(lengths.cumsum(0), (1, 0)), ids


def lists(g: torch.Generator, rows: int, num_items: int, longest: int) -> tuple[Tensor, Tensor]:
    """Random rows of ids in any order, repeats and empty rows included."""
    lengths = torch.randint(0, longest + 1, (rows,), generator=g)
    ids = torch.randint(0, num_items, (int(lengths.sum()),), generator=g)
    return torch.nn.functional.pad(lengths.cumsum(0), (1, 0)), ids


def batch_of(g: torch.Generator, batch: int, num_users: int) -> Tensor:
    """Users in any order, with repeats and the padding -1."""
    return torch.randint(-1, num_users, (batch,), generator=g)


def transposed(x: Tensor) -> Tensor:
    """The same values in column-major memory."""
    return x.detach().T.contiguous().T.requires_grad_(x.requires_grad)


def sliced(x: Tensor) -> Tensor:
    """The same values with a row stride and a storage offset."""
    wide = x.new_zeros(x.shape[0] + 1, x.shape[1] + 3)
    wide[1:, 2:-1] = x.detach()
    return wide[1:, 2:-1].requires_grad_(x.requires_grad)


@samples_of("sign_swish")
def _(g):
    beta = torch.tensor(1.7, dtype=torch.float64)
    yield "one", (normal(g, 1, grad=True), beta)
    yield "matrix", (normal(g, 33, 65, grad=True), beta)
    yield "transposed", (transposed(normal(g, 7, 5, grad=True)), beta)
    yield "sliced", (sliced(normal(g, 7, 5, grad=True)), beta)
    yield "empty", (normal(g, 0, 4, grad=True), beta)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        yield str(dtype), (normal(g, 5, 31, dtype=dtype, grad=True), beta.float())


@samples_of("sign_swish_backward")
def _(g):
    beta = torch.tensor(0.6, dtype=torch.float64)
    yield "matrix", (normal(g, 9, 33), normal(g, 9, 33), beta)
    yield "strided", (transposed(normal(g, 9, 4)), sliced(normal(g, 9, 4)), beta)


def elementwise(g, *parameters, tensors=()):
    """x of every layout and dtype, with 0-d tensors of the dtype that an op computes in."""

    def arguments(x):
        compute = torch.float64 if x.dtype == torch.float64 else torch.float32
        return (x, *(torch.tensor(value, dtype=compute) for value in tensors), *parameters)

    yield "0-d", arguments(normal(g, grad=True))
    yield "one", arguments(normal(g, 1, grad=True))
    yield "matrix", arguments(normal(g, 33, 65, grad=True))
    yield "transposed", arguments(transposed(normal(g, 7, 5, grad=True)))
    yield "sliced", arguments(sliced(normal(g, 7, 5, grad=True)))
    yield "empty", arguments(normal(g, 0, 4, grad=True))
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        yield str(dtype), arguments(normal(g, 5, 31, dtype=dtype, grad=True))


def elementwise_backward(g, op):
    """A gradient for each sample of the op, contiguous and not."""
    for name, (x, *parameters) in SAMPLES[op]():
        grad = normal(g, *x.shape, dtype=x.dtype)
        yield name, (grad, x.detach(), *parameters)
        if x.dim() == 2:
            yield f"{name}, strided gradient", (transposed(grad), x.detach(), *parameters)


@samples_of("sign_ste")
def _(g):
    for clip in (1.0, float("inf")):
        for name, args in elementwise(g, clip, tensors=(1.7,)):
            yield f"{name}, clip {clip}", args


@samples_of("sign_ste_backward")
def _(g):
    yield from elementwise_backward(g, "sign_ste")


@samples_of("sign_fourier")
def _(g):
    for omega, terms in ((1.0, 8), (1.3, 21), (0.7, 2)):
        for name, args in elementwise(g, omega, terms, tensors=(1.7,)):
            yield f"{name}, omega {omega}, terms {terms}", args


@samples_of("sign_fourier_backward")
def _(g):
    yield from elementwise_backward(g, "sign_fourier")


@samples_of("tanh_continuation")
def _(g):
    for beta in (0.02, 1.7):
        for name, args in elementwise(g, tensors=(beta,)):
            yield f"{name}, beta {beta}", args


@samples_of("tanh_continuation_backward")
def _(g):
    yield from elementwise_backward(g, "tanh_continuation")


@samples_of("sign_guided")
def _(g):
    for name, (x, scale) in elementwise(g, tensors=(1.7,)):
        if x.dim() == 2:
            yield name, (x, torch.rand(len(x), generator=g) < 0.5, scale)
    x = normal(g, 6, 0, grad=True)
    yield "no columns", (x, torch.ones(6, dtype=torch.bool), scale.double())


@samples_of("pack_codes")
def _(g):
    for length in (1, 31, 63, 64, 65, 129):
        yield f"{length} bits", (normal(g, 5, length),)
    yield "with gradient", (normal(g, 3, 8, grad=True),)
    yield "transposed", (transposed(normal(g, 6, 70)),)
    yield "empty", (normal(g, 0, 8),)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        yield str(dtype), (normal(g, 4, 33, dtype=dtype),)


@samples_of("unpack_codes")
def _(g):
    for length in (1, 31, 64, 65):
        words = torch.ops.hashgcn.pack_codes(normal(g, 5, length))
        yield f"{length} bits", (words, length, torch.float32)
    yield "bfloat16", (words, 65, torch.bfloat16)
    yield "empty", (words[:0], 65, torch.float64)


def graded_codes(
    g: torch.Generator, *shape: int, levels: int, dtype=torch.float64, grad=False
) -> Tensor:
    """Odd weights from -(2 levels - 1) to 2 levels - 1."""
    weights = 2 * torch.randint(-levels, levels, shape, generator=g) + 1
    return weights.to(dtype).requires_grad_(grad)


def table_inputs(g, batch, users, items, width, dtype=torch.float64, levels=1):
    positives = csr(g, users, items, 6)
    return (
        graded_codes(g, batch, width, levels=levels, dtype=dtype, grad=True),
        codes(g, items, width, dtype=dtype, grad=True),
        batch_of(g, batch, users),
        *positives,
    )


def item_weights(g: torch.Generator, num_items: int, dtype=torch.float64) -> Tensor:
    """Not negative, some of them 0."""
    return (2 * torch.rand(num_items, generator=g) - 0.5).clamp(min=0).to(dtype)


@samples_of("score_tables")
def _(g):
    none = (None, None, None)
    for batch, users, items, width in (
        (1, 1, 1, 1),
        (5, 9, 31, 3),
        (33, 20, 65, 64),
        (7, 9, 129, 70),
    ):
        inputs = table_inputs(g, batch, users, items, width)
        yield f"{batch}x{items}x{width}", (*inputs, *none, None, 1)
    user, item, *rest = table_inputs(g, 6, 9, 40, 17)
    yield "strided", (transposed(user), sliced(item), *rest, *none, None, 1)
    yield "user gradient only", (user, item.detach(), *rest, *none, None, 1)
    yield "float32", (*table_inputs(g, 5, 9, 31, 8, torch.float32), *none, None, 1)
    yield "empty batch", (*table_inputs(g, 0, 9, 31, 8), *none, None, 1)
    inputs = table_inputs(g, 6, 9, 40, 17)
    ptr, ids = lists(g, 6, 40, 12)
    yield "candidates", (*inputs, ptr, ids, None, None, 1)
    weight = torch.rand(len(ids), generator=g, dtype=torch.float64) + 0.1
    yield "weighted candidates", (*inputs, ptr, ids, weight, None, 1)
    for levels, width in ((1, 64), (1, 70), (2, 3), (2, 64), (2, 100), (2, 150), (4, 40), (8, 130)):
        inputs = table_inputs(g, 33, 20, 71, width, levels=levels)
        yield f"{levels} levels, {width} bits", (*inputs, *none, None, levels)
        yield (
            f"{levels} levels, {width} bits, weights",
            (*inputs, *none, item_weights(g, 71), levels),
        )
    for dtype in (torch.float32, torch.float64):
        inputs = table_inputs(g, 6, 9, 40, 17, dtype, levels=4)
        weights = item_weights(g, 40, dtype)
        yield f"graded candidates of {dtype}", (*inputs, ptr, ids, None, None, 4)
        yield f"weighed items of {dtype}", (*inputs, *none, weights, 4)
        yield f"weighed candidates of {dtype}", (*inputs, ptr, ids, weight.to(dtype), weights, 4)
    user, item, *rest = table_inputs(g, 6, 9, 40, 17, levels=2)
    yield "strided, 2 levels", (transposed(user), sliced(item), *rest, *none, None, 2)


@samples_of("score_tables_backward")
def _(g):
    for name, args in SAMPLES["score_tables"]():
        with torch.no_grad():
            v_neg, _, neg, pos = torch.ops.hashgcn.score_tables(*args)
        *inputs, levels = [x.detach() if isinstance(x, Tensor) else x for x in args]
        grads = [normal(g, *v_neg.shape, dtype=v_neg.dtype) for _ in range(2)]
        yield name, (*grads, neg, pos, *inputs[:-1], None, inputs[-1], levels)


def rank_inputs(g, batch, users, items, width, dtype=torch.float64, padding=0):
    ptr, ids = csr(g, users, items, 6)
    chosen = batch_of(g, batch, users)
    degrees = ptr.diff()[chosen.clamp(min=0)].masked_fill(chosen < 0, 0)
    offsets = torch.nn.functional.pad(degrees.cumsum(0), (1, 0))
    return (
        normal(g, batch, width, dtype=dtype, grad=True),
        normal(g, items, width, dtype=dtype, grad=True),
        chosen,
        ptr,
        ids,
        offsets,
        int(offsets[-1]) + padding,
        torch.tensor(0.7, dtype=dtype),
    )


@samples_of("smooth_rank")
def _(g):
    none = (None, None, None)
    for exclude in (True, False):
        for batch, users, items, width in ((1, 1, 1, 1), (33, 20, 65, 3), (7, 9, 129, 17)):
            inputs = rank_inputs(g, batch, users, items, width)
            yield f"{batch}x{items}x{width} {exclude}", (*inputs, *none, None, exclude)
        inputs = rank_inputs(g, 6, 9, 40, 5)
        ptr, ids = lists(g, 6, 40, 12)
        weight = torch.rand(len(ids), generator=g, dtype=torch.float64) + 0.1
        items_too = item_weights(g, 40)
        yield f"candidates {exclude}", (*inputs, ptr, ids, None, None, exclude)
        yield f"weighted candidates {exclude}", (*inputs, ptr, ids, weight, None, exclude)
        yield f"weighed items {exclude}", (*inputs, *none, items_too, exclude)
        yield f"weighed candidates {exclude}", (*inputs, ptr, ids, weight, items_too, exclude)
    user, item, *rest = rank_inputs(g, 6, 9, 40, 5)
    yield "strided", (transposed(user), sliced(item), *rest, *none, None, True)
    yield "padded", (*rank_inputs(g, 6, 9, 40, 5, padding=3), *none, None, True)
    yield "float32", (*rank_inputs(g, 6, 9, 40, 5, torch.float32), *none, None, True)
    weights = item_weights(g, 300, torch.float32)
    yield "float32, weighed", (*rank_inputs(g, 40, 9, 300, 5, torch.float32), *none, weights, True)
    yield "empty batch", (*rank_inputs(g, 0, 9, 40, 5), *none, None, True)
    # Scores hundreds of tau apart, exact in float32: integers over a power of two.
    for dtype in (torch.float32, torch.float64):
        user, item, *rest, _ = rank_inputs(g, 33, 20, 600, 5, dtype)
        whole = [(3 * x).detach().round().requires_grad_() for x in (user, item)]
        for tau in (0.125, 1.0, 8.0):
            for exclude in (True, False):
                scale = torch.tensor(tau, dtype=dtype)
                yield f"{dtype}, tau {tau} {exclude}", (*whole, *rest, scale, *none, None, exclude)


@samples_of("smooth_rank_backward")
def _(g):
    for name, args in SAMPLES["smooth_rank"]():
        inputs = [x.detach() if isinstance(x, Tensor) else x for x in args]
        grad = normal(g, inputs[6], dtype=inputs[0].dtype)
        yield name, (grad, *inputs[:6], *inputs[7:11], None, *inputs[11:])


@samples_of("hamming_topk")
def _(g):
    def packed(rows: int, length: int) -> Tensor:
        return torch.ops.hashgcn.pack_codes(normal(g, rows, length))

    for length in (1, 31, 64, 65, 130, 256):
        for k in (1, 7, 40, 45):
            words = (packed(30, length), packed(40, length))
            yield f"{length} bits, k {k}", (*words, k, length, None, None, None)
    words = (packed(30, 64), packed(40, 64))
    excluded = lists(g, 30, 40, 60)
    allow = torch.rand(40, generator=g) < 0.7
    yield "exclusions", (*words, 12, 64, *excluded, None)
    yield "exclusions and allow-list", (*words, 40, 64, *excluded, allow)
    yield "nothing allowed", (*words, 3, 64, None, None, torch.zeros(40, dtype=torch.bool))
    yield "strided", (words[0][::2], words[1].repeat(1, 2)[:, :1], 5, 64, None, None, None)
    # Any words are the bit planes of some weights.
    for length, planes in ((64, 1), (1, 2), (64, 2), (100, 3), (130, 4), (256, 4)):
        graded = packed(30 * planes, length).view(30, planes, -1)
        yield (
            f"{length} bits, {planes} planes",
            (graded, packed(40, length), 12, length, None, None, None),
        )
        yield (
            f"{length} bits, {planes} planes, exclusions and allow-list",
            (graded, packed(40, length), 45, length, *excluded, allow),
        )
    yield (
        "strided planes",
        (packed(90, 64).view(30, 3, 1)[:, ::2], words[1], 5, 64, None, None, None),
    )
    yield "no queries", (words[0][:0], words[1], 5, 64, None, None, None)
    yield "no items", (words[0], words[1][:0], 5, 64, None, None, None)


@samples_of("hamming_histogram")
def _(g):
    for name, (queries, items, _, length, *lists_of_items, _) in SAMPLES["hamming_topk"]():
        yield name, (queries, items, length, *lists_of_items)
    words = [torch.ops.hashgcn.pack_codes(normal(g, rows, 64)) for rows in (2, 9000)]
    yield "several slices", (*words, 64, *lists(g, 2, 9000, 9000))
    yield "several slices, 2 planes", (words[0][None], words[1], 64, None, None)


def graph_inputs(g, users, items):
    ptr, ids = csr(g, users, items, 6)
    order = torch.argsort(ids, stable=True)
    rows = torch.repeat_interleave(torch.arange(users), ptr.diff())
    item_degrees = torch.bincount(ids, minlength=items)
    item_ptr = torch.nn.functional.pad(item_degrees.cumsum(0), (1, 0))
    degrees = torch.cat([ptr.diff(), item_degrees]).double()
    scale = torch.where(degrees > 0, degrees.clamp(min=1).rsqrt(), 0)
    return ptr, ids, item_ptr, rows[order], scale


@samples_of("propagate")
def _(g):
    for users, items, width, first, layers in (
        (1, 1, 1, 0, 1),
        (20, 33, 5, 0, 3),
        (20, 33, 64, 0, 2),
        (20, 33, 37, 1, 3),
        (20, 33, 16, 2, 4),
        (20, 33, 16, 3, 3),
        (9, 17, 70, 0, 0),
    ):
        x = normal(g, users + items, width, grad=True)
        yield (
            f"{users}x{items}x{width}, layers {first} to {layers}",
            (x, *graph_inputs(g, users, items), first, layers),
        )
    graph = graph_inputs(g, 9, 17)
    yield "strided", (transposed(normal(g, 26, 3, grad=True)), *graph, 0, 2)
    *rest, scale = graph
    for width in (3, 33):
        x = normal(g, 26, width, dtype=torch.float32, grad=True)
        yield f"float32, {width} columns", (x, *rest, scale.float(), 0, 2)


@samples_of("fixed_order_mm")
def _(g):
    yield "matrix", (normal(g, 33, 65, grad=True), normal(g, 65, 17))
    yield "strided", (sliced(normal(g, 5, 8, grad=True)), transposed(normal(g, 8, 3)))
    yield "empty", (normal(g, 0, 8, grad=True), normal(g, 8, 3))
    yield "float32", (normal(g, 5, 8, dtype=torch.float32, grad=True), normal(g, 8, 3).float())
