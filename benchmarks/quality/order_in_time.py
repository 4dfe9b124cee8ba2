"""Whether a public split is in order of time: the figures of docs/reproduction.md.

    .venv/bin/python benchmarks/order_in_time.py gowalla DATA

Recall@50 of a ranking by popularity on a tenth of each user's train items, held out: the first of
their list, a random one, the last; and on test. If lists are in order of time and test is their
end, the values move from the first tenth to the last and on to test.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from hashgcn.data import Dataset, load
from hashgcn.evaluate import protocol as evaluation


def main() -> None:
    data = load(*sys.argv[1:3])
    train = data.train
    turned = replace(train, order=-train.order)
    parts = {
        "first tenth": turned.split(0.1, 0, "last"),
        "random tenth": train.split(0.1, 0),
        "last tenth": train.split(0.1, 0, "last"),
        "test": (train, data.test),
    }
    for name, (kept, held) in parts.items():
        # Rows anew, in the order of popularity without what is held out.
        pairs = ((part.users(), part.ids) for part in (kept, held))
        found = evaluation.popularity_ranking(Dataset.from_pairs(name, *pairs), (50,))
        print(f"{name}: {found['recall@50']:.4f}")


if __name__ == "__main__":
    main()
