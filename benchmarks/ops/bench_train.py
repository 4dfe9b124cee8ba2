"""Wall-clock time of `hashgcn train`, from a data set's files to test metrics. Takes minutes."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import pytest

from benchmarks.harness.race import Case, Contender, Work

pytestmark = pytest.mark.apart

CHOICES = {
    "epochs chosen on a part of train, then a refit": ["--set", "trials=1"],
    "5 epochs, fixed beforehand": ["--set", "validation_fraction=0", "--set", "epochs=5"],
}


@pytest.mark.parametrize("name", CHOICES)
def test_train(race, inputs, folder, threads, name):
    def run() -> None:
        with tempfile.TemporaryDirectory() as out:
            options = ["--out", out, "--quiet", "--threads", str(threads), *CHOICES[name]]
            subprocess.run(
                [sys.executable, "-m", "hashgcn", "train", folder, *options],
                check=True,
                capture_output=True,
            )

    race(
        Case(
            "train",
            name,
            inputs.shape._asdict(),
            Work("none: a whole process, from files to files"),
            mode="command line",
            dtype="text",
            input=inputs.name,
            note="default settings; imports, reading, test metrics and writing included",
        ),
        Contender("ours", run, most_rounds=1),
        [],
    )
