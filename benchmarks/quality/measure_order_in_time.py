"""Whether a public split is in order of time: the figures of docs/results.md.

    python -m benchmarks.quality.measure_order_in_time gowalla DATA

Prints Recall@50 of a ranking by popularity on a tenth of each user's train items that is held out,
the first of the list, a random one and the last, and on test. If the lists are in order of time and
test is their end, the values move from the first tenth to the last and on to test.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from hashgcn.data import Dataset, load
from hashgcn.evaluate import evaluate_popularity


def main() -> None:
    data = load(*sys.argv[1:3])
    train = data.train
    if train.order is None:
        raise SystemExit(f"{data.name}: expected train items in the order of their lists")
    reversed_train = replace(train, order=-train.order)
    parts = {
        "first tenth": reversed_train.split(0.1, 0, "last"),
        "random tenth": train.split(0.1, 0),
        "last tenth": train.split(0.1, 0, "last"),
        "test": (train, data.test),
    }
    for name, (kept, held) in parts.items():
        # Rows are numbered again, by popularity without what is held out.
        pairs = ((part.users(), part.ids) for part in (kept, held))
        found = evaluate_popularity(Dataset.from_pairs(name, *pairs), (50,))
        print(f"{name}: {found['recall@50']:.4f}")


if __name__ == "__main__":
    main()
