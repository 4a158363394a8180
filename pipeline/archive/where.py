"""What users say of tags and values in ``where=``, checked and told apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from pipeline.archive.device_registry import DeviceRegistry
from pipeline.archive.fleet_meta import FleetMeta
from pipeline.errors import InvalidInputError, NotFoundError
from pipeline.model.dtypes import storage_dtype
from pipeline.partitioning.comparisons import equal_to, parse_comparisons
from pipeline.partitioning.conditions import NO_CONDITIONS, Condition, Conditions
from pipeline.partitioning.intervals import Intervals
from pipeline.schema.aliases import current_name

__all__ = ["Where", "parse_where", "tag_texts", "tags_only"]

Where = Mapping[str, Any] | None
"""By the name of a tag or channel, the value wanted or several of which one is.

Tags have texts. A channel of numbers takes a number, or a text of comparisons joined by ``and``
(``"> 90"``, ``">= 20 and < 30"``, ``"!= 5"``); a bool True or False; a category a text; each of
them None, too, for rows without a value. A name that a tag and a channel have is written
``tag:NAME`` or ``channel:NAME``.

A missing value or NaN satisfies no comparison, not even ``!=``. Integers are compared exactly,
with decimal numbers too; floats with the ``float64`` next to the number that is given, and
``float32`` as the ``float64`` that it is: no ``float32`` equals 21.3, so ask for a range there,
or for ``numpy.float32(21.3)``.
"""

_BOOLS: Final = {"true": True, "false": False}


def parse_where(
    registry: DeviceRegistry, meta: FleetMeta, where: Where
) -> tuple[dict[str, set[str]], Conditions]:
    """Return the tags that devices have to have, and the conditions on values.

    Parameters
    ----------
    registry, meta
        The fleet's devices and definition.
    where
        By tag or channel name, what is wanted.

    Raises
    ------
    NotFoundError
        If there is no tag or channel of a name.
    InvalidInputError
        If `where` is no mapping, a tag and a channel have the name, or a value makes no sense.
    """
    if where is None:
        return {}, NO_CONDITIONS
    tags: dict[str, set[str]] = {}
    conditions: dict[str, Condition] = {}
    for key, given in _mapping(where).items():
        is_tag, name = _told_apart(registry, meta, key)
        if name in (tags if is_tag else conditions):
            msg = f"where: {key!r} names {'tag' if is_tag else 'channel'} {name!r} once more; say all that is wanted of it once"
            raise InvalidInputError(msg)
        if is_tag:
            tags[name] = _texts(name, given)
        else:
            conditions[name] = _condition(meta, name, given)
    return tags, Conditions(tuple(conditions.values()))


def tags_only(
    registry: DeviceRegistry, meta: FleetMeta, where: Where, instead: str
) -> dict[str, set[str]]:
    """Return the tags that devices have to have, where values cannot be asked for.

    Parameters
    ----------
    registry, meta, where
        As for `parse_where`.
    instead
        What users should do about a condition on values.

    Raises
    ------
    NotFoundError, InvalidInputError
        As `parse_where`, and for a condition on values.
    """
    tags, conditions = parse_where(registry, meta, where)
    if conditions:
        msg = (
            f"where: {conditions.channels[0]!r} is a channel, and only tags select here; {instead}"
        )
        raise InvalidInputError(msg)
    return tags


def tag_texts(where: Any) -> dict[str, set[str]]:
    """Return what is wanted of tags, by tag name; whether there are such tags is not looked at.

    Raises
    ------
    InvalidInputError
        If `where` is no mapping to texts.
    """
    return {name: _texts(name, given) for name, given in _mapping(where).items()}


def _mapping(where: Any) -> Mapping[str, Any]:
    if not isinstance(where, Mapping):
        msg = f"where={where!r}; give a mapping of tag names or channel names to values, such as {{'site': 'Bergen'}}"
        raise InvalidInputError(msg)
    return where


def _told_apart(registry: DeviceRegistry, meta: FleetMeta, key: Any) -> tuple[bool, str]:
    """Return whether a key is about a tag, and the name."""
    tags, channels = registry.tag_names, meta.schema.names
    if key not in tags and key in meta.aliases:
        return False, current_name(meta.aliases, key, stacklevel=6)
    if key in tags and key in channels:
        msg = f"where: a tag and a channel are called {key!r}; write 'tag:{key}' or 'channel:{key}'"
        raise InvalidInputError(msg)
    if key in tags or key in channels:
        return key in tags, key
    kind, _, name = str(key).partition(":")
    known = {"tag": tags, "channel": channels}.get(kind, ())
    if name in known:
        return kind == "tag", name
    msg = (
        f"no device has a tag {key!r}; there are: {', '.join(sorted(tags)) or 'none'}; "
        f"nor is it a channel, which are: {', '.join(channels)}"
    )
    raise NotFoundError(msg)


def _texts(name: str, given: Any) -> set[str]:
    texts = set(_several(given))
    if not all(isinstance(text, str) for text in texts):
        msg = f"where: tag {name!r} is compared with {given!r}; the values of tags are texts"
        raise InvalidInputError(msg)
    return texts


def _several(given: Any) -> list[Any]:
    is_one = isinstance(given, str) or not isinstance(given, Iterable)
    return [given] if is_one else list(given)


def _condition(meta: FleetMeta, name: str, given: Any) -> Condition:
    dtype = meta.schema[name].dtype
    stored = storage_dtype(dtype)
    wanted = _several(given)
    values = [value for value in wanted if value is not None]
    try:
        if dtype == "bool":
            found = [equal_to(int(_bool(value)), stored) for value in values]
        elif dtype == "category":
            found = [_state(meta, name, value) for value in values]
        elif isinstance(given, str):
            found = [parse_comparisons(given, stored)]
        else:
            found = [equal_to(value, stored) for value in values]
    except InvalidInputError as error:
        msg = f"where: channel {name!r} holds {dtype}: {error}"
        raise InvalidInputError(msg) from error
    return Condition(name, Intervals.union(found, stored), len(values) < len(wanted))


def _bool(value: Any) -> bool:
    plain = _BOOLS.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(plain, bool | np.bool_):
        msg = f"{value!r} is neither True nor False"
        raise InvalidInputError(msg)
    return bool(plain)


def _state(meta: FleetMeta, name: str, value: Any) -> Intervals:
    if not isinstance(value, str):
        msg = f"{value!r} is no text"
        raise InvalidInputError(msg)
    # A text that no row has had so far is no mistake: states may come up later.
    texts = meta.texts(name)
    known = value in texts
    return equal_to(texts.index(value), storage_dtype("category")) if known else Intervals()
