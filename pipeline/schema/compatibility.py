"""Whether readers of one version of a schema can live with rows of another, and why not.

Backward: readers of the new version get everything that older rows hold. Forward: readers of the
old version get everything that newer rows hold. Full: both. A channel that is missing in some rows
breaks nothing by itself: every channel may be missing. What does break is a value that does not fit,
a channel that is not written any more, texts that a reader does not expect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from pipeline.errors import InvalidInputError, NotFoundError, SchemaError
from pipeline.model.choices import choice
from pipeline.model.dtypes import storage_dtype
from pipeline.schema.changes import (
    Categories,
    Change,
    ChangeDtype,
    ChangeUnits,
    MergeChannels,
    RemoveChannel,
    SplitChannel,
)
from pipeline.schema.channels import Channel
from pipeline.schema.evolving import before_changes
from pipeline.schema.functions import channel_function
from pipeline.schema.steps import Cast
from pipeline.schema.versions import SchemaHistory

__all__ = ["Compatibility", "CompatibilityReport", "Reason", "check_compatibility", "compare"]


class Compatibility(Enum):
    """What a fleet asks of every new version of its schema."""

    NONE = "none"
    BACKWARD = "backward"
    FORWARD = "forward"
    FULL = "full"

    @classmethod
    def parse(cls, text: str | Compatibility) -> Compatibility:
        """Return the member that `text` names.

        Raises
        ------
        InvalidInputError
            If it names none.
        """
        return choice(cls, text, "unknown compatibility ")


@dataclass(frozen=True, slots=True)
class Reason:
    """What a change means for readers.

    Parameters
    ----------
    direction
        ``"backward"``: for readers of the new version who meet older rows; ``"forward"``: for
        readers of the old one who meet newer rows.
    version
        The version that the change made.
    channel
        The channel's name before the change.
    change
        Its kind.
    breaks
        Whether readers may lose something.
    text
        What happens, in words.
    """

    direction: str
    version: int
    channel: str
    change: str
    breaks: bool
    text: str

    def __str__(self) -> str:
        mark = "breaks" if self.breaks else "notes"
        return f"{self.direction} {mark}: version {self.version}, {self.change} {self.channel!r}: {self.text}"


@dataclass(frozen=True, slots=True)
class CompatibilityReport:
    """How two versions of a schema get on with each other.

    Parameters
    ----------
    old, new
        Their numbers.
    reasons
        What was found, change by change.
    """

    old: int
    new: int
    reasons: tuple[Reason, ...] = ()

    @property
    def backward(self) -> bool:
        """Whether readers of the new version lose nothing of older rows."""
        return not self._broken("backward")

    @property
    def forward(self) -> bool:
        """Whether readers of the old version lose nothing of newer rows."""
        return not self._broken("forward")

    @property
    def full(self) -> bool:
        """Whether both is so."""
        return self.backward and self.forward

    def satisfies(self, wanted: Compatibility) -> bool:
        """Tell whether that is what was asked for."""
        return wanted is Compatibility.NONE or bool(getattr(self, wanted.value))

    def to_json(self) -> dict[str, Any]:
        """Return the report as a JSON object."""
        told = [{name: getattr(one, name) for name in Reason.__slots__} for one in self.reasons]
        kinds = {name: getattr(self, name) for name in ("backward", "forward", "full")}
        return {"old": self.old, "new": self.new, **kinds, "reasons": told}

    def __str__(self) -> str:
        kinds = (("backward", self.backward), ("forward", self.forward), ("full", self.full))
        verdict = ", ".join(f"{name}: {'yes' if is_so else 'no'}" for name, is_so in kinds)
        head = f"versions {self.old} and {self.new}: {verdict}"
        return "\n".join([head, *(f"  {one}" for one in self.reasons)])

    def _broken(self, direction: str) -> bool:
        return any(one.breaks and one.direction == direction for one in self.reasons)


def compare(history: SchemaHistory, old: int, new: int) -> CompatibilityReport:
    """Return how two versions get on with each other.

    Parameters
    ----------
    history
        All versions.
    old, new
        Numbers, the older one first.

    Raises
    ------
    NotFoundError
        If there is no such version.
    InvalidInputError
        If `new` is the older one.
    """
    if old > new:
        msg = f"give the older version first: compare({new}, {old})"
        raise InvalidInputError(msg)
    history[old], history[new]
    found = [
        Reason(direction, number, channel, change.kind, breaks, text)
        for number in range(old + 1, new + 1)
        for change, before in before_changes(history, number)
        for direction, channel, breaks, text in _reasons(change, before)
    ]
    return CompatibilityReport(old, new, tuple(found))


def check_compatibility(history: SchemaHistory, wanted: Compatibility) -> CompatibilityReport:
    """Compare the newest version of a history with the one before.

    Raises
    ------
    SchemaError
        If that is not what is wanted; the message holds the reasons.
    """
    report = compare(history, max(history.newest - 1, history.numbers.start), history.newest)
    if not report.satisfies(wanted):
        msg = (
            f"version {report.new} is not {wanted.value} compatible with version {report.old}, which "
            f"the fleet's policy asks for; change it, or the policy:\n{report}"
        )
        raise SchemaError(msg)
    return report


_Told = tuple[str, str, bool, str]


def _reasons(change: Change, before: Mapping[str, Channel]) -> Iterator[_Told]:
    match change:
        case RemoveChannel(channel=name):
            yield "forward", name, True, "newer rows have no value of it"
        case ChangeDtype(channel=name):
            yield from _of_dtype(change, before[name])
        case ChangeUnits(channel=name):
            yield from _of_units(before[name])
        case Categories(channel=name):
            yield from _of_categories(change, before[name])
        case SplitChannel(channel=name):
            yield from _of_function(change.function, change.version, name)
        case MergeChannels(channels=names):
            yield from _of_function(change.function, change.version, ", ".join(names))
        case _:
            pass


def _of_dtype(change: ChangeDtype, channel: Channel) -> Iterator[_Told]:
    old, new, name = channel.dtype, change.dtype, channel.name
    if "category" in (old, new):
        known = {number for number, _ in change.texts}
        whole = old == "bool" and known == {0, 1}
        text = "some texts may be no number" if old == "category" else "some numbers have no text"
        yield "backward", name, not whole, "every value has a text" if whole else text
        yield "forward", name, True, "what a newer value was before cannot always be told"
        return
    for direction, source, target in (("backward", old, new), ("forward", new, old)):
        if change.tolerance is not None and _narrows(source, target):
            within = _rounds_only(source, target)
            text = f"values are rounded by at most {change.tolerance}"
            yield (
                direction,
                name,
                not within,
                text if within else f"{text}, and may be out of range",
            )
        elif _narrows(source, target):
            yield direction, name, True, f"values of {source} may not fit {target}"


def _narrows(source: str, target: str) -> bool:
    """Tell whether some value of one dtype is none of the other."""
    if source == "bool":
        return False
    if target == "bool":
        return True
    one, two = storage_dtype(source), storage_dtype(target)
    low, high = _ends(source)
    fits = Cast(source, target).fits(low, high)
    return not bool(fits.all()) if one != two else False


def _rounds_only(source: str, target: str) -> bool:
    return storage_dtype(source).kind == storage_dtype(target).kind == "f"


def _ends(dtype: str) -> tuple[Any, Any]:
    stored = storage_dtype(dtype)
    info: Any = np.finfo(stored) if stored.kind == "f" else np.iinfo(stored)
    return np.array([info.min], stored), np.array([info.max], stored)


def _of_units(channel: Channel) -> Iterator[_Told]:
    if storage_dtype(channel.dtype).kind == "f":
        for direction in ("backward", "forward"):
            yield direction, channel.name, False, "values are computed, and rounded as floats are"
        return
    yield "backward", channel.name, True, f"converted values may not fit {channel.dtype}"
    yield (
        "forward",
        channel.name,
        True,
        f"converted values may not be whole, or not fit {channel.dtype}",
    )


def _of_categories(change: Categories, channel: Channel) -> Iterator[_Told]:
    targets = [new for _, new in change.renamed]
    if len(set(targets)) < len(targets):
        yield "forward", channel.name, True, "texts that became one cannot be told apart any more"
    names = dict(change.renamed)
    old = (
        None if channel.categories is None else {names.get(one, one) for one in channel.categories}
    )
    new = None if change.allowed is None else set(change.allowed)
    if new is not None and (old is None or not old <= new):
        yield (
            "backward",
            channel.name,
            True,
            "older rows may have texts that are not allowed any more",
        )
    if old is not None and (new is None or not new <= old):
        yield (
            "forward",
            channel.name,
            True,
            "newer rows may have texts that were not allowed before",
        )


def _of_function(name: str, version: int, channel: str) -> Iterator[_Told]:
    yield "backward", channel, False, f"values are computed by version {version} of {name!r}"
    try:
        back = channel_function(name, version).backward is not None
    except NotFoundError:
        yield "forward", channel, True, f"the function {name!r} is not registered here"
        return
    text = f"computed back by {name!r}" if back else f"the function {name!r} has no way back"
    yield "forward", channel, not back, text
