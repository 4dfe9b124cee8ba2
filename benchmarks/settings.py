"""What each setting does to the validation metrics, one change from the defaults at a time.

    .venv/bin/python benchmarks/settings.py gowalla DATA >> benchmarks/results/settings.jsonl

Selection runs alone: on a part of train, judged on the rest of train; test is not looked at. One
JSON line a run: the change, its best epoch, metrics there, seconds.
"""

from __future__ import annotations

import json
import sys

import torch

from hashgcn.data import load
from hashgcn.models import RecallHash
from hashgcn.settings import Settings
from hashgcn.training import Trainer

CHANGES = [
    {},
    {"first_layer": 0},
    {"tau_score": 3.5},
    {"batch_users": 512, "learning_rate": 0.02},
    {"train_cutoffs": (50,)},
    {"layers": 4},
    {"tau_score": 2.4},
    {"beta_end": 3.0},
    {"popularity_bits": 10},
    {"popularity_bits": 0, "train_cutoffs": (50,)},
    {"popularity_bits": 0},
    {"rank": "linear", "tau_rank": 50.0},
    {"exclude_positives": False},
    {"mean": "pairs"},
    {"loss": "ndcg"},
    {"loss": "softmax"},
]


def main() -> None:
    name, root = sys.argv[1:]
    data = load(name, root)
    for change in CHANGES:
        settings = Settings(**change)
        trainer = Trainer(
            RecallHash.network, data, settings, torch.device("cpu"), None, progress=False
        )
        trainer.run_phase(settings.epochs)
        epoch = trainer.selected_epochs()
        entry = {
            "data": name,
            "change": change,
            "epoch": epoch,
            "validation": trainer.history("selection")[epoch - 1]["validation"],
            "seconds": round(trainer.position.seconds["selection"], 1),
            "threads": torch.get_num_threads(),
        }
        print(json.dumps(entry), flush=True)


if __name__ == "__main__":
    main()
