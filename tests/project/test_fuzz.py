"""The fuzzers' targets on their seeds and a few mutations; `make fuzz` goes on for longer."""

from __future__ import annotations

import random

import pytest
from fuzz_targets import mutated, targets

TARGETS = targets()


@pytest.mark.parametrize("name", TARGETS)
def test_files_are_read_rightly_or_refused(name, tmp_path):
    target, rng = TARGETS[name], random.Random(name)
    inputs = [*target.seeds, *(mutated(target.seeds, rng) for _ in range(target.rounds))]
    for content in inputs:
        try:
            target.check(tmp_path, content)
        except BaseException as error:
            raise AssertionError(f"{name}: {content!r}") from error
