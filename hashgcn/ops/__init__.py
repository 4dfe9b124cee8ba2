"""Torch ops on CPU and CUDA: gradients of the sign, losses' tables, top-N, propagation."""

from hashgcn.ops._library import check_errors
from hashgcn.ops.fixed_order_mm import fixed_order_mm
from hashgcn.ops.hamming_histogram import hamming_histogram
from hashgcn.ops.hamming_topk import TopK, hamming_topk
from hashgcn.ops.pack_codes import pack_codes, unpack_codes
from hashgcn.ops.pack_levels import pack_levels, unpack_levels
from hashgcn.ops.propagate import propagate
from hashgcn.ops.score_tables import score_tables
from hashgcn.ops.signs import sign_fourier, sign_guided, sign_ste, sign_swish, tanh_continuation
from hashgcn.ops.smooth_rank import smooth_rank

__all__ = [
    "TopK",
    "check_errors",
    "fixed_order_mm",
    "hamming_histogram",
    "hamming_topk",
    "pack_codes",
    "pack_levels",
    "propagate",
    "score_tables",
    "sign_fourier",
    "sign_guided",
    "sign_ste",
    "sign_swish",
    "smooth_rank",
    "tanh_continuation",
    "unpack_codes",
    "unpack_levels",
]
