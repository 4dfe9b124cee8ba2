"""Each op against plain torch on the same input, at Gowalla's sizes; results are compared first.

make bench
"""

from __future__ import annotations

import pytest
import torch
from shapes import GOWALLA, interactions

from hashgcn import ops, reference
from hashgcn.graph import BipartiteGraph
from hashgcn.nn.losses import smooth_ranks

BATCH, BITS, TAU, K = 512, 64, 3.5, 100


@pytest.fixture(scope="module")
def graph():
    return BipartiteGraph.from_interactions(interactions(GOWALLA))


@pytest.fixture(scope="module")
def batch(graph):
    """Codes that require gradients, and the users of a step."""
    g = torch.Generator().manual_seed(0)
    users = torch.randperm(GOWALLA.users, generator=g)[:BATCH]
    user_codes = reference.sign(torch.randn(BATCH, BITS, generator=g)).requires_grad_()
    item_codes = reference.sign(torch.randn(GOWALLA.items, BITS, generator=g)).requires_grad_()
    return user_codes, item_codes, users


def pairs_of(users, graph):
    begin, end = graph.user_ptr[users], graph.user_ptr[users + 1]
    row = torch.repeat_interleave(torch.arange(len(users)), end - begin)
    first = torch.cumsum(end - begin, 0) - (end - begin)
    return row, graph.user_items[torch.arange(len(row)) + (begin - first)[row]]


def smooth_recall_of(ranks, row):
    recall = torch.sigmoid(torch.log(ranks.new_tensor(50.0)) - ranks.log())
    return -torch.zeros(BATCH).index_add(0, row, recall).sum() / BATCH


def fused_step(user_codes, item_codes, users, graph):
    v_neg, v_pos, neg, pos = ops.score_tables(user_codes, item_codes, users, graph)
    ranks = smooth_ranks(v_neg, v_pos, neg, pos, TAU, exclude_positives=False)
    recall = torch.sigmoid(torch.log(ranks.new_tensor(50.0)) - ranks.log())
    loss = -(pos * recall).sum() / BATCH
    return loss.detach(), torch.autograd.grad(loss, (user_codes, item_codes))


def pairwise_step(user_codes, item_codes, users, graph, chunk=256):
    """Plain torch, a chunk of positives at a time, gradients accumulated chunk by chunk."""
    row, item = pairs_of(users, graph)
    scores = user_codes @ item_codes.T
    flat = scores.detach().requires_grad_()
    total = 0.0
    for start in range(0, len(row), chunk):
        r, i = row[start : start + chunk], item[start : start + chunk]
        ranks = 0.5 + torch.sigmoid((flat[r] - flat[r, i, None]) / TAU).sum(1)
        loss = smooth_recall_of(ranks, r)
        loss.backward()
        total += loss.detach()
    return total, torch.autograd.grad(scores, (user_codes, item_codes), flat.grad)


@pytest.mark.benchmark(group="smooth recall of 512 users over all items, forward and backward")
@pytest.mark.parametrize("form", ["score tables", "pairwise torch"])
def test_recall_loss(benchmark, batch, graph, form):
    fused, plain = fused_step(*batch, graph), pairwise_step(*batch, graph)
    torch.testing.assert_close(fused[0], plain[0], rtol=1e-4, atol=0)
    for mine, theirs in zip(fused[1], plain[1], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-2, atol=1e-3 * theirs.abs().max().item())
    step, rounds = (fused_step, 7) if form == "score tables" else (pairwise_step, 2)
    benchmark.pedantic(step, (*batch, graph), rounds=rounds, warmup_rounds=1)


@pytest.mark.benchmark(group="propagation, 3 layers of 64 columns")
@pytest.mark.parametrize("form", ["propagate", "torch.sparse CSR"])
def test_propagation(benchmark, graph, form):
    m = GOWALLA.users
    x = torch.randn(m + GOWALLA.items, 64)
    values = (graph.scale[:m].repeat_interleave(graph.user_ptr.diff())).float()
    by_user = values * graph.scale[m:][graph.user_items].float()
    order = torch.argsort(graph.user_items, stable=True)
    shape = (m, GOWALLA.items)
    up = torch.sparse_csr_tensor(
        graph.user_ptr, graph.user_items, by_user, shape, check_invariants=True
    )
    down = torch.sparse_csr_tensor(
        graph.item_ptr, graph.item_users, by_user[order], shape[::-1], check_invariants=True
    )

    def plain():
        users, items = x[:m], x[m:]
        total = x
        for _ in range(3):
            users, items = up @ items, down @ users
            total = total + torch.cat([users, items])
        return total / 4

    def fused():
        return ops.propagate(graph, x, 3)

    torch.testing.assert_close(fused(), plain(), rtol=1e-4, atol=1e-5)
    benchmark.pedantic(fused if form == "propagate" else plain, rounds=7, warmup_rounds=1)


@pytest.mark.benchmark(group="top 100 of 512 users, train items left out")
@pytest.mark.parametrize("form", ["hamming_topk", "matmul, mask, topk"])
def test_topk(benchmark, batch, graph, form):
    user_codes, item_codes, users = (x.detach() for x in batch)
    row, item = pairs_of(users, graph)
    lengths = torch.bincount(row, minlength=BATCH)
    ptr = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
    queries, items = ops.pack_codes(user_codes), ops.pack_codes(item_codes)

    def fused():
        return ops.hamming_topk(
            queries, items, K, code_length=BITS, exclude_ptr=ptr, exclude_ids=item
        )[0]

    def plain():
        scores = user_codes @ item_codes.T
        scores[row, item] = -torch.inf
        return ((BITS - scores.topk(K).values) / 2).int()

    assert torch.equal(fused(), plain())
    benchmark.pedantic(fused if form == "hamming_topk" else plain, rounds=7, warmup_rounds=1)


@pytest.mark.benchmark(group="sign and SignSwish gradient of 41k x 64, forward and backward")
@pytest.mark.parametrize("form", ["sign_swish", "torch"])
def test_sign_swish(benchmark, form):
    x = torch.randn(GOWALLA.items, BITS, requires_grad=True)
    function = ops.sign_swish if form == "sign_swish" else reference.sign_swish

    def step():
        return torch.autograd.grad(function(x, 1.3).sum(), x)

    torch.testing.assert_close(
        *(
            torch.autograd.grad(f(x, 1.3).sum(), x)[0]
            for f in (ops.sign_swish, reference.sign_swish)
        ),
        rtol=1e-3,
        atol=1e-5,
    )
    benchmark.pedantic(step, rounds=9, warmup_rounds=1)
