"""How items fare whose codes come from Recommender.fold_in_items: the table of docs/recipes.md.

    python -m benchmarks.quality.compare_new_items gowalla DATA --epochs 2
    python -m benchmarks.quality.compare_new_items sample

A tenth of the items is left out of training. Their codes are made from some of their train users,
drawn at random, or from all of them, and are added to those of that model; for comparison they also
get codes from a model that was trained with all of their train users. Recall@50 is that of the test
pairs of these items, for the users who have such pairs: among these items alone, and among all.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import numpy as np

from benchmarks.harness.training import start
from hashgcn import metrics
from hashgcn.data import Interactions, load
from hashgcn.data.cold import ColdRule
from hashgcn.models import RecallHash
from hashgcn.retrieval import HammingIndex, Recommender


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="name of the data set")
    parser.add_argument("root", nargs="?", help="folder that contains its folder")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--users", type=int, help="number of users that are kept, at random")
    parser.add_argument("--first", type=int, nargs="+", default=[3, 10])
    options = parser.parse_args()
    data = load(options.name, options.root)
    train, test = data.train, data.test
    if options.users is not None:
        kept = np.sort(np.random.default_rng(0).permutation(train.num_users)[: options.users])
        train, test = train.of_users(kept), test.of_users(kept)
    held = np.zeros(train.num_items, bool)
    held[np.random.default_rng(0).permutation(train.num_items)[: train.num_items // 10]] = True
    model = RecallHash(epochs=options.epochs, validation_fraction=0)
    network = model.settings.network
    wanted = test.where(held[test.ids])
    users = np.flatnonzero(wanted.degrees())

    def trained(part: Interactions) -> Recommender:
        loop = start(model, part, "refit")
        loop.run_epochs(options.epochs)
        user_codes, items = (words.numpy() for words in loop.network.codes(loop.graph))
        index = HammingIndex(
            items,
            code_length=network.code_length,
            ids=np.arange(len(items)),
            popularity_bits=network.num_popularity_bits,
        )
        return Recommender(user_codes, np.arange(len(user_codes)), index, part)

    def show(name: str, first: int | None, find: Callable[[np.ndarray | None], np.ndarray]) -> None:
        row: dict[str, object] = {"data": options.name, "codes": name, "first users": first}
        for among, allow in (("new items", np.flatnonzero(held)), ("all items", None)):
            found = metrics.evaluate_rankings(find(allow), users, wanted, (50,))
            row[among] = round(found["recall@50"], 4)
        print(json.dumps(row), flush=True)

    rest, new = trained(train.where(~held[train.ids])), train.where(held[train.ids])
    for first in (*options.first, None):
        own = new if first is None else _some_of_each(new, first)
        items = np.flatnonzero(own.popularity())
        recommender = Recommender(rest.user_codes, rest.user_ids, rest.index, rest.seen)
        recommender.remove(np.flatnonzero(held))
        recommender.add_from([own.users()[own.ids == item] for item in items], items)

        def by_codes(
            allow: np.ndarray | None, recommender: Recommender = recommender
        ) -> np.ndarray:
            found = recommender.recommend(users, 50, allow=allow, ignore_unknown=True)
            return found.ids

        def popular(allow: np.ndarray | None, recommender: Recommender = recommender) -> np.ndarray:
            seen = recommender.seen.of_users(users)
            mask = None
            if allow is not None:
                mask = np.isin(recommender.index.ids, allow)
            rows = ColdRule(recommender.seen).popular(50, seen, mask)[0]
            return recommender.index.ids_of(rows)

        show("fold_in_items", first, by_codes)
        show("popularity", first, popular)
    whole = trained(train)
    show("trained", None, lambda allow: whole.recommend(users, 50, allow=allow).ids)


def _some_of_each(pairs: Interactions, count: int) -> Interactions:
    """At most so many users of each item, drawn at random."""
    draw = np.random.default_rng(1).random(pairs.num_pairs)
    order = np.lexsort((draw, pairs.ids))
    items = pairs.ids[order]
    place = np.arange(len(items)) - np.searchsorted(items, items)
    chosen = np.zeros(len(items), bool)
    chosen[order[place < count]] = True
    return pairs.where(chosen)


if __name__ == "__main__":
    main()
