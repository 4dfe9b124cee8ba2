"""Moving tensors from the host to a device."""

from __future__ import annotations

import torch
from torch import Tensor


def copy_to(x: Tensor, device: torch.device) -> Tensor:
    """x on a device. Copies to CUDA go through pinned memory, so that the host need not wait."""
    if device.type == "cuda" and x.device.type == "cpu":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)
