"""Settings of training, of the selection of epochs and of evaluation: the same for every method."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from hashgcn.settings import Settings


class TrainSettings(Settings):
    """How a network is trained."""

    epochs: int = Field(
        8,
        ge=1,
        description="Maximum number of epochs; also the length of the learning-rate schedule.",
    )
    learning_rate: float = Field(
        0.02,
        gt=0,
        description="Peak learning rate of Adam, for all parameters except item popularity.",
    )
    popularity_learning_rate: float = Field(
        1.0, gt=0, description="Peak learning rate of Adam for the popularity of each item."
    )
    warmup_steps: int = Field(
        20,
        ge=0,
        description="Number of steps over which the learning rate rises linearly; "
        "it then follows a cosine to 0.",
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**32,
        description="Seed of the initial values, the order of training and the validation part.",
    )
    checkpoint_minutes: float = Field(
        5,
        ge=0,
        allow_inf_nan=False,
        description="Minutes after which a checkpoint is saved within an epoch, as one is after "
        "every epoch; it changes no result.",
        json_schema_extra={"changes_result": False},
    )


class SelectionSettings(Settings):
    """How settings and the number of epochs are chosen on a part of train, and what is measured."""

    validation_fraction: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Fraction of each user's train items that is held out to choose settings and "
        "the number of epochs; 0, or too few items for it, trains all epochs without a choice.",
    )
    validation_part: Literal["random", "last"] | None = Field(
        None,
        description="Which items are held out: random ones, or the last in time; by default the "
        "last where the test items, too, are the last in time or there are none.",
    )
    trials: int = Field(
        12,
        ge=1,
        description="Largest number of trainings on the rest, each with one of the settings `tune` "
        "changed, of which the best decides; 1 takes the settings as they are.",
    )
    tune: tuple[str, ...] = Field(
        (),
        description="Settings that trials may change, in the order of their turns; by default "
        "those that the method lists and that are not given.",
    )
    selection_ranking: str | None = Field(
        None,
        description="Ranking whose validation metric picks the epoch; by default the method's "
        "first.",
    )
    selection_metric: str = Field(
        "recall@50",
        pattern=r"^(recall|ndcg)@[1-9][0-9]*$",
        description="Validation metric that chooses, at one of the cutoffs.",
    )
    patience: int = Field(
        2, ge=1, description="Number of epochs without a better metric after which a trial stops."
    )
    cutoffs: tuple[int, ...] = Field(
        (20, 50, 100), min_length=1, description="Cutoffs K of the metrics, e.g. recall@K."
    )
    eval_users: int = Field(
        4096,
        ge=1,
        description="Number of users ranked at a time in evaluation; it changes no result.",
        json_schema_extra={"changes_result": False},
    )

    @model_validator(mode="after")
    def _consistent(self) -> SelectionSettings:
        if min(self.cutoffs) < 1:
            raise ValueError(f"cutoffs: expected numbers of at least 1, got {self.cutoffs}")
        if int(self.selection_metric.split("@")[1]) not in self.cutoffs:
            raise ValueError(
                f"selection_metric: expected one at one of the cutoffs {self.cutoffs}, "
                f"got {self.selection_metric}"
            )
        return self
