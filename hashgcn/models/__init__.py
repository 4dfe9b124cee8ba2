"""Methods: settings, fit, recommendations and files of each."""

from hashgcn.models.base import METHODS, HashModel
from hashgcn.models.comparison import Compared, Comparison, code_remarks, compare, remarks, verdict
from hashgcn.models.methods import BGCH, HashGNN, HashRec, LightGCN, RecallHash
from hashgcn.models.metrics import Metrics
from hashgcn.models.settings import ModelSettings, fields

__all__ = [
    "BGCH",
    "Compared",
    "Comparison",
    "METHODS",
    "HashGNN",
    "HashModel",
    "HashRec",
    "LightGCN",
    "Metrics",
    "ModelSettings",
    "RecallHash",
    "code_remarks",
    "compare",
    "fields",
    "remarks",
    "verdict",
]
