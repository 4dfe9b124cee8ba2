"""Torch ops on CPU and CUDA: gradients of the sign, losses' tables, top-N, propagation."""

from hashgcn.ops._library import check_errors
from hashgcn.ops.fixed_order_mm import fixed_order_mm
from hashgcn.ops.hamming_topk import hamming_topk
from hashgcn.ops.pack_codes import pack_codes, unpack_codes
from hashgcn.ops.propagate import propagate
from hashgcn.ops.score_tables import score_tables
from hashgcn.ops.sign_fourier import sign_fourier
from hashgcn.ops.sign_guided import sign_guided
from hashgcn.ops.sign_ste import sign_ste
from hashgcn.ops.sign_swish import sign_swish, sign_swish_pack
from hashgcn.ops.smooth_rank import smooth_rank
from hashgcn.ops.tanh_continuation import tanh_continuation
from hashgcn.ops.weighted_hamming_topk import weighted_hamming_topk

__all__ = [
    "check_errors",
    "fixed_order_mm",
    "hamming_topk",
    "pack_codes",
    "propagate",
    "score_tables",
    "sign_fourier",
    "sign_guided",
    "sign_ste",
    "sign_swish",
    "sign_swish_pack",
    "smooth_rank",
    "tanh_continuation",
    "unpack_codes",
    "weighted_hamming_topk",
]
