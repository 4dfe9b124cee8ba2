"""Hooks of mkdocs: formulas become MathML when the site is built, so that no script has to run.

Pages hold formulas as `$...$` and `$$...$$`; pymdownx.arithmatex leaves them as LaTeX in HTML.
"""

from __future__ import annotations

import html
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fontTools import subset
from math_core import LatexToMathML

_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.S)
_LATEX = LatexToMathML()
_characters: set[str] = set()


def on_page_content(content: str, **_: Any) -> str:
    """The page with its formulas as MathML."""

    def mathml(found: re.Match[str]) -> str:
        display = found[2] == "["
        text = _LATEX.convert_with_local_state(html.unescape(found[3]), displaystyle=display)
        _characters.update(html.unescape(text))
        return f'<div class="formula">{text}</div>' if display else text

    return _FORMULA.sub(mathml, content)


def on_post_build(config: Any, **_: Any) -> None:
    """A font with the characters of all formulas and their stretched forms."""
    package = find_spec("ziamath")
    assert package is not None and package.origin is not None
    font = Path(package.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
    out = Path(config.site_dir) / "assets" / "math.woff"
    subset.main(
        [str(font), f"--text={''.join(sorted(_characters))}", f"--output-file={out}"]
        + ["--flavor=woff", "--layout-features=*"]
    )
