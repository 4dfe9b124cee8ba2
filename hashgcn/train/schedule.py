"""The optimiser of a network, and its learning rates over a run."""

from __future__ import annotations

import math

import torch

from hashgcn.networks.base import Network, Step
from hashgcn.train.settings import TrainSettings


class Schedule:
    """Adam, whose learning rates rise linearly over the warm-up and follow a cosine to 0.

    Args:
        network: whose parameters are trained; the popularity of items has a rate of its own.
        settings: peak rates, warm-up and number of epochs.
        steps_per_epoch: number of steps in every epoch.
    """

    def __init__(self, network: Network, settings: TrainSettings, steps_per_epoch: int) -> None:
        self.settings, self.steps_per_epoch = settings, steps_per_epoch
        parameters = dict(network.named_parameters())
        rates = settings.learning_rate, settings.popularity_learning_rate
        self.peaks = [rates[name.startswith("popularity.")] for name in parameters]
        groups = [{"params": [p], "lr": 0.0} for p in parameters.values()]
        self.optimizer = torch.optim.Adam(groups, fused=True)

    def at(self, epoch: int, step: int) -> Step:
        """The place of a step in the run."""
        done = epoch * self.steps_per_epoch + step
        return Step(epoch, step, done / (self.settings.epochs * self.steps_per_epoch))

    def update(self, at: Step) -> None:
        """Adam's step with the gradients that there are, at its rates; they are dropped."""
        done = at.epoch * self.steps_per_epoch + at.step
        rise = min(1.0, (done + 1) / max(self.settings.warmup_steps, 1))
        factor = rise * (0.5 * (1 + math.cos(math.pi * at.progress)))
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * factor
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
