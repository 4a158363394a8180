"""What older rows have for a value of a channel that was added."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.errors import SchemaError
from pipeline.model.batches import Column
from pipeline.model.dtypes import storage_dtype
from pipeline.model.exact_casts import cast_exactly
from pipeline.schema.channels import Channel

__all__ = ["checked_default", "default_column"]

Default = float | int | bool | str | None


def checked_default(channel: Channel, default: Any) -> Default:
    """Return a default as plain JSON can hold it; None for missing.

    Raises
    ------
    SchemaError
        If the channel cannot hold it.
    """
    if default is None:
        return None
    plain = default.item() if isinstance(default, np.generic) else default
    if channel.dtype == "category":
        fits = isinstance(plain, str) and plain in (channel.categories or (plain,))
    elif channel.dtype == "bool":
        fits = isinstance(plain, bool)
    else:
        number = isinstance(plain, int | float) and not isinstance(plain, bool)
        fits = (
            number
            and np.isfinite(plain)
            and cast_exactly(np.array([plain]), channel.dtype)[1] is None
        )
    if not fits:
        msg = f"the default {default!r} is no value of channel {channel.name!r} ({channel.dtype})"
        raise SchemaError(msg)
    found: Default = plain
    return found


def default_column(dtype: str, default: Default, rows: int) -> Column:
    """Return a column, as it is stored, in which every row has the default."""
    if isinstance(default, str):
        return Column(np.zeros(rows, np.int32), None, (default,))
    return Column(np.full(rows, default, storage_dtype(dtype)))
