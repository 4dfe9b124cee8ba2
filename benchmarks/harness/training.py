"""Training below the methods: loops whose steps and networks are looked at."""

from __future__ import annotations

import torch

from hashgcn.data import Interactions
from hashgcn.models import HashModel
from hashgcn.train.checkpoint import Position
from hashgcn.train.interrupt import Caught
from hashgcn.train.loop import Loop


def make_loop(model: HashModel, train: Interactions) -> Loop:
    """The loop that a model's fit runs, on the CPU.

    Args:
        model: gives the network and the settings; it is left as it is.
        train: the train pairs.
    """
    settings = model.settings
    chosen = settings.selection.selection_ranking
    return Loop(
        lambda graph: model.network(graph, settings.network, settings.train.seed),
        train,
        settings.train,
        settings.selection,
        chosen or model.network.rankings(settings.network)[0],
        torch.device("cpu"),
    )


def start(model: HashModel, train: Interactions, phase: str) -> Loop:
    """The same before the first step of a phase: "selection", which holds out pairs, or "refit"."""
    loop = make_loop(model, train)
    loop.caught = Caught()
    loop.start(Position(phase))
    return loop
