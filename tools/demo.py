"""`make demo`: train, compare with simple baselines, show recommendations and the picture."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import hashgcn
from hashgcn.cli.tables import metrics_table
from hashgcn.evaluate import evaluate_popularity


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--data")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    data = hashgcn.load(arguments.dataset, arguments.data)
    print(
        f"{data.name}: {data.train.num_users} users, {data.train.num_items} items, "
        f"{data.train.num_pairs} train and {data.test.num_pairs} test pairs"
    )
    shutil.rmtree(arguments.out, ignore_errors=True)
    model = hashgcn.RecallHash(code_length=64).fit(data, run=arguments.out)
    columns = {"popularity": evaluate_popularity(data, model.settings.selection.cutoffs)}
    if data.name == "sample":  # on real data its smooth ranks take many minutes
        baseline = hashgcn.LightGCN(code_length=64).fit(data)
        columns["signs of LightGCN"] = baseline.metrics.test
    columns["RecallHash"] = model.metrics.test
    print("\nTest metrics, 64-bit codes, seen items left out:")
    print(metrics_table(columns))
    m = model.metrics
    print(
        f"\n{m.epochs} epochs in {m.train_seconds:.1f} s, selected in "
        f"{m.selection_seconds:.1f} s; peak memory {m.peak_memory_mb:.0f} MB"
    )
    users = data.user_ids[[0, data.train.num_users // 2, data.train.num_users - 1]]
    ids, _ = model.recommend(users, k=6)
    for user, items in zip(users, ids, strict=True):
        row = data.user_rows([user])[0]
        liked = data.item_ids[data.train.ids[data.train.ptr[row] : data.train.ptr[row + 1]][:6]]
        print(f"\nuser {user} has     {', '.join(map(str, liked))}, ...")
        print(f"     {' ' * len(str(user))} gets    {', '.join(map(str, items))}")
    print(f"\ncurves: {arguments.out / 'curves.png'}")


if __name__ == "__main__":
    main()
