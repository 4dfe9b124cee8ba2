"""The page of a finished run: curves, quality, codes, distances, popularity, examples."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hashgcn import metrics
from hashgcn.evaluate import protocol as evaluation
from hashgcn.files import write_text
from hashgcn.runs.opened import FinishedRun
from hashgcn.runs.report import numbers, pictures
from hashgcn.runs.report.page import document, picture
from hashgcn.runs.report.style import training_curves
from hashgcn.runs.report.titles import read_titles

__all__ = ["read_titles", "write"]

_CUTOFFS = (1, 2, 5, 10, 20, 50, 100)
_ITEMS, _NEIGHBOURS = 9, 6
_USERS, _LIKED, _RECOMMENDED = 6, 8, 8


def write(
    run: FinishedRun, results: dict[str, Any], path: Path, titles: np.ndarray | None = None
) -> None:
    """One HTML page that needs no other file and no network.

    Args:
        run: what was trained.
        results: content of its metrics.json.
        path: of the page.
        titles: of the items' rows, see read_titles; raw ids if None.

    Raises:
        ValueError: data without test pairs, which it measures with.

    Deterministic. Cost: one evaluation of all users, and distances of all items from 2,000 of them.
    """
    if not run.data.test.num_pairs:
        raise ValueError(f"{run.data.name}: expected test pairs for a report, got none")
    if titles is None:
        titles = np.array([str(raw) for raw in run.recommender.index.ids.tolist()])
    longest = min(max(run.cutoffs), run.data.train.num_items)
    ranked = evaluation.rank(run.ranking, run.data.train, longest)
    parts = [
        _head(run, results),
        _training(run, results),
        _quality(run, results, ranked),
        _codes(run),
        _distances(run),
        _popularity(run, ranked),
        _neighbours(run, titles),
        _users(run, ranked, titles),
    ]
    write_text(path, document(_title(run), "\n".join(parts)))


def _title(run: FinishedRun) -> str:
    return f"{run.asked['method']} on {run.data.name}"


def _head(run: FinishedRun, results: dict[str, Any]) -> str:
    data, cutoff = run.data, sorted(run.cutoffs)[len(run.cutoffs) // 2]
    popular = results["popularity_ranking"]
    tiles = []
    for measure, name in (("recall", "Recall"), ("ndcg", "NDCG")):
        value, base = (found[f"{measure}@{cutoff}"] for found in (results["test"], popular))
        times = f"{value / base:.1f} × a popularity ranking" if base else "popularity: 0"
        tiles.append((f"{value:.4f}", f"{name}@{cutoff} on test; {times}"))
    index, size = run.recommender.index, results["bytes_per_item"]["test"]
    tiles += [
        (f"{index.code_length} bits", f"a code; {size} bytes an item"),
        (f"{data.train.num_users:,}", f"users, with {data.train.num_pairs:,} train pairs"),
        (f"{data.train.num_items:,}", f"items, with {data.test.num_pairs:,} test pairs"),
        (
            f"{results['train_seconds']:.0f} s",
            f"for {_count(results['epochs'], 'epoch')}; {results['peak_rss_mb']:,.0f} MB at most",
        ),
    ]
    shown = "".join(
        f'<div class="tile"><b>{html.escape(value)}</b><small>{html.escape(text)}</small></div>'
        for value, text in tiles
    )
    settings = _details(
        "Settings",
        _table(("setting", "value"), [(k, str(v)) for k, v in run.asked["settings"].items()]),
    )
    return f'<h1>{html.escape(_title(run))}</h1>\n<div class="tiles">{shown}</div>\n{settings}'


def _training(run: FinishedRun, results: dict[str, Any]) -> str:
    metric, history = run.asked["settings"]["selection_metric"], results["history"]
    epochs = results["epochs"]
    if results["validation"] is None:
        text = f"Trained for {_count(epochs, 'epoch')}, a number set beforehand, on all of train."
    else:
        text = (
            f"The number of epochs, {epochs}, was chosen on a part of train that was held out; the "
            "model was then trained again on all of it. Test was looked at once, at the end."
        )
    drawn = picture(lambda: training_curves(history, metric, epochs), "training curves")
    return _section("Training", text, drawn)


def _quality(run: FinishedRun, results: dict[str, Any], ranked: np.ndarray) -> str:
    longest = ranked.shape[1]
    cutoffs = sorted({*run.cutoffs, *_CUTOFFS})
    cutoffs = [cutoff for cutoff in cutoffs if cutoff <= longest]
    users = np.arange(len(ranked))
    lines = {
        "codes": metrics.evaluate_rankings(ranked, users, run.data.test, cutoffs),
        "popularity": evaluation.popularity_ranking(run.data, cutoffs),
    }
    names = [name for name in results["bytes_per_item"] if name != "test"]
    lines |= {name.removeprefix("test_"): results[name] for name in names}
    ties = {} if run.weighted else evaluation.evaluate_ties(run.ranking, run.data, cutoffs)
    columns = dict(lines)
    for end, name in (("expected", "ties: expected"), ("lower", "worst"), ("upper", "best")):
        columns |= {name: {key: found[end] for key, found in ties.items()}} if ties else {}
    rows = [
        (key, *(f"{found[key]:.4f}" if key in found else "" for found in columns.values()))
        for key in lines["codes"]
    ]
    text = "The mean over users with test items; all items are ranked but those of train."
    if ties:
        text += (
            " Items at equal distance are ranked by popularity; the band is what other orders "
            "of them could have made of it."
        )
    else:
        text += " Scores of weighted segments hardly ever tie."
    if names:
        sizes = (f"{n.removeprefix('test_')} {results['bytes_per_item'][n]}" for n in names)
        text += f" Bytes an item: codes {results['bytes_per_item']['test']}, {', '.join(sizes)}."
    drawn = picture(lambda: pictures.quality(lines, ties), "recall and NDCG by cutoff")
    return _section("Quality", text, drawn, _details("Numbers", _table(("", *columns), rows)))


def _codes(run: FinishedRun) -> str:
    index = run.recommender.index
    length, popularity_bits = index.code_length, index.popularity_bits
    words = {"items": index.codes, "users": run.recommender.user_codes}
    sides = {name: numbers.bits(found, length) for name, found in words.items()}
    text = " ".join(
        f"{sides[name].distinct:,} different codes for {len(found):,} {name}"
        f"{_constant(sides[name].constant)}."
        for name, found in words.items()
    )
    text += (
        " A bit tells most where half of the codes have it, and two bits tell different things "
        "where they do not correlate."
    )
    if popularity_bits:
        text += (
            f" The last {popularity_bits} are popularity bits: of items a thermometer, and so "
            "correlated by design; of users set once for all of them."
        )
    return _section(
        "Codes",
        text,
        picture(lambda: pictures.balance(sides, popularity_bits), "balance of bits"),
        picture(lambda: pictures.correlation(sides, popularity_bits), "correlation of bits"),
    )


def _constant(count: int) -> str:
    return f", in which {_count(count, 'bit')} never differ" if count else ""


def _distances(run: FinishedRun) -> str:
    found = numbers.distances(run.recommender, run.data.train, run.data.test)
    text = (
        f"Of {found.users:,} users. A test item is nearer than an item that the user does not have "
        f"with probability {found.nearer():.3f} (half of a tie counts)."
    )
    drawn = picture(lambda: pictures.histograms(found), "histograms of distances")
    return _section("Distances", text, drawn)


def _popularity(run: FinishedRun, ranked: np.ndarray) -> str:
    data, index = run.data, run.recommender.index
    tenth = numbers.decile_of_items(data.train)
    k = min(min(run.cutoffs), ranked.shape[1])
    parts = {
        "train": data.train.ids,
        "test": data.test.ids,
        f"top {k} of all users": ranked[:, :k],
    }
    text = (
        f"{numbers.coverage(ranked[:, :k], data.train.num_items):.0%} of the items are in the top "
        f"{k} of at least one user."
    )
    if index.popularity_bits:
        ids, _ = run.recommender.recommend(data.user_ids, k, popularity=0.0)
        missing = "" if ids.dtype.kind == "U" else -1
        neutral = index.rows(ids[ids != missing])
        parts["the same, popularity turned down to 0"] = neutral
        share = numbers.coverage(neutral, data.train.num_items)
        text += f" With popularity turned down to 0 (recommend --popularity 0), {share:.0%} are."
    found = {name: numbers.shares(items, tenth) for name, items in parts.items()}
    drawn = picture(lambda: pictures.popularity(found), "popularity of recommendations")
    rows = [(str(at + 1), *(f"{shares[at]:.1%}" for shares in found.values())) for at in range(10)]
    return _section("Popularity", text, drawn, _details("Numbers", _table(("tenth", *found), rows)))


def _neighbours(run: FinishedRun, titles: np.ndarray) -> str:
    train = run.data.train
    items = numbers.example_items(train, _ITEMS)
    found, rows = numbers.neighbours(run.recommender, items, _NEIGHBOURS)
    popularity = train.popularity()
    cards = []
    for item, near, distances in zip(items, rows, found, strict=True):
        lines = ((titles[row], str(d), False) for row, d in zip(near, distances, strict=True))
        cards.append(_card(titles[item], f"{_count(popularity[item], 'train user')}", lines))
    text = "Items from popular to rare, and the items whose codes differ in the fewest bits."
    if run.weighted:
        text += " The segments' weights have no part in it."
    return _section("Neighbours", text, _cards(cards))


def _users(run: FinishedRun, ranked: np.ndarray, titles: np.ndarray) -> str:
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
        f"Users with few to many items: {order} of their train items, and what they are recommended"
    )
    return _section("Users", text + ".", _cards(cards))


def _section(title: str, text: str, *content: str) -> str:
    parts = [f"<section><h2>{html.escape(title)}</h2>", f"<p>{html.escape(text)}</p>", *content]
    return "\n".join([*parts, "</section>"])


def _card(title: str, about: str, lines: Iterable[tuple[str, str, bool]]) -> str:
    """A title, a line, and a list of (text, remark, whether it is marked)."""
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
    """First column as text, the others as numbers."""

    def line(tag: str, cells: Sequence[str]) -> str:
        first, *others = map(html.escape, cells)
        numbers = "".join(f'<{tag} class="number">{cell}</{tag}>' for cell in others)
        return f"<tr><{tag}>{first}</{tag}>{numbers}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<div class="wide"><table>{line("th", header)}{body}</table></div>'


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
