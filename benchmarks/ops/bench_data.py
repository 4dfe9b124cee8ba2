"""Reading a data set's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse

from benchmarks.harness.race import Case, Contender, Work
from hashgcn.data import read_lightgcn


def read_in_python(path: Path) -> scipy.sparse.csr_matrix:
    """Line by line with split and int, then a SciPy CSR, as recommenders' loaders do."""
    users, items = [], []
    with open(path) as lines:
        for line in lines:
            user, *own = map(int, line.split())
            users.extend([user] * len(own))
            items.extend(own)
    return scipy.sparse.csr_matrix((np.ones(len(users)), (users, items)))


def test_read(race, inputs, threads, folder):
    paths = [folder / "train.txt", folder / "test.txt"]

    def counts_agree(mine, theirs) -> str:
        for part, matrix in zip((mine.train, mine.test), theirs, strict=True):
            assert part.num_pairs == matrix.nnz
            assert part.degrees().max() == matrix.getnnz(axis=1).max()
        return "pairs and the longest row equal"

    race(
        Case(
            "data",
            "read train.txt and test.txt",
            {**inputs.shape._asdict(), "bytes": sum(path.stat().st_size for path in paths)},
            Work("the files' bytes read once", sum(path.stat().st_size for path in paths)),
            mode="read",
            dtype="text",
            input=inputs.name,
        ),
        Contender("ours", lambda: read_lightgcn(folder)),
        [
            Contender(
                "Python, line by line, and SciPy CSR",
                lambda: [read_in_python(path) for path in paths],
                check=counts_agree,
                note="no map of raw ids, no checks",
            )
        ],
    )
