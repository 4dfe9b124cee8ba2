"""What users' bits are worth: one trained model, ranked with coarser and finer users.

    python -m benchmarks.quality.compare_users gowalla DATA --set user_levels=2
    python -m benchmarks.quality.compare_users sample --set validation_part=random --epochs 3

The model is trained without a tenth of each user's items, the last ones in time, and then ranks
these: by its own codes, by users of 1, 2, 4 and 8 levels that are made of the same embeddings, by
real-valued users against the items' bits, and by real-valued rows on both sides. Test is not looked
at.
"""

from __future__ import annotations

import argparse
import json

import torch
from torch import Tensor

from benchmarks.harness.training import start
from hashgcn import settings
from hashgcn.data import load
from hashgcn.evaluate import evaluate
from hashgcn.evaluate.rankings import HammingRanking, Ranking, RealRanking
from hashgcn.models import RecallHash, fields
from hashgcn.nn.layers import standard_deviation
from hashgcn.nn.signs import SignSwish
from hashgcn.ops import pack_codes, pack_levels, unpack_codes
from hashgcn.train.loop import Loop

CUTOFFS = (20, 50)
LAST_THRESHOLD = 1.5  # standard deviations, from which on a user's weight is the largest one


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="name of the data set")
    parser.add_argument("root", nargs="?", help="folder that contains its folder")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    changed = settings.from_text(options.set, fields(RecallHash.network))
    model = RecallHash(**{"epochs": options.epochs, "validation_part": "last"} | changed)
    loop = start(model, load(options.name, options.root).train, "selection")
    assert loop.held_out is not None
    for epoch in range(options.epochs):
        for step, batch in enumerate(loop.network.batches(loop.graph, epoch)):
            loop.position.epoch, loop.position.step = epoch, step
            loop.step(batch)
    made_with = {name: model.settings.as_set()[name] for name in changed}
    for users, ranking in rankings(loop).items():
        found = evaluate(ranking, loop.part, loop.held_out, CUTOFFS)
        line = {"data": options.name, "settings": made_with, "users": users, **found}
        print(json.dumps(line), flush=True)


@torch.no_grad()
def rankings(loop: Loop) -> dict[str, Ranking]:
    """The model's rankings by what users are."""
    network, graph = loop.network, loop.graph
    s = network.settings
    users, items = network.embeddings(graph)
    unit = standard_deviation(users, items)
    words = network.codes(graph)[1]
    codes = unpack_codes(words, s.code_length)
    own = network.hash.graded(users, unit, 1.0)

    def with_popularity(rows: Tensor) -> Tensor:
        """Popularity keeps its share: its weight is to the mean size of others as in training."""
        share = s.bit_weight / own.abs().mean() * rows.abs().mean()
        return torch.cat([rows, rows.new_full((len(rows), s.num_popularity_bits), share)], 1)

    found: dict[str, Ranking] = {"as trained": network.ranking(graph, "codes")}
    for levels in (1, 2, 4, 8):
        graded = with_popularity(SignSwish(levels).graded(users, unit, 1.0))
        taste, largest = graded[:, : s.taste_bits], 2 * levels - 1
        # The odd weight nearest to what keeps the share.
        weight = 2 * round((graded[0, -1].item() - 1) / 2) + 1 if s.num_popularity_bits else 1
        graded[:, s.taste_bits :] = min(max(weight, 1), largest)
        graded[:, : s.taste_bits] = taste
        found[f"{levels} levels"] = HammingRanking(
            pack_codes(graded) if levels == 1 else pack_levels(graded, levels), words, s.code_length
        )
    clipped = (users / unit).clamp(-LAST_THRESHOLD, LAST_THRESHOLD)
    found["real-valued"] = RealRanking(with_popularity(clipped), codes)
    both = torch.cat([items / unit, codes[:, s.taste_bits :]], 1)
    found["real-valued, items too"] = RealRanking(with_popularity(users / unit), both)
    return found


if __name__ == "__main__":
    main()
