"""Checkpoints: a network, its optimiser and the position in the run, in one safetensors file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn
from typing_extensions import NotRequired, TypedDict

from hashgcn.data import Interactions
from hashgcn.files import load_arrays, save_arrays
from hashgcn.settings import described, differences

_FORMAT = "hashgcn.checkpoint"
Phase = Literal["selection", "refit"]


class Entry(TypedDict):
    """A finished epoch: its phase, number from 1, mean loss and, in the selection, metrics."""

    phase: Phase
    epoch: int
    loss: float
    validation: NotRequired[dict[str, float]]


class Trial(TypedDict):
    """A finished selection: the settings that it changed, by name, and its epochs."""

    changes: dict[str, Any]
    history: list[Entry]


def scores_of(history: list[Entry], metric: str) -> list[float]:
    """A validation metric after each epoch of a selection."""
    return [entry["validation"][metric] for entry in history if entry["phase"] == "selection"]


def names_of(cutoffs: Iterable[int]) -> set[str]:
    """The metrics at these cutoffs."""
    return {f"{measure}@{cutoff}" for cutoff in cutoffs for measure in ("recall", "ndcg")}


def check_history(history: list[Entry], cutoffs: Iterable[int]) -> None:
    """Raise a ValueError unless epochs count up in each phase and the selection's, the first, have
    the metrics at the cutoffs.
    """
    names = names_of(cutoffs)
    selected = sum(entry["phase"] == "selection" for entry in history)
    for at, entry in enumerate(history):
        phase, epoch = ("selection", at) if at < selected else ("refit", at - selected)
        if (entry["phase"], entry["epoch"]) != (phase, epoch + 1):
            raise ValueError(
                f"history: expected epoch {epoch + 1} of the {phase} in entry {at}, "
                f"got epoch {entry['epoch']} of the {entry['phase']}"
            )
        if set(entry.get("validation", ())) != (names if phase == "selection" else set()):
            raise ValueError(
                f"history: expected metrics at the cutoffs in entry {at} if it is of the selection"
            )


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        phase: "selection" (on a part of train), then "refit" (on all of it).
        epoch, step: the next step to be done, from 0.
        loss: sum of the losses of this epoch's steps so far.
        history: one entry for each finished epoch of this trial or, in the refit, of the best trial
            and of the refit.
        seconds: time spent so far, by phase; evaluation is included.
        changes: settings that this trial or, in the refit, the best one changed, by name.
        trials: the trials that are finished.
    """

    phase: Phase
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    history: list[Entry] = field(default_factory=list)
    seconds: dict[Phase, float] = field(default_factory=lambda: {"selection": 0.0, "refit": 0.0})
    changes: dict[str, Any] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)

    def scores(self, metric: str) -> list[float]:
        """A validation metric after each epoch of the selection."""
        return scores_of(self.history, metric)

    def check(self, cutoffs: Iterable[int]) -> None:
        """Raise a ValueError if the parts contradict each other, for metrics at these cutoffs."""
        for history in (*(trial["history"] for trial in self.trials), self.history):
            check_history(history, cutoffs)
        done = sum(entry["phase"] == self.phase for entry in self.history)
        refitted = any(entry["phase"] == "refit" for entry in self.history)
        if self.epoch != done or self.step < 0 or (refitted and self.phase == "selection"):
            raise ValueError(f"expected a step of epoch {done}, got {self.epoch}, {self.step}")
        if set(self.seconds) != {"selection", "refit"}:
            raise ValueError("expected the seconds of both phases")


@dataclass(frozen=True)
class Identity:
    """What has to be the same when a run is resumed.

    Attributes:
        method: name of the method.
        settings: the settings that change results, by name.
        defaults: their defaults, which count where a checkpoint does not know a setting.
        free: names of the settings that change no result.
        data: see fingerprint.
        start: see Start.identity; None for a run that begins from random values.
    """

    method: str
    settings: dict[str, Any]
    defaults: dict[str, Any]
    free: frozenset[str]
    data: str
    start: str | None = None

    def made(self) -> dict[str, Any]:
        """The identity as a checkpoint holds it."""
        made = {"method": self.method, "settings": self.settings, "data": self.data}
        return made if self.start is None else {**made, "start": self.start}

    def check(self, path: Path, made: dict[str, Any]) -> None:
        """Raise a ValueError that names what differs in the run that the file `path` tells of."""
        settings = {k: v for k, v in made["settings"].items() if k not in self.free}
        found = [] if made["method"] == self.method else [f"method {made['method']}"]
        found += differences(settings, self.settings, self.defaults)
        found += [] if made["data"] == self.data else ["other train or test pairs"]
        found += [] if made.get("start") == self.start else ["another start"]
        if found:
            raise OtherRun(f"{path}: expected the same run, got one with {', '.join(found)}")


class OtherRun(ValueError):
    """What is to be resumed is another run."""


def fingerprint(*parts: Interactions) -> str:
    """Hash of the interactions, so that a run is not resumed on other data."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part.ptr).tobytes())
        digest.update(np.ascontiguousarray(part.ids).tobytes())
        if part.order is not None:  # decides what is held out and what is recent
            digest.update(np.ascontiguousarray(part.order).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class Checkpoints:
    """The files that hold the state of a run: the latest, and the one before.

    Args:
        path, previous: the two files.
        identity: of the run.
    """

    path: Path
    previous: Path
    identity: Identity

    def save(
        self, position: Position, network: nn.Module, optimizer: torch.optim.Optimizer
    ) -> None:
        """Write the state; the latest file becomes the previous one."""
        arrays = {f"network.{name}": value for name, value in network.state_dict().items()}
        for parameter, state in optimizer.state_dict()["state"].items():
            arrays |= {f"optimizer.{parameter}.{name}": value for name, value in state.items()}
        if self.path.exists():
            os.replace(self.path, self.previous)
        save_arrays(
            self.path,
            {name: value.detach().cpu().numpy() for name, value in arrays.items()},
            {
                "format": _FORMAT,
                "position": json.dumps(asdict(position)),
                "identity": json.dumps(self.identity.made()),
            },
        )

    def load(self) -> Saved | None:
        """The latest state; None if there is none.

        Raises:
            ValueError: the checkpoint is damaged (the message names the previous one, which is left
                alone), or is of another method, other settings or other data.
        """
        # Between the two renames of a save there is only the previous one.
        path = self.path if self.path.exists() else self.previous
        if not path.exists():
            return None
        has_previous = path == self.path and self.previous.exists()
        hint = f"; the previous one is {self.previous}: rename it to resume from it"
        saved = Saved(path, hint if has_previous else "")
        try:
            arrays, metadata = load_arrays(path, _FORMAT)
            self.identity.check(path, json.loads(metadata["identity"]))
            content = json.loads(metadata["position"])
            saved.position = TypeAdapter(Position).validate_python(content)
            saved.position.check(self.identity.settings["cutoffs"])
            saved.arrays = {name: torch.from_numpy(array) for name, array in arrays.items()}
        except OtherRun:
            raise
        except ValidationError as error:
            raise saved.damaged(described(error)) from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise saved.damaged(error) from error
        return saved


def network_at_end(path: Path) -> dict[str, torch.Tensor]:
    """The network's state in the last checkpoint of a finished run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the checkpoint is damaged.
    """
    arrays, _ = load_arrays(path, _FORMAT)
    return {
        name.removeprefix("network."): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith("network.")
    }


@dataclass
class Saved:
    """The state of a run that a checkpoint holds.

    Attributes:
        path: the checkpoint.
        hint: what else a user can do if it is damaged.
        position: where the run stood.
        arrays: of the network and of the optimiser.
    """

    path: Path
    hint: str
    position: Position = field(default_factory=lambda: Position("selection"))
    arrays: dict[str, torch.Tensor] = field(default_factory=dict)

    def damaged(self, reason: object) -> ValueError:
        """The error that the checkpoint cannot be resumed from."""
        return ValueError(f"{self.path}: cannot resume from this checkpoint: {reason}{self.hint}")

    def restore(self, network: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
        """Put the values into a network and its optimiser.

        Args:
            network, optimizer: of the phase of the position.
            steps: number of steps of an epoch.

        Raises:
            ValueError: the arrays or the position are not those of the network.
        """
        if self.position.step > steps:
            raise self.damaged(f"expected at most step {steps}, got {self.position.step}")
        state = network.state_dict()
        expected = {f"network.{name}": value for name, value in state.items()}
        trained = []
        for at, parameter in enumerate(network.parameters()):
            # A parameter that had no gradient so far has no state.
            if f"optimizer.{at}.step" in self.arrays:
                trained.append(at)
                like = {"step": torch.zeros(()), "exp_avg": parameter, "exp_avg_sq": parameter}
                expected |= {f"optimizer.{at}.{name}": value for name, value in like.items()}
        for name in sorted(expected.keys() | self.arrays.keys()):
            wanted, found = (
                None if array is None else (array.dtype, tuple(array.shape))
                for array in (expected.get(name), self.arrays.get(name))
            )
            if wanted != found:
                raise self.damaged(f"expected {wanted} for array {name!r}, got {found}")
        network.load_state_dict({name: self.arrays[f"network.{name}"] for name in state})
        moments = {
            at: {
                name: self.arrays[f"optimizer.{at}.{name}"]
                for name in ("step", "exp_avg", "exp_avg_sq")
            }
            for at in trained
        }
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
