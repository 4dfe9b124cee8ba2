"""Evaluation: rankings of all items, their test metrics, and what bounds them."""

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
    "Ranking",
    "RealRanking",
    "evaluate",
    "evaluate_codes",
    "evaluate_original_order",
    "evaluate_popularity",
    "evaluate_ties",
    "rank",
]
