"""What every part of a job file is made of: frozen models that refuse unknown keys.

`describe` turns what pydantic finds wrong into lines for people.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Mapping
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

__all__ = ["Choice", "Options", "describe"]


class Options(BaseModel):
    """A mapping of a job file with a fixed set of keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_empty(cls, given: Any) -> Any:
        """Take ``key:`` with nothing behind it for an empty mapping."""
        return {} if given is None else given


class Choice(Options):
    """A mapping with exactly one of its keys, which names a kind of thing."""

    @model_validator(mode="before")
    @classmethod
    def _one_kind(cls, given: Any) -> Any:
        kinds = list(_fields(cls))
        if isinstance(given, str):
            given = {given: None}
        if not isinstance(given, Mapping) or len(given) != 1:
            found = ", ".join(map(str, given)) if isinstance(given, Mapping) else repr(given)
            msg = f"give exactly one of {', '.join(kinds)}; found {found or 'nothing'}"
            raise ValueError(msg)
        return {kind: {} if options is None else options for kind, options in given.items()}

    @model_validator(mode="after")
    def _is_chosen(self) -> Self:
        self.chosen  # noqa: B018 (raises if a kind was given as nothing)
        return self

    @property
    def kind(self) -> str:
        """The key that was given."""
        names = {field.alias or name: name for name, field in type(self).model_fields.items()}
        return next(kind for kind, name in names.items() if getattr(self, name) is not None)

    @property
    def chosen(self) -> Any:
        """What stands behind the key that was given."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return next(value for value in values if value is not None)


def describe(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return one line per thing that is wrong: the path of the key, and what to do.

    Parameters
    ----------
    error
        What validation raised.
    model
        The model of the whole document.
    """
    found = error.errors()
    # A list whose entry is wrong is also reported as too short, which says nothing new.
    inner = {tuple(one["loc"])[:length] for one in found for length in range(len(one["loc"]))}
    return [
        _line(one, model)
        for one in found
        if one["type"] != "too_short" or tuple(one["loc"]) not in inner
    ]


def _line(found: Any, model: type[BaseModel]) -> str:
    place = tuple(found["loc"])
    if found["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _known_keys(model, place[:-1])
        close = difflib.get_close_matches(str(place[-1]), known, 1)
        advice = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
        return f"{_path(place[:-1])}unknown key {place[-1]!r}; {advice}"
    if found["type"] == "missing":
        what = "key" if isinstance(place[-1], str) else "entry"
        return f"{_path(place[:-1])}{what} {place[-1]!r} is missing"
    if found["type"] == "too_short":
        return f"{_path(place)}has to have at least one entry"
    message = found["msg"].removeprefix("Value error, ")
    message = message.replace("Input should be", "has to be")
    if "error" not in found.get("ctx", {}):
        message = f"{message}, not {_shortened(found['input'])}"
    return f"{_path(place)}{message}"


def _path(place: tuple[int | str, ...]) -> str:
    return f"{'.'.join(map(str, place))}: " if place else ""


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _fields(kind: Any) -> dict[str, Any]:
    """Return the keys of a model or dataclass with their types."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {field.alias or name: field.annotation for name, field in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        return {field.name: hints[field.name] for field in dataclasses.fields(kind)}
    return {}


def _known_keys(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    kinds: list[Any] = [model]
    for step in place:
        kinds = [
            inner
            for kind in kinds
            for member in _members(kind)
            for inner in ([_fields(member)[str(step)]] if str(step) in _fields(member) else _items(member))
        ]  # fmt: skip
    return sorted({key for kind in kinds for member in _members(kind) for key in _fields(member)})


def _members(kind: Any) -> list[Any]:
    """Return the types that a type stands for: those of a union, or itself."""
    if get_origin(kind) in (Union, types.UnionType):
        return [member for part in get_args(kind) for member in _members(part)]
    return [kind]


def _items(kind: Any) -> list[Any]:
    """Return the types of what a list or mapping holds."""
    if get_origin(kind) is Literal or not get_args(kind):
        return []
    items = [item for item in get_args(kind) if item is not Ellipsis]
    return items[-1:]
