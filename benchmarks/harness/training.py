"""Training below the methods: loops whose steps and networks are looked at."""

from __future__ import annotations

from typing import Any

from hashgcn.data import Interactions
from hashgcn.models import HashModel
from hashgcn.models.base import loop_of
from hashgcn.train.checkpoint import Position
from hashgcn.train.interrupt import Caught
from hashgcn.train.loop import Loop

# Settings of a model that is trained once, with its settings as they are.
AS_GIVEN: dict[str, Any] = {"trials": 1, "tune": [], "validation_part": "random"}


def start(model: HashModel, train: Interactions, phase: str) -> Loop:
    """The loop of a model's fit, on the CPU, before the first step of a phase.

    Args:
        model: gives the network and the settings, which are taken as they are.
        train: the train pairs.
        phase: "selection", which holds out pairs, or "refit".
    """
    loop = loop_of(model, train)
    loop.caught = Caught()
    loop.start(Position(phase))
    return loop
