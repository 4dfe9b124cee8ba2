"""What every method shares: fit, recommend, index, files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from hashgcn.evaluate.protocol import HammingRanking, Ranking
from hashgcn.graph import BipartiteGraph
from hashgcn.networks.sampling import epoch_generator, padded_batches, user_order
from hashgcn.train.settings import CommonSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import ArrayLike
    from typing_extensions import Self

    from hashgcn.data import Dataset
    from hashgcn.retrieval import HammingIndex, Recommender


class Network(nn.Module):
    """The trainable part of a method: what `training` needs of it.

    Subclasses draw initial values from `generator` on the CPU, so that devices start alike.

    Attributes:
        rankings: the names that `ranking` knows; "codes" is what is saved.
    """

    rankings: ClassVar[tuple[str, ...]] = ("codes",)

    def __init__(self, graph: BipartiteGraph, settings: CommonSettings) -> None:
        super().__init__()
        self.settings = settings
        self.generator = torch.Generator().manual_seed(settings.seed)

    def batches(self, graph: BipartiteGraph, epoch: int) -> Sequence[Tensor]:
        """What each step of an epoch trains on, int64: here rows of users, padded with -1.

        The same for the same (seed, epoch), so that a resumed run equals an uninterrupted one; as
        many steps in every epoch.
        """
        order = user_order(graph, epoch_generator(self.settings.seed, epoch))
        rows = order.to(graph.user_ptr.device)
        return padded_batches(rows, self.settings.users_per_step(graph.num_users))

    def loss(self, graph: BipartiteGraph, batch: Tensor, progress: float) -> Tensor:
        """Loss of a batch, one of `batches`; progress in [0, 1) drives schedules."""
        raise NotImplementedError

    def codes(self, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        """Packed codes of users and items."""
        raise NotImplementedError

    def ranking(self, graph: BipartiteGraph, name: str) -> Ranking:
        """One of `rankings`: what is evaluated."""
        return HammingRanking(*self.codes(graph), self.settings.code_length)

    def other_metrics(self, graph: BipartiteGraph, data: Dataset) -> dict[str, dict[str, float]]:
        """Test metrics that are not those of one of `rankings`, by name."""
        return {}

    def learning_rates(self) -> dict[str, float]:
        """Peak learning rate of each parameter, by name."""
        return {name: self.settings.learning_rate for name, _ in self.named_parameters()}


class HashModel:
    """A method that turns interactions into codes.

    Args:
        settings: by name, those of the method's class in hashgcn.train.settings, `settings_type`;
            `defaults` are its defaults where they differ from that class's.

    Raises:
        ValueError: settings that are unknown or out of range.
    """

    network: ClassVar[type[Network]]
    settings_type: ClassVar[type[CommonSettings]]
    defaults: ClassVar[dict[str, Any]] = {}

    def __init__(self, **settings: Any) -> None:
        self.settings = self.settings_type(**{**self.defaults, **settings})
        self.recommender: Recommender | None = None
        self.metrics: dict[str, Any] | None = None

    def fit(
        self,
        data: Dataset,
        *,
        device: str | torch.device = "cpu",
        run: str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: bool = True,
        callback: Callable[[dict[str, Any]], None] | None = None,
    ) -> Self:
        """Choose the number of epochs on a part of train, refit on all of it, evaluate test once.

        Args:
            data: train and test interactions, see hashgcn.data; without test pairs there are no
                test metrics.
            device: any torch device that the ops are built for.
            run: folder for settings, metrics, codes, curves and checkpoints; None keeps nothing.
            resume: continue from the checkpoint in `run`, bit for bit.
            progress: show a progress bar.
            callback: called after each epoch with its phase, epoch, loss and, in selection,
                validation metrics: an entry of `metrics["history"]`.

        Returns:
            self, with `metrics` (what metrics.json holds) and ready to recommend.

        Raises:
            ValueError: settings or data that do not fit; with resume, a checkpoint of other ones.
            FileNotFoundError: with resume, a run without a checkpoint.
            KeyboardInterrupt: Ctrl-C, after a checkpoint was written.

        The same seed gives the same codes, for any number of threads. No method keeps scores of
        users x items; metrics["peak_rss_mb"] and ["train_seconds"] say what a fit took.
        """
        from hashgcn.train.loop import train

        result = train(
            self.network,
            data,
            self.settings,
            device=torch.device(device),
            run=None if run is None else Path(run),
            resume=resume,
            progress=progress,
            callback=callback,
        )
        self.recommender, self.metrics = result.recommender, result.metrics
        return self

    def recommend(
        self, users: ArrayLike, k: int = 10, **options: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Raw ids and scores of each user's k best items; see retrieval.Recommender.recommend."""
        return self._fitted().recommend(users, k, **options)

    def fold_in(self, items: Sequence[ArrayLike], **options: Any) -> np.ndarray:
        """Codes of new users from lists of raw item ids; see retrieval.Recommender.fold_in."""
        return self._fitted().fold_in(items, **options)

    def index(self) -> HammingIndex:
        """The items' codes, to be searched, saved or changed: the model keeps its own as it is."""
        return self._fitted().index.snapshot()

    def _fitted(self) -> Recommender:
        if self.recommender is None:
            raise ValueError(f"{type(self).__name__} is not fitted yet: call fit first")
        return self.recommender
