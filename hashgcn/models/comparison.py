"""Codes beside rankings that are simpler, or larger: on one split, by one protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from hashgcn import metrics
from hashgcn.data import Dataset, Interactions
from hashgcn.evaluate import (
    CodeUse,
    Ranking,
    als,
    ease,
    evaluate,
    item_knn,
    popularity,
    rank,
    twins,
)
from hashgcn.models.base import HashModel, loop_of
from hashgcn.models.methods import LightGCN, RecallHash

CUTOFFS = (20, 50)
# As many settings for each baseline that has some.
TRIED: dict[str, tuple[dict[str, float], ...]] = {
    "ItemKNN": tuple(
        {"neighbours": k, "shrinkage": h} for k in (20, 100, 300) for h in (0.0, 30.0)
    ),
    "EASE": tuple({"ridge": x} for x in (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)),
    "ALS": tuple({"regularization": r, "alpha": a} for r in (0.01, 0.1, 1.0) for a in (1.0, 10.0)),
}
# ItemKNN beside a run: it has to take no more than a second or two. MovieLens-100K, with 13
# million pairs of items that a user has and 1.6 million scores, takes 1 to 4 s on one core.
_MOST_ITEM_PAIRS = _MOST_SCORES = 15_000_000
# Codes trained on nine public data sets had no dead bits and no copies. Of users without a twin, up
# to 9% shared a code, 27% of plain ones, and 53% on FilmTrust. Trainings that collapsed left 11 and
# 14 dead bits of 50, with 76% and 78% of users who shared a code. Items may share theirs and lose
# little, as popularity orders them: 79% of the sample's do at 32 bits.
_WASTED_BITS = 0.05
_SHARED_USERS, _SHARED_ITEMS = 0.3, 0.9
_FEWEST = 100  # users and items, of which 99% can be told from all


@dataclass(frozen=True)
class Compared:
    """One ranking of a comparison.

    Attributes:
        name: such as "ItemKNN" or "codes 64".
        code_length: number of bits of RecallHash's codes; None for all others.
        test: recall@20, recall@50 and ndcg@20 on test.
        fit_seconds, selection_seconds: time of the fit to all of train, and of what chose a setting
            or a number of epochs before it.
        bytes_per_item: bytes kept per item to rank it; of ItemKNN those of its neighbours.
        user_milliseconds: time of a user's 50 best items, where all users are ranked.
        setting: what was chosen on the validation part of train.
        tried: number of settings among which it was chosen.
    """

    name: str
    code_length: int | None
    test: dict[str, float]
    fit_seconds: float
    selection_seconds: float
    bytes_per_item: int
    user_milliseconds: float
    setting: dict[str, float]
    tried: int


@dataclass(frozen=True)
class Comparison:
    """What compare returns.

    Attributes:
        data: name of the data set.
        rows: the rankings, baselines first.
        skipped: rankings that are left out, with the reason.
    """

    data: str
    rows: tuple[Compared, ...]
    skipped: dict[str, str]

    @property
    def verdict(self) -> str:
        """What the codes keep of the best ranking without codes, and popularity, in words."""
        return verdict(self.rows)

    def to_json(self) -> dict[str, Any]:
        """The comparison as JSON holds it."""
        return {**asdict(self), "rows": [asdict(x) for x in self.rows], "verdict": self.verdict}


class _Fitted(NamedTuple):
    """A ranking, the seconds of selection and fit, and what was chosen from how many."""

    ranking: Ranking
    selection_seconds: float
    fit_seconds: float
    setting: dict[str, float]
    tried: int


def compare(
    data: Dataset,
    *,
    code_lengths: Sequence[int] = (32, 64, 128),
    seed: int = 0,
    device: str | torch.device = "cpu",
    most_ease_items: int = 10_000,
    progress: bool = False,
    settings: dict[str, Any] | None = None,
) -> Comparison:
    """Popularity, ItemKNN, EASE, ALS, LightGCN, its signs and RecallHash on one split.

        >>> import hashgcn
        >>> data = hashgcn.data.generate_sample(num_users=200, num_items=120)
        >>> quick = {"epochs": 1, "trials": 1}
        >>> found = hashgcn.models.compare(data, code_lengths=(32,), settings=quick)
        >>> [row.name for row in found.rows if row.name != "ALS"]
        ['popularity', 'ItemKNN', 'EASE', 'LightGCN', 'LightGCN signs', 'codes 32']

    The settings of ItemKNN, EASE and ALS are chosen from six each, on the part of train that also
    chooses those of LightGCN and RecallHash and their numbers of epochs; then each is fitted to all
    of train, and test is looked at once. Cold users and items and ties follow the rules of
    evaluate.rank.

    Args:
        data: train and test interactions.
        code_lengths: numbers of bits of RecallHash's codes; LightGCN has 64 numbers.
        seed: seed of training and of the validation part.
        device: where LightGCN and RecallHash are trained, any that the ops are built for.
        most_ease_items: EASE is left out where there are more items, as its time grows with n^3.
        progress: show a progress bar of training.
        settings: settings of both LightGCN and RecallHash by name, such as epochs; their defaults
            if left out.

    Returns:
        The rankings in this order; ALS needs the package implicit, and is skipped by name without.

    Raises:
        ValueError: a data set without test pairs, a validation part without pairs, no code length,
            or settings out of range.

    Cost: that of all fits, one after the other.
    """
    if not data.test.num_pairs:
        raise ValueError(f"data: expected test pairs to compare on, got none in {data.name}")
    if not code_lengths:
        raise ValueError("code_lengths: expected at least one number of bits, got none")
    given = {"seed": seed, **(settings or {})}
    models = {f"codes {f}": RecallHash(code_length=f, **given) for f in sorted(set(code_lengths))}
    teacher = LightGCN(code_length=64, **given)
    chosen_on, seed = teacher.settings.selection, teacher.settings.train.seed
    part, held_out = loop_of(teacher, data.train, data.test_is_later).parts
    if not held_out.num_pairs:
        raise ValueError(
            "validation_fraction: expected one that holds out some train pairs, got none with "
            f"{chosen_on.validation_fraction}"
        )
    metric, skipped = chosen_on.selection_metric, {}

    def chosen(name: str, fit: Callable[..., Ranking]) -> _Fitted:
        start = time.perf_counter()
        scores = [_score(fit(part, **x), part, held_out, metric) for x in TRIED[name]]
        best = TRIED[name][int(np.argmax(scores))]  # the first of equals
        middle = time.perf_counter()
        ranking = fit(data.train, **best)
        seconds = middle - start, time.perf_counter() - middle
        return _Fitted(ranking, *seconds, best, len(scores))

    start = time.perf_counter()
    popular = popularity(data.train)
    found = {"popularity": _Fitted(popular, 0.0, time.perf_counter() - start, {}, 1)}
    found["ItemKNN"] = chosen("ItemKNN", item_knn)
    if data.train.num_items > most_ease_items:
        skipped["EASE"] = f"{data.train.num_items:,} items, more than {most_ease_items:,}"
    else:
        try:
            found["EASE"] = chosen("EASE", ease)
        except ValueError as error:  # of memory: its settings are in range
            skipped["EASE"] = str(error)
    try:
        found["ALS"] = chosen("ALS", lambda train, **x: als(train, seed=seed, **x))
    except ImportError:
        skipped["ALS"] = "it needs the package implicit: pip install implicit"
    for name, of in zip(
        ("LightGCN", "LightGCN signs"), _trained(teacher, data, device, progress), strict=False
    ):
        found[name] = of
    for name, model in models.items():
        found[name] = next(_trained(model, data, device, progress))
    rows = tuple(
        _measured(name, models.get(name), of, data, chosen_on.eval_users)
        for name, of in found.items()
    )
    return Comparison(data.name, rows, skipped)


def _score(ranking: Ranking, part: Interactions, held_out: Interactions, metric: str) -> float:
    return evaluate(ranking, part, held_out, (int(metric.split("@")[1]),))[metric]


def _trained(
    model: HashModel, data: Dataset, device: str | torch.device, progress: bool
) -> Iterator[_Fitted]:
    """The rankings of a method, fitted once as HashModel.fit does."""
    loop = loop_of(model, data.train, data.test_is_later, device, progress=progress)
    network, graph, position = loop.run()
    setting: dict[str, float] = {"epochs": loop.chosen_epochs(), **position.changes}
    for name in model.network.rankings(model.settings.network):
        yield _Fitted(
            network.ranking(graph, name),
            position.seconds["selection"],
            position.seconds["refit"],
            setting,
            len(position.trials),
        )


def _measured(
    name: str, model: HashModel | None, of: _Fitted, data: Dataset, batch_users: int
) -> Compared:
    """Test metrics and the time per user, of one ranking of all users."""
    start = time.perf_counter()
    ids = rank(of.ranking, data.train, max(CUTOFFS), batch_users=batch_users)
    seconds = time.perf_counter() - start
    test = metrics.evaluate_rankings(ids, np.arange(len(ids)), data.test, CUTOFFS)
    return Compared(
        name=name,
        code_length=None if model is None else model.settings.network.code_length,
        test={key: test[key] for key in ("recall@20", "recall@50", "ndcg@20")},
        fit_seconds=round(of.fit_seconds, 3),
        selection_seconds=round(of.selection_seconds, 3),
        bytes_per_item=of.ranking.bytes_per_item,
        user_milliseconds=round(1000 * seconds / max(len(ids), 1), 4),
        setting=of.setting,
        tried=of.tried,
    )


def verdict(rows: Sequence[Compared]) -> str:
    """What codes of the middle length keep of the best ranking without codes, by Recall@50."""
    codes = sorted((x for x in rows if x.code_length), key=lambda x: x.code_length or 0)
    ours = codes[len(codes) // 2]
    others = [x for x in rows if not x.code_length and not x.name.endswith("signs")]
    best = max(others, key=lambda x: x.test["recall@50"])
    popular = next(x for x in rows if x.name == "popularity")
    name, own, its = f"{ours.code_length}-bit codes", ours.test["recall@50"], best.test["recall@50"]
    if its == 0:
        return f"No baseline finds a test item; {name} have a Recall@50 of {own:.4f}."
    size = best.bytes_per_item / ours.bytes_per_item
    memory = f"1/{round(size)} of its memory" if size >= 1.5 else f"{1 / size:.1f} times its memory"
    text = (
        f"{name} {'keep' if own < its else 'have'} {own / its:.0%} of the Recall@50 of "
        f"{best.name}, the best baseline, in {memory}."
    )
    if own < popular.test["recall@50"]:
        text += f" They lose to popularity, which has {popular.test['recall@50']:.4f}."
    return text


def code_remarks(use: CodeUse, train: Interactions, taste_bits: int) -> list[str]:
    """One line on what codes waste, what it means and what to try; [] where they waste little.

    [] too where fewer than 100 users or items have pairs: bits are then constant by chance.

    Of shared codes, those of twins do not count: users with the same items, items with the same
    users.

    Args:
        use: what the codes waste, see HashModel.code_use.
        train: the pairs that they were trained on.
        taste_bits: number of their bits that are no popularity bits.
    """
    if min(np.count_nonzero(train.degrees()), np.count_nonzero(train.popularity())) < _FEWEST:
        return []
    wasted, tries = [], []
    for name, dead in (("users", use.constant_user_bits), ("items", use.constant_item_bits)):
        if dead > _WASTED_BITS * taste_bits:
            wasted.append(f"{dead} of {taste_bits} taste bits are the same for 99% of {name}")
            tries.append("learning_rate=0.005")
            if train.order is not None:
                tries.append("recent_scale=0.3 where recent items count")
    if use.copied_item_bits > _WASTED_BITS * taste_bits:
        wasted.append(f"{use.copied_item_bits} of {taste_bits} taste bits copy another one")
        tries.append("learning_rate=0.005")
    if use.shared_users > _SHARED_USERS or use.shared_items > _SHARED_ITEMS:
        of_users, of_items = twins(train)  # a pass over all pairs, which most codes save
        for name, shared, of_twins, most, what in (
            ("users", use.shared_users, of_users, _SHARED_USERS, "ranking"),
            ("items", use.shared_items, of_items, _SHARED_ITEMS, "place in every ranking"),
        ):
            if shared - of_twins > most * (1 - of_twins):
                wasted.append(f"{shared:.0%} of {name} share their code, and so their {what}")
                tries.append("twice the code_length")
    if not wasted:
        return []
    tried = ", ".join(dict.fromkeys(tries))
    return [f"The codes waste bits: {'; '.join(wasted)}. To try next: {tried}."]


def remarks(test: dict[str, float], data: Dataset, metric: str) -> list[str]:
    """Sentences about simple rankings that codes lose to, and what to try next; [] if to none.

    Popularity, and ItemKNN with its default setting where it takes a second or two: users have at
    most 15 million pairs of items together, and there are as many scores at most.

    Args:
        test: test metrics of the codes.
        data: the data set that they are from.
        metric: the metric that decides, one of `test`, such as "recall@50".
    """
    pairs = int((data.train.degrees() ** 2).sum())
    rankings: dict[str, Callable[[Interactions], Ranking]] = {"popularity": popularity}
    scores = data.train.num_users * data.train.num_items
    if pairs <= _MOST_ITEM_PAIRS and scores <= _MOST_SCORES:
        rankings["ItemKNN"] = item_knn
    found = {
        name: _score(fit(data.train), data.train, data.test, metric)
        for name, fit in rankings.items()
    }
    lost = {name: value for name, value in found.items() if value > test[metric]}
    if not lost:
        return []
    values = " and ".join(f"{name} has {value:.4f}" for name, value in lost.items())
    return [
        f"The codes lose to {' and to '.join(lost)}: "
        f"their {metric} is {test[metric]:.4f}, {values}.",
        "To try next: a code_length of 128, or more trials; `hashgcn compare` shows what other "
        "methods reach on this data.",
    ]
