"""RecallHash as a model of RecBole: its data, trainer and evaluation, our codes and loss."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from hashgcn.data import Interactions
from hashgcn.graph import BipartiteGraph
from hashgcn.networks.recall_hash import RecallHashNetwork
from hashgcn.ops import unpack_codes
from hashgcn.retrieval import HammingIndex, Recommender
from hashgcn.train.settings import RecallHashSettings

# Settings of our trainer and evaluation. RecBole's have their own, and plan no end of training,
# which schedules need.
_NOT_HERE = (
    *("batch_users", "warmup_steps", "validation_fraction", "validation_part", "patience"),
    *("selection_ranking", "selection_metric", "cutoffs", "eval_users"),
    *("beta_end", "sampled_items"),
)


class RecallHash(GeneralRecommender):
    """hashgcn.models.RecallHash behind RecBole's interface.

        config = Config(model=RecallHash, dataset="sample", config_dict=...)
        model = RecallHash(config, train_data.dataset).to(config["device"])
        Trainer(config, model).fit(train_data, valid_data)

    A batch trains the users that are in it, each against all items: negatives are never looked at,
    so that `train_neg_sample_args: None` saves sampling them.

        score of u and i = <b_u, d_i> - (place of i by popularity) / (number of items)

    The second term only breaks ties, as HammingIndex.search does: RecBole ranks as it does.

    Args:
        config: RecBole's. Those of hashgcn.train.settings.RecallHashSettings are read by their names;
            `seed` and `learning_rate` are RecBole's: with 0.005 the sample takes 3 epochs, with its
            default 9. The slope of SignSwish stays at `beta_start`.
        dataset: the train part. Where TIME_FIELD is loaded, recent items are used.

    Raises:
        ValueError: a setting out of range, or one that RecBole's trainer cannot follow.

    Deterministic given the seed and RecBole's batches. A batch of b users costs a propagation and
    the loss of b users over n items; evaluation keeps 4 (m + n) f bytes and makes float64 [b, n].
    Tested with RecBole 1.2.1, which needs numpy < 2 and pandas < 3.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        settings = _settings(config)
        columns = [np.asarray(dataset.inter_feat[x]) for x in (self.USER_ID, self.ITEM_ID)]
        time = config["TIME_FIELD"]
        in_time = time in dataset.inter_feat
        if in_time:
            order = np.argsort(np.asarray(dataset.inter_feat[time]), kind="stable")
            columns = [x[order] for x in columns]
        # RecBole's id 0 is padding. Item rows are numbered by popularity, as in every data set.
        users, items = (x.astype(np.int64) - 1 for x in columns)
        shape = (self.n_users - 1, self.n_items - 1)
        popularity = Interactions.from_pairs(users, items, *shape).popularity()
        self.item_order = np.argsort(-popularity, kind="stable")
        rows = np.argsort(self.item_order)
        self.interactions = Interactions.from_pairs(users, rows[items], *shape, in_time=in_time)
        self.tokens = [
            dataset.field2id_token[x][1:].astype(str) for x in (self.USER_ID, self.ITEM_ID)
        ]
        self.graph = BipartiteGraph.from_interactions(self.interactions).to(self.device)
        self.network = RecallHashNetwork(self.graph, settings)
        # RecBole's optimizer has one learning rate. Adam's steps do not depend on a gradient's
        # scale: a scalar of 1 / c of the level, with a rate of 1 / c of the level's, is the same.
        rate = settings.popularity_learning_rate / settings.learning_rate
        register_parametrization(self.network.popularity, "level", _Times(rate))
        place = torch.tensor(rows / max(len(rows), 1))
        self.register_buffer("rows", torch.tensor(rows), persistent=False)
        self.register_buffer("place", nn.functional.pad(place, (1, 0), value=torch.inf), False)
        self.signs: tuple[Tensor, Tensor] | None = None
        self.register_load_state_dict_post_hook(lambda model, keys: model.forget_codes())

    def calculate_loss(self, interaction: Any) -> Tensor:
        """The loss of the users of a batch, each once; the padding user counts nothing."""
        self.forget_codes()
        users = interaction[self.USER_ID].unique() - 1
        return self.network.loss(self.graph, users, 0.0)

    @torch.no_grad()
    def predict(self, interaction: Any) -> Tensor:
        """Scores of pairs, float64 [b]; padding has -inf."""
        users, items = self._signs()
        ids = interaction[self.ITEM_ID]
        return (users[interaction[self.USER_ID]] * items[ids]).sum(1).double() - self.place[ids]

    @torch.no_grad()
    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of users with all of RecBole's item ids, float64 [b, n + 1]; padding has -inf."""
        users, items = self._signs()
        # Sums of +1 and -1, exact in any order.
        return (users[interaction[self.USER_ID]] @ items.T).double() - self.place

    def recommender(self) -> Recommender:
        """The codes, with RecBole's tokens as ids; its `index` is the items'."""
        users, items = (x.cpu().numpy() for x in self.network.codes(self.graph))
        settings, (user_tokens, item_tokens) = self.network.settings, self.tokens
        index = HammingIndex(
            items,
            code_length=settings.code_length,
            ids=item_tokens[self.item_order],
            popularity_bits=settings.num_popularity_bits,
        )
        return Recommender(users, user_tokens, index, self.interactions)

    def forget_codes(self) -> None:
        """The next prediction takes codes anew."""
        self.signs = None

    def _signs(self) -> tuple[Tensor, Tensor]:
        """+1 and -1 of users and items by RecBole's ids, float32; padding has 0."""
        if self.signs is None:
            words = self.network.codes(self.graph)
            users, items = (unpack_codes(x, self.network.settings.code_length) for x in words)
            pad = partial(nn.functional.pad, pad=(0, 0, 1, 0))
            self.signs = pad(users), pad(items[self.rows])
        return self.signs


class _Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def _settings(config: Any) -> RecallHashSettings:
    """Those of our settings that RecBole's config has."""
    for name in _NOT_HERE:
        if config[name] is not None:
            raise ValueError(
                f"{name}: expected none, as training and evaluation are RecBole's, "
                f"got {config[name]!r}"
            )
    found = {name: config[name] for name in RecallHashSettings.model_fields}
    return RecallHashSettings(**{name: value for name, value in found.items() if value is not None})
