"""Evaluation: rankings of all items, their test metrics, and what bounds them."""

from hashgcn.evaluate.baselines import HistoryRanking, als, ease, item_knn, popularity
from hashgcn.evaluate.protocol import (
    Evaluation,
    evaluate,
    evaluate_codes,
    evaluate_original_order,
    evaluate_popularity,
    evaluate_ties,
)
from hashgcn.evaluate.rankings import HammingRanking, Ranking, RealRanking, rank

__all__ = [
    "Evaluation",
    "HammingRanking",
    "HistoryRanking",
    "Ranking",
    "RealRanking",
    "als",
    "ease",
    "evaluate",
    "evaluate_codes",
    "evaluate_original_order",
    "evaluate_popularity",
    "evaluate_ties",
    "item_knn",
    "popularity",
    "rank",
]
