"""A self-contained HTML page with pictures that follow the light or dark theme."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from hashgcn.runs.style import OURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The page's style replaces these colours of a figure, which would vanish on a dark page.
_INK = "#1c2733"
_GRID = "#b0b0b0"
_THEMED = {_INK: "currentColor", OURS: "var(--ours)", _GRID: "var(--grid)"}


def document(title: str, body: str) -> str:
    """A page that needs no other file. The title is text, the body is HTML."""
    return _SHELL.format(title=html.escape(title), style=_STYLE, body=body)


def picture(draw: Callable[[], Figure], label: str) -> str:
    """A figure as inline SVG, whose text stays text and whose dark colours follow the theme.

    Args:
        draw: makes the figure, see style.new_figure.
        label: what the figure shows, for readers who cannot see it.

    Returns:
        HTML; equal figures give equal HTML.
    """
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": label,
            "grid.color": _GRID,
            "text.color": _INK,
            "axes.edgecolor": _INK,
            "axes.labelcolor": _INK,
            "xtick.color": _INK,
            "ytick.color": _INK,
        }
    ):
        figure = draw()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    width, height = figure.get_size_inches() * 72
    svg = buffer.getvalue()
    svg = svg[svg.index("</style>") :].partition("</defs>")[2]  # everything before is the head
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r"font-family: [^;\"]+", "font-family: inherit", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font: \1 system-ui, sans-serif", svg)
    for colour, themed in _THEMED.items():
        svg = svg.replace(colour, themed)
    # Ids are unique in the page, but every figure has a figure_1.
    prefix = re.sub(r"[^a-z]+", "-", label.lower())
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    head = f'<svg role="img" aria-label="{html.escape(label)}" viewBox="0 0 {width:g} {height:g}"'
    least = round(min(width, 640))
    return f'<div class="wide">{head} style="min-width: {least}px">{svg}</div>'


_SHELL = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""

_STYLE = """
:root { color-scheme: light dark; --ours: #12355b; --ink: #1c2733; --page: #ffffff;
  --faint: #5d6b7a; --grid: #b0b0b0; --line: #dfe5eb; --panel: #f5f7fa; --good: #2f7d4f; }
@media (prefers-color-scheme: dark) {
  :root { --ours: #8ab8ee; --ink: #dbe3ec; --page: #12171d; --faint: #94a3b3;
    --grid: #66727f; --line: #2c3641; --panel: #1a2129; --good: #6cc48f; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page);
  max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3, h4 { line-height: 1.2; margin: 2em 0 0.6em; color: var(--ours); }
h1 { margin-top: 0; }
img { max-width: 100%; height: auto; }
svg { display: block; width: 100%; height: auto; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
svg text { fill: currentColor; }
.wide { overflow-x: auto; }
.faint { color: var(--faint); }
table { border-collapse: collapse; font-size: 13px; width: 100%; margin: 0.6em 0 1.4em; }
th { text-align: left; background: var(--panel); }
th, td { padding: 3px 9px; vertical-align: top; border-bottom: 1px solid var(--line); }
tr.first td { border-top: 2px solid var(--faint); background: var(--panel); }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
summary { cursor: pointer; color: var(--faint); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px;
  margin: 1.2em 0; }
.tile { background: var(--panel); border-radius: 8px; padding: 10px 14px; }
.tile b { display: block; font-size: 24px; line-height: 1.3; color: var(--ours); }
.tile small { color: var(--faint); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(310px, 1fr)); gap: 12px; }
.card { background: var(--panel); border-radius: 8px; padding: 10px 14px; overflow: hidden; }
.card h3 { margin: 0 0 0.3em; font-size: 15px; overflow-wrap: anywhere; }
.card p { margin: 0.2em 0 0.5em; font-size: 13px; }
.card ol { list-style: none; margin: 0.3em 0 0; padding: 0; font-size: 13px; }
.card li { display: flex; gap: 8px; align-items: center; border-top: 1px solid var(--line);
  padding: 2px 0; }
.card li span:first-child { flex: 1; overflow-wrap: anywhere; }
.card li .number { color: var(--faint); }
.hit { color: var(--good); font-weight: 600; }
@media print { .card, svg { break-inside: avoid; } }
"""
