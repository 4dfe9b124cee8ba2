"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], lines: Iterable[Sequence[str]], *, right: bool = False) -> str:
    """A table with one row per entry of `lines`.

    Args:
        header: a text per column, which may be empty.
        lines: texts of each row.
        right: align the columns that have a heading to the right.
    """
    rule = ["---:" if right and text else "---" for text in header]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *lines))
