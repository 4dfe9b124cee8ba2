"""The metrics of a fitted model, as in a run's metrics.json."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Metrics:
    """Metrics of a fitted model.

    Attributes:
        test: test metrics of ranking by codes, e.g. "recall@50"; empty without test pairs.
        rankings: test metrics of the method's other rankings, by name.
        bytes_per_item: bytes that each ranking keeps per item, by name; "codes" is the codes'.
        validation: validation metrics of the epoch that was chosen; None without a selection.
        epochs: number of epochs that were chosen.
        train_seconds, selection_seconds: time of the fit to all of train, and of the selection.
        peak_memory_mb: largest resident memory of the process so far, in MB.
        order_in_time_known: whether the order of each user's items in time was known.
        history: phase, epoch, loss and, in the selection, validation metrics of every epoch.
    """

    test: dict[str, float]
    rankings: dict[str, dict[str, float]]
    bytes_per_item: dict[str, int]
    validation: dict[str, float] | None
    epochs: int
    train_seconds: float
    selection_seconds: float
    peak_memory_mb: float
    order_in_time_known: bool
    history: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """The metrics as JSON holds them."""
        return asdict(self)

    def columns(self) -> dict[str, dict[str, float]]:
        """Test metrics of every ranking, by name; the codes first."""
        return ({"codes": self.test} if self.test else {}) | self.rankings

    def __repr__(self) -> str:
        found = ", ".join(f"{name} {value:.4f}" for name, value in self.test.items())
        return f"Metrics({found or 'no test pairs'}; {self.epochs} epochs)"

    def _repr_html_(self) -> str:
        columns = self.columns()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ("", *columns))
        rows = "".join(
            f"<tr><td>{name}</td>"
            + "".join(f"<td>{column[name]:.4f}</td>" for column in columns.values())
            + "</tr>"
            for name in self.test
        )
        return f"<table><tr>{head}</tr>{rows}</table>"
