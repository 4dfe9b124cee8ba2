"""What settings have in common: they are frozen, checked, and compared by value."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo


class Settings(BaseModel):
    """Settings by name. Values given as text are converted; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    @field_validator("*", mode="before")
    @classmethod
    def _chosen(cls, value: Any, info: ValidationInfo) -> Any:
        # pydantic converts text to a number, but not to one of the numbers of a Literal.
        if not isinstance(value, str):
            return value
        annotation = cls.model_fields[info.field_name or ""].annotation
        choices = get_args(annotation) if get_origin(annotation) is Literal else ()
        return next((choice for choice in choices if str(choice) == value), value)

    @field_validator("*")
    @classmethod
    def _fits(cls, value: Any) -> Any:
        # Larger ones are no sizes of a machine, and the libraries below cannot hold all of them.
        numbers = value if isinstance(value, tuple) else (value,)
        if any(isinstance(number, int) and number >= 2**32 for number in numbers):
            raise ValueError("expected a number less than 4294967296")
        return value

    def resolved(self) -> dict[str, Any]:
        """Every setting as JSON holds it, with the value of those that follow from others."""
        return self.model_dump(mode="json")


def from_text(pairs: Iterable[str], fields: dict[str, FieldInfo]) -> dict[str, Any]:
    """Settings from texts KEY=VALUE; the class of the settings converts and checks the values.

    Args:
        pairs: the texts; entries of a list are separated by commas, and no text is an empty list.
        fields: the settings that there are, by name.

    Raises:
        ValueError: a text without a key or without a value.
    """
    given: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise ValueError(f"--set: expected KEY=VALUE, got {pair!r}")
        is_list = key in fields and get_origin(fields[key].annotation) is tuple
        given[key] = (value.split(",") if value else []) if is_list else value
    return given


def differences(
    made: dict[str, Any], wanted: dict[str, Any], defaults: dict[str, Any]
) -> list[str]:
    """Settings that something was made with and that are not the wanted ones, as texts.

    Args:
        made: the settings it was made with; one that did not exist then counts as its default.
        wanted: every setting that is wanted now.
        defaults: every setting's default.
    """
    made = defaults | made
    return [
        f"{name} {made[name]} instead of {wanted[name]}"
        if name in wanted
        else f"{name} {made[name]}, which is no setting"
        for name in made
        if name not in wanted or made[name] != wanted[name]
    ]


def described(error: ValidationError, most: int = 3) -> str:
    """What is wrong with values, on one line: the first `most` of the errors."""
    found = error.errors()
    more = f"; and {len(found) - most} more" if len(found) > most else ""
    return "; ".join(map(_described, found[:most])) + more


def _described(error: Any) -> str:
    """What is wrong with one value, or with several together."""
    message, name = error["msg"].removeprefix("Value error, "), ".".join(map(str, error["loc"]))
    if not name:
        return message
    message = message.replace("Input should be ", "expected ")
    message = message.replace("expected greater", "expected a number greater")
    message = message.replace("expected less", "expected a number less")
    found = repr(error["input"])
    return f"{name}: {message}, got {found if len(found) <= 80 else found[:80] + '...'}"
