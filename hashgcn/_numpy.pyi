"""The CPU kernels over NumPy arrays; hashgcn.retrieval is what to use."""

import numpy as np

def pack_codes(x: np.ndarray, num_threads: int = 0) -> np.ndarray: ...
def unpack_codes(words: np.ndarray, code_length: int, num_threads: int = 0) -> np.ndarray: ...
def hamming_topk(
    queries: np.ndarray,
    items: np.ndarray,
    k: int,
    code_length: int,
    exclude_ptr: np.ndarray | None = None,
    exclude_ids: np.ndarray | None = None,
    allow: np.ndarray | None = None,
    num_threads: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Ids int64 [Q, k] and distances int32 [Q, k]; queries [Q, words] or [Q, planes, words]."""

def find_texts(
    text: np.ndarray,
    offsets: np.ndarray,
    order: np.ndarray,
    wanted_text: np.ndarray,
    wanted_offsets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Places int64 [m], the number of known texts below each; rows int64 [m], -1 if unknown."""

def instruction_set() -> str: ...
def instruction_sets() -> list[str]: ...
def processors(root: str = "") -> int:
    """Those that this process may use; `root` is where /proc and /sys lie."""
