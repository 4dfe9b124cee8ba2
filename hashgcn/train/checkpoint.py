"""Checkpoints: a network, its optimiser and the position in the run, in one safetensors file."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hashgcn.data import Interactions
from hashgcn.files import load_arrays, save_arrays
from hashgcn.settings import differences

_FORMAT = "hashgcn.checkpoint"


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        phase: "selection" (on a part of train), then "refit" (on all of it).
        epoch, step: the next step to be done, from 0.
        loss: sum of the losses of this epoch's steps so far.
        history: one entry for each finished epoch of either phase.
        seconds: time spent so far, by phase; evaluation is included.
    """

    phase: str
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"selection": 0.0, "refit": 0.0})

    def scores(self, metric: str) -> list[float]:
        """A validation metric after each epoch of the selection."""
        return [e["validation"][metric] for e in self.history if e["phase"] == "selection"]


@dataclass(frozen=True)
class Identity:
    """What has to be the same when a run is resumed.

    Attributes:
        method: name of the method.
        settings: the settings that change results, by name.
        defaults: their defaults, which count where a checkpoint does not know a setting.
        data: see fingerprint.
    """

    method: str
    settings: dict[str, Any]
    defaults: dict[str, Any]
    data: str

    def refusal(self, made: dict[str, Any]) -> list[str]:
        """What differs in the identity that a checkpoint holds, as texts."""
        found = [] if made["method"] == self.method else [f"method {made['method']}"]
        found += differences(made["settings"], self.settings, self.defaults)
        return found + ([] if made["data"] == self.data else ["other train or test pairs"])


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
        known = asdict(self.identity)
        del known["defaults"]
        if self.path.exists():
            os.replace(self.path, self.previous)
        save_arrays(
            self.path,
            {name: value.detach().cpu().numpy() for name, value in arrays.items()},
            {
                "format": _FORMAT,
                "position": json.dumps(asdict(position)),
                "identity": json.dumps(known),
            },
        )

    def load(self) -> tuple[Position, dict[str, torch.Tensor]]:
        """The latest position, and the arrays that `restore` takes.

        Raises:
            FileNotFoundError: there is no checkpoint.
            ValueError: the checkpoint is damaged (the message names the previous one, which is left
                alone), or is of another method, other settings or other data.
        """
        if not self.path.exists() and not self.previous.exists():
            raise FileNotFoundError(f"{self.path}: no checkpoint to resume from")
        # Between the two renames of a save there is only the previous one.
        path = self.path if self.path.exists() else self.previous
        try:
            arrays, metadata = load_arrays(path, _FORMAT)
            position = Position(**json.loads(metadata["position"]))
            refusal = self.identity.refusal(json.loads(metadata["identity"]))
        except (ValueError, KeyError, TypeError) as error:
            hint = ""
            if path == self.path and self.previous.exists():
                hint = f"; the previous one is {self.previous}: rename it to resume from it"
            raise ValueError(
                f"{path}: cannot resume from this checkpoint: {error}{hint}"
            ) from error
        if refusal:
            raise ValueError(
                f"{path}: expected a checkpoint of the same run, got one with {', '.join(refusal)}"
            )
        return position, {name: torch.from_numpy(array) for name, array in arrays.items()}


def restore(
    arrays: dict[str, torch.Tensor], network: nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Put a checkpoint's values into a network and its optimiser."""

    def named(prefix: str) -> dict[str, torch.Tensor]:
        return {
            name.removeprefix(prefix): value
            for name, value in arrays.items()
            if name.startswith(prefix)
        }

    network.load_state_dict(named("network."))
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in named("optimizer.").items():
        parameter, key = name.split(".")
        state.setdefault(int(parameter), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
