"""Codes and files are what they were: see tests/golden.py."""

from __future__ import annotations

import json

import golden
import pytest
import torch

from hashgcn.estimator import HashRecommender
from hashgcn.retrieval import HammingIndex, Recommender


@pytest.fixture(scope="module")
def values():
    return json.loads((golden.FOLDER / "values.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def same_torch(values):
    version = torch.__version__.partition("+")[0]
    if version != values["torch"]:
        pytest.skip(f"golden codes are of torch {values['torch']}, this is {version}")


def test_trained_codes(values, same_torch):
    assert golden.in_plain_process("codes()") == values["trained"]


def test_a_run_goes_on_from_a_golden_checkpoint(values, same_torch):
    path = golden.FOLDER / "checkpoint.safetensors"
    got = golden.in_plain_process(f"resumed(pathlib.Path({str(path)!r}))")
    assert got == values["trained"]["recallhash, signswish"]["codes"]


def test_golden_files_are_read(values):
    index = HammingIndex.load(golden.FOLDER / "index.hgx")
    recommender = Recommender.load(golden.FOLDER / "recommender.safetensors")
    estimator = HashRecommender.load(golden.FOLDER / "estimator.safetensors")
    assert golden.answers(index, recommender, estimator) == values["answers"]
