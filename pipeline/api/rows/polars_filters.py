"""Polars predicates taken apart.

Polars tells an expression as JSON. It may change how; what is not found as expected is `UNKNOWN`,
and the rows are filtered by the predicate itself in any case. Literals have to be of the column's
own type, so that both sides are compared as they are. In Polars NaN is the largest number.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from pipeline.api.rows.arrow_filters import literal_of
from pipeline.api.rows.filters import (
    MIRRORED,
    UNKNOWN,
    Compare,
    Filter,
    Literal,
    Missing,
    Moment,
    OneOf,
    Present,
    every,
    some,
)

if TYPE_CHECKING:
    import polars as pl

__all__ = ["parse_predicate"]

_OPERATORS: Final = {"Eq": "==", "NotEq": "!=", "Lt": "<", "LtEq": "<=", "Gt": ">", "GtEq": ">="}
_CLOSED: Final = {
    "Both": (">=", "<="), "Left": (">=", "<"), "Right": (">", "<="), "None": (">", "<"),
}  # fmt: skip
_PER_SECOND: Final = {"Milliseconds": 10**3, "Microseconds": 10**6, "Nanoseconds": 10**9}
_ARROW_NAMES: Final = {"Float32": "float", "Float64": "double"} | {
    f"{sign}Int{bits}": f"{sign.lower()}int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)
}
_TEXTS: Final = ("String", "Categorical", "Enum")


def parse_predicate(predicate: pl.Expr, schema: Mapping[str, Any]) -> Filter:
    """Return what every row satisfies for which a predicate is true.

    Parameters
    ----------
    predicate
        An expression over the columns of `schema`.
    schema
        Polars types by column name.
    """
    import polars as pl

    types = {name: kind.base_type().__name__ for name, kind in schema.items()}
    try:
        return _condition(json.loads(predicate.meta.serialize(format="json")), types)
    except (pl.exceptions.PolarsError, pa.ArrowException, ValueError, RecursionError):
        return UNKNOWN


def _condition(tree: Any, types: Mapping[str, str]) -> Filter:
    match tree:
        case {"BinaryExpr": {"left": left, "op": "And" | "LogicalAnd", "right": right}}:
            return every(_condition(side, types) for side in (left, right))
        case {"BinaryExpr": {"left": left, "op": "Or" | "LogicalOr", "right": right}}:
            return some(_condition(side, types) for side in (left, right))
        case {"BinaryExpr": {"left": left, "op": str(op), "right": right}} if op in _OPERATORS:
            return _comparison(left, _OPERATORS[op], right, types)
        case {"Function": {"input": [column, *others], "function": {"Boolean": asked}}}:
            name = _column(column, types)
            return UNKNOWN if name is None else _asked(name, asked, column, others, types)
        case {"Column": str(name)}:
            return Compare(name, "==", True)
    return UNKNOWN


def _asked(
    name: str, asked: Any, column: Any, others: list[Any], types: Mapping[str, str]
) -> Filter:
    match asked, others:
        case "IsNull" | "IsNan", []:
            return Missing(name)
        case "IsNotNull", []:
            return Present(name)
        case "Not", []:
            return Compare(name, "==", False)
        case {"IsIn": _}, [{"Literal": {"Scalar": {"List": packed}}}]:
            return _one_of(name, types[name], bytes(packed))
        case {"IsBetween": {"closed": closed}}, [low, high]:
            first, last = _CLOSED[closed]
            sides = ((first, low), (last, high))
            return every(_comparison(column, operator, end, types) for operator, end in sides)
    return UNKNOWN


def _column(tree: Any, types: Mapping[str, str]) -> str | None:
    match tree:
        case {"Column": str(name)} if name in types:
            return name
        case {"Cast": {"expr": {"Column": str(name)}, "dtype": {"Literal": "String"}}} if (
            types.get(name) in _TEXTS
        ):
            return name
    return None


def _comparison(left: Any, operator: str, right: Any, types: Mapping[str, str]) -> Filter:
    name = _column(left, types)
    if name is None:
        name, right, operator = _column(right, types), left, MIRRORED[operator]
    if name is None:
        return UNKNOWN
    value = _value(right, types[name])
    return (
        UNKNOWN
        if value is None
        else Compare(name, operator, value, nan=operator in (">", ">=", "!="))
    )


def _value(tree: Any, kind: str) -> Literal | None:
    match tree:
        case {"Literal": {"Scalar": {"Datetime": [int(count), str(unit), {"inner": _}]}}} if (
            kind == "Datetime"
        ):
            return Moment(Decimal(count) * 10**6 / _PER_SECOND[unit])
        case {"Literal": {"Scalar": {"String": str(text)}}} if kind in _TEXTS:
            return text
        case {"Literal": {"Scalar": dict(one)}} if list(one) == [kind]:
            (value,) = one.values()
            return value if isinstance(value, bool | int | float) else None
    return None


def _one_of(name: str, kind: str, packed: bytes) -> Filter:
    wanted = pa.ipc.open_stream(packed).read_all().column(0)
    values = [(scalar, literal_of(scalar)) for scalar in wanted]
    is_number = kind not in (*_TEXTS, "Datetime", "Boolean")
    if any(value is None and scalar.is_valid for scalar, value in values) or (
        is_number and str(wanted.type) != _ARROW_NAMES.get(kind)
    ):
        return UNKNOWN
    known = tuple(value for _, value in values if value is not None and value == value)
    return OneOf(name, known, missing=len(known) < len(values))
