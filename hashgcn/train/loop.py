"""Training: selection of the number of epochs on a part of train, refit on all of it, one test."""

from __future__ import annotations

import contextlib
import math
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from hashgcn.data import Dataset, Interactions
from hashgcn.evaluate import protocol as evaluation
from hashgcn.graph import BipartiteGraph
from hashgcn.models.base import Network
from hashgcn.ops import check_errors
from hashgcn.retrieval import HammingIndex, Recommender
from hashgcn.runs.folder import Run, write_json
from hashgcn.runs.report import style as report
from hashgcn.train import checkpoint
from hashgcn.train.checkpoint import Position
from hashgcn.train.settings import CommonSettings


@dataclass(frozen=True)
class Result:
    recommender: Recommender
    metrics: dict[str, Any]


def train(
    network_type: type[Network],
    data: Dataset,
    settings: CommonSettings,
    *,
    device: torch.device,
    run: Path | None,
    resume: bool,
    progress: bool,
    callback: Callable[[dict[str, Any]], None] | None = None,
) -> Result:
    """Select, refit, evaluate; see HashModel.fit."""
    trainer = Trainer(network_type, data, settings, device, run, progress)
    if callback is not None:
        trainer.callback = callback
    if resume:
        trainer.resume()
    with interruptible() as interrupted:
        trainer.interrupted = interrupted
        return trainer.finish()


class Trainer:
    """State of one run: a network in one of the two phases, and its position."""

    def __init__(
        self,
        network_type: type[Network],
        data: Dataset,
        settings: CommonSettings,
        device: torch.device,
        run: Path | None,
        progress: bool,
    ) -> None:
        self.network_type, self.data, self.settings = network_type, data, settings
        self.device, self.progress = device, progress
        self.interrupted = threading.Event()
        self.callback: Callable[[dict[str, Any]], None] = lambda entry: None
        self.identity = (
            f"{network_type.__name__} {settings.model_dump_json()} {checkpoint.fingerprint(data)}"
        )
        self.run = None if run is None else Run(run)
        if self.run is not None:
            self.run.folder.mkdir(parents=True, exist_ok=True)
        select = settings.validation_fraction > 0
        self.start_phase("selection" if select else "refit")

    def start_phase(self, phase: str, position: Position | None = None) -> None:
        """A fresh network for a phase; both phases start from the same seed."""
        settings = self.settings
        kept, held = self.data.train, None
        if phase == "selection":
            kept, held = kept.split(
                settings.validation_fraction, settings.seed, settings.validation_part
            )
            if held.num_pairs == 0:
                raise ValueError(
                    f"expected validation_fraction to hold out some pairs of {self.data.name}, "
                    f"got none with {settings.validation_fraction}"
                )
        self.train_part: Interactions = kept
        self.held_out: Interactions | None = held
        self.graph = BipartiteGraph.from_interactions(kept).to(self.device)
        self.network = self.network_type(self.graph, settings).to(self.device)
        rates = self.network.learning_rates()
        self.peak_rates = [rates[name] for name, _ in self.network.named_parameters()]
        groups = [{"params": [p], "lr": 0.0} for p in self.network.parameters()]
        self.optimizer = torch.optim.Adam(groups, fused=True)
        self.steps_per_epoch = len(self.network.batches(self.graph, 0))
        self.position = position or Position(phase)

    def resume(self) -> None:
        """Go on from the run's checkpoint."""
        if self.run is None:
            raise ValueError("expected a run folder to resume from, got None")
        position, arrays = checkpoint.load(self.run, self.identity)
        self.start_phase(position.phase, position)
        checkpoint.restore(arrays, self.network, self.optimizer)

    def finish(self) -> Result:
        """Run from the current position to the end."""
        if self.position.phase == "selection":
            self.run_phase(self.settings.epochs)
            done = self.position
            self.start_phase("refit", Position("refit", history=done.history, seconds=done.seconds))
        self.run_phase(self.selected_epochs())
        return self.result()

    def selected_epochs(self) -> int:
        """The epoch with the best validation metric, the first of equals; all without selection."""
        name = self.settings.selection_metric
        scores = [entry["validation"][name] for entry in self.history("selection")]
        return scores.index(max(scores)) + 1 if scores else self.settings.epochs

    def history(self, phase: str) -> list[dict[str, Any]]:
        return [entry for entry in self.position.history if entry["phase"] == phase]

    def has_stopped_improving(self) -> bool:
        epochs = len(self.history("selection"))
        return epochs > 0 and epochs - self.selected_epochs() >= self.settings.patience

    def run_phase(self, epochs: int) -> None:
        position = self.position
        done = position.epoch * self.steps_per_epoch + position.step
        with tqdm(
            total=epochs * self.steps_per_epoch,
            initial=done,
            desc=position.phase,
            unit="step",
            disable=not self.progress,
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 10,
        ) as bar:
            while position.epoch < epochs:
                if position.phase == "selection" and self.has_stopped_improving():
                    break
                self.run_epoch(bar)

    def run_epoch(self, bar: tqdm) -> None:
        """The rest of the current epoch, its validation and its checkpoint."""
        position, started = self.position, time.perf_counter()
        batches = self.network.batches(self.graph, position.epoch)
        loss = torch.tensor(position.loss, dtype=torch.float64, device=self.device)
        while position.step < self.steps_per_epoch:
            if self.interrupted.is_set():
                position.loss = loss.item()
                position.seconds[position.phase] += time.perf_counter() - started
                self.save_checkpoint()
                raise KeyboardInterrupt
            loss += self.step(batches[position.step])
            position.step += 1
            # The host reads the loss, and waits for the device, only as often as the bar is drawn.
            if bar.update():
                bar.set_postfix(self.postfix(loss.item() / position.step))
        check_errors(loss)
        entry: dict[str, Any] = {
            "phase": position.phase,
            "epoch": position.epoch + 1,
            "loss": loss.item() / self.steps_per_epoch,
        }
        if self.held_out is not None:
            ranking = self.network.ranking(self.graph, self.settings.selection_ranking)
            entry["validation"] = evaluation.evaluate(
                ranking,
                self.train_part,
                self.held_out,
                self.settings.cutoffs,
                batch_users=self.settings.eval_users,
            )
        position.history.append(entry)
        position.epoch, position.step, position.loss = position.epoch + 1, 0, 0.0
        position.seconds[position.phase] += time.perf_counter() - started
        bar.set_postfix(self.postfix(entry["loss"]))
        self.save_checkpoint()
        self.callback(entry)

    def postfix(self, loss: float) -> dict[str, str]:
        shown = {"loss": f"{loss:.4f}"}
        scores = self.history("selection")
        if scores and self.position.phase == "selection":
            name = self.settings.selection_metric
            shown[name] = f"{scores[-1]['validation'][name]:.4f}"
        return shown

    def step(self, batch: Tensor) -> Tensor:
        """One step of Adam; returns the detached loss."""
        done = self.position.epoch * self.steps_per_epoch + self.position.step
        progress = done / (self.settings.epochs * self.steps_per_epoch)
        rate = min(1.0, (done + 1) / max(self.settings.warmup_steps, 1))
        rate *= 0.5 * (1 + math.cos(math.pi * progress))
        for group, peak in zip(self.optimizer.param_groups, self.peak_rates, strict=True):
            group["lr"] = peak * rate
        loss = self.network.loss(self.graph, batch, progress)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def save_checkpoint(self) -> None:
        if self.run is not None:
            checkpoint.save(self.run, self.position, self.network, self.optimizer, self.identity)

    def result(self) -> Result:
        """Codes and metrics of the refitted model; test is looked at here, and only here."""
        settings, data = self.settings, self.data
        epochs = self.selected_epochs()
        selection = self.history("selection")
        rankings = {
            "test" if name == "codes" else f"test_{name}": self.network.ranking(self.graph, name)
            for name in self.network.rankings
        }
        codes = rankings["test"]
        assert isinstance(codes, evaluation.HammingRanking)  # as of every network
        scales = None
        if isinstance(codes, evaluation.WeightedRanking):
            of_users, of_items = (x.cpu().numpy() for x in codes.scales)
            scales = of_users, of_items
        recommender = Recommender(
            codes.users.cpu().numpy(),
            data.user_ids,
            HammingIndex(
                codes.items.cpu().numpy(),
                code_length=settings.code_length,
                ids=data.item_ids,
                popularity_bits=settings.num_popularity_bits,
            ),
            data.train,
            scales,
        )
        metrics: dict[str, Any] = {
            **(self.test_metrics(codes, rankings) if data.test.num_pairs else {}),
            "bytes_per_item": {name: x.bytes_per_item for name, x in rankings.items()},
            "validation": selection[epochs - 1]["validation"] if selection else None,
            "epochs": epochs,
            "train_seconds": round(self.position.seconds["refit"], 3),
            "selection_seconds": round(self.position.seconds["selection"], 3),
            "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
            "order_in_time_known": data.train.order is not None,
            "history": self.position.history,
        }
        if self.run is not None:
            recommender.save(self.run.codes)
            metric = settings.selection_metric
            report.plot_curves(self.position.history, metric, epochs, self.run.curves)
            write_json(self.run.metrics, metrics)
        return Result(recommender, metrics)

    def test_metrics(
        self, codes: evaluation.HammingRanking, rankings: dict[str, evaluation.Ranking]
    ) -> dict[str, Any]:
        """Of every ranking, of orders of ties, and of what the method adds; by name."""
        data, cutoffs = self.data, self.settings.cutoffs
        size = self.settings.eval_users
        metrics: dict[str, Any] = {
            name: evaluation.evaluate(ranking, data.train, data.test, cutoffs, batch_users=size)
            for name, ranking in rankings.items()
        }
        metrics |= self.network.other_metrics(self.graph, data)
        metrics["test_is_of"] = (
            "a refit on all of train for the selected number of epochs"
            if self.history("selection")
            else "a fit on all of train for the number of epochs set beforehand"
        )
        metrics["test_original_order"] = evaluation.evaluate_original_order(
            codes, data, cutoffs, batch_users=size
        )
        if not isinstance(codes, evaluation.WeightedRanking):
            metrics["test_ties"] = evaluation.evaluate_ties(codes, data, cutoffs)
        metrics["popularity_ranking"] = evaluation.popularity_ranking(data, cutoffs)
        return metrics


@contextlib.contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Turns the first Ctrl-C into an event that is looked at between steps; the second interrupts.

    Nothing is changed outside the main thread, where signals cannot be caught, nor where a program
    that Python is part of catches them (R, for one), whose handler could not be put back.
    """
    event = threading.Event()
    on_main = threading.current_thread() is threading.main_thread()
    if not on_main or signal.getsignal(signal.SIGINT) is None:
        yield event
        return

    def on_interrupt(number: int, frame: Any) -> None:
        if event.is_set():
            raise KeyboardInterrupt
        event.set()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
