"""The bipartite graph of users and items, and candidate lists: CSR tensors that ops take."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class BipartiteGraph:
    """Both CSR halves of the user-item graph and its symmetric normalisation.

    The normalised adjacency is D^-1/2 A D^-1/2, which one number per node describes: a propagation
    step multiplies by `scale`, sums over neighbours and multiplies by `scale` again.

        >>> graph = BipartiteGraph.from_csr(torch.tensor([0, 2, 3]), torch.tensor([0, 2, 2]), 3)
        >>> graph
        BipartiteGraph(2 users, 3 items, 3 pairs, cpu)
        >>> graph.item_users.tolist()
        [0, 0, 1]

    Attributes:
        user_ptr: int64 [m + 1]; user u's items are user_items[user_ptr[u]:user_ptr[u + 1]].
        user_items: int64 [pairs], strictly increasing inside a row.
        item_ptr: int64 [n + 1]; item i's users are item_users[item_ptr[i]:item_ptr[i + 1]].
        item_users: int64 [pairs], increasing inside a row.
        scale: float64 [m + n], degree^-1/2 of the users, then of the items; 0 for degree 0.
        recency: float64 [pairs], k / degree for the user's k-th item in time, k from 1; None where
            the order in time is not known.
        weights: float32 [pairs], how much each pair counts in the loss; None if all count alike.
            Propagation does not use them.
    """

    user_ptr: Tensor
    user_items: Tensor
    item_ptr: Tensor
    item_users: Tensor
    scale: Tensor
    recency: Tensor | None = None
    weights: Tensor | None = None

    @classmethod
    def from_csr(
        cls,
        user_ptr: Tensor,
        user_items: Tensor,
        num_items: int,
        recency: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> BipartiteGraph:
        """The graph of the users' half, from which the items' half follows.

        Args:
            user_ptr, user_items, recency, weights: as the attributes; on one device.
            num_items: n.

        Raises:
            ValueError: no tensor, another dtype or shape; user_ptr does not rise from 0 to the
                number of user_items; an item out of range.

        That items increase inside a row is checked by the ops. Cost O(pairs log pairs).
        """
        for name, x in (("user_ptr", user_ptr), ("user_items", user_items)):
            if not isinstance(x, Tensor) or x.dtype != torch.int64 or x.dim() != 1:
                got = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
                raise ValueError(
                    f"{name}: expected a torch.Tensor, int64 of one dimension, got {got}"
                )
        if user_items.device != user_ptr.device:
            raise ValueError(
                f"user_items: expected on {user_ptr.device} like user_ptr, got {user_items.device}"
            )
        pairs = len(user_items)
        if len(user_ptr) == 0 or user_ptr[0] != 0 or user_ptr[-1] != pairs:
            raise ValueError(f"user_ptr: expected to rise from 0 to {pairs}, got one that does not")
        if (user_ptr.diff() < 0).any():
            user = int((user_ptr.diff() < 0).nonzero()[0])
            raise ValueError(f"user_ptr: expected to rise, got one that falls after user {user}")
        if pairs and not 0 <= user_items.min() <= user_items.max() < num_items:
            bad = user_items[(user_items < 0) | (user_items >= num_items)][0]
            raise ValueError(f"user_items: expected items in [0, {num_items}), got {int(bad)}")
        degrees = user_ptr.diff()
        users = torch.arange(len(degrees), device=user_ptr.device).repeat_interleave(degrees)
        item_degrees = torch.bincount(user_items, minlength=num_items)
        degree = torch.cat([degrees, item_degrees]).double()
        return cls(
            user_ptr=user_ptr,
            user_items=user_items,
            item_ptr=torch.nn.functional.pad(item_degrees.cumsum(0), (1, 0)),
            item_users=users[torch.argsort(user_items, stable=True)],
            scale=torch.where(degree > 0, 1 / degree.sqrt(), 0.0),
            recency=recency,
            weights=weights,
        )

    def __repr__(self) -> str:
        return (
            f"BipartiteGraph({self.num_users:,} users, {self.num_items:,} items, "
            f"{len(self.user_items):,} pairs, {self.user_ptr.device})"
        )

    @property
    def num_users(self) -> int:
        """m, users without items included."""
        return self.user_ptr.shape[0] - 1

    @property
    def num_items(self) -> int:
        """n, items without users included."""
        return self.item_ptr.shape[0] - 1

    @cached_property
    def has_full_user(self) -> bool:
        """Whether some user has every item, so that no negative can be drawn for them."""
        return self.num_users > 0 and int(self.user_ptr.diff().max()) == self.num_items

    @cached_property
    def lacking_keys(self) -> Tensor:
        """int64 [pairs], rising: user * n + i_j - j for each of the user's items i_0 < i_1 < ...

        i_j - j is the number of items below i_j that the user lacks (sampling.uniform_negatives).
        """
        pairs = torch.arange(len(self.user_items), device=self.user_items.device)
        owner = torch.searchsorted(self.user_ptr, pairs, right=True) - 1
        return owner * self.num_items + self.user_items - (pairs - self.user_ptr[owner])

    @cached_property
    def user_weights(self) -> Tensor:
        """float64 [m], the sum of the weights of each user's pairs; where pairs have weights."""
        assert self.weights is not None
        degrees = self.user_ptr.diff()
        owner = torch.arange(self.num_users, device=degrees.device).repeat_interleave(degrees)
        # On the CPU, which adds in order.
        total = torch.zeros(self.num_users, dtype=torch.float64)
        total.index_add_(0, owner.cpu(), self.weights.cpu().double())
        return total.to(self.user_ptr.device)

    def to(self, device: torch.device | str) -> BipartiteGraph:
        """The same graph on another device."""
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        return BipartiteGraph(**{k: x.to(device) for k, x in parts.items() if x is not None})

    def positives(self, users: Tensor, size: int | None = None) -> tuple[Tensor, Tensor]:
        """Row in the batch and item of every positive of users [b], row by row; none of -1.

        `size`: how many that are, where the caller knows; else the host reads it from the device.
        """
        row, pair = self.pairs_of(users, size)
        return row, self.user_items[pair]

    def pairs_of(self, users: Tensor, size: int | None = None) -> tuple[Tensor, Tensor]:
        """As `positives`, but the place of the pair in user_items instead of the item."""
        known = users.clamp(min=0)
        begin = self.user_ptr[known]
        degree = (self.user_ptr[known + 1] - begin) * (users >= 0)
        rows = torch.arange(len(users), device=users.device)
        row = torch.repeat_interleave(rows, degree, output_size=size)
        place = torch.arange(len(row), device=users.device) - (degree.cumsum(0) - degree)[row]
        return row, begin[row] + place

    def recent(self, fraction: float) -> BipartiteGraph | None:
        """The graph of the last `fraction` of each user's items, at least one of them.

        None where the order in time is not known, or the fraction is 0. Cost O(pairs log pairs).
        """
        if self.recency is None or fraction == 0:
            return None
        chosen = self.recency > 1 - fraction
        counted = torch.nn.functional.pad(chosen.cumsum(0), (1, 0))
        ptr = counted[self.user_ptr]
        return BipartiteGraph.from_csr(ptr, self.user_items[chosen], self.num_items)


class Candidates(NamedTuple):
    """A list of candidate items for each row of a batch, instead of the whole catalogue.

    Attributes:
        ptr: int64 [b + 1]; row r's candidates are ids[ptr[r]:ptr[r + 1]].
        ids: int64, in any order; a repeated id counts each time.
        weight: float [ids], how much each candidate counts, e.g. n / len(list) for a uniform
            sample; None for 1.
    """

    ptr: Tensor
    ids: Tensor
    weight: Tensor | None = None
