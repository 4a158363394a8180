"""The next version of a schema: changes applied in order, each checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import singledispatchmethod
from typing import Any

from pipeline.errors import SchemaError
from pipeline.schema.changes import (
    AddChannel,
    Categories,
    Change,
    ChangeDtype,
    ChangeRange,
    ChangeUnits,
    Describe,
    MergeChannels,
    RemoveChannel,
    RenameChannel,
    Resolution,
    SplitChannel,
)
from pipeline.schema.channels import Channel, Schema
from pipeline.schema.defaults import checked_default
from pipeline.schema.step_of import completed, step_of
from pipeline.schema.units import affine_between
from pipeline.schema.versions import SchemaHistory, SchemaVersion

__all__ = ["before_changes", "describe", "evolve", "resolved"]


def evolve(
    history: SchemaHistory,
    changes: Sequence[Change],
    *,
    author: str = "",
    time: datetime | None = None,
    comment: str = "",
) -> SchemaHistory:
    """Return a history with one more version.

    Parameters
    ----------
    history
        The versions there are.
    changes
        At least one, applied in order to the newest version.
    author, time, comment
        Who makes it, when (with a timezone), and why.

    Raises
    ------
    SchemaError
        If a change names a channel that there is not, makes one twice, or makes no sense; the
        message says which change, and what to do.
    MissingDependencyError
        If a change of units has to be worked out, and ``pint`` is not installed.
    """
    given: tuple[Any, ...] = tuple(changes)
    if not given or not all(isinstance(change, Change) for change in given):
        msg = "evolving a schema takes changes: evolve(AddChannel(Channel('humidity', 'float32')))"
        raise SchemaError(msg)
    draft = _Draft.of(history)
    done: list[Change] = []
    for change in given:
        try:
            done.append(draft.apply(change))
        except SchemaError as error:
            msg = f"version {history.newest + 1}, change {len(done) + 1} ({change.kind}): {error}"
            raise SchemaError(msg) from error
    return SchemaHistory((*history.versions, draft.version(tuple(done), author, time, comment)))


def resolved(history: SchemaHistory, changes: Sequence[Change]) -> tuple[Change, ...]:
    """Return changes as they would be stored, maps between units worked out; errors as `evolve`."""
    return evolve(history, changes).latest.changes


def before_changes(
    history: SchemaHistory, number: int
) -> Iterator[tuple[Change, dict[str, Channel]]]:
    """Yield the changes that made a version, and the channels there were before each."""
    draft = _Draft.of(history.before(number))
    for change in history[number].changes:
        before = dict(draft.channels)
        draft.apply(change)
        yield change, before


@dataclass(slots=True)
class _Draft:
    """The version that is being made."""

    history: SchemaHistory
    channels: dict[str, Channel]
    arrays: dict[str, str]
    taken: set[str]

    @classmethod
    def of(cls, history: SchemaHistory) -> _Draft:
        latest = history.latest
        channels = {channel.name: channel for channel in latest.schema}
        return cls(history, channels, dict(latest.arrays), set(history.stored))

    @property
    def number(self) -> int:
        return self.history.newest + 1

    def version(
        self, changes: tuple[Change, ...], author: str, time: datetime | None, comment: str
    ) -> SchemaVersion:
        if not self.channels:
            msg = f"version {self.number} of the schema has no channel left; keep one at least"
            raise SchemaError(msg)
        schema = Schema(tuple(self.channels.values()), self.number)
        return SchemaVersion(schema, dict(self.arrays), changes, author, time, comment)

    @singledispatchmethod
    def apply(self, change: Change) -> Change:
        """Apply a change, and return it as it is to be stored."""
        msg = f"{change!r} is no change that this release knows"
        raise SchemaError(msg)

    @apply.register
    def _add(self, change: AddChannel) -> Change:
        default = checked_default(change.channel, change.default)
        self._insert(change.channel)
        return replace(change, default=default)

    @apply.register
    def _remove(self, change: RemoveChannel) -> Change:
        self._known(change.channel)
        del self.channels[change.channel], self.arrays[change.channel]
        return change

    @apply.register
    def _rename(self, change: RenameChannel) -> Change:
        channel = self._known(change.channel)
        self._check_free(change.to)
        new = replace(channel, name=change.to)
        # The order of the channels stays.
        self.channels = {one.name: one for one in self._with(change.channel, [new])}
        self.arrays[change.to] = self.arrays.pop(change.channel)
        return change

    @apply.register
    def _dtype(self, change: ChangeDtype) -> Change:
        channel = self._known(change.channel)
        if channel.dtype == change.dtype:
            msg = f"channel {channel.name!r} is {channel.dtype} already"
            raise SchemaError(msg)
        change = completed(change, channel)
        kept = change.dtype not in ("bool", "category")
        new = replace(
            channel,
            dtype=change.dtype,
            valid_range=channel.valid_range if kept else None,
            resolution=channel.resolution if kept else None,
            categories=None,
        )
        self._replace(new, new_array=True)
        return change

    @apply.register
    def _units(self, change: ChangeUnits) -> Change:
        channel = self._known(change.channel)
        affine = change.affine or affine_between(channel.units, change.units)
        change = replace(change, multiply=affine.multiply, add=affine.add, divide=affine.divide)
        step_of(change, channel)
        bounds, step = channel.valid_range, channel.resolution
        if bounds is not None:
            low, high = sorted((bound * affine.factor + affine.offset) for bound in bounds)
            bounds = (low, high)
        new = replace(
            channel,
            units=change.units,
            valid_range=bounds,
            resolution=None if step is None else abs(step * affine.factor),
        )
        self._replace(new, new_array=not affine.is_identity)
        return change

    @apply.register
    def _range(self, change: ChangeRange) -> Change:
        self._replace(replace(self._known(change.channel), valid_range=change.valid_range))
        return change

    @apply.register
    def _describe(self, change: Describe) -> Change:
        self._replace(replace(self._known(change.channel), description=change.description))
        return change

    @apply.register
    def _categories(self, change: Categories) -> Change:
        channel = self._known(change.channel)
        if channel.dtype != "category":
            msg = f"channel {channel.name!r} is a {channel.dtype} and has no categories"
            raise SchemaError(msg)
        if change.allowed is not None:
            lost = [new for _, new in change.renamed if new not in change.allowed]
            if lost:
                msg = (
                    f"categories {lost} of channel {channel.name!r} are not among the allowed ones"
                )
                raise SchemaError(msg)
        new = replace(channel, categories=change.allowed)
        self._replace(new, new_array=bool(change.renamed))
        return change

    @apply.register
    def _resolution(self, change: Resolution) -> Change:
        self._replace(replace(self._known(change.channel), resolution=change.resolution))
        return change

    @apply.register
    def _split(self, change: SplitChannel) -> Change:
        self._known(change.channel)
        if not change.into:
            msg = f"splitting channel {change.channel!r} takes the channels it is split into"
            raise SchemaError(msg)
        self._combine([change.channel], change.into, change.function, change.version)
        return change

    @apply.register
    def _merge(self, change: MergeChannels) -> Change:
        if len(set(change.channels)) < 2:
            msg = f"merging takes at least two different channels, not {list(change.channels)}"
            raise SchemaError(msg)
        for name in change.channels:
            self._known(name)
        self._combine(change.channels, [change.into], change.function, change.version)
        return change

    def _combine(
        self, old: Sequence[str], new: Sequence[Channel], function: str, version: int
    ) -> None:
        if not function or isinstance(version, bool) or version < 1:
            msg = f"a function has a name and a version from 1, not {function!r}, {version!r}"
            raise SchemaError(msg)
        for channel in new:
            if channel.dtype == "category":
                msg = f"channel {channel.name!r}: functions make numbers and bools, no categories"
                raise SchemaError(msg)
        place = self._with(old[0], new)
        retired = set(old)
        for name in retired:
            del self.channels[name], self.arrays[name]
        for channel in new:
            self._check_free(channel.name)
            self.arrays[channel.name] = self._new_array(channel.name)
        kept = [one for one in place if one.name not in retired or one in new]
        self.channels = {one.name: one for one in kept}

    def _with(self, name: str, instead: Sequence[Channel]) -> list[Channel]:
        """Return the channels in order, with others in place of one."""
        found: list[Channel] = []
        for channel in self.channels.values():
            found += instead if channel.name == name else [channel]
        return found

    def _insert(self, channel: Channel) -> None:
        self._check_free(channel.name)
        self.channels[channel.name] = channel
        self.arrays[channel.name] = self._new_array(channel.name)

    def _replace(self, channel: Channel, *, new_array: bool = False) -> None:
        self.channels[channel.name] = channel
        if new_array:
            self.arrays[channel.name] = self._new_array(channel.name)

    def _new_array(self, name: str) -> str:
        found = name
        while found in self.taken:
            found += f"~{self.number}"
        self.taken.add(found)
        return found

    def _known(self, name: str) -> Channel:
        if name not in self.channels:
            msg = f"there is no channel {name!r}; the schema has {list(self.channels)}"
            raise SchemaError(msg)
        return self.channels[name]

    def _check_free(self, name: str) -> None:
        if name in self.channels:
            msg = f"there is a channel {name!r} already; choose another name, or remove or rename that one first"
            raise SchemaError(msg)


def describe(changes: Iterable[Change]) -> str:
    """Return changes in a few words, for messages."""
    return ", ".join(f"{change.kind} {_about(change)}" for change in changes)


def _about(change: Any) -> str:
    about = change.channels if isinstance(change, MergeChannels) else change.channel
    return repr(about.name if isinstance(about, Channel) else about)
