"""What is shown of a phase: a bar within 80 columns, or a line per epoch in a log."""

from __future__ import annotations

import io
import re

import pytest

from hashgcn.train.progress import Progress


class Screen(io.StringIO):
    """A stream that says whether it is a terminal."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def entry(epoch):
    found = {"recall@50": 0.25}
    return {"phase": "selection", "epoch": epoch, "loss": -0.4365123, "validation": found}


def run(monkeypatch, terminal, name="trial 12", shown=True):
    """What two epochs of 400 steps write."""
    screen = Screen(terminal)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("COLUMNS", "80")
    with Progress(name, 8, 400, 0, "recall@50", shown) as bar:
        for epoch in (1, 2):
            bar.update(400)
            bar.end_epoch([entry(x + 1) for x in range(epoch)])
    return screen.getvalue()


def test_a_log_gets_a_line_per_epoch(monkeypatch):
    text = run(monkeypatch, terminal=False)
    assert "\r" not in text
    assert re.sub(r"\d+\.\d s", "T s", text).splitlines() == [
        "trial 12 epoch 1/8: loss=-0.4365, recall@50=0.2500, T s",
        "trial 12 epoch 2/8: loss=-0.4365, recall@50=0.2500, T s",
    ]
    refit = run(monkeypatch, terminal=False, name="refit").splitlines()[0]
    assert refit.startswith("refit epoch 1/8: loss=-0.4365, ") and "recall" not in refit


def test_a_terminal_of_80_columns_shows_the_metric(monkeypatch):
    drawn = run(monkeypatch, terminal=True).split("\r")
    last = drawn[-1].strip("\n")
    assert last.startswith("trial 12 epoch 2/8  25%|") and last.endswith("recall@50=0.2500")
    assert max(map(len, drawn)) <= 80


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_is_shown_unless_it_is_asked_for(monkeypatch, terminal):
    assert run(monkeypatch, terminal, shown=False) == ""
    monkeypatch.setattr("sys.stderr", None)
    with Progress("refit", 1, 1, 0, "recall@50", True) as bar:
        bar.update()
        bar.end_epoch([entry(1)])
