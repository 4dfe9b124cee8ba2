"""Codes beside baselines on other public data: the table of docs/results.md.

    python -m benchmarks.quality.others lastfm FOLDER
    python -m benchmarks.quality.others lastfm FOLDER --set trials=1 --code-lengths 64

FOLDER/<name>.csv has the columns user and item and, where it is known, time; each pair occurs once.
SETS names the file that it is made from. Each run adds a JSON line to
benchmarks/results/others.jsonl.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.harness import machine
from hashgcn import models, settings
from hashgcn.data import read_interactions

RESULTS = machine.RESULTS / "others.jsonl"


@dataclass(frozen=True)
class Source:
    """Where a data set comes from.

    Attributes:
        title: its name in tables.
        repository, path: a public repository, and the file in it.
        pairs: which of its rows became pairs, and of which users.
        split: how test pairs were chosen, see read_interactions.
        held_out: whether the set was left aside until what trials try was settled.
    """

    title: str
    repository: str
    path: str
    pairs: str
    split: str = "random"
    held_out: bool = False


SETS = {
    "lastfm": Source(
        "Last.fm, artists",
        *("gusye1234/LightGCN-PyTorch", "data/lastfm/data1.txt and test1.txt"),
        "both files together; users of 5 items and more",
    ),
    "ml-100k": Source(
        "MovieLens 100K, all ratings",
        *("the package recbole", "recbole/dataset_example/ml-100k/ml-100k.inter"),
        "all",
    ),
    "foursquare_nyc": Source(
        "Foursquare, check-ins",
        *("tanloc49/SEP-GCN", "data/nyc/{train,test}.txt, with their time files"),
        "all; users of 5 items and more",
    ),
    "steam": Source(
        "Steam, purchases",
        *("caserec/Datasets-for-Recommender-Systems", "Processed Datasets/Steam/steam.zip"),
        "all; users of 3 items and more",
    ),
    "movietweetings": Source(
        "MovieTweetings, ratings",
        *("RodolfoViana/MovieTweetings", "snapshots/100K/ratings.dat"),
        "all; users of 3 items and more",
        split="time",
    ),
    "amazon_grocery": Source(
        "Amazon groceries, reviews",
        *("THUIR/ReChorus", "data/Grocery_and_Gourmet_Food/train.csv"),
        "all of the train part; users of 3 items and more",
        split="last",
    ),
    "msweb": Source(
        "Microsoft's website, areas",
        *("mhahsler/recommenderlab", "Work/data/MSWeb/anonymous-msweb.data"),
        "all; users of 3 items and more",
    ),
    "citeulike_a": Source(
        "CiteULike, papers",
        *("js05212/citeulike-a", "users.dat"),
        "all; users of 5 items and more",
    ),
    "kuairand": Source(
        "KuaiRand, videos",
        *("StupidThree/SIGformer", "data/KuaiRand/{train,valid,test}.txt"),
        "all; users of 3 items and more",
        held_out=True,
    ),
    "tafeng": Source(
        "Ta Feng, baskets",
        *("AllminerLab/Code-for-BPCL-master", "data/tafeng/train.txt"),
        "the train part; users of 5 items and more",
        split="last",
        held_out=True,
    ),
    "coco_late": Source(
        "COCO, online courses",
        *("giacoballoccu/CoCo-Educational-Recommendation-Dataset", "preprocessed/{valid,test}.txt"),
        "valid.txt and test.txt; users of 3 items and more",
        split="time",
        held_out=True,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=SETS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--code-lengths", default="64,128")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ease-items", type=int, default=10_000)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    path, source = options.folder / f"{options.name}.csv", SETS[options.name]
    with path.open(encoding="utf-8") as file:
        time = "time" if "time" in file.readline().strip().split(",") else None
    data = read_interactions(path, user="user", item="item", time=time, split=source.split)
    changed = settings.from_text(options.set, models.fields(models.RecallHash.network))
    found = models.compare(
        data,
        code_lengths=[int(x) for x in options.code_lengths.split(",")],
        seed=options.seed,
        most_ease_items=options.ease_items,
        settings=changed,
    )
    train = data.train
    line = {
        "data": options.name,
        "shape": [train.num_users, train.num_items, train.num_pairs],
        "seed": options.seed,
        "settings": changed,
        **found.to_json(),
        "threads": options.threads,
        **machine.describe(),
        "versions": machine.core_versions(),
        "commit": machine.commit(),
        "date": machine.today(),
    }
    print(found.verdict, flush=True)
    with options.results.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
