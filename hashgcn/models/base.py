"""What every method shares: settings, fit, evaluation, recommendations, files."""

from __future__ import annotations

import inspect
import json
import os
import resource
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike

from hashgcn.data import Dataset
from hashgcn.errors import NotFittedError
from hashgcn.evaluate import Evaluation, HammingRanking, evaluate, evaluate_codes
from hashgcn.graph import BipartiteGraph
from hashgcn.models.metrics import Metrics
from hashgcn.models.settings import ModelSettings, fields
from hashgcn.networks.base import Network
from hashgcn.retrieval import HammingIndex, Recommendations, Recommender
from hashgcn.runs.folder import Run
from hashgcn.train.checkpoint import Checkpoints, Identity, Position, fingerprint
from hashgcn.train.loop import Loop

if TYPE_CHECKING:
    from typing_extensions import Self

    from hashgcn.retrieval.lists import ItemLists

# Methods by name, in the order of their definition.
METHODS: dict[str, type[HashModel]] = {}


class HashModel:
    """A method that turns interactions into codes.

    Args:
        settings: by name; `help` of the subclass lists them with their defaults.

    Raises:
        ValueError: a name that is no setting of the method, or a value out of range.

    Attributes:
        settings: the settings in their groups, see ModelSettings.
        recommender: the codes of a fitted model, None before.
        metrics: the metrics of the last fit, see Metrics; None before it and after `load`.
    """

    method: ClassVar[str]
    network: ClassVar[type[Network]]
    # Defaults where they differ from those of the settings' classes.
    defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        METHODS[cls.method] = cls
        parameters = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=cls.defaults.get(name, field.default),
                annotation=field.annotation,
            )
            for name, field in fields(cls.network).items()
        ]
        # inspect and help read it; editors and mypy read methods.pyi.
        setattr(cls, "__signature__", inspect.Signature(parameters))  # noqa: B010

    def __init__(self, **settings: Any) -> None:
        self.settings = ModelSettings.of(self.network, self.defaults | settings)
        self.recommender: Recommender | None = None
        self.metrics: Metrics | None = None

    def __repr__(self) -> str:
        default = type(self)().settings.as_set()
        changed = {k: v for k, v in self.settings.as_set().items() if v != default[k]}
        text = ", ".join(f"{name}={value!r}" for name, value in changed.items())
        fitted = "" if self.recommender is None else f" fitted to {self.recommender!r}"
        return f"{type(self).__name__}({text}){fitted}"

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
            run: new folder for everything that the command line saves; None saves nothing.
            resume: continue from the checkpoint in `run`, bit for bit.
            progress: show a progress bar.
            callback: called after each epoch with its entry of `metrics.history`.

        Returns:
            self, with `metrics`, ready to recommend.

        Raises:
            ValueError: settings or data that do not fit; a folder that holds a run; with resume, a
                checkpoint of another method, other settings or other data.
            FileNotFoundError: with resume, a run without a checkpoint.
            KeyboardInterrupt: Ctrl-C, after a checkpoint was written.

        The same seed gives the same codes, for any number of threads. No method keeps scores of
        users x items.
        """
        settings = self.settings
        folder = None if run is None else Run(run)
        loop = Loop(
            lambda graph: self.network(graph, settings.network, settings.train.seed),
            data.train,
            settings.train,
            settings.selection,
            settings.selection.selection_ranking or self.network.rankings(settings.network)[0],
            torch.device(device),
            None if folder is None else self._checkpoints(folder, data),
            progress,
            callback or (lambda entry: None),
        )
        if folder is not None and not resume:
            self._begin(folder, data)
        network, graph, position = loop.run(resume)
        if folder is not None and resume:  # only now is it known to be the run that was begun
            self._begin(folder, data, resume=True)
        users, items = (x.cpu().numpy() for x in network.codes(graph))
        index = HammingIndex(
            items,
            code_length=settings.network.code_length,
            ids=data.item_ids,
            popularity_bits=settings.network.num_popularity_bits,
        )
        self.recommender = Recommender(users, data.user_ids, index, data.train)
        self.metrics = self._measured(network, graph, data, position, loop.chosen_epochs())
        if folder is not None:
            self.save(folder.codes)
            folder.finish(self.metrics.to_json(), settings.selection.selection_metric)
        return self

    def _begin(self, folder: Run, data: Dataset, resume: bool = False) -> None:
        settings = self.settings.as_set()
        folder.begin(self.method, settings, data.name, data.origin, resume=resume)

    def _checkpoints(self, folder: Run, data: Dataset) -> Checkpoints:
        identity = Identity(
            self.method,
            self.settings.that_change_results(),
            type(self)().settings.that_change_results(),
            fingerprint(data.train, data.test),
        )
        return Checkpoints(folder.checkpoint, folder.previous_checkpoint, identity)

    def _measured(
        self,
        network: Network,
        graph: BipartiteGraph,
        data: Dataset,
        position: Position,
        epochs: int,
    ) -> Metrics:
        """Test is looked at here, and only here."""
        s = self.settings.selection
        names = ("codes", *(n for n in network.rankings(network.settings) if n != "codes"))
        rankings = {name: network.ranking(graph, name) for name in names}
        test = {
            name: evaluate(x, data.train, data.test, s.cutoffs, batch_users=s.eval_users)
            for name, x in rankings.items()
            if data.test.num_pairs
        }
        chosen = [entry.get("validation") for entry in position.history][epochs - 1]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return Metrics(
            test=test.pop("codes", {}),
            rankings=test,
            bytes_per_item={name: x.bytes_per_item for name, x in rankings.items()},
            validation=chosen,
            epochs=epochs,
            train_seconds=round(position.seconds["refit"], 3),
            selection_seconds=round(position.seconds["selection"], 3),
            peak_memory_mb=round(peak, 1),
            order_in_time_known=data.train.order is not None,
            history=position.history,
        )

    def evaluate(self, data: Dataset, *, cutoffs: Iterable[int] | None = None) -> Evaluation:
        """Test metrics of the codes, of a popularity ranking, and what ties leave open.

        Args:
            data: the data set that the model was fitted to, or its users and items with other test
                pairs.
            cutoffs: K of the metrics; the model's own if left out.

        Raises:
            ValueError: data with other users, items or train pairs, or without test pairs.
            NotFittedError: the model is not fitted.
        """
        recommender = self._fitted()
        check_same(recommender, data)
        s = self.settings.selection
        cutoffs = s.cutoffs if cutoffs is None else tuple(cutoffs)
        ranking = ranking_of(recommender)
        return evaluate_codes(ranking, data, cutoffs, batch_users=s.eval_users)

    def recommend(
        self,
        users: ArrayLike,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        popularity_weight: float | None = None,
        num_threads: int = 0,
    ) -> Recommendations:
        """The k best items of each user; see retrieval.Recommender.recommend."""
        return self._fitted().recommend(
            users,
            k,
            exclude_seen=exclude_seen,
            popularity_weight=popularity_weight,
            num_threads=num_threads,
        )

    def fold_in(
        self,
        items: ItemLists,
        *,
        recent_fraction: float = 0.0,
        ignore_unknown: bool = False,
        num_threads: int = 0,
    ) -> np.ndarray:
        """Codes of new users from the items that they like; see retrieval.Recommender.fold_in."""
        return self._fitted().fold_in(
            items,
            recent_fraction=recent_fraction,
            ignore_unknown=ignore_unknown,
            num_threads=num_threads,
        )

    def index(self) -> HammingIndex:
        """The items' codes, to be searched, saved or changed: the model keeps its own as it is."""
        return self._fitted().index.snapshot()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write codes, method and settings to a file, which retrieval.Recommender reads as well.

        Raises:
            NotFittedError: the model is not fitted.
            FileNotFoundError: no such folder.
        """
        settings = json.dumps(self.settings.as_set())
        self._fitted().save(path, metadata={"method": self.method, "settings": settings})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """What `save` wrote; a run's codes.safetensors is such a file.

        Raises:
            FileNotFoundError: no such file.
            ValueError: a damaged file, or one of another method.
        """
        recommender, metadata = Recommender.load_with_metadata(path)
        method = METHODS.get(metadata.get("method", ""))
        if method is None or not issubclass(method, cls):
            found = metadata.get("method", "no method")
            raise ValueError(f"{path}: expected a file of {cls.__name__}, got {found}")
        try:
            model = method(**json.loads(metadata["settings"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: expected settings of {cls.__name__}, got {error}") from error
        model.recommender = recommender
        return model  # type: ignore[return-value]

    def _fitted(self) -> Recommender:
        if self.recommender is None:
            raise NotFittedError(self)
        return self.recommender


def ranking_of(recommender: Recommender) -> HammingRanking:
    """How the codes of a recommender rank the items."""
    users, items = map(torch.from_numpy, (recommender.user_codes, recommender.index.codes))
    return HammingRanking(users, items, recommender.index.code_length)


def check_same(recommender: Recommender, data: Dataset) -> None:
    """Raise a ValueError if the codes are not of the users, items and train pairs of the data."""
    seen, train = recommender.seen, data.train
    for kind, mine, theirs in (
        ("users", recommender.user_ids, data.user_ids),
        ("items", recommender.index.ids, data.item_ids),
        ("train pairs", seen.ptr, train.ptr),
        ("train pairs", seen.ids, train.ids),
    ):
        if not np.array_equal(mine, theirs):
            raise ValueError(f"data: expected the {kind} of the fit, got others in {data.name}")
