"""What the tables hold: the published figures, and our rows with their methods and settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hashgcn.levels import LEVELS

GROUPS = ("table", "curve", "ablation")
METRICS = ("recall@50", "recall@100", "ndcg@50", "ndcg@100")
CUTOFFS = (20, 50, 100)  # of the metrics that results hold
POPULARITY = "popularity"  # the same ranking for all users, which a method has to beat
# Names of methods in tables.
METHODS = {
    "recall_hash": "RecallHash",
    "lightgcn": "LightGCN",
    "bgch": "BGCH",
    "hashgnn": "HashGNN",
    "hashrec": "HashRec",
    POPULARITY: "Popularity",
}


@dataclass(frozen=True)
class DataSet:
    """A data set's name in tables, and its numbers of users, items, train and test pairs."""

    title: str
    counts: tuple[int, int, int, int] | None = None


DATA_SETS = {
    "gowalla": DataSet("Gowalla", (29_858, 40_981, 810_128, 217_242)),
    "yelp2018": DataSet("Yelp2018", (31_668, 38_048, 1_237_259, 324_147)),
    "sample": DataSet("generated sample"),
}

# METRICS of hash codes by method and data set; their code length is not stated. Source: Luo and Wu,
# "Optimizing Recall in Deep Graph Hashing Framework for Item Retrieval", AAAI-24 student abstract.
PUBLISHED = {
    "Proposed": {
        "gowalla": (0.23082, 0.31396, 0.15109, 0.17424),
        "yelp2018": (0.10140, 0.16348, 0.06016, 0.08035),
    },
    "BGCH": {
        "gowalla": (0.19160, 0.26590, 0.12740, 0.14840),
        "yelp2018": (0.08350, 0.13450, 0.05000, 0.06700),
    },
    "HashGNN": {
        "gowalla": (0.09481, 0.15110, 0.05112, 0.06649),
        "yelp2018": (0.04692, 0.08250, 0.02661, 0.03811),
    },
    "HashRec": {
        "gowalla": (0.12060, 0.18930, 0.06160, 0.08100),
        "yelp2018": (0.06307, 0.10995, 0.03590, 0.05134),
    },
}


ABLATION_BASE = "recallhash-64-paper"  # SignSwish and the recall loss
# Users of one level, as items are.
PLAIN: dict[str, Any] = {"user_levels": 1}
# The paper's form: no popularity bits, items without an order in time, one cutoff in the loss.
PAPER: dict[str, Any] = PLAIN | {
    "popularity_bits": 0,
    "recent_fraction": 0.0,
    "train_cutoffs": (50,),
}


@dataclass(frozen=True)
class Row:
    """One method with one set of settings on one data set.

    Attributes:
        id: name of the row, the same on every data set.
        data_set: one of DATA_SETS.
        method: a key of METHODS.
        settings: settings that differ from the method's defaults, without the seed.
        note: what tells the row from others of its method in tables.
        groups: the sections that show it, of GROUPS.
        published: the row of PUBLISHED that it is compared with.
        rankings: the rankings that tables show, one line each, with what that adds to the title.
        seeds: one result per seed; tables give mean and standard deviation over them.
    """

    id: str
    data_set: str
    method: str
    settings: dict[str, Any]
    note: str
    groups: tuple[str, ...]
    published: str | None = None
    rankings: dict[str, str] = field(default_factory=lambda: {"codes": ""})
    seeds: tuple[int, ...] = (0, 1, 2)

    def title(self, ranking: str) -> str:
        name = METHODS[self.method]
        return ", ".join(filter(None, (name, self.note, self.rankings[ranking])))


def rows_of(
    id: str,
    method: str,
    settings: dict[str, Any],
    note: str,
    *groups: str,
    data_sets: Sequence[str] = tuple(DATA_SETS),
    **fields: Any,
) -> list[Row]:
    """The same row on several data sets."""
    return [Row(id, name, method, settings, note, groups, **fields) for name in data_sets]


def _recall_hash(bits: int) -> list[Row]:
    """RecallHash at one code length: the paper's form, then our additions one after the other."""
    forms: dict[str, tuple[dict[str, Any], str]] = {
        f"recallhash-{bits}-paper": (PAPER, "the paper's form"),
        f"recallhash-{bits}-popularity": (PLAIN | {"recent_fraction": 0.0}, "popularity bits"),
        f"recallhash-{bits}": (PLAIN, "popularity bits and recent items"),
    }
    rows = []
    for id, (settings, note) in forms.items():
        groups = ["table", "curve"] if bits == 64 else ["curve"]
        if id == ABLATION_BASE:
            groups.append("ablation")
        rows += rows_of(
            *(id, "recall_hash", {"code_length": bits, **settings}, f"{bits} bits, {note}"),
            *groups,
            published="Proposed",
            seeds=(0, 1, 2) if bits == 64 else (0,),
        )
    return rows


def _graded(bits: int) -> list[Row]:
    """RecallHash with graded users at one code length, and with the signs of these users."""
    return [
        row
        for levels in LEVELS[1:]
        for row in rows_of(
            f"recallhash-{bits}-users-{levels}",
            "recall_hash",
            {"code_length": bits, "user_levels": levels},
            f"{bits} bits, users of {levels} levels",
            *(("table", "curve") if bits == 64 else ("curve",)),
            published="Proposed",
            rankings={"codes": "", "plain_users": "signs of the users"},
            seeds=(0, 1, 2) if bits in (32, 64, 128, 256) else (0,),
        )
    ]


def _ablation(id: str, note: str, **settings: Any) -> list[Row]:
    """ABLATION_BASE, the paper's form at 64 bits, with some settings changed."""
    return rows_of(
        f"recallhash-64-{id}",
        "recall_hash",
        {"code_length": 64, **PAPER, **settings},
        note,
        "ablation",
        data_sets=("gowalla", "sample"),
        seeds=(0,),
    )


def _lightgcn(id: str, note: str, **settings: Any) -> list[Row]:
    """Real-valued LightGCN, and the codes that are made of it."""
    rankings = {"real": "real-valued", "codes": "signs", "itq": "ITQ codes"}
    return rows_of(id, "lightgcn", settings, note, "table", rankings=rankings, seeds=(0,))


# Full softmax instead of recall; these settings were chosen for it.
SOFTMAX: dict[str, Any] = {
    **{"loss": "softmax", "item_bias": False, "temperature": 0.1},
    **{"epochs": 9, "learning_rate": 0.01, "batch_users": 512},
}


def _baselines(bits: int) -> list[Row]:
    """The other published methods at one code length; at 64 bits also with popularity bits."""
    fast: dict[str, Any] = {"code_length": bits, "learning_rate": 0.01, "batch_pairs": 16_384}
    bgch = fast | {"layers": 3, "epochs": 40, "patience": 4}
    settings: dict[str, tuple[str, dict[str, Any]]] = {
        "hashrec": ("hashrec", {"code_length": bits, "learning_rate": 0.01}),
        "hashgnn": ("hashgnn", fast | {"negatives": 4, "epochs": 12, "patience": 3}),
        "bgch": ("bgch", bgch),
        "bgch-mean": ("bgch", bgch | {"form": "mean"}),
    }
    rows = []
    for name, (method, values) in settings.items():
        note = f"{bits} bits" + (", one code" if name == "bgch-mean" else "")
        scaled = {"scaled": "", "codes": "without scalers"}
        rankings = scaled if name == "bgch" else {"codes": ""}
        rows += rows_of(
            f"{name}-{bits}",
            method,
            values,
            note,
            "table",
            published=METHODS[method],
            rankings=rankings,
            seeds=(0,),
        )
        if bits == 64 and name != "bgch":
            rows += rows_of(
                f"{name}-{bits}-popularity",
                method,
                values | {"popularity_bits": 14},
                f"{note}, popularity bits",
                "ablation",
                published=METHODS[method],
                seeds=(0,),
            )
    return rows


CODE_LENGTHS = (16, 32, 48, 64, 96, 128, 256)
ESTIMATORS = ("signswish", "ste", "clipped_ste", "fourier")
LOSSES = ("recall", "ndcg", "softmax", "bpr")

# Settings other than the defaults were chosen on validation parts of train, never on test.
ROWS: tuple[Row, ...] = (
    *(row for bits in CODE_LENGTHS for row in _recall_hash(bits)),
    *(row for bits in CODE_LENGTHS for row in _graded(bits)),
    *rows_of(
        "recallhash-128-28",
        "recall_hash",
        PLAIN | {"code_length": 128, "popularity_bits": 28},
        "128 bits, 28 of them of popularity, and recent items",
        "table",
        published="Proposed",
        seeds=(0,),
    ),
    *_lightgcn("lightgcn-64-recall", "64 numbers and a bias, recall loss"),
    *_lightgcn("lightgcn-64", "64 numbers, softmax", **SOFTMAX, score="user"),
    *_lightgcn(
        "lightgcn-64-layer-0",
        "64 numbers, softmax, layer 0 in the mean",
        **SOFTMAX,
        score="user",
        first_layer=0,
    ),
    *_lightgcn(
        "lightgcn-64-popular-negatives",
        "64 numbers of unit rows, softmax, negatives by popularity",
        **SOFTMAX | {"temperature": 0.12, "batch_users": 256},
        negative_popularity=1.0,
        ranking_score="dot",
    ),
    *_lightgcn(
        "lightgcn-64-for-codes",
        "64 numbers of unit rows, softmax",
        **SOFTMAX | {"temperature": 0.12, "batch_users": 1024},
        selection_ranking="itq",
    ),
    *(row for bits in (32, 64) for row in _baselines(bits)),
    *rows_of("popularity", POPULARITY, {}, "the same ranking for all", "table", seeds=(0,)),
    *(
        row
        for loss in LOSSES
        for estimator in ESTIMATORS
        if (loss, estimator) != ("recall", "signswish")
        for row in _ablation(
            f"{estimator.replace('_', '-')}-{loss}",
            f"{loss} loss, {estimator}",
            loss=loss,
            estimator=estimator,
        )
    ),
    *_ablation("sampled-100", "100 sampled items", sampled_items=100),
    *_ablation("sampled-1000", "1000 sampled items", sampled_items=1000),
    *_ablation("positives-kept", "other positives in the rank", exclude_positives=False),
    *_ablation("linear-rank", "linear rank, tau_rank 50", rank="linear", tau_rank=50.0),
    *_ablation("mean-pairs", "mean over pairs", mean="pairs"),
)


def published(row: Row) -> dict[str, float]:
    """Metrics of the published row that a row is compared with; empty if there is none."""
    values = PUBLISHED.get(row.published or "", {}).get(row.data_set)
    return dict(zip(METRICS, values, strict=True)) if values else {}


def select(names: Iterable[str], data_sets: Iterable[str] = ()) -> list[Row]:
    """Rows by id or group, on some data sets, in the order of ROWS.

    A row that is selected by its groups keeps only the groups that were named.

    Args:
        names: ids and groups; empty for all rows.
        data_sets: names of DATA_SETS; empty for those that have published figures.

    Raises:
        ValueError: an unknown name, or a row that is on none of the data sets.
    """
    names = list(names)
    data_sets = list(data_sets) or list(PUBLISHED["Proposed"])
    for name in data_sets:
        if name not in DATA_SETS:
            raise ValueError(f"data set: expected one of {', '.join(DATA_SETS)}, got {name!r}")
    on_them = [row for row in ROWS if row.data_set in data_sets]
    for name in names:
        if not any(name in (row.id, *row.groups) for row in ROWS):
            groups = ", ".join(GROUPS)
            raise ValueError(f"ROW: expected {groups} or the id of a row (--list), got {name!r}")
        if not any(name in (row.id, *row.groups) for row in on_them):
            raise ValueError(f"ROW: expected a row on {', '.join(data_sets)}, got {name!r}")
    selected = []
    for row in on_them:
        by_group = tuple(group for group in row.groups if group in names)
        if not names or row.id in names:
            selected.append(row)
        elif by_group:
            selected.append(replace(row, groups=by_group))
    return selected


def with_seeds(rows: Iterable[Row], count: int) -> list[Row]:
    """The same rows with seeds 0 to count - 1."""
    return [replace(row, seeds=tuple(range(count))) for row in rows]
