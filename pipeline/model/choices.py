"""Choices that users write as texts."""

from __future__ import annotations

from enum import Enum
from typing import Any

from pipeline.errors import InvalidInputError

__all__ = ["choice"]


def choice[E: Enum](kind: type[E], value: Any, before: str) -> E:
    """Return the member of an enumeration that `value` is or names.

    Parameters
    ----------
    kind
        The enumeration; its values are the texts.
    value
        A member or its value.
    before
        What stands before the value in an error, such as ``"durability="``.

    Raises
    ------
    InvalidInputError
        If there is none.
    """
    try:
        return kind(value)
    except ValueError as error:
        known = ", ".join(repr(member.value) for member in kind)
        msg = f"{before}{value!r}; use one of {known}"
        raise InvalidInputError(msg) from error
