"""Tables as aligned text."""

from __future__ import annotations


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
