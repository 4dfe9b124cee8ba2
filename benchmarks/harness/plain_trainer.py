"""Training steps in plain torch: those of our method, and those of LightGCN's published loop."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from benchmarks.harness.sparse_chain import Halves
from hashgcn.graph import BipartiteGraph
from hashgcn.models import ModelSettings
from hashgcn.networks.recall_hash import RecallHashSettings


class _Propagate(torch.autograd.Function):
    """A chain of sparse products; the adjacency is symmetric, so the backward pass is the same."""

    @staticmethod
    def forward(ctx, x: Tensor, halves: Halves, layers: int) -> Tensor:
        ctx.halves, ctx.layers = halves, layers
        return halves.propagate(x, layers)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return ctx.halves.propagate(grad, ctx.layers), None, None


class _Sign(torch.autograd.Function):
    """The sign, with SignSwish's derivative."""

    @staticmethod
    def forward(ctx, x: Tensor, beta: Tensor) -> Tensor:
        ctx.save_for_backward(x, beta)
        return torch.where(x >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, grad: Tensor):
        x, beta = ctx.saved_tensors
        z = (beta * x).abs().clamp(max=104)
        t = torch.exp(-z)
        return grad * (2 * beta * t * (2 * (1 + t) + z * (t - 1)) / (1 + t) ** 3), None


class _Tables(torch.autograd.Function):
    """Score tables: scores by torch.mm, counts by bincount, gradients of scores by gather."""

    @staticmethod
    def forward(ctx, users: Tensor, items: Tensor, row: Tensor, item: Tensor, scores: Tensor):
        width = users.shape[1]
        scores = torch.mm(users, items.T, out=scores[: len(users)])
        levels = torch.add(scores, width).div_(2).to(torch.int16)
        offsets = torch.arange(len(users))[:, None] * (width + 1)
        counts = torch.zeros(len(users) * (width + 1))
        for start in range(0, len(users), PlainTrainer.CHUNK):
            chunk = slice(start, start + PlainTrainer.CHUNK)
            keys = (levels[chunk] + offsets[chunk]).flatten()
            counts += torch.bincount(keys, minlength=len(counts))
        own = levels[row, item].long()
        pos = torch.bincount(row * (width + 1) + own, minlength=len(counts)).float()
        shape = (len(users), width + 1)
        neg, pos = (counts - pos).view(shape), pos.view(shape)
        ctx.save_for_backward(users, items, row, item, own, neg, pos, levels)
        values = torch.arange(-width, width + 1, 2.0).expand(shape)
        ctx.mark_non_differentiable(neg, pos)
        return values.clone(), values.clone(), neg, pos

    @staticmethod
    def backward(ctx, by_neg: Tensor, by_pos: Tensor, *counts: Tensor):
        users, items, row, item, own, neg, pos, levels = ctx.saved_tensors
        by_neg, by_pos = (
            torch.where(n > 0, g / n.clamp(min=1), 0) for g, n in ((by_neg, neg), (by_pos, pos))
        )
        by_score = torch.empty(levels.shape)
        for start in range(0, len(users), PlainTrainer.CHUNK):
            chunk = slice(start, start + PlainTrainer.CHUNK)
            torch.gather(by_neg[chunk], 1, levels[chunk].long(), out=by_score[chunk])
        by_score[row, item] = by_pos[row, own]
        return by_score @ items, by_score.T @ users, None, None, None


class PlainTrainer:
    """The paper's form with log recall: sparse products, scores of b x n, torch's Adam."""

    CHUNK = 64

    def __init__(self, graph: BipartiteGraph, settings: ModelSettings) -> None:
        assert isinstance(settings.network, RecallHashSettings)
        self.graph, self.settings = graph, settings.network
        self.halves = Halves.of(graph)
        generator = torch.Generator().manual_seed(settings.train.seed)
        nodes = graph.num_users + graph.num_items
        weight = torch.empty(nodes, self.settings.code_length)
        weight.normal_(0, self.settings.init_std, generator=generator)
        self.weight = weight.requires_grad_()
        rate = settings.train.learning_rate
        self.optimizer = torch.optim.Adam([self.weight], lr=rate, fused=True)
        batch = self.settings.users_per_step(graph.num_users)
        self.scores = torch.empty(batch, graph.num_items)

    def step(self, users: Tensor, progress: float, rate: float) -> Tensor:
        """One step of Adam; returns the loss."""
        s, m = self.settings, self.graph.num_users
        x = _Propagate.apply(self.weight, self.halves, s.layers)
        beta = (s.beta_start + (s.beta_end - s.beta_start) * progress) / x.detach().std()
        user_codes, item_codes = _Sign.apply(x[users], beta), _Sign.apply(x[m:], beta)
        row, item = self.graph.positives(users)
        v_neg, v_pos, neg, pos = _Tables.apply(user_codes, item_codes, row, item, self.scores)
        above = torch.sigmoid((v_neg[:, :, None] - v_pos[:, None, :]) / s.score_temperature)
        ranks = 1 + (neg[:, :, None] * above).sum(1)
        recall = torch.sigmoid((math.log(s.train_cutoffs[0]) - ranks.log()) / s.tau_rank)
        loss = -((pos * recall).sum(1) / pos.sum(1).clamp(min=1)).mean()
        loss.backward()
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()


class LightGCNLoop:
    """A stand-in for LightGCN-PyTorch's loop, written for this suite.

    A step does what theirs does: BPR with one negative per pair, propagation of all nodes over a
    sparse COO adjacency, L2 on the batch's embeddings, and Adam. The negatives are drawn beforehand
    and not timed.
    """

    BATCH, WIDTH, LAYERS, DECAY, RATE = 2048, 64, 3, 1e-4, 1e-3

    def __init__(self, graph: BipartiteGraph) -> None:
        m, n = graph.num_users, graph.num_items
        rows = torch.repeat_interleave(torch.arange(m), graph.user_ptr.diff())
        columns = graph.user_items + m
        values = (graph.scale[rows] * graph.scale[columns]).float()
        places = torch.stack([torch.cat([rows, columns]), torch.cat([columns, rows])])
        self.adjacency = torch.sparse_coo_tensor(
            places, values.repeat(2), (m + n, m + n), check_invariants=True
        ).coalesce()
        generator = torch.Generator().manual_seed(0)
        weight = torch.empty(m + n, self.WIDTH).normal_(0, 0.1, generator=generator)
        self.weight = weight.requires_grad_()
        self.optimizer = torch.optim.Adam([self.weight], lr=self.RATE)
        rng = np.random.default_rng(0)
        pairs = torch.from_numpy(rng.permutation(len(rows)))
        self.triples = (
            rows[pairs],
            columns[pairs],
            m + torch.from_numpy(rng.integers(n, size=len(rows))),
        )
        self.steps_per_epoch = math.ceil(len(rows) / self.BATCH)

    def step(self, at: int) -> Tensor:
        chosen = [part[at * self.BATCH : (at + 1) * self.BATCH] for part in self.triples]
        layers = [self.weight]
        for _ in range(self.LAYERS):
            layers.append(torch.sparse.mm(self.adjacency, layers[-1]))
        nodes = torch.stack(layers, 1).mean(1)
        users, wanted, others = (nodes[part] for part in chosen)
        loss = softplus((users * others).sum(1) - (users * wanted).sum(1)).mean()
        decay = sum(self.weight[part].square().sum() for part in chosen) / (2 * self.BATCH)
        self.optimizer.zero_grad()
        (loss + self.DECAY * decay).backward()
        self.optimizer.step()
        return loss.detach()
