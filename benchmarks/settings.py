"""What each setting does to the validation metrics, one change from the defaults at a time.

    .venv/bin/python benchmarks/settings.py gowalla DATA >> benchmarks/results/settings.jsonl

More arguments are names of settings: then only changes of one of them run, and the defaults.

Selection runs alone: without the last fifth of each user's train items, judged on them; test is not
looked at. One JSON line a run: the change, its best epoch, metrics there, seconds.
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
    {"recent_fraction": 0.0},
    {"recent_scale": 0.5},
    {"recent_fraction": 0.05},
    {"recent_fraction": 0.15},
    {"recent_fraction": 0.25},
    {"recent_fraction": 0.25, "recent_scale": 0.5},
    {"recent_fraction": 0.25, "recent_scale": 2.0},
    {"recent_fraction": 0.4},
    {"recent_fraction": 0.4, "recent_scale": 2.0},
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
    name, root, *only = sys.argv[1:]
    data = load(name, root)
    for change in CHANGES:
        if only and change and not change.keys() & set(only):
            continue
        settings = Settings(validation_part="last", validation_fraction=0.2, **change)
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
