"""Tables of the pages that follow from the code or from stored results.

A page holds such a table between `<!-- table: NAME -->` and `<!-- end of table -->`. `make docs`
runs `python docs/tables.py`, which brings all of them up to date; a test compares them.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, get_args, get_origin

from scipy.stats import ttest_ind

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.harness import rows as speed_rows  # noqa: E402
from benchmarks.quality import others as other_data  # noqa: E402
from benchmarks.quality import sweep  # noqa: E402
from benchmarks.quality.rows import CODE_LENGTHS, DATA_SETS, METRICS, PUBLISHED  # noqa: E402
from hashgcn.models import METHODS, fields  # noqa: E402
from hashgcn.train.settings import SelectionSettings, TrainSettings  # noqa: E402

PAGES = sorted(
    [ROOT / "README.md", *(path for path in (ROOT / "docs").rglob("*.md"))], key=lambda p: p.name
)
RESULTS = ROOT / "benchmarks" / "results"
MARKED = re.compile(r"(<!-- table: (.+?) -->\n)(.*?)(<!-- end of table -->)", re.S)
ALL_METRICS = tuple(f"{name}@{k}" for name in ("recall", "ndcg") for k in (20, 50, 100))
CEILING = ("lightgcn-64-recall", "real")


def update(text: str) -> str:
    """The text of a page with its tables as they are now."""
    return MARKED.sub(lambda found: f"{found[1]}\n{TABLES[found[2]]()}\n\n{found[4]}", text)


def table(header: Sequence[str], lines: Sequence[Sequence[str]], right: int = 1) -> str:
    """Markdown; columns from `right` on are aligned to the right."""
    rule = ["---:" if at >= right else "---" for at in range(len(header))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *lines))


# Settings


def settings_table(names: dict[str, Any], defaults: dict[str, Any]) -> str:
    lines = []
    for name, field in names.items():
        default = defaults.get(name, field.default)
        text = str(field.description).replace("|", "\\|")
        lines.append([f"`{name}`", _value(default), _range(field), text])
    return table(["setting", "default", "range", "meaning"], lines, right=4)


def settings_of(method: str) -> str:
    """What a method has of its own, and common settings whose default is another."""
    model = METHODS[method]
    known = fields(model.network)
    defaults = model.defaults | {"tune": tuple(model.tunes)}
    common = TrainSettings.model_fields | SelectionSettings.model_fields
    names = [
        name
        for name, field in known.items()
        if name not in common or defaults.get(name, field.default) != field.default
    ]
    return settings_table({name: known[name] for name in names}, defaults)


def _value(value: Any) -> str:
    if value is None:
        return "automatic"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _range(field: Any) -> str:
    """The values that a setting takes, as an interval or a list."""
    literals = _literals(field.annotation)
    if literals:
        return ", ".join(f"`{x}`" for x in literals)
    if field.annotation is bool:
        return "true, false"
    bounds = {
        name: getattr(part, name)
        for part in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if getattr(part, name, None) is not None
    }
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    texts = [f"{signs[name]} {bounds[name]}" for name in ("ge", "gt", "le", "lt") if name in bounds]
    return ", ".join(texts).replace("4294967296", "2³²")


def _literals(annotation: Any) -> list[str]:
    parts = get_args(annotation)
    if type(None) in parts:  # Literal[...] | None
        annotation = parts[0]
        parts = get_args(annotation)
    if get_origin(annotation) is not None and all(isinstance(part, str) for part in parts):
        return list(parts)
    return []


# Quality


def others(metric: str) -> str:
    """Codes beside baselines on other data, and what share of the best baseline they reach."""
    names = ("popularity", "ItemKNN", "EASE", "ALS", "LightGCN", "codes 64", "codes 128")
    baselines = names[:5]
    shares: dict[str, list[float]] = {name: [] for name in names[5:]}
    lines = []
    for line in map(json.loads, (RESULTS / "others.jsonl").read_text("utf-8").splitlines()):
        if line["settings"]:
            continue
        source = other_data.SETS[line["data"]]
        users, items, pairs = line["shape"]
        found = {row["name"]: row["test"][metric] for row in line["rows"]}
        best = max(found[name] for name in baselines if name in found)
        texts = [f"{found[name]:.3f}" if name in found else "" for name in names]
        of_best = {name: found[name] / best for name in shares}
        for name, share in of_best.items():
            shares[name].append(share)
        lines.append(
            [
                f"*{source.title}*" if source.held_out else source.title,
                f"{users:,} × {items:,}",
                f"{pairs / users:.0f}",
                *texts,
                *(f"{share:.0%}" for share in of_best.values()),
            ]
        )
    means = (f"{statistics.mean(of_all):.0%}" for of_all in shares.values())
    lines.append(["mean", *[""] * 9, *means])
    header = ["data", "users × items", "items per user", *names, "64 of best", "128 of best"]
    return table(header, lines, right=1)


@cache
def results(data_set: str) -> dict[str, list[dict[str, Any]]]:
    """Stored results by row, one per seed."""
    found: dict[str, list[dict[str, Any]]] = {}
    path = RESULTS / "quality" / f"{data_set}.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        result = json.loads(line)
        found.setdefault(result["row"], []).append(result)
    return found


def figures(data_set: str, row: str, ranking: str = "codes") -> dict[str, float] | None:
    """Mean test metrics over seeds, None if there is no result."""
    found = results(data_set).get(row)
    if not found:
        return None
    tests = [r["test"] if ranking == "codes" else r["rankings"][ranking] for r in found]
    return {metric: statistics.fmean(test[metric] for test in tests) for metric in ALL_METRICS}


def bytes_per_item(data_set: str, row: str, ranking: str) -> str:
    found = results(data_set)[row][0]["bytes_per_item"]
    return str(found[ranking]) if ranking in found else "0"


def heading(metric: str) -> str:
    name, cutoff = metric.split("@")
    return f"{name[0].upper()}@{cutoff}"


def cells(values: dict[str, float] | None, metrics: Sequence[str]) -> list[str]:
    return [f"{values[metric]:.4f}" if values else "" for metric in metrics]


METHOD_ROWS = (
    ("Popularity", "popularity", "codes"),
    ("HashRec", "hashrec-64", "codes"),
    ("HashGNN", "hashgnn-64", "codes"),
    ("BGCH, a code per layer and scales", "bgch-64", "scaled"),
    ("BGCH, one code", "bgch-mean-64", "codes"),
    ("LightGCN, signs of its embeddings", "lightgcn-64-recall", "codes"),
    ("LightGCN, ITQ", "lightgcn-64-recall", "itq"),
    ("RecallHash as in the paper", "recallhash-64-paper", "codes"),
    ("RecallHash with popularity bits", "recallhash-64-popularity", "codes"),
    ("RecallHash with popularity bits and recent items", "recallhash-64", "codes"),
    ("RecallHash, default settings, signs of its users", "recallhash-64-users-2", "plain_users"),
    ("**RecallHash, default settings: graded users too**", "recallhash-64-users-2", "codes"),
    ("LightGCN, real-valued", *CEILING),
)


def methods(data_set: str, chosen: Sequence[int] | None = None) -> str:
    lines = []
    rows = METHOD_ROWS if chosen is None else [METHOD_ROWS[at] for at in chosen]
    for title, row, ranking in rows:
        seeds = len(results(data_set)[row])
        size = bytes_per_item(data_set, row, ranking)
        lines.append(
            [title, size, str(seeds), *cells(figures(data_set, row, ranking), ALL_METRICS)]
        )
    return table(["method", "bytes per item", "seeds", *map(heading, ALL_METRICS)], lines)


PUBLISHED_ROWS = {
    "Proposed": (
        ("RecallHash as in the paper, 64 bits", "recallhash-64-paper", "codes"),
        ("RecallHash as in the paper, 128 bits", "recallhash-128-paper", "codes"),
        ("RecallHash, 32 bits, users of one level", "recallhash-32", "codes"),
        ("RecallHash, 64 bits, users of one level", "recallhash-64", "codes"),
        ("RecallHash, 64 bits", "recallhash-64-users-2", "codes"),
    ),
    "BGCH": (
        ("BGCH, 4 codes of 16 bits with scales", "bgch-64", "scaled"),
        ("BGCH, one code of 32 bits", "bgch-mean-32", "codes"),
        ("BGCH, one code of 64 bits", "bgch-mean-64", "codes"),
        ("BGCH, one code of 64 bits with popularity bits", "bgch-mean-64-popularity", "codes"),
    ),
    "HashGNN": (
        ("HashGNN, 32 bits", "hashgnn-32", "codes"),
        ("HashGNN, 64 bits", "hashgnn-64", "codes"),
    ),
    "HashRec": (
        ("HashRec, 32 bits", "hashrec-32", "codes"),
        ("HashRec, 64 bits", "hashrec-64", "codes"),
        ("HashRec, 64 bits with popularity bits", "hashrec-64-popularity", "codes"),
    ),
}


def published(data_set: str) -> str:
    lines = []
    for name, rows in PUBLISHED_ROWS.items():
        printed = dict(zip(METRICS, PUBLISHED[name][data_set], strict=True))
        title = "the paper's method" if name == "Proposed" else name
        lines.append([f"**Printed: {title}**", *(f"**{printed[m]:.4f}**" for m in METRICS)])
        for title, row, ranking in rows:
            found = figures(data_set, row, ranking)
            if found:
                lines.append([title, *(_compared(found[m], printed[m]) for m in METRICS)])
    return table(["", *map(heading, METRICS)], lines)


def _compared(value: float, printed: float) -> str:
    return f"{value:.4f} ({100 * (value / printed - 1):+.1f}%)"


def code_length(data_set: str) -> str:
    forms = {"-paper": "as in the paper", "": "users of one level", "-users-2": "default"}
    columns = [(form, metric) for form in forms for metric in ("recall@50", "ndcg@50")]
    lines = []
    for bits in CODE_LENGTHS:
        cell = [cells(figures(data_set, f"recallhash-{bits}{f}"), [m])[0] for f, m in columns]
        lines.append([f"{bits} bits", str(8 * -(-bits // 64)), *cell])
    ceiling = cells(figures(data_set, *CEILING), ("recall@50", "ndcg@50"))
    lines.append(["real-valued", bytes_per_item(data_set, *CEILING), *[""] * 4, *ceiling])
    header = [f"{forms[form]}, {heading(metric)}" for form, metric in columns]
    return table(["code", "bytes per item", *header], lines)


def long_codes() -> str:
    rows = (
        ("128 bits, 16 of popularity (default)", "recallhash-128"),
        ("128 bits, 28 of popularity", "recallhash-128-28"),
        ("256 bits, 16 of popularity (default)", "recallhash-256"),
    )
    return _by_data_set(rows, ("recall@50", "ndcg@50"))


STEPS = (
    ("as in the paper", "recallhash-64-paper"),
    ("and popularity bits", "recallhash-64-popularity"),
    ("and recent items", "recallhash-64"),
    ("and graded users", "recallhash-64-users-2"),
)


def contributions(data_set: str) -> str:
    """RecallHash at 64 bits with one part added at a time, and what the part changed."""
    metrics = ("recall@20", "recall@50", "ndcg@20", "ndcg@50")
    lines, before = [], None
    for title, row in STEPS:
        found = {m: [r["test"][m] for r in results(data_set)[row]] for m in metrics}
        cell = [_change(found[m], before[m] if before else None) for m in metrics]
        lines.append([title, *cell])
        before = found
    return table(["RecallHash, 64 bits", *map(heading, metrics)], lines)


def _change(values: list[float], before: list[float] | None) -> str:
    """A mean over seeds, and its change in percent with its 95% interval (Welch)."""
    mean = statistics.fmean(values)
    if before is None:
        return f"{mean:.4f}"
    base = statistics.fmean(before)
    low, high = ttest_ind(values, before, equal_var=False).confidence_interval(0.95)
    middle, half = (100 * x / base for x in (mean - base, (high - low) / 2))
    noise = ", within noise" if low <= 0 <= high else ""
    return f"{mean:.4f} ({middle:+.1f} ± {half:.1f}%{noise})"


def popularity_bits() -> str:
    rows = (
        ("HashRec, 64 bits", "hashrec-64"),
        ("HashRec with popularity bits", "hashrec-64-popularity"),
        ("BGCH, one code of 64 bits", "bgch-mean-64"),
        ("BGCH with popularity bits", "bgch-mean-64-popularity"),
        ("RecallHash as in the paper, 64 bits", "recallhash-64-paper"),
        ("RecallHash with popularity bits", "recallhash-64-popularity"),
    )
    return _by_data_set(rows, ("recall@50", "ndcg@50"))


def _by_data_set(rows: Sequence[tuple[str, ...]], metrics: Sequence[str]) -> str:
    """Rows of a title, a row and perhaps a ranking, with the columns of both data sets."""
    data_sets = ("gowalla", "yelp2018")
    lines = [
        [title, *(text for d in data_sets for text in cells(figures(d, *row), metrics))]
        for title, *row in rows
    ]
    header = [f"{DATA_SETS[d].title} {heading(m)}" for d in data_sets for m in metrics]
    return table(["", *header], lines)


def losses(metric: str) -> str:
    names = {
        "recall": "smooth recall",
        "ndcg": "smooth NDCG",
        "softmax": "softmax",
        "bpr": "BPR, all pairs",
    }
    gradients = {
        "signswish": "SignSwish",
        "clipped-ste": "clipped straight-through",
        "fourier": "Fourier series",
        "ste": "straight-through",
    }
    lines = []
    for gradient, title in gradients.items():
        line = [title]
        for loss in names:
            base = (gradient, loss) == ("signswish", "recall")
            row = "recallhash-64-paper" if base else f"recallhash-64-{gradient}-{loss}"
            line += cells(figures("gowalla", row), [metric])
        lines.append(line)
    return table(["gradient", *names.values()], lines)


def variations() -> str:
    rows = (
        ("All items, log rank, mean over users (as in the paper)", "recallhash-64-paper"),
        ("1000 sampled items per user and step", "recallhash-64-sampled-1000"),
        ("100 sampled items per user and step", "recallhash-64-sampled-100"),
        ("The user's other items counted in a rank", "recallhash-64-positives-kept"),
        ("Linear rank, `tau_rank` 50", "recallhash-64-linear-rank"),
        ("Mean over pairs", "recallhash-64-mean-pairs"),
    )
    lines = [[title, *cells(figures("gowalla", row), METRICS)] for title, row in rows]
    return table(["variation", *map(heading, METRICS)], lines)


def lightgcn() -> str:
    rows = (
        ("Recall loss, 64 numbers and a bias", "lightgcn-64-recall", "real"),
        ("Softmax, 64 numbers", "lightgcn-64", "real"),
        ("Softmax, 64 numbers, layer 0 in the mean", "lightgcn-64-layer-0", "real"),
    )
    # Of 64 numbers and 3 layers: the README of gusye1234/LightGCN-PyTorch.
    literature = "| LightGCN as published | 0.1824 | 0.1547 | 0.0635 | 0.0524 |"
    # The rows "SL" of the logs in junkangwu/BSL.
    logs = "| Softmax in public logs, best epoch on test | 0.1874 | 0.1571 | 0.0736 | 0.0612 |"
    return f"{_by_data_set(rows, ('recall@20', 'ndcg@20'))}\n{literature}\n{logs}"


def settings_tried(*spec: Any) -> str:
    """A table of the sweep: one setting changed at a time, with figures to the right."""
    header, rule, *lines = sweep.table(*spec, RESULTS / "sweep").split("\n")
    columns = rule.count("---") - 1
    return "\n".join([header, f"| --- |{' ---: |' * columns}", *lines])


# Speed


def speed() -> str:
    """Chosen cases on one and two threads beside what a user would pick instead."""
    measured = [
        row
        for row in speed_rows.read(sorted(RESULTS.glob("ops-*.jsonl")))
        if row["instruction_set"] == "avx512" and row["curve"] is None
    ]

    def case(
        title: str, other: str, match: str, op: str, name: str, mode: str, **shape: int
    ) -> list[str]:
        """Times, and those of the fastest baseline whose name holds `match`, over ours."""
        found = {
            row["threads"]: row
            for row in measured
            if (row["op"], row["name"], row["mode"]) == (op, name, mode)
            and row["input"] != "trained"
            and shape.items() <= row["shape"].items()
        }
        times, ratios = [], []
        for row in (found[1], found[2]):
            times.append(_time(row["median"]))
            others = [b["median"] for b in row["baselines"] if match and match in b["name"]]
            ratios.append(f"{min(others) / row['median']:.1f} ×" if others else "")
        return [title, other, *times, *ratios, f"`make bench OP={op}`"]

    lines = [
        *(
            case(
                f"Top 100 of 128 queries among 10⁶ items, {bits} bits",
                *("faiss `IndexBinaryFlat`", "faiss", "hamming_topk", "top 100", "forward"),
                bits=bits,
            )
            for bits in (64, 128, 256)
        ),
        case(
            "Top 100 of all users of Gowalla, training items excluded",
            *("matrix product, mask, topk in torch", "torch matmul", "hamming_topk"),
            *("top 100 of all users, train items left out", "forward"),
        ),
        case(
            "Recall loss of 1024 users over all items of Gowalla, forward and backward",
            *("pairwise in torch, best chunks", "pairwise, chunks", "score_tables"),
            *("smooth recall, whole loss", "both"),
        ),
        case(
            "Propagation through 3 layers, 64 numbers",
            *("`torch.sparse`", "torch.sparse", "propagate", "mean of 3 layers", "forward"),
            width=64,
        ),
        case(
            "One epoch on Gowalla, 3 layers, 1024 users per step",
            *("plain torch", "plain torch", "epoch"),
            *("one epoch over all train pairs, the paper's form", "training"),
        ),
        case(
            "Reading Gowalla's files",
            *("Python and SciPy", "Python", "data", "read train.txt and test.txt", "read"),
        ),
        case(
            "`hashgcn train gowalla --set trials=1`, from files to test metrics",
            *("", "", "train"),
            *("epochs chosen on a part of train, then a refit", "command line"),
        ),
    ]
    header = ["case", "compared with", "1 core", "2 cores", "faster, 1 core", "faster, 2 cores"]
    header.append("command")
    return table(header, lines, right=2)


def graded_search() -> str:
    """Times of top-N by the users' levels, as multiples of that of their signs alone."""
    cost: dict[tuple[int, int], tuple[float, float]] = {}  # by bits and levels
    for row in speed_rows.read(sorted(RESULTS.glob("ops-*.jsonl"))):
        shape = row["shape"]
        if row["op"] == "hamming_topk" and "planes" in shape and row["threads"] == 1:
            [plain] = (b["median"] for b in row["baselines"] if b["name"] == "ours, signs alone")
            cost[shape["bits"], 2 ** (shape["planes"] - 1)] = plain, row["median"] / plain
    levels = sorted({level for _, level in cost})
    lines = []
    for bits in sorted({bits for bits, _ in cost}):
        plain = statistics.median(cost[bits, level][0] for level in levels)
        times = (f"{cost[bits, level][1]:.2f} ×" for level in levels)
        lines.append([f"{bits} bits", _time(plain), *times])
    return table(["code", "1 level", *(f"{level} levels" for level in levels)], lines)


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{1e3 * seconds:.1f} ms" if seconds < 0.1 else f"{1e3 * seconds:.0f} ms"


TABLES: dict[str, Callable[[], str]] = {
    "settings of training": partial(settings_table, TrainSettings.model_fields, {}),
    "settings of selection": partial(settings_table, SelectionSettings.model_fields, {}),
    **{f"settings of {method}": partial(settings_of, method) for method in METHODS},
    "methods, short": partial(methods, "gowalla", (0, 7, 9, 11, 12)),
    **{f"methods {name}": partial(methods, name) for name in ("gowalla", "yelp2018")},
    **{f"others {metric}": partial(others, metric) for metric in ("recall@50", "ndcg@20")},
    **{f"published {name}": partial(published, name) for name in ("gowalla", "yelp2018")},
    **{f"code length {name}": partial(code_length, name) for name in ("gowalla", "yelp2018")},
    "popularity of long codes": long_codes,
    **{f"parts {name}": partial(contributions, name) for name in ("gowalla", "yelp2018")},
    "popularity bits": popularity_bits,
    **{f"losses {metric}": partial(losses, metric) for metric in ("recall@50", "ndcg@50")},
    "variations": variations,
    "lightgcn": lightgcn,
    **{
        f"settings of {what}": partial(settings_tried, *spec)
        for what, spec in zip(
            ("users", "one level", "32 bits", "128 bits"), sweep.TABLES, strict=True
        )
    },
    "speed": speed,
    "graded search": graded_search,
}


def main() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new = update(text)
        if new != text:
            page.write_text(new, encoding="utf-8")
            print(f"updated {page.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
