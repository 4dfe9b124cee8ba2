"""What a warm start keeps of the codes, and what it finds: the table of docs/training.md.

    python -m benchmarks.quality.compare_starts gowalla DATA --epochs 4 --users 6000 --plans 2:3 1:3
    python -m benchmarks.quality.compare_starts sample --plans 8:1 2:3

A model is fitted to a random 95% of the train pairs. Then models are fitted to all of them: from
random values, and from the first one with other numbers of epochs and learning rates. All of them
are evaluated on test; bits are compared with those of the first model.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from hashgcn.data import Dataset, load
from hashgcn.models import RecallHash
from hashgcn.train.start import Start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="name of the data set")
    parser.add_argument("root", nargs="?", help="folder that contains its folder")
    parser.add_argument("--epochs", type=int, default=8, help="of a fit from random values")
    parser.add_argument("--users", type=int, help="number of users that are kept, at random")
    parser.add_argument(
        "--plans", nargs="+", help="EPOCHS:D of a warm start, its learning rate / D"
    )
    options = parser.parse_args()
    data = load(options.name, options.root)
    if options.users is not None:
        kept = np.sort(np.random.default_rng(0).permutation(len(data.user_ids))[: options.users])
        own, wanted = data.train.of_users(kept), data.test.of_users(kept)
        data = Dataset(options.name, own, wanted, data.user_ids[kept], data.item_ids)
    train = data.train
    old = np.random.default_rng(1).random(train.num_pairs) < 0.95
    pairs = data.user_ids[train.users()[old]], data.item_ids[train.ids[old]]
    nothing = data.user_ids[:0], data.item_ids[:0]
    first = fitted(Dataset.from_pairs(options.name, pairs, nothing), options.epochs, 1.0)
    end = first._end
    assert end is not None  # it was fitted
    fresh = fitted(data, options.epochs, 1.0)
    assert fresh.recommender is not None
    codes = fresh.recommender.user_codes, fresh.recommender.index.codes
    show(
        fresh,
        "random",
        options.epochs,
        1.0,
        Start(end, data.user_ids, data.item_ids).flipped(*codes),
    )
    for plan in options.plans:
        epochs, divisor = plan.split(":")
        warm = fitted(data, int(epochs), float(divisor), first)
        assert warm.metrics is not None and warm.metrics.flipped is not None
        show(warm, "warm", int(epochs), float(divisor), warm.metrics.flipped)


def fitted(
    data: Dataset, epochs: int, divisor: float, start: RecallHash | None = None
) -> RecallHash:
    rate = RecallHash.defaults["learning_rate"] / divisor
    model = RecallHash(epochs=epochs, learning_rate=rate, validation_fraction=0)
    return model.fit(data, start=start, progress=False)


def show(
    model: RecallHash, start: str, epochs: int, divisor: float, flipped: dict[str, float | None]
) -> None:
    assert model.metrics is not None
    recall = round(model.metrics.test["recall@50"], 4)
    row = {"start": start, "epochs": epochs, "learning rate / ": divisor, "recall@50": recall}
    print(json.dumps(row | flipped), flush=True)


if __name__ == "__main__":
    main()
