"""The versions of a fleet's schema, in order, and the arrays that their channels are stored in.

A channel's array has one dtype and one unit for ever. Its name says so: where a change gives the
channel another domain, or a retired name is used again, the channel gets a new array. So a plain
reader of an array never meets values of two kinds, and an array's chunks never have to be
rewritten because a definition changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from pipeline.errors import NotFoundError, SchemaError
from pipeline.schema.changes import Change, RemoveChannel, RenameChannel, change_from_json
from pipeline.schema.channels import Channel, Schema

__all__ = ["HISTORY_FORMAT", "SchemaHistory", "SchemaVersion"]

HISTORY_FORMAT: Final = 1
"""Version of the JSON form of a history."""


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """One version, never changed once it is stored.

    Parameters
    ----------
    schema
        Its channels; holds the number.
    arrays
        By channel, the name of the array that its values are stored in.
    changes
        What made it of the version before; empty for the first.
    author, comment
        Who made it, and why; empty if nobody said.
    time
        When, with a timezone; None for first versions of which that was not written down.
    """

    schema: Schema
    arrays: Mapping[str, str]
    changes: tuple[Change, ...] = ()
    author: str = ""
    time: datetime | None = None
    comment: str = ""

    @property
    def number(self) -> int:
        """Its number, from 1."""
        return self.schema.version

    def __str__(self) -> str:
        by = f" by {self.author}" if self.author else ""
        at = f" at {self.time.isoformat(timespec='seconds')}" if self.time else ""
        why = f": {self.comment}" if self.comment else ""
        return f"version {self.number}{by}{at}{why}"

    def stored(self) -> Iterator[Channel]:
        """Yield the channels under the names of their arrays."""
        for channel in self.schema:
            yield _renamed(channel, self.arrays[channel.name])

    def to_json(self) -> dict[str, Any]:
        """Return the version as a JSON object; the first is written as it always was."""
        document = self.schema.to_json()
        if not self.changes:
            return document
        return document | {
            "arrays": dict(self.arrays),
            "changes": [change.to_json() for change in self.changes],
            "author": self.author,
            "time": None if self.time is None else self.time.isoformat(),
            "comment": self.comment,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> SchemaVersion:
        """Return the version of a JSON object made by `to_json`.

        Raises
        ------
        SchemaError
            If something is unknown, missing or wrong.
        """
        known = {"arrays", "changes", "author", "time", "comment"}
        base = {name: value for name, value in document.items() if name not in known}
        schema = Schema.from_json(base)
        arrays = document.get("arrays", {name: name for name in schema.names})
        if set(arrays) != set(schema.names):
            msg = (
                f"version {schema.version} of the schema does not say where all channels are stored"
            )
            raise SchemaError(msg)
        time = document.get("time")
        return cls(
            schema,
            dict(arrays),
            tuple(map(change_from_json, document.get("changes", ()))),
            document.get("author", ""),
            None if time is None else datetime.fromisoformat(time),
            document.get("comment", ""),
        )


@dataclass(frozen=True)
class SchemaHistory:
    """All versions, numbered without a gap, from 1 unless the first was given another number.

    Parameters
    ----------
    versions
        At least one.

    Raises
    ------
    SchemaError
        If there is none, or the numbers are not consecutive.
    """

    versions: tuple[SchemaVersion, ...] = field()

    def __post_init__(self) -> None:
        numbers = [version.number for version in self.versions]
        if not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
            msg = f"versions of a schema are numbered one after the other, not {numbers}"
            raise SchemaError(msg)

    @classmethod
    def first(
        cls, schema: Schema, *, author: str = "", time: datetime | None = None
    ) -> SchemaHistory:
        """Return the history of a fleet that was just created."""
        arrays = {name: name for name in schema.names}
        return cls((SchemaVersion(schema, arrays, (), author, time),))

    @property
    def latest(self) -> SchemaVersion:
        """The newest version."""
        return self.versions[-1]

    @property
    def newest(self) -> int:
        """The newest version's number."""
        return self.latest.number

    @property
    def numbers(self) -> range:
        """The numbers of all versions."""
        return range(self.versions[0].number, self.newest + 1)

    def before(self, number: int) -> SchemaHistory:
        """Return the history up to a version, without it."""
        return SchemaHistory(self.versions[: number - self.numbers.start])

    def __len__(self) -> int:
        return len(self.versions)

    def __iter__(self) -> Iterator[SchemaVersion]:
        return iter(self.versions)

    def __getitem__(self, number: int) -> SchemaVersion:
        """Return a version by its number.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        if isinstance(number, bool) or number not in self.numbers:
            known = f"{self.numbers.start} to {self.newest}"
            msg = f"there is no version {number!r} of the schema; there are {known}"
            raise NotFoundError(msg)
        return self.versions[number - self.numbers.start]

    def at(self, time: datetime) -> SchemaVersion:
        """Return the version that was the newest at a time; the first for all times before.

        Parameters
        ----------
        time
            With a timezone.
        """
        found = self.versions[0]
        for version in self.versions[1:]:
            if version.time is not None and version.time <= time:
                found = version
        return found

    @cached_property
    def stored(self) -> dict[str, Channel]:
        """Every array there ever was, by name, as the newest version that has it defines it."""
        found: dict[str, Channel] = {}
        for version in self.versions:
            found |= {channel.name: channel for channel in version.stored()}
        return found

    @cached_property
    def is_plain(self) -> bool:
        """Whether there is one version only, stored under the names of its channels."""
        return len(self.versions) == 1

    def aliases(self, number: int) -> dict[str, str]:
        """Return the names that channels of a version had before, and what they are called in it."""
        names: dict[str, str] = {}
        for version in self.versions[: number - self.numbers.start + 1]:
            for change in version.changes:
                if isinstance(change, RenameChannel):
                    names = {
                        old: change.to if new == change.channel else new
                        for old, new in names.items()
                    } | {change.channel: change.to}
                elif isinstance(change, RemoveChannel):
                    names = {old: new for old, new in names.items() if new != change.channel}
            known = version.schema.names
            names = {old: new for old, new in names.items() if old not in known and new in known}
        return names

    def to_json(self) -> dict[str, Any]:
        """Return the history as a JSON object; of one version, as it always was."""
        document: dict[str, Any] = {"versions": [version.to_json() for version in self.versions]}
        if len(self.versions) > 1:
            document["format"] = HISTORY_FORMAT
        first = self.versions[0]
        if first.time is not None or first.author:
            time = None if first.time is None else first.time.isoformat()
            document["created"] = {"author": first.author, "time": time}
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> SchemaHistory:
        """Return the history of a JSON object made by `to_json`.

        Raises
        ------
        SchemaError
            If it is of a newer form, or something is unknown, missing or wrong.
        """
        form = document.get("format", HISTORY_FORMAT)
        if not isinstance(form, int) or form > HISTORY_FORMAT:
            msg = f"the schema is written in form {form}, this release reads up to {HISTORY_FORMAT}; upgrade iot-archive"
            raise SchemaError(msg)
        versions: Sequence[Mapping[str, Any]] = document["versions"]
        created = document.get("created", {})
        found = [SchemaVersion.from_json(version) for version in versions]
        if created and found:
            time = created.get("time")
            first = found[0]
            moment = None if time is None else datetime.fromisoformat(time)
            found[0] = SchemaVersion(
                first.schema, first.arrays, (), str(created.get("author", "")), moment
            )
        return cls(tuple(found))


def _renamed(channel: Channel, name: str) -> Channel:
    """Return a channel under another name; its own describes it if nothing else does."""
    if channel.name == name:
        return channel
    return replace(channel, name=name, description=channel.description or channel.name)
