"""A warm start: training begins from the embeddings at the end of another run."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hashgcn.data import Interactions
from hashgcn.data.ids import find
from hashgcn.data.interactions import are_in
from hashgcn.networks.base import Network
from hashgcn.train.checkpoint import fingerprint


@dataclass(frozen=True, eq=False)
class End:
    """What the end of a run leaves to one that begins from it.

    Attributes:
        method: the name of its method.
        form: the settings that a code's form depends on, by name.
        chosen: the settings that its best trial changed, by name.
        state: of its network, on the CPU.
        train: its train pairs.
        user_ids, item_ids: the raw ids of its rows, int64 or str.
        user_codes, item_codes: its packed codes, as networks.Network.codes gives them.
    """

    method: str
    form: dict[str, Any]
    chosen: dict[str, Any]
    state: dict[str, Tensor]
    train: Interactions
    user_ids: np.ndarray
    item_ids: np.ndarray
    user_codes: np.ndarray
    item_codes: np.ndarray


class Start:
    """The beginning of a run from the end of another one, whose users and items it may not share.

    Args:
        end: the other run's.
        user_ids, item_ids: of the run that begins.

    Raises:
        ValueError: ids of another kind than those of the other run.
    """

    def __init__(self, end: End, user_ids: np.ndarray, item_ids: np.ndarray) -> None:
        self.end = end
        # The rows of the other run, -1 for who is new.
        self.users = _rows("users", end.user_ids, user_ids)
        self.items = _rows("items", end.item_ids, item_ids)
        shape = len(user_ids), len(item_ids)
        users, items = (
            _inverse(rows, count)
            for rows, count in zip((self.users, self.items), end_shape(end), strict=True)
        )
        pairs = users[end.train.users()], items[end.train.ids]
        both = (pairs[0] >= 0) & (pairs[1] >= 0)
        self.known = Interactions.from_pairs(pairs[0][both], pairs[1][both], *shape)

    def identity(self) -> str:
        """A hash of all that the start gives to a run."""
        digest = hashlib.sha256(fingerprint(self.known).encode())
        digest.update(json.dumps(self.end.chosen, sort_keys=True).encode())
        for rows in (self.users, self.items):
            digest.update(rows.tobytes())
        for name in sorted(self.end.state):
            digest.update(name.encode() + self.end.state[name].contiguous().numpy().tobytes())
        return digest.hexdigest()

    def fill(self, network: Network) -> Network:
        """The network with the rows of the users and items that the other run has.

        The rows of others stay as they were drawn.

        Raises:
            ValueError: the other run's network has parameters of another shape.
        """
        state, count = network.state_dict(), len(self.end.user_ids)
        rows = {
            "users": self.users,
            "items": self.items,
            "nodes": np.append(self.users, np.where(self.items < 0, -1, count + self.items)),
        }
        counts = dict(zip(("users", "items"), end_shape(self.end), strict=True))
        counts["nodes"] = sum(counts.values())
        for name in sorted(state.keys() | self.end.state.keys()):
            old, new = self.end.state.get(name), state.get(name)
            kind = network.rows_of.get(name)
            shape = None if new is None else tuple(new.shape)
            if shape is not None and kind is not None:
                shape = counts[kind], *shape[1:]
            if old is None or new is None or tuple(old.shape) != shape:
                wanted, found = (
                    "none" if x is None else f"one of shape {list(x)}"
                    for x in (shape, None if old is None else old.shape)
                )
                raise ValueError(f"start: expected {wanted} for array {name!r}, got {found}")
            if kind is None:
                new.copy_(old)
            else:
                own = torch.from_numpy(rows[kind])
                new[own >= 0] = old[own[own >= 0]].to(new)
        return network

    def hold_out(
        self, train: Interactions, held: Interactions
    ) -> tuple[Interactions, Interactions]:
        """Train without what is held out of it, which are pairs that the other run lacks.

        The embeddings know the others already: they would say that no training is best.
        """
        held = held.where(~are_in(self.known, held))
        return train.where(~are_in(held, train)), held

    def flipped(self, user_codes: np.ndarray, item_codes: np.ndarray) -> dict[str, float | None]:
        """The share of bits that differ from the other run's, of users and items that both have.

        Args:
            user_codes, item_codes: of the run that has begun here, packed as the other's.

        Returns:
            The shares of "users" and "items", in [0, 1]; of graded users all planes count. None
            where both runs have none.
        """
        end, length = self.end, self.end.form["code_length"]
        shares: dict[str, float | None] = {}
        for name, rows, old, new in (
            ("users", self.users, end.user_codes, user_codes),
            ("items", self.items, end.item_codes, item_codes),
        ):
            both = rows >= 0
            different = np.bitwise_count((new[both] ^ old[rows[both]]).view(np.uint64)).sum()
            bits = both.sum() * length * (old.shape[1] if old.ndim == 3 else 1)
            shares[name] = round(float(different / bits), 6) if bits else None
        return shares


def end_shape(end: End) -> tuple[int, int]:
    """The numbers of users and of items of a run."""
    return len(end.user_ids), len(end.item_ids)


def _rows(name: str, known: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The row of each id among the known ones, -1 for a new one."""
    return find("data", known, np.argsort(known, kind="stable"), ids, f"the start's {name}")


def _inverse(rows: np.ndarray, count: int) -> np.ndarray:
    """For each of so many rows its place in `rows`, -1 where it has none."""
    places = np.full(count, -1)
    places[rows[rows >= 0]] = np.flatnonzero(rows >= 0)
    return places
