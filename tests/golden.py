"""Golden values and files: what a change of structure must leave as it is.

    python tests/golden.py      writes tests/golden anew: for changes that are meant to change it

Codes are trained with one thread, the kernels' and torch's plainest instructions, and the pinned
torch, so that processors of one kind agree to the last bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("golden")
PLAIN = {"HASHGCN_CPU": "baseline", "ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"}

# Variants of RecallHash with users of one level.
VARIANTS: dict[str, dict[str, Any]] = {
    **{e: {"estimator": e} for e in ("signswish", "ste", "clipped_ste", "fourier")},
    **{x: {"loss": x} for x in ("ndcg", "softmax", "bpr")},
    "linear": {"rank": "linear", "tau_rank": 30.0, "mean": "pairs"},
    "sampled": {"sampled_items": 30},
    "paper": {"popularity_bits": 0, "recent_fraction": 0.0},
}
# Name: method and settings.
TRAINED: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"recallhash, {x}": ("recall_hash", {"user_levels": 1} | s) for x, s in VARIANTS.items()},
    **{f"recallhash, {x} levels": ("recall_hash", {"user_levels": x}) for x in (2, 8)},
    **{f"lightgcn, {x}": ("lightgcn", {"loss": x}) for x in ("recall", "softmax")},
    "lightgcn, bpr": ("lightgcn", {"loss": "bpr", "batch_pairs": 256, "l2": 1e-4}),
    "bgch": ("bgch", {"batch_pairs": 256, "code_length": 48}),
    "bgch, mean": ("bgch", {"form": "mean", "popularity_bits": 5, "batch_pairs": 256}),
    "hashgnn": ("hashgnn", {"id_width": 12, "batch_pairs": 256}),
    "hashrec": ("hashrec", {"batch_pairs": 256}),
}
COMMON = {"code_length": 32, "epochs": 2, "validation_fraction": 0, "cutoffs": (20,)}
COMMON |= {"selection_metric": "recall@20"}


def data() -> Any:
    from hashgcn.data import generate_sample

    return generate_sample(num_users=150, num_items=200, mean_degree=20.0)


def matrix() -> Any:
    """The users' train items as SciPy's CSR."""
    import numpy as np
    from scipy.sparse import csr_matrix

    train = data().train
    shape = (train.num_users, train.num_items)
    return csr_matrix((np.ones(train.num_pairs, np.float32), train.ids, train.ptr), shape)


def model(name: str, **more: Any) -> Any:
    from hashgcn.models import METHODS

    method, settings = TRAINED[name]
    return METHODS[method](**COMMON | settings | more)


def codes() -> dict[str, dict[str, Any]]:
    """By name, a hash of the packed codes and the last epoch's loss."""
    found = {}
    for name in TRAINED:
        fitted = model(name).fit(data(), progress=False)
        recommender = fitted.recommender
        words = recommender.user_codes.tobytes() + recommender.index.codes.tobytes()
        loss = fitted.metrics.history[-1]["loss"]
        found[name] = {"codes": hashlib.sha256(words).hexdigest()[:16], "loss": loss}
    return found


def resumed(checkpoint: Path) -> str:
    """The hash of the codes that a run ends with which goes on from a checkpoint."""
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(checkpoint, Path(scratch) / checkpoint.name)
        name = "recallhash, signswish"
        # It knows no trials, which then count as the defaults, and a validation part as it was.
        first = {"validation_part": "random", "tune": tuple(type(model(name)).tunes)}
        fitted = model(name, **first).fit(data(), run=scratch, resume=True, progress=False)
    words = fitted.recommender.user_codes.tobytes() + fitted.recommender.index.codes.tobytes()
    return hashlib.sha256(words).hexdigest()[:16]


def trained_again() -> dict[str, Any]:
    """What codes() finds now, and what a run ends with that goes on from the golden checkpoint."""
    return {"trained": codes(), "resumed": resumed(FOLDER / "checkpoint.safetensors")}


def in_plain_process(call: str) -> Any:
    """What a function of this file returns in a process with PLAIN in its environment."""
    script = f"import golden, json; print(json.dumps(golden.{call}))"
    command = [sys.executable, "-W", "ignore", "-c", script]
    here = Path(__file__).parent
    environment = os.environ | PLAIN | {"PYTHONPATH": f"{here}{os.pathsep}{here.parent}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def answers(index: Any, recommender: Any, estimator: Any) -> dict[str, Any]:
    """What loaded files say: ids and distances or scores, as lists."""
    import numpy as np

    queries = recommender.user_codes[:5]
    nothing = matrix()[:5]
    return {
        "index": [x.tolist() for x in index.search(queries, k=7)],
        "recommender": [x.tolist() for x in recommender.recommend(["user-0003", "user-0100"], k=7)],
        "estimator": [
            np.asarray(x).tolist() for x in estimator.recommend(np.arange(5), nothing, N=7)
        ],
    }


def write() -> None:
    """Trains and saves everything; run in a plain process."""
    import torch

    from hashgcn.compat.implicit import HashRecommender

    FOLDER.mkdir(exist_ok=True)
    fitted = model("recallhash, signswish").fit(data(), progress=False)
    fitted.index().save(FOLDER / "index.hgx")
    fitted.recommender.save(FOLDER / "recommender.safetensors")
    estimator = HashRecommender(**{k: v for k, v in COMMON.items() if k != "validation_fraction"})
    estimator.fit(matrix(), show_progress=False)
    estimator.save(FOLDER / "estimator.safetensors")

    class Stop(Exception):
        pass

    def stop(entry: dict[str, Any]) -> None:
        raise Stop

    with tempfile.TemporaryDirectory() as scratch:
        try:
            model("recallhash, signswish").fit(data(), run=scratch, progress=False, callback=stop)
        except Stop:
            shutil.copy(Path(scratch) / "checkpoint.safetensors", FOLDER)
    values = {
        "torch": torch.__version__.partition("+")[0],
        "trained": codes(),
        "answers": answers(fitted.index(), fitted.recommender, estimator),
    }
    text = json.dumps(values, indent=1)
    (FOLDER / "values.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    in_plain_process("write()")
