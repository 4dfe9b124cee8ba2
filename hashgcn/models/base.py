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

from hashgcn.data import Dataset, Interactions
from hashgcn.data.cold import ColdUsers, count_cold
from hashgcn.errors import NotFittedError
from hashgcn.evaluate import (
    CodeUse,
    Evaluation,
    HammingRanking,
    code_use,
    evaluate,
    evaluate_codes,
)
from hashgcn.graph import BipartiteGraph
from hashgcn.models.metrics import Metrics, tried
from hashgcn.models.settings import ModelSettings, fields
from hashgcn.networks.base import Network
from hashgcn.retrieval import HammingIndex, Recommendations, Recommender
from hashgcn.runs.folder import Run
from hashgcn.train.checkpoint import Checkpoints, Identity, Position, fingerprint, network_at_end
from hashgcn.train.loop import Configuration, Loop
from hashgcn.train.processes import check_alone
from hashgcn.train.search import Changes, Search
from hashgcn.train.start import End, Start

if TYPE_CHECKING:
    from typing_extensions import Self

    from hashgcn.retrieval.filters import ItemFilter
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
    # Settings that a fit may change unless they are given, with the factors that it tries; for the
    # number of epochs it needs none, see train.search.Search.
    tunes: ClassVar[dict[str, tuple[float, ...]]] = {}

    def __init_subclass__(cls) -> None:
        METHODS[cls.method] = cls
        defaults = cls.defaults | {"tune": tuple(cls.tunes)}
        parameters = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(name, field.default),
                annotation=field.annotation,
            )
            for name, field in fields(cls.network).items()
        ]
        # inspect and help read it; editors and mypy read methods.pyi.
        setattr(cls, "__signature__", inspect.Signature(parameters))  # noqa: B010

    def __init__(self, **settings: Any) -> None:
        free = {"tune": tuple(name for name in self.tunes if name not in settings)}
        self.settings = ModelSettings.of(self.network, self.defaults | free | settings)
        for name in self.settings.selection.tune:
            if name not in self.tunes:
                known = ", ".join(self.tunes) or "none"
                raise ValueError(f"tune: expected settings of {known}, got {name!r}")
        self.recommender: Recommender | None = None
        self.metrics: Metrics | None = None
        self._end: End | None = None

    def __repr__(self) -> str:
        default = type(self)().settings.as_set()
        changed = {k: v for k, v in self.settings.as_set().items() if v != default[k]}
        others = {k: v for k, v in changed.items() if k != "tune"}
        if type(self)(**others).settings == self.settings:
            changed = others
        text = ", ".join(f"{name}={value!r}" for name, value in changed.items())
        fitted = "" if self.recommender is None else f" fitted to {self.recommender!r}"
        return f"{type(self).__name__}({text}){fitted}"

    def fit(
        self,
        data: Dataset,
        *,
        device: str | torch.device = "cpu",
        run: str | os.PathLike[str] | None = None,
        start: HashModel | str | os.PathLike[str] | None = None,
        resume: bool = False,
        progress: bool = True,
        callback: Callable[[dict[str, Any]], None] | None = None,
    ) -> Self:
        """Choose settings and epochs on a part of train, refit on all of it, evaluate test once.

        Args:
            data: train and test interactions, see hashgcn.data; without test pairs there are no
                test metrics.
            device: any torch device that the ops are built for.
            run: new folder for everything that the command line saves; None saves nothing.
            start: begin from the embeddings of another fit instead of random ones: the folder of
                a finished run, or a model that was fitted in this process. Users and items are
                matched by id; new ones begin with random rows. Pairs that it was trained on are not
                held out. Settings that it chose are taken over, unless they are given, and none are
                tried. `metrics.flipped` says how many bits of codes changed.
            resume: begin where `run` holds nothing, continue from its checkpoint, bit for bit, or
                take the model and the metrics of the finished run that it holds.
            progress: show a progress bar.
            callback: called after each epoch with its entry of `metrics.history`.

        Returns:
            self, with `metrics`, ready to recommend.

        Raises:
            ValueError: settings or data that do not fit; a folder that holds a run or that another
                training writes to; with resume, a run of another method, other settings, other
                data or another start; a start of another method, of codes of another form, or
                without the state of its network; one of several processes that torchrun started.
            KeyboardInterrupt: Ctrl-C, after a checkpoint was written. So for SIGTERM and SIGHUP:
                their handlers from before, which may end the process, get them afterwards.

        The same seed gives the same codes, for any number of threads. No method keeps scores of
        users x items.
        """
        check_alone()
        warm = None
        if start is not None:
            warm = Start(self._end_of(start), data.user_ids, data.item_ids)
        if run is not None:
            folder = Run(run)
            with folder.held():
                self._fit(data, torch.device(device), folder, warm, resume, progress, callback)
        elif resume:
            raise ValueError("run: expected a folder to resume from, got None")
        else:
            self._fit(data, torch.device(device), None, warm, False, progress, callback)
        return self

    def _fit(
        self,
        data: Dataset,
        device: torch.device,
        folder: Run | None,
        warm: Start | None,
        resume: bool,
        progress: bool,
        callback: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        settings, checkpoints, saved = self.settings, None, None
        if folder is not None:
            identity = self._identity(data, warm)
            checkpoints = Checkpoints(folder.checkpoint, folder.previous_checkpoint, identity)
            if not resume:
                folder.check_is_new()
            elif folder.is_finished():
                return self._take(folder, identity)
            else:
                saved = checkpoints.load()
        loop = loop_of(
            *(self, data.train, data.test_is_later, device),
            checkpoints=checkpoints,
            progress=progress,
            callback=callback,
            warm=warm,
        )
        if folder is not None:
            folder.begin(self.method, settings.as_set(), data, identity.data, start=identity.start)
        network, graph, position = loop.run(saved)
        users, items = (x.cpu().numpy() for x in network.codes(graph))
        index = HammingIndex(
            items,
            code_length=settings.network.code_length,
            ids=data.item_ids,
            popularity_bits=network.settings.num_popularity_bits,
        )
        self.recommender = Recommender(users, data.user_ids, index, data.train)
        self._end = self._end_with(self.recommender, network.state_dict(), position.changes)
        flipped = None if warm is None else warm.flipped(users, items)
        epochs = loop.chosen_epochs()
        self.metrics = self._measured(network, graph, data, position, epochs, flipped)
        if folder is not None:
            self.save(folder.codes)
            folder.finish(self.metrics.to_json(), settings.selection.selection_metric)

    def _end_with(
        self, recommender: Recommender, state: dict[str, torch.Tensor], chosen: Changes
    ) -> End:
        return End(
            self.method,
            self._form(chosen),
            chosen,
            {name: value.cpu().clone() for name, value in state.items()},
            recommender.seen,
            recommender.user_ids,
            recommender.index.ids,
            recommender.user_codes,
            recommender.index.codes,
        )

    def _form(self, chosen: Changes) -> dict[str, Any]:
        """The settings that the form of codes depends on, with some settings changed."""
        asked = self.settings.as_set()
        resolved = ModelSettings.of(self.network, asked | chosen).resolved()
        names = ("code_length", "popularity_bits", "user_levels")
        return {name: resolved[name] for name in names if name in resolved}

    def _end_of(self, start: HashModel | str | os.PathLike[str]) -> End:
        """What another fit leaves to one of this model; a ValueError if they do not fit."""
        if isinstance(start, HashModel):
            end, where = start._end, repr(start)
            if end is None:
                raise ValueError(
                    "start: expected a model that was fitted in this process, or the folder of a "
                    f"run, got {where}"
                )
        else:
            folder, where = Run(start), str(start)
            if not folder.is_finished() or not folder.checkpoint.exists():
                what = "without its checkpoint" if folder.is_finished() else "which holds none"
                raise ValueError(
                    f"start: expected the folder of a finished run, got {where}, {what}"
                )
            model = HashModel.load(folder.codes)
            assert model.recommender is not None  # it was loaded
            chosen = metrics_of(folder, model.settings).chosen
            end = model._end_with(model.recommender, network_at_end(folder.checkpoint), chosen)
        if end.method != self.method:
            raise ValueError(f"start: expected a run of {self.method}, got one of {end.method}")
        form = self._form(taken_over(self.settings, end))
        for name, value in end.form.items():
            if value != form[name]:
                raise ValueError(
                    f"start: expected a run with {name} {form[name]}, got one with {value}"
                )
        return end

    def _identity(self, data: Dataset, warm: Start | None) -> Identity:
        wanted = self.settings.that_change_results()
        return Identity(
            self.method,
            wanted,
            type(self)().settings.that_change_results(),
            frozenset(self.settings.as_set().keys() - wanted.keys()),
            fingerprint(data.train, data.test),
            None if warm is None else warm.identity(),
        )

    def _take(self, folder: Run, identity: Identity) -> None:
        """Be the model of a finished run, if it is of this method, these settings and this data."""
        asked = folder.asked()
        identity.check(folder.settings, {**asked, "data": asked["data"]["pairs"]})
        self.recommender = self.load(folder.codes).recommender
        self.metrics = metrics_of(folder, self.settings)

    def _measured(
        self,
        network: Network,
        graph: BipartiteGraph,
        data: Dataset,
        position: Position,
        epochs: int,
        flipped: dict[str, float | None] | None,
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
        cold_users, cold_items = count_cold(data.train, data.test)
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
            chosen=position.changes,
            trials=[tried(trial, s.selection_metric) for trial in position.trials],
            cold_test_users=cold_users,
            cold_test_items=cold_items,
            flipped=flipped,
            code_use=self.code_use(),
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

    def code_use(self) -> CodeUse:
        """Dead bits, copied bits and shared codes, of users and items that have pairs in train.

        No other code is used. `metrics` of a fit holds the same.

        Raises:
            NotFittedError: the model is not fitted.

        Cost: that of evaluate.bits_of for users and for items.
        """
        recommender = self._fitted()
        index, seen = recommender.index, recommender.seen
        return code_use(
            recommender.user_codes[seen.degrees() > 0],
            index.codes[seen.popularity() > 0],
            index.code_length,
            index.popularity_bits,
        )

    def recommend(
        self,
        users: ArrayLike | Iterable,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        allow: ItemFilter | None = None,
        deny: ItemFilter | None = None,
        ignore_unknown: bool = False,
        cold_users: ColdUsers = "popular",
        untrained_items: bool = False,
        popularity_weight: float | None = None,
        num_threads: int = 0,
    ) -> Recommendations:
        """The k best items of each user; see retrieval.Recommender.recommend."""
        return self._fitted().recommend(
            users,
            k,
            exclude_seen=exclude_seen,
            allow=allow,
            deny=deny,
            ignore_unknown=ignore_unknown,
            cold_users=cold_users,
            untrained_items=untrained_items,
            popularity_weight=popularity_weight,
            num_threads=num_threads,
        )

    def recommend_from(
        self,
        items: ItemLists,
        k: int = 10,
        *,
        exclude_own: bool = True,
        allow: ItemFilter | None = None,
        deny: ItemFilter | None = None,
        recent_fraction: float = 0.0,
        ignore_unknown: bool = False,
        cold_users: ColdUsers = "popular",
        untrained_items: bool = False,
        popularity_weight: float | None = None,
        num_threads: int = 0,
    ) -> Recommendations:
        """The k best items of new users; see retrieval.Recommender.recommend_from."""
        return self._fitted().recommend_from(
            items,
            k,
            exclude_own=exclude_own,
            allow=allow,
            deny=deny,
            recent_fraction=recent_fraction,
            ignore_unknown=ignore_unknown,
            cold_users=cold_users,
            untrained_items=untrained_items,
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

    def fold_in_items(
        self, users: ItemLists, *, ignore_unknown: bool = False, num_threads: int = 0
    ) -> np.ndarray:
        """Codes of new items from their users; see retrieval.Recommender.fold_in_items."""
        return self._fitted().fold_in_items(
            users, ignore_unknown=ignore_unknown, num_threads=num_threads
        )

    def index(self) -> HammingIndex:
        """The items' codes, to be searched, saved or changed: the model keeps its own as it is."""
        return self._fitted().index

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


def loop_of(
    model: HashModel,
    train: Interactions,
    test_is_later: bool = False,
    device: str | torch.device = "cpu",
    *,
    checkpoints: Checkpoints | None = None,
    progress: bool = False,
    callback: Callable[[Any], None] | None = None,
    warm: Start | None = None,
) -> Loop:
    """The training of a model; the model is left as it is.

    Args:
        model: gives the network and the settings.
        train: the train pairs.
        test_is_later: see Dataset.
        device, progress, callback: as in HashModel.fit.
        checkpoints: where the state is saved; None saves nothing.
        warm: the end of another run that it begins from, with the settings that this one chose and
            no trials of its own; None begins from random values.
    """
    settings, known = model.settings, model.settings.resolved()
    selection = settings.selection
    if selection.validation_part is None:
        part = "last" if test_is_later and train.order is not None else "random"
        selection = selection.model_copy(update={"validation_part": part})
    tune = [x for x in selection.tune if x != "recent_fraction" or train.order is not None]
    asked = settings.as_set()

    def configure(changes: Changes) -> Configuration:
        s = ModelSettings.of(model.network, asked | changes)

        def make_network(graph: BipartiteGraph) -> Network:
            network = model.network(graph, s.network, s.train.seed)
            return network if warm is None else warm.fill(network)

        return Configuration(make_network, s.train)

    def possible(changes: Changes) -> bool:
        try:
            configure(changes)
        except ValueError:
            return False
        return True

    return Loop(
        configure,
        Search(
            {name: known[name] for name in tune},
            model.tunes,
            selection.trials if warm is None else 1,
            selection.selection_metric,
            possible,
        ),
        train,
        selection,
        selection.selection_ranking or model.network.rankings(settings.network)[0],
        torch.device(device),
        checkpoints,
        progress,
        callback or (lambda entry: None),
        warm,
        {} if warm is None else taken_over(settings, warm.end),
    )


def taken_over(settings: ModelSettings, end: End) -> Changes:
    """The settings, of those that are not given, that a run which begins from another one changes.

    Those that the other one chose, and a third of the learning rate over 2 epochs: on two data sets
    of which 5% of the pairs were new, more of either flipped two to five times as many bits, and
    lost up to 5% of Recall@50 on one of them.
    """
    short = {"learning_rate": settings.train.learning_rate / 3, "epochs": 2}
    return {k: v for k, v in (end.chosen | short).items() if k in settings.selection.tune}


def metrics_of(folder: Run, settings: ModelSettings) -> Metrics:
    """The metrics of a finished run; ValueError if they are damaged."""
    content = folder.metrics()
    try:
        return Metrics.of_json(content, settings.selection.cutoffs)
    except ValueError as error:
        raise folder.damaged_metrics(error) from None


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
