"""Every setting of a training run, with its default, range and meaning."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Loss = Literal["recall", "ndcg", "softmax", "bpr"]
Estimator = Literal["signswish", "ste", "clipped_ste", "fourier", "tanh", "guided"]


class FrozenSettings(BaseModel):
    """Settings by name. Values given as text are converted; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def resolved(self) -> dict[str, Any]:
        """All of them as JSON holds them; what follows the code length by its value."""
        return self.model_dump(mode="json")


class CommonSettings(FrozenSettings):
    """What every method has."""

    # Codes
    code_length: int = Field(64, ge=2, le=1024, description="bits of a code, in all")
    popularity_bits: int | None = Field(
        None, ge=0, description="of them popularity bits; default 7/32 of the code, at most 16"
    )

    # Encoder
    layers: int = Field(3, ge=0, le=16, description="propagation layers; the last of the mean")
    first_layer: int = Field(0, ge=0, description="first layer of the mean; 0: the embeddings")
    init_std: float = Field(0.1, gt=0, description="standard deviation of initial embeddings")

    # Optimisation
    epochs: int = Field(8, ge=1, description="of the selection run at most, and of the schedule")
    batch_users: int | None = Field(
        None, ge=1, description="users in a step; default 256, or a 32nd of the users if fewer"
    )
    learning_rate: float = Field(0.02, gt=0, description="of embeddings (Adam)")
    popularity_learning_rate: float = Field(1.0, gt=0, description="of popularity scalars (Adam)")
    warmup_steps: int = Field(20, ge=0, description="steps of linear warm-up; then cosine to 0")
    seed: int = Field(0, ge=0, lt=2**32, description="of initial values, order and split")

    # Selection on a part of train, then a refit on all of it
    validation_fraction: float = Field(
        0.1, ge=0, lt=1, description="of each user's train items; 0: no selection, all epochs"
    )
    validation_part: Literal["random", "last"] = Field(
        "random", description="of each user's items; last in time, where their order is known"
    )
    selection_ranking: Literal["codes", "real", "itq", "plain"] = Field(
        "codes", description="whose metric chooses"
    )
    selection_metric: str = Field(
        "recall@50", pattern=r"^(recall|ndcg)@[1-9][0-9]*$", description="that chooses, at a cutoff"
    )
    patience: int = Field(2, ge=1, description="epochs without a better metric before stopping")

    # Evaluation
    cutoffs: tuple[int, ...] = Field((20, 50, 100), min_length=1, description="of the metrics")
    eval_users: int = Field(4096, ge=1, description="users ranked at a time; changes no result")

    @model_validator(mode="after")
    def _consistent(self) -> CommonSettings:
        if self.num_popularity_bits >= self.code_length:
            raise ValueError(
                f"expected popularity_bits below code_length {self.code_length}, "
                f"got {self.num_popularity_bits}"
            )
        if self.first_layer > self.layers:
            raise ValueError(
                f"expected first_layer <= layers {self.layers}, got {self.first_layer}"
            )
        if min(self.cutoffs) < 1:
            raise ValueError(f"expected cutoffs >= 1, got {self.cutoffs}")
        cutoff = int(self.selection_metric.split("@")[1])
        if cutoff not in self.cutoffs:
            raise ValueError(
                f"expected a selection_metric at one of the cutoffs {self.cutoffs}, "
                f"got {self.selection_metric}"
            )
        return self

    @property
    def num_popularity_bits(self) -> int:
        """g: as set, or 7/32 of the code length, at most 16."""
        if self.popularity_bits is None:
            return min(16, round(self.code_length * 7 / 32))
        return self.popularity_bits

    def resolved(self) -> dict[str, Any]:
        return super().resolved() | {"popularity_bits": self.num_popularity_bits}

    def users_per_step(self, num_users: int) -> int:
        """batch_users: as set, or 256, or a 32nd of the users if that is fewer."""
        return self.batch_users or min(256, max(1, num_users // 32))

    @property
    def taste_bits(self) -> int:
        """f - g, the bits that the encoder produces."""
        return self.code_length - self.num_popularity_bits


class RecallHashSettings(CommonSettings):
    """Settings of RecallHash."""

    learning_rate: float = Field(0.015, gt=0, description="of embeddings (Adam)")
    first_layer: int = Field(1, ge=0, description="first layer of the mean; 0: the embeddings")

    # Recent items: the last in time of each user's, where their order is known; none elsewhere
    recent_fraction: float = Field(
        0.1, ge=0, lt=1, description="of a user's items that are recent; 0: none"
    )
    recent_scale: float = Field(
        1.0,
        ge=0,
        allow_inf_nan=False,
        description="of the propagation from them that is added to a user's embedding",
    )

    # Hash layer
    estimator: Estimator = Field("signswish", description="gradient of the sign; see hashgcn.nn")
    beta_start: float = Field(1.0, gt=0, description="slope of SignSwish at the first step")
    beta_end: float = Field(1.5, gt=0, description="slope of SignSwish at the last step")
    ste_clip: float = Field(
        1.0, ge=0, allow_inf_nan=False, description="of clipped_ste, in standard deviations"
    )
    fourier_omega: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="of fourier, in 1 / standard deviation"
    )
    fourier_terms: int = Field(
        8, ge=2, le=65536, description="of fourier: the series' odd numbers are below it"
    )

    # Loss
    loss: Loss = Field("recall", description="over all items; see hashgcn.nn.losses")
    tau_score: float | None = Field(
        None, gt=0, description="temperature of scores; default 0.056 taste bits"
    )
    tau_rank: float = Field(1.0, gt=0, description="temperature of ranks against the cutoff")
    train_cutoffs: tuple[int, ...] = Field(
        (20, 50), min_length=1, description="cutoffs of the loss"
    )
    rank: Literal["log", "linear"] = Field("log", description="of the recall loss")
    sampled_items: int | None = Field(
        None, ge=1, description="items drawn for each user in each step; default: the catalogue"
    )
    exclude_positives: bool = Field(True, description="leave other positives out of a rank")
    mean: Literal["users", "pairs"] = Field(
        "users", description="of the recall and softmax losses: over users or over train pairs"
    )
    selection_ranking: Literal["codes"] = "codes"

    @model_validator(mode="after")
    def _train_cutoffs(self) -> RecallHashSettings:
        if min(self.train_cutoffs) < 1:
            raise ValueError(f"expected train_cutoffs >= 1, got {self.train_cutoffs}")
        return self

    def resolved(self) -> dict[str, Any]:
        return super().resolved() | {"tau_score": self.score_temperature}

    @property
    def score_temperature(self) -> float:
        """tau_score: as set, or 0.056 of the largest score of the taste bits."""
        return 0.056 * self.taste_bits if self.tau_score is None else self.tau_score


class PairSettings(CommonSettings):
    """Settings of methods that are trained on pairs with sampled negatives."""

    batch_pairs: int = Field(4096, ge=1, description="pairs in a step")
    negatives: int = Field(1, ge=1, le=1000, description="for each pair, uniform, not in train")
    sampling: Literal["pairs", "users"] = Field(
        "pairs", description="each pair once an epoch, or as many draws of a user, then of its item"
    )
    l2: float = Field(0.0, ge=0, allow_inf_nan=False, description="weight of squared parameters")


class LightGCNSettings(PairSettings):
    """Settings of LightGCN."""

    popularity_bits: int = Field(0, ge=0, le=0, description="none: its scores are real-valued")
    first_layer: int = Field(1, ge=0, description="first layer of the mean; 0: the embeddings")
    sampling: Literal["pairs", "users"] = Field(
        "users", description="each pair once an epoch, or as many draws of a user, then of its item"
    )
    loss: Literal["recall", "softmax", "bpr"] = Field(
        "recall", description="over all items, or BPR on sampled pairs; see the class"
    )
    score: Literal["cosine", "user", "dot"] = Field(
        "cosine", description="rows that are divided by their norms: both, users', neither"
    )
    item_bias: bool = Field(True, description="a number for each item, added to its scores")
    temperature: float = Field(
        0.085, gt=0, description="of scores in ranks and in the softmax, for which 0.1 is better"
    )
    train_cutoffs: tuple[int, ...] = Field(
        (20, 50, 100), min_length=1, description="cutoffs of the recall loss"
    )
    selection_ranking: Literal["real", "codes", "itq"] = "real"


class HashRecSettings(PairSettings):
    """Settings of HashRec."""

    layers: int = Field(0, ge=0, le=0, description="none: it has no graph")
    alpha: float | None = Field(
        None, gt=0, description="factor of score differences; default 10 / taste bits"
    )
    selection_ranking: Literal["codes"] = "codes"


class HashGNNSettings(PairSettings):
    """Settings of HashGNN."""

    layers: int = Field(2, ge=2, le=2, description="of users; items have one")
    first_layer: int = Field(0, ge=0, le=0, description="none: its layers are not averaged")
    selection_ranking: Literal["codes"] = "codes"
    id_width: int = Field(120, ge=1, description="numbers in an embedding")
    hidden_width: int = Field(68, ge=1, description="numbers in a hidden row")
    cross_entropy: float = Field(0.1, ge=0, description="weight of it, beside BPR's 1")
    guidance: Literal["run", "released"] = Field(
        "run",
        description="rise of the share of signs: to 1 over the run, or 0.02 every second epoch",
    )
    released_evaluation: bool = Field(
        False, description="evaluate also as the released code: see the class"
    )


class BGCHSettings(PairSettings):
    """Settings of BGCH."""

    first_layer: int = Field(0, ge=0, le=0, description="none: all layers have a code")
    form: Literal["layers", "mean"] = Field(
        "layers", description="a scaled code for each layer, or one plain code of their mean"
    )
    trained_hash: bool = Field(True, description="False: the hash layer keeps its first values")
    fourier_omega: float = Field(1.0, gt=0, allow_inf_nan=False, description="of the gradient")
    fourier_terms: int = Field(8, ge=2, le=65536, description="odd numbers below it are summed")
    dispersion: float = Field(0.1, ge=0, allow_inf_nan=False, description="eta; 0 is none")
    random_dispersion: bool = Field(
        False, description="draw it anew at every evaluation, which no seed repeats"
    )
    reconstruction: float = Field(
        1.0, ge=0, description="weight of the cross entropy of embeddings"
    )
    alpha: float | None = Field(
        None, gt=0, description="factor of plain codes' scores; default 10 / taste bits"
    )
    selection_ranking: Literal["codes", "plain"] = "codes"
    released_evaluation: bool = Field(
        False, description="evaluate also as the released code: see the class"
    )

    @model_validator(mode="after")
    def _form(self) -> BGCHSettings:
        if self.code_length % self.segments:
            raise ValueError(
                f"expected a code_length that is a multiple of layers + 1 = {self.segments}, for "
                f"codes of equal length, got {self.code_length}"
            )
        if self.form == "layers" and self.num_popularity_bits:
            raise ValueError(
                "expected popularity_bits 0 with form layers, whose codes are scaled, got "
                f"{self.num_popularity_bits}; form mean takes them"
            )
        return self

    @property
    def segments(self) -> int:
        """Codes that a row has."""
        return self.layers + 1 if self.form == "layers" else 1


def from_text(pairs: list[str]) -> dict[str, Any]:
    """KEY=VALUE as keyword arguments of a method, whose settings convert and check the values."""
    given: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise ValueError(f"--set: expected KEY=VALUE, got {pair!r}")
        given[key] = value.split(",") if key in ("cutoffs", "train_cutoffs") else value
    return given
