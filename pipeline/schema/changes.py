"""What can change from one version of a schema to the next, each with all that a reader needs.

A change is plain data: a schema's history is a list of them, stored as JSON. What depends on a
library or on the day (a map between units) is worked out when the change is made, and stored in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final

from pipeline.errors import SchemaError
from pipeline.schema.affine import Affine
from pipeline.schema.channels import Channel

__all__ = [
    "AddChannel",
    "Categories",
    "Change",
    "ChangeDtype",
    "ChangeRange",
    "ChangeUnits",
    "Describe",
    "MergeChannels",
    "RemoveChannel",
    "RenameChannel",
    "Resolution",
    "SplitChannel",
    "change_from_json",
]


@dataclass(frozen=True, slots=True)
class Change:
    """One change; the subclasses say which."""

    kind: ClassVar[str] = ""

    def to_json(self) -> dict[str, Any]:
        """Return the change as a JSON object."""
        values = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        return {"change": self.kind, **values}


@dataclass(frozen=True, slots=True)
class AddChannel(Change):
    """A new channel.

    Parameters
    ----------
    channel
        What it is.
    default
        What older rows have for a value; None for missing.
    """

    kind: ClassVar[str] = "add"
    channel: Channel
    default: float | int | bool | str | None = None


@dataclass(frozen=True, slots=True)
class RemoveChannel(Change):
    """A channel is retired: readers of older versions still find it, and it may be added again."""

    kind: ClassVar[str] = "remove"
    channel: str


@dataclass(frozen=True, slots=True)
class RenameChannel(Change):
    """A channel gets another name; the old one goes on working, with a warning."""

    kind: ClassVar[str] = "rename"
    channel: str
    to: str


@dataclass(frozen=True, slots=True)
class ChangeDtype(Change):
    """A channel gets another dtype.

    Parameters
    ----------
    channel
        Its name.
    dtype
        The new dtype.
    tolerance
        How far a value may be rounded, in the channel's units: from ``float64`` to ``float32``
        there has to be one. Without it, every value has to survive unchanged.
    misfits
        What readers find where a value does not fit: ``"error"`` tells them, ``"missing"`` takes
        it for missing. Writers of older versions have such rows set aside.
    texts
        From or to a category, the texts of numbers: ``{0: "off", 1: "on"}``. From a category
        without it, texts are read as numbers; bools are called ``"false"`` and ``"true"``.
    """

    kind: ClassVar[str] = "dtype"
    channel: str
    dtype: str
    tolerance: float | None = None
    misfits: str = "error"
    texts: tuple[tuple[float, str], ...] = ()

    def __post_init__(self) -> None:
        _check_misfits(self)
        object.__setattr__(self, "texts", _pairs(self.texts))


@dataclass(frozen=True, slots=True)
class ChangeUnits(Change):
    """A channel is measured in other units: new = (old * multiply + add) / divide.

    Parameters
    ----------
    channel
        Its name.
    units
        The new units.
    multiply, add, divide
        The map; without `multiply` it is worked out by ``pint`` when the schema changes
        (`pipeline.schema.units.affine_between`), and stored.
    misfits
        As for `ChangeDtype`.
    """

    kind: ClassVar[str] = "units"
    channel: str
    units: str
    multiply: float | None = None
    add: float = 0.0
    divide: float = 1.0
    misfits: str = "error"

    def __post_init__(self) -> None:
        _check_misfits(self)

    @property
    def affine(self) -> Affine | None:
        """The map; None if it is not worked out yet."""
        return None if self.multiply is None else Affine(self.multiply, self.add, self.divide)


@dataclass(frozen=True, slots=True)
class ChangeRange(Change):
    """Other values are plausible; None for all. Stored values stay."""

    kind: ClassVar[str] = "range"
    channel: str
    valid_range: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Describe(Change):
    """Another description."""

    kind: ClassVar[str] = "describe"
    channel: str
    description: str


@dataclass(frozen=True, slots=True)
class Categories(Change):
    """The texts of a category change.

    Parameters
    ----------
    channel
        Its name.
    allowed
        The texts it may have from now on; None for any.
    renamed
        Old texts and what they are called now; two may become one.
    """

    kind: ClassVar[str] = "categories"
    channel: str
    allowed: tuple[str, ...] | None = None
    renamed: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        given: Any = self.renamed
        pairs = given.items() if isinstance(given, Mapping) else given
        texts = tuple((old, new) for old, new in pairs)
        if not all(isinstance(text, str) for pair in texts for text in pair):
            msg = f"renamed categories of channel {self.channel!r} have to be texts, not {given!r}"
            raise SchemaError(msg)
        object.__setattr__(self, "renamed", texts)
        if self.allowed is not None:
            object.__setattr__(self, "allowed", tuple(self.allowed))


@dataclass(frozen=True, slots=True)
class Resolution(Change):
    """The least step between two values is another one; None if it is not known."""

    kind: ClassVar[str] = "resolution"
    channel: str
    resolution: float | None


@dataclass(frozen=True, slots=True)
class SplitChannel(Change):
    """Several channels take the place of one.

    Parameters
    ----------
    channel
        The channel that is retired.
    into
        The new channels, of numbers.
    function, version
        A function registered with `pipeline.schema.functions.register_function`.
    """

    kind: ClassVar[str] = "split"
    channel: str
    into: tuple[Channel, ...]
    function: str
    version: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "into", tuple(self.into))


@dataclass(frozen=True, slots=True)
class MergeChannels(Change):
    """One channel takes the place of several.

    Parameters
    ----------
    channels
        The channels that are retired, in the order in which the function takes them.
    into
        The new channel, of numbers.
    function, version
        A function registered with `pipeline.schema.functions.register_function`.
    """

    kind: ClassVar[str] = "merge"
    channels: tuple[str, ...]
    into: Channel
    function: str
    version: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))


_KINDS: Final[Mapping[str, type[Change]]] = {
    one.kind: one
    for one in (
        AddChannel,
        RemoveChannel,
        RenameChannel,
        ChangeDtype,
        ChangeUnits,
        ChangeRange,
        Describe,
        Categories,
        Resolution,
        SplitChannel,
        MergeChannels,
    )
}


def change_from_json(document: Mapping[str, Any]) -> Change:
    """Return the change of a JSON object made by `Change.to_json`.

    Raises
    ------
    SchemaError
        If it is none that this release knows.
    """
    given: Any = document
    values = dict(given) if isinstance(given, Mapping) else {}
    kind = _KINDS.get(str(values.pop("change", "")))
    if kind is None or not set(values) <= {field.name for field in fields(kind)}:
        msg = f"no change of a schema that this release knows: {document!r}; upgrade iot-archive"
        raise SchemaError(msg)
    for name in ("channel", "into"):
        if isinstance(values.get(name), Mapping):
            values[name] = Channel.from_json(values[name])
    if kind is SplitChannel:
        values["into"] = tuple(map(Channel.from_json, values["into"]))
    if isinstance(values.get("valid_range"), Sequence):
        low, high = values["valid_range"]
        open_ends = (float("-inf") if low is None else low, float("inf") if high is None else high)
        values["valid_range"] = open_ends
    try:
        return kind(**values)
    except TypeError as error:
        msg = f"a change of a schema lacks something: {document!r}"
        raise SchemaError(msg) from error


def _plain(value: Any) -> Any:
    if isinstance(value, Channel):
        return value.to_json()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return None
    return value


def _check_misfits(change: ChangeDtype | ChangeUnits) -> None:
    if change.misfits not in ("error", "missing"):
        msg = f"misfits={change.misfits!r} of channel {change.channel!r}; use 'error' or 'missing'"
        raise SchemaError(msg)


def _pairs(given: Any) -> tuple[tuple[float, str], ...]:
    pairs = given.items() if isinstance(given, Mapping) else given
    return tuple((number, str(text)) for number, text in pairs)
