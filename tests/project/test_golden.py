"""Codes and files are what they were: see tests/golden.py."""

from __future__ import annotations

import json

import golden
import pytest
import torch

from hashgcn.compat.implicit import HashRecommender
from hashgcn.retrieval import HammingIndex, Recommender


@pytest.fixture(scope="module")
def values():
    return json.loads((golden.FOLDER / "values.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def again(values):
    version = torch.__version__.partition("+")[0]
    if version != values["torch"]:
        pytest.skip(f"golden codes are of torch {values['torch']}, this is {version}")
    return golden.in_plain_process("trained_again()")


def test_trained_codes(values, again):
    assert again["trained"] == values["trained"]


def test_a_run_goes_on_from_a_golden_checkpoint(values, again):
    assert again["resumed"] == values["trained"]["recallhash, signswish"]["codes"]


def test_golden_files_are_read(values):
    index = HammingIndex.load(golden.FOLDER / "index.hgx")
    recommender = Recommender.load(golden.FOLDER / "recommender.safetensors")
    estimator = HashRecommender.load(golden.FOLDER / "estimator.safetensors")
    assert golden.answers(index, recommender, estimator) == values["answers"]
