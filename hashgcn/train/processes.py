"""Training is done by one process."""

from __future__ import annotations

import os


def check_alone() -> None:
    """Raise a ValueError in each of several processes that a launcher started as one training."""
    size = os.environ.get("WORLD_SIZE", "1")
    if size.strip() not in ("", "0", "1"):
        raise ValueError(
            f"WORLD_SIZE: expected 1, as training runs in one process, got {size}; "
            "start it without torchrun"
        )
