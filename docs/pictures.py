"""Pictures of the pages, each for light and for dark mode: `python docs/pictures.py [RUN]`.

`code-length-*.png` follow from stored results. With the folder of a run, the tutorial's, a headless
Chromium takes `report-*.png` of its report; it has to be on the path.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from tables import CEILING, CODE_LENGTHS, DATA_SETS, METRICS, PUBLISHED, figures

IMAGES = Path(__file__).resolve().parent / "images"
# Background of the page, text, and the lines: ours, as in the paper, printed, real-valued.
MODES = {
    "light": ("#ffffff", "#333333", "#3f51b5", "#d9822b", "#777777", "#2e8b57"),
    "dark": ("#1e2129", "#d5d7de", "#9fa8ff", "#f0a860", "#a0a4b0", "#66c796"),
}


def code_length(mode: str) -> None:
    """Recall@50 by code length on both data sets."""
    background, text, ours, paper, printed, real = MODES[mode]
    plt.rcParams.update(
        {
            "font.size": 9,
            **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), text),
        }
    )
    figure, panels = plt.subplots(1, 2, figsize=(7, 3), facecolor=background, layout="constrained")
    metric = "recall@50"
    for axes, data_set in zip(panels, ("gowalla", "yelp2018"), strict=True):
        for form, colour, label in (
            ("", ours, "hashgcn, default settings"),
            ("-paper", paper, "the paper's method, trained here"),
        ):
            found = {
                bits: of_row[metric]
                for bits in CODE_LENGTHS
                if (of_row := figures(data_set, f"recallhash-{bits}{form}"))
            }
            axes.plot(*zip(*found.items(), strict=True), "o-", color=colour, ms=4, label=label)
        level = PUBLISHED["Proposed"][data_set][METRICS.index(metric)]
        axes.axhline(level, color=printed, ls="--", lw=1.2, label="printed in the paper")
        level = (figures(data_set, *CEILING) or {})[metric]
        axes.axhline(level, color=real, ls=":", lw=1.6, label="real-valued LightGCN, 64 floats")
        axes.set_xscale("log", base=2)
        axes.set_xticks(CODE_LENGTHS, map(str, CODE_LENGTHS))
        axes.minorticks_off()
        axes.set_title(f"{DATA_SETS[data_set].title}: Recall@50", fontsize=9.5, color=text)
        axes.set_xlabel("bits per item")
        axes.set_facecolor(background)
        axes.grid(axis="y", color=text, alpha=0.15)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    for legend in figure.legends:
        legend.set_frame_on(False)
    figure.savefig(IMAGES / f"code-length-{mode}.png", dpi=170)
    plt.close(figure)


def report(page: Path, mode: str) -> None:
    """The first part of a report."""
    with tempfile.TemporaryDirectory() as folder:
        dark = ["--blink-settings=preferredColorScheme=0"] if mode == "dark" else []
        command = ["chromium", "--headless", "--no-sandbox", "--hide-scrollbars", *dark]
        command += [f"--user-data-dir={folder}", "--window-size=1100,725"]
        shot = IMAGES / f"report-{mode}.png"
        command += [f"--screenshot={shot}", page.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    for mode in MODES:
        code_length(mode)
        if len(sys.argv) > 1:
            report(Path(sys.argv[1]) / "report.html", mode)
