"""Checkpoints: a network, its optimiser and the position in the run, in one safetensors file."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from hashgcn.data import Dataset
from hashgcn.files import load_arrays, save_arrays
from hashgcn.runs.folder import Run

_FORMAT = "hashgcn.train.checkpoint"


@dataclass
class Position:
    """Where a run stands.

    Attributes:
        phase: "selection" (on a part of train), then "refit" (on all of it).
        epoch, step: the next step to be done.
        loss: sum of losses over the steps of this epoch so far.
        history: one entry for each finished epoch of either phase.
        seconds: spent so far, by phase; evaluation included.
    """

    phase: str
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"selection": 0.0, "refit": 0.0})


def fingerprint(data: Dataset) -> str:
    """Hash of the interactions, so that a run is not resumed on other data."""
    digest = hashlib.sha256()
    for part in (data.train, data.test):
        digest.update(np.ascontiguousarray(part.ptr).tobytes())
        digest.update(np.ascontiguousarray(part.ids).tobytes())
        if part.order is not None:  # decides what is held out and what is recent
            digest.update(np.ascontiguousarray(part.order).tobytes())
    return digest.hexdigest()


def save(
    run: Run,
    position: Position,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: str,
) -> None:
    """Write a checkpoint; the one before is kept as the previous one.

    Args:
        identity: text that must be equal when the run is resumed (settings, data).
    """
    arrays = {f"network.{name}": value for name, value in network.state_dict().items()}
    for parameter, state in optimizer.state_dict()["state"].items():
        arrays |= {f"optimizer.{parameter}.{name}": value for name, value in state.items()}
    if run.checkpoint.exists():
        os.replace(run.checkpoint, run.previous_checkpoint)
    save_arrays(
        run.checkpoint,
        {name: value.detach().cpu().numpy() for name, value in arrays.items()},
        {"format": _FORMAT, "position": json.dumps(asdict(position)), "identity": identity},
    )


def load(run: Run, identity: str) -> tuple[Position, dict[str, torch.Tensor]]:
    """The latest checkpoint of a run.

    Returns:
        The position, and the arrays that `restore` takes.

    Raises:
        FileNotFoundError: the run has no checkpoint.
        ValueError: the checkpoint is damaged (the message names the previous one, which is left
            alone), or belongs to other settings or data.
    """
    if not run.has_checkpoint():
        raise FileNotFoundError(f"{run.checkpoint}: no checkpoint to resume from")
    # Between the two renames of a save there is only the previous one.
    path = run.checkpoint if run.checkpoint.exists() else run.previous_checkpoint
    try:
        arrays, metadata = load_arrays(path, _FORMAT)
        position = Position(**json.loads(metadata["position"]))
    except (ValueError, KeyError, TypeError) as error:
        hint = ""
        if path == run.checkpoint and run.previous_checkpoint.exists():
            hint = f"; the previous one is {run.previous_checkpoint}: rename it to resume from it"
        raise ValueError(f"{path}: cannot resume from this checkpoint: {error}{hint}") from error
    if metadata.get("identity") != identity:
        raise ValueError(
            f"{path}: expected a checkpoint of the same method, settings and data, got "
            f"{metadata.get('identity')} where this run is {identity}"
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
