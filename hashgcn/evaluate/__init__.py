"""Evaluation: rankings of all items, their test metrics, what bounds them, and what codes waste."""

from hashgcn.evaluate.baselines import HistoryRanking, als, ease, item_knn, popularity
from hashgcn.evaluate.codes import Bits, CodeUse, bits_of, code_use, twins
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
    "Bits",
    "CodeUse",
    "Evaluation",
    "HammingRanking",
    "HistoryRanking",
    "Ranking",
    "RealRanking",
    "als",
    "bits_of",
    "code_use",
    "ease",
    "evaluate",
    "evaluate_codes",
    "evaluate_original_order",
    "evaluate_popularity",
    "evaluate_ties",
    "item_knn",
    "popularity",
    "rank",
    "twins",
]
