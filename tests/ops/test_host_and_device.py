"""What passes between host and device in a training step: copies, and values that are read."""

from __future__ import annotations

import math

import pytest
import torch
from stand_in_device import StandInDevice, data
from training_steps import COPIES, STEPS, begin


@pytest.mark.parametrize("name", STEPS)
def test_what_passes_between_host_and_device_in_a_training_step(name):
    """In any but the first one, which may keep what it finds out about the graph."""
    on_the_cpu = begin(name, "cpu")
    on_the_cpu()
    want = on_the_cpu()
    with StandInDevice() as device:
        step = begin(name, device.NAME)
        step()
        device.passed.clear()
        got = step()
        passed = list(device.passed)
    for mine, theirs in zip(map(data, got), want, strict=True):
        assert torch.equal(mine, theirs)
    assert passed == ["copy_to: _to_copy"] * COPIES.get(name, 0)


def test_named_steps_exist():
    assert set(COPIES) <= set(STEPS)


def test_what_the_stand_in_notes():
    x = torch.arange(6.0)
    with StandInDevice() as device:
        there = x.to(device.NAME)
        for passing in (
            lambda: there.cpu(),
            lambda: x.clone().copy_(there),
            lambda: there.copy_(x),
            lambda: there.new_tensor(math.pi),
            lambda: torch.tensor([1, 2], device=device.NAME),
            lambda: there.sum().item(),
            lambda: bool((there > 3).any()),
            lambda: there[there > 3],
            lambda: (there > 3).nonzero(),
            lambda: torch.unique(there),
            lambda: torch.repeat_interleave(there, (there > 3).long()),
        ):
            device.passed.clear()
            passing()
            assert len(device.passed) == 1 and device.passed[0].startswith("outside: ")
        device.passed.clear()
        there.mul_(2).add_(torch.tensor(1.0))[2:].sqrt()
        there[there.long().clamp(max=5)] = 1.0
        torch.full((), 3.0, device=device.NAME) + torch.arange(3, device=device.NAME)
        assert device.passed == []
        with pytest.raises(AssertionError, match="on one device"):
            there + x
    # The value, in place too, is that of the CPU's ops.
    assert data(there).tolist() == [1.0] * 2 + [5.0] + [1.0] + [9.0] + [1.0]
