"""RecallHash as a model of RecBole: its data, trainer and evaluation, our codes and loss."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

import numpy as np
import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from hashgcn.data import Interactions
from hashgcn.data.cold import ColdRule
from hashgcn.data.ids import raw_ids
from hashgcn.models.settings import ModelSettings, fields
from hashgcn.networks.base import Step
from hashgcn.networks.recall_hash import RecallHashNetwork, RecallHashSettings
from hashgcn.ops import unpack_levels
from hashgcn.retrieval import HammingIndex, Recommender
from hashgcn.train.settings import SelectionSettings, TrainSettings

# RecBole has its own batches, selection and evaluation, and plans no end of training, which
# schedules need.
_NOT_HERE = (
    *("batch_users", "warmup_steps", "beta_end", "sampled_items"),
    *SelectionSettings.model_fields,
)


class RecallHash(GeneralRecommender):
    """hashgcn.models.RecallHash with RecBole's interface.

        config = Config(model=RecallHash, dataset="sample", config_dict=...)
        model = RecallHash(config, train_data.dataset).to(config["device"])
        Trainer(config, model).fit(train_data, valid_data)

    A batch trains the users that occur in it, each against all items. Negatives are never looked
    at; `train_neg_sample_args: None` saves sampling them.

        score of u and i = <b_u, d_i> - (rank of i by popularity, from 0) / (number of items)

    The second term only breaks ties, as HammingIndex.search does, so that both rank alike. Cold
    users and items follow the rule of data.cold: for a user without items in train the number
    of users of the item stands in place of the inner product, and the score of an item without
    users in train is -inf.

    Args:
        config: RecBole's. The settings of hashgcn.models.RecallHash are read by name; `seed`,
            `epochs` and `learning_rate` are RecBole's own. With a learning rate of 0.005 the sample
            takes 3 epochs, with RecBole's default 9. The slope of SignSwish stays at `beta_start`.
        dataset: the train part. If TIME_FIELD is loaded, recent items are used.

    Raises:
        ValueError: a setting out of range, or one that RecBole's trainer cannot follow.

    Note:
        Deterministic given the seed and RecBole's batches. A batch of b users costs a propagation
        and the loss of b users over n items. Evaluation keeps 4 (m + n) f bytes and makes float64
        [b, n]. Tested with RecBole 1.2.1, which needs numpy < 2 and pandas < 3.
    """

    input_type = InputType.POINTWISE

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        settings, train = _settings(config)
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
            raw_ids(x, dataset.field2id_token[x][1:].astype(str))
            for x in (self.USER_ID, self.ITEM_ID)
        ]
        self.graph = self.interactions.graph().to(self.device)
        self.network = RecallHashNetwork(self.graph, settings, train.seed)
        # RecBole's optimizer has one learning rate. Adam's steps do not depend on the scale of a
        # gradient: training level / c with the rate of the level divided by c is the same.
        rate = train.popularity_learning_rate / train.learning_rate
        register_parametrization(self.network.popularity, "level", _Times(rate))
        # What the rule for cold users and items needs, by RecBole's ids.
        place = np.where(popularity > 0, rows / max(len(rows), 1), np.inf)
        cold = ColdRule(self.interactions).users
        self.register_buffer("rows", torch.tensor(rows), persistent=False)
        self.register_buffer("place", torch.tensor(np.append(np.inf, place)), False)
        self.register_buffer("popularity", torch.tensor(np.append(0.0, popularity)), False)
        self.register_buffer("cold", torch.tensor(np.append(False, cold)), False)
        self.signs: tuple[Tensor, Tensor] | None = None
        self.register_load_state_dict_post_hook(lambda model, keys: model.forget_codes())

    def calculate_loss(self, interaction: Any) -> Tensor:
        """The loss of the users of a batch, each of them once; the padding user does not count."""
        self.forget_codes()
        users = interaction[self.USER_ID].unique() - 1
        return self.network.loss(self.graph, users, Step(0, 0, 0.0))

    @torch.no_grad()
    def predict(self, interaction: Any) -> Tensor:
        """Scores of pairs, float64 [b]; -inf for padding and for items without users in train."""
        signs, ids = self._signs(), interaction[self.ITEM_ID]
        rows = interaction[self.USER_ID]
        inner = (signs[0][rows] * signs[1][ids]).sum(1).double()
        return torch.where(self.cold[rows], self.popularity[ids], inner) - self.place[ids]

    @torch.no_grad()
    def full_sort_predict(self, interaction: Any) -> Tensor:
        """Scores of users with every item id of RecBole, float64 [b, n + 1], as those of pairs."""
        users, items = self._signs()
        rows = interaction[self.USER_ID]
        # Sums of small whole numbers, exact in any order.
        inner = (users[rows] @ items.T).double()
        return torch.where(self.cold[rows, None], self.popularity, inner) - self.place

    def recommender(self) -> Recommender:
        """The codes, with RecBole's tokens as ids."""
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
        """Makes the next prediction compute the codes again."""
        self.signs = None

    def _signs(self) -> tuple[Tensor, Tensor]:
        """Codes of users and items by RecBole's ids, float32, unpacked; 0 for padding."""
        if self.signs is None:
            words = self.network.codes(self.graph)
            users, items = (unpack_levels(x, self.network.settings.code_length) for x in words)
            pad = partial(nn.functional.pad, pad=(0, 0, 1, 0))
            self.signs = pad(users), pad(items[self.rows])
        return self.signs


class _Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def _settings(config: Any) -> tuple[RecallHashSettings, TrainSettings]:
    """The settings of the network and of training that RecBole's config has."""
    for name in _NOT_HERE:
        if config[name] is not None:
            raise ValueError(
                f"{name}: expected none, as training and evaluation are RecBole's, "
                f"got {config[name]!r}"
            )
    given = {name: config[name] for name in fields(RecallHashNetwork)}
    settings = ModelSettings.of(
        RecallHashNetwork, {name: value for name, value in given.items() if value is not None}
    )
    return cast(RecallHashSettings, settings.network), settings.train
