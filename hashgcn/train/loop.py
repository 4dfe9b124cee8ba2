"""Training: settings and epochs are chosen on a part of train, then all of train is fitted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hashgcn.data import Interactions
from hashgcn.evaluate import evaluate
from hashgcn.graph import BipartiteGraph
from hashgcn.networks.base import Network
from hashgcn.ops import check_errors
from hashgcn.train.checkpoint import Checkpoints, Entry, Position, Saved, Trial
from hashgcn.train.interrupt import interruptible
from hashgcn.train.progress import Progress
from hashgcn.train.schedule import Schedule
from hashgcn.train.search import Changes, Search
from hashgcn.train.settings import SelectionSettings, TrainSettings
from hashgcn.train.start import Start


class Configuration(NamedTuple):
    """What trains: gives the network for a graph, initialised by the seed; how it is trained."""

    make_network: Callable[[BipartiteGraph], Network]
    settings: TrainSettings


@dataclass
class Loop:
    """One run; `run` does it.

    Args:
        configure: gives the configuration with some settings changed, by name.
        search: which changes are tried.
        train: the train pairs.
        selection: how settings and the number of epochs are chosen.
        ranking: name of the network's ranking whose metric chooses.
        device: where it is trained.
        checkpoints: where the state is saved; None saves nothing.
        show_progress: whether a progress bar is drawn.
        callback: called with each epoch's entry of the history.
        warm: the end of another run that networks begin from; None begins from random values.
        begin: settings that the first trial, or the refit if there is none, changes.
    """

    configure: Callable[[Changes], Configuration]
    search: Search
    train: Interactions
    selection: SelectionSettings
    ranking: str
    device: torch.device
    checkpoints: Checkpoints | None = None
    show_progress: bool = False
    callback: Callable[[Any], None] = lambda entry: None
    warm: Start | None = None
    begin: Changes = field(default_factory=dict)

    def run(self, saved: Saved | None = None) -> tuple[Network, BipartiteGraph, Position]:
        """From the beginning, or from a saved state, to the end.

        Returns:
            The network, the graph of all of train, and the run's last position.
        """
        first = Position("selection" if self.parts[1].num_pairs else "refit", changes=self.begin)
        self.start(first if saved is None else saved.position)
        if saved is not None:
            saved.restore(self.network, self.schedule.optimizer, self.steps)
        with interruptible() as self.caught:
            while self.position.phase == "selection":
                self.run_epochs(self.settings.epochs)
                with self.caught.passing():
                    self.start(self.following())
            self.run_epochs(self.chosen_epochs())
        return self.network, self.graph, self.position

    @cached_property
    def parts(self) -> tuple[Interactions, Interactions]:
        """The part of train that trials are trained on, and the part that is held out."""
        s, seed = self.selection, self.configure({}).settings.seed
        parts = self.train.split(s.validation_fraction, seed, s.validation_part or "random")
        return parts if self.warm is None else self.warm.hold_out(self.train, parts[1])

    def following(self) -> Position:
        """Where the run goes on after a trial: at the next one, or at the refit of the best."""
        assert self.held_out is not None  # in the selection
        done = self.position
        trials = [*done.trials, Trial(changes=done.changes, history=done.history)]
        best, changes = self.search.after(trials, self.held_out.num_pairs)
        following = Position("refit", changes=best["changes"], history=[*best["history"]])
        if changes is not None:
            following = Position("selection", changes=changes)
        return replace(following, seconds=done.seconds, trials=trials)

    def start(self, position: Position) -> None:
        """A fresh network for a trial or the refit; all of them start from the same seed."""
        self.position, self.part, self.held_out = position, self.train, None
        make_network, self.settings = self.configure(position.changes)
        if position.phase == "selection":
            self.part, self.held_out = self.parts
        self.graph = self.part.graph().to(self.device)
        self.network = make_network(self.graph).to(self.device)
        self.steps = len(self.network.batches(self.graph, 0))
        self.schedule = Schedule(self.network, self.settings, self.steps)
        self.saved_at = time.monotonic()

    def run_epochs(self, epochs: int) -> None:
        """The rest of the phase: a number of epochs, fewer where they stop improving."""
        position, metric = self.position, self.selection.selection_metric
        done = position.epoch * self.steps + position.step
        name = "refit" if position.phase == "refit" else f"trial {len(position.trials) + 1}"
        with Progress(name, epochs, self.steps, done, metric, self.show_progress) as bar:
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
        bar.end_epoch(position.history)
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
        position = self.position
        scores = position.scores(self.selection.selection_metric)
        if position.phase == "refit" or not scores:
            return False
        if self.search.is_hopeless(position.trials, position.history):
            return True
        return len(scores) - self.chosen_epochs() >= self.selection.patience
