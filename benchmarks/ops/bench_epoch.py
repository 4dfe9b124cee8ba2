"""One epoch of training against plain torch and against LightGCN's published loop."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.harness.plain_trainer import LightGCNLoop, PlainTrainer
from benchmarks.harness.race import Case, Contender, Work, close
from benchmarks.harness.training import start
from benchmarks.ops.bench_propagate import LAYERS
from benchmarks.ops.bench_propagate import work as propagation
from benchmarks.ops.bench_score_tables import work as tables
from hashgcn.models import RecallHash
from hashgcn.train.loop import Loop

BATCH, BITS = 1024, 64


def work(graph, steps: int) -> Work:
    """The work of an epoch: a step propagates twice, scores twice and updates every embedding."""
    nodes = graph.num_users + graph.num_items
    once = propagation(graph, BITS)
    loss = tables("both", BATCH, graph.num_items, BITS)
    # SignSwish reads and writes 5 numbers for each of x; Adam reads 4 and writes 3.
    elementwise = 4 * 12 * nodes * BITS
    return Work(
        "a step: propagation forward and backward, score tables forward and backward, 12 numbers "
        "read or written for each embedding by SignSwish and Adam",
        bytes=steps * (2 * once.bytes + loss.bytes + elementwise),
        popcounts=steps * loss.popcounts,
        multiply_adds=steps * (2 * once.multiply_adds + loss.multiply_adds),
        working_set=once.working_set,
    )


def test_epoch(race, inputs, size, threads):
    graph, users = inputs.graph, inputs.shape.users
    batch = size(BATCH, 64)
    model = RecallHash(
        code_length=BITS, user_levels=1, popularity_bits=0, recent_fraction=0, layers=LAYERS,
        first_layer=0, batch_users=batch, train_cutoffs=(50,), epochs=1, validation_fraction=0,
        warmup_steps=0,
    )  # fmt: skip
    steps = math.ceil(users / batch)
    few = size(5, 2)
    order = torch.randperm(users, generator=torch.Generator().manual_seed(0))
    batches = list(torch.split(order, batch))
    lightgcn = LightGCNLoop(graph)

    def fresh() -> Loop:
        return start(model, inputs.dataset.train, "refit")

    def ours(loop: Loop, count: int = steps) -> Tensor:
        losses = []
        for chosen in batches[:count]:
            padded = torch.nn.functional.pad(chosen, (0, batch - len(chosen)), value=-1)
            losses.append(loop.step(padded))
            loop.position.step += 1
        return torch.stack(losses).float()

    def plain(trainer: PlainTrainer) -> Tensor:
        losses = []
        for at, chosen in enumerate(batches[:few]):
            rate = model.settings.train.learning_rate * 0.5 * (1 + math.cos(math.pi * at / steps))
            losses.append(trainer.step(chosen, at / steps, rate))
        return torch.stack(losses)

    def published(_: None) -> None:
        for at in range(few):
            lightgcn.step(at)

    race(
        Case(
            "epoch",
            "one epoch over all train pairs, the paper's form",
            {**inputs.shape._asdict(), "bits": BITS, "layers": LAYERS, "batch": batch},
            work(graph, steps),
            mode="training",
            input=inputs.name,
        ),
        Contender("ours", ours, prepare=fresh),
        [
            Contender(
                "plain torch: torch.mm, bincount, gather, sparse CSR, Adam",
                plain,
                prepare=lambda: PlainTrainer(graph, model.settings),
                check=close(2e-3),
                share=few / steps,
                ours=lambda: ours(fresh(), few),
                note=f"timed on {few} of {steps} steps and scaled",
            ),
            Contender(
                "LightGCN's loop (stand-in): BPR, batch 2048, sparse COO",
                published,
                prepare=lambda: None,
                share=few / lightgcn.steps_per_epoch,
                note=f"another method, real-valued: {few} of an epoch's {lightgcn.steps_per_epoch} "
                "steps timed and scaled, sampling left out; LightGCN-PyTorch itself took 163 s per "
                "epoch on another machine of 2 cores",
            ),
        ],
    )
