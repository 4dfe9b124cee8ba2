"""Training: the number of epochs is chosen on a part of train, then all of train is fitted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from hashgcn.data import Interactions
from hashgcn.evaluate import evaluate
from hashgcn.graph import BipartiteGraph
from hashgcn.networks.base import Network
from hashgcn.ops import check_errors
from hashgcn.train.checkpoint import Checkpoints, Entry, Position, Saved
from hashgcn.train.interrupt import interruptible
from hashgcn.train.progress import Progress
from hashgcn.train.schedule import Schedule
from hashgcn.train.settings import SelectionSettings, TrainSettings
from hashgcn.train.start import Start


@dataclass
class Loop:
    """One run; `run` does it.

    Args:
        make_network: gives the network for a graph, initialised by the seed.
        train: the train pairs.
        settings, selection: how it is trained, how the number of epochs is chosen.
        ranking: name of the network's ranking whose metric chooses.
        device: where it is trained.
        checkpoints: where the state is saved; None saves nothing.
        show_progress: whether a progress bar is drawn.
        callback: called with each epoch's entry of the history.
        warm: the end of another run that make_network begins from; None begins from random values.
    """

    make_network: Callable[[BipartiteGraph], Network]
    train: Interactions
    settings: TrainSettings
    selection: SelectionSettings
    ranking: str
    device: torch.device
    checkpoints: Checkpoints | None = None
    show_progress: bool = False
    callback: Callable[[Any], None] = lambda entry: None
    warm: Start | None = None

    def run(self, saved: Saved | None = None) -> tuple[Network, BipartiteGraph, Position]:
        """From the beginning, or from a saved state, to the end.

        Returns:
            The network, the graph of all of train, and the run's last position.
        """
        selects = self.selection.validation_fraction > 0
        self.start(
            Position("selection" if selects else "refit") if saved is None else saved.position
        )
        if saved is not None:
            saved.restore(self.network, self.schedule.optimizer, self.steps)
        with interruptible() as self.caught:
            if self.position.phase == "selection":
                self.run_epochs(self.settings.epochs)
                done = self.position
                with self.caught.passing():
                    self.start(Position("refit", 0, 0, 0.0, done.history, done.seconds))
            self.run_epochs(self.chosen_epochs())
        return self.network, self.graph, self.position

    def start(self, position: Position) -> None:
        """A fresh network for a phase; both phases start from the same seed."""
        self.position, self.part, self.held_out = position, self.train, None
        if position.phase == "selection":
            s = self.selection
            self.part, self.held_out = self.train.split(
                s.validation_fraction, self.settings.seed, s.validation_part
            )
            if self.warm is not None:
                self.part, self.held_out = self.warm.hold_out(self.train, self.held_out)
            if self.held_out.num_pairs == 0:
                new = "" if self.warm is None else " that the start lacks"
                raise ValueError(
                    f"validation_fraction: expected one that holds out some train pairs{new}, "
                    f"got none with {s.validation_fraction}"
                )
        self.graph = self.part.graph().to(self.device)
        self.network = self.make_network(self.graph).to(self.device)
        self.steps = len(self.network.batches(self.graph, 0))
        self.schedule = Schedule(self.network, self.settings, self.steps)
        self.saved_at = time.monotonic()

    def run_epochs(self, epochs: int) -> None:
        """The rest of the phase: a number of epochs, fewer where they stop improving."""
        position, metric = self.position, self.selection.selection_metric
        total, done = epochs * self.steps, position.epoch * self.steps + position.step
        with Progress(position.phase, total, done, metric, self.show_progress) as bar:
            while position.epoch < epochs and not self.has_stopped_improving():
                self.run_epoch(bar)

    def run_epoch(self, bar: Progress) -> None:
        """The rest of the current epoch, its validation and its checkpoints."""
        position, self.started = self.position, time.perf_counter()
        batches = self.network.batches(self.graph, position.epoch)
        loss = torch.tensor(position.loss, dtype=torch.float64, device=self.device)
        while position.step < self.steps and not self.caught:
            loss += self.step(batches[position.step])
            position.step += 1
            # The host reads the loss, and waits for the device, only as often as the bar is drawn.
            if bar.update():
                bar.show(loss.item() / position.step, position.history)
            if time.monotonic() - self.saved_at >= 60 * self.settings.checkpoint_minutes:
                check_errors(loss)
                self.save(loss)
        check_errors(loss)
        try:
            if self.caught:
                raise KeyboardInterrupt
            validation = self.validate()
        except KeyboardInterrupt:
            self.save(loss)
            raise
        self.finish_epoch(loss.item() / self.steps, validation)
        self.save()
        bar.show(position.history[-1]["loss"], position.history)
        self.callback(position.history[-1])

    def validate(self) -> dict[str, float] | None:
        """The validation metrics; None in the refit."""
        if self.held_out is None:
            return None
        s = self.selection
        with self.caught.passing():
            ranking = self.network.ranking(self.graph, self.ranking)
            return evaluate(ranking, self.part, self.held_out, s.cutoffs, batch_users=s.eval_users)

    def finish_epoch(self, loss: float, validation: dict[str, float] | None) -> None:
        """Write the epoch down, and go to the next one."""
        position = self.position
        entry: Entry = {"phase": position.phase, "epoch": position.epoch + 1, "loss": loss}
        if validation is not None:
            entry["validation"] = validation
        position.history.append(entry)
        position.epoch, position.step, position.loss = position.epoch + 1, 0, 0.0

    def save(self, loss: Tensor | None = None) -> None:
        """A checkpoint, with the sum of the losses of an epoch that is not finished."""
        position, now = self.position, time.perf_counter()
        if loss is not None:
            position.loss = loss.item()
        position.seconds[position.phase] += now - self.started
        self.started = now
        if self.checkpoints is not None:
            self.checkpoints.save(position, self.network, self.schedule.optimizer)
        self.saved_at = time.monotonic()

    def step(self, batch: Tensor) -> Tensor:
        """One step of Adam; returns the detached loss."""
        at = self.schedule.at(self.position.epoch, self.position.step)
        loss = self.network.loss(self.graph, batch, at)
        loss.backward()
        self.schedule.update(at)
        return loss.detach()

    def chosen_epochs(self) -> int:
        """The epoch with the best validation metric, the first of equals; all without selection."""
        scores = self.position.scores(self.selection.selection_metric)
        return scores.index(max(scores)) + 1 if scores else self.settings.epochs

    def has_stopped_improving(self) -> bool:
        scores = self.position.scores(self.selection.selection_metric)
        selecting = self.position.phase == "selection" and scores
        return bool(selecting) and len(scores) - self.chosen_epochs() >= self.selection.patience
