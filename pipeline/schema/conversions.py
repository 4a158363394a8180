"""From the values of one version of a schema to those of any other, channel by channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import SchemaError
from pipeline.model.batches import Column
from pipeline.schema.changes import (
    AddChannel,
    Categories,
    Change,
    ChangeDtype,
    ChangeUnits,
    MergeChannels,
    RemoveChannel,
    RenameChannel,
    SplitChannel,
)
from pipeline.schema.channels import Channel
from pipeline.schema.evolving import before_changes
from pipeline.schema.expressions import (
    Computed,
    Constant,
    Evaluated,
    Expression,
    Nothing,
    Stepped,
    Stored,
    arrays_of,
    errors_of,
    evaluate,
)
from pipeline.schema.images import Image, image_of
from pipeline.schema.step_of import step_of
from pipeline.schema.text_steps import Unspell
from pipeline.schema.versions import SchemaHistory

__all__ = ["Conversion", "conversions"]

_Found = dict[str, Expression]


@dataclass(frozen=True, slots=True)
class Conversion:
    """How rows of one version give a channel of another.

    Parameters
    ----------
    channel
        The channel, in the version that is wanted.
    source, target
        Numbers of the version the rows have, and of the one that is wanted.
    expression
        What to compute.
    """

    channel: Channel
    source: int
    target: int
    expression: Expression

    @property
    def is_plain(self) -> bool:
        """Whether values are taken as they are stored."""
        return isinstance(self.expression, Stored)

    @property
    def is_missing(self) -> bool:
        """Whether no row has a value."""
        return isinstance(self.expression, Nothing)

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays that are read."""
        return arrays_of(self.expression)

    @property
    def error(self) -> str:
        """How far values may be from those that were stored, in words; empty for exact."""
        return "; ".join(dict.fromkeys(errors_of(self.expression)))

    @property
    def image(self) -> Image | None:
        """What becomes of statistics; None if rows have to be looked at."""
        return image_of(self.expression)

    def evaluate(self, columns: Mapping[str, Column], rows: int) -> Evaluated:
        """Return the values, and which did not fit; see `pipeline.schema.expressions.evaluate`."""
        return evaluate(self.expression, columns, rows)

    def convert(self, columns: Mapping[str, Column], rows: int) -> Column:
        """Return the values for a reader.

        Parameters
        ----------
        columns
            By array, its values; categories with their texts.
        rows
            How many rows there are.

        Raises
        ------
        SchemaError
            If a value does not fit, and the change did not say to take such for missing.
        NotFoundError
            If a function is not registered.
        """
        found = self.evaluate(columns, rows)
        if found.refused is not None:
            self._refuse(found.refused, columns)
        return found.column

    def _refuse(self, bad: NDArray[np.bool_], columns: Mapping[str, Column]) -> None:
        at = int(np.flatnonzero(bad)[0])
        values = [columns[name].values[at].item() for name in self.arrays]
        count = int(np.count_nonzero(bad))
        msg = (
            f"channel {self.channel.name!r}: {count} values of version {self.source} of the schema "
            f"do not fit {self.channel.dtype} of version {self.target}, the first is "
            f"{values[0] if len(values) == 1 else values}; read them as "
            f"fleet.at_version({self.source}), or evolve the channel to a dtype that holds them"
        )
        raise SchemaError(msg)


def conversions(history: SchemaHistory, source: int, target: int) -> dict[str, Conversion]:
    """Return how rows of version `source` give every channel of version `target`.

    Raises
    ------
    NotFoundError
        If there is no such version.
    """
    version = history[source]
    dtypes = {channel.name: channel.dtype for channel in version.schema}
    found: _Found = {name: Stored(version.arrays[name], dtypes[name]) for name in dtypes}
    wanted = history[target].schema
    for number in range(source + 1, target + 1):
        for change, before in before_changes(history, number):
            _forward(found, change, before)
    for number in range(source, target, -1):
        for change, before in reversed(list(before_changes(history, number))):
            _backward(found, change, before)
    return {
        channel.name: Conversion(channel, source, target, found[channel.name]) for channel in wanted
    }


def _forward(found: _Found, change: Change, before: Mapping[str, Channel]) -> None:
    match change:
        case AddChannel(channel=channel, default=default):
            nothing = default is None
            found[channel.name] = (
                Nothing(channel.dtype) if nothing else Constant(default, channel.dtype)
            )
        case RemoveChannel(channel=name):
            del found[name]
        case RenameChannel(channel=name, to=new):
            found[new] = found.pop(name)
        case ChangeDtype(channel=name) | ChangeUnits(channel=name):
            found[name] = _stepped(found[name], change, before[name])
        case Categories(channel=name, renamed=renamed) if renamed:
            found[name] = _stepped(found[name], change, before[name])
        case SplitChannel(channel=name, into=into):
            inputs: tuple[Expression, ...] = (found.pop(name),)
            found |= _computed(inputs, change, into, back=False)
        case MergeChannels(channels=names, into=one):
            inputs = tuple(found.pop(name) for name in names)
            found |= _computed(inputs, change, [one], back=False)
        case _:
            pass


def _backward(found: _Found, change: Change, before: Mapping[str, Channel]) -> None:
    match change:
        case AddChannel(channel=channel):
            del found[channel.name]
        case RemoveChannel(channel=name):
            found[name] = Nothing(before[name].dtype)
        case RenameChannel(channel=name, to=new):
            found[name] = found.pop(new)
        case ChangeDtype(channel=name) | ChangeUnits(channel=name):
            found[name] = _unstepped(found[name], change, before[name])
        case Categories(channel=name, renamed=renamed) if renamed:
            found[name] = _unstepped(found[name], change, before[name])
        case SplitChannel(channel=name, into=into):
            inputs: tuple[Expression, ...] = tuple(found.pop(one.name) for one in into)
            found |= _computed(inputs, change, [before[name]], back=True)
        case MergeChannels(channels=names, into=one):
            inputs = (found.pop(one.name),)
            found |= _computed(inputs, change, [before[name] for name in names], back=True)
        case _:
            pass


def _stepped(
    of: Expression, change: ChangeDtype | ChangeUnits | Categories, before: Channel
) -> Expression:
    if _changes_nothing(change):
        return of
    step = step_of(change, before)
    return Nothing(step.target) if isinstance(of, Nothing) else Stepped(of, step)


def _unstepped(
    of: Expression, change: ChangeDtype | ChangeUnits | Categories, before: Channel
) -> Expression:
    if _changes_nothing(change):
        return of
    step = step_of(change, before)
    # Which text a number was read from is not known any more.
    if isinstance(of, Nothing) or (isinstance(step, Unspell) and not step.pairs):
        return Nothing(before.dtype)
    return Stepped(of, step.inverse())


def _changes_nothing(change: Change) -> bool:
    """Tell whether only the name of the units is another one."""
    affine = change.affine if isinstance(change, ChangeUnits) else None
    return affine is not None and affine.is_identity


def _computed(
    inputs: tuple[Expression, ...],
    change: SplitChannel | MergeChannels,
    outputs: Sequence[Channel],
    *,
    back: bool,
) -> Iterator[tuple[str, Expression]]:
    for at, channel in enumerate(outputs):
        if any(isinstance(one, Nothing) for one in inputs):
            yield channel.name, Nothing(channel.dtype)
        else:
            made = Computed(
                inputs, change.function, change.version, back, at, len(outputs), channel.dtype
            )
            yield channel.name, made
