"""The sections of a report: curves, quality, codes, distances, popularity, examples."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from hashgcn import metrics
from hashgcn.data.cold import count_cold
from hashgcn.evaluate import bits_of, evaluate_popularity, evaluate_ties, rank
from hashgcn.files import write_text
from hashgcn.levels import largest_weight, num_planes
from hashgcn.models.base import ranking_of
from hashgcn.models.comparison import code_remarks, remarks
from hashgcn.retrieval import Recommender
from hashgcn.runs.curves import training_curves
from hashgcn.runs.opened import OpenedRun
from hashgcn.runs.report import numbers, pictures
from hashgcn.runs.report.page import document, picture

_CUTOFFS = (1, 2, 5, 10, 20, 50, 100)
_COVERED = (10, 50)  # the lengths of rankings of which the report says how many items occur in them
_ITEMS, _NEIGHBOURS = 9, 6
_USERS, _LIKED, _RECOMMENDED = 6, 8, 8


def write(run: OpenedRun, path: Path, titles: np.ndarray | None = None) -> None:
    """Writes the report of a run as one HTML page that needs no other file and no network.

    Args:
        run: the finished run, see open_run.
        path: the file to write.
        titles: the title of each item by row, see read_titles; None to show raw ids.

    Without test pairs it leaves out what is measured on them: quality and distances.

    Note:
        Equal runs give equal pages. Cost: one evaluation of all users, and the distances of all
        items from 2,000 users.
    """
    if titles is None:
        titles = np.array([str(raw) for raw in run.data.item_ids.tolist()])
    # A run without test pairs may have been given some since.
    tested = run.data.test.num_pairs > 0 and bool(run.metrics.test)
    longest = min(max(*_cutoffs(run), *_COVERED), run.data.train.num_items)
    ranked = rank(ranking_of(_recommender(run)), run.data.train, longest)
    popular = evaluate_popularity(run.data, sorted({*_cutoffs(run), *_CUTOFFS})) if tested else {}
    parts = [
        _head(run, ranked, popular),
        _training(run),
        *([_quality(run, ranked, popular)] if tested else []),
        _codes(run),
        *([_distances(run)] if tested else []),
        _popularity(run, ranked),
        _neighbours(run, titles),
        _users(run, ranked, titles),
    ]
    write_text(path, document(_title(run), "\n".join(parts)))


def _recommender(run: OpenedRun) -> Recommender:
    assert run.model.recommender is not None  # it was loaded
    return run.model.recommender


def _cutoffs(run: OpenedRun) -> tuple[int, ...]:
    return run.model.settings.selection.cutoffs


def _title(run: OpenedRun) -> str:
    return f"{type(run.model).__name__} on {run.data.name}"


def _verdict(run: OpenedRun, ranked: np.ndarray, popular: dict[str, float]) -> str:
    """What came out, in words: quality, coverage, and what is wrong."""
    data, found, selection = run.data, run.metrics, run.model.settings.selection
    metric = selection.selection_metric
    measure, cutoff = metric.split("@")
    name = f"{'NDCG' if measure == 'ndcg' else 'Recall'}@{cutoff}"
    if popular:
        said = [f"{name} on test is {found.test[metric]:.4f}; of a popularity ranking it is "]
        said[0] += f"{popular[metric]:.4f}."
    elif found.validation is not None:
        said = [f"The run has no test pairs. {name} is {found.validation[metric]:.4f} on the "]
        said[0] += "held-out part of train."
    else:
        said = [
            "The run has neither test pairs nor a held-out part of train: quality is not known."
        ]
    shares = [
        f"{numbers.coverage(ranked[:, :k], data.train.num_items):.0%} in the top {k}"
        for k in _COVERED
    ]
    said.append(f"Of all items, {' and '.join(shares)} of at least one user.")
    index = run.model.index()
    taste_bits = index.code_length - index.popularity_bits
    said += code_remarks(run.model.code_use(), data.train, taste_bits)
    said += remarks(found.test, data, metric) if popular else []
    return " ".join(said)


def _head(run: OpenedRun, ranked: np.ndarray, popular: dict[str, float]) -> str:
    data, found, cutoffs = run.data, run.metrics, sorted(_cutoffs(run))
    cutoff = cutoffs[len(cutoffs) // 2]
    tiles = []
    for measure, name in (("recall", "Recall"), ("ndcg", "NDCG")):
        key = f"{measure}@{cutoff}"
        if popular:
            value, base = found.test[key], popular[key]
            times = f"{value / base:.1f} × popularity ranking" if base else "popularity ranking: 0"
            tiles.append((f"{value:.4f}", f"{name}@{cutoff} on test; {times}"))
        elif found.validation is not None:
            text = f"{name}@{cutoff} on a held-out part of train"
            tiles.append((f"{found.validation[key]:.4f}", text))
    recommender, size = _recommender(run), found.bytes_per_item["codes"]
    planes = num_planes(recommender.levels)
    graded = f"; users have {planes} bits a dimension" if planes > 1 else ""
    tiles += [
        (f"{recommender.index.code_length} bits", f"per code; {size} bytes per item{graded}"),
        (f"{data.train.num_users:,}", f"users, with {data.train.num_pairs:,} train pairs"),
        (f"{data.train.num_items:,}", f"items, with {data.test.num_pairs:,} test pairs"),
        (
            f"{found.train_seconds:.0f} s",
            f"for {_count(found.epochs, 'epoch')}; peak memory {found.peak_memory_mb:,.0f} MB",
        ),
    ]
    shown = "".join(
        f'<div class="tile"><b>{html.escape(value)}</b><small>{html.escape(text)}</small></div>'
        for value, text in tiles
    )
    used = run.model.settings.resolved() | run.metrics.chosen
    values = [(name, str(value)) for name, value in used.items()]
    settings = _details("Settings", _table(("setting", "value"), values))
    head = f"<h1>{html.escape(_title(run))}</h1>"
    verdict = f"<p>{html.escape(_verdict(run, ranked, popular))}</p>"
    return f'{head}\n{verdict}\n<div class="tiles">{shown}</div>\n{settings}'


def _training(run: OpenedRun) -> str:
    metric, found = run.model.settings.selection.selection_metric, run.metrics
    epochs = found.epochs
    if found.validation is None:
        text = f"Trained on all of train for {_count(epochs, 'epoch')}, a number set beforehand."
    else:
        text = (
            f"The number of epochs, {epochs}, was chosen on a held-out part of train. Then the "
            "model was trained again on all of train."
        )
        if found.test:
            text += " The test pairs were used once, at the end."
    drawn = picture(lambda: training_curves(found.history, metric, epochs), "training curves")
    return _section("Training", text, drawn)


def _quality(run: OpenedRun, ranked: np.ndarray, popular: dict[str, float]) -> str:
    longest = min(max(_cutoffs(run)), ranked.shape[1])
    cutoffs = [k for k in sorted({*_cutoffs(run), *_CUTOFFS}) if k <= longest]
    users = np.arange(len(ranked))
    found = metrics.evaluate_rankings(ranked, users, run.data.test, cutoffs)
    lines = {
        "codes": found,
        "popularity": {key: popular[key] for key in found},
        **run.metrics.rankings,
    }
    ties = evaluate_ties(ranking_of(_recommender(run)), run.data, cutoffs)
    columns = dict(lines)
    for end, name in (("expected", "ties: expected"), ("lower", "worst"), ("upper", "best")):
        columns[name] = {key: bounds[end] for key, bounds in ties.items()}
    rows = [
        (key, *(f"{column[key]:.4f}" if key in column else "" for column in columns.values()))
        for key in found
    ]
    text = (
        "Means over all users with test items. All items but a user's train items are ranked. "
        "Items at equal distance are ranked by popularity; the band shows the range over all other "
        "orders."
    )
    users_without, items_without = count_cold(run.data.train, run.data.test)
    if users_without or items_without:
        text += (
            f" {_count(users_without, 'test user')} without train pairs "
            f"{'gets' if users_without == 1 else 'get'} the most popular items; "
            f"{_count(items_without, 'test item')} without train pairs "
            f"{'is' if items_without == 1 else 'are'} never found."
        )
    sizes = run.metrics.bytes_per_item
    if len(sizes) > 1:
        text += f" Bytes per item: {', '.join(f'{name} {size}' for name, size in sizes.items())}."
    drawn = picture(lambda: pictures.quality(lines, ties), "recall and NDCG by cutoff")
    return _section("Quality", text, drawn, _details("Numbers", _table(("", *columns), rows)))


def _codes(run: OpenedRun) -> str:
    recommender = _recommender(run)
    index, levels = recommender.index, recommender.levels
    length, popularity_bits = index.code_length, index.popularity_bits
    words = {"items": index.codes, "users": recommender.plain_user_codes}
    sides = {name: bits_of(found, length) for name, found in words.items()}
    use, taste = run.model.code_use(), length - popularity_bits
    text = (
        f"Of the users with train pairs, {use.shared_users:.1%} share their code with another, of "
        f"such items {use.shared_items:.1%}. Of {taste} taste bits, {use.constant_user_bits} are "
        f"the same for 99% of users and {use.constant_item_bits} for 99% of items, and "
        f"{use.copied_item_bits} copy another. "
    )
    text += (
        "A bit carries most information if it is set in half of the codes, and two bits carry "
        "different information if they are not correlated."
    )
    if levels > 1:
        text += (
            f" Users have {num_planes(levels)} bits a dimension, for weights from "
            f"-{largest_weight(levels)} to {largest_weight(levels)}; only the signs are shown here."
        )
    if popularity_bits:
        text += (
            f" The last {popularity_bits} are popularity bits: in the codes of items they are a "
            "thermometer, so they are correlated by design; in those of users, all are set."
        )
    return _section(
        "Codes",
        text,
        picture(lambda: pictures.balance(sides, popularity_bits), "balance of bits"),
        picture(lambda: pictures.correlation(sides, popularity_bits), "correlation of bits"),
    )


def _distances(run: OpenedRun) -> str:
    found = numbers.distances(_recommender(run), run.data.train, run.data.test)
    text = (
        f"Distances of all items from {found.users:,} users. The probability that a test item is "
        f"nearer than an item the user does not have is {found.nearer():.3f}; a tie counts half."
    )
    drawn = picture(lambda: pictures.histograms(found), "histograms of distances")
    return _section("Distances", text, drawn)


def _popularity(run: OpenedRun, ranked: np.ndarray) -> str:
    data, index = run.data, _recommender(run).index
    tenth = numbers.decile_of_items(data.train)
    k = min(min(_cutoffs(run)), ranked.shape[1])
    parts = {"train": data.train.ids, f"top {k} of all users": ranked[:, :k]}
    if data.test.num_pairs:
        parts = {"train": data.train.ids, "test": data.test.ids, **parts}
    text = (
        f"{numbers.coverage(ranked[:, :k], data.train.num_items):.0%} of the items are in the top "
        f"{k} of at least one user."
    )
    if index.popularity_bits:
        ids = _recommender(run).recommend(data.user_ids, k, popularity_weight=0.0).ids
        missing = "" if ids.dtype.kind == "T" else -1
        neutral = index.rows(ids[ids != missing])
        parts[f"top {k}, popularity weight 0"] = neutral
        share = numbers.coverage(neutral, data.train.num_items)
        text += (
            f" With a popularity weight of 0 (recommend --popularity-weight 0), {share:.0%} are."
        )
    found = {name: numbers.shares(items, tenth) for name, items in parts.items()}
    drawn = picture(lambda: pictures.popularity(found), "popularity of recommendations")
    rows = [(str(at + 1), *(f"{shares[at]:.1%}" for shares in found.values())) for at in range(10)]
    return _section("Popularity", text, drawn, _details("Numbers", _table(("tenth", *found), rows)))


def _neighbours(run: OpenedRun, titles: np.ndarray) -> str:
    train = run.data.train
    items = numbers.example_items(train, _ITEMS)
    rows, found = numbers.neighbours(_recommender(run), items, _NEIGHBOURS)
    popularity = train.popularity()
    cards = []
    for item, near, distances in zip(items, rows, found, strict=True):
        lines = ((titles[row], str(d), False) for row, d in zip(near, distances, strict=True))
        cards.append(_card(titles[item], f"{_count(popularity[item], 'train user')}", lines))
    text = "Items from popular to rare, each with the nearest items and their Hamming distances."
    return _section("Neighbours", text, _cards(cards))


def _users(run: OpenedRun, ranked: np.ndarray, titles: np.ndarray) -> str:
    data = run.data
    cards = []
    for user in numbers.example_users(data.train, data.test, _USERS):
        test = set(data.test.ids[data.test.ptr[user] : data.test.ptr[user + 1]].tolist())
        has = numbers.liked(data.train, user, _LIKED)
        more = data.train.degrees()[user] - len(has)
        about = "Has " + " · ".join(titles[has]) + (f" and {more} more" if more else "")
        items = ranked[user, :_RECOMMENDED]
        lines = ((titles[i], "in test" if i in test else "", i in test) for i in items if i >= 0)
        cards.append(_card(str(data.user_ids[user]), about, lines))
    order = "the latest" if data.train.order is not None else "the most popular"
    text = (
        f"Users with few to many items, each with {order} of their train items and with "
        f"recommendations{', of which the test items are marked' if data.test.num_pairs else ''}."
    )
    return _section("Users", text, _cards(cards))


def _section(title: str, text: str, *content: str) -> str:
    parts = [f"<section><h2>{html.escape(title)}</h2>", f"<p>{html.escape(text)}</p>", *content]
    return "\n".join([*parts, "</section>"])


def _card(title: str, about: str, lines: Iterable[tuple[str, str, bool]]) -> str:
    """A card with a title, a line about it, and a list of (text, remark, whether to mark it)."""
    rows = []
    for text, remark, marked in lines:
        name = f'<span class="hit">{html.escape(text)}</span>' if marked else _span(text)
        rows.append(f'<li>{name}<span class="number">{html.escape(remark)}</span></li>')
    head = f'<h3>{html.escape(title)}</h3><p class="faint">{html.escape(about)}</p>'
    return f'<div class="card">{head}<ol>{"".join(rows)}</ol></div>'


def _span(text: str) -> str:
    return f"<span>{html.escape(text)}</span>"


def _cards(cards: Sequence[str]) -> str:
    return f'<div class="cards">{"".join(cards)}</div>'


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{html.escape(summary)}</summary>{content}</details>"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose other columns are numbers."""

    def line(tag: str, cells: Sequence[str]) -> str:
        first, *others = map(html.escape, cells)
        numbers = "".join(f'<{tag} class="number">{cell}</{tag}>' for cell in others)
        return f"<tr><{tag}>{first}</{tag}>{numbers}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<div class="wide"><table>{line("th", header)}{body}</table></div>'


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
