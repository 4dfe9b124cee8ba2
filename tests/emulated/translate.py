"""Rewrites what C++ does not have in a CUDA source: launches and shared memory.

    python translate.py SOURCE TARGET

    kernel<<<grid, block>>>(x);      emulate_launch("kernel", [&] { kernel(x); }, grid, block);
    __shared__ float a[4], b;        each thread of a block asks for the block's variable
    extern __shared__ float c[];     likewise, the launch's dynamic shared memory

Lines stay where they are.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

BRACKETS = {"(": ")", "[": "]", "{": "}"}
SHARED = re.compile(r"(?:alignas\((?P<align>\w+)\)\s+)?(?P<extern>extern\s+)?__shared__\s+([^;]*);")
KERNEL = re.compile(r"(\w+)(<[^;{}()]*>)?$")


def closing(text: str, at: int) -> int:
    """Position behind the bracket that closes the one at `at`."""
    wanted = [BRACKETS[text[at]]]
    while wanted:
        at += 1
        if text[at] in BRACKETS:
            wanted.append(BRACKETS[text[at]])
        elif text[at] == wanted[-1]:
            wanted.pop()
        elif text[at] in BRACKETS.values():
            raise ValueError(f"expected {wanted[-1]!r} in {text[:at]!r}")
    return at + 1


def split(text: str) -> list[str]:
    """Parts between commas that stand in no brackets."""
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] in BRACKETS:
            at = closing(text, at)
            continue
        if text[at] == ",":
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def shared(match: re.Match) -> str:
    declaration = re.fullmatch(r"(.*?)(\w+\s*(?:\[.*|,.*)?)", match[3], re.S)
    base, names = declaration[1].strip(), split(declaration[2])
    if match["extern"]:
        name = names[0].strip().removesuffix("[]")
        made = [f"{base}* const {name} = static_cast<{base}*>(emulated::dynamic_shared());"]
    else:
        made = []
        for declarator in names:
            name, sizes = re.fullmatch(r"\s*(\w+)\s*(.*?)\s*", declarator, re.S).groups()
            align = f", {match['align']}" if match["align"] else ""
            made.append(
                f"static const char {name}_key = 0; "
                f"auto& {name} = emulated::shared<{base}{sizes}{align}>(&{name}_key);"
            )
    return " ".join(made).replace("\n", " ") + "\n" * match[0].count("\n")


def launches(text: str) -> str:
    out = ""
    while (at := text.find("<<<")) >= 0:
        kernel = KERNEL.search(text, 0, at)
        end = text.index(">>>", at)
        arguments_end = closing(text, end + 3)
        configuration, arguments = text[at + 3 : end], text[end + 3 : arguments_end]
        out += (
            f'{text[: kernel.start()]}emulate_launch("{kernel[0]}", '
            f"[&] {{ {kernel[0]}{arguments}; }}, {configuration})"
        )
        text = text[arguments_end:]
    return out + text


def translate(text: str) -> str:
    return launches(SHARED.sub(shared, text))


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(f'#line 1 "{source}"\n{translate(source.read_text())}')
