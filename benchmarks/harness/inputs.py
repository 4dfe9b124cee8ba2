"""The cases' inputs: Gowalla or interactions of its shape, and random or trained codes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness.machine import ROOT
from benchmarks.harness.shapes import GOWALLA, TINY, Shape, interactions
from hashgcn.data import Dataset, read_lightgcn
from hashgcn.files import load_arrays, save_arrays
from hashgcn.graph import BipartiteGraph
from hashgcn.ops import unpack_codes

CACHE = ROOT / "build" / "benchmarks"  # not in git
EPOCHS = 2  # enough for the skewed distances and the ties of trained codes
FLIPS = 3  # random bits that are flipped in each item of a catalogue of any size
_FORMAT = "hashgcn.benchmark_codes"


def real_data() -> Path:
    """Folder of the real Gowalla, in HASHGCN_DATA or in ../shared/data; it need not exist."""
    return Path(os.environ.get("HASHGCN_DATA", ROOT.parent / "shared" / "data")) / "gowalla"


@dataclass
class Inputs:
    """The data set of a run of the suite and codes for it.

    Attributes:
        quick: tiny sizes, which test the suite and measure nothing.
    """

    quick: bool

    @property
    def shape(self) -> Shape:
        return TINY if self.quick else GOWALLA

    @cached_property
    def is_real(self) -> bool:
        return not self.quick and (real_data() / "train.txt").is_file()

    @property
    def name(self) -> str:
        """Where the interactions come from, for rows."""
        if self.is_real:
            return "gowalla"
        return "generated" if self.quick else "generated, gowalla's counts"

    @cached_property
    def dataset(self) -> Dataset:
        if self.is_real:
            return read_lightgcn(real_data())
        train = interactions(self.shape)
        empty = train.from_pairs([], [], train.num_users, train.num_items)
        ids = np.arange(train.num_users), np.arange(train.num_items)
        return Dataset(self.name, train, empty, *ids)

    @cached_property
    def graph(self) -> BipartiteGraph:
        return self.dataset.train.graph()

    def batch(self, size: int) -> Tensor:
        """User rows of a training step."""
        generator = torch.Generator().manual_seed(0)
        return torch.randperm(self.shape.users, generator=generator)[:size]

    def codes(self, kind: str, bits: int) -> tuple[Tensor, Tensor]:
        """Packed codes of all users and items, `random` or `trained`."""
        if kind == "random":
            return tuple(random_words(n, bits, seed) for seed, n in enumerate(self.shape[:2]))
        return self._trained(bits)

    def signs(self, kind: str, bits: int) -> tuple[Tensor, Tensor]:
        """The same codes as float32 of +1 and -1."""
        return tuple(unpack_codes(words, bits) for words in self.codes(kind, bits))

    def catalogue(self, kind: str, bits: int, items: int, queries: int) -> tuple[Tensor, Tensor]:
        """Packed queries and items, any number of them.

        Of kind "trained", the queries are trained users, and the items are trained items drawn at
        random, of each of which FLIPS random bits are flipped (a bit drawn twice flips back).
        """
        if kind == "random":
            return random_words(queries, bits, 1), random_words(items, bits, 2)
        users, originals = self.codes(kind, bits)
        generator = torch.Generator().manual_seed(3)
        rows = torch.arange(items)
        words = originals[torch.randint(len(originals), (items,), generator=generator)]
        for _ in range(FLIPS):
            bit = torch.randint(bits, (items,), generator=generator)
            words[rows, bit // 64] ^= torch.ones(()).long() << bit % 64
        return users[torch.randint(len(users), (queries,), generator=generator)], words

    def _trained(self, bits: int) -> tuple[Tensor, Tensor]:
        """Codes of RecallHash on the data set; trained once and kept in CACHE."""
        source = self.name.split(",")[0]
        path = CACHE / f"{source}-{self.shape.users}-{bits}-bits-{EPOCHS}-epochs.v3.safetensors"
        if not path.exists():
            # Models need pydantic, which the ops and their benchmarks do without.
            from hashgcn.models import RecallHash

            CACHE.mkdir(parents=True, exist_ok=True)
            plain = {"user_levels": 1, "code_length": bits}
            model = RecallHash(**plain, epochs=EPOCHS, validation_fraction=0)
            recommender = model.fit(self.dataset, progress=False).recommender
            assert recommender is not None
            arrays = {"users": recommender.user_codes, "items": recommender.index.codes}
            save_arrays(path, arrays, {"format": _FORMAT})
        arrays, _ = load_arrays(path, _FORMAT)
        return torch.from_numpy(arrays["users"]), torch.from_numpy(arrays["items"])


def random_words(rows: int, bits: int, seed: int) -> Tensor:
    """Packed random codes, generated in place; zero bits past the code length."""
    generator = torch.Generator().manual_seed(seed)
    words = torch.empty(rows, (bits + 63) // 64, dtype=torch.int64)
    words.random_(-(2**63), None, generator=generator)
    if bits % 64:
        words[:, -1] &= (1 << bits % 64) - 1
    return words


def mask_positives(scores: Tensor, graph: BipartiteGraph, start: int) -> None:
    """Writes -inf to the positives of users start, start + 1, ..., one row of scores each."""
    ptr = graph.user_ptr[start : start + len(scores) + 1]
    row = torch.repeat_interleave(torch.arange(len(scores), device=ptr.device), ptr.diff())
    scores[row, graph.user_items[ptr[0] : ptr[-1]]] = -torch.inf
