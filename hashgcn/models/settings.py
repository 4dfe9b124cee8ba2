"""All settings of a model: those of its network, of training, and of selection."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from hashgcn.networks.base import Network, NetworkSettings
from hashgcn.settings import Settings, described
from hashgcn.train.settings import SelectionSettings, TrainSettings


@dataclass(frozen=True)
class ModelSettings:
    """The three groups of settings; no name stands in two of them.

    Attributes:
        network: of the method's own class.
        train, selection: the same classes for every method.
    """

    network: NetworkSettings
    train: TrainSettings
    selection: SelectionSettings

    @classmethod
    def of(cls, network: type[Network], given: dict[str, Any]) -> ModelSettings:
        """Settings by name, each put into its group.

        Raises:
            ValueError: a name that is no setting, or a value out of range.
        """
        known = fields(network)
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ValueError(f"{name}: expected a setting of the method, got none{hint}")

        def group(kind: type[Settings]) -> Any:
            return kind(**{name: given[name] for name in kind.model_fields if name in given})

        try:
            settings = cls(
                group(network.settings_type), group(TrainSettings), group(SelectionSettings)
            )
        except ValidationError as error:
            raise ValueError(described(error)) from None
        rankings, chosen = network.rankings(settings.network), settings.selection.selection_ranking
        if chosen is not None and chosen not in rankings:
            raise ValueError(f"selection_ranking: expected {' or '.join(rankings)}, got {chosen!r}")
        return settings

    def groups(self) -> tuple[Settings, Settings, Settings]:
        """The network's, training's and the selection's settings."""
        return self.network, self.train, self.selection

    def as_set(self) -> dict[str, Any]:
        """Every setting by name, as JSON holds it: arguments that make these settings again."""
        return {k: v for group in self.groups() for k, v in group.model_dump(mode="json").items()}

    def resolved(self) -> dict[str, Any]:
        """The same, with the value of those that follow from others."""
        return {k: v for group in self.groups() for k, v in group.resolved().items()}

    def that_change_results(self) -> dict[str, Any]:
        """The same as as_set, without settings that change no result."""
        extras = {
            name: field.json_schema_extra
            for group in self.groups()
            for name, field in type(group).model_fields.items()
        }
        return {
            name: value
            for name, value in self.as_set().items()
            if extras[name] != {"changes_result": False}
        }


def fields(network: type[Network]) -> dict[str, FieldInfo]:
    """Every setting of a method, by name, with its type, default, range and description."""
    groups = (network.settings_type, TrainSettings, SelectionSettings)
    return {name: field for group in groups for name, field in group.model_fields.items()}
