"""Text for people: aligned tables, and ids that cannot change what a terminal does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashgcn.models import Compared, Metrics


def metrics_table(columns: dict[str, dict[str, float]]) -> str:
    """Metrics side by side, one column for each method, as aligned text."""
    names = list(next(iter(columns.values())))
    width = max(map(len, names))
    widths = {title: max(len(title), 6) for title in columns}
    lines = [" " * width + "".join(f"  {title:>{widths[title]}}" for title in columns)]
    for name in names:
        values = "".join(f"  {values[name]:>{widths[t]}.4f}" for t, values in columns.items())
        lines.append(f"{name:<{width}}{values}")
    return "\n".join(lines)


def ties_table(ties: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Columns of metrics_table for the expected value under ties and its bounds."""
    fields = next(iter(ties.values()))
    return {f"ties {field}": {name: ties[name][field] for name in ties} for field in fields}


def cold_line(users: int, items: int) -> str:
    """One line about cold users and items of test; empty if there are none."""
    if not users and not items:
        return ""
    return (
        f"cold in test: {counted(users, 'user')} without train pairs, who get the most popular "
        f"items, and {counted(items, 'item')}, which are never found"
    )


def trials_table(metrics: Metrics, metric: str) -> str:
    """What was tried, one line each with its validation metric and epochs; "*" marks the best."""
    lines = [f"{metric} on the validation part, by trial:"]
    for trial in metrics.trials:
        changes = " ".join(f"{k}={v}" for k, v in trial["changes"].items()) or "settings as given"
        mark = "*" if trial["changes"] == metrics.chosen else " "
        epochs = counted(trial["epochs"], "epoch")
        lines.append(f"{mark} {trial['validation'][metric]:.4f}  {epochs:<9}  {changes}")
    return "\n".join(lines)


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as "1 user" or "2 users"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def printable(text: object) -> str:
    """The text with escapes in place of all that does not print, such as a terminal's commands."""
    return "".join(
        x if x.isprintable() else x.encode("unicode_escape").decode("ascii") for x in str(text)
    )


def comparison_table(rows: Sequence[Compared]) -> str:
    """The rankings of a comparison, one line each, as aligned text."""
    titles = ("", "Recall@20", "Recall@50", "NDCG@20", "fit s", "bytes/item", "ms/user", "tried")
    lines = [titles] + [
        (
            row.name,
            *(f"{row.test[key]:.4f}" for key in ("recall@20", "recall@50", "ndcg@20")),
            f"{row.fit_seconds:.2f}",
            f"{row.bytes_per_item:,}",
            f"{row.user_milliseconds:.3f}",
            str(row.tried),
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:{'>' if at else '<'}{widths[at]}}" for at, cell in enumerate(line))
        for line in lines
    )
