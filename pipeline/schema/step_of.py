"""The step of a conversion that a change of a channel is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pipeline.errors import SchemaError
from pipeline.model.dtypes import storage_dtype
from pipeline.schema.changes import Categories, ChangeDtype, ChangeUnits
from pipeline.schema.channels import Channel
from pipeline.schema.steps import Cast, Scale, Step
from pipeline.schema.text_steps import Retext, Spell, Unspell

__all__ = ["completed", "step_of"]

_BOOLS = ((0, "false"), (1, "true"))


def step_of(change: ChangeDtype | ChangeUnits | Categories, channel: Channel) -> Step:
    """Return the step that a change is for a channel as it was before.

    Raises
    ------
    SchemaError
        If the channel cannot be changed like that; the message says how it can.
    """
    if isinstance(change, Categories):
        return Retext(change.renamed)
    if isinstance(change, ChangeUnits):
        return _scale(change, channel)
    return _cast(completed(change, channel), channel)


def completed(change: ChangeDtype, channel: Channel) -> ChangeDtype:
    """Return a change of dtype with all that it needs: bools have texts of their own.

    Raises
    ------
    SchemaError
        If the channel cannot be changed like that; the message says how it can.
    """
    Channel(channel.name, change.dtype)
    if "category" not in (channel.dtype, change.dtype):
        if change.texts:
            msg = f"channel {channel.name!r}: only categories have texts"
            raise SchemaError(msg)
        _check_tolerance(change, channel)
        return change
    if change.tolerance is not None:
        msg = f"channel {channel.name!r}: texts take no tolerance"
        raise SchemaError(msg)
    texts = change.texts or (_BOOLS if "bool" in (channel.dtype, change.dtype) else ())
    if change.dtype == "category" and not texts:
        msg = (
            f"channel {channel.name!r}: say what its numbers are called: "
            f"ChangeDtype({channel.name!r}, 'category', texts={{0: 'off', 1: 'on'}})"
        )
        raise SchemaError(msg)
    return replace(change, texts=texts)


def _scale(change: ChangeUnits, channel: Channel) -> Scale:
    affine = change.affine
    if channel.dtype in ("bool", "category"):
        msg = f"channel {channel.name!r} is a {channel.dtype} and has no units to change"
        raise SchemaError(msg)
    if affine is None:
        msg = f"the map to units {change.units!r} of channel {channel.name!r} was never worked out"
        raise SchemaError(msg)
    if storage_dtype(channel.dtype).kind != "f" and not affine.is_whole:
        msg = (
            f"channel {channel.name!r} is {channel.dtype}, and in {change.units!r} its values would "
            f"not be whole; change the dtype first: ChangeDtype({channel.name!r}, 'float64')"
        )
        raise SchemaError(msg)
    return Scale(channel.dtype, affine, change.misfits == "missing")


def _cast(change: ChangeDtype, channel: Channel) -> Step:
    old, new, missing = channel.dtype, change.dtype, change.misfits == "missing"
    if new == "category":
        return Spell(old, change.texts, missing)
    if old == "category":
        return Unspell(new, change.texts, missing)
    return Cast(old, new, change.tolerance, missing)


def _check_tolerance(change: ChangeDtype, channel: Channel) -> None:
    old, new = channel.dtype, change.dtype
    if change.tolerance is None:
        if (old, new) == ("float64", "float32"):
            msg = (
                f"channel {channel.name!r}: float32 rounds; say how far that may go, in the channel's "
                f"units: ChangeDtype({channel.name!r}, 'float32', tolerance=1e-3)"
            )
            raise SchemaError(msg)
        return
    tolerance: Any = change.tolerance
    number = isinstance(tolerance, int | float) and not isinstance(tolerance, bool)
    if not number or not tolerance >= 0 or "bool" in (old, new):
        msg = f"channel {channel.name!r}: tolerance has to be a number from 0, of numbers, not {change.tolerance!r}"
        raise SchemaError(msg)
