"""FORMAT.md, "Schema": rows of older versions as newer ones have them."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["brought_forward"]

type Values = dict[str, Any]


def brought_forward(values: Values, stored_as: int, versions: list[dict[str, Any]]) -> Values:
    """Return the values of a row that was stored as one version, as the newest has them.

    Parameters
    ----------
    values
        By channel; None where there is none.
    stored_as
        Number of the version.
    versions
        All of them.
    """
    dtypes = {one["name"]: one["dtype"] for one in versions[stored_as - 1]["channels"]}
    for version in versions[stored_as:]:
        for change in version["changes"]:
            _apply(change, values, dtypes)
    return {channel["name"]: values[channel["name"]] for channel in versions[-1]["channels"]}


def _apply(change: dict[str, Any], values: Values, dtypes: dict[str, str]) -> None:
    match change:
        case {"change": "add", "channel": channel, "default": default}:
            values[channel["name"]], dtypes[channel["name"]] = default, channel["dtype"]
        case {"change": "remove", "channel": name}:
            del values[name], dtypes[name]
        case {"change": "rename", "channel": name, "to": new}:
            values[new], dtypes[new] = values.pop(name), dtypes.pop(name)
        case {"change": "dtype", "channel": name, "dtype": dtype, "texts": texts}:
            spelled = dict(texts)
            values[name] = spelled.get(values[name], _cast(values[name], dtype))
            dtypes[name] = dtype
        case {"change": "units", "channel": name} if values[name] is not None:
            x = values[name]
            mapped = (x * change["multiply"] + change["add"]) / change["divide"]
            values[name] = _cast(mapped, dtypes[name])
        case {"change": "categories", "channel": name, "renamed": renamed}:
            values[name] = dict(renamed).get(values[name], values[name])


def _cast(value: Any, dtype: str) -> Any:
    if value is None:
        return None
    if dtype == "category":
        return str(value).lower()
    return np.dtype(dtype).type(value).item()
