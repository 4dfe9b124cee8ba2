"""The fuzzers' targets on their seeds and a few mutations; `make fuzz` goes on for longer."""

from __future__ import annotations

import random

import pytest
from fuzz_targets import damaged, mutated, read_in_full, targets

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


@pytest.mark.parametrize("rounds", [300, pytest.param(12_000, marks=pytest.mark.slow)])
def test_a_damaged_file_is_refused_or_read_as_it_was(rounds, tmp_path):
    files, rng, path = read_in_full(), random.Random(rounds), tmp_path / "file"
    right, refused = {}, 0
    for name, (content, read) in files.items():
        path.write_bytes(content)
        right[name] = read(path)
    for at in range(rounds):
        name = list(files)[at % len(files)]
        content, read = files[name]
        changed = damaged(content, rng)
        path.write_bytes(changed)
        try:
            found = read(path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
            continue
        same = [a ^ b for a, b in zip(changed, content, strict=False)]
        assert found == right[name], f"{name}: {[x for x in enumerate(same) if x[1]][:9]}"
    print(f"{refused} of {rounds} files refused, the others read as they were")
    assert refused > 0.95 * rounds
