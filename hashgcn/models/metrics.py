"""The metrics of a fitted model, as in a run's metrics.json."""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from hashgcn.evaluate import CodeUse
from hashgcn.settings import described
from hashgcn.train.checkpoint import Entry, Trial, check_history, names_of, scores_of


class Tried(TypedDict):
    """A trial in short: the settings that it changed, its best epoch, and the metrics then."""

    changes: dict[str, Any]
    epochs: int
    validation: dict[str, float]


def tried(trial: Trial, metric: str) -> Tried:
    """A trial in short, with its best epoch by a metric."""
    scores = scores_of(trial["history"], metric)
    epoch = scores.index(max(scores))
    validation = trial["history"][epoch]["validation"]
    return Tried(changes=trial["changes"], epochs=epoch + 1, validation=validation)


@dataclass(frozen=True)
class Metrics:
    """Metrics of a fitted model.

    Attributes:
        test: test metrics of ranking by codes, e.g. "recall@50"; empty without test pairs.
        rankings: test metrics of the method's other rankings, by name.
        bytes_per_item: bytes that each ranking keeps per item, by name; "codes" is the codes'.
        validation: validation metrics of the epoch that was chosen; None without a selection.
        epochs: number of epochs that were chosen.
        train_seconds, selection_seconds: time of the fit to all of train, and of all trials.
        peak_memory_mb: largest resident memory of the process so far, in MB.
        order_in_time_known: whether the order of each user's items in time was known.
        history: phase, epoch, loss and, in the selection, validation metrics of every epoch of the
            best trial and of the refit.
        cold_test_users: number of users with test items and none in train. They count in all
            metrics: they get the most popular items.
        cold_test_items: number of items with test users and none in train, which are never found.
        chosen: the settings that the best trial changed, by name, with their new values.
        trials: what was tried, in this order; empty without a selection.
        flipped: of a warm start, the share of bits that differ from the codes it began from: those
            of "users" and of "items" that both runs have, None where they share none.
        code_use: dead and copied bits and shared codes of the users and items of train, see
            hashgcn.evaluate.CodeUse; None where it was not measured.
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
    history: list[Entry]
    cold_test_users: int = 0
    cold_test_items: int = 0
    chosen: dict[str, Any] = field(default_factory=dict)
    trials: list[Tried] = field(default_factory=list)
    flipped: dict[str, float | None] | None = None
    code_use: CodeUse | None = None

    @classmethod
    def of_json(cls, content: Any, cutoffs: Iterable[int]) -> Metrics:
        """The inverse of `to_json`, for a model with these cutoffs; ValueError if it is damaged."""
        try:
            found = TypeAdapter(cls).validate_python(content)
        except ValidationError as error:
            raise ValueError(described(error)) from None
        check_history(found.history, cutoffs)
        validations = [entry["validation"] for entry in found.history if "validation" in entry]
        for name, metrics in found.columns().items():
            if set(metrics) != names_of(cutoffs):
                raise ValueError(f"{name} with metrics {', '.join(metrics) or 'of no name'}")
        refits = len(found.history) - len(validations)
        if found.epochs != refits or not 0 < refits <= (len(validations) or refits):
            raise ValueError(f"{found.epochs} epochs with {refits} in the refit's history")
        if found.validation != (validations[refits - 1] if validations else None):
            raise ValueError("a validation that is not the one of the chosen epoch")
        # Without test pairs no ranking has metrics, but each has its size.
        sized, ranked = set(found.bytes_per_item), {"codes", *found.rankings}
        if sized != ranked if found.test else not ranked <= sized:
            raise ValueError(f"bytes_per_item of {', '.join(found.bytes_per_item)}")
        return found

    def to_json(self) -> dict[str, Any]:
        """The metrics as JSON holds them."""
        return asdict(self)

    def columns(self) -> dict[str, dict[str, float]]:
        """Test metrics of every ranking, by name; the codes first."""
        return ({"codes": self.test} if self.test else {}) | self.rankings

    def __repr__(self) -> str:
        found = ", ".join(f"{name} {value:.4f}" for name, value in self.test.items())
        cold = f"; {self.cold_test_users:,} cold test users" if self.cold_test_users else ""
        return f"Metrics({found or 'no test pairs'}{cold}; {self.epochs} epochs)"

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
