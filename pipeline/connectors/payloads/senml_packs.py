"""Resolving SenML: base values applied, times made absolute."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from pipeline.connectors.payloads.members import Unreadable
from pipeline.errors import InvalidInputError

__all__ = ["CBOR_LABELS", "resolve_pack"]

CBOR_LABELS: Final[Mapping[Any, str]] = {
    -1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip
"""Names of the integer labels of SenML in CBOR (RFC 8428, table 4)."""

_VERSION: Final = 10
_ABSOLUTE: Final = 2**28  # seconds: smaller times count from now (RFC 8428, section 4.5.3)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*")
_MARKS: Final = ":/-_."
_NUMBER: Final = frozenset({int, float})
_TEXT: Final = frozenset({str})
_BASES: Final[Mapping[str, frozenset[type]]] = {
    "bn": _TEXT, "bt": _NUMBER, "bu": _TEXT, "bv": _NUMBER, "bs": _NUMBER, "bver": _NUMBER,
}  # fmt: skip
_REGULAR: Final[Mapping[str, frozenset[type]]] = {
    "n": _TEXT, "u": _TEXT, "v": _NUMBER, "vs": _TEXT, "vb": frozenset({bool}), "vd": _TEXT,
    "s": _NUMBER, "t": _NUMBER, "ut": _NUMBER,
}  # fmt: skip
_VALUES: Final = frozenset({"v", "vs", "vb", "vd"})


def resolve_pack(
    pack: Any,
    received: int,
    units: Mapping[str, str],
    labels: Mapping[Any, str] | None = None,
) -> list[Any]:
    """Resolve the records of a pack.

    Parameters
    ----------
    pack
        What should be an array of records.
    received
        Microseconds since 1970-01-01 UTC: the "now" of relative times.
    units
        The unit that records have to have, by their local name.
    labels
        Names of the labels; None if records are labelled by the names themselves.

    Returns
    -------
    list
        A dict for each record, or `Unreadable` in its place: ``name``, ``base``, ``local``,
        ``unit``, ``value``, ``sum``, ``update_time`` and ``time`` in microseconds since
        1970-01-01 UTC.

    Raises
    ------
    InvalidInputError
        If the pack is no array of objects, is of another version, has a base field of the wrong
        type, or a field that has to be understood and is not.
    """
    if not isinstance(pack, list) or not all(isinstance(record, dict) for record in pack):
        msg = "the payload is not a SenML pack: an array of records"
        raise InvalidInputError(msg)
    base: dict[str, Any] = {}
    resolved: list[Any] = []
    for record in pack:
        named = record if labels is None else {labels.get(k, k): v for k, v in record.items()}
        if not named.keys() <= _REGULAR.keys():  # few records tell more than values
            _check_pack(named)
            base |= {key: named[key] for key in _BASES if key in named}
        resolved.append(_resolve(named, base, received, units))
    return resolved


def _check_pack(record: Mapping[Any, Any]) -> None:
    problem = ""
    unknown = [key for key in record if isinstance(key, str) and key.endswith("_")]
    wrong = [
        key for key, types in _BASES.items() if key in record and type(record[key]) not in types
    ]
    if unknown:
        problem = f"fields {unknown} have to be understood, and are not"
    elif wrong:
        problem = f"base fields {wrong} are of the wrong type"
    elif not math.isfinite(record.get("bt", 0)):
        problem = f"base time {record['bt']} is no time"
    elif record.get("bver", _VERSION) > _VERSION:
        problem = f"it is of version {record['bver']}; known is {_VERSION}"
    if problem:
        raise InvalidInputError(f"the SenML pack cannot be read: {problem}")


def _resolve(
    record: Mapping[Any, Any], base: Mapping[str, Any], received: int, units: Mapping[str, str]
) -> dict[str, Any] | Unreadable:
    for key, value in record.items():
        if key in _REGULAR and type(value) not in _REGULAR[key]:
            return Unreadable(f"SenML field {key!r} is of the wrong type")
    local, before = record.get("n", ""), base.get("bn", "")
    name = before + local
    unit = record.get("u", base.get("bu"))
    values = record.keys() & _VALUES
    if not _NAME.fullmatch(name):
        return Unreadable(f"{name!r} is no SenML name")
    if len(values) > 1 or not (values or "s" in record or "bv" in base or "bs" in base):
        return Unreadable(f"SenML record {name!r} needs one value or a sum, not {sorted(values)}")
    if units and units.get(local, unit) != unit:
        return Unreadable(f"SenML record {name!r} has unit {unit!r}, not {units[local]!r}")
    offset = record.get("t", 0)
    if not math.isfinite(offset):
        return Unreadable(f"SenML record {name!r} has time {offset}, which is none")
    kind = values.pop() if values else "v"
    return {
        "name": name,
        "base": before.rstrip(_MARKS) or None,
        "local": local or None,
        "unit": unit,
        "value": _sum(record, base, "v") if kind == "v" else record[kind],
        "sum": _sum(record, base, "s"),
        "update_time": record.get("ut"),
        "time": _time(base.get("bt", 0), offset, received),
    }


def _sum(record: Mapping[Any, Any], base: Mapping[str, Any], key: str) -> Any:
    """Add a value to its base value; one that is missing counts as 0 unless both are."""
    value, before = record.get(key), base.get(f"b{key}")
    if value is None or before is None:
        return before if value is None else value
    return before + value


def _time(base: float, offset: float, received: int) -> int:
    """Return microseconds since 1970; the parts are rounded apart, as their sum loses digits."""
    micros = round(base * 1_000_000) + round(offset * 1_000_000)
    return micros if micros >= _ABSOLUTE * 1_000_000 else received + micros
