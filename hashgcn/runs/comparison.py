"""Files of a comparison: its JSON, and a picture of recall against memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashgcn.files import write_atomic, write_text
from hashgcn.models.comparison import Comparison
from hashgcn.runs.style import COLOURS, OURS, clean, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def recall_by_memory(found: Comparison) -> Figure:
    """Recall@50 of every ranking by its bytes per item; the codes are joined by a line."""
    figure = new_figure(8, 4.4)
    axes = figure.subplots()
    codes = [row for row in found.rows if row.code_length]
    places = [(row.bytes_per_item, row.test["recall@50"]) for row in codes]
    axes.plot(*zip(*places, strict=True), "o-", color=OURS, markersize=6)
    for row in found.rows:
        place = (row.bytes_per_item, row.test["recall@50"])
        look: dict[str, Any] = {"textcoords": "offset points", "fontsize": 9}
        if row.code_length:
            axes.annotate(f"{row.code_length} bits", place, (0, 7), ha="center", color=OURS, **look)
        else:
            axes.plot(*place, "s", color=COLOURS[0], markersize=6)
            axes.annotate(row.name, place, (7, -3), **look)
    axes.set(xscale="log", xlabel="bytes per item", ylabel="Recall@50 on test")
    axes.set_title(found.data, parse_math=False)  # a name may have a $, which begins a formula
    axes.margins(x=0.15, y=0.1)
    axes.set_ylim(bottom=0)
    clean(axes)
    return figure


def save_comparison(found: Comparison, folder: Path) -> None:
    """Writes compare.json and compare.png to the folder, which is made if there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "compare.json", json.dumps(found.to_json(), indent=2) + "\n")
    figure = recall_by_memory(found)
    write_atomic(
        folder / "compare.png",
        lambda temporary: figure.savefig(temporary, format="png", dpi=120),
    )
